"""Dreams: what the old self writes about a text while it still holds it.

Each dream is a prompt as the student will see it, without the text, and the
completion that the teacher sampled with the text in its context.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.data import documents, words
from sleepjax.data.chunks import fitting_parts
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError, check_least
from sleepjax.mesh.sharding import to_host
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib
from sleepjax.writing import prompt_library
from sleepjax.writing.cleaning import clean_question, clean_request, distinct

Segments = tuple[Segment, ...]


@dataclasses.dataclass(frozen=True)
class DreamConfig:
  """Which dreams are written, and how many.

  question_prompt: asks the old self for one question, with {sentence}.
  openings: first words put into its mouth, in turn: a small model asks on
    topic far more often once it has begun with "Who" or "In what year".
  recall_prompt: asks for the text's content, with {topic}. The teacher's reply
    is begun with the first words of one of the text's sentences, and so is the
    student's: the paper's masked continuation.
  open_prompts: prompts with {topic}, put to the teacher as they are.
  topic_prompt: asked when a document has no title.
  questions_per_opening: questions asked per sentence and opening.
  questions_in_all: at most so many are asked, of a text with many sentences
    fewer about each, but never less than one with every opening.
  answers_per_question: answers sampled to each distinct question.
  recalls_per_sentence: beginnings of every sentence, cut at random words.
  open_samples: completions sampled for each open prompt.
  library: parts of `prompt_library` that are used besides, `open_samples`
    times each.
  held_out: every n-th question is kept from seeding: dreaming scores on it; 0
    keeps none.
  question_temperature, temperature: of questions, and of everything else.
    Below 1, because a small teacher's untruncated samples drift off the text.
  forbidden: a question with one of these words is about itself, not about the
    world, and is dropped; so is one that shares no content word with the text.
  prompt_tokens, completion_tokens: longest prompt the student gets, longest
    completion.
  batch_rows: rows sampled at once.
  """

  question_prompt: str = 'Ask a question about this: {sentence}'
  openings: tuple[str, ...] = ('Who', 'When', 'Which', 'In what', 'How many',
                               'Where', 'What is', 'Why')
  recall_prompt: str = 'Tell me about {topic}.'
  open_prompts: tuple[str, ...] = (
      'What do you know about {topic}?', 'Tell me a fact about {topic}.')
  topic_prompt: str = 'What is this text about? Answer with a few words.'
  questions_per_opening: int = 8
  questions_in_all: int = 320
  answers_per_question: int = 2
  recalls_per_sentence: int = 6
  open_samples: int = 4
  library: tuple[str, ...] = ()
  held_out: int = 8
  question_temperature: float = 0.7
  temperature: float = 0.5
  forbidden: tuple[str, ...] = (
      'text', 'passage', 'sentence', 'sentences', 'paragraph', 'author',
      'article', 'mentioned', 'according', 'question', 'questions', 'answer',
      'answers', 'following', 'statement', 'statements', 'above', 'fact')
  prompt_tokens: int = 72
  completion_tokens: int = 24
  batch_rows: int = 32

  def __post_init__(self):
    prompt_library.prompts_of(self.library)
    check_least(
        self, questions_per_opening=1, questions_in_all=1, prompt_tokens=1,
        completion_tokens=1, batch_rows=1, answers_per_question=0,
        recalls_per_sentence=0, open_samples=0, held_out=0,
        question_temperature=0, temperature=0)


class Dream(NamedTuple):
  """A reply, what was asked for it, and what only the teacher sees.

  kind: 'question', 'recall', 'open' or 'written' (its prompt by the teacher,
    too); of facts also 'sentence', 'reverse' or 'cloze', see `rows`.
  prompt: the user's message as the student will see it.
  start: words with which the reply begins; they are given, not learnt.
  completion: token ids of the rest, sampled by the teacher or given.
  hint: what stands before the prompt in the teacher's message.
  """

  kind: str
  prompt: str
  start: str
  completion: tuple[int, ...]
  hint: str = ''

  def student_ids(self, chat: ChatPrompts) -> list[int]:
    return chat.closed_book(self.prompt) + chat.tokenizer.encode(self.start)

  def teacher_ids(self, chat: ChatPrompts) -> list[int]:
    message = f'{self.hint}\n\n{self.prompt}' if self.hint else self.prompt
    return chat.after_document(message) + chat.tokenizer.encode(self.start)

  @classmethod
  def from_json(cls, entry: Sequence) -> 'Dream':
    """A dream as JSON gives it back."""
    kind, prompt, start, completion, *hint = entry
    return cls(kind, prompt, start, tuple(completion), *hint)


@dataclasses.dataclass(frozen=True)
class Dreamer:
  """The old self, ready to write: a model, its chat format, and settings.

  report: called with the number of tokens of every batch it has written.
  """

  config: ModelConfig
  params: dict
  chat: ChatPrompts
  settings: DreamConfig
  report: Callable[[int], None] = lambda tokens: None

  def write(self, prompts: Sequence[Sequence[int]], key, *,
            temperature: float | None = None,
            segments: Segments = ()) -> list[list[int]]:
    """One sampled completion of each prompt, the stop token included.

    What all prompts of a batch begin with is read once, so prompts that share
    much should come in one call.
    """
    s = self.settings
    temperature = s.temperature if temperature is None else temperature
    completions = []
    for start in range(0, len(prompts), s.batch_rows):
      batch = list(prompts[start:start + s.batch_rows])
      real = len(batch)
      rows = rows_lib.halved(max(real, -(-s.batch_rows // 4)), s.batch_rows)
      batch += [batch[0]] * (rows - real)
      read, shared = segments, rows_lib.worth_sharing(batch)
      if shared:
        read = (*segments, context.read_prefix(
            self.config, self.params, shared, segments))
        batch = [prompt[len(shared):] for prompt in batch]
      rollout = sampler.jitted_sample(
          self.config, self.params,
          *rows_lib.pad_left(batch, rows_lib.prompt_bucket(batch)),
          jax.random.fold_in(key, start),
          sampler.Until(s.completion_tokens, self.chat.tokenizer.stop_ids),
          method=sampler.Sampling(temperature), segments=read)
      tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
      completions += [tokens[i][mask[i]].tolist() for i in range(real)]
      self.report(int(mask[:real].sum()))
    return completions

  def texts(self, completions, strip=True) -> list[str]:
    texts = [self.chat.tokenizer.decode(c) for c in completions]
    return [t.strip() for t in texts] if strip else texts


def write_topic(dreamer: Dreamer, document, segments: Segments) -> str:
  """The document's title, or the old self's own words for what it is about."""
  if document.title:
    return document.title
  prompt = dreamer.chat.after_document(dreamer.settings.topic_prompt)
  completion = dreamer.write(
      [prompt], jax.random.key(0), temperature=0.0, segments=segments)
  return dreamer.texts(completion)[0].split('\n')[0].rstrip('.')


class Coverage(NamedTuple):
  """Of how much of a text the old self could be asked.

  sentences: stretches of the text, sentences or parts of very long ones.
  too_long: of these, so long that no request for a question fits.
  without_question: of these, whose replies held no question of use.
  beginnings_too_long: recollections that were left out since the beginning of
    their sentence does not fit.
  verified: of the sentences, those about which the model has written a question
    that was verified, see `facts`.
  """

  sentences: int
  too_long: int
  without_question: int
  beginnings_too_long: int = 0
  verified: int = 0

  def __str__(self):
    return (f'{self.sentences} sentences, {self.too_long} too long for a '
            f'request, {self.without_question} whose replies hold no question '
            f'of use, {self.beginnings_too_long} beginnings that are too long')


def askable(dreamer: Dreamer, text: str) -> list[str]:
  """The sentences of a text; those too long for a request, in parts."""
  return [part for sentence in documents.split_sentences(text)
          for part in _askable_parts(dreamer, sentence)]


def check_askable(dreamer: Dreamer, texts: Sequence[str]) -> None:
  """Checks that something can be asked about one of some texts.

  Raises:
    UserError: no sentence has a letter, or none fits into a request.
  """
  found = 0
  for text in texts:
    for sentence in documents.split_sentences(text):
      found += 1
      if words.has_letters(sentence) and any(
          _fits_request(dreamer, part) for part in _askable_parts(
              dreamer, sentence)):
        return
  raise UserError(
      f'nothing in the text can be asked about: of {found} sentences, items or '
      'lines none has letters and fits into a request of '
      f'{_longest_request(dreamer.settings)} tokens. Give a text in words, or '
      f'raise dreams.prompt_tokens={dreamer.settings.prompt_tokens}.')


def _fits_request(dreamer, sentence, opening=min):
  """Whether a request fits with the shortest opening, or with the longest."""
  s, encode = dreamer.settings, dreamer.chat.tokenizer.encode
  tokens = opening([len(encode(first)) for first in s.openings] or [0])
  return len(_request(dreamer, sentence)) + tokens <= _longest_request(s)


def _askable_parts(dreamer, sentence):
  # One that fits with some opening is asked about with those.
  if _fits_request(dreamer, sentence):
    return [sentence]
  parts = fitting_parts(
      sentence, (), lambda text: _fits_request(dreamer, text.strip(), max),
      16 * dreamer.settings.prompt_tokens)
  if not _fits_request(dreamer, parts[0].strip()):
    return [sentence]  # Nothing of it fits.
  return [part.strip() for part in parts if part.strip()]


def _request(dreamer, sentence):
  return dreamer.chat.after_document(
      dreamer.settings.question_prompt.format(sentence=sentence))


def _longest_request(settings):
  return settings.prompt_tokens + 40  # The sentence stands in the request.


def question_requests(dreamer: Dreamer, text: str):
  """For every sentence, (request ids, opening) of openings and repetitions."""
  s, chat = dreamer.settings, dreamer.chat
  sentences = askable(dreamer, text)
  each = s.questions_in_all // (len(s.openings) * max(1, len(sentences)))
  repetitions = max(1, min(s.questions_per_opening, each))
  for sentence in sentences:
    request = _request(dreamer, sentence)
    yield [(request + chat.tokenizer.encode(opening), opening)
           for opening in s.openings * repetitions]


def write_questions(dreamer: Dreamer, text: str, segments: Segments, key,
                    avoid: Sequence[str] = ()) -> list[str]:
  """Distinct questions about every sentence of a text, in random order.

  Those in `avoid` are left out.
  """
  return _covering_questions(dreamer, text, segments, key, avoid)[0]


def _covering_questions(dreamer, text, segments, key, avoid):
  """(questions of `write_questions`, their `Coverage`)."""
  s = dreamer.settings
  ask_key, order_key = jax.random.split(key)
  asked, sentences, too_long, without = [], 0, 0, 0
  for i, requests in enumerate(question_requests(dreamer, text)):
    requests = [r for r in requests if len(r[0]) <= _longest_request(s)]
    replies = dreamer.texts(dreamer.write(
        [ids for ids, _ in requests], jax.random.fold_in(ask_key, i),
        temperature=s.question_temperature, segments=segments), strip=False)
    cleaned = [clean_question(opening + reply, text, s.forbidden)
               for (_, opening), reply in zip(requests, replies, strict=True)]
    asked += cleaned
    sentences += 1
    too_long += not requests
    without += bool(requests) and not any(cleaned)
  questions = distinct(asked, avoid)
  rng = np.random.default_rng(np.asarray(jax.random.key_data(order_key)))
  return ([questions[i] for i in rng.permutation(len(questions))],
          Coverage(sentences, too_long, without))


def sentence_beginnings(text: str, per_sentence: int, rng,
                        split=documents.split_sentences) -> list[str]:
  """Beginnings of every sentence, cut before a random word after the second.

  Args:
    text: of a document.
    per_sentence: how many, where a sentence has as many words.
    rng: numpy generator.
    split: text -> its sentences.
  """
  beginnings = []
  for sentence in split(text):
    ends = words.word_ends(sentence)
    cuts = np.arange(min(2, len(ends) - 1), len(ends))
    cuts = rng.choice(cuts[cuts > 0], min(per_sentence, (cuts > 0).sum()),
                      replace=False) if len(ends) > 1 else []
    beginnings += [sentence[:ends[cut - 1]] for cut in sorted(cuts)]
  return beginnings


def _question_dreams(dreamer, questions, answer_prompt):
  """Dreams without completions yet, of the questions that fit."""
  dreams = [Dream('question', answer_prompt.format(question=q), '', ())
            for q in questions]
  return [(q, d) for q, d in zip(questions, dreams, strict=True)
          if _fits(dreamer, d)]


def _fits(dreamer, dream):
  return (len(dream.student_ids(dreamer.chat))
          <= dreamer.settings.prompt_tokens)


def _complete(dreamer, dreams, segments, key, temperature=None):
  """The dreams, which come sorted by kind, with what the teacher wrote."""
  finished = []
  for i, (_, same) in enumerate(itertools.groupby(dreams, lambda d: d.kind)):
    same = list(same)
    completions = dreamer.write(
        [d.teacher_ids(dreamer.chat) for d in same],
        jax.random.fold_in(key, i), segments=segments,
        temperature=temperature)
    finished += [d._replace(completion=tuple(c))
                 for d, c in zip(same, completions, strict=True)]
  return finished


def _library_dreams(dreamer, document, segments, key, avoid):
  """Dreams without completions yet, from the library."""
  s, chat = dreamer.settings, dreamer.chat
  prompts = prompt_library.prompts_of(s.library)
  told = [Dream('open', p.format(topic=document.title), '', ())
          for p in prompts.told for _ in range(s.open_samples)]
  requests = [chat.after_document(p) for p in prompts.written
              for _ in range(s.open_samples)]
  replies = dreamer.texts(dreamer.write(
      requests, key, temperature=s.question_temperature, segments=segments))
  written = distinct((clean_request(reply, document.text, s.forbidden)
                      for reply in replies), avoid)
  return told + [Dream('written', prompt, '', ()) for prompt in written]


def write_exam(dreamer: Dreamer, text: str, segments: Segments, key,
               answer_prompt: str, limit: int) -> list[tuple[str, str]]:
  """Questions about a text with the old self's greedy in-context answers.

  Returns:
    at most `limit` pairs; those whose answer is empty are left out.
  """
  asked = _question_dreams(
      dreamer, write_questions(dreamer, text, segments, key),
      answer_prompt)[:limit]
  if not asked:
    return []
  answered = _complete(dreamer, [d for _, d in asked], segments, key, 0.0)
  answers = dreamer.texts(d.completion for d in answered)
  return [(q, a) for (q, _), a in zip(asked, answers, strict=True) if a]


def write_dreams(dreamer: Dreamer, document, segments: Segments, key,
                 answer_prompt: str, avoid: Sequence[str] = ()):
  """The teacher's dreams about a document, and questions held out of them.

  Args:
    dreamer: the old self.
    document: has `title`, what it is about, and `text`.
    segments: the document in its cache; () if it has it elsewhere.
    key: PRNG key.
    answer_prompt: how questions are put, with {question}.
    avoid: questions that no dream may ask.

  Returns:
    (dreams, held_out, coverage): a list of Dream; of (question, greedy answer)
    about the same text that no dream contains; how much of it was asked.

  Raises:
    UserError: if no dream would tell of a sentence of the text.
  """
  s = dreamer.settings
  ask_key, held_key, dream_key = jax.random.split(key, 3)
  questions, coverage = _covering_questions(
      dreamer, document.text, segments, ask_key, avoid)
  asked = _question_dreams(dreamer, questions, answer_prompt)
  held = asked[::s.held_out] if s.held_out else []
  kept = [pair for pair in asked if pair not in held]
  wanted = [d for _, d in kept] * s.answers_per_question
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  beginnings = sentence_beginnings(
      document.text, s.recalls_per_sentence, rng,
      lambda text: askable(dreamer, text))
  recall = s.recall_prompt.format(topic=document.title)
  recalls = [Dream('recall', recall, start, ()) for start in beginnings]
  fitting = [dream for dream in recalls if _fits(dreamer, dream)]
  coverage = coverage._replace(
      beginnings_too_long=len(recalls) - len(fitting))
  wanted += fitting
  if not (asked or fitting):
    raise UserError(
        f'nothing in the text can be asked about: found {coverage}. Raise '
        f'dreams.prompt_tokens={s.prompt_tokens}, or give a text of sentences, '
        'items or lines in a language that the model writes.')
  wanted += [Dream('open', p.format(topic=document.title), '', ())
             for p in s.open_prompts for _ in range(s.open_samples)]
  wanted += _library_dreams(
      dreamer, document, segments, jax.random.fold_in(ask_key, 1),
      (*avoid, *(question for question, _ in held)))
  wanted = [d for d in wanted if _fits(dreamer, d)]
  dreams = _complete(dreamer, wanted, segments, dream_key)
  if not held:
    return dreams, [], coverage
  answered = _complete(dreamer, [d for _, d in held], segments, held_key, 0.0)
  answers = dreamer.texts(d.completion for d in answered)
  return dreams, [(q, a) for (q, _), a in zip(
      held, answers, strict=True) if a], coverage


def recitations(dreamer: Dreamer, document) -> list[Dream]:
  """The text itself as replies: piece by piece, each after what stands before
  it, and every sentence alone. Nothing is sampled.

  What plain fine-tuning on a text learns from.
  """
  s, chat, text = dreamer.settings, dreamer.chat, document.text
  prompt = s.recall_prompt.format(topic=document.title)
  ends = [0, *words.word_ends(text)]
  before = lambda first, at: text[ends[first]:ends[at]].lstrip()
  dreams, at = [], 0
  while at < len(ends) - 1:
    fits = lambda i, at=at: _fits(
        dreamer, Dream('recall', prompt, before(i, at), ()))
    first = bisect.bisect_left(range(at), True, key=fits)
    # A few tokens fewer may follow a word more.
    first = next((i for i in range(max(0, first - 4), first) if fits(i)), first)
    end = at + 1
    encode = lambda end, at=at: chat.tokenizer.encode(text[ends[at]:ends[end]])
    while end < len(ends) - 1 and len(encode(end + 1)) <= s.completion_tokens:
      end += 1
    dreams.append(Dream('recall', prompt, before(first, at),
                        tuple(encode(end)[:s.completion_tokens])))
    at = end
  stop = chat.tokenizer.stop_ids[:1]
  dreams += [Dream('recall', prompt, '', tuple(
      (*chat.tokenizer.encode(sentence), *stop)[:s.completion_tokens]))
             for sentence in documents.split_sentences(document.text)]
  return dreams
