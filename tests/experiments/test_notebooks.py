"""The notebooks run from top to bottom, and show what they gave."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'colab'
# Notebook -> what it prints, wherever it runs.
PRINTS = {
    'quickstart': ('topic_recovered', 'params_sha256'),
    'one_sleep': ('in view:     8 of 8', 'largest change of a logit: 0.0',
                  '13,824 of 383,139 numbers were trained'),
    'growth': ('a slot of 16 hidden units    383,139 parameters, largest '
               'change 0.0e+00', 'largest change with random weights: 2.'),
    'forgetting': ('night_1.safetensors', 'exact: True'),
    'terms': ('every term', 'newborn slot     size    way',
              'rehearsal     0.000   0.00', 'after the night, no retention'),
    'own_model': ('before, 208 with the night folded in',
                  'the same to rounding: True', 'was learnt on mine')}
WITH_PICTURE = 'quickstart',
# Notebook -> what of its code is made smaller where it runs.
SMALLER = {'terms': ('steps=80', 'steps=4'),
           'quickstart': ('days.days=5', 'days.days=2')}


def printed(notebook) -> str:
  return ''.join(output.get('text', '') for cell in notebook.cells
                 for output in cell.get('outputs', ()))


def pictures(notebook) -> list:
  return [output for cell in notebook.cells
          for output in cell.get('outputs', ())
          if 'image/png' in output.get('data', {})]


def read(name):
  return nbformat.read(FOLDER / f'{name}.ipynb', as_version=4)


def test_all_are_known():
  assert {path.stem for path in FOLDER.glob('*.ipynb')} == set(PRINTS)


@pytest.mark.parametrize('name', PRINTS)
def test_what_it_gave_is_stored(name):
  notebook = read(name)
  for line in PRINTS[name]:
    assert line in printed(notebook)
  assert bool(pictures(notebook)) == (name in WITH_PICTURE)
  assert not [output for cell in notebook.cells
              for output in cell.get('outputs', ())
              if output['output_type'] == 'error']


@pytest.mark.parametrize('name', PRINTS)
def test_a_notebook_runs(name, tmp_path):
  notebook = read(name)
  for cell in notebook.cells:
    if cell.cell_type == 'code':
      cell.outputs = []
      cell.source = cell.source.replace(*SMALLER.get(name, ('', '')))
  NotebookClient(
      notebook, timeout=1800, kernel_name='python3',
      resources={'metadata': {'path': str(tmp_path)}}).execute()
  for line in PRINTS[name]:
    assert line in printed(notebook)
  assert bool(pictures(notebook)) == (name in WITH_PICTURE)
