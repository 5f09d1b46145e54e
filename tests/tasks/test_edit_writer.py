"""Self-edits are written, chosen by their gradient, tried, and learnt from."""

import dataclasses

import numpy as np
import pytest

from sleepjax.data import self_edits
from sleepjax.data.self_edits import SelfEdit
from sleepjax.dreaming import select
from sleepjax.tasks import edit_writer
from sleepjax.tasks.edit_writer import Trial, Writer, WriterConfig
from sleepjax.tasks.few_shot import Answers, Learnt
from tests.tasks.test_few_shot import bed, task  # noqa: F401

GOOD = SelfEdit('turned', 'slow', 'long')
BAD = SelfEdit('none', 'fast', 'short')
CONFIG = WriterConfig(tried=4, dreams=8, random=1, updates=60, rows=2,
                      rate=1e-2)


@pytest.fixture(scope='module')
def taught(bed, task):  # noqa: F811
  """A writer that was rewarded for one self-edit, and not for another."""
  writer = Writer(bed.ready, bed, CONFIG)
  tried = [Trial(task, GOOD, True), Trial(task, BAD, False)]
  return edit_writer.trained(writer, tried, 0)


def test_a_writer_writes_what_was_rewarded(bed, task, taught):  # noqa: F811
  written = taught.write(task, 8, 0)
  assert len(written) >= 6 and set(written) == {GOOD}
  assert taught.first(task, 0) == GOOD
  # A model that knows no words writes none of them.
  untaught = Writer(bed.ready, bed, CONFIG)
  assert len(untaught.write(task, 8, 0)) < 8
  assert untaught.first(task, 0) in self_edits.EVERY


def test_without_a_reward_a_writer_stays_what_it_is(bed, task):  # noqa: F811
  writer = Writer(bed.ready, bed, CONFIG)
  assert edit_writer.trained(writer, [Trial(task, BAD, False)], 0) is writer


@pytest.mark.slow
def test_the_most_important_dreams_are_kept(bed, task):  # noqa: F811
  """By gradients that are computed here one by one."""
  dreams = [self_edits.EVERY[i] for i in (0, 6, 12, 18, 3, 9, 15)]
  kept = edit_writer.important(bed, task, dreams, CONFIG, 5)
  norms = []
  for number, edit in enumerate(dreams):
    rows = bed.dreamt(list(bed.augmented(task, edit, 1, 5 + number)))
    held_in = type(rows)(*(part[None] for part in rows))
    norms.append(float(select.gradient_scores(
        bed.learner, rows, held_in, np.zeros(1, np.int32),
        rows_at_once=1).norm[0]))
  best = [dreams[i] for i in np.argsort(norms)[::-1][:3]]
  assert kept[:3] == best and len(kept) == 4
  assert kept[3] in set(dreams) - set(best)
  assert edit_writer.important(bed, task, dreams[:4], CONFIG, 5) == dreams[:4]


def test_every_self_edit_is_tried_once(bed, task, taught):  # noqa: F811
  """And is rewarded where all answers are right."""
  learnt = []

  def learn(task, edit, seed):
    learnt.append(edit)
    return Learnt(edit, 0)

  class Marked(type(bed)):
    def answers(self, model, task, seed):
      return Answers([True, model == GOOD], [False, False], 1.0)

  marked = Marked(bed.model, bed.settings, bed.tasks, bed.config)
  writer = dataclasses.replace(taught, bed=marked)
  for dreaming in (False, True):
    learnt.clear()
    found = edit_writer.trials(writer, [task], learn, dreaming, 0)
    assert learnt == [GOOD] and {t.edit for t in found} == {GOOD}
    assert len(found) <= CONFIG.tried and all(t.rewarded for t in found)


def test_settings_that_cannot_be():
  with pytest.raises(ValueError, match='dreams=10 must be at least 15'):
    WriterConfig(dreams=10)
  with pytest.raises(ValueError, match='random=16 must be at most tried=15'):
    WriterConfig(random=16)
