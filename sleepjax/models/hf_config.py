"""config.json of Hugging Face folders, as an architecture.

What these files can say but our decoder does not compute is refused, never
ignored.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from sleepjax.errors import UserError
from sleepjax.models.config import ModelConfig, RopeScaling


@dataclasses.dataclass(frozen=True)
class Family:
  """A class of transformers.

  Attributes:
    model_type: its name in config.json.
    features: fields of `ModelConfig` that it fixes.
    neutral: settings whose harmless values differ from those of `_NEUTRAL`.
    rope_theta, tied: where config.json does not say.
    needs_head_dim: heads need not be D/H wide, so that its files say it.
  """

  model_type: str
  features: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  neutral: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
  rope_theta: float = 10_000.0
  tied: bool = False
  needs_head_dim: bool = False


_GELU = ('gelu_pytorch_tanh',)
FAMILIES = {
    'LlamaForCausalLM': Family('llama'),
    'MistralForCausalLM': Family('mistral'),
    'Qwen2ForCausalLM': Family('qwen2', {'qkv_bias': True}),
    'Qwen3ForCausalLM': Family(
        'qwen3', {'qk_norm': True}, needs_head_dim=True),
    'SmolLM3ForCausalLM': Family('smollm3', rope_theta=2e6, tied=True),
    'Gemma3ForCausalLM': Family(
        'gemma3_text',
        {'qk_norm': True, 'mlp_activation': 'gelu', 'post_norms': True},
        {'hidden_act': _GELU, 'hidden_activation': _GELU,
         'use_bidirectional_attention': (False,)},
        rope_theta=1e6, tied=True, needs_head_dim=True),
}
_MISTRAL_WINDOW = 4096  # Where its config.json does not say.
_LARGEST = 1e300  # JSON has integers that no float holds.

# What asks for another function, or another way to read the weights, and the
# values by which it does not. The classes of transformers ignore some of these;
# whoever wrote one into a config.json meant it.
_NEUTRAL = {
    'hidden_act': ('silu', 'swish'), 'attention_bias': (False,),
    'mlp_bias': (False,), 'use_sliding_window': (False,),
    'attention_chunk_size': (0,), 'is_causal': (True,),
    'is_encoder_decoder': (False,), 'quantization_config': ({},),
    'compression_config': ({},), 'transformers_weights': (),
    'partial_rotary_factor': (1,), 'no_rope_layer_interval': (0,),
    'use_mrope': (False,), 'rope_ratio': (1,), 'alibi': (False,),
    'use_dynamic_ntk': (False,), 'use_logn_attn': (False,),
    'logit_scale': (1,), 'logits_scaling': (1,), 'residual_multiplier': (1,),
    'embedding_multiplier': (1,), 'attention_multiplier': (),
    'scale_emb': (1,), 'scale_depth': (), 'dim_model_base': (),
    'attn_logit_softcapping': (0,), 'final_logit_softcapping': (0,),
    'query_pre_attn_scalar': (), 'clip_qkv': (), 'attn_output_gate': (False,),
    'use_qk_norm': (False,), 'qk_layernorm': (False,),
    'use_parallel_residual': (False,), 'parallel_residual': (False,),
    'num_experts': (0,), 'num_local_experts': (0,), 'n_routed_experts': (0,),
    'pruned_heads': ({},),
}


def config_from_hf(hf: Mapping[str, Any], where: str) -> ModelConfig:
  """Reads the architecture from the contents of a config.json.

  Args:
    hf: the parsed file, of any version of the format.
    where: its origin, for messages.

  Raises:
    UserError: a field is missing or asks for something unsupported.
  """
  names = hf.get('architectures')
  family = names[0] if isinstance(names, list) and len(names) == 1 else None
  if not isinstance(family, str) or family not in FAMILIES:
    raise UserError(
        f'{where}: architectures={names} is not supported; expected one of '
        f'{", ".join(FAMILIES)}.')
  _refuse_unsupported(hf, family, where)
  of = FAMILIES[family]
  integer = lambda key, default=None: _integer(hf, key, where, default)
  tied = hf.get('tie_word_embeddings')
  if not isinstance(tied, bool | None):
    raise UserError(f'{where}: config.json has tie_word_embeddings={tied!r}; '
                    'expected true or false.')
  embed_dim = integer('hidden_size')
  num_heads = integer('num_attention_heads')
  head_dim = integer('head_dim', None if of.needs_head_dim else
                     embed_dim // num_heads)
  features = {**of.features, **_layers(hf, family, where)}
  if family == 'Gemma3ForCausalLM':
    features['embed_scale'] = embed_dim ** 0.5
    if hf.get('query_pre_attn_scalar', 256) != head_dim:
      raise UserError(
          f'{where}: config.json has query_pre_attn_scalar='
          f'{hf.get("query_pre_attn_scalar", 256)} with head_dim={head_dim}; '
          'expected the same, as in all sizes of Gemma 3 but 27B.')
  try:
    rope_theta, rope_scaling = _rope(hf, where, of.rope_theta)
    return ModelConfig(
        vocab_size=integer('vocab_size'),
        num_layers=integer('num_hidden_layers'),
        embed_dim=embed_dim,
        mlp_dim=integer('intermediate_size'),
        num_heads=num_heads,
        num_kv_heads=integer('num_key_value_heads', num_heads),
        head_dim=head_dim,
        max_context=integer('max_position_embeddings'),
        rope_theta=rope_theta,
        rope_scaling=rope_scaling,
        rms_eps=_number(hf, 'rms_norm_eps', where),
        tie_embeddings=of.tied if tied is None else tied,
        **features)
  except ValueError as e:
    raise e if isinstance(e, UserError) else UserError(f'{where}: {e}') from e


def _refuse_unsupported(hf, family, where):
  kind = hf.get('model_type')
  of = FAMILIES[family]
  if kind not in (None, of.model_type):
    raise UserError(
        f'{where}: config.json has model_type={kind!r} with architectures='
        f'[{family!r}]; expected {of.model_type!r}. Use the config.json '
        'that came with the weights.')
  neutral = {**_NEUTRAL, **of.neutral}
  if family == 'Gemma3ForCausalLM':
    del neutral['query_pre_attn_scalar']  # Compared with head_dim.
  # Qwen's files have a window whether or not they use it.
  elif (family == 'LlamaForCausalLM'
        and hf.get('use_sliding_window') is not False):
    neutral['sliding_window'] = (0,)
  if family == 'SmolLM3ForCausalLM':
    del neutral['no_rope_layer_interval']
  asked = {key: hf[key] for key, harmless in neutral.items()
           if hf.get(key) is not None and hf[key] not in harmless}
  # 1 marks a layer that is rotated.
  for key, plain, reader in (
      ('layer_types', 'full_attention', 'Gemma3ForCausalLM'),
      ('no_rope_layers', 1, 'SmolLM3ForCausalLM')):
    kinds = hf.get(key) or []
    if family != reader and (
        not isinstance(kinds, list) or any(kind != plain for kind in kinds)):
      asked[key] = kinds
  if 'AutoModelForCausalLM' in str(hf.get('auto_map')):
    asked['auto_map'] = hf['auto_map']  # Code of its own.
  if asked:
    what = ', '.join(f'{k}={str(v)[:60]}' for k, v in asked.items())
    raise UserError(
        f'{where}: config.json asks for what this decoder does not compute: '
        f'{what}. Supported are SwiGLU (hidden_act=silu; GELU in Gemma 3) '
        "without biases other than Qwen2's on q, k, v, and full attention "
        '(windows in Gemma 3 alone). Take another model; or delete a setting '
        'from config.json if the weights were trained without it.')


def _layers(hf, family, where) -> dict[str, Any]:
  """Fields of `ModelConfig` that say which keys each layer reads, and how."""
  L = _integer(hf, 'num_hidden_layers', where)
  if family == 'MistralForCausalLM':
    window = hf.get('sliding_window', _MISTRAL_WINDOW)
    context = _integer(hf, 'max_position_embeddings', where)
    if window is not None and not _at_least(window, context):
      raise UserError(
          f'{where}: config.json has sliding_window={window!r:.40} (4096 where '
          f'it is missing), less than max_position_embeddings={context}: '
          'attention within a window is supported in Gemma 3 alone. Take a '
          'model without one (Mistral 7B from v0.2 on), or set '
          'max_position_embeddings to the window: within it all is the same.')
  if family == 'SmolLM3ForCausalLM':
    rotated = hf.get('no_rope_layers')
    if rotated is None:
      interval = _integer(hf, 'no_rope_layer_interval', where, 4)
      rotated = [int((i + 1) % interval != 0) for i in range(min(L, 10**6))]
    return _kinds(rotated, {1: 'full', 0: 'unrotated'}, 'no_rope_layers', L,
                  where)
  if family == 'Gemma3ForCausalLM':
    types = hf.get('layer_types')
    if types is None:
      pattern = _integer(hf, 'sliding_window_pattern', where, 6)
      types = ['sliding_attention' if (i + 1) % pattern else 'full_attention'
               for i in range(min(L, 10**6))]
    fields = _kinds(types, {
        'full_attention': 'full', 'sliding_attention': 'window'},
        'layer_types', L, where)
    if 'window' in fields.get('layer_kinds', ()):
      fields['window'] = _integer(hf, 'sliding_window', where)
      fields['window_theta'] = _window_theta(hf, where)
    return fields
  return {}


def _at_least(number, least):
  return (isinstance(number, int) and not isinstance(number, bool)
          and number >= least)


def _kinds(listed, names, key, L, where):
  """{'layer_kinds': …} of a list in config.json, {} if all are 'full'."""
  if (not isinstance(listed, list) or len(listed) < L
      or any(kind not in (*names,) for kind in listed)):
    raise UserError(
        f'{where}: config.json has {key}={str(listed)[:60]}; expected one of '
        f'{", ".join(map(str, names))} for each of the {L} layers.')
  kinds = tuple(names[kind] for kind in listed[:L])
  return {} if set(kinds) == {'full'} else {'layer_kinds': kinds}


def _window_theta(hf, where) -> float:
  """The rotary base of windows; version 5 has it among `rope_parameters`."""
  rope = hf.get('rope_parameters')
  rope = rope.get('sliding_attention') if isinstance(rope, Mapping) else None
  older = hf.get('rope_local_base_freq', 10_000.0)
  settings = {'rope_parameters': {'rope_theta': older, **(rope or {})}}
  theta, scaling = _rope(settings, where, older)
  if scaling is not None:
    raise UserError(
        f'{where}: rotary settings {rope} of windows are scaled; expected '
        "rope_type 'default'.")
  return theta


def _rope(hf, where, theta) -> tuple[float, RopeScaling | None]:
  """Base and scaling; version 5 moved both into `rope_parameters`, and lets
  the older `rope_scaling` replace it as a whole. `theta` is the family's."""
  rope = hf.get('rope_scaling') or hf.get('rope_parameters') or {}
  if isinstance(rope, Mapping) and 'sliding_attention' in rope:  # Gemma 3.
    rope = rope.get('full_attention') or {}
  if not isinstance(rope, Mapping):
    raise UserError(f'{where}: rotary settings {rope!r} are not an object.')
  theta = _number({'rope_theta': theta, **hf, **rope}, 'rope_theta', where)
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if (kind not in ('default', 'linear', 'llama3')
      or rope.get('partial_rotary_factor') not in (None, 1)
      or any(isinstance(value, Mapping) for value in rope.values())):
    raise UserError(
        f'{where}: rotary settings {dict(rope)} are not supported; expected '
        "rope_type 'default', 'linear' or 'llama3', the same in all layers and "
        'on all features of a head.')
  if kind == 'default':
    return theta, None
  factor = _number(rope, 'factor', where)
  if kind == 'linear':
    return theta, RopeScaling(factor)
  # Beside the other settings of rotation it goes before the one among them.
  original = {'original_max_position_embeddings': hf.get(
      'max_position_embeddings'), **rope, **hf}
  return theta, RopeScaling(
      factor=factor,
      low_freq_factor=_number(rope, 'low_freq_factor', where),
      high_freq_factor=_number(rope, 'high_freq_factor', where),
      original_max_context=_integer(
          original, 'original_max_position_embeddings', where))


def _integer(settings, key, where, default=None) -> int:
  value = settings.get(key)
  if value is None:
    value = default
  if not isinstance(value, int) or isinstance(value, bool) or value < 1:
    raise UserError(
        f'{where}: config.json has {key}={value!r}; expected a positive '
        'integer.')
  return value


def _number(settings, key, where) -> float:
  value = settings.get(key)
  if (not isinstance(value, (int, float)) or isinstance(value, bool)
      or not 0 < value <= _LARGEST):
    raise UserError(
        f'{where}: config.json has {key}={value!r}; expected a positive '
        'number.')
  return float(value)
