"""Pages link to what is there and name what exists."""

import ast
import dataclasses
import re

import pytest

from sleepjax.lifecycle.config import SleepConfig
from sleepjax.runs.session import Saving
from sleepjax.tasks.document import ExamConfig
from sleepjax.tasks.world import DaysConfig
from tests.docs import pages

_SETTINGS = {'sleep': SleepConfig(), 'saving': Saving(), 'exam': ExamConfig(),
             'days': DaysConfig()}


@pytest.mark.parametrize('page', pages.PAGES)
def test_links_lead_somewhere(page):
  folder = (pages.ROOT / page).parent
  assert not [target for target in pages.links(page)
              if not (folder / target).exists()]


@pytest.mark.parametrize('page', pages.PAGES)
def test_paths_exist(page):
  assert not [word for word in pages.code_words(page)
              if pages.is_path(word) and not pages.path_exists(word, page)]


@pytest.mark.parametrize('page', pages.PAGES)
def test_names_exist(page):
  missing = []
  for word in pages.code_words(page):
    if pages.is_module(word):
      try:
        pages.find(word)
      except (AttributeError, ImportError) as error:
        missing.append(f'{word}: {error}')
  assert not missing


def settings_named(page):
  """Names such as sleep.seeding.steps, after --config. or in backticks."""
  text = pages.read(page)
  flags = re.findall(r'--(?:no)?config\.((?:sleep|saving|exam|days)[\w.]*)',
                     text)
  words = [word for word in pages.code_words(page) if re.fullmatch(
      r'(?:sleep|saving|exam|days)(?:\.\w+)+', word)]
  return flags + words


@pytest.mark.parametrize('page', pages.PAGES)
def test_settings_exist(page):
  missing = []
  for name in settings_named(page):
    first, *rest = name.rstrip('.').split('.')
    value = _SETTINGS[first]
    for part in rest:
      if not dataclasses.is_dataclass(value) or not hasattr(value, part):
        missing.append(name)
        break
      value = getattr(value, part)
  assert not missing


# Words of this project, or meant in its own way, that docstrings use.
OWN_WORDS = (
    'arm', 'asleep', 'awake', 'canonical', 'closed book', 'compute layout',
    'contrast', 'control', 'coverage', 'cycle', 'day', 'dream', 'dreamer',
    'drift', 'exam', 'gap', 'generator', 'group', 'guard', 'hand-over',
    'held in', 'held out', 'in view', 'influence', 'judge', 'learner', 'level',
    'life', 'lineage', 'margin', 'merged', 'newborn', 'night', 'notice',
    'observer', 'old self', 'opening', 'phase', 'pool', 'privilege',
    'recollection', 'rehearsal', 'retention', 'row', 'segment', 'sleeper',
    'slot', 'span', 'staleness', 'stream', 'undone', 'verified', 'window',
    'write-back')


def public_docstrings():
  for path in (pages.ROOT / 'sleepjax').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_bytes())):
      if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        if not getattr(node, 'name', '').startswith('_'):
          yield ast.get_docstring(node) or ''


def test_the_glossary_has_the_words_that_docstrings_use():
  used = ' '.join(' '.join(public_docstrings()).lower().split())
  glossary = pages.read('docs/glossary.md').lower()
  assert not [word for word in OWN_WORDS if word not in glossary]
  assert not [word for word in OWN_WORDS if word not in used]  # Gone.


def test_what_is_not_there_is_found():
  assert pages.is_path('sleepjax/lifecycle/night.py')
  assert not pages.path_exists('sleepjax/lifecycle/night.py', 'README.md')
  assert pages.is_module('seeding.chunked')
  with pytest.raises((AttributeError, ImportError)):
    pages.find('seeding.chunked')


@pytest.mark.slow
def test_the_program_of_growth_runs(capsys):
  code, = pages.blocks('sleepjax/growth/README.md', 'python')
  exec(compile(code, 'growth', 'exec'), {'__name__': 'growth'})
  change = float(capsys.readouterr().out.split()[-1])
  assert change < 1e-5


@pytest.mark.parametrize('page', pages.PAGES)
def test_what_pages_import_is_there(page):
  for code in pages.blocks(page, 'python'):
    imports = [line for line in code.splitlines()
               if line.startswith(('import ', 'from '))]
    exec('\n'.join(imports), {})
