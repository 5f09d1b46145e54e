"""Pretraining rows of cipher languages: a book, and translations beside it.

Every row has a language of its own, so that nothing but its book says what a
word means. Some rows are of the long-known language instead, without a book.
"""

import dataclasses

import numpy as np

from sleepjax.data import ciphers
from sleepjax.data.cipher_tokenizer import VOCABULARY
from sleepjax.data.ciphers import ENGLISH, NOUNS, VERBS, Language, Sentence
from sleepjax.data.world_tokenizer import ASSISTANT, END, USER
from sleepjax.errors import check_least
from sleepjax.pretraining import packed
from sleepjax.pretraining.packed import PackedRows

_EMPTY = -1
_BOOK = 1 + len(ciphers.known().book().split())  # Tokens, with what opens it.
_TURN = 2 * len(ciphers.ROLES) + 2


@dataclasses.dataclass(frozen=True)
class CipherRows:
  """What rows are about.

  rows, length: B and T; what does not fit is cut off.
  turns: translations of every row.
  fewest: entries of the shortest dictionary; as many as a row's are drawn, up
    to all words, and a row's sentences are of these.
  word_share: of the turns, those that ask a single word.
  known_share: of the rows, those of the long-known language.
  """

  rows: int = 16
  length: int = 130
  turns: int = 8
  fewest: int = 4
  word_share: float = 0.2
  known_share: float = 0.15

  def __post_init__(self):
    check_least(self, rows=1, length=1, turns=1, fewest=3)
    if self.fewest > len(ENGLISH):
      raise ValueError(f'fewest={self.fewest} must be at most {len(ENGLISH)}.')
    for name in ('word_share', 'known_share'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
            f'{name}={getattr(self, name)} must lie between 0 and 1.')


def sample_rows(settings: CipherRows, seed) -> PackedRows:
  """Rows of languages drawn anew; the same for the same seed.

  Args:
    settings: what they are about.
    seed: a number, or several.
  """
  c, rng = settings, np.random.default_rng(seed)
  contexts = np.full((c.rows, _BOOK), _EMPTY)
  turns = np.full((c.rows, c.turns, _TURN), _EMPTY)
  weights = np.zeros(turns.shape)
  for row in range(c.rows):
    spoken, is_known = _language(c, rng)
    context = _ids(USER if is_known else f'{USER} {spoken.book()}')
    contexts[row, :len(context)] = context
    for turn in range(c.turns):
      said, meaning = _asked(c, spoken, rng)
      ids = _ids(f'{said} {ASSISTANT} {meaning} {END}')
      learnt = len(meaning.split()) + 1
      turns[row, turn, :len(ids)] = ids
      weights[row, turn, len(ids) - learnt:len(ids)] = 1.0
  made = packed.pack(contexts, turns, weights, empty=_EMPTY, length=c.length)
  missing = c.length - made.tokens.shape[1]
  return made if missing <= 0 else PackedRows(*(
      np.pad(part, ((0, 0), (0, missing)), constant_values=value)
      for part, value in zip(made, (0, packed.PADDING, 0.0), strict=True)))


def _ids(text: str) -> list[int]:
  return [VOCABULARY[word] for word in text.split()]


def _language(settings: CipherRows, rng) -> tuple[Language, bool]:
  """(a language of some of our words, whether it is the long-known one)."""
  if rng.random() < settings.known_share:
    return ciphers.known(), True
  spoken, = ciphers.drawn(rng.integers(2 ** 32, size=2), 1)
  size = int(rng.integers(settings.fewest, len(ENGLISH) + 1))
  verbs = max(1, min(round(size * len(VERBS) / len(ENGLISH)), size - 2))
  kept = (*rng.permutation(VERBS)[:verbs], *rng.permutation(
      NOUNS)[:size - verbs])
  return Language({str(word): spoken.words[word] for word in kept},
                  ciphers.ORDERS[rng.integers(len(ciphers.ORDERS))]), False


def _asked(settings: CipherRows, spoken: Language, rng) -> tuple[str, str]:
  """(what is said, what it means): a sentence, or a word."""
  if rng.random() < settings.word_share:
    words = [*spoken.words]
    word = words[rng.integers(len(words))]
    return spoken.words[word], word
  verbs = [word for word in VERBS if word in spoken.words]
  nouns = [word for word in NOUNS if word in spoken.words]
  subject, other = rng.permutation(nouns)[:2].tolist()
  sentence = Sentence(subject, verbs[rng.integers(len(verbs))], other)
  return spoken.say(sentence), sentence.text
