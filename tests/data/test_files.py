"""Files and pictures that the file system, or a library, refuses."""

import os
import stat
import subprocess
import sys

import pytest
from matplotlib.image import imread

from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import pictures, report


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
  path = tmp_path / 'new' / 'a.txt'
  files.write(path, 'old')
  files.write(path, 'né\n')
  assert path.read_bytes() == 'né\n'.encode()
  assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('name, reason', [
    ('file/a.json', 'File exists'), ('folder', 'Is a directory'),
    ('a' * 300, 'File name too long')])
def test_what_cannot_be_written(name, reason, tmp_path):
  (tmp_path / 'file').touch()
  (tmp_path / 'folder').mkdir()
  with pytest.raises(UserError, match=(
      rf'{name}: cannot be written \({reason}\). Make room or grant access, ')):
    files.write(tmp_path / name, '{}')
  assert len(list(tmp_path.iterdir())) == 2


def test_a_device_is_written_to_and_stays_one(tmp_path):
  if not os.path.exists('/dev/full'):
    pytest.skip('no full device')
  with pytest.raises(UserError, match='/dev/full: cannot be written .No space'):
    files.write('/dev/full', 'text')
  assert stat.S_ISCHR(os.stat('/dev/full').st_mode)


def test_a_full_disk_keeps_the_report_before(tmp_path):
  """A process of its own gets the limit."""
  report.write_report(tmp_path, {'loss': 1.0})
  done = subprocess.run([sys.executable, '-c', f'''
import resource
from experiments import _main
from sleepjax.evals import report

def main(argv):
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
  report.write_report({str(tmp_path)!r}, {{'losses': [0.5] * 1000}})

_main.run(main, [])
'''], capture_output=True, text=True, check=False)
  assert (done.returncode, done.stderr) == (2, (
      f'error: {tmp_path}/report.json: cannot be written (File too large). '
      'Make room or grant access, then run the same command again.\n'))
  assert (tmp_path / 'report.json').read_text() == '{\n  "loss": 1.0\n}\n'
  assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_no_half_export(tmp_path):
  done = subprocess.run([sys.executable, '-c', f'''
import resource
from experiments import _main
from sleepjax.models.export import export_hf
from sleepjax.model import load_pretrained

def main(argv):
  model = load_pretrained('tiny-world')
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
  export_hf(model.config, model.params, model.tokenizer,
            {str(tmp_path / 'hf')!r})

_main.run(main, [])
'''], capture_output=True, text=True, check=False)
  assert done.returncode == 2, done.stderr
  assert done.stderr.splitlines()[-1].startswith(
      f'error: {tmp_path}/hf: cannot be written (')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('backend', [
    'module://not.there',
    pytest.param('module://matplotlib_inline.backend_inline',
                 marks=pytest.mark.slow),
    pytest.param('none', marks=pytest.mark.slow)])
def test_a_backend_that_the_environment_names(backend, tmp_path):
  """As in every command that a notebook starts; the environment stays."""
  subprocess.run([sys.executable, '-c', f'''
import os, sys
from experiments import growth_training, quickstart, read_stream
from sleepjax.evals import report
report.plot_report({str(tmp_path)!r}, {{'closed_book_nll_before': 1.0}}, [])
assert 'matplotlib.pyplot' not in sys.modules
assert os.environ['MPLBACKEND'] == {backend!r}
'''], check=True, env={**os.environ, 'MPLBACKEND': backend})
  assert imread(tmp_path / 'report.png').ndim == 3


def test_a_picture_that_fails_is_one_line(tmp_path, capsys):
  def fill(figure):
    raise ValueError('no such\nfont')
  pictures.draw(tmp_path / 'report.png', fill, dpi=100)
  assert capsys.readouterr().err == (
      f'{tmp_path}/report.png: not drawn (ValueError: no such font). All '
      f'numbers are in {tmp_path}; the same command draws it again.\n')
  assert not list(tmp_path.iterdir())


def test_a_disk_without_room_for_a_picture(tmp_path):
  (tmp_path / 'run').touch()
  with pytest.raises(UserError, match='run/report.png: cannot be written'):
    pictures.draw(tmp_path / 'run/report.png', lambda figure: None, dpi=100)
