"""One round of dreaming (arXiv 2606.03979, section 3.4).

  sample   m dreams about each memory, closed book
  select   of each memory the k most important and b random others
  inner    a copy learns each alone; rewarded if τ of its memory improves
  outer    the generator learns to write what was rewarded

The model itself does not change; see `sleepjax.dreaming.write_back`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from sleepjax.dreaming import diversity, inner, outer, sample, select, tasks
from sleepjax.dreaming.inner import Descent
from sleepjax.dreaming.reward import REWARDS
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.dreaming.tasks import Task
from sleepjax.growth.adapters import LowRank
from sleepjax.growth.learner import Learner
from sleepjax.losses import policy_gradient
from sleepjax.mesh.sharding import to_host
from sleepjax.sampling.rows import Rows, num_tokens


@dataclasses.dataclass(frozen=True)
class RoundReport:
  """What happened in a round; plain Python values.

  dreams: the T m dreams as token ids, those of a memory together.
  distinct_2, similarity: their diversity, mean over memories, see
    `sleepjax.dreaming.diversity`.
  importance: of every dream.
  selected: which dreams were kept; the following lists are in this order.
  rewards: of every kept dream.
  improvement: nats per token by which learning it alone lowered the held-in
    loss of its memory.
  tau_before: held-in loss before the round, of every memory.
  success_rate: share of kept dreams that lowered it.
  constant_groups: share of memories whose dreams were all rewarded alike.
  influence_rank_correlation: Spearman's ρ of influence and improvement over the
    kept dreams of a memory, mean over memories; None where there are too few.
  norm_rank_correlation: the same of the gradient norm.
  outer_loss: of the generator before its last update; None if no dream had a
    reward that it could learn from.
  """

  dreams: list[list[int]]
  distinct_2: float
  similarity: float
  importance: list[float]
  selected: list[int]
  rewards: list[float]
  improvement: list[float]
  tau_before: list[float]
  success_rate: float
  constant_groups: float
  influence_rank_correlation: float | None
  norm_rank_correlation: float | None
  outer_loss: float | None


def generator_part(settings: DreamingConfig) -> LowRank:
  """The generator's form."""
  return LowRank(settings.generator_rank, settings.generator_alpha)


def _floats(array) -> list[float]:
  return np.asarray(array, np.float64).tolist()


def _mean_correlation(predicted_Txk, true_Txk):
  values = [select.rank_correlation(p, t)
            for p, t in zip(predicted_Txk, true_Txk, strict=True)]
  values = [v for v in values if v is not None]
  return float(np.mean(values)) if values else None


def _adapted(sleeper: Learner, part: LowRank, value) -> Learner:
  """The sleeping model, its slot in place, with an adapter that learns."""
  return Learner(sleeper.config, sleeper.params, part, None, value=value)


def _copied(sleeper: Learner, settings: DreamingConfig, key) -> Learner:
  """Where every copy starts, and what of it is trained."""
  if settings.inner_adapter == 'slot':
    return sleeper
  part = LowRank(settings.inner_rank, settings.inner_alpha)
  return _adapted(sleeper, part, part.init(sleeper.config, key))


