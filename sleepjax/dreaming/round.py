"""One round of dreaming (arXiv 2606.03979, section 3.4).

  sample   m dreams, closed book
  select   the k with the largest gradients and b random others
  inner    a copy of the slot learns each alone; reward 1 if τ improves
  outer    the slot learns the rewarded dreams; undone if that made it worse

τ is measured on questions that no evaluation uses. There is one round per
sleep, no random expert (see `sample`) and no curriculum: the paper names one
and gives no rule for it.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.dreaming import inner, outer, sample, select
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.models.config import ModelConfig
from sleepjax.sampling.rows import Rows, num_tokens

_ROWS = 4


@dataclasses.dataclass(frozen=True)
class DreamReport:
  """What happened in a round; plain Python values.

  dreams: the m dreams as token ids.
  prompts: which of the given prompts every dream completes.
  importance: gradient norm of every dream.
  selected: which dreams were kept; the following lists are in this order.
  rewards: 1 or 0 of every kept dream.
  tau_before: held-in loss before the round, nats per token.
  tau_after_inner: held-in loss of every kept dream's copy.
  improvement: tau_before − tau_after_inner.
  success_rate: fraction of kept dreams with reward 1.
  skipped: no dream earned a reward, so there was no outer update.
  tau_updated: held-in loss after the outer update, kept or not; None if
    skipped.
  retention_divergence: nats per token by which the outer update, kept or not,
    moved the model on the retention rows; None without rows or if skipped.
  rolled_back: the outer update was undone.
  tau_after: held-in loss of the slot that the round returns.
  """

  dreams: list[list[int]]
  prompts: list[int]
  importance: list[float]
  selected: list[int]
  rewards: list[float]
  tau_before: float
  tau_after_inner: list[float]
  improvement: list[float]
  success_rate: float
  skipped: bool
  tau_updated: float | None
  retention_divergence: float | None
  rolled_back: bool
  tau_after: float


def _filled_up(rows: Rows) -> Rows:
  """Rows with masked ones added, so that few batch sizes are compiled."""
  missing = -len(rows.prompt) % _ROWS
  pad = lambda part, mode: np.pad(
      np.asarray(part), ((0, missing), (0, 0)), mode)
  return Rows(*(pad(part, 'edge') for part in rows[:3]),
              pad(rows.completion_mask, 'constant'))


def _floats(array) -> list[float]:
  return np.asarray(array, np.float64).tolist()


def dream_round(config: ModelConfig, frozen, slot, index: int,
                settings: DreamingConfig, prompts: Sequence[Sequence[int]],
                held_in: Rows, retention: Rows | None,
                stop_ids: tuple[int, ...], key,
                report: Callable[[int, dict, int], None]):
  """Samples, selects, tries and learns dreams; everything follows from `key`.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters; they do not change.
    slot: the trained slot {gate [L, D, R], up [L, D, R], down [L, R, D]}.
    index: its place in the pool.
    settings: every choice of the round.
    prompts: closed-book prompts as token ids, see
      `sample.dreamt_prompts`.
    held_in: questions and answers that define τ; never those of an evaluation.
    retention: rows on which the model should stay what it was, or None.
    stop_ids: tokens that end a dream.
    key: typed PRNG key.
    report: gets (part, metrics, tokens) after each of the four parts; tokens
      are those that a model read or wrote in it.

  Returns:
    (slot, DreamReport): the same slot, bit for bit, if no dream earned a reward
    or the update was rolled back.

  Raises:
    UserError: prompts that do not fit, held-in rows without an answer token, or
      retention rows without a completion token.
  """
  for name, rows in (('held_in', held_in), ('retention', retention)):
    if rows is not None and not np.asarray(rows.completion_mask).any():
      raise UserError(
          f'the {name} rows of dreaming have no completion token to measure: '
          'give at least one row with a non-empty completion.')
  questions = _filled_up(held_in)
  anchors = None if retention is None else _filled_up(retention)
  model = config, frozen, slot, jnp.int32(index)
  dream_key, select_key = jax.random.split(key)

  dreams = sample.sample_dreams(
      *model, prompts, settings, stop_ids, dream_key)
  written = sample.token_lists(dreams)
  report(0, {'dream_length': float(np.mean([len(d) for d in written]))},
         num_tokens(dreams))

  importance = select.gradient_norms(
      *model, dreams, rows_at_once=settings.gradient_rows)
  selected = select.selected_dreams(
      importance, select_key, settings.top_k, settings.random)
  kept = Rows(*(jnp.asarray(part)[selected] for part in dreams))
  report(1, {'dream_importance': float(importance.mean()),
             'dream_importance_kept': float(importance[selected].mean())},
         num_tokens(dreams))

  trials = inner.dream_trials(
      *model, kept, questions, settings.inner_steps,
      settings.inner_learning_rate)
  rewards = inner.improvement_reward(*trials)
  before = float(trials.tau_before)
  success_rate = float(rewards.mean())
  report(2, {'dream_tau_before': before,
             'dream_tau_inner': float(trials.tau_after.mean()),
             'dream_success_rate': success_rate},
         settings.inner_steps * num_tokens(kept)
         + (1 + settings.kept) * num_tokens(held_in))

  after, updated, moved, undone = before, None, None, False
  skipped = success_rate == 0
  metrics, tokens = {}, 0
  if not skipped:
    outcome = outer.outer_update(
        *model, kept, rewards, questions, anchors, settings.outer_steps,
        settings.outer_learning_rate)
    updated = float(outcome.tau)
    metrics = {'dream_loss': float(outcome.loss), 'dream_tau_updated': updated}
    tokens = settings.outer_steps * num_tokens(kept) + num_tokens(held_in)
    # Written so that a loss that is not a number is undone, too.
    undone = not updated <= before
    if retention is not None:
      moved = float(outcome.retention)
      tokens += 2 * num_tokens(retention)
      metrics['dream_retention_divergence'] = moved
      undone = undone or not moved <= settings.max_retention_divergence
    if not undone:
      slot, after = outcome.slot, updated
  report(3, {**metrics, 'dream_tau_after': after,
             'dream_skipped': float(skipped),
             'dream_rolled_back': float(undone)}, tokens)

  return slot, DreamReport(
      dreams=written,
      prompts=sample.dreamt_prompts(len(prompts), settings.dreams),
      importance=_floats(importance),
      selected=np.asarray(selected).tolist(), rewards=_floats(rewards),
      tau_before=before, tau_after_inner=_floats(trials.tau_after),
      improvement=_floats(trials.tau_before - trials.tau_after),
      success_rate=success_rate, skipped=skipped, tau_updated=updated,
      retention_divergence=moved, rolled_back=undone, tau_after=after)
