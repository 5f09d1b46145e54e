r"""Trains the initial weights of a fast level so that it learns well awake.

  python -m experiments.pretrain_level --config=configs/pretrain/fast_level.py \
      --workdir=DIR

A model of the tiny world gets a level in front of each block's MLP. What is
trained is how the level begins, and the rate of its step, by what the model
answers with an empty context after reading, see `pretraining.fast_weights`.
Writes DIR/steps.jsonl, DIR/report.json and DIR/progress, which other commands
read as `--config.fast_level=DIR`. The same command on the same folder goes on
at the last save.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('pretrain_level')

import dataclasses
import json

import jax
import jax.numpy as jnp
from absl import flags

from experiments import _config
from sleepjax import seeds
from sleepjax.memory import continuum
from sleepjax.memory.wake import WakeConfig
from sleepjax.model import Model, load_pretrained
from sleepjax.models import finite
from sleepjax.pretraining import fast_weights
from sleepjax.pretraining.fast_weights import FastWeightsConfig
from sleepjax.runs.session import StepSession
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.phase_saves import in_place_of

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_EXAM_WINDOWS = 1, 2
_EXAM_STEP = 10 ** 6  # Of streams; no step of training has such a number.


def examine(grown: Model, settings, awake, value, streams: int
            ) -> dict[str, dict[str, float]]:
  """What is known after reading so many windows with one new fact."""
  measured = {}
  for windows in _EXAM_WINDOWS:
    exam = dataclasses.replace(
        settings, streams=streams, windows=windows, facts=1)
    _, found = fast_weights.asked(
        grown.config, grown.params, exam, awake, value,
        fast_weights.sample_episodes(grown.tokenizer, exam, _EXAM_STEP))
    measured[str(windows)] = {
        name: float(number) for name, number in found.items()}
  return measured


def main(argv):
  config = _config.from_flags(
      argv, default='configs/pretrain/fast_level.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'save_every', 'level_dim',
                                 'clip_norm', 'exam_streams', 'fast_weights'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(
      config, seed=0, save_every=1, level_dim=1, exam_streams=1)
  settings = _config.to_dataclass(
      FastWeightsConfig, config.fast_weights, 'config.fast_weights')
  resolved = json.loads(config.to_json())
  enable_compilation_cache()
  window = settings.window
  awake = WakeConfig(
      (window, window, window), (1.0, 0.0), clip_norm=config.clip_norm)
  with StepSession(workdir, resolved, 'steps.jsonl') as session:
    model = load_pretrained(config.model)
    grown = model.with_params(*continuum.newborn_levels(
        model.config, jax.tree.map(jnp.asarray, model.params),
        (config.level_dim,), seeds.key_of(config.seed)))
    value = fast_weights.init_value(grown.config, grown.params, settings)
    state = value, fast_weights.make_optimizer(settings).init(value)
    before = examine(grown, settings, awake, value, config.exam_streams)
    if session.saved:
      state = in_place_of(state, session.saved, 'the saved state')
    with session.observer.phase('pretrain', total=settings.steps) as phase:
      phase.advance(session.step)
      for step in range(session.step, settings.steps):
        with session.deferred():
          episodes = fast_weights.sample_episodes(
              model.tokenizer, settings, step)
          *state, metrics = fast_weights.meta_step(
              grown.config, grown.params, settings, awake, *state, episodes)
          metrics = {name: float(number) for name, number in metrics.items()}
          finite.check_loss('pretrain_level', step, metrics['loss'], state,
                            'Lower fast_weights.learning_rate.')
          session.observer.wrote('pretrain', step, metrics)
          phase.advance(tokens=episodes.windows.size,
                        loss=metrics['loss'], new=metrics['new_right'])
          session.done(step + 1, tuple(state),
                       (step + 1) % config.save_every == 0
                       or step + 1 == settings.steps)
    with session.observer.phase('exam'):
      after = examine(grown, settings, awake, state[0], config.exam_streams)
    report = session.report({
        'before': before, 'after': after,
        'rate': float(jnp.exp(state[0]['log_rate']))})
  print(json.dumps({k: v for k, v in report.items() if k != 'config'},
                   indent=2))
