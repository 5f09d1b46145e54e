"""What a notebook needs: a model, a document, a sleep, an answer.

    import sleepjax as sj

    model = sj.load('smollm2-135m-instruct')
    slept, report = sj.sleep(model, sj.Document.read('notes.txt'), key=0)
    print(report)                                # before, after, text in view
    print(slept.ask('Who designed Skarrow Point Lighthouse?'))
    sj.export_hf(slept, 'notes-hf')

More than one file, or a folder, is read at once:

    documents, questions, skipped = sj.read('notes', 'diary.md')
    slept, report = sj.sleep(model, documents, questions=questions)

A night can leave its model, and enter another copy of what it was learnt on:

    sj.save_night(slept, 1, 'notes.safetensors')
    both, report = sj.combine(model, 'notes.safetensors', 'diary.safetensors')
    again, report = sj.forget(both, 2)

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
from sleepjax.growth import nights as nights_lib
from sleepjax.growth.fold import fold_slots, pad_units
from sleepjax.growth.night_files import read_night
from sleepjax.growth.nights import save_night as save_night
from sleepjax.lifecycle import recipes
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.model import Model, load_pretrained
from sleepjax.models import export, gguf_export
from sleepjax.runs import night_report, nights
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
    if 'nights' in self:
      return '\n'.join(night_report.lines(self._entries))
    text = io.StringIO()
    report_lib.print_table(self, rich.console.Console(
        file=text, width=_WIDTH))
    return text.getvalue().rstrip()


def sleep(model: Model, document: Document | Sequence[Document],
          settings: SleepConfig | None = None, *, key: int = 0,
          questions: Sequence[Question] | None = None,
          exam: ExamConfig | None = None, observer: Observer | None = None
          ) -> tuple[Model, Report]:
  """Reads documents and sleeps on them, chunk by chunk.

  Args:
    model: canonical; it stays as it is.
    document: what is read, or several, one after the other; one that is longer
      than the context takes several sleeps, each of which adds a slot.
    settings: every choice of a sleep; None for `recipes.facts`.
    key: seed of everything random.
    questions: about what is read, for scoring only; without any the model
      writes some itself.
    exam: of the scores.
    observer: shows phases and keeps metrics; None is silent.

  Returns:
    (the model that has slept; what changed, before, after and in view).

  Raises:
    UserError: something cannot be read, asked or scored; the message names it.
  """
  settings = settings or recipes.facts()
  task = DocumentTask(
      model, Reading(document, questions or None, bundled_controls()),
      settings, exam or ExamConfig(), key)
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


def open_night(model: Model, path: str | os.PathLike) -> Model:
  """The model with one more night, which `save_night` has written.

  Args:
    model: a copy of the model that the night was learnt on; it may have nights
      of its own.
    path: of the night's file.

  Raises:
    UserError: the file is none, or it was learnt on another model; the message
      says what to do.
  """
  return nights_lib.add_nights(model, [read_night(path)])


def combine(model: Model, *paths: str | os.PathLike) -> tuple[Model, Report]:
  """A model with several nights, asked about each of them.

  What they add to each MLP's output is summed, in whichever order they are
  named. They may disturb one another: the report has right answers before, with
  each night alone, and combined.

  Args:
    model: see `open_night`.
    paths: of nights, which `save_night` has written.

  Raises:
    UserError: see `open_night`.
  """
  whole, report = night_report.combined(model, [*map(read_night, paths)])
  return whole, Report(report)


def forget(model: Model, *numbers: int, never: Model | None = None,
           reseed: Reseeding | None = None) -> tuple[Model, Report]:
  """A model without some of its nights, asked about all that it had.

  Their slots are closed and emptied. `report['exact']` says whether that gives
  the model that has never had them: it does for the last night, and for nights
  that were learnt apart. Nights that were learnt while a forgotten one was open
  have leant on it.

  Args:
    model: stays as it is.
    numbers: of its nights, see `Model.nights`.
    never: a model that lived the same days without these nights, to be asked
      as well.
    reseed: has those others learn once more what they answered to their own
      prompts before; None leaves them as they are.

  Raises:
    UserError: there is no such night, or it has no slot of its own; or of one
      that is to be re-seeded no prompt is known.
  """
  less, report = night_report.forgotten(
      model, numbers, never, reseed=reseed)
  return less, Report(report)


def export_hf(model: Model, folder: str | os.PathLike, *,
              dtype: str = 'float32', most_bytes: int | None = None,
              pad_to: int = 1) -> None:
  """Writes a model as a Hugging Face folder, its slots folded into its MLPs.

  Args:
    model: canonical.
    folder: must not exist, or be empty.
    dtype: of the weights: 'float32', 'bfloat16' or 'float16', rounded.
    most_bytes: of one file of weights; more are several. None for one file.
    pad_to: makes the width of its MLPs a multiple of this, by hidden units
      whose weights are zero.

  Raises:
    UserError: it cannot be folded, a weight does not fit into the type, or the
      folder is not a new one.
  """
  config, params = pad_units(
      *fold_slots(model.config, model.params), pad_to)
  export.export_hf(config, params, model.tokenizer, folder, dtype=dtype,
                   most_bytes=most_bytes)


def export_gguf(model: Model, path: str | os.PathLike, *,
                dtype: str = 'float32', most_bytes: int | None = None,
                pad_to: int = 1) -> None:
  """Writes a model as a GGUF file, its slots folded into its MLPs.

  Args:
    model: canonical.
    path: must not exist, and end in .gguf.
    dtype: of matrices: 'float32', 'bfloat16', 'float16' or 'q8_0'.
    most_bytes, pad_to: see `export_hf`.

  Raises:
    UserError: see `export_hf`; or GGUF has no such architecture or tokenizer.
  """
  config, params = pad_units(
      *fold_slots(model.config, model.params), pad_to)
  gguf_export.export_gguf(config, params, model.tokenizer, path, dtype=dtype,
                          most_bytes=most_bytes, name=model.name)
