"""Optimizers of optax under any of JAX's rules of promotion."""

import functools

import jax
import optax


def promoting(optimizer: optax.GradientTransformation
              ) -> optax.GradientTransformationExtraArgs:
  """The optimizer, which also works with `jax_numpy_dtype_promotion=strict`.

  optax mixes its integer counts with floats, which that refuses; our own code
  states its dtypes and is left to it.
  """
  optimizer = optax.with_extra_args_support(optimizer)

  def allowed(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
      with jax.numpy_dtype_promotion('standard'):
        return function(*args, **kwargs)
    return call

  return optax.GradientTransformationExtraArgs(
      allowed(optimizer.init), allowed(optimizer.update))
