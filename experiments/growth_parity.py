r"""By how much growth moves the logits: every operator, on several models.

  python -m experiments.growth_parity --config=configs/growth/parity.py \
      --workdir=DIR

Each row grows a model by one operator and compares the logits of a stretch of
real text in float32. Two rows are no growth and say what the numbers mean: the
first reorders hidden units, which moves the logits by rounding alone, and the
second is the effect of the slot that later rows have in use. Writes
DIR/parity.json and DIR/parity.md after every row; the same command on the same
folder goes on where it stopped.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('growth_parity')

import dataclasses
import json
import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table
from absl import flags

from experiments import _config
from sleepjax.data import documents, files, sources
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError, check_least
from sleepjax.evals import report as report_lib
from sleepjax.growth import grow, operators, slots
from sleepjax.growth.expansion import NEW, Expansion, Gather
from sleepjax.growth.fold import fold_slots
from sleepjax.growth.grow import ModelState
from sleepjax.growth.slot_operators import AppendSlot, OpenSlot
from sleepjax.leaves import leaf_of
from sleepjax.model import Model, load_pretrained
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.runs import folder as folder_lib
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.progress import Display

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)

_NO_GROWTH = '(no growth)'


@dataclasses.dataclass(frozen=True)
class ParityConfig:
  """What is measured.

  models: names of random shapes, or what `load_pretrained` takes.
  seed: of random models and new parameters.
  tokens: T of the text.
  slot_rank: R of every slot.
  """

  models: tuple[str, ...]
  seed: int = 0
  tokens: int = 64
  slot_rank: int = 64

  def __post_init__(self):
    if not self.models:
      raise ValueError('models is empty: name at least one.')
    check_least(self, seed=0, tokens=1, slot_rank=1)


@dataclasses.dataclass(frozen=True)
class Case:
  """A row: from a start, which may change the model first, to a change of it.

  change: state -> larger state; raises UserError where growth is refused.
  start: state -> state, what the change is compared with.
  by_force: state -> state, what is refused, done all the same.
  """

  name: str
  change: Callable[[ModelState], ModelState]
  start: Callable[[ModelState], ModelState] = lambda state: state
  by_force: Callable[[ModelState], ModelState] | None = None


def random_params(config: ModelConfig, seed: int):
  """Parameters of which every part matters, norms and biases too.

  As from `transformer.init` a model would hide mistakes: its gains are one and
  its embedding so small that every attention is uniform.
  """
  random = np.random.default_rng(seed)

  def filled(path, leaf):
    name, noise = path[-1].key, random.normal(size=leaf.shape)
    if leaf_of('/'.join(key.key for key in path)).kind == 'norm':
      noise = 1 + 0.3 * noise
    elif name == 'table' or name.endswith('_bias'):
      noise *= 0.3
    elif name == 'o':  # [L, H, C, D]
      noise /= np.prod(leaf.shape[1:3]) ** 0.5
    else:  # [..., inputs, outputs], or [L, D, heads, outputs].
      noise /= leaf.shape[{'kernel': 0}.get(name, 1)] ** 0.5
    return jnp.asarray(noise, jnp.float32)

  return jax.tree_util.tree_map_with_path(
      filled, transformer.abstract_params(config))


def with_used_slot(state: ModelState, rank: int, key) -> ModelState:
  """One slot more whose output, and gates if routed, are not at their start."""
  slot = slots.new_slot(state.config, key, rank)
  for i, name in enumerate(('down', 'router')):
    if name in slot:
      fan_in = rank if name == 'down' else state.config.embed_dim
      slot[name] = jax.random.normal(
          jax.random.fold_in(key, i), slot[name].shape) * fan_in ** -0.5
  config, params = slots.append_slot(
      state.config, state.params, slot, slots.layer_mask(state.config, ()))
  return state.replace(config=config, params=params)


def cases(config: ModelConfig, rank: int, seed: int) -> list[Case]:
  """The rows of a model, each with sizes of its own."""
  D, F, G = config.embed_dim, config.mlp_dim, config.num_kv_heads
  r, K, key = config.num_heads // G, config.head_dim, jax.random.key(seed)
  half = next((n for n in range(2, r) if r % n == 0), 2)
  middle = config.num_layers // 2

  def operator(made):
    return lambda state: grow.grow([made])(state, key)

  def plain(name, made, by_force=None):
    return Case(name, operator(made), by_force=by_force)

  def having(**fields):
    return lambda state: state.replace(
        config=dataclasses.replace(state.config, **fields))

  def used(**fields):
    return lambda state: with_used_slot(
        having(**fields)(state), rank, jax.random.fold_in(key, 1))

  def room(state):
    return grow.grow([AppendSlot(rank, opened=False)])(used()(state), key)

  def routed_by_softmax(state):
    try:
      start = having(slot_routing='softmax')(state)
    except ValueError as error:
      raise UserError(str(error)) from error
    return operator(AppendSlot(rank))(start)

  def one_more_slot(state):
    return state.replace(**dict(zip(('config', 'params'), slots.append_slot(
        state.config, state.params, slots.new_slot(state.config, key, rank),
        slots.layer_mask(state.config, ())), strict=True)))

  top_1 = used(slot_routing='sigmoid', slot_top_k=1)
  return [
      Case(f'MLP units in reverse order {_NO_GROWTH}', operator(_reversed_mlp)),
      plain('MlpWidth, ×1.25, zeros', operators.MlpWidth(5 * F // 4)),
      plain('MlpWidth, ×1.25, copies',
            operators.MlpWidth(5 * F // 4, how='copies')),
      plain('QueryHeads, one more a group', operators.QueryHeads(r + 1)),
      plain('KeyValueGroups, one more', operators.KeyValueGroups(G + 1)),
      plain('SplitGroups, some', operators.SplitGroups(half)),
      plain('SplitGroups, to multi-head', operators.SplitGroups(r)),
      plain('ValueDim, ×1.25',
            operators.ValueDim(5 * (config.value_dim or K) // 4)),
      plain('Layers, first, middle, two last', operators.Layers(
          (-1, middle, *[config.num_layers - 1] * 2))),
      plain('HiddenWidth, ×1.25, zeros', operators.HiddenWidth(5 * D // 4)),
      plain('HiddenWidth, ×2, duplicate',
            operators.HiddenWidth(2 * D, how='duplicate')),
      *(Case(f'AppendSlot, {form}', operator(AppendSlot(rank)),
             having(slot_form=form)) for form in ('swiglu', 'silu', 'linear')),
      Case(f'a slot with random output {_NO_GROWTH}', used()),
      Case('AppendSlot beside it', operator(AppendSlot(rank)), used()),
      Case('AppendSlot beside it, sigmoid routing', operator(AppendSlot(rank)),
           used(slot_routing='sigmoid')),
      Case('OpenSlot beside it', operator(OpenSlot(1)), room),
      Case('fold_slots', _folded, used()),
      Case('AppendSlot beside it, sigmoid, top 1', operator(AppendSlot(rank)),
           top_1, one_more_slot),
      Case('AppendSlot, softmax routing', routed_by_softmax),
      plain("QueryHeads, where='end'",
            operators.QueryHeads(r + 1, where='end'),
            operator(lambda c: _heads_at_the_end(c, G))),
      plain('HeadDim, ×1.25', operators.HeadDim(5 * K // 8 * 2),
            operator(lambda c: _longer_heads(c, 5 * K // 8 * 2)))]


def _reversed_mlp(config):
  source = tuple(reversed(range(config.mlp_dim)))
  return Expansion(config, tuple(
      Gather(f'layers/mlp/{name}', axis, source)
      for name, axis in (('gate', 2), ('up', 2), ('down', 1))))


def _folded(state):
  config, params = fold_slots(state.config, state.params)
  return state.replace(config=config, params=params)


def _heads_at_the_end(config, more):
  """`more` query heads with zero output after the old ones: not exact."""
  H = config.num_heads
  source = (*range(H), *[NEW] * more)
  changes = [Gather('layers/attn/q', 2, source, std=config.embed_dim ** -0.5),
             Gather('layers/attn/o', 1, source)]
  if config.qkv_bias:
    changes.append(Gather('layers/attn/q_bias', 1, source))
  return Expansion(
      dataclasses.replace(config, num_heads=H + more), tuple(changes))


def _longer_heads(config, to):
  """Zeros in every query and key, in pairs that rotate; not exact.

  Their size is made up for; what remains is that all frequencies change.
  """
  K = config.head_dim
  new, up = (NEW,) * ((to - K) // 2), (to / K) ** 0.5
  source = (*range(K // 2), *new, *range(K // 2, K), *new)
  after = dataclasses.replace(
      config, head_dim=to, value_dim=config.value_dim or K)
  changes = [Gather('layers/attn/k', 3, source)]
  if config.qk_norm:  # Both come out of their norms too large.
    changes += [Gather('layers/attn/q', 3, source),
                Gather('layers/attn/q_norm', 1, source, scale=1 / up),
                Gather('layers/attn/k_norm', 1, source)]
  else:
    changes.append(Gather('layers/attn/q', 3, source, scale=up))
  if config.qkv_bias:
    changes += [Gather('layers/attn/q_bias', 2, source, scale=up),
                Gather('layers/attn/k_bias', 2, source)]
  return Expansion(after, tuple(changes))


_logits = jax.jit(transformer.logits, static_argnums=0)


def measure(case: Case, model: ModelState, tokens_T) -> dict:
  """One cell of the table, as plain numbers."""
  tokens = jnp.asarray(tokens_T)[None]
  count = lambda state: transformer.parameter_count(state.params)
  start = case.start(model)
  want = np.asarray(_logits(start.config, start.params, tokens), np.float64)

  def change_by(grown):
    have = np.asarray(_logits(grown.config, grown.params, tokens), np.float64)
    change = float(np.abs(have - want).max())
    return {'max_abs_change': change, 'relative_change': change / want.std()}

  cell = {'params_before': count(start), 'logits_std': float(want.std())}
  try:
    grown = case.change(start)
  except UserError as error:
    cell['refused'] = str(error)
    if case.by_force is not None:
      cell['by_force'] = change_by(case.by_force(start))
    return cell
  return {**cell, 'params_after': count(grown), **change_by(grown)}


def read_text() -> tuple[str, str]:
  """(name, text): WikiText-2's validation text if it is there."""
  if os.environ.get(sources.DATA_DIR_VARIABLE):
    return 'WikiText-2, validation', sources.wikitext2('valid')
  return 'bundled: drift', documents.bundled_document('drift').text


