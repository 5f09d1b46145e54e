"""Nights about documents of which one is forgotten, in several ways.

As in `sleepjax.tasks.forgetting`, with texts for days, and one way is to have
read the others alone. A night of a model of some size takes long, so that each
is saved and not slept twice.
"""

import dataclasses
import hashlib
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax import seeds
from sleepjax.data import documents
from sleepjax.data.documents import Question
from sleepjax.errors import check_least
from sleepjax.evals import questions as questions_lib
from sleepjax.evals import report as report_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Life
from sleepjax.lifecycle.reseeding import prompts_in
from sleepjax.lifecycle.written import Day
from sleepjax.model import Model
from sleepjax.runs import folder as folder_lib
from sleepjax.runs.nights import remembered
from sleepjax.runs.recording import NightBook
from sleepjax.tasks.reading import chunks_of, with_room
from sleepjax.tasks.ways_to_forget import ForgettingConfig, Told, Ways
from sleepjax.training import checkpoints
from sleepjax.training.observer import Observer

_REMEMBERED = 64  # Prompts about earlier nights that each sleep retains.
_AGAIN = 1_000  # Added to the seed of a life that is lived once more.


@dataclasses.dataclass(frozen=True)
class DocumentsConfig:
  """Which texts are read, a night after each, and which is forgotten.

  names: of bundled documents with questions, each of which fits into one sleep.
  forgotten: one of them.
  asked: of what its night has asked, one question each about so many facts
    moves weights, and tells whether it is forgotten.
  controls: of the bundled texts that nobody reads so many are asked about.
  drift_tokens: of an unrelated text, for its perplexity.
  max_new_tokens, batch_rows: of greedy answers.
  """

  names: tuple[str, ...] = ('lighthouse', 'control_ship')
  forgotten: str = 'lighthouse'
  asked: int = 8
  controls: int = 2
  drift_tokens: int = 512
  max_new_tokens: int = 16
  batch_rows: int = 8

  def __post_init__(self):
    if len(set(self.names)) < len(self.names) or len(self.names) < 2:
      raise ValueError(f'names={self.names} must be different, at least two.')
    if self.forgotten not in self.names:
      raise ValueError(f'forgotten={self.forgotten!r} must be one of '
                       f'{", ".join(self.names)}.')
    check_least(self, asked=1, controls=1, drift_tokens=2, max_new_tokens=1,
                batch_rows=1)


class DocumentLives:
  """The lives of one seed: of all documents, and of all but one."""

  def __init__(self, model: Model, settings: SleepConfig,
               config: DocumentsConfig, seed: int, folder: pathlib.Path,
               observer: Observer | None = None):
    """Reads all documents, and sleeps after each.

    Args:
      model: canonical, before all nights.
      settings: of every sleep.
      config: which documents.
      seed: of all randomness.
      folder: where every night is saved; what is there is not slept again.
      observer: is shown the phases of every sleep.

    Raises:
      UserError: a text cannot be read in one sleep, or the folder holds nights
        of other settings.
    """
    self.settings, self.seed, self.config = settings, seed, config
    self._folder, self._observer, self._name = folder, observer, model.name
    self._chunks = [self._chunk(model, name) for name in config.names]
    self.before = with_room(model, settings, len(config.names))
    self.slept = self._live(range(len(config.names)), seed)

  def _chunk(self, model, name):
    chunks = chunks_of(model, documents.bundled_document(name), self.settings)
    if len(chunks) > 1:
      raise ValueError(
          f'names: {name} takes {len(chunks)} sleeps, and one text stands for '
          'one night: raise sleep.context_tokens.')
    return chunks[0]

  @property
  def texts(self) -> list[list[dict[str, str]]]:
    """What each night learnt from, as its report has it."""
    return _texts(self.slept)

  @property
  def prompts(self) -> dict[int, list[str]]:
    """Number of each night, from 1 -> what it has learnt to answer."""
    return {number: prompts_in(texts)
            for number, texts in enumerate(self.texts, 1)}

  def without(self, number: int, again: bool = False) -> Model:
    """The model that has read all documents but one.

    Its nights draw the random numbers of their place among all, or others
    (`again`).
    """
    return self._live(
        [n for n in range(len(self._chunks)) if n != number],
        self.seed + again * _AGAIN)

  def _live(self, numbers: Sequence[int], seed: int) -> Model:
    """The model after these nights, slept where they are not saved."""
    model = self.before
    for count in range(1, len(numbers) + 1):
      lived = numbers[:count]
      folder = self._folder / '_'.join([f'seed{seed}', *(
          self.config.names[n] for n in lived)])
      same = self._identity(lived, seed)
      if checkpoints.is_saved(folder):
        model = dataclasses.replace(
            checkpoints.load_model(folder), name=model.name)
        folder_lib.check_same(folder, model.lineage, same)
        continue
      model = self._night(model, lived[-1], seed)
      checkpoints.save_model(folder, model.config, model.params,
                             model.tokenizer, {**model.lineage, **same})
    return model

  def _identity(self, lived, seed):
    """What a saved life must have been lived with, JSON types."""
    return json.loads(json.dumps(report_lib.plain({
        'base': self._name, 'seed': seed,
        'config': {'sleep': dataclasses.asdict(self.settings)},
        'documents': [hashlib.sha256(self._chunks[n].text.encode()).hexdigest()
                      for n in lived]})))

  def _night(self, model, number, seed):
    texts = _texts(model)
    model = with_room(model, self.settings, 1)
    day = Day(
        self._chunks[number],
        [documents.bundled_document(name).text
         for name in documents.bundled_names('rehearsal_')],
        remembered=remembered(texts, _REMEMBERED, seed, number),
        exam=documents.bundled_questions(self.config.names[number]))
    life, report = next(cycle.live(
        Life(model, number), [day], self.settings, key=seeds.key_of(seed),
        observer=self._observer))
    slept = NightBook(self.settings).written(model, life.model, day, report)
    return dataclasses.replace(slept, lineage={
        **slept.lineage, 'progress': {'dreams': [*texts, report.texts]}})


