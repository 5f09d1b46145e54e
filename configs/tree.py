"""Settings of the library as configurations, with the library's own defaults.

A default stands in one place, its dataclass; a configuration names what it
changes, and every field can be set on the command line.
"""

import dataclasses
import types
import typing
from typing import Any

from ml_collections import ConfigDict, config_dict

_SCALARS = (bool, int, float, str)


def tree(settings: Any) -> ConfigDict:
  """The fields of a dataclass as a ConfigDict, nested ones nested.

  A field that is None is a placeholder where the values that it may have are of
  one simple type; of any other, it is left out and can be set in a file.
  """
  hints, config = typing.get_type_hints(type(settings)), ConfigDict()
  for field in dataclasses.fields(settings):
    value = getattr(settings, field.name)
    if dataclasses.is_dataclass(value):
      config[field.name] = tree(value)
    elif value is not None:
      config[field.name] = value
    elif kind := _only_kind(hints[field.name]):
      config[field.name] = config_dict.placeholder(kind)
  return config


def _only_kind(hint):
  """T of `T | None` where that is a simple type."""
  if typing.get_origin(hint) not in (typing.Union, types.UnionType):
    return None
  kinds = [k for k in typing.get_args(hint) if k is not type(None)]
  return kinds[0] if len(kinds) == 1 and kinds[0] in _SCALARS else None
