"""What every task that reads documents does before its nights."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from sleepjax.data.chunks import wake_chunks
from sleepjax.data.corpus import Skipped
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.evals.sleep_scores import chunk_of
from sleepjax.growth import slots
from sleepjax.growth.adapters import check_growth
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.writing import verification
from sleepjax.writing.coverage import check_askable
from sleepjax.writing.dreamer import Dreamer

_BLOCK = 8  # Slots that a pool gains at once, at least.
_NAMED = 3  # Titles that stand for all.


@dataclasses.dataclass(frozen=True)
class Reading:
  """What is read, and what it is asked.

  document: the text, or several, in the order in which they are read.
  questions: for scoring only, or None to let the model write them.
  controls: (document, questions) that it does not read.
  where: the questions come from, for messages.
  skipped: what was found beside the texts and is not read, for the report.
  """

  document: Document | Sequence[Document]
  questions: Sequence[Question] | None = None
  controls: Sequence[tuple[Document, Sequence[Question]]] = ()
  where: str = 'the questions'
  skipped: Sequence[Skipped] = ()

  @property
  def documents(self) -> tuple[Document, ...]:
    """All that is read."""
    return ((self.document,) if isinstance(self.document, Document) else
            tuple(self.document))

  @property
  def title(self) -> str:
    """The title of the text, or of the first of several."""
    titles = [document.title for document in self.documents]
    if len(titles) == 1:
      return titles[0]
    more = len(titles) - _NAMED
    named = '; '.join(title or 'a text' for title in titles[:_NAMED])
    return f'{named} and {more} more' if more > 0 else named

  @property
  def sha256(self) -> str:
    """Hash of all that is read, by which runs are told apart."""
    first, *more = self.documents
    if more or first.prompts:
      return _sha256(json.dumps([
          dataclasses.astuple(document) for document in self.documents]))
    return _sha256(first.text)


def summary_of(documents: Sequence[Document], sleeps: Sequence[int]
               ) -> list[dict]:
  """Title, hash and number of sleeps of each document, for the report."""
  return [{'title': document.title, 'sha256': _sha256(document.text),
           'sleeps': number}
          for document, number in zip(documents, sleeps, strict=True)]


def _sha256(text):
  return hashlib.sha256(text.encode()).hexdigest()


def usable_prompts(model: Model, documents: Sequence[Document],
                   settings: SleepConfig, exam: Sequence[Question]
                   ) -> tuple[list[Document], list[Skipped]]:
  """The documents with those of their prompts that a night can answer.

  Args:
    model: who is prompted.
    documents: with the prompts that somebody gave.
    settings: of the sleeps.
    exam: questions that no night may be asked.

  Returns:
    (documents, the prompts that are left out, and why).
  """
  asked = {_words(question.question) for question in exam}
  left, skipped = [], []
  for document in documents:
    reasons = {prompt: 'a question of the exam' if _words(prompt) in asked
               else _too_long(model, settings, prompt)
               for prompt in document.prompts}
    skipped += [Skipped(f'the prompt {prompt[:40]!r}', why)
                for prompt, why in reasons.items() if why]
    left.append(dataclasses.replace(document, prompts=tuple(
        prompt for prompt, why in reasons.items() if not why)))
  return left, skipped


def is_prompt(question: str, documents: Sequence[Document]) -> bool:
  """Whether a question is among the prompts of documents."""
  return _words(question) in {
      _words(prompt) for document in documents for prompt in document.prompts}


def _words(prompt):
  return ' '.join(prompt.casefold().split())


def _too_long(model, settings, prompt):
  tokens = len(model.chat.closed_book(prompt))
  most = settings.dreams.prompt_tokens
  return (f'{tokens} tokens are more than sleep.dreams.prompt_tokens={most}'
          if tokens > most else '')


def chunks_of(model: Model, document: Document, settings: SleepConfig
              ) -> list[Document]:
  """The stretches of a document that are each slept on.

  A prompt goes to the stretch that shares most words with it.

  Raises:
    UserError: they cannot be read, nothing can be asked about them, or a prompt
      is too long.
  """
  s, chat = settings, model.chat
  check_growth(s.adapter, model.config, model.params)
  for prompt in document.prompts:
    if why := _too_long(model, s, prompt):
      raise UserError(
          f'the prompt {prompt[:40]!r}: {why}; shorten it, or raise that.')
  chunks = wake_chunks(chat, document, s.context_tokens,
                       model.config.max_context - s.reply_tokens)
  if s.source == 'dreams':
    check_askable(Dreamer(model, s.dreams), [chunk.text for chunk in chunks])
  for chunk in chunks if s.source == 'facts' else ():
    verification.check_fits(
        model, s.writing.ask.examples, chunk.title, chunk.text)
  places = chunk_of([Question(prompt, '') for prompt in document.prompts],
                    chunks)
  return [dataclasses.replace(chunk, prompts=tuple(
      prompt for prompt, place in zip(document.prompts, places, strict=True)
      if place == n)) for n, chunk in enumerate(chunks)]


def with_room(model: Model, settings: SleepConfig, left: int) -> Model:
  """The same function with a closed slot for the next night.

  Slots are added in blocks of at least as many as there are, so that programs
  are compiled anew a few times in a long life, and half of the pool at most is
  empty.

  Args:
    model: canonical.
    settings: of the sleeps.
    left: nights that are to come.
  """
  used = np.asarray(slots.is_open(model.config, model.params))
  room = min(settings.adapter.slots_in(left, len(used)),
             max(_BLOCK, len(used)))
  if not room or not used.all():
    return model
  return model.with_params(*slots.allocate_pool(
      model.config, model.params, room, settings.slot_rank))
