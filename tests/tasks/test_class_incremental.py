"""Increments and their matrices by hand; what each arm learns from."""

import pytest

from configs.class_incremental import arms, small
from experiments import _config
from sleepjax.data import intents
from sleepjax.errors import UserError
from sleepjax.evals.label_choice import LabelChoice
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import load_pretrained
from sleepjax.runs.rows import Cell
from sleepjax.tasks import class_incremental, class_incremental_table
from sleepjax.tasks.class_incremental import Bed, ClassConfig, ClassTask


def life(share):
  row = class_incremental.row_of([[[True]]], [1.0, 1.0])
  return {**row, 'average_accuracy': share}


@pytest.fixture(scope='module')
def bed():
  return Bed(intents.invented(0, 3, 2, values=2, stored=1), LabelChoice(),
             lambda model: 0.5, lambda night: intents.invented(7, 1, 2))


def task(bed, arm):
  config = small.get_config()
  sleep = arms.with_arm(config.sleep, arm, config.chosen)
  return ClassTask(load_pretrained('tiny-world'),
                   _config.to_dataclass(SleepConfig, sleep), bed)


def test_a_life_by_hand():
  row = class_incremental.row_of(
      [[[True, True]],
       [[True, True], [True, False]],
       [[True, False], [False, False], [True, True]]], [0.9, 0.8, 0.7, 0.6])
  assert row['matrix'] == [[1, 0, 0], [1, 0.5, 0], [0.5, 0, 1]]
  assert row['right'] == [True, False, False, False, True, True]
  assert row['average_accuracy'] == pytest.approx(0.5)
  assert row['on_the_way'] == pytest.approx((1 + 0.75 + 0.5) / 3)
  assert row['learnt'] == pytest.approx((1 + 0.5 + 1) / 3)
  assert row['forgetting'] == pytest.approx((0.5 + 0.5) / 2)
  assert row['backward_transfer'] == pytest.approx(-0.5)
  assert (row['first'], row['elsewhere_before'], row['elsewhere']) == (
      0.5, 0.9, 0.6)


def test_a_night_has_its_own_rows_and_stored_ones(bed):
  """8 rows an increment, one of each class stored: two of each night."""
  stored = [row.utterance for i in bed.increments[:2] for row in i.stored]
  assert len(stored) == 4
  for arm in arms.ARMS:
    chosen = task(bed, arm)
    for night in range(3):
      words, increment = chosen.words(night), bed.increments[night]
      own = [row.utterance for row in increment.learnt]
      now = [row for row in words.dreams if row.prompt in own]
      assert [row.prompt for row in now] == own, arm
      other = [row.prompt for row in words.dreams if row.prompt not in own]
      assert len(other) == (8 if arm == 'replay' and night else 0)
      if night == 2 and other:
        assert sorted(other) == sorted(2 * stored)
      rehearses = arm in ('sleep', 'no_growth', 'no_store')
      assert len(words.rehearsed) == (4 if rehearses else 0), arm
      retained = arm in ('sleep', 'no_growth', 'no_rehearsal') and night
      assert len(words.kept) == (2 * night if retained else 0), arm
      assert len(words.again) == (2 * night if arm == 'ewc' else 0), arm
      decode = load_pretrained('tiny-world').tokenizer.decode
      assert [decode(row.completion).split()[0] for row in now] == [
          row.label for row in increment.learnt]


def test_others_are_rehearsed_in_view_of_their_text(bed):
  other, = bed.others(1)
  decode = load_pretrained('tiny-world').tokenizer.decode
  for (prompt, reply), row in zip(
      task(bed, 'sleep').words(1).rehearsed, other.stored, strict=True):
    said = decode(prompt)
    assert said.startswith(other.text) and row.utterance in said
    assert decode(reply).split()[0] == row.label
  made = class_incremental.bed_of('invented', ClassConfig(), 0, LabelChoice())
  own = {i.text for i in made.increments}
  texts = [other.text for night in range(10) for other in made.others(night)]
  assert len(set(texts)) == 30 and not own & set(texts)


def test_what_does_not_fit_is_refused(bed):
  long = bed.increments[0]._replace(text=bed.increments[0].text * 30)
  with pytest.raises(UserError, match='increment 0 takes'):
    task(Bed([long], bed.choice, bed.elsewhere), 'sleep')


@pytest.mark.slow
def test_an_increment_in_view_is_forgotten_with_the_next(bed):
  ready = load_pretrained('tiny-world').for_compute('float32')
  gap = bed.gap(ready, 0.2)
  assert gap['enough'] and gap['utterances'] == 24
  assert not bed.gap(ready, 1.5)['enough']
  own, last = (bed.untaught(arm, ready, 0.1)['matrix']
               for arm in ('in_view', 'in_context'))
  assert own[2][0] > 0.8 and last[2][2] == own[2][2] > 0.8
  assert last[2][0] < 0.6
  gaussian = bed.untaught('gaussian', ready, 0.1)
  assert gaussian['average_accuracy'] > 0.5
  assert gaussian['elsewhere'] == gaussian['elsewhere_before'] == 0.5


@pytest.mark.parametrize('sleep, rival, verdict', [
    ((0.8, 0.82), 0.5, 'shown'), ((0.2, 0.22), 0.5, 'refuted'),
    ((0.9, 0.2), 0.5, 'not shown'), ((0.9,), 0.5, 'not shown'),
    ((), 0.5, 'not run')])
def test_verdict(sleep, rival, verdict):
  results = {Cell('sleep', seed): life(share)
             for seed, share in enumerate(sleep)}
  for seed, aside in enumerate((-0.01, 0.01)):
    results |= {Cell(arm, seed): life(rival + aside)
                for arm in ('sft', 'ewc', 'replay')}
  assert class_incremental_table.verdict(results)['verdict'] == verdict


def test_one_rival_that_is_as_good_leaves_nothing_shown():
  shares = {'sleep': 0.8, 'sft': 0.1, 'ewc': 0.2, 'replay': 0.79}
  results = {Cell(arm, seed): life(share + seed / 500)
             for arm, share in shares.items() for seed in (0, 1)}
  assert class_incremental_table.verdict(results)['verdict'] == 'not shown'
  found = class_incremental_table.verdict({
      **results, Cell('sleep', 0): life(0.99), Cell('sleep', 1): life(0.99)})
  assert found['verdict'] == 'shown'
  assert found['intervals']['sleep'] == [0.99, 0.99]


def test_a_summary_has_mean_matrices():
  rows = {Cell('sleep', 0): class_incremental.row_of(
      [[[True]], [[True], [True]]], [1, 1]),
          Cell('sleep', 1): class_incremental.row_of(
      [[[True]], [[False], [True]]], [1, 1])}
  summary = class_incremental_table.summary(rows)
  assert summary['matrices'] == {'sleep': [[1, 0], [0.5, 1]]}
  assert summary['arms']['sleep']['answers']['mean'] == 0.75
  assert summary['verdict'] == {'verdict': 'not run'}
