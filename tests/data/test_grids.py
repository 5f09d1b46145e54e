"""Primitives by hand, the split of compositions, and grids as texts."""

import numpy as np
import pytest

from sleepjax.data import grid_prompts, grids, self_edits
from sleepjax.data.grid_tokenizer import build_tokenizer
from sleepjax.data.grids import GridConfig, Pair, Rule, Step
from sleepjax.errors import UserError

GRID = '012\n300\n040'
MADE = {
    'turn_left': '200\n104\n030',
    'turn_right': '030\n401\n002',
    'turn_twice': '040\n003\n210',
    'flip_rows': '040\n300\n012',
    'flip_columns': '210\n003\n040',
    'transpose': '030\n104\n200',
    'transpose_other': '002\n401\n030',
    'roll_down': '040\n012\n300',
    'roll_right': '201\n030\n004',
    'fall': '000\n010\n342',
    'slide': '012\n003\n004',
    'crop': '01\n30',
    'repeat': '0101\n3030\n0404',
    'recolour': '032\n300\n040',
    'swap': '032\n100\n040',
    'border': '111\n101\n111'}
COLOURS = {'recolour': (1, 3), 'swap': (1, 3), 'border': (1,)}


def step(name):
  return Step(name, COLOURS.get(name, ()))


@pytest.mark.parametrize('name', grids.PRIMITIVES)
def test_every_primitive_on_one_grid(name):
  made = step(name)(grids.read_grid(GRID))
  assert grids.write_grid(made) == MADE[name]


def test_crop_and_repeat_of_other_sizes():
  crop, repeat = step('crop'), step('repeat')
  assert crop(np.ones((1, 3), np.int8)).shape == (1, 2)
  assert crop(np.ones((1, 1), np.int8)).shape == (1, 1)
  assert repeat(np.ones((2, 4), np.int8)).shape == (2, 4)
  assert repeat(np.ones((2, 5), np.int8)).shape == (2, 6)


def test_the_first_step_comes_first():
  rule = Rule((step('fall'), step('flip_rows')))
  assert rule.name == 'fall flip_rows'
  assert grids.write_grid(rule(grids.read_grid(GRID))) == '342\n010\n000'


def test_no_composition_is_in_two_parts_or_a_primitive():
  """By what they do to other grids than the split has looked at."""
  rng = np.random.default_rng(5)
  probes = [rng.integers(0, 5, (3, 3)) for _ in range(40)]
  effect = lambda names: tuple(
      (made.shape, made.tobytes())
      for made in map(Rule(tuple(map(step, names))), probes))
  parts = grids.compositions()
  singles = {effect((name,)) for name in grids.PRIMITIVES} | {effect(())}
  plain = [name for name in grids.PRIMITIVES if name not in COLOURS]
  seen = {}
  for part, pairs in parts.items():
    for names in pairs:
      if set(names) <= set(plain):
        made = effect(names)
        assert made not in singles, names
        assert seen.setdefault(made, part) == part, names
  both_ways = [{names, names[::-1]} for names in (
      ('recolour', 'turn_left'), ('swap', 'transpose'))]
  for names in both_ways:
    assert sum(names <= set(pairs) for pairs in parts.values()) == 1
  assert ('turn_left', 'turn_right') not in sum(parts.values(), ())
  assert {part: len(pairs) for part, pairs in parts.items()} == {
      'pretraining': 95, 'train': 31, 'choice': 15, 'exam': 48}


def test_a_task_is_what_its_rule_makes():
  config = GridConfig(3, 6, shown=3, asked=2)
  tasks = grids.tasks('exam', 60, config, 4)
  again = grids.tasks('exam', 60, config, 4)
  other = grids.tasks('exam', 60, config, 5)
  assert repr(tasks) == repr(again) != repr(other)
  names = {tuple(task.name.split()) for task in tasks}
  assert names == set(grids.compositions()['exam'])
  for task in tasks:
    assert (len(task.shown), len(task.asked)) == (3, 2)
    pairs = task.shown + task.asked
    assert len({pair.input.shape for pair in pairs}) == 1
    assert len({pair.input.tobytes() for pair in pairs}) == 5
    for pair in pairs:
      assert not np.array_equal(*pair)
      assert max(pair.output.shape) <= grids.LARGEST
      assert set(pair.input.ravel()) <= set(range(grids.COLOURS))


def test_colours_of_a_rule_are_different():
  for seed in range(20):
    rule = grids.rule_of(('swap', 'recolour'), np.random.default_rng(seed))
    used = [colour for step in rule.steps for colour in step.colours]
    assert sorted(used) == [1, 2, 3, 4]


def test_settings_that_cannot_be_are_refused():
  with pytest.raises(ValueError, match='largest=7 must be at least smallest=3'):
    GridConfig(largest=7)
  with pytest.raises(ValueError, match='background=1'):
    GridConfig(background=1)
  # Cells that are all coloured have nowhere to fall.
  with pytest.raises(UserError, match='fall: no 2 different grids of 3 to 3'):
    grids.draw_task(('fall',), GridConfig(shown=1, asked=1, background=0.0),
                    np.random.default_rng(0))


@pytest.mark.parametrize('text', ['', '01\n2', '0a', '-1'])
def test_a_text_that_is_no_grid(text):
  with pytest.raises(ValueError):
    grids.write_grid(grids.read_grid(text))


def test_grids_are_a_conversation():
  tokenizer = build_tokenizer()
  pairs = [Pair(*map(grids.read_grid, texts)) for texts in (
      ('01\n23', '10\n32'), ('4', '44'))]
  text = '<user>01\n23<assistant>10\n32<end><user>4<assistant>'
  assert tokenizer.decode(tokenizer.encode('01\n23')) == '01\n23'
  assert grid_prompts.prompt(
      tokenizer, pairs[:1], pairs[1].input) == tokenizer.encode(text)
  ids, learnt = grid_prompts.conversation(tokenizer, pairs)
  assert ids == tokenizer.encode(text + '44<end>')
  assert [tokenizer.backend.id_to_token(i) for i, is_learnt in zip(
      ids, learnt, strict=True) if is_learnt] == [
          '1', '0', '\n', '3', '2', '<end>', '4', '4', '<end>']
  asked = grid_prompts.prompt(tokenizer, [], '?')
  assert asked == tokenizer.encode('<user>?<assistant>')


def test_self_edits_are_words():
  tokenizer = build_tokenizer()
  assert len(set(self_edits.EVERY)) == 24
  for edit in self_edits.EVERY:
    ids = grid_prompts.reply(tokenizer, edit.text)
    assert len(ids) == 6 and tokenizer.backend.token_to_id('<unk>') not in ids
    assert self_edits.read(tokenizer.decode(ids)) == edit
  turned = self_edits.read('turned,slow,long')
  assert turned.turned and not turned.coloured
  assert self_edits.read('turned,slow') is None
  assert self_edits.read('turned,long,slow') is None
