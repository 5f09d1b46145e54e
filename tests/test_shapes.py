"""What annotations say about shapes is true, and a checker holds calls to it.

Nothing checks them while a model trains: a checker is put around the functions
here alone.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

beartype = pytest.importorskip(
    'beartype', reason="no runtime checker: pip install -e '.[dev]'").beartype
from jaxtyping import TypeCheckError, jaxtyped  # noqa: E402

from sleepjax.losses import (  # noqa: E402
    divergences,
    from_hidden,
    imitation,
    policy_gradient,
)
from sleepjax.models import transformer  # noqa: E402
from sleepjax.models.config import ModelConfig  # noqa: E402
from sleepjax.sampling import context, rows, sampler  # noqa: E402

CONFIG = ModelConfig(
    vocab_size=7, num_layers=1, embed_dim=4, mlp_dim=4, num_heads=2,
    num_kv_heads=1, head_dim=2, max_context=256)
PARAMS = transformer.init(CONFIG, jax.random.key(0))
HIDDEN = jnp.ones((3, 2, 4))
HEAD = jnp.ones((4, 7))
WEIGHT = jnp.ones((3, 2))
IDS = jnp.ones((3, 2), int)
LENGTHS = jnp.ones(3, int)
REAL = jnp.ones((3, 2), bool)
# Function -> arguments that fit, the place of one of them, and in its place one
# that does not.
LOGITS = jnp.ones((3, 2, 7))
CALLS = [
    (divergences.of_logits, (divergences.ForwardKL(), LOGITS, LOGITS), 2,
     jnp.ones((3, 2, 8))),
    (divergences.log_softmax, (LOGITS,), 0, IDS),
    *((made().__call__, (LOGITS, LOGITS), 1, jnp.ones((3, 7)))
      for made in (
          divergences.ForwardKL, divergences.ReverseKL,
          divergences.JensenShannon, divergences.SkewedForwardKL,
          divergences.SkewedReverseKL)),
    (divergences.TopKForwardKL(2).__call__, (LOGITS, LOGITS), 1,
     jnp.ones((3, 7))),
    (from_hidden.divergence_from_hidden,
     (divergences.ForwardKL(), (HIDDEN, HEAD), (HIDDEN, HEAD), WEIGHT), 3,
     jnp.ones(3)),
    (from_hidden.divergence_from_hidden,
     (divergences.ForwardKL(), (HIDDEN, HEAD), (HIDDEN, HEAD), WEIGHT), 2,
     (HIDDEN, HEAD[:, :6])),
    (from_hidden.sequence_log_probs_from_hidden, (HIDDEN, HEAD, IDS), 2,
     IDS[:2]),
    (imitation.levenshtein_distance, (IDS, LENGTHS, IDS, LENGTHS), 1,
     LENGTHS[:2]),
    (imitation.levenshtein_reward, (IDS, LENGTHS, IDS, LENGTHS), 3,
     jnp.ones(3)),
    (imitation.token_f1, (IDS, LENGTHS, IDS, LENGTHS), 0, IDS[0]),
    (imitation.content_overlap_judge,
     (IDS, LENGTHS, IDS, LENGTHS, jnp.zeros(7, bool)), 4, jnp.zeros(7)),
    (imitation.imitation_reward, (0.5, WEIGHT, WEIGHT), 2, jnp.ones(3)),
    (policy_gradient.leave_one_out_advantage, (WEIGHT,), 0, None),
    (policy_gradient.group_normalised_advantage, (WEIGHT,), 0, REAL),
    (policy_gradient.constant_groups, (WEIGHT,), 0, REAL),
    (policy_gradient.policy_gradient_loss, (WEIGHT, jnp.ones(3), REAL), 1,
     jnp.ones((3, 1))),
    (policy_gradient.clipped_policy_gradient_loss,
     (WEIGHT, WEIGHT, jnp.ones(3), REAL), 1, WEIGHT[:, :1]),
    (policy_gradient.sampled_reverse_kl, (WEIGHT, WEIGHT, REAL), 2, REAL[:2]),
    (context.read_prefix, (CONFIG, PARAMS, [1, 2]), 2, 3),
    (rows.pad_left, ([[1]], 2), 1, 'two'),
    (rows.pad_right, ([[1]], 2), 0, 1),
    (rows.rows_of, ([[1]], [[2]]), 1, None),
    (rows.completion_hidden, (CONFIG, PARAMS, rows.rows_of([[1]], [[2]])), 2,
     IDS),
    (sampler.sample, (CONFIG, PARAMS, IDS, REAL, jax.random.key(0),
                      sampler.Until(2, (0,))), 3, REAL[:, :1]),
]


@pytest.mark.parametrize(
    'function, right, place, wrong', CALLS,
    ids=[getattr(call[0], '__self__', call[0]).__class__.__name__
         if hasattr(call[0], '__self__') else call[0].__name__
         for call in CALLS])
def test_a_checker_lets_the_right_shapes_through_and_no_others(
    function, right, place, wrong):
  checked = jaxtyped(typechecker=beartype)(
      getattr(function, '__func__', function))
  first = (function.__self__,) if hasattr(function, '__self__') else ()
  checked(*first, *right)
  arguments = [*right]
  arguments[place] = wrong
  with pytest.raises(TypeCheckError):
    checked(*first, *arguments)


def test_every_function_of_arrays_is_called():
  """None of the public functions of losses is missing above."""
  called = {getattr(call[0], '__name__', None) for call in CALLS}
  for module in (divergences, from_hidden, imitation, policy_gradient):
    for name, function in inspect.getmembers(module, inspect.isfunction):
      if function.__module__ == module.__name__ and not name.startswith('_'):
        assert name in called | {'check_chunk_rows'}, name


def test_batches_of_the_host_and_of_a_device():
  on_host = rows.rows_of([[1, 2]], [[3]])
  assert isinstance(on_host.prompt, np.ndarray)
  checked = jaxtyped(typechecker=beartype)(rows.completion_hidden)
  for batch in (on_host, jax.tree.map(jnp.asarray, on_host)):
    assert checked(CONFIG, PARAMS, batch).shape == (1, 16, 4)
