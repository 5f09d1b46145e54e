"""Small GGUF files for tests: random models, quantised or not, vocabularies."""

import dataclasses

import gguf
import numpy as np

from sleepjax.models import weight_map
from sleepjax.models.config import ModelConfig
from sleepjax.models.gguf import (
    FAMILIES,
    ROTATE_NEIGHBOURS,
    neighbours_first,
)

# Rows of 256 entries, the least that K-quants take; heads as wide as Qwen3's.
QUANTISED = {
    name: ModelConfig(
        vocab_size=97, num_layers=2, embed_dim=256, mlp_dim=256, num_heads=2,
        num_kv_heads=1, head_dim=128, max_context=64, rope_theta=1e4,
        rms_eps=1e-6, tie_embeddings=name == 'qwen3', **FAMILIES[name])
    for name in ('llama', 'qwen2', 'qwen3')}
QUANTISED['gemma3'] = dataclasses.replace(
    QUANTISED['qwen3'], num_layers=6, head_dim=256, rope_theta=1e6, window=8,
    layer_kinds=('window',) * 5 + ('full',), embed_scale=16.0,
    **FAMILIES['gemma3'])
_TYPES = {
    'token_embd': 'Q5_0', 'output': 'Q8_0', 'attn_q': 'Q4_K', 'attn_k': 'Q5_0',
    'attn_v': 'Q8_0', 'attn_output': 'F16', 'ffn_gate': 'Q4_K',
    'ffn_up': 'BF16', 'ffn_down': 'Q6_K'}


def stored_tensors(config, params, architecture='llama'):
  """{name: array} of parameters as a file has them, in float32."""
  sizes, tensors = weight_map.axis_sizes(config), {}
  for weight in weight_map.weights_of(config):
    array = np.asarray(weight_map.leaf_at(params, weight.path))
    for i, layer in enumerate(array if weight.stacked else [array]):
      stored = weight.to_stored(layer, sizes)
      if weight.rotated and architecture in ROTATE_NEIGHBOURS:
        stored = neighbours_first(stored, config.head_dim)
      tensors[weight.gguf.format(i)] = stored
  return tensors


def write_gguf(path, config, params, metadata=(), change=lambda tensors: None,
               architecture='llama', tensors_per_file=0):
  """A small F32 file; `change` edits the tensors before they are written.

  metadata: (method of GGUFWriter, its arguments) of further keys.
  tensors_per_file: at most; 0 for one file.
  """
  tensors = stored_tensors(config, params, architecture)
  change(tensors)
  return write_tensors(
      path, config, tensors, metadata, architecture, tensors_per_file)


def write_tensors(path, config, tensors, metadata, architecture,
                  tensors_per_file=0):
  """A file of tensors, each an array or (bytes, its type)."""
  writer = gguf.GGUFWriter(
      path, architecture, split_max_tensors=tensors_per_file)
  writer.add_context_length(config.max_context)
  writer.add_embedding_length(config.embed_dim)
  writer.add_block_count(config.num_layers)
  writer.add_feed_forward_length(config.mlp_dim)
  writer.add_head_count(config.num_heads)
  writer.add_head_count_kv(config.num_kv_heads)
  writer.add_rope_freq_base(config.rope_theta)
  writer.add_layer_norm_rms_eps(config.rms_eps)
  if config.window:
    writer.add_sliding_window(config.window)
  if config.head_dim * config.num_heads != config.embed_dim:
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
  for method, *values in metadata:
    getattr(writer, method)(*values)
  for name, array in tensors.items():
    kind = None
    if isinstance(array, tuple):
      array, kind = array
    writer.add_tensor(name, np.ascontiguousarray(array), raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def write_quantised(path, architecture):
  """A random model of `QUANTISED`, each kind of matrix of another type."""
  config, rng = QUANTISED[architecture], np.random.default_rng(0)
  sizes, tensors = weight_map.axis_sizes(config), {}
  for weight in weight_map.weights_of(config):
    shape = weight.stored_shape(sizes)
    for i in range(config.num_layers if weight.stacked else 1):
      name = weight.gguf.format(i)
      kind = _TYPES.get(name.removesuffix('.weight').split('.')[-1])
      if kind is None or len(shape) == 1:
        tensors[name] = rng.normal(
            'norm' in name, 0.3, shape).astype(np.float32)
      else:
        kind = gguf.GGMLQuantizationType[kind]
        tensors[name] = random_blocks(shape, kind, rng), kind
  return write_tensors(path, config, tensors, [
      ('add_vocab_size', config.vocab_size)], architecture)


def random_blocks(shape, kind, rng):
  """Bytes of a random matrix of that type, its entries about 1/16 in size."""
  if kind.name not in ('Q4_K', 'Q6_K'):  # The package writes the others.
    return gguf.quantize(
        rng.normal(0, 1 / 16, shape).astype(np.float32), kind)
  entries, size = gguf.GGML_QUANT_SIZES[kind]
  blocks = rng.integers(
      0, 256, (shape[0], shape[1] // entries, size), np.uint8)
  scale = lambda number: np.frombuffer(np.float16(number).tobytes(), np.uint8)
  if kind.name == 'Q4_K':  # Scale and least value, then what they apply to.
    blocks[..., :2], blocks[..., 2:4] = scale(2e-4), scale(1.5e-3)
  else:
    blocks[..., -2:] = scale(5e-5)
  return blocks.reshape(shape[0], -1)


def vocabulary(tokens, merges, model, rule, end, **more):
  """Metadata of a byte-pair vocabulary, as `write_gguf` takes it.

  Args:
    tokens: by id; those written <|so|> are control tokens.
    merges: pairs.
    model, rule: tokenizer.ggml.model and tokenizer.ggml.pre.
    end: id of the end of a text.
    more: methods of GGUFWriter and their argument.
  """
  return [
      ('add_tokenizer_model', model), ('add_tokenizer_pre', rule),
      ('add_token_list', tokens),
      ('add_token_merges', [' '.join(merge) for merge in merges]),
      ('add_token_types', [3 if token.startswith('<|') else 1
                           for token in tokens]),
      ('add_eos_token_id', end), *more.items()]
