"""Sleep for language models: read, grow, seed, dream (arXiv 2606.03979).

What is public stands in `__init__.pyi`, where type checkers find it, and is
imported when it is first asked for.
"""

import ast
import importlib
import pathlib
from typing import Any


def _modules() -> dict[str, str]:
  """Name -> module of all that is public."""
  path = pathlib.Path(__file__).with_suffix('.pyi')
  return {alias.name: node.module or ''
          for node in ast.parse(path.read_bytes()).body
          if isinstance(node, ast.ImportFrom) for alias in node.names}


_MODULE_OF = _modules()
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
  if name not in _MODULE_OF:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module = importlib.import_module(_MODULE_OF[name])
  return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
