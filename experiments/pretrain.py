r"""Trains a small model of the world of `sleepjax.data.world` from scratch.

  python -m experiments.pretrain --config=configs/pretrain/tiny_world.py \
      --workdir=DIR

The model learns to look up what its context tells of new people, to remember
the long-known ones, and to write questions and statements of its own. Writes
DIR/steps.jsonl, DIR/report.json and the model as a Hugging Face folder, DIR/hf.
The same command on the same folder goes on at the last checkpoint and ends with
the same parameters. config.mesh splits the run over devices, of this process or
of several (docs/devices.md).
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('pretrain')

import dataclasses
import functools
import json
import time

import jax
import numpy as np
from absl import flags

from experiments import _config
from sleepjax import seeds
from sleepjax.data import (
    process_batches,
    world,
    world_beds,
    world_tokenizer,
)
from sleepjax.errors import UserError
from sleepjax.evals import world_scores
from sleepjax.growth.fold import fold_slots
from sleepjax.mesh import distributed, sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.model import Model
from sleepjax.models import export, finite, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.lookup_init import lookup_init
from sleepjax.pretraining import next_token, world_batches
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.pretraining.world_batches import WorldRows
from sleepjax.runs.session import StepSession
from sleepjax.training.checkpoint_retention import KeepConfig
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.phase_saves import in_place_of

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_EXAM_SEED = 1_000_000  # Days of the exam; no training row has such a seed.


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of the curriculum.

  until: share of the steps at which it ends.
  rows: what is trained on until then.
  """

  until: float
  rows: WorldRows


def stage_at(stages, step: int, steps: int) -> WorldRows:
  """The rows of a step; stages follow each other by when they end."""
  stages = sorted(stages, key=lambda stage: stage.until)
  return next((s.rows for s in stages if step < s.until * steps),
              stages[-1].rows)


def world_rows(stages, settings: PretrainingConfig, seed: int):
  """Number of a step -> rows of its stage, the same for the same seed."""
  return lambda step: world_batches.sample_rows(
      stage_at(stages, step, settings.steps), (seed, step))


def born(model: ModelConfig, settings: PretrainingConfig, seed: int,
         lookup_start: bool, mesh) -> list:
  """[params, opt_state] to begin with, each leaf where it is going to stay."""
  key = seeds.key_of(seed)
  params = sharding.born_sharded(
      functools.partial(transformer.init, model), mesh, key)
  if lookup_start:
    params = lookup_init(
        model, params, world_tokenizer.is_content(model.vocab_size),
        jax.random.fold_in(key, 1))
    params = sharding.put(params, sharding.param_shardings(params, mesh))
  return [params, sharding.born_sharded(
      next_token.make_optimizer(settings).init, mesh, params)]


def train(model: ModelConfig, settings: PretrainingConfig, rows_of, state,
          steps, heard, mesh):
  """The state after the numbered steps; heard(step, state, metrics, tokens).

  Args:
    model: the architecture.
    settings: of the optimizer; rows and window are those of the rows.
    rows_of: number of a step -> its `PackedRows`.
    state: (params, opt_state) to begin with.
    steps: numbers, consecutive.
    heard: called after each step, one behind the device.
    mesh: where the state lies; rows are split over it.
  """
  real_tokens = lambda rows: int((rows.turn >= 0).sum())
  # What `heard` computes on several processes may meet the step that is under
  # way: CPUs run both at once, and each process may begin with another.
  one_by_one = jax.process_count() > 1 and jax.default_backend() == 'cpu'
  waiting = None
  for batch in process_batches.step_batches(
      steps, rows_of, real_tokens, mesh):
    with jax.set_mesh(mesh):
      *state, metrics = next_token.packed_step(
          model, settings, *state, batch.rows)
    if one_by_one:
      jax.block_until_ready(state)
    if waiting:
      heard(*waiting)
    waiting = batch.step, state, metrics, batch.tokens
  if waiting:
    heard(*waiting)
  return state


