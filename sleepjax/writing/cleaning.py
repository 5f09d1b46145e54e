"""What can be kept of the questions and requests that a small model writes."""

import re
from collections.abc import Sequence

from sleepjax.data import words as words_lib
from sleepjax.data.words import content_words

_QUESTION = re.compile(
    r'(?:question\s*\d*\s*[:.]\s*)?(.*?[?？؟՞፧\u037e])', re.I)


def _plain_words(text):
  """Its different words without numbers."""
  return {word for word in words_lib.comparable_words(text.replace('_', ' '))
          if words_lib.has_letters(word)}


def clean_question(reply: str, text: str,
                   forbidden: Sequence[str]) -> str | None:
  """The first question in a model's reply, or None if it is of no use.

  Args:
    reply: what the model wrote.
    text: the text it was asked about; a question must share a content word.
    forbidden: words that no question may contain.
  """
  line = reply.strip().split('\n')[0]
  match = _QUESTION.match(line)
  if match is None:
    return None
  question = match.group(1).strip().strip('"\'* ').strip()
  words = _plain_words(question)
  if len(words) < 4 or words & set(forbidden):
    return None
  if not content_words(question) & content_words(text):
    return None
  return question[0].upper() + question[1:]


def clean_request(reply: str, text: str,
                  forbidden: Sequence[str]) -> str | None:
  """A prompt that the model wrote, or None if it is of no use without the text.

  The rules are those of `clean_question`, but it need not be a question.
  """
  line = reply.strip().split('\n')[0].strip('"\'* ')
  words = _plain_words(line)
  if len(words) < 4 or words & set(forbidden) or not (
      content_words(line) & content_words(text)):
    return None
  return line


def _normal(question):
  return ' '.join(words_lib.comparable_words(question))


def distinct(questions, avoid=()) -> list[str]:
  """Each text once, by its words alone; None and those to avoid left out."""
  seen = {}
  for question in questions:
    if question is not None:
      seen.setdefault(_normal(question), question)
  for question in avoid:
    seen.pop(_normal(question), None)
  return list(seen.values())
