"""The notebooks run from top to bottom."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'colab'
NOTEBOOKS = sorted(FOLDER.glob('*.ipynb'))


def test_there_are_notebooks():
  assert 'quickstart.ipynb' in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
  notebook = nbformat.read(path, as_version=4)
  assert not any(cell.get('outputs') for cell in notebook.cells)
  NotebookClient(
      notebook, timeout=1800, kernel_name='python3',
      resources={'metadata': {'path': str(tmp_path)}}).execute()
  printed = ''.join(
      output.get('text', '') for cell in notebook.cells
      for output in cell.get('outputs', ()))
  assert 'topic_recovered' in printed and 'params_sha256' in printed
  pictures = [output for cell in notebook.cells
              for output in cell.get('outputs', ())
              if 'image/png' in output.get('data', {})]
  assert pictures
