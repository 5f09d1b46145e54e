"""Shape and numerics of a Llama-like decoder.

Dimension letters used in shape suffixes throughout the project:

  B batch · T tokens · S keys of a memory segment · D embed · V vocabulary
  L layers · H query heads · G key/value heads · K head dim · C value dim
  F MLP hidden · N slots · R slot rank

The parameter tree (a plain nested dict, layers stacked on the first axis):

  embed/table [V, D]
  layers/attn_norm/scale [L, D]
  layers/{attn_post_norm,mlp_post_norm}/scale [L, D]                  post_norms
  layers/attn/{q [L, D, H, K], k [L, D, G, K], v [L, D, G, C], o [L, H, C, D]}
  layers/attn/{q_bias [L, H, K], k_bias [L, G, K], v_bias [L, G, C]}  qkv_bias
  layers/attn/{q_norm [L, K], k_norm [L, K]}                          qk_norm
  layers/mlp_norm/scale [L, D]
  layers/mlp/{gate [L, D, F], up [L, D, F], down [L, F, D]}
  layers/slots/{gate [L, N, D, R], up [L, N, D, R], down [L, N, R, D],
                open [L, N] bool, router [L, N, D]}                   num_slots
  layers/level_0/{norm/scale [L, D], mlp/…, slots/…}                 level_dims
  final_norm/scale [D]
  head/kernel [D, V]                                    unless tie_embeddings

Slots hold what their form needs: gate, up and down ('swiglu'), gate and down
('silu'), up and down ('linear'), and a router if they are routed. The memory
levels of a block are level_0 (the fastest) to the last, which is the block's
own mlp with `layers/slots`.
"""

import dataclasses

# The matrices of one slot, by form; each is [D, R] but down, which is [R, D].
SLOT_MATRICES = {'swiglu': ('gate', 'up', 'down'), 'silu': ('gate', 'down'),
                 'linear': ('up', 'down')}

# What a layer's queries see: 'full', all keys before them; 'window', the last
# `window` ones, by rotary angles of `window_theta`; 'unrotated', all of them,
# without rotary embedding.
LAYER_KINDS = ('full', 'window', 'unrotated')

