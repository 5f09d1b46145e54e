"""Exact growth operators: more width, heads or layers, same function.

Each is a frozen dataclass that, called with a config, gives the `Expansion` to
a larger model computing the same thing: MLP units, heads, values and layers
start with zero output (LLaMA-Pro; 2308.06103), copies share what they give on
(Net2Net), and a wider residual stream is padded or duplicated with its norms
corrected. What is not exact for a decoder with RMSNorm, rotary embedding and
grouped queries is refused, with the reason. Moments of copied entries are
shared equally between the copies.
"""

import dataclasses
from typing import Any

from sleepjax.errors import UserError
from sleepjax.growth.expansion import NEW, Expansion, Gather
from sleepjax.leaves import leaf_of
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig

_ATTN = 'layers/attn'


def _more(name: str, old: int, new: int) -> tuple[int, ...]:
  """Sources: all old entries, then the new ones."""
  if new <= old:
    raise UserError(f'{name}={new} must be more than the {old} of the model.')
  return (*range(old), *(NEW,) * (new - old))


@dataclasses.dataclass(frozen=True)
class MlpWidth:
  """F hidden units in every MLP of one level.

  to: new F.
  how: 'zeros', new units have random inputs and zero output rows, or 'copies',
    unit F + i copies unit i (again from the first when all are used), and all
    copies of a unit share its output. Copies stay alike as they learn.
  level: MLP level, −1 for the block's own.
  """

  to: int
  how: str = 'zeros'
  level: int = -1

  def __call__(self, config: ModelConfig) -> Expansion:
    level = range(config.num_levels)[self.level]
    name = transformer.level_name(config, level)
    if name is None:
      F, config_after = config.mlp_dim, dataclasses.replace(
          config, mlp_dim=self.to)
    else:
      F, dims = config.level_dims[level], list(config.level_dims)
      dims[level] = self.to
      config_after = dataclasses.replace(config, level_dims=tuple(dims))
    source = _more('mlp width', F, self.to)
    prefix = 'layers/mlp' if name is None else f'layers/{name}/mlp'
    std, share = config.embed_dim ** -0.5, 1.0
    if self.how == 'copies':
      source = tuple(i % F for i in range(self.to))
      share = tuple(1 / source.count(i) for i in source)
    elif self.how != 'zeros':
      raise UserError(f"how={self.how!r} must be 'zeros' or 'copies'.")
    return Expansion(config_after, (
        *(Gather(f'{prefix}/{leaf}', 2, source, gradient_scale=share, std=std)
          for leaf in ('gate', 'up')),
        Gather(f'{prefix}/down', 1, source, scale=share)))


def _biases(config: ModelConfig, *changes: Gather) -> tuple[Gather, ...]:
  return changes if config.qkv_bias else ()


@dataclasses.dataclass(frozen=True)
class QueryHeads:
  """More query heads, the new ones inserted in each key-value group.

  per_group: new H / G.
  where: 'groups'. Appended at the end they would join other groups, and a
    model's output changes by as much as its size: refused.
  """

  per_group: int
  where: str = 'groups'

  def __call__(self, config: ModelConfig) -> Expansion:
    if self.where != 'groups':
      raise UserError(
          f'where={self.where!r}: heads appended at the end regroup the old '
          "ones, which changes the function; use where='groups'.")
    G, r = config.num_kv_heads, config.num_heads // config.num_kv_heads
    _more('query heads per group', r, self.per_group)
    new = (NEW,) * (self.per_group - r)
    source = sum(((*range(g * r, g * r + r), *new) for g in range(G)), ())
    return Expansion(
        dataclasses.replace(config, num_heads=G * self.per_group),
        (Gather(f'{_ATTN}/q', 2, source, std=config.embed_dim ** -0.5),
         Gather(f'{_ATTN}/o', 1, source),
         *_biases(config, Gather(f'{_ATTN}/q_bias', 1, source))))


@dataclasses.dataclass(frozen=True)
class KeyValueGroups:
  """More groups of one key-value head and as many queries as the others have.

  to: new G. Their output rows are zero.
  """

  to: int

  def __call__(self, config: ModelConfig) -> Expansion:
    r = config.num_heads // config.num_kv_heads
    groups = _more('key-value groups', config.num_kv_heads, self.to)
    heads = _more('heads', config.num_heads, self.to * r)
    std = config.embed_dim ** -0.5
    return Expansion(
        dataclasses.replace(
            config, num_heads=self.to * r, num_kv_heads=self.to),
        (Gather(f'{_ATTN}/q', 2, heads, std=std),
         Gather(f'{_ATTN}/k', 2, groups, std=std),
         Gather(f'{_ATTN}/v', 2, groups, std=std),
         Gather(f'{_ATTN}/o', 1, heads),
         *_biases(config, Gather(f'{_ATTN}/q_bias', 1, heads),
                  Gather(f'{_ATTN}/k_bias', 1, groups),
                  Gather(f'{_ATTN}/v_bias', 1, groups))))


@dataclasses.dataclass(frozen=True)
class SplitGroups:
  """Every key-value head copied `by` times, each for a part of its queries.

  With by = H / G, grouped-query attention becomes multi-head attention.
  """

  by: int

  def __call__(self, config: ModelConfig) -> Expansion:
    G, r = config.num_kv_heads, config.num_heads // config.num_kv_heads
    if self.by < 2 or r % self.by:
      raise UserError(
          f'by={self.by} must be a divisor above 1 of the {r} query heads that '
          'share a key-value head.')
    source = tuple(g for g in range(G) for _ in range(self.by))
    changes = [Gather(f'{_ATTN}/{leaf}', 2, source, gradient_scale=1 / self.by)
               for leaf in ('k', 'v')]
    changes += _biases(config, *(
        Gather(f'{_ATTN}/{leaf}', 1, source, gradient_scale=1 / self.by)
        for leaf in ('k_bias', 'v_bias')))
    return Expansion(dataclasses.replace(config, num_kv_heads=G * self.by),
                     tuple(changes))


