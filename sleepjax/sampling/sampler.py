"""Autoregressive sampling inside one jitted while loop, with a KV cache."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Float32, Int, Int32, PRNGKeyArray

from sleepjax.models import ops, transformer
from sleepjax.models.arrays import AnyArray
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment


@functools.partial(jax.tree_util.register_dataclass,
                   data_fields=['temperature'],
                   meta_fields=['top_k', 'top_p', 'truncated_log_probs'])
@dataclasses.dataclass(frozen=True)
class Sampling:
  """How the next token is drawn.

  temperature: divides the logits; 0 takes the most likely token. May be traced:
    one program serves all temperatures.
  top_k: keep only the k most likely tokens; 0 keeps all. Static.
  top_p: of those, keep the fewest most likely ones whose probability is at
    least p together (nucleus sampling, arXiv 1904.09751); 1 keeps all. Static.
  truncated_log_probs: whether log-probabilities are of what was drawn from, as
    the ratios of a policy gradient need them, and not of all tokens. Static.
  """

  temperature: float | Float[AnyArray, ''] = 1.0
  top_k: int = 0
  top_p: float = 1.0
  truncated_log_probs: bool = False

  def __post_init__(self):
    known = isinstance(self.temperature, (int, float))
    if (known and self.temperature < 0) or self.top_k < 0:
      raise ValueError(f'temperature={self.temperature} and top_k={self.top_k} '
                       'must not be negative.')
    if not 0 < self.top_p <= 1:
      raise ValueError(f'top_p={self.top_p} must be above 0 and at most 1.')


class Until(NamedTuple):
  """Where a row ends; static.

  max_new_tokens: N, at most so many.
  stop_ids: tokens that end it, and are part of it.
  """

  max_new_tokens: int
  stop_ids: tuple[int, ...] = ()


class Rollout(NamedTuple):
  """Sampled continuations.

  tokens: [B, N] int32, the stop token included, then padding with 0.
  mask: [B, N] bool, true up to and including the stop token.
  log_probs: [B, N] float32, of each token at the sampling temperature (at
    temperature 1 for greedy), before truncation unless `Sampling` says
    otherwise; 0 where masked.
  """

  tokens: Int32[AnyArray, 'B N']
  mask: Bool[AnyArray, 'B N']
  log_probs: Float32[AnyArray, 'B N']


def _truncated(scores_BxV, method: Sampling):
  """−inf for tokens that may not be drawn; ties of the last one stay."""
  if method.top_k:
    least = jax.lax.top_k(scores_BxV, method.top_k)[0][:, -1:]
    scores_BxV = jnp.where(scores_BxV >= least, scores_BxV, -jnp.inf)
  if method.top_p < 1:
    falling = jnp.sort(scores_BxV, axis=1, descending=True)
    share = jax.nn.softmax(falling, axis=1)
    before = jnp.cumsum(share, axis=1) - share
    last = jnp.where(before < method.top_p, falling, jnp.inf).min(1)
    scores_BxV = jnp.where(scores_BxV >= last[:, None], scores_BxV, -jnp.inf)
  return scores_BxV


def _draw(logits, axis: int, uniform_B, method: Sampling):
  """One token per row by inverting the distribution function, and its log-prob.

  Inversion needs one uniform per row where the Gumbel trick needs V, five times
  the time on a CPU at V = 49,152.

  Args:
    logits: [B, V], or [V, B].
    axis: of the vocabulary, 1 or 0.
    uniform_B: in [0, 1).
    method: how to draw.
  """
  temperature = method.temperature
  if isinstance(temperature, (int, float)):
    temperature, greedy = temperature or 1.0, None
  else:
    greedy = temperature == 0
    temperature = jnp.where(greedy, 1.0, temperature)
  # Divided once the maximum is off: an offset that all logits share would be
  # rounded with them otherwise.
  peak = logits.max(axis, keepdims=True)
  below_peak = lambda scores: (scores - peak) / temperature

  total = lambda: jnp.exp(below_peak(logits)).sum(axis)

  def inverted():
    kept_BxV = _truncated(jnp.moveaxis(below_peak(logits), axis, 1), method)
    cumulative = jnp.cumsum(jnp.exp(kept_BxV), axis=1)
    threshold = uniform_B[:, None] * cumulative[:, -1:]
    return ops.first_true(cumulative > threshold, 1), (
        cumulative[:, -1] if method.truncated_log_probs else total())

  likeliest = lambda: (ops.first_true(logits == peak, axis), total())
  if greedy is None:
    tokens, mass = likeliest() if method.temperature == 0 else inverted()
  else:
    tokens, mass = jax.lax.cond(greedy, likeliest, inverted)
  tokens %= logits.shape[axis]  # The first, should rounding leave none.
  chosen = jnp.take_along_axis(logits, jnp.expand_dims(tokens, axis), axis)
  return tokens, jnp.squeeze(below_peak(chosen), axis) - jnp.log(mass)


def _for_cache(segment: Segment) -> Segment:
  """The segment as it is kept while it grows.

  Of layers apart, heads come first, keys as [B, G, K, S] and values as
  [B, G, S, C], which is how attention multiplies them: otherwise they are
  turned round in every step. Stacked ones stay [L, B, S, G, K], since a loop
  over layers would turn all of them before it begins.
  """
  if not isinstance(segment.k, tuple):
    return segment
  return Segment(tuple(k.transpose(0, 2, 3, 1) for k in segment.k),
                 tuple(v.swapaxes(1, 2) for v in segment.v), segment.mask)


def _from_cache(cache: Segment) -> Segment:
  if not isinstance(cache.k, tuple):
    return cache
  return Segment(tuple(k.transpose(0, 3, 1, 2) for k in cache.k),
                 tuple(v.swapaxes(1, 2) for v in cache.v), cache.mask)


def _map_cache(f, *caches: Segment) -> Segment:
  """f(*leaves, axis of the places) of every leaf."""
  k_axis = 3 if isinstance(caches[0].k, tuple) else 2
  k, v, mask = (
      jax.tree.map(lambda *leaves, axis=axis: f(*leaves, axis), *parts)
      for axis, parts in zip((k_axis, 2, 1), zip(*caches)))
  return Segment(k, v, mask)


def _grow_cache(segment: Segment, length: int) -> Segment:
  return _map_cache(
      lambda x, axis: jnp.pad(
          x, [(0, length if a == axis else 0) for a in range(x.ndim)]),
      _for_cache(segment))


def _write_cache(cache: Segment, new: Segment, index, real_B) -> Segment:
  return _map_cache(
      lambda old, one, axis: jax.lax.dynamic_update_slice_in_dim(
          old, one, index, axis),
      cache, _for_cache(new._replace(mask=real_B[:, None])))


def sample(config: ModelConfig, params, prompt_BxP: Int[AnyArray, 'B P'],
           prompt_mask_BxP: Bool[AnyArray, 'B P'], key: PRNGKeyArray,
           until: Until, *, method: Sampling = Sampling(),
           segments: tuple[Segment, ...] = ()) -> Rollout:
  """Continues each prompt until a stop token or the most tokens.

  A row's tokens depend on its prompt, on `key` and on its place in the batch,
  not on the other rows.

  Args:
    config: the model's shape.
    params: its parameters.
    prompt_BxP: token ids, padded on the left: the last column is real.
    prompt_mask_BxP: bool, true for real tokens.
    key: typed PRNG key.
    until: where a row ends.
    method: how tokens are drawn.
    segments: what the model read before the prompt; batch size 1 is shared.

  Returns:
    Rollout of [B, N] arrays.
  """
  B, P = prompt_BxP.shape
  N, stops = until.max_new_tokens, jnp.asarray(until.stop_ids, jnp.int32)
  uniforms_NxB = jax.random.uniform(key, (B, N), jnp.float32).T

  def next_token(hidden_BxD, t):
    scores, axis = transformer.next_token_scores(config, params, hidden_BxD)
    return _draw(scores, axis, uniforms_NxB[t], method)

  hidden, segment = transformer.hidden_states(
      config, params, prompt_BxP, prompt_mask_BxP, segments)
  token, log_prob = next_token(hidden[:, -1], 0)
  first = jnp.zeros((B, N), jnp.int32).at[:, 0].set(token)
  state: dict[str, Any] = dict(
      t=jnp.int32(1), token=token, done=jnp.isin(token, stops),
      tokens=first, mask=jnp.zeros((B, N), bool).at[:, 0].set(True),
      log_probs=jnp.zeros((B, N), jnp.float32).at[:, 0].set(log_prob),
      cache=_grow_cache(segment, N))

  def going(state):
    return (state['t'] < N) & ~state['done'].all()

  def step(state):
    t, cache = state['t'], state['cache']
    hidden, new = transformer.hidden_states(
        config, params, state['token'][:, None], None,
        (*segments, _from_cache(cache)))
    token, log_prob = next_token(hidden[:, 0], t)
    live = ~state['done']
    token = jnp.where(live, token, 0)
    place = P + t - 1
    if config.cpu_layout:
      # Adds 0. Tied to a token, no key is written before all have been read:
      # otherwise a CPU copies the whole cache in every step.
      place += jnp.minimum(token[0], 0)
    put = lambda rows, column: jax.lax.dynamic_update_slice_in_dim(
        rows, column[:, None], t, 1)
    return dict(
        t=t + 1, token=token, done=state['done'] | jnp.isin(token, stops),
        tokens=put(state['tokens'], token), mask=put(state['mask'], live),
        log_probs=put(state['log_probs'], jnp.where(live, log_prob, 0.0)),
        cache=_write_cache(cache, new, place, live))

  state = jax.lax.while_loop(going, step, state)
  return Rollout(state['tokens'], state['mask'], state['log_probs'])


# One cache of programs for everybody who samples outside another jit.
jitted_sample = jax.jit(sample, static_argnums=(0, 5))