# What the forward pass of a layer keeps for its backward pass, by name.
# 'none': all that differentiation asks for. 'full': the layer's input alone;
# everything else is computed a second time.
REMAT_POLICIES = ('none', 'full')


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """The scaling of rotary frequencies, which stretches a model's context.

  `factor` alone divides all frequencies (linear scaling: positions divided by
  the factor). With the other three fields it divides those of long wavelengths
  only, as Llama 3 does.
  """

  factor: float
  low_freq_factor: float | None = None
  high_freq_factor: float | None = None
  original_max_context: int | None = None

  def __post_init__(self):
    bounds = (self.low_freq_factor, self.high_freq_factor,
              self.original_max_context)
    if self.is_linear and bounds != (None,) * 3:
      raise ValueError(f'{self}: give all of low_freq_factor, high_freq_factor '
                       'and original_max_context, or none of them.')
    if not self.is_linear and not self.low_freq_factor < self.high_freq_factor:
      raise ValueError(
          f'low_freq_factor={self.low_freq_factor} must be below '
          f'high_freq_factor={self.high_freq_factor}.')

  @property
  def is_linear(self) -> bool:
    return None in (self.low_freq_factor, self.high_freq_factor,
                    self.original_max_context)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Architecture of a decoder; everything that fixes its parameter shapes.

  The defaults of the optional fields describe a plain Llama. `scan_layers`,
  `cpu_layout`, `matmul_dtype`, `remat` and `attention_queries` choose how
  it is computed, not what: see `sleepjax.models.layout`, `REMAT_POLICIES` and
  `ops.attend`. `level_layers` chooses how it learns.

  layer_kinds: of each layer one of `LAYER_KINDS`; () for 'full' in all.
  window, window_theta: of the layers of that kind; their frequencies are not
    scaled by `rope_scaling`.
  mlp_activation: 'silu' or 'gelu' (approximated by tanh), of MLPs and slots.
  post_norms: norms of what attention and the MLP, its slots included, add.
  embed_scale: what embeddings are multiplied by; the head is not.
  value_dim: C, if it is not head_dim.
  qk_norm_eps: of the norms of queries and keys, if it is not rms_eps.
  slot_form: what a slot adds to its MLP's output, with x after the norm:
    'swiglu' (silu(x gate) ⊙ (x up)) down, 'silu' silu(x gate) down, 'linear'
    (x up) down; with the activation of the MLP in place of silu.
  slot_routing: 'none', every open slot counts in full, or 'sigmoid', slot n
    counts 2σ(x · router_n) times; the dense MLP is always on.
  slot_top_k: of a routed pool, how many open slots a token uses; 0 for all.
  level_dims: hidden widths of the extra MLP levels before the block's own.
  level_slots: the number of slots of each extra level.
  level_layers: without extra levels, how many layers' own MLPs are of each
    level, from the lowest layer and the fastest level on; () for one level.
  """

  vocab_size: int
  num_layers: int
  embed_dim: int
  mlp_dim: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  max_context: int
  rope_theta: float = 10_000.0
  rope_scaling: RopeScaling | None = None
  rms_eps: float = 1e-5
  tie_embeddings: bool = True
  qkv_bias: bool = False
  qk_norm: bool = False
  layer_kinds: tuple[str, ...] = ()
  window: int = 0
  window_theta: float = 10_000.0
  mlp_activation: str = 'silu'
  post_norms: bool = False
  embed_scale: float = 1.0
  num_slots: int = 0
  slot_rank: int = 0
  value_dim: int | None = None
  qk_norm_eps: float | None = None
  slot_form: str = 'swiglu'
  slot_routing: str = 'none'
  slot_top_k: int = 0
  level_dims: tuple[int, ...] = ()
  level_slots: tuple[int, ...] = ()
  level_layers: tuple[int, ...] = ()
  scan_layers: bool = True
  cpu_layout: bool = False
  matmul_dtype: str = 'float32'
  remat: str = 'none'
  attention_queries: int = 0

  def of_layers(self, first: int, stop: int) -> 'ModelConfig':
    """The config of a model of the layers from `first` to before `stop`."""
    levels = [self.layers_of(i) for i in range(len(self.level_layers))]
    return dataclasses.replace(
        self, num_layers=stop - first, layer_kinds=self.layer_kinds[first:stop],
        level_layers=tuple(
            max(min(stop, level.stop) - max(first, level.start), 0)
            for level in levels))

  def __post_init__(self):
    # Lists, if read from JSON.
    for name in ('layer_kinds', 'level_dims', 'level_slots', 'level_layers'):
      object.__setattr__(self, name, tuple(getattr(self, name)))
    if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
      raise ValueError(
          f'num_heads={self.num_heads} must be a multiple of '
          f'num_kv_heads={self.num_kv_heads}: every key/value head serves a '
          'group of query heads of equal size.')
    if self.head_dim % 2:
      raise ValueError(
          f'head_dim={self.head_dim} must be even: rotary embedding turns '
          'pairs of features.')
    if self.matmul_dtype not in ('float32', 'bfloat16'):
      raise ValueError(
          f"matmul_dtype={self.matmul_dtype!r} must be 'float32' or "
          "'bfloat16'.")
    if self.attention_queries < 0:
      raise ValueError(f'attention_queries={self.attention_queries} must be '
                       'positive, or 0 for all at once.')
    if self.remat not in REMAT_POLICIES:
      raise ValueError(f'remat={self.remat!r} must be one of '
                       f'{", ".join(REMAT_POLICIES)}.')
    if self.mlp_activation not in ('silu', 'gelu'):
      raise ValueError(
          f"mlp_activation={self.mlp_activation!r} must be 'silu' or 'gelu'.")
    if (len(self.layer_kinds) not in (0, self.num_layers)
        or not set(self.layer_kinds) <= set(LAYER_KINDS)):
      raise ValueError(
          f'layer_kinds={self.layer_kinds} must name one of '
          f'{", ".join(LAYER_KINDS)} for each of the {self.num_layers} layers.')
    if 'window' in self.layer_kinds and self.window < 1:
      raise ValueError(
          f'window={self.window} must be positive: layer_kinds has windows.')
    if self.slot_form not in SLOT_MATRICES:
      raise ValueError(
          f'slot_form={self.slot_form!r} must be one of '
          f'{", ".join(SLOT_MATRICES)}.')
    if self.slot_routing not in ('none', 'sigmoid'):
      raise ValueError(
          f"slot_routing={self.slot_routing!r} must be 'none' or 'sigmoid'. "
          'A softmax over slots, renormalised or not, is refused: a newborn '
          'slot takes weight from the old ones even with zero output, so that '
          'growth would change the function (by 40 % of its output in a '
          'three-layer model).')
    if self.slot_top_k < 0 or (self.slot_top_k and self.slot_routing == 'none'):
      raise ValueError(
          f'slot_top_k={self.slot_top_k} must be 0 (all open slots) or, with '
          "slot_routing='sigmoid', positive.")
    if len(self.level_slots) not in (0, len(self.level_dims)):
      raise ValueError(
          f'level_slots={self.level_slots} must name one number for each of '
          f'the {len(self.level_dims)} extra levels of level_dims.')
    if self.level_layers and (
        self.level_dims or sum(self.level_layers) != self.num_layers
        or min(self.level_layers) < 0):
      raise ValueError(
          f'level_layers={self.level_layers} must share out all '
          f'{self.num_layers} layers, and leaves no place for the extra levels '
          f'of level_dims={self.level_dims}.')

  @property
  def kinds(self) -> tuple[str, ...]:
    """Those of `LAYER_KINDS` that layers have, in their order there."""
    return tuple(kind for kind in LAYER_KINDS
                 if kind in (self.layer_kinds or ('full',)))

  @property
  def num_levels(self) -> int:
    """MLP levels; without groups of layers the last is every block's own MLP.
    """
    return len(self.level_layers) or len(self.level_dims) + 1

  def layers_of(self, level: int) -> slice:
    """The layers in which an MLP level is."""
    if not self.level_layers:
      return slice(0, self.num_layers)
    level = range(self.num_levels)[level]
    return slice(sum(self.level_layers[:level]),
                 sum(self.level_layers[:level + 1]))

  def slots_of(self, level: int) -> int:
    """Slots in the pool of an MLP level, 0 being the fastest."""
    if self.level_layers or level == len(self.level_dims):
      return self.num_slots
    return self.level_slots[level] if self.level_slots else 0

  def architecture(self) -> dict:
    """The fields that fix parameter shapes and outputs, as plain JSON types.

    Two models may exchange weights exactly when these are equal.
    """
    fields = dataclasses.asdict(self)
    for name in ('scan_layers', 'cpu_layout', 'matmul_dtype', 'remat',
                 'attention_queries', 'level_layers'):
      del fields[name]
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()}
