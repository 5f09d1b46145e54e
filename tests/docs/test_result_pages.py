"""Committed results are rendered from their JSON; READMEs stay short."""

import shutil

import pytest

from experiments import results as command
from sleepjax.runs import results
from tests.docs import pages

FOLDER = pages.ROOT / 'docs' / 'results'
MODULES = sorted(str(path.relative_to(pages.ROOT))
                 for path in (pages.ROOT / 'sleepjax').glob('*/README.md'))
MOST_LINES = 60


def test_pages_are_what_their_json_renders_to():
  assert results.stale(FOLDER) == []


def test_nothing_else_is_there():
  names = {path.stem for path in FOLDER.glob('*.json')}
  assert {path.stem for path in FOLDER.glob('*.md')} == names
  said = ''.join(path.read_text() for path in FOLDER.glob('*.md'))
  assert not [path.name for path in FOLDER.glob('*.png')
              if f']({path.name})' not in said]


def test_the_command(tmp_path, capsys):
  for path in FOLDER.glob('memory.*'):
    shutil.copy(path, tmp_path)
  run = lambda *flags: command.main(
      ['results', f'--folder={tmp_path}', *flags])
  assert run('--check') == 0 and capsys.readouterr().out == ''
  page = tmp_path / 'memory.md'
  right = page.read_text()
  page.write_text(right.replace('4.384', '4.284'))
  assert run('--check') == 1
  assert f'{page}: not what its JSON renders to' in capsys.readouterr().out
  assert run() == 0 and page.read_text() == right


@pytest.mark.parametrize('page', MODULES)
def test_a_module_has_one_screen(page):
  text = pages.read(page)
  assert len(text.splitlines()) <= MOST_LINES
  assert 'docs/results/' in text and '```' in text
