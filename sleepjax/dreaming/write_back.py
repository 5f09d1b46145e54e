"""What dreaming leaves in the weights: the best dreams, seeded into the slot.

The paper does not say what dreaming writes into the model (arXiv 2606.03979,
section 3.4). Here the sleeping model with its generator, which has learnt from
the dreams that helped, teaches the slot by the objective of seeding: its
distributions on those dreams, and with them what the old self answered, text in
view, to the questions that no dream of seeding contained (held out there,
`DreamConfig.held_out`), whether or not its answers agree. So nothing that was
written while awake is lost. Tonight's dreams of seeding are learnt on among
them, or the slot would forget them; so are the terms that hold what else must
not change. If the model moved too far on the retention rows, or if the held-in
questions became less likely, all of it is undone.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sleepjax.dreaming import loss
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.growth.learner import Learner
from sleepjax.sampling.rows import Rows, num_tokens
from sleepjax.seeding import update
from sleepjax.seeding.consolidation import Guard, retention_divergence
from sleepjax.seeding.examples import Examples, joined, paired_examples
from sleepjax.seeding.loop import Seeder
from sleepjax.training.observer import Watched

_held_in_loss = jax.jit(loss.held_in_loss)


@dataclasses.dataclass(frozen=True)
class WriteBackReport:
  """What the write-back did; plain Python values.

  dreams, questions: rows of each that it learnt from.
  tau_before, tau_after: loss of tonight's held-in questions, nats per token,
    kept or not. It learns from some of them: no measure of anything else.
  retention_divergence: nats per token by which it, and a merged generator,
    moved the model on the retention rows, kept or not; None without rows.
  rolled_back: the model is what it was.
  """

  dreams: int
  questions: int
  tau_before: float
  tau_after: float
  retention_divergence: float | None
  rolled_back: bool


def dream_examples(teacher: Learner, best, shared: Sequence[int],
                   completion_tokens: int, taught: bool = True) -> Examples:
  """The best dreams as examples.

  Args:
    teacher: who wrote them, its generator in place.
    best: (prompt ids, dream ids).
    shared: what all prompts of the night begin with.
    completion_tokens: longest dream.
    taught: by the teacher's distributions; else the words are what is learnt.
  """
  shared = list(shared)
  for prompt, _ in best:
    if list(prompt[:len(shared)]) != shared:
      raise UserError(
          'a prompt of dreaming begins otherwise than those of seeding: '
          f'expected {len(shared)} tokens that all prompts of the night share.')
  return paired_examples(
      teacher.config, teacher.params, best, completion_tokens, shared, taught)


def write_back(seeder: Seeder, before: Learner, dreams: Examples | None,
               held_in: Rows, guard: Guard, settings: DreamingConfig, key,
               watched: Watched):
  """Seeds the slot with the best dreams, or leaves it as it was.

  Args:
    seeder: tonight's, with its examples and its other terms; a generator may
      be merged into its learner's weights.
    before: who has dreamt; what the model was.
    dreams: those with a reward, or None; see `dream_examples`.
    held_in: questions and answers of tonight that agree [Q, ...].
    guard: all of tonight's held-out questions with the old self's answers,
      which are learnt from here, and how far the model may move.
    settings: steps, rate and limit.
    key: typed PRNG key.
    watched: hears of every update, and of the check; has the budget.

  Returns:
    (slot, WriteBackReport), or (slot, None) if there was nothing to learn.
  """
  s, examples = settings, [e for e in (dreams, guard.held_out) if e is not None]
  # With nothing new, seeding goes on only where it is the control, or where
  # the slot has to fit weights that a generator was merged into.
  goes_on = examples or not s.rounds or s.generator == 'merged'
  if not goes_on or not s.write_back_steps:
    return before.value, None
  # As often as seeding has seen each of its own.
  repeats = max(1, round(seeder.settings.steps / s.write_back_steps))
  again = dataclasses.replace(
      seeder, terms=dataclasses.replace(seeder.terms, examples=joined(
          seeder.terms.examples, *examples * repeats)),
      settings=dataclasses.replace(
          seeder.settings, steps=s.write_back_steps, on_policy=0.0,
          learning_rate=s.write_back_learning_rate, updates_per_rollout=1,
          teacher='frozen', estimator='exact',
          warmup_steps=min(seeder.settings.warmup_steps, s.write_back_steps)))
  tau_before = float(_held_in_loss(before, held_in))
  state = update.init_state(again.settings, jax.tree.map(
      jnp.copy, before.value))
  after = seeder.learner.with_value(
      again.run(state, key, watched.report, watched.meter).slot)
  tau_after = float(_held_in_loss(after, held_in))
  # Written so that a loss that is not a number is undone, too.
  undone, moved, tokens = not tau_after <= tau_before, None, num_tokens(held_in)
  if guard.retention is not None:
    moved = float(retention_divergence(
        before.config, before.params, after.params, guard.retention))
    undone = undone or not moved <= guard.max_divergence
    tokens += num_tokens(guard.retention)
  watched.report(s.write_back_steps, {
      'dream_tau_after': tau_after, 'dream_rolled_back': float(undone),
      **({} if moved is None else {'dream_retention_divergence': moved})},
                 2 * tokens)
  rows = lambda examples: 0 if examples is None else len(examples)
  return (before if undone else after).value, WriteBackReport(
      dreams=rows(dreams), questions=rows(guard.held_out),
      tau_before=tau_before, tau_after=tau_after, retention_divergence=moved,
      rolled_back=undone)