def load(name: str, shapes: dict, seed: int, text: str) -> Model:
  """A random model of `shapes`, its vocabulary from the text, or a real one."""
  if name not in shapes:
    return load_pretrained(name)
  tokenizer = Tokenizer.trained_on(text, shapes[name].vocab_size)
  return Model(
      shapes[name], random_params(shapes[name], seed), tokenizer, name)


def _refusal(cell):
  """The first words of the reason, and what it would have done."""
  words = cell['refused'].split()
  text = 'refused: ' + ' '.join(words[:6]) + (' …' if words[6:] else '')
  if 'by_force' in cell:
    text += f" ({cell['by_force']['relative_change']:.2g} σ if forced)"
  return text


def shown(cell: dict) -> str:
  if 'refused' in cell:
    return _refusal(cell)
  size = ' → '.join(f'{cell[name] / 1e6:#.4g}' for name in (
      'params_before', 'params_after'))
  if not cell['max_abs_change']:
    return f'{size} M: 0'
  return (f"{size} M: {cell['max_abs_change']:.1e} "
          f"({cell['relative_change']:.1e} σ)")


def markdown(report: dict) -> str:
  """The report as a table, rows operators, columns models."""
  names = list(report['models'])
  lines = [['operator', *names], ['---'] * (len(names) + 1)]
  lines += [[row, *(shown(cells[name]) if name in cells else ''
                    for name in names)]
            for row, cells in report['rows'].items()]
  return '\n'.join(f"| {' | '.join(line)} |" for line in lines) + '\n'


