"""What a notebook needs: a model, a document, a sleep, an answer.

  import sleepjax as sj

  model = sj.load('smollm2-135m-instruct')
  slept, report = sj.sleep(model, sj.Document.read('notes.txt'), key=0)
  print(report)                                # before, after, text in view
  print(slept.ask('Who designed the lighthouse?'))
  sj.export_hf(slept, 'notes-hf')

Everything here is silent unless an observer is given (`sj.shown()`), and writes
no file that it is not told to write.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.console

from sleepjax.data.documents import Document, Question
from sleepjax.evals import report as report_lib
from sleepjax.growth.fold import fold_slots
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model, load_pretrained
from sleepjax.models import export
from sleepjax.runs import nights
from sleepjax.tasks.document import (
    DocumentTask,
    ExamConfig,
    Reading,
    bundled_controls,
)
from sleepjax.training import checkpoints
from sleepjax.training.observer import Observer

load = load_pretrained
_WIDTH = 100  # Of a printed report, in characters.


class Report(Mapping[str, Any]):
  """What a sleep has changed: entries by name, and a table when printed."""

  def __init__(self, entries: Mapping[str, Any]):
    self._entries = dict(entries)

  def __getitem__(self, name: str) -> Any:
    return self._entries[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._entries)

  def __len__(self) -> int:
    return len(self._entries)

  def __str__(self) -> str:
    text = io.StringIO()
    report_lib.print_table(self, rich.console.Console(
        file=text, width=_WIDTH))
    return text.getvalue().rstrip()


def sleep(model: Model, document: Document,
          settings: SleepConfig | None = None, *, key: int = 0,
          questions: Sequence[Question] | None = None,
          exam: ExamConfig | None = None, observer: Observer | None = None
          ) -> tuple[Model, Report]:
  """Reads a document and sleeps on it, chunk by chunk.

  Args:
    model: canonical; it stays as it is.
    document: what is read; one that is longer than the context takes several
      sleeps, each of which adds a slot.
    settings: every choice of a sleep.
    key: seed of everything random.
    questions: about the document, for scoring only; None lets the model write
      some itself.
    exam: of the scores.
    observer: shows phases and keeps metrics; None is silent.

  Returns:
    (the model that has slept; what changed, before, after and in view).

  Raises:
    UserError: something cannot be read, asked or scored; the message names it.
  """
  settings = settings or SleepConfig()
  task = DocumentTask(
      model, Reading(document, questions, bundled_controls()), settings,
      exam or ExamConfig(), key)
  slept, report = nights.lived(task, model, settings, key, observer)
  return slept, Report(report)


def save(model: Model, folder: str | os.PathLike) -> None:
  """Writes a model with its lineage; `open` reads it, and so does `ask`.

  Raises:
    UserError: the folder holds something else, or cannot be written.
  """
  checkpoints.save_model(folder, model.config, model.params, model.tokenizer,
                         {'base': model.name, **model.lineage})


def open(folder: str | os.PathLike) -> Model:  # noqa: A001
  """A model that `save`, or a command, has written.

  Raises:
    UserError: no model is there, or a file is missing or damaged.
  """
  return checkpoints.load_model(folder)


def export_hf(model: Model, folder: str | os.PathLike) -> None:
  """Writes a model as a Hugging Face folder, its slots folded into its MLPs.

  Raises:
    UserError: it cannot be folded, or the folder is not a new one.
  """
  config, params = fold_slots(model.config, model.params)
  export.export_hf(config, params, model.tokenizer, folder)
