"""Documents and questions from many places, and what was left out of them."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from sleepjax.data.documents import Document, Question

_MOST_LINES = 20


class Skipped(NamedTuple):
  """Something that was not read, and why not."""

  what: str
  why: str


class Corpus(NamedTuple):
  """What was found to be read, and to be asked about it.

  documents: in the order in which they are read; no two have the same text.
  questions: with their answers, for scoring only.
  skipped: all that was there and is in neither.
  """

  documents: tuple[Document, ...] = ()
  questions: tuple[Question, ...] = ()
  skipped: tuple[Skipped, ...] = ()


class Gatherer:
  """Takes in documents and questions, each of them once."""

  def __init__(self):
    self._found = {}  # Text -> (document, where it was found).
    self._asked = {}  # Question -> where.
    self._skipped = []

  def document(self, document: Document, where: str,
               only: bool = True) -> None:
    """Takes in a text, and the prompts of one that is known already.

    Args:
      document: what was found.
      where: it was, for messages.
      only: nothing else was found there, so that a known text is skipped.
    """
    known, place = self._found.get(document.text, (None, where))
    prompts = dict.fromkeys(
        (*(known.prompts if known else ()), *document.prompts))
    self._found[document.text] = dataclasses.replace(
        known or document, prompts=tuple(prompts)), place
    if known and only:
      self.skip(where, f'the same text as {place}')

  def question(self, question: Question, where: str) -> None:
    """Takes in a question, unless it and its answer are known."""
    place = self._asked.setdefault(question, where)
    if place is not where:
      self.skip(where, f'the same question as {place}')

  def skip(self, what: str, why: str) -> None:
    """Notes what is not read."""
    self._skipped.append(Skipped(what, why))

  def corpus(self) -> Corpus:
    """All that was taken in."""
    return Corpus(tuple(document for document, _ in self._found.values()),
                  tuple(self._asked), tuple(self._skipped))


def skipped_lines(skipped: Sequence[Skipped], most: int = _MOST_LINES
                  ) -> list[str]:
  """A line for each thing that was skipped, and how many more there are."""
  lines = [f'skipped {what}: {why}' for what, why in skipped[:most]]
  if len(skipped) > most:
    lines.append(f'skipped {len(skipped) - most} more; report.json has them '
                 'all')
  return lines
