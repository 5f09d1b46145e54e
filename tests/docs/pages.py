"""The pages of the documentation: their code, their words, what they name."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def read(name: str) -> str:
  return (ROOT / name).read_text(encoding='utf-8')


def blocks(name: str, language: str) -> list[str]:
  """The fenced blocks of a language, in order."""
  return re.findall(rf'^```{language}\n(.*?)^```$', read(name),
                    re.DOTALL | re.MULTILINE)


def python_blocks(name: str) -> list[str]:
  return blocks(name, 'python')


def prose(name: str) -> str:
  """A page without its fenced blocks."""
  return re.sub(r'^```.*?^```$', '', read(name), flags=re.DOTALL | re.MULTILINE)
