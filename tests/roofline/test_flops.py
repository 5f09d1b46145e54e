import dataclasses

import jax
import jax.numpy as jnp
import pytest

from sleepjax.models import transformer
from sleepjax.roofline import flops
from tests.conftest import CONFIG


def counted(config, tokens, with_gradient=False):
  """FLOPs by XLA's own count, layers unrolled so that it sees them all."""
  config = dataclasses.replace(
      config, scan_layers=False, cpu_layout=True)
  params = transformer.abstract_params(config)

  def loss(params, ids):
    return transformer.logits(config, params, ids).sum()

  function = jax.grad(loss) if with_gradient else transformer.logits
  arguments = (params, tokens) if with_gradient else (config, params, tokens)
  lowered = jax.jit(
      function, static_argnums=() if with_gradient else 0).lower(*arguments)
  return lowered.cost_analysis()['flops']


def by_formula(config, B, T, with_gradient=False):
  products = flops.forward_products(config, B * T, B * T)
  # XLA multiplies masked pairs, too, and three times with a gradient.
  attention = flops.attention_flops(config, B * T * T)
  if with_gradient:
    products += flops.backward_products(config, B * T, B * T)
    attention *= 3
  return flops.total_flops(products) + attention


# Wide enough that products outweigh norms, rotary embedding and softmax.
WIDE = dataclasses.replace(
    CONFIG, embed_dim=256, mlp_dim=512, num_heads=4, head_dim=32,
    vocab_size=1000)


@pytest.mark.parametrize('config', [
    WIDE, dataclasses.replace(WIDE, num_slots=3, slot_rank=64),
    dataclasses.replace(WIDE, level_dims=(128, 64), value_dim=48),
    dataclasses.replace(WIDE, num_slots=2, slot_rank=64, slot_form='linear')])
def test_forward_flops_are_those_that_xla_counts(config):
  tokens = jax.ShapeDtypeStruct((2, 32), jnp.int32)
  want = counted(config, tokens)
  assert by_formula(config, 2, 32) == pytest.approx(want, rel=0.06)
  assert by_formula(config, 2, 32) < want


def test_flops_of_a_training_step_are_those_that_xla_counts():
  tokens = jax.ShapeDtypeStruct((2, 32), jnp.int32)
  assert by_formula(WIDE, 2, 32, True) == pytest.approx(
      counted(WIDE, tokens, True), rel=0.08)


def test_weights_are_counted_once_a_row():
  """Two FLOPs for every weight but norms and the embedding, with every part."""
  config = dataclasses.replace(
      CONFIG, num_slots=3, slot_rank=4, slot_routing='sigmoid',
      level_dims=(12,), level_slots=(2,), tie_embeddings=False)
  params = transformer.abstract_params(config)
  matrices = [leaf for path, leaf in jax.tree.leaves_with_path(params)
              if not any(word in jax.tree_util.keystr(path)
                         for word in ('scale', 'open', 'embed'))]
  assert flops.total_flops(flops.forward_products(config, 5, 5)) == (
      2 * 5 * sum(leaf.size for leaf in matrices))


def test_slot_update_learns_one_slot():
  config = dataclasses.replace(CONFIG, num_slots=3, slot_rank=4)
  rows = 7
  forward = flops.total_flops(flops.forward_products(config, rows, rows))
  update = flops.total_flops(
      flops.backward_products(config, rows, rows, 'slot'))
  slot = 3 * config.embed_dim * config.slot_rank * config.num_layers
  assert update == forward + 2 * rows * slot
  with pytest.raises(ValueError, match='trained'):
    flops.backward_products(config, rows, rows, 'head')


def test_causal_pairs():
  assert flops.causal_pairs(3) == 1 + 2 + 3
  assert flops.causal_pairs(2, 5) == 6 + 7