def dream_round(sleeper: Learner, generator, start, settings: DreamingConfig,
                memories: Sequence[Task], stop_ids: tuple[int, ...], key,
                report: Callable[[int, dict, int], None]):
  """Samples, selects, tries and learns to dream; all follows from `key`.

  Args:
    sleeper: who dreams; does not change.
    generator: the adapter that dreams are written with, of `generator_part`.
    start: the adapter that the outer update starts from.
    settings: every choice of the round.
    memories: what is dreamt about, T of them.
    stop_ids: tokens that end a dream.
    key: typed PRNG key.
    report: gets (part, metrics, tokens) after each of the four parts; tokens
      are those that a model read or wrote in it.

  Returns:
    (generator, best, RoundReport): the same generator, bit for bit, if there
    was nothing to learn; best are (prompt ids, dream ids) of at most
    `settings.write_back_dreams` dreams about each memory with a reward > 0,
    those that improved it most.

  Raises:
    UserError: prompts that do not fit, or a memory without an answer token.
  """
  s, T = settings, len(memories)
  held_in = tasks.held_in_rows(memories, s)
  part = generator_part(s)
  dream_key, select_key, inner_key = jax.random.split(key, 3)
  dreams = sample.sample_dreams(
      sleeper, [task.prompts for task in memories], s, stop_ids, dream_key,
      part, generator)
  written = sample.token_lists(dreams)
  groups = [written[i * s.dreams:(i + 1) * s.dreams] for i in range(T)]
  distinct = float(np.mean([diversity.distinct_n(g, 2) for g in groups]))
  similar = float(np.mean([diversity.pairwise_similarity(g) for g in groups]))
  report(0, {'dream_length': float(np.mean([len(d) for d in written])),
             'dream_distinct_2': distinct, 'dream_similarity': similar},
         num_tokens(dreams))

  scores = select.gradient_scores(
      sleeper, dreams, held_in, np.repeat(np.arange(T), s.dreams),
      rows_at_once=s.gradient_rows)
  by_memory = lambda values: to_host(values).astype(np.float64).reshape(T, -1)
  norm, influence = by_memory(scores.norm), by_memory(scores.influence)
  importance = {'gradient_norm': norm, 'influence': influence,
                'random': np.zeros_like(norm)}[s.selection]
  top_k = 0 if s.selection == 'random' else s.top_k
  within = np.asarray(select.selected_dreams(
      importance, select_key, top_k, s.kept - top_k))
  selected = (within + np.arange(T)[:, None] * s.dreams).reshape(-1)
  kept = Rows(*(to_host(leaf)[selected] for leaf in dreams))
  report(1, {'dream_importance': float(importance.mean()),
             'dream_importance_kept': float(
                 importance.reshape(-1)[selected].mean())},
         num_tokens(dreams) + num_tokens(held_in))

  trials = inner.dream_trials(
      _copied(sleeper, s, inner_key), kept, held_in,
      np.repeat(np.arange(T), s.kept),
      Descent(s.inner_steps, s.inner_learning_rate),
      copies_at_once=s.copies_at_once)
  before, after = map(to_host, trials)
  after = after.reshape(T, s.kept)
  rewards = REWARDS[s.reward](before, after)
  improvement = by_memory(before[:, None] - after)
  success_rate = float(REWARDS['binary'](before, after).mean())
  constant = float(policy_gradient.constant_groups(rewards))
  report(2, {'dream_tau_before': float(before.mean()),
             'dream_tau_inner': float(after.mean()),
             'dream_reward': float(rewards.mean()),
             'dream_success_rate': success_rate,
             'dream_constant_groups': constant},
         s.inner_steps * num_tokens(kept)
         + num_tokens(held_in) * (1 + s.kept))

  weights, outer_loss, tokens = outer.dream_weights(s.outer, rewards), None, 0
  if np.asarray(weights).any():
    outcome = outer.outer_update(
        _adapted(sleeper, part, start), kept, weights,
        Descent(s.outer_steps, s.outer_learning_rate), outer=s.outer)
    if np.isfinite(outcome.loss):
      generator, outer_loss = outcome.generator, float(outcome.loss)
    tokens = s.outer_steps * num_tokens(kept)
  report(3, {'dream_skipped': float(outer_loss is None),
             **({} if outer_loss is None else {'dream_loss': outer_loss})},
         tokens)

  prompts = sample.token_lists(dreams._replace(
      completion=dreams.prompt, completion_mask=dreams.prompt_mask))
  gains = np.where(np.asarray(rewards) > 0, improvement, -np.inf)
  most = np.argsort(-gains, axis=1)[:, :s.write_back_dreams]
  best = [(prompts[i], written[i])
          for own, gain, order in zip(selected.reshape(T, -1), gains, most)
          for i in own[order[np.isfinite(gain[order])]]]
  take = lambda values: np.take_along_axis(values, within, axis=1)
  return generator, best, RoundReport(
      dreams=written, distinct_2=distinct, similarity=similar,
      importance=_floats(importance.reshape(-1)), selected=selected.tolist(),
      rewards=_floats(rewards.reshape(-1)),
      improvement=_floats(improvement.reshape(-1)), tau_before=_floats(before),
      success_rate=success_rate, constant_groups=constant,
      influence_rank_correlation=_mean_correlation(
          take(influence), improvement),
      norm_rank_correlation=_mean_correlation(take(norm), improvement),
      outer_loss=outer_loss)
