"""What docs/extend.md says to write works as it stands there."""

import json
import pathlib

import pytest

from tests.docs import pages


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = {'__name__': 'extend'}
  for number, code in enumerate(pages.blocks('docs/extend.md', 'python')):
    exec(compile(code, f'docs/extend.md, block {number}', 'exec'), names)
  # One row for each arm, each with what was said to four questions.
  lines = names['text'].splitlines()
  assert [line.split(' | ')[0] for line in lines[2:]] == [
      '| sleep', '| no sleep']
  found = sorted(pathlib.Path('table').rglob('*.json'))
  assert len(found) == 2
  for path in found:
    row = json.loads(path.read_text())['row']
    assert [len(row[name]) for name in ('before', 'once', 'twice')] == [4] * 3
  assert names['beside_first']['no sleep']['twice']['questions'] == 4
  # A model that did not sleep says what it said before.
  row = names['results'][names['rows'].Cell('no sleep', 7)]
  assert row['before'] == row['once'] == row['twice']