def watched(session, phase, save_every: int):
  """What hears of each step: shows, writes and checks it, and saves the state.

  Its notes are what pretraining has read, and the time of the processor.
  """
  notes = session.notes = session.notes or {'tokens': 0, 'cpu_seconds': 0.0}
  began, losses = time.process_time() - notes['cpu_seconds'], []

  def heard(step, state, metrics, tokens):
    losses.append(float(metrics['loss']))
    finite.check_loss('pretrain', step, losses[-1], state,
                      'Lower pretraining.learning_rate.')
    session.observer.wrote('pretrain', step, metrics)
    phase.advance(tokens=tokens, loss=losses[-1])
    notes['tokens'] += tokens
    notes['cpu_seconds'] = time.process_time() - began
    due = (step + 1) % save_every == 0
    # The measure is of the steps since the last save.
    session.done(step + 1, state, due, -sum(losses) / len(losses))
    if due:
      losses.clear()

  return heard


def examine(model: Model, days: int) -> dict:
  """Accuracies, by form and wording, on days that training has not seen."""
  told = [world.day(_EXAM_SEED + i, 0) for i in range(days)]
  far = [world_beds.stretch(_EXAM_SEED + i, 0, sentences=12)
         for i in range(days)]
  mentors = [world_beds.relational(_EXAM_SEED + i, days=2).days
             for i in range(-(-days // 4))]
  known = world.known_facts()
  return {
      'in_context_accuracy': world_scores.in_context_accuracy(model, told),
      'stretch_accuracy': world_scores.in_context_accuracy(model, far),
      'known_accuracy': world_scores.known_accuracy(model),
      'stepwise_accuracy': {
          wording: {
              'known': world_scores.stepwise_accuracy(model, known, wording),
              'in_context': float(np.mean([world_scores.stepwise_accuracy(
                  model, one.facts + two.facts, wording,
                  f'{one.text} {two.text}') for one, two in mentors]))}
          for wording in world.WORDINGS},
      'question_validity': {wording: world_scores.question_validity(
          model, told[:16], jax.random.key(_EXAM_SEED), wording)
                            for wording in world.WORDINGS}}


def main(argv):
  config = _config.from_flags(
      argv, default='configs/pretrain/tiny_world.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'seed', 'save_every', 'keep', 'exam_days', 'lookup_start', 'mesh',
          'model', 'pretraining', 'stages'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(config, seed=0, save_every=1)
  distributed.initialize()
  resolved = json.loads(config.to_json())
  for name in 'mesh', 'keep':  # Not what is computed.
    del resolved[name]
  keep = _config.to_dataclass(KeepConfig, config.keep, 'config.keep')
  model = _config.to_dataclass(ModelConfig, config.model, 'config.model')
  export.check_exportable(model)
  settings = _config.to_dataclass(
      PretrainingConfig, config.pretraining, 'config.pretraining')
  stages = [_config.to_dataclass(Stage, stage, f'config.stages.{name}')
            for name, stage in config.stages.items()]
  enable_compilation_cache()
  tokenizer = world_tokenizer.build_tokenizer()
  if model.vocab_size < tokenizer.vocab_size:
    raise UserError(f'config.model.vocab_size={model.vocab_size}: the world '
                    f'has {tokenizer.vocab_size} words.')
  mesh = sharding.make_mesh(
      _config.to_dataclass(MeshConfig, config.mesh, 'config.mesh'))
  with StepSession(workdir, resolved, 'steps.jsonl', keep) as session:
    state = born(model, settings, config.seed, config.lookup_start, mesh)
    if session.saved:
      state = in_place_of(state, session.saved, 'the saved state')
    with (session.observer.phase('pretrain', total=settings.steps) as phase,
          session.deferred()):
      if session.step:
        phase.advance(session.step)
      params, _ = train(
          model, settings, world_rows(stages, settings, config.seed), state,
          range(session.step, settings.steps),
          watched(session, phase, config.save_every), mesh)
    params = jax.tree.map(sharding.to_host, params)
    if distributed.is_first():
      if not (workdir / 'hf').exists():
        export.export_hf(
            *fold_slots(model, params), tokenizer, workdir / 'hf')
      with session.observer.phase('exam'):
        exam = examine(
            Model(model, params, tokenizer), config.exam_days)
      report = session.report({
          **exam, 'parameters': transformer.parameter_count(params),
          'weight_bytes': (workdir / 'hf/model.safetensors').stat().st_size,
          **session.notes})
      print(json.dumps({k: v for k, v in report.items() if k != 'config'},
                       indent=2))
    distributed.barrier('report', timeout=3600)
