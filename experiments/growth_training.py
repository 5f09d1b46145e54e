r"""A model grows in the middle of its training: what does the growth cost?

  python -m experiments.growth_training --config=configs/growth/training.py \
      --workdir=DIR

Of one state, after the steps of `pretraining`, all arms are trained on with the
same batches: without growth; grown, Adam's moments with it; grown, with a new
Adam; grown with moments, new entries warming up. A new Adam means that both
moments and its own step count start at zero; the learning-rate schedule goes on
where it was in every arm. Writes DIR/seed_N/ as each seed is finished, then
DIR/report.json and DIR/report.png. The same command on the same folder goes on
after the last finished seed.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('growth_training')

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments import _config, _scratch
from experiments._scratch import ScratchConfig
from sleepjax import seeds
from sleepjax.data import sources
from sleepjax.errors import UserError
from sleepjax.evals import pictures
from sleepjax.evals import report as report_lib
from sleepjax.evals.interval import interval
from sleepjax.growth import grow, operators
from sleepjax.growth.grow import ModelState
from sleepjax.models import finite, transformer
from sleepjax.pretraining import next_token
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.runs import folder as folder_lib
from sleepjax.runs import table
from sleepjax.runs.rows import Cell
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.metrics import MetricsWriter, read_metrics
from sleepjax.training.progress import Display

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)

NONE, MOMENTS, DROPPED, WARM_UP = ARMS = (
    'no growth', 'moments grown', 'moments dropped', 'moments grown, warm-up')
_OPERATORS = {cls.__name__: cls for cls in (
    operators.MlpWidth, operators.QueryHeads, operators.KeyValueGroups,
    operators.SplitGroups, operators.ValueDim, operators.Layers,
    operators.HiddenWidth)}
_COLUMNS = {name: table.Column(name, '.3f') for name in (
    'loss_at_growth', 'worst_rise', 'loss_at_the_end', 'held_out_loss')}
_ZOOM = 40  # Steps of the picture's left half.


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """What happens at growth and after it.

  seeds: one run of all arms for each.
  plan: operators as (name, its fields in order).
  steps_after: updates of every arm.
  warm_up_steps: until new entries learn as fast as the others, in one arm.
  rise_steps: after growth, among which the worst rise is looked for.
  held_out_tokens: of the text that the loss at the end is measured on.
  """

  seeds: tuple[int, ...]
  plan: tuple[Any, ...]
  steps_after: int = 120
  warm_up_steps: int = 20
  rise_steps: int = 20
  held_out_tokens: int = 16_384

  def __post_init__(self):
    if len(set(self.seeds)) < max(len(self.seeds), 2):
      raise ValueError(f'seeds={self.seeds}: an interval needs at least two, '
                       'all different.')
    if not 1 <= self.rise_steps < self.steps_after:
      raise ValueError(
          f'rise_steps={self.rise_steps} must be from 1 to less than '
          f'steps_after={self.steps_after}.')
    if self.warm_up_steps < 1:
      raise ValueError(
          f'warm_up_steps={self.warm_up_steps} must be at least 1.')


def to_operator(entry) -> grow.Operator:
  """('MlpWidth', 576) -> MlpWidth(576), with its fields checked."""
  if not isinstance(entry, tuple | list) or not entry or (
      entry[0] not in _OPERATORS):
    raise UserError(
        f'config.plan: {entry!r} must be a tuple that begins with one of '
        f'{", ".join(_OPERATORS)}.')
  cls, values = _OPERATORS[entry[0]], entry[1:]
  names = [field.name for field in dataclasses.fields(cls)]
  if len(values) > len(names):
    raise UserError(f'config.plan: {entry!r} has more values than '
                    f'{entry[0]} has fields ({", ".join(names)}).')
  return _config.to_dataclass(
      cls, dict(zip(names, values)), f'config.plan: {entry[0]}')


def with_new_adam(opt_state):
  """Moments and count of Adam at zero; the schedule keeps its place."""
  is_adam = lambda node: isinstance(node, optax.ScaleByAdamState)
  return jax.tree.map(
      lambda node: jax.tree.map(jnp.zeros_like, node) if is_adam(node) else (
          node), opt_state, is_leaf=is_adam)


def begin(arm: str, plan, state: ModelState, key) -> ModelState:
  """The state an arm starts from; what is new is the same in all that grow."""
  if arm == NONE:
    return state
  larger = grow.grow(plan)(state, key)
  if arm == DROPPED:
    larger = larger.replace(opt_state=with_new_adam(larger.opt_state))
  return larger


def train(state: ModelState, settings: PretrainingConfig, stream, key, steps,
          heard, warm_up: optax.GradientTransformation | None = None):
  """The state after the numbered steps; heard(step, loss) after each.

  Args:
    state: where to start.
    settings: of pretraining.
    stream: token ids.
    key: batches depend on it and the number of a step.
    steps: numbers, consecutive.
    heard: called with the loss of a batch before it is learnt from.
    warm_up: scales the updates of the optimizer.
  """
  copied = lambda tree: jax.tree.map(jnp.copy, tree)
  params, opt_state = copied((state.params, state.opt_state))  # Donated below.
  scaled = warm_up and warm_up.init(params)

  @jax.jit
  def slowed(old, new, scaled):
    updates, scaled = warm_up.update(
        jax.tree.map(jnp.subtract, new, old), scaled)
    return optax.apply_updates(old, updates), scaled

  for step in steps:
    old = copied(params) if warm_up else None
    params, opt_state, metrics = next_token.pretraining_step(
        state.config, settings, params, opt_state, stream,
        jax.random.fold_in(key, step))
    if warm_up:
      params, scaled = slowed(old, params, scaled)
    loss = float(metrics['loss'])
    finite.check_loss('train', step, loss, params,
                      'Lower pretraining.learning_rate.')
    heard(step, loss)
  return state.replace(params=params, opt_state=opt_state)


def run_seed(seed, model, plan, config: TrainingConfig,
             settings: PretrainingConfig, texts, folder, display):
  """Trains all arms of a seed and writes `folder`, its report last.

  Args:
    seed: of everything random.
    model, plan: config of the model before it grows, and how it does.
    config, settings: of growth, and of pretraining.
    texts: token ids that are trained on, and held out.
    folder: gets the losses of all steps.
    display: shows the arms.
  """
  stream, held_out = texts
  key = seeds.key_of(seed)
  init_key, data_key, grow_key = (jax.random.fold_in(key, i) for i in range(3))
  params = transformer.init(model, init_key)
  state = ModelState(
      params, next_token.make_optimizer(settings).init(params), model)
  (folder / 'steps.jsonl').unlink(missing_ok=True)
  N, report = settings.steps, {'held_out': {}, 'params': {}}
  tokens = settings.rows * settings.window
  with MetricsWriter(folder / 'steps.jsonl') as writer:

    def heard(arm, phase):
      def write(step, loss):
        writer.write(arm, step, {'loss': loss})
        phase.advance(tokens=tokens, loss=loss)
      return write

    with display.phase(f'seed {seed}, before', total=N) as phase:
      state = train(state, settings, stream, data_key, range(N),
                    heard('before', phase))
    for arm in ARMS:
      start = begin(arm, plan, state, grow_key)
      report['max_logit_change'] = max(
          report.get('max_logit_change', 0.0), grow.max_logit_change(
              state, start, stream[:settings.window]))
      warm_up = grow.warm_up_new(
          grow.new_entries(plan, model),
          config.warm_up_steps) if arm == WARM_UP else None
      with display.phase(
          f'seed {seed}, {arm}', total=config.steps_after) as phase:
        end = train(start, settings, stream, data_key,
                    range(N, N + config.steps_after), heard(arm, phase),
                    warm_up)
      report['params'][arm] = transformer.parameter_count(end.params)
      report['held_out'][arm] = next_token.loss_of_stream(
          end.config, end.params, held_out, settings.window)
  return report


def summarise(reports, losses, config: TrainingConfig) -> dict:
  """Numbers of each arm, and their differences from other arms by seed.

  Args:
    reports: of `run_seed`, by seed.
    losses: arm -> [seeds, steps after growth].
    config: how long a rise is looked for, and how much is the end.
  """
  last, results = config.rise_steps, {}
  for arm, values in losses.items():
    rises = (values - losses[NONE])[:, 1:last + 1].max(1)
    for seed, report, curve, rise in zip(
        config.seeds, reports, values, rises, strict=True):
      results[Cell(arm, seed)] = {
          'loss_at_growth': curve[0], 'worst_rise': rise,
          'loss_at_the_end': curve[-last:].mean(),
          'held_out_loss': report['held_out'][arm]}
  minus = lambda first: table.against_first(
      {cell: row for cell, row in results.items()
       if ARMS.index(cell.arm) >= ARMS.index(first)}, _COLUMNS)
  return {
      'arms': table.summary(results, _COLUMNS), 'minus_no_growth': minus(NONE),
      'minus_moments_grown': minus(MOMENTS), 'params': reports[0]['params'],
      'max_logit_change': max(r['max_logit_change'] for r in reports)}


def plot(losses, steps_before, path):
  """Difference of the arms from the one without growth, and its interval."""
  pictures.draw(path, lambda figure: _draw(figure, losses, steps_before),
                dpi=110, figsize=(10, 3.8), layout='constrained')


def _draw(figure, losses, steps_before):
  axes = figure.subplots(1, 2)
  for axis, smooth in zip(axes, (1, 10)):
    axis.axhline(0, color='0.6', linewidth=1)
    for colour, arm in zip(('C0', 'C3', 'C2'), ARMS[1:]):
      change = losses[arm] - losses[NONE]
      smooth = min(smooth, change.shape[1])
      change = np.stack([np.convolve(row, np.ones(smooth) / smooth, 'valid')
                         for row in change])
      if smooth == 1:
        change = change[:, :_ZOOM]
      steps = steps_before + smooth - 1 + np.arange(change.shape[1])
      middle = change.mean(0)
      half = np.array([interval(c)['half_width'] for c in change.T])
      axis.plot(steps, middle, color=colour, label=arm, linewidth=1.5)
      axis.fill_between(steps, middle - half, middle + half, color=colour,
                        alpha=0.15, linewidth=0)
    axis.spines[['top', 'right']].set_visible(False)
    axis.set_xlabel('step')
  axes[0].set_title(f'From growth, at step {steps_before}', fontsize=10)
  axes[1].set_title('All steps, mean of the last ten', fontsize=10)
  axes[0].set_ylabel('training loss minus that without\n'
                     'growth, nats per token')
  axes[0].legend(frameon=False, fontsize=8)


def print_summary(summary):
  print(table.markdown(summary['arms'], _COLUMNS))
  for first, differences in ((NONE, summary['minus_no_growth']),
                             (MOMENTS, summary['minus_moments_grown'])):
    for arm, change in differences.items():
      print(f'{arm} minus {first}: ' + ', '.join(
          f"{name.replace('_', ' ')} {table.cell_text(entry, '+.3f')}"
          for name, entry in change.items()))
  for arm, params in summary['params'].items():
    print(f'{arm}: {params / 1e6:.2f} M parameters')
  print(f"max |Δlogit| at growth: {summary['max_logit_change']:.1e}")


def main(argv):
  config = _config.from_flags(
      argv, default='configs/growth/training.py', description=__doc__,
      flag_values=_FLAGS, needs=('scratch', 'pretraining', 'plan', 'seeds'))
  workdir = _config.path(_WORKDIR)
  resolved = json.loads(config.to_json())
  shape = _config.to_dataclass(ScratchConfig, config.scratch, 'config.scratch')
  settings = _config.to_dataclass(
      PretrainingConfig, config.pretraining, 'config.pretraining')
  training = _config.to_dataclass(TrainingConfig, {
      k: v for k, v in config.items() if k not in ('scratch', 'pretraining')})
  if training.held_out_tokens <= settings.window:
    raise UserError(
        f'config.held_out_tokens={training.held_out_tokens} must be more than '
        f'config.pretraining.window={settings.window}: the loss at the end is '
        'that of whole windows.')
  plan = [to_operator(entry) for entry in training.plan]
  grow.validate(plan, shape.model_config(shape.vocab_size))
  enable_compilation_cache()
  stream, tokenizer = _scratch.text_and_tokenizer(shape.vocab_size)
  held_out = jnp.asarray(np.asarray(tokenizer.encode(
      sources.wikitext2('test'))[:training.held_out_tokens], np.int32))
  model = shape.model_config(tokenizer.vocab_size)
  # A seed does not depend on which others there are.
  recipe = {k: v for k, v in resolved.items() if k != 'seeds'}
  reports, curves = [], []
  _claim = folder_lib.claim(workdir)
  with Display() as display:
    for seed in training.seeds:
      folder = workdir / f'seed_{seed}'
      done = folder / 'report.json'
      if not done.exists():
        report_lib.write_report(folder, {**run_seed(
            seed, model, plan, training, settings, (stream, held_out), folder,
            display), 'config': recipe})
      reports.append(json.loads(done.read_text()))
      folder_lib.check_same(folder, reports[-1], {'config': recipe})
      rows = read_metrics(folder / 'steps.jsonl')
      curves.append({arm: [row['loss'] for row in rows if row['phase'] == arm]
                     for arm in ('before', *ARMS)})
  losses = {arm: np.array([curve[arm] for curve in curves]) for arm in ARMS}
  summary = summarise(reports, losses, training)
  report_lib.write_report(workdir, {
      **summary, 'plan': list(map(str, plan)), 'seconds': display.seconds,
      'losses': {arm: values.tolist() for arm, values in losses.items()},
      'config': resolved})
  plot(losses, settings.steps, workdir / 'report.png')
  print_summary(summary)