@dataclasses.dataclass(frozen=True)
class ValueDim:
  """Longer values: new entries of every value head, with zero output rows."""

  to: int

  def __call__(self, config: ModelConfig) -> Expansion:
    source = _more('value_dim', config.value_dim or config.head_dim, self.to)
    return Expansion(
        dataclasses.replace(config, value_dim=self.to),
        (Gather(f'{_ATTN}/v', 3, source, std=config.embed_dim ** -0.5),
         Gather(f'{_ATTN}/o', 2, source),
         *_biases(config, Gather(f'{_ATTN}/v_bias', 2, source))))


@dataclasses.dataclass(frozen=True)
class HeadDim:
  """Longer queries and keys: always refused."""

  to: int

  def __call__(self, config: ModelConfig) -> Expansion:
    reason = ('query-key norms mix old features with new ones'
              if config.qk_norm else
              'rotary frequencies follow from head_dim and would all change')
    raise UserError(f'head_dim={self.to} is refused: {reason}. Grow heads '
                    '(QueryHeads, KeyValueGroups) or values (ValueDim).')


@dataclasses.dataclass(frozen=True)
class Layers:
  """Layers whose attention and MLPs have zero output.

  after: for each new layer, the number of the old layer that it follows; −1
    puts it first.
  """

  after: tuple[int, ...]

  def __call__(self, config: ModelConfig) -> Expansion:
    L = config.num_layers
    if not self.after or not all(-1 <= i < L for i in self.after):
      raise UserError(
          f'after={self.after} must name old layers, −1 to {L - 1}.')
    source = [NEW] * self.after.count(-1)
    for i in range(L):
      source += [i] + [NEW] * self.after.count(i)
    leaves = transformer.abstract_params(config)['layers']
    changes = []
    for path in _paths(leaves, 'layers'):
      kind = leaf_of(path).kind
      changes.append(Gather(
          path, 0, tuple(source), value=float(kind == 'norm'),
          std=config.embed_dim ** -0.5 * (kind == 'reads')))
    kinds = config.layer_kinds and tuple(
        'full' if i == NEW else config.layer_kinds[i] for i in source)
    return Expansion(dataclasses.replace(
        config, num_layers=L + len(self.after), layer_kinds=kinds),
        tuple(changes))


def _paths(tree: Any, prefix: str):
  for name, node in sorted(tree.items()):
    path = f'{prefix}/{name}'
    if isinstance(node, dict):
      yield from _paths(node, path)
    else:
      yield path


def _residual_axes(config):
  """(path, axis, kind) of each leaf on the stream, see `Leaf.kind`."""
  yield 'embed/table', 1, 'table'
  for path in _paths(transformer.abstract_params(config)['layers'], 'layers'):
    leaf = leaf_of(path)
    if 'D' in leaf.axes:  # The layers' axis stands before.
      yield path, 1 + leaf.axes.index('D'), leaf.kind


@dataclasses.dataclass(frozen=True)
class HiddenWidth:
  """A wider residual stream.

  to: new D.
  how: 'zeros' pads it; norms see a smaller mean square, so their gains shrink
    by sqrt(D / to) and their eps by D / to (query-key norms keep theirs).
    'duplicate' doubles it, x -> [x, x], and halves what reads from it; eps
    stays, which matters to formats with a single eps.
  """

  to: int
  how: str = 'zeros'

  def __call__(self, config: ModelConfig) -> Expansion:
    if self.how == 'duplicate':
      return self._duplicate(config)
    if self.how != 'zeros':
      raise UserError(f"how={self.how!r} must be 'zeros' or 'duplicate'.")
    D = config.embed_dim
    source = _more('embed_dim', D, self.to)
    gain, std = (D / self.to) ** 0.5, self.to ** -0.5
    norm = dict(scale=gain, gradient_scale=1 / gain, value=gain)
    changes = [
        Gather(path, axis, source, **{
            'reads': dict(std=std), 'norm': norm}.get(kind, {}))
        for path, axis, kind in _residual_axes(config)]
    changes.append(Gather('final_norm/scale', 0, source, **norm))
    if not config.tie_embeddings:
      changes.append(Gather('head/kernel', 0, source, std=std))
    eps = config.qk_norm_eps
    if config.qk_norm and eps is None:
      eps = config.rms_eps
    return Expansion(dataclasses.replace(
        config, embed_dim=self.to, rms_eps=config.rms_eps * D / self.to,
        qk_norm_eps=eps), tuple(changes))

  def _duplicate(self, config):
    D = config.embed_dim
    if self.to != 2 * D:
      raise UserError(f"embed_dim={self.to}: how='duplicate' doubles it, to "
                      f'{2 * D}.')
    source = (*range(D), *range(D))
    # What reads is halved and its gradient stays; what is written twice keeps
    # its size and each copy gets half of the gradient.
    halved = lambda path, axis: Gather(path, axis, source, scale=0.5)
    shared = lambda path, axis: Gather(path, axis, source, gradient_scale=0.5)
    changes = [(halved if kind in ('reads', 'router') else shared)(path, axis)
               for path, axis, kind in _residual_axes(config)]
    changes.append(halved('final_norm/scale', 0))
    if not config.tie_embeddings:
      changes.append(shared('head/kernel', 0))
    return Expansion(
        dataclasses.replace(config, embed_dim=2 * D), tuple(changes))
