"""Folding is exact, and what is exported comes back the same."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.growth import fold, slots
from sleepjax.model import load_pretrained
from sleepjax.models import export, transformer
from tests.conftest import random_params

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FAMILIES = ('llama', 'qwen2', 'qwen3')


def grown(family, open_layers=(True, False, True), rank=5):
  """A golden model with two trained slots, the first closed in one layer."""
  model = load_pretrained(str(GOLDEN / family))
  config, params = model.config, jax.tree.map(jnp.asarray, model.params)
  for n, layers in enumerate((open_layers, (True,) * 3)):
    slot = slots.new_slot(config, jax.random.key(n), rank)
    slot['down'] = jax.random.normal(
        jax.random.key(9 + n), slot['down'].shape) * 0.3
    config, params = slots.append_slot(config, params, slot, layers)
  return model, config, params


def logits(config, params):
  tokens = jax.random.randint(jax.random.key(3), (2, 17), 0, config.vocab_size)
  return np.asarray(transformer.logits(config, params, tokens))


@pytest.mark.parametrize('family', FAMILIES)
def test_fold_keeps_the_function(family):
  model, config, params = grown(family)
  folded_config, folded = fold.fold_slots(config, params)
  assert folded_config == dataclasses.replace(
      model.config, mlp_dim=model.config.mlp_dim + 10)
  assert jax.tree.map(jnp.shape, folded) == jax.tree.map(
      jnp.shape, transformer.abstract_params(folded_config))
  want = logits(config, params)
  assert np.abs(want - logits(model.config, model.params)).max() > 0.1
  np.testing.assert_allclose(logits(folded_config, folded), want, atol=2e-5)


def test_fold_drops_a_slot_that_is_closed_everywhere():
  model, config, params = grown('llama', open_layers=(False,) * 3)
  folded_config, folded = fold.fold_slots(config, params)
  assert folded_config.mlp_dim == model.config.mlp_dim + 5
  np.testing.assert_allclose(
      logits(folded_config, folded), logits(config, params), atol=2e-5)


def test_fold_leaves_the_slots_of_other_levels(levels):
  config = dataclasses.replace(levels[0], slot_routing='none', slot_top_k=0)
  params = random_params(config)
  folded_config, folded = fold.fold_slots(config, params)
  assert (folded_config.level_slots, folded_config.slot_rank) == ((0, 2), 4)
  assert jax.tree.map(jnp.shape, folded) == jax.tree.map(
      jnp.shape, transformer.abstract_params(folded_config))
  want = logits(config, params)
  np.testing.assert_allclose(
      logits(folded_config, folded), want, atol=1e-5 * np.abs(want).max())


def test_fold_without_slots_changes_nothing():
  model = load_pretrained(str(GOLDEN / 'llama'))
  assert fold.fold_slots(model.config, model.params) == (
      model.config, model.params)


@pytest.mark.parametrize('family', FAMILIES)
def test_import_of_export_is_the_same_model(family, tmp_path):
  model, config, params = grown(family)
  config, params = fold.fold_slots(config, params)
  export.export_hf(config, params, model.tokenizer, tmp_path / 'out')
  back = load_pretrained(str(tmp_path / 'out'))
  assert back.config == config
  jax.tree.map(np.testing.assert_array_equal, back.params, dict(params))
  assert back.tokenizer.encode('a b') == model.tokenizer.encode('a b')


def test_export_refuses_what_no_family_has(tmp_path):
  model, config, params = grown('llama')
  with pytest.raises(UserError, match='fold'):
    export.export_hf(config, params, model.tokenizer, tmp_path / 'a')
  both = dataclasses.replace(model.config, qkv_bias=True, qk_norm=True)
  with pytest.raises(UserError, match='family'):
    export.hf_config(both)
  odd = dataclasses.replace(model.config, qkv_bias=True, head_dim=6)
  with pytest.raises(UserError, match='head_dim'):
    export.hf_config(odd)
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full/file').write_text('x')
  with pytest.raises(UserError, match='not empty'):
    export.export_hf(
        model.config, model.params, model.tokenizer, tmp_path / 'full')
  assert [p.name for p in tmp_path.iterdir()] == ['full']
