"""The package where it is installed, beside other people's packages.

What is built here is what a wheel holds; `test_a_wheel` installs one.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
pytest.importorskip('setuptools')


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """A copy, since building leaves files in it."""
  folder = tmp_path_factory.mktemp('source') / 'copy'
  folder.mkdir()
  for name in 'sleepjax', 'experiments', 'configs':
    shutil.copytree(ROOT / name, folder / name,
                    ignore=shutil.ignore_patterns('__pycache__'))
  for name in 'setup.py', 'pyproject.toml':
    shutil.copy(ROOT / name, folder)
  return folder


@pytest.fixture(scope='module')
def built(source, tmp_path_factory):
  target = tmp_path_factory.mktemp('built')
  subprocess.run(
      [sys.executable, 'setup.py', '-q', 'build', f'--build-lib={target}'],
      cwd=source, check=True, capture_output=True)
  return target


@pytest.fixture
def hostile(tmp_path):
  """A folder with packages of the same names."""
  for name in 'experiments', 'configs':
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').write_text('raise SystemExit("theirs")')
  return tmp_path


def call(place, folder, *command):
  return subprocess.run(
      command, cwd=folder, text=True, capture_output=True, check=False,
      env={**os.environ, 'PYTHONPATH': str(place), 'PYTHONSAFEPATH': ''})


def test_nothing_of_a_common_name_is_installed(built):
  assert [path.name for path in built.iterdir()] == ['sleepjax']
  assert (built / 'sleepjax/bundled/configs/seeding/arms.py').is_file()
  assert (built / 'sleepjax/bundled/experiments/quickstart.py').is_file()
  for name in '__init__.pyi', 'py.typed':  # For type checkers.
    assert (built / 'sleepjax' / name).is_file()


def test_a_command_and_its_configuration(built, hostile):
  own = (sys.executable, '-m', 'sleepjax')
  listed = call(built, hostile, *own)
  assert listed.returncode == 0, listed.stderr
  assert '\n  quickstart ' in listed.stdout
  wrong = call(built, hostile, *own, 'quickstrat')
  assert (wrong.returncode, wrong.stderr) == (2, (
      "error: no command 'quickstrat'; did you mean 'quickstart'? "
      'python -m sleepjax --help lists all.\n'))
  # A configuration that imports others, of a command that imports them, too.
  shown = call(built, hostile, *own, 'ablate_seeding',
               '--config=configs/seeding/world.py', '--help')
  assert shown.returncode == 0, shown.stderr
  assert '  python -m sleepjax ablate_seeding --config=' in shown.stdout
  assert '--config.scale=world' in shown.stdout


@pytest.mark.slow
def test_processes_of_a_command_find_it_again(built, hostile):
  done = call(built, hostile, sys.executable, '-m', 'sleepjax',
              'divergence_memory', '--run', '--rows=8', '--vocab=8',
              '--embed=8')
  if 'measures through /proc' in done.stderr:
    pytest.skip('not on Linux')
  assert done.returncode == 0, done.stderr
  assert 'resident rise, measured' in done.stdout


@pytest.mark.slow
def test_a_wheel(source, hostile, tmp_path_factory):
  """Its own dependencies are those of this environment."""
  target = tmp_path_factory.mktemp('target')
  subprocess.run(
      [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps',
       f'--target={target}', str(source)], check=True)
  script = target / 'bin' / 'sleepjax'
  shown = call(target, hostile, script, 'quickstart', '--help')
  assert shown.returncode == 0, shown.stderr
  assert '\n  sleepjax quickstart --workdir=DIR\n' in shown.stdout
  assert f'(now {target}/sleepjax/bundled/configs/quickstart.py)' in (
      shown.stdout)
  missing = call(target, hostile, script, 'quickstart',
                 '--config=configs/quickstart_level.py')
  assert (missing.returncode, missing.stderr) == (
      2, 'error: --workdir is missing; see --help.\n')
