"""Books in which something is hidden, read as streams and asked at their end.

BABILong's form (arXiv 2406.10149): a story of bAbI, or needles with many keys,
among the sentences of a book. Every text is a life of its own, since stories
contradict each other.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data import babi
from sleepjax.data import haystack as hiding
from sleepjax.data.documents import Question
from sleepjax.data.haystack import Haystack
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError, check_least
from sleepjax.model import Model
from sleepjax.tasks.long_stream import Bed, Told

KINDS = 'qa1', 'qa2', 'qa3', 'needles'
_BOOK_PART = 2000  # Sentences by which one seed begins behind another.


@dataclasses.dataclass(frozen=True)
class HaystackConfig:
  """What is hidden, and in how much of a book.

  kind: 'qa1', 'qa2' or 'qa3', a story of bAbI, or 'needles' of many keys.
  tokens: of every text, whole windows.
  window: in tokens.
  texts: of a seed, each with a story, or needles, of its own.
  needles: of a text; all are asked.
  depths: from where to where in a book sentences may be hidden, as shares.
  found: windows that BM25 puts in view for a question.
  book: see `text_stream.find`.
  split: of bAbI.
  prompt: how questions are put.
  answer_tokens: of the longest answer.
  """

  kind: str = 'qa1'
  tokens: int = 2048
  window: int = 512
  texts: int = 20
  needles: int = 4
  depths: tuple[float, float] = (0.0, 1.0)
  found: int = 1
  book: str = 'gutenberg/gutenberg_8books.tar.xz'
  split: str = 'test'
  prompt: str = '{question} Answer with one word.'
  answer_tokens: int = 16

  def __post_init__(self):
    check_least(self, window=1, texts=1, needles=1, found=1, answer_tokens=1)
    if self.kind not in KINDS:
      raise ValueError(f'kind={self.kind!r} must be one of {", ".join(KINDS)}.')
    if self.tokens < self.window or self.tokens % self.window:
      raise ValueError(f'tokens={self.tokens} must be whole windows of '
                       f'{self.window} tokens, one at least.')
    if not 0 <= self.depths[0] <= self.depths[1] <= 1:
      raise ValueError(f'depths={self.depths} must be two shares, from 0 to 1.')
    if '{question}' not in self.prompt:
      raise ValueError(f'prompt={self.prompt!r} must contain {{question}}.')

  @property
  def distances(self) -> tuple[int, ...]:
    """None: a book is asked at its end."""
    return ()

  def beds(self, model: Model, seed: int) -> list[Bed]:
    """The texts of a seed, and what is asked of each.

    Raises:
      UserError: there is no such book, or it is too short, or bAbI is not here.
    """
    rng = np.random.default_rng((seed, 8))
    hay = hiding.book_sentences(self.book, seed * _BOOK_PART)
    if self.kind == 'needles':
      stories = [_needles(hiding.needles(seed * self.texts + i, self.needles))
                 for i in range(self.texts)]
    else:
      every = babi.read(KINDS.index(self.kind) + 1, self.split)
      names = tuple(sorted({story.answer for story in every}))
      stories = [_story(every[i], names)
                 for i in rng.permutation(len(every))[:self.texts]]
    return [self._bed(model, story, hay, rng) for story in stories]

  def _bed(self, model, story, hay, rng):
    encode = model.tokenizer.encode
    low, high = self.depths
    made = hiding.hide(
        story.sentences, hay,
        np.sort(low + (high - low) * rng.random(len(story.sentences))).tolist(),
        self.tokens, lambda sentence: len(encode(f' {sentence}')))
    ids, starts = whole_windows(encode, made, hay, self.tokens)
    told = []
    for asked in story.asked:
      token = starts[min(asked.needed)]
      question = dataclasses.replace(
          asked.question,
          question=self.prompt.format(question=asked.question.question))
      told.append(Told(
          (question,), asked.words, token // self.window, token))
    return Bed(
        tuple(ids.reshape(-1, self.window)), tuple(told),
        ChatPrompts(model.tokenizer), answer_tokens=self.answer_tokens,
        candidates=story.candidates, found=self.found)


class _Asked(NamedTuple):
  """needed: indices of the hidden sentences that the answer follows from."""

  question: Question
  words: tuple[str, ...]
  needed: tuple[int, ...]


class _Hidden(NamedTuple):
  """What is hidden in one text, what is asked of it, and possible answers."""

  sentences: tuple[str, ...]
  asked: tuple[_Asked, ...]
  candidates: tuple[str, ...]


def _story(story: babi.Story, names: tuple[str, ...]) -> _Hidden:
  about = re.match(r'Where (?:is|was) (?:the )?(\w+)', story.question)
  return _Hidden(story.sentences, (_Asked(
      Question(story.question, story.answer), about.groups() if about else (),
      story.supporting),), names)


def _needles(needles: Sequence[hiding.Needle]) -> _Hidden:
  return _Hidden(
      tuple(needle.sentence for needle in needles),
      tuple(_Asked(needle.question, tuple(needle.key.split()), (i,))
            for i, needle in enumerate(needles)),
      tuple(needle.question.answer for needle in needles))


def whole_windows(encode: Callable[[str], list[int]], made: Haystack,
                  hay: Iterator[str], tokens: int
                  ) -> tuple[np.ndarray, list[int]]:
  """The last tokens of a text, behind as much of its book as is missing.

  Args:
    encode: text -> token ids.
    made: a text of about `tokens` tokens.
    hay: more of its book.
    tokens: wanted.

  Returns:
    (ids [tokens], number of the first token of each hidden sentence).

  Raises:
    UserError: the book ends, or a hidden sentence stands before these tokens.
  """
  front = ''
  while len(ids := encode(front + made.text)) < tokens:
    sentence = next(hay, None)
    if sentence is None:
      raise UserError(f'tokens={tokens}: the book ends before; take a longer '
                      'one, or begin earlier in it.')
    front += f'{sentence} '
  left_out = len(ids) - tokens
  before = [front + ' '.join(made.sentences[:place]) for place in made.places]
  starts = [len(encode(text.rstrip())) - left_out for text in before]
  if min(starts) < 0:
    raise UserError(f'tokens={tokens}: what is hidden begins {-min(starts)} '
                    'tokens before them; hide it deeper.')
  return np.array(ids[left_out:], np.int32), starts
