"""The plan of the house: who may import whom, and how much a function takes."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# From the ground floor up: a room imports itself and those before it.
ROOMS = ('errors', 'seeds', 'leaves', 'mesh', 'data', 'models', 'losses',
         'sampling', 'model', 'growth', 'training', 'roofline', 'evals',
         'writing', 'seeding', 'memory', 'dreaming', 'lifecycle', 'pretraining',
         'runs', 'tasks', 'library')


def imported(path):
  """Names of the project's own modules that a file imports, wherever."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      if node.module == 'sleepjax':
        yield from (f'sleepjax.{alias.name}' for alias in node.names)
      else:
        yield node.module


def room(name):
  return name.split('.')[1]


@pytest.mark.parametrize('floor', ROOMS)
def test_every_import_goes_down(floor):
  folder = ROOT / 'sleepjax' / floor
  files = folder.rglob('*.py') if folder.is_dir() else [
      folder.with_suffix('.py')] if folder.with_suffix('.py').exists() else []
  below = ROOMS[:ROOMS.index(floor) + 1]
  upward = [f'{path.relative_to(ROOT)} imports {name}' for path in files
            for name in imported(path)
            if name.startswith('sleepjax.') and room(name) not in below
            or name.split('.')[0] in ('experiments', 'configs', 'tests')]
  assert not upward


def test_every_room_has_its_floor():
  inside = {path.stem for path in (ROOT / 'sleepjax').iterdir()
            if path.suffix == '.py' or (path / '__init__.py').exists()}
  assert inside - {'__init__', '__main__'} <= set(ROOMS)


def parameters(function):
  given = function.args
  return [arg.arg for arg in (*given.posonlyargs, *given.args,
                              *given.kwonlyargs) if arg.arg != 'self']


def test_no_public_function_has_more_than_eight_parameters():
  many = [f'{path.relative_to(ROOT)}: {node.name} has {len(parameters(node))}'
          for path in (ROOT / 'sleepjax').rglob('*.py')
          for node in ast.walk(ast.parse(path.read_text()))
          if isinstance(node, ast.FunctionDef)
          and (not node.name.startswith('_') or node.name == '__init__')
          and len(parameters(node)) > 8]
  assert not many
