"""Questions about the sentences of a text, and about how many there are any."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.data import documents, words
from sleepjax.data.chunks import fitting_parts
from sleepjax.errors import UserError
from sleepjax.writing.cleaning import clean_question, distinct
from sleepjax.writing.dreamer import Dreamer, Segments


class Coverage(NamedTuple):
  """Of how much of a text the old self could be asked.

  sentences: stretches of the text, sentences or parts of very long ones.
  too_long: of these, so long that no request for a question fits.
  without_question: of these, whose replies held no question of use.
  beginnings_too_long: recollections that were left out since the beginning of
    their sentence does not fit.
  verified: of the sentences, those about which the model has written a question
    that was verified, see `facts`.
  answers_too_long: spans that would have been worth a question but do not fit
    into a reply, see `facts`.
  """

  sentences: int
  too_long: int
  without_question: int
  beginnings_too_long: int = 0
  verified: int = 0
  answers_too_long: int = 0

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
  return covering_questions(dreamer, text, segments, key, avoid)[0]


def covering_questions(dreamer, text, segments, key, avoid):
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
