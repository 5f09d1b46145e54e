"""Small models and a small tokenizer, shared by the tests."""

import dataclasses
import json
import os
import pathlib
import tempfile

# Programs that compile in half the time and run slower: tests run theirs for
# moments. Set before JAX starts, and inherited by the commands that tests run.
FAST_COMPILE = ('--xla_backend_optimization_level=0 '
                '--xla_llvm_disable_expensive_passes=true')
os.environ.setdefault('XLA_FLAGS', FAST_COMPILE)
# Workers and commands share what they have compiled, for the time of one run.
_CACHE = None
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix='sleepjax_tests_')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name
  os.environ['SLEEPJAX_CACHE_DIR'] = _CACHE.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.2'

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig

# What tests compare with is multiplied in float32, on accelerators too.
jax.config.update('jax_default_matmul_precision', 'highest')

CONFIG = ModelConfig(
    vocab_size=61, num_layers=2, embed_dim=32, mlp_dim=48, num_heads=4,
    num_kv_heads=2, head_dim=8, max_context=256)

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + "
    "m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def random_params(config: ModelConfig, seed: int = 0) -> dict:
  """Canonical parameters whose every part matters: norms, biases, slots.

  Slot 0 is open in all layers, slot n > 0 in every other one. Weights are
  large enough that attention is far from uniform and logits far from equal.
  """
  random = np.random.default_rng(seed)

  def filled(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if name.endswith('open'):
      layer, slot = np.indices(leaf.shape)
      return jnp.asarray((slot == 0) | ((layer + slot) % 2 == 0))
    noise = random.normal(size=leaf.shape)
    if name.endswith(('scale', '_norm')):
      return jnp.asarray(1 + 0.3 * noise, leaf.dtype)
    if name.endswith(('_bias', 'slots/down', 'embed/table', 'head/kernel')):
      return jnp.asarray(0.3 * noise, leaf.dtype)
    # Inputs: all axes but that of layers and those that the weight makes.
    inputs = {'o': leaf.shape[1:3], 'gate': leaf.shape[-2:-1],
              'up': leaf.shape[-2:-1]}.get(path[-1].key, leaf.shape[1:2])
    return jnp.asarray(1.5 * noise / np.prod(inputs) ** 0.5, leaf.dtype)

  return jax.tree_util.tree_map_with_path(
      filled, transformer.abstract_params(config))


_MAX_MAPS = 20_000  # Linux allows a process 65,530 by default.


@pytest.fixture(scope='module', autouse=True)
def few_programs():
  """Drops compiled programs between files before they are too many.

  Each takes a few memory maps, and a process that has no more of them crashes
  while it compiles.
  """
  yield
  maps = pathlib.Path('/proc/self/maps')
  if maps.exists() and maps.read_text().count('\n') > _MAX_MAPS:
    jax.clear_caches()


@pytest.fixture(scope='session')
def plain():
  """(config, params) of a model without slots."""
  return CONFIG, random_params(CONFIG)


@pytest.fixture(scope='session')
def slotted():
  """(config, params) with two slots of rank 4, not all open, none zero."""
  config = transformer.with_slots(CONFIG, 2, 4)
  return config, random_params(config)


@pytest.fixture(scope='session')
def every_part():
  """(config, params) with biases, query-key norms, slots and its own head."""
  config = dataclasses.replace(
      CONFIG, tie_embeddings=False, qkv_bias=True, qk_norm=True, num_slots=2,
      slot_rank=4)
  return config, random_params(config)


@pytest.fixture(scope='session')
def levels():
  """(config, params) with two extra MLP levels, routed slots in two of the
  three, and heads whose values have a size of their own; none zero."""
  config = dataclasses.replace(
      CONFIG, qk_norm=True, qk_norm_eps=1e-3, value_dim=6, num_slots=3,
      slot_rank=4, slot_routing='sigmoid', slot_top_k=1, level_dims=(12, 10),
      level_slots=(0, 2))
  return config, random_params(config)


@pytest.fixture(scope='session')
def kinds():
  """(config, params) with a layer of each kind, norms behind what layers add,
  GELU and slots."""
  config = dataclasses.replace(
      CONFIG, num_layers=3, layer_kinds=('window', 'unrotated', 'full'),
      window=5, window_theta=100.0, mlp_activation='gelu', post_norms=True,
      embed_scale=2.0, qk_norm=True, num_slots=2, slot_rank=4)
  return config, random_params(config)


@pytest.fixture(scope='session')
def eight_tokens():
  """(config, params) of a model whose distributions can be counted out."""
  config = ModelConfig(
      vocab_size=8, num_layers=1, embed_dim=8, mlp_dim=8, num_heads=1,
      num_kv_heads=1, head_dim=8, max_context=16)
  params = random_params(config)
  params['embed']['table'] *= 2
  return config, params


@pytest.fixture(scope='session')
def byte_tokenizer(tmp_path_factory) -> Tokenizer:
  """One token per byte, and ChatML with <|im_end|> as its stop."""
  special = ['<|im_start|>', '<|im_end|>']
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  backend = tokenizers.Tokenizer(models.BPE(
      vocab={c: i for i, c in enumerate([*special, *alphabet])}, merges=[]))
  backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  backend.decoder = decoders.ByteLevel()
  backend.add_special_tokens([
      tokenizers.AddedToken(t, special=True, normalized=False)
      for t in special])
  folder = tmp_path_factory.mktemp('byte_tokenizer')
  backend.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps({
      'eos_token': '<|im_end|>', 'chat_template': CHAT_TEMPLATE}))
  return Tokenizer.from_folder(folder)


@pytest.fixture(scope='session')
def talker(byte_tokenizer):
  """(config, params) of a model for `byte_tokenizer`, without slots."""
  config = dataclasses.replace(CONFIG, vocab_size=byte_tokenizer.vocab_size)
  return config, random_params(config)


@pytest.fixture(scope='session')
def little_text(tmp_path_factory) -> pathlib.Path:
  """A data folder with a little of WikiText-2's place filled by other text."""
  folder = tmp_path_factory.mktemp('data')
  (folder / 'wikitext2').mkdir()
  texts = pathlib.Path(__file__).parent.parent / 'sleepjax/data/text'
  for split, name in (('valid', 'drift'), ('test', 'rehearsal_bees')):
    (folder / 'wikitext2' / f'{split}.txt').write_text(
        (texts / f'{name}.txt').read_text())
  return folder
