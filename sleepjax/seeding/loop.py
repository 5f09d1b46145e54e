"""Seeding a new slot with what the old self knows: the loop around the step."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.growth.learner import Learner
from sleepjax.models import transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import below, blame, objective, targets
from sleepjax.seeding.below import Below
from sleepjax.seeding.examples import Examples
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.roles import Imitation, Privilege
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.seeding.update import SlotState, seeding_step
from sleepjax.training.budget import Meter


@functools.partial(
    jax.jit, static_argnums=0,
    static_argnames=('part', 'until'))
def _rollout(config, frozen, slot, index, shared_ids, prompt, mask, lengths_B,
             key, *, part, until):
  """Rollouts of at most lengths_B tokens; the arrays have the most."""
  student = part.insert(config, frozen, slot, index)
  segments = objective.shared_segments(config, student, shared_ids)
  rollout = sampler.sample(
      config, student, prompt, mask, key, until, segments=segments)
  in_time = jnp.arange(
      until.max_new_tokens, dtype=lengths_B.dtype) < lengths_B[:, None]
  return rollout._replace(mask=rollout.mask & in_time)


@functools.partial(jax.jit, static_argnums=0, static_argnames='part')
def _moved_teacher(config, frozen, slot, index, ids, mask, *, part):
  """The teacher with its own slot, and what it makes of the document."""
  teacher = part.insert(config, frozen, slot, index)
  if ids is None:
    return teacher, ()
  return teacher, (transformer.hidden_states(config, teacher, ids, mask)[1],)


_advantage = jax.jit(objective.imitation_advantage, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class Terms:
  """What the terms of the objective learn from; None leaves a term out.

  examples: of divergence and imitation.
  rehearsal, retention: of the terms of these names.
  importance: for elastic weight consolidation.
  shared_prefix: ids that all student prompts and those of other terms go on
    from; they are not in the examples' rows.
  """

  examples: Examples
  rehearsal: Examples | None = None
  retention: Examples | None = None
  importance: dict | None = None
  shared_prefix: tuple[int, ...] = ()

  @property
  def shared_ids(self) -> np.ndarray | None:
    """`shared_prefix` as an array, as batches have it."""
    shared = self.shared_prefix
    return np.asarray(shared, np.int32) if shared else None


@dataclasses.dataclass(frozen=True)
class Seeder:
  """One sleep's seeding: all of it is fixed but the value that is trained.

  learner: who learns.
  settings: weights of the terms, rows and rates; epochs become steps.
  terms: what is learnt from.
  privilege: what the teacher has and the student has not.
  imitation: how rollouts end and are rewarded.
  """

  learner: Learner
  settings: SeedingConfig
  terms: Terms
  privilege: Privilege = Privilege()
  imitation: Imitation = Imitation()

  def __post_init__(self):
    if self.settings.epochs:
      object.__setattr__(
          self, 'settings', self.settings.for_rows(len(self.terms.examples)))
    if (self.settings.teacher == 'ema' and self.privilege.segments
        and not self.privilege.document):
      raise ValueError(
          'an EMA teacher reads the document anew: it needs its ids.')
    if self.settings.ewc and self.terms.importance is None:
      raise ValueError(f'ewc={self.settings.ewc} needs the importance of every '
                       'parameter: see sleepjax.seeding.ewc.')

  @functools.cached_property
  def below(self) -> Below | None:
    """What the layers below the first that learns make of all rows."""
    learner = self.learner
    return below.cut(
        learner.config, learner.frozen, learner.first_layer,
        self.terms.shared_ids) if learner.first_layer else None

  @functools.cached_property
  def _states(self):
    """[n, P + N, D] below the first layer that learns, of every term's rows."""
    return {name: self.below.all_states(examples.student)
            for name in ('examples', 'rehearsal', 'retention')
            if (examples := getattr(self.terms, name)) is not None}

  def _other_terms(self, step: int, rng) -> dict:
    """Entries of a batch for rehearsal and retention."""
    entries, states = {}, {}
    for name, every in (
        ('rehearsal', self.settings.rehearsal_every), ('retention', 1)):
      if step % every:
        continue
      examples = getattr(self.terms, name)
      rows = getattr(self.settings, f'{name}_rows')
      if examples is not None and getattr(self.settings, name) and rows:
        chosen = rng.choice(len(examples), rows, replace=len(examples) < rows)
        entries[name], entries[f'{name}_hidden'] = examples.take(chosen)
        if self.below:
          states[name] = self._states[name][chosen]
    if self.below and self.below.shared_prefix is not None:
      states['shared_prefix'] = self.below.shared_prefix
    return {**entries, 'other_states': states or None}

  def _teacher(self, state):
    """(parameters, segments) of the teacher as it is now."""
    learner, own = self.learner, self.privilege
    if state.teacher is None:
      return learner.frozen if own.params is None else own.params, own.segments
    document = (None, None)
    if own.segments:
      document = rows_lib.pad_right(
          [own.document], rows_lib.bucket(len(own.document), 128))
    return _moved_teacher(
        learner.config, learner.frozen, state.teacher, learner.index,
        *document, part=learner.part)

  def _off_policy(self, state: SlotState, chosen):
    """Some of the teacher's dreams."""
    e = self.terms.examples
    rows, hidden = e.take(chosen)
    if state.teacher is not None:
      teacher, segments = self._teacher(state)
      hidden = objective.teacher_hidden_states(
          self.learner.config, teacher, Rows(
              e.teacher_prompt[chosen], e.teacher_mask[chosen], *rows[2:]),
          segments)
    return Batch(rows, hidden, states=(
        self._states['examples'][chosen] if self.below else None))

  def _drawn(self, step: int, key, rng, rows: int, replace: bool):
    """[rows] numbers of the dreams of an update."""
    n = len(self.terms.examples)
    if not self.settings.in_passes:
      return rng.choice(n, rows, replace=replace)
    place = np.arange(step * rows, (step + 1) * rows)
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    order = {i: np.random.default_rng([*seed, i]).permutation(n)
             for i in set((place // n).tolist())}
    return np.array([order[p // n][p % n] for p in place.tolist()])

  def _on_policy(self, state: SlotState, chosen, rng, key):
    """Rollouts from random prefixes of dreams, scored and rewarded."""
    s, e = self.settings, self.terms.examples
    N = e.student.completion.shape[1]
    room = int(s.prefix * N)
    P = e.student.prompt.shape[1] + room
    fractions = np.repeat(
        rng.uniform(0, s.prefix, len(chosen)), s.group_size)
    chosen = np.repeat(chosen, s.group_size)
    lengths = e.student.completion_mask[chosen].sum(-1)
    cuts = np.floor(fractions * lengths).astype(int)
    real = lambda ids, mask, i: ids[i][mask[i]].tolist()
    finished = [real(e.student.completion, e.student.completion_mask, i)
                for i in chosen]
    student = [real(e.student.prompt, e.student.prompt_mask, i) + f[:c]
               for i, f, c in zip(chosen, finished, cuts)]
    teacher = [real(e.teacher_prompt, e.teacher_mask, i) + f[:c]
               for i, f, c in zip(chosen, finished, cuts)]
    prompt, mask = rows_lib.pad_left(student, P)
    learner, free_V = self.learner, self.imitation.content_free_V
    rollout = _rollout(
        learner.config, learner.frozen, state.slot, learner.index,
        self.terms.shared_ids,
        # Prefix and rollout are no longer together than the longest dream: one
        # that was cut there is not told from by what comes after.
        prompt, mask, N - cuts, key,
        part=learner.part, until=sampler.Until(N, self.imitation.stop_ids))
    reference = rows_lib.pad_right([f[c:] for f, c in zip(finished, cuts)], N)
    texts = rollout.tokens, rollout.mask, *reference
    if free_V is None:
      free_V = np.zeros(learner.config.vocab_size, bool)
    advantage, metrics = (None, {}) if s.group_size == 1 else _advantage(
        s, *texts, free_V, self.imitation.verdicts(*texts))
    hidden = None
    if s.alpha:
      old_self, segments = self._teacher(state)
      hidden = objective.teacher_hidden_states(
          learner.config, old_self,
          Rows(*rows_lib.pad_left(teacher, e.teacher_prompt.shape[1] + room),
               rollout.tokens, rollout.mask), segments)
    rows = Rows(prompt, mask, rollout.tokens, rollout.mask)
    return Batch(rows, hidden, advantage, sampled_log_probs=(
        rollout.log_probs if s.updates_per_rollout > 1 else None),
                 prefixes=cuts if s.masked_first_tokens else None,
                 states=self.below.states(rows) if self.below else None
                 ), metrics

  def update(self, state: SlotState, step: int, key):
    """One update: the student's own rollouts with chance λ, else dreams.

    All choices come from `key` folded with `step`.

    Returns:
      (state, metrics, tokens): tokens that were read or written by a model.
    """
    s, night_key, key = self.settings, key, jax.random.fold_in(key, step)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    metrics = {}
    on_policy = bool(rng.uniform() < s.on_policy)
    if on_policy:
      batch, metrics = self._on_policy(state, self._drawn(
          step, night_key, rng, s.rows // s.group_size, True), rng, key)
    else:
      batch = self._off_policy(state, self._drawn(
          step, night_key, rng, s.rows, len(self.terms.examples) < s.rows))
    batch = batch._replace(
        **self._other_terms(step, rng), shared_prefix=self.terms.shared_ids,
        importance=self.terms.importance, named=targets.named_by(
            s.target, self.learner, batch.teacher_hidden, key))
    updates = s.updates_per_rollout if on_policy else 1
    tokens = sum(rows_lib.num_tokens(rows) for rows in (
        batch.rows, batch.rehearsal, batch.retention) if rows is not None)
    tokens *= updates
    moved = state.teacher is not None
    # Rollouts are written, and the teacher reads them where there is a D.
    readings = on_policy + ((on_policy and s.alpha > 0) or moved)
    tokens += readings * rows_lib.num_tokens(batch.rows)
    if moved and self.privilege.segments:
      tokens += len(self.privilege.document)
    learner = self.learner
    config, frozen = (self.below.upper if self.below else
                      (learner.config, learner.frozen))
    for _ in range(updates):
      state, updated = seeding_step(
          config, s, frozen, state, jnp.int32(learner.index), batch,
          learner.part)
      blame.check_update(step, learner.frozen, self.privilege.params, state,
                         batch, {**metrics, **updated})
    # It counts batches, as the learning rate does not.
    state = state._replace(step=state.step - (updates - 1))
    return state, {**metrics, **updated, 'on_policy': float(on_policy)}, tokens

  def run(self, state: SlotState, key,
          report: Callable[[int, dict, int], None],
          meter: Meter | None = None,
          after_update: Callable[[SlotState], None] = lambda state: None
          ) -> SlotState:
    """All remaining updates, or as many as a budget allows.

    Args:
      state: where to start.
      key: typed PRNG key.
      report: gets (step, metrics, tokens) of each update.
      meter: of the budget; spends what the updates cost.
      after_update: gets the state after each update, to save it.

    Raises:
      NotFiniteError: if the loss or the gradient stops being finite; the
        message names the step and what was not finite first.
    """
    meter = meter or Meter()
    for step in range(int(state.step), self.settings.steps):
      if meter.exhausted():
        break
      state, metrics, tokens = self.update(state, step, key)
      metrics = {name: float(value) for name, value in metrics.items()}
      report(step, metrics, tokens)
      meter.spend(tokens)
      after_update(state)
    return state
