"""A conversation that a model sleeps on: what was said and read by day.

By day all of it is in the model's context. A night consolidates it, chunk by
chunk, and clears the context. Nobody is examined: what it knows is seen by
asking it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sleepjax.data.documents import Document, bundled_document, bundled_names
from sleepjax.errors import UserError
from sleepjax.evals import questions as questions_lib
from sleepjax.growth import nights as nights_lib
from sleepjax.lifecycle import reseeding
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.lifecycle.written import Day
from sleepjax.model import Model
from sleepjax.models.night_records import NightRecord
from sleepjax.runs import nights
from sleepjax.runs.task import Progress
from sleepjax.seeding.consolidation import HandOver
from sleepjax.tasks.reading import chunks_of, with_room
from sleepjax.training.observer import Observer

_REPLY = 96  # Tokens.
_BUCKET = 128  # Prompts of up to so many tokens, or a multiple, share programs.
_REMEMBERED = 64  # Prompts about earlier nights that each sleep retains.
_TITLE = 'Conversation'


class Forgotten(NamedTuple):
  """What forgetting some nights has come to.

  exact: whether the model now is the one that never had them.
  reseeded: number of each night that has learnt its own answers once more ->
    what that did.
  """

  exact: bool
  reseeded: Mapping[int, HandOver]


class Unexamined:
  """Texts as days, without an exam; see `sleepjax.runs.task.Task`.

  Its progress has the `texts` of each night, as `SleepReport` has them.
  """

  retains_base = False

  def __init__(self, model: Model, documents: Sequence[Document],
               settings: SleepConfig,
               earlier: Sequence[Sequence[Mapping[str, str]]] = (),
               seed: int = 0):
    """Cuts what was read into days.

    Args:
      model: who has read it.
      documents: what.
      settings: of every sleep.
      earlier: the texts of earlier nights, of which some are retained.
      seed: which of them.

    Raises:
      UserError: something of it cannot be read or asked about.
    """
    self.settings, self.seed, self._earlier = settings, seed, list(earlier)
    self.chunks = [chunk for document in documents
                   for chunk in chunks_of(model, document, settings)]
    self.nights = len(self.chunks)

  def identity(self) -> dict[str, Any]:
    return {}

  def prepare(self, model: Model) -> Model:
    return self.with_room(model, 0)

  def with_room(self, model: Model, night: int) -> Model:
    return with_room(model, self.settings, self.nights - night)

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    return {'texts': []}

  def day(self, night: int, progress: Progress) -> Day:
    earlier = [*self._earlier, *progress['texts']]
    return Day(
        self.chunks[night],
        [bundled_document(name).text for name in bundled_names('rehearsal_')],
        remembered=nights.remembered(
            earlier, _REMEMBERED, self.seed, len(earlier)))

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> None:
    progress['texts'].append(report.texts)

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    return progress

  def files(self, progress: Progress) -> dict[str, Any]:
    return {}


class Conversation:
  """What is said and read by day, and the model that sleeps on it.

  Attributes:
    model: canonical, with all of its nights.
    turns: messages since the last night, dicts with 'role' and 'content'.
    texts: documents that were read since.
  """

  def __init__(self, model: Model, settings: SleepConfig, seed: int = 0,
               saved: Mapping[str, Any] | None = None):
    """Begins, or goes on.

    Args:
      model: who is talked to.
      settings: of every sleep.
      seed: of everything random.
      saved: what `to_json` gave.
    """
    saved = saved or {'turns': [], 'texts': [], 'learnt': {}, 'sleeps': 0}
    self.model, self._settings, self._seed = model, settings, seed
    self.turns = [dict(turn) for turn in saved['turns']]
    self.texts = [Document(**text) for text in saved['texts']]
    # Number of a night -> the rows that it learnt from.
    self._learnt, self._sleeps = dict(saved['learnt']), saved['sleeps']

  def to_json(self) -> dict[str, Any]:
    """All but the model, as JSON types."""
    return {'turns': self.turns, 'learnt': self._learnt,
            'texts': [*map(dataclasses.asdict, self.texts)],
            'sleeps': self._sleeps}

  def read(self, document: Document) -> None:
    """Puts a text into the context."""
    self.texts.append(document)

  def say(self, message: str) -> str:
    """The model's reply, with what was read and said today in its context.

    Where it is too long, what was said first is left out.

    Raises:
      UserError: the texts alone do not fit.
    """
    ready = self.model.ready
    turns = [*self.turns, {'role': 'user', 'content': message}]
    for first in range(0, len(turns), 2):
      ids = self._encoded(turns[first:])
      if len(ids) + _REPLY <= ready.config.max_context:
        break
    else:
      raise UserError(
          f'{len(ids)} tokens that were read and said and up to {_REPLY} of '
          "the reply are more than the model's context of "
          f'{ready.config.max_context}. Let it sleep on them, or say less.')
    reply, = questions_lib.greedy_texts(
        ready, [ids], _REPLY, 1, multiple=_BUCKET)
    self.turns = [*turns, {'role': 'assistant', 'content': reply}]
    return reply

  def _encoded(self, turns):
    """The texts stand in the first message, as when one is asked about."""
    texts = [text.text.strip() for text in self.texts]
    first = {**turns[0], 'content': '\n\n'.join(
        [*texts, turns[0]['content']])}
    tokenizer = self.model.tokenizer
    return tokenizer.encode(tokenizer.render_chat([first, *turns[1:]]))

  def ask(self, question: str) -> str:
    """What the model says from its weights alone."""
    return self.model.ask(question)

  def day(self) -> list[Document]:
    """What the next night is about: the texts, and what the user has said."""
    said = [turn['content'].strip() for turn in self.turns
            if turn['role'] == 'user']
    # A question tells nothing that could be learnt.
    told = [message for message in said if not message.endswith('?')]
    return [*self.texts, *([Document(_TITLE, '\n'.join(told))] if told else [])]

  def sleep(self, observer: Observer | None = None
            ) -> tuple[NightRecord, ...]:
    """Sleeps on the day and clears the context.

    Returns:
      The new nights.

    Raises:
      UserError: there is nothing to sleep on, or it cannot be read.
    """
    documents = self.day()
    if not documents:
      raise UserError(
          'nothing was read or told since the last night, and questions teach '
          'nothing: read a file, or tell something.')
    task = Unexamined(self.model, documents, self._settings,
                      [*self._learnt.values()], self._seed)
    known = {night.number for night in self.model.nights()}
    # Each night draws its own random numbers.
    model, progress = nights.lived(
        task, self.model, self._settings, self._seed + self._sleeps, observer)
    new = tuple(n for n in model.nights() if n.number not in known)
    self._learnt |= {str(night.number): texts for night, texts in zip(
        new, progress['texts'], strict=True)}
    self._sleeps += 1
    self._replace(model)
    self.turns, self.texts = [], []
    return new

  def forget(self, *numbers: int, updates: int = 0,
             observer: Observer | None = None) -> Forgotten:
    """Forgets nights, and all that was kept of them.

    Args:
      numbers: of the nights.
      updates: of each night that was learnt while one of these was open: it
        learns its own answers once more; 0 leaves those as they are.
      observer: is shown that.

    Raises:
      UserError: there is no such night, or one cannot be re-seeded; then the
        model is as before.
    """
    exact = nights_lib.forgets_exactly(self.model, *numbers)
    model, done = nights_lib.forget(self.model, *numbers), {}
    if updates:
      model, done = reseeding.reseeded(self.model, model, Reseeding(
          updates, {int(number): reseeding.prompts_in(texts)
                    for number, texts in self._learnt.items()},
          settings=self._settings, seed=self._seed), observer)
    self._replace(model)
    for number in numbers:
      self._learnt.pop(str(number), None)
    return Forgotten(exact, done)

  def _replace(self, model):
    self.model = model
