"""A night that learns replies to messages, given and not dreamt."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sleepjax.data.prompts import ChatPrompts
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.written import Words
from sleepjax.writing.dreamer import Dream


class Told(NamedTuple):
  """A message of the user, and what is to be replied."""

  message: str
  reply: str


class InView(NamedTuple):
  """A text, and what is said with it in view."""

  text: str
  rows: Sequence[Told]


def words_of(topic: str, chat: ChatPrompts, settings: SleepConfig,
             rows: Sequence[Told], stored: Sequence[Told],
             others: Iterable[InView]) -> Words:
  """The rows of a night: its own, and stored ones as the settings use them.

  Stored ones are half of all that is learnt (`replay`), or say which weights
  matter (`seeding.ewc`), or are retained (`seeding.retention`).

  Args:
    topic: of the night.
    chat: of the model that sleeps.
    settings: of the night.
    rows: its own.
    stored: of earlier nights.
    others: of which it rehearses, with `seeding.rehearsal`, to read.
  """
  dream = lambda row: _dream(chat, settings, row)
  own, kept = list(map(dream, rows)), list(map(dream, stored))
  learnt = own
  if settings.replay and kept:
    most = max(len(own), len(kept))
    learnt = _up_to(most, own) + _up_to(most, kept)
  retained = [(row.student_ids(chat), list(row.completion))
              for row in kept] if settings.seeding.retention else []
  rehearsed = [
      (chat.document(other.text) + chat.after_document(row.prompt),
       list(row.completion))
      for other in others for row in map(dream, other.rows)
  ] if settings.seeding.rehearsal else []
  return Words(topic, learnt, [], [], [], kept if settings.seeding.ewc else [],
               rehearsed, [], retained, {}, {})


def _dream(chat, settings, row: Told) -> Dream:
  tokenizer = chat.tokenizer
  return Dream('question', row.message, '', tuple(
      [*tokenizer.encode(row.reply), *tokenizer.stop_ids[:1]][
          :settings.dreams.completion_tokens]))


def _up_to(count, rows):
  """Rows again and again until there are so many."""
  return (rows * -(-count // len(rows)))[:count]