def print_report(report: dict) -> None:
  table = rich.table.Table('operator', *report['models'], show_lines=True)
  for row, cells in report['rows'].items():
    table.add_row(row, *(shown(cell) for cell in cells.values()))
  rich.console.Console().print(table)


def write(workdir, report: dict) -> None:
  report_lib.write_json(workdir / 'parity.json', report)
  files.write(workdir / 'parity.md', markdown(report))


def started(workdir, fresh: dict) -> dict:
  """What an interrupted run of the same configuration left, or `fresh`."""
  path = workdir / 'parity.json'
  if not path.exists():
    return fresh
  report = json.loads(path.read_text(encoding='utf-8'))
  folder_lib.check_same(workdir, report, {
      name: fresh[name] for name in ('config', 'text')})
  return report


def main(argv):
  config = _config.from_flags(
      argv, default='configs/growth/parity.py', description=__doc__,
      flag_values=_FLAGS, needs=('models', 'shapes'))
  workdir = _config.path(_WORKDIR)
  settings = _config.to_dataclass(
      ParityConfig, {k: v for k, v in config.items() if k != 'shapes'})
  shapes = {
      name: _config.to_dataclass(ModelConfig, shape, f'config.shapes.{name}')
      for name, shape in config.shapes.items()}
  enable_compilation_cache()
  _claim = folder_lib.claim(workdir)
  source, text = read_text()
  report = started(workdir, {
      'text': source, 'tokens': settings.tokens, 'models': {}, 'rows': {},
      'seconds': {}, 'config': json.loads(config.to_json())})
  with Display() as display:
    for name in settings.models:
      model = load(name, shapes, settings.seed, text)
      tokens = np.asarray(model.tokenizer.encode_stream(
          text)[:settings.tokens])
      if len(tokens) < settings.tokens:
        raise UserError(f'config.tokens={settings.tokens}: the text has '
                        f'{len(tokens)}.')
      report['models'][name] = model.config.architecture()
      rows = cases(model.config, settings.slot_rank, settings.seed)
      state = ModelState(
          jax.tree.map(jnp.asarray, model.params), None, model.config)
      del model
      with display.phase(name, total=len(rows)) as phase:
        for case in rows:
          cells = report['rows'].setdefault(case.name, {})
          if name not in cells:
            began = time.perf_counter()
            cells[name] = measure(case, state, tokens)
            report['seconds'][name] = report['seconds'].get(name, 0.0) + (
                time.perf_counter() - began)
            write(workdir, report)
          phase.advance(tokens=settings.tokens)
      del state
  print_report(report)
