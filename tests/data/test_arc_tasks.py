"""Tasks of ARC-AGI-1 from small files of the same form."""

import pytest

from sleepjax.data import arc_tasks, grids
from sleepjax.errors import UserError
from tests.data.builders.small_files import files


@pytest.fixture
def tasks(tmp_path, monkeypatch):
  for name, content in files().items():
    if name.startswith('arc_agi1'):
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes(content)
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  return lambda name: arc_tasks.from_data(name, tmp_path / 'prepared')


def test_tasks_of_each_part(tasks):
  of = tasks('arc_agi1/all')
  assert {task.name for task in of('train', 2, 0)} == {'a', 'b'}
  task, = of('exam', 1, 3)
  assert task.name == 'c'
  as_texts = lambda pairs: [tuple(map(grids.write_grid, p)) for p in pairs]
  assert as_texts(task.shown) == [('10\n09', '1')]
  assert as_texts(task.asked) == [('3', '333')]
  chosen, = tasks('arc_agi1/seal')('choice', 1, 0)
  assert as_texts(chosen.asked) == [('3', '333')]


def test_too_many_tasks_and_other_data(tasks):
  with pytest.raises(UserError, match='arc_agi1/all has 1 tasks for exam, not'):
    tasks('arc_agi1/all')('exam', 2, 0)
  with pytest.raises(UserError, match="'arc' must be one of generated, arc_ag"):
    tasks('arc')