class DocumentForgetting:
  """One document of a seed's lives that is to be forgotten."""

  def __init__(self, lives: DocumentLives):
    """Says which.

    Args:
      lives: of the seed.
    """
    self._lives, c = lives, lives.config
    self._number = c.names.index(c.forgotten)
    self._answers = AnswerConfig(
        lives.settings.answer_prompt, c.max_new_tokens, c.batch_rows)
    facts = [_one_each(texts, lives.settings.answer_prompt)
             for texts in lives.texts]
    told = facts.pop(self._number)
    asked = [told[i] for i in np.unique(np.linspace(
        0, len(told) - 1, min(c.asked, len(told))).round().astype(int))]
    self._ways = Ways(lives, self._number, Told(
        asked, sum(facts, []), asked), self._answers)
    self._exams = {
        'forgotten': [*documents.bundled_questions(c.forgotten)],
        'others': [q for name in c.names if name != c.forgotten
                   for q in documents.bundled_questions(name)]}
    unread = [name for name in documents.bundled_names('control_')
              if name not in c.names][:c.controls]
    self._controls = [
        q for name in unread for q in documents.bundled_questions(name)]

  def row(self, config: ForgettingConfig) -> dict[str, Any]:
    """What a way of forgetting takes and leaves.

    Returns:
      `forgotten_…` and `others_…`, of people's questions about the document and
      about all others: `direct`, which are answered right, their `share`, and
      `nats`, the loss of their answers a token; `controls_nats`, of questions
      about texts that nobody has read; `perplexity` of an unrelated one;
      `checked_share`, right answers to what the night itself has asked;
      `updates` until it was forgotten, if it `was_forgotten`, and `seconds`.
    """
    ways, began = self._ways, time.perf_counter()
    model, updates, done = ways.forgotten(config)
    row = {'updates': updates, 'was_forgotten': done,
           'seconds': time.perf_counter() - began}
    nats = lambda asked: questions_lib.answer_nll(model, asked, self._answers)
    for name, asked in self._exams.items():
      right = ways.right(model, asked)
      row |= {f'{name}_direct': right, f'{name}_share': float(np.mean(right)),
              f'{name}_nats': nats(asked)}
    drift = model.tokenizer.encode_stream(documents.bundled_document(
        'drift').text)[:self._lives.config.drift_tokens]
    return {**row, 'controls_nats': nats(self._controls),
            'checked_share': float(np.mean(ways.right(
                model, self._ways.told.checked))),
            'perplexity': questions_lib.perplexity(
                model.config, model.params, drift)}


def _texts(model: Model) -> list[list[dict[str, str]]]:
  """What each of a model's nights learnt from."""
  progress: Mapping[str, Any] = model.lineage.get('progress') or {}
  return [list(texts) for texts in progress.get('dreams', ())]


def _one_each(texts: Sequence[Mapping[str, str]], answer_prompt: str
              ) -> list[Question]:
  """Of each answer the first question that the night has asked for it."""
  before, after = answer_prompt.split('{question}')
  found = {}
  for text in texts:
    if text['kind'] == 'question':
      question = text['prompt'].removeprefix(before).removesuffix(after)
      answer = text['start'] + text['completion']
      found.setdefault(answer, Question(question, answer))
  return [*found.values()]
