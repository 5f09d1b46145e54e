"""What an update of seeding owes a loss to that is no number."""

from collections.abc import Iterator

from sleepjax.mesh.sharding import to_host
from sleepjax.models import finite
from sleepjax.models.finite import Cause
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.update import SlotState


def _causes(frozen, teacher, state: SlotState, batch: Batch,
            metrics) -> Iterator[Cause]:
  """What the loss is made from, first things first."""
  yield Cause("the model's weights", frozen,
              'Nothing here changes them: load another copy of the model.')
  yield Cause(
      "the teacher's weights", (teacher, state.teacher),
      'They were so before this update: load another copy of the model, or, of '
      'a teacher that moves, lower seeding.learning_rate.')
  rewards = {name: value for name, value in metrics.items()
             if name.startswith('reward')}
  yield Cause('the reward', {**rewards, 'advantage': batch.advantage},
              'Look at the judge and at seeding.advantage.')
  yield Cause(
      'the log-probabilities of the rollouts',
      {'rows': batch.sampled_log_probs},
      'The student could not say what it wrote: go back to the state saved '
      'before, with a lower seeding.learning_rate.')
  read = (('rows', batch.rows, batch.teacher_hidden),
          ('rehearsal', batch.rehearsal, batch.rehearsal_hidden),
          ('retention', batch.retention, batch.retention_hidden))
  yield Cause(
      'what the teacher makes of the rows', {
          name: to_host(hidden)[to_host(rows.completion_mask)]
          for name, rows, hidden in read if hidden is not None},
      'All its weights are finite: it overflows on a text. Leave that out, or '
      'multiply in float32.')
  yield Cause('the importance of elastic weight consolidation',
              batch.importance,
              'Set seeding.ewc to 0, or estimate it on other rows.')


def check_update(step: int, frozen, teacher, state: SlotState, batch: Batch,
                 metrics) -> None:
  """Stops at a loss or a gradient that is no number.

  Args:
    step: of seeding.
    frozen: the student's parameters.
    teacher: the old self's, if they are others.
    state: after the update.
    batch: what it was made from.
    metrics: of the update, and of the rewards.

  Raises:
    NotFiniteError: naming the step and what was not finite first.
  """
  advice = ('Lower seeding.learning_rate.' if step else
            'Nothing had been learnt before this update: what is trained makes '
            'the student overflow on these rows as it was born.')
  for what, name in (('the loss', 'loss'),
                     ("the gradient's norm", 'gradient_norm')):
    finite.check_loss(
        'seed', step, float(metrics[name]),
        {'slot': state.slot, 'opt_state': state.opt_state}, advice,
        _causes(frozen, teacher, state, batch, metrics), what)
