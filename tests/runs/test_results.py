"""Pages of results say what their JSON says, and refuse what is wrong."""

import copy
import json

import pytest

from sleepjax.errors import UserError
from sleepjax.runs import results

PAGE = {
    'title': 'Speed of owls',
    'text': ['Owls were timed with `owl --at=night` ' + 'and again ' * 12],
    'claims': [{'claim': 'owls fly', 'verdict': 'shown', 'why': 'seen'}],
    'tables': [{
        'title': 'By night', 'row': 'owl', 'picture': ['share'],
        'command': ['owl --at=night'],
        'columns': {'share': '.0%', 'seconds': '.1f', 'name': 's'},
        'runs': {'a': {'config': 'owl.py', 'commit': 'abc', 'machine': 'a tree',
                       'date': '2026-01-02', 'seeds': [0, 1, 2]},
                 'b': {'config': None, 'commit': None, 'machine': None,
                       'date': None, 'seeds': None}},
        'rows': [
            {'name': '`barn`', 'run': 'a', 'changes': ['--fast'], 'values': {
                'share': {'mean': 0.9, 'half_width': 0.04}, 'name': 'Tyto',
                'seconds': {'median': 2.5, 'least': 2, 'greatest': 4}}},
            {'name': 'tawny', 'run': 'b', 'values': {
                'share': 0.5, 'seconds': None}}],
        'notes': ['* ' + 'Owls sleep by day. ' * 6]}]}


def test_a_page():
  lines = results.markdown(PAGE, 'owls').splitlines()
  assert lines[0] == '# Speed of owls'
  assert '| owls fly | **shown** | seen |' in lines
  assert '![share](owls_1.png)' in lines
  assert lines[lines.index('```bash') + 1] == 'owl --at=night'
  assert ('| owl | share | seconds | name | config | commit | machine | date | '
          'seeds |') in lines
  assert ('| `barn` | 90% ± 4% | 2.5 (2.0-4.0) | Tyto | `owl.py` `--fast` '
          '| abc | a tree | 2026-01-02 | 0-2 |') in lines
  assert '| tawny | 50% | – | – |' + ' not recorded |' * 5 in lines
  # Code is never broken, a point goes on below its own text.
  assert any('`owl --at=night`' in line for line in lines)
  point = next(i for i, line in enumerate(lines) if line.startswith('* Owls'))
  assert lines[point + 1].startswith('  ')
  assert max(len(line) for line in lines if not line.startswith('|')) <= 100


@pytest.mark.parametrize('seeds, text', [
    ([0, 1, 2, 3, 4], '0-4'), ([0, 1], '0, 1'), ([3], '3'),
    ([1, 5, 6], '1, 5, 6'), ([], '–')])
def test_seeds(seeds, text):
  page = copy.deepcopy(PAGE)
  page['tables'][0]['runs']['a']['seeds'] = seeds
  assert f'| 2026-01-02 | {text} |' in results.markdown(page, 'owls')


def written(folder, page, name='owls'):
  (folder / f'{name}.json').write_text(json.dumps(page))
  return folder


def test_what_changes_makes_a_page_stale(tmp_path):
  written(tmp_path, PAGE)
  assert results.stale(tmp_path) == ['owls.md', 'owls_1.png']
  assert [path.name for path in results.render(tmp_path)] == [
      'owls.md', 'owls_1.png']
  assert results.stale(tmp_path) == []
  page = copy.deepcopy(PAGE)
  page['tables'][0]['rows'][1]['values']['share'] = 0.6  # Is drawn as well.
  assert results.stale(written(tmp_path, page)) == ['owls.md', 'owls_1.png']
  page = copy.deepcopy(PAGE)
  page['tables'][0]['runs']['a']['commit'] = 'abd'
  assert results.stale(written(tmp_path, page)) == ['owls.md']
  (tmp_path / 'owls_1.png').write_bytes(b'no picture')
  assert results.stale(tmp_path) == ['owls.md', 'owls_1.png']


def changed(*path, to):
  page = copy.deepcopy(PAGE)
  inside = page
  for key in path[:-1]:
    inside = inside[key]
  inside[path[-1]] = to
  return page


@pytest.mark.parametrize('page, message', [
    (changed('claims', 0, 'verdict', to='likely'), "'likely' must be one of"),
    (changed('tables', 0, 'rows', 0, 'run', to='c'), "row '`barn`': 'c' must"),
    (changed('tables', 0, 'rows', 1, 'values', to={'speed': 1}),
     "'speed' must be one of share, seconds, name"),
    (changed('tables', 0, 'picture', to=['speed']), 'picture'),
    (changed('tables', 0, 'runs', 'a', to={'commit': 'abc'}),
     "run 'a': lacks config, date, machine, seeds"),
    (changed('tables', 0, 'runs', 'a', 'seeds', to='30'),
     "run 'a': seeds='30' must be a list"),
    (changed('texts', to=[]), 'texts not known'),
    ([], r'expected an object, found \[\]')])
def test_what_is_wrong_is_named(page, message, tmp_path):
  written(tmp_path, page)
  with pytest.raises(UserError, match=message):
    results.render(tmp_path)


def test_no_pages(tmp_path):
  with pytest.raises(UserError, match='no pages of results there'):
    results.render(tmp_path)
  (tmp_path / 'owls.json').write_text('{')
  with pytest.raises(UserError, match='a page of results in JSON'):
    results.stale(tmp_path)
