"""The pages of the documentation: their code, their words, what they name."""

import importlib
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
# All that is checked.
PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md',
         'experiments/README.md',
         *sorted(str(path.relative_to(ROOT)) for folder in ('docs', 'sleepjax')
                 for path in (ROOT / folder).rglob('*.md'))]

# Where a path may be meant from, besides the root and the page's own folder.
_FROM = ('', 'sleepjax', 'tests')
_PATH = re.compile(r'[\w.\-]+(?:/[\w.\-]+)*/?')
_MODULE = re.compile(r'[a-z_]\w*(?:\.\w+)+')
_FILES = ('.py', '.md', '.ipynb', '.sh', '.toml')
_OF_A_RUN = ('.json', '.jsonl', '.png', '.txt')


def read(name: str) -> str:
  return (ROOT / name).read_text(encoding='utf-8')


def blocks(name: str, language: str) -> list[str]:
  """The fenced blocks of a language, in order."""
  return re.findall(rf'^```{language}\n(.*?)^```$', read(name),
                    re.DOTALL | re.MULTILINE)


def prose(name: str) -> str:
  """A page without its fenced blocks."""
  return re.sub(r'^```.*?^```$', '', read(name), flags=re.DOTALL | re.MULTILINE)


def links(name: str) -> list[str]:
  """Targets of its relative links, without the place in the page."""
  found = re.findall(r'\]\(([^)\s]+)\)', prose(name))
  return [target.split('#')[0] for target in found
          if '://' not in target and not target.startswith('#')]


def code_words(name: str) -> list[str]:
  """What stands in single backticks."""
  return re.findall(r'`([^`\n]+)`', prose(name))


def is_path(word: str) -> bool:
  """Whether it names a file or folder of this repository."""
  if not _PATH.fullmatch(word):
    return False
  top = word.split('/')[0]
  known = {path.name for base in _FROM for path in (ROOT / base).iterdir()}
  return word.endswith(_FILES) or '/' in word and top in known


def path_exists(word: str, page: str) -> bool:
  places = [ROOT / base for base in _FROM] + [(ROOT / page).parent]
  return any((place / word).exists() for place in places)


def is_module(word: str) -> bool:
  """Whether it begins with a module or room of this project."""
  top = word.split('.')[0]
  return bool(_MODULE.fullmatch(word)) and not word.endswith(
      (*_FILES, *_OF_A_RUN)) and (
      top in ('sleepjax', 'experiments', 'configs')
      or (ROOT / 'sleepjax' / top).is_dir()
      or (ROOT / 'sleepjax' / f'{top}.py').exists())


def find(word: str):
  """What a dotted name means.

  Raises:
    AttributeError, ImportError: nothing.
  """
  names = word.split('.')
  if names[0] not in ('sleepjax', 'experiments', 'configs'):
    names.insert(0, 'sleepjax')
  for end in range(len(names), 0, -1):
    try:
      found = importlib.import_module('.'.join(names[:end]))
    except ModuleNotFoundError:
      continue
    for name in names[end:]:
      found = getattr(found, name)
    return found
  raise ImportError(word)
