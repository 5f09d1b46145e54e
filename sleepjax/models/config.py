"""Shape and numerics of a Llama-like decoder.

Dimension letters used in shape suffixes throughout the project:

  B batch · T tokens · S keys of a memory segment · D embed · V vocabulary
  L layers · H query heads · G key/value heads · K head dim · F MLP hidden
  N slots · R slot rank

The parameter tree (a plain nested dict, layers stacked on the first axis):

  embed/table [V, D]
  layers/attn_norm/scale [L, D]
  layers/attn/{q [L, D, H, K], k [L, D, G, K], v [L, D, G, K], o [L, H, K, D]}
  layers/attn/{q_bias [L, H, K], k_bias [L, G, K], v_bias [L, G, K]}  qkv_bias
  layers/attn/{q_norm [L, K], k_norm [L, K]}                          qk_norm
  layers/mlp_norm/scale [L, D]
  layers/mlp/{gate [L, D, F], up [L, D, F], down [L, F, D]}
  layers/slots/{gate [L, N, D, R], up [L, N, D, R], down [L, N, R, D],
                open [L, N] bool}                                     num_slots
  final_norm/scale [D]
  head/kernel [D, V]                                    unless tie_embeddings
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """Llama-3 frequency scaling: long wavelengths are stretched by `factor`."""

  factor: float
  low_freq_factor: float
  high_freq_factor: float
  original_max_context: int


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Architecture of a decoder; everything that fixes its parameter shapes.

  The defaults of the optional fields describe a plain Llama. `scan_layers`,
  `fuse_projections` and `matmul_dtype` choose how it is computed, not what:
  see `sleepjax.models.layout`.
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
  num_slots: int = 0
  slot_rank: int = 0
  scan_layers: bool = True
  fuse_projections: bool = False
  matmul_dtype: str = 'float32'

  def __post_init__(self):
    if self.num_heads % self.num_kv_heads:
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

  def architecture(self) -> dict:
    """The fields that fix parameter shapes and outputs, as plain JSON types.

    Two models may exchange weights exactly when these are equal.
    """
    fields = dataclasses.asdict(self)
    for name in ('scan_layers', 'fuse_projections', 'matmul_dtype'):
      del fields[name]
    return fields
