"""The configuration of a command: read, changed by flags, checked.

  def main(argv):
    config = _config.from_flags(argv, default='configs/name.py')
    settings = _config.to_dataclass(Settings, config.part, 'config.part')
"""

import dataclasses
import difflib
import importlib.util
import inspect
import pathlib
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict, config_flags

from experiments import _start
from sleepjax.errors import UserError

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_OVERRIDE = re.compile(r'--?(no)?config\.([^=]*)')


def from_flags(
    argv: Sequence[str], default: str | None = None, description: str = '',
    flag_values: flags.FlagValues | None = None,
    needs: Sequence[str] = ()) -> config_dict.ConfigDict:
  """The configuration that a command line asks for, locked.

  `--config=PATH.py` names a file with a function `get_config()`, from the
  current folder or, such as `configs/quickstart.py`, from those that come with
  the package, and
  `--config=PATH.py:TEXT` calls `get_config('TEXT')`; `--config.a.b=value`
  replaces one field. Flags that the command has defined itself with absl are
  parsed too. `--help` prints all of it and ends the process.

  Args:
    argv: the command line, program name first.
    default: configuration used without `--config`, of the package.
    description: text for `--help`, usually the module's docstring.
    flag_values: the command's own flags, and no others.
    needs: what has to stand at the top of the configuration.

  Raises:
    UserError: no such file, or one of another command; an unknown flag or
      field, a value of another type, or arguments that are no flags.
  """
  flag_values = flags.FlagValues() if flag_values is None else flag_values
  argv, given = _without_config_path(list(argv))
  path = given or default and str(_ROOT / default)
  if path is None:
    raise UserError('no configuration: expected --config=PATH.py.')
  config = _load_config(path)
  if _start.asks_for_help(argv):
    _print_help(description, path, config, flag_values)
    sys.exit(0)
  if missing := [name for name in needs if name not in config]:
    raise UserError(
        f'--config={path}: this command needs {", ".join(missing)}, which the '
        'file does not set; is it the configuration of another command? '
        f'Start from {default or "one that --help names"}.')
  for argument in argv[1:]:
    _check_override(argument, config)
  values = _own_flags(flag_values)
  try:
    config_flags.DEFINE_config_dict(
        'config', config, flag_values=values, sys_argv=argv)
    extra = values(argv)[1:]
  except flags.UnrecognizedFlagError as error:
    names = ['config', *flag_values]
    raise UserError(
        f'unknown flag --{error.flagname}: '
        f'{_valid_names(error.flagname, names)} Fields of the configuration '
        'are set as --config.FIELD=VALUE.') from None
  except flags.Error as error:
    raise UserError(f'{error}.') from None
  if extra:
    raise UserError(
        f'unexpected argument {extra[0]!r}: expected only flags, such as '
        '--config=PATH.py or --config.FIELD=VALUE.')
  for name in flag_values:
    if flag_values[name].present and is_empty(flag_values[name].value):
      raise UserError(f'--{name} is empty: give it a value, or leave it out.')
  flag_values.mark_as_parsed()
  return values.config


def saving_of(config: config_dict.ConfigDict):
  """How often a run is saved: `config.saving`, which is taken out of it.

  It says nothing of what is computed, so a run may go on with another one.
  """
  from sleepjax.runs.session import Saving  # Not what --help has to wait for.
  saving = to_dataclass(Saving, config.get('saving') or {}, 'config.saving')
  with config.unlocked():
    if 'saving' in config:
      del config['saving']
  return saving


def check_no_best(saving) -> None:
  """Refuses to keep the best sleep where no measure says which one it is."""
  if saving.keep.best:
    raise UserError(
        'saving.keep.best: sleeps on one document have no measure by which one '
        'is best. Set saving.keep.latest.')


def is_empty(value: Any) -> bool:
  """Whether nothing was given, such as by `--workdir=$UNSET`."""
  if isinstance(value, list):
    return not value or any(map(is_empty, value))
  return isinstance(value, str) and not value.strip()


def check_given(flag: flags.FlagHolder) -> None:
  """Refuses a command line without a flag.

  Raises:
    UserError: it was not given.
  """
  if flag.value is None:
    raise UserError(f'--{flag.name} is missing; see --help.')


def path(flag: flags.FlagHolder) -> pathlib.Path:
  """The path that a flag was given; `~` is the home folder.

  Raises:
    UserError: it was not given.
  """
  check_given(flag)
  return pathlib.Path(flag.value).expanduser()


def check_numbers(config: config_dict.ConfigDict, **least: int) -> None:
  """Checks numbers at the top of a configuration, by name.

  Args:
    config: of a command.
    least: name -> the smallest number that it may be.

  Raises:
    UserError: one is smaller.
  """
  for name, number in least.items():
    if config[name] < number:
      raise UserError(
          f'config.{name}={config[name]} must be at least {number}.')


def to_dataclass(
    cls: type, config: Mapping[str, Any], path: str = 'config') -> Any:
  """A `cls` built from a configuration, checked field by field.

  Nested dataclasses are built from nested mappings, tuples from tuples or
  lists; an int is taken for a float field. Fields with a default may be left
  out.

  Args:
    cls: a dataclass whose fields have type annotations.
    config: field name -> value, e.g. one part of a ConfigDict.
    path: how messages call this part of the configuration.

  Raises:
    UserError: an unknown or missing field, a value of the wrong type, or a
      value that the dataclass itself refuses.
  """
  if not isinstance(config, Mapping | config_dict.ConfigDict):
    raise UserError(
        f'{path}: expected the fields of {cls.__name__}, got {config!r}.')
  hints = typing.get_type_hints(cls)
  fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
  for name in config:
    if name not in fields:
      raise UserError(
          f'{path}.{name}: unknown field; {_valid_names(name, fields)}')
  missing = [
      name for name, field in fields.items()
      if name not in config and field.default is dataclasses.MISSING
      and field.default_factory is dataclasses.MISSING]
  if missing:
    raise UserError(
        f'{path}: missing {", ".join(missing)}; {cls.__name__} needs a value '
        'for each.')
  values = {
      name: _convert(hints[name], config[name], f'{path}.{name}')
      for name in config}
  try:
    return cls(**values)
  except UserError:
    raise
  except ValueError as error:
    raise UserError(f'{path}: {error}') from error


def _convert(hint: Any, value: Any, path: str) -> Any:
  """`value` as the annotation `hint` wants it, or a UserError."""
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if hint is Any:
    return value
  if origin in (typing.Union, types.UnionType):
    return _convert_union(arguments, value, path)
  if origin is typing.Literal:
    if value in arguments:
      return value
    raise UserError(
        f'{path}: expected one of {", ".join(map(repr, arguments))}, '
        f'got {value!r}.')
  if dataclasses.is_dataclass(hint):
    return value if isinstance(value, hint) else to_dataclass(hint, value, path)
  if (origin or hint) is tuple and isinstance(value, tuple | list):
    if not arguments:
      return tuple(value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
      arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
      raise UserError(
          f'{path}: expected {len(arguments)} values, got {len(value)}.')
    return tuple(
        _convert(h, v, f'{path}[{i}]')
        for i, (h, v) in enumerate(zip(arguments, value)))
  if hint is float and type(value) is int:
    return float(value)
  kind = origin or (type(None) if hint is None else hint)
  # True is an int to Python; a count of True is a mistake to everyone else.
  if isinstance(value, kind) and not (
      kind in (int, float) and isinstance(value, bool)):
    return value
  raise UserError(
      f'{path}: expected {getattr(kind, "__name__", kind)}, got {value!r} '
      f'({type(value).__name__}).')


def _convert_union(hints: Sequence[Any], value: Any, path: str) -> Any:
  if value is None and type(None) in hints:
    return None
  # An exact type wins, so that an int stays one in `float | int`.
  hints = [h for h in hints if h is not type(None)]
  hints.sort(key=lambda hint: type(value) is not hint)
  for hint in hints[:-1]:
    try:
      return _convert(hint, value, path)
    except UserError:
      pass
  return _convert(hints[-1], value, path)


def _without_config_path(argv: list[str]) -> tuple[list[str], str | None]:
  """argv without `--config=PATH` or `--config PATH`, and the last PATH."""
  rest, path = [], None
  arguments = iter(argv)
  for argument in arguments:
    if argument in ('--config', '-config'):
      path = next(arguments, '')
    elif argument.startswith(('--config=', '-config=')):
      path = argument.split('=', 1)[1]
    else:
      rest.append(argument)
  if path == '':
    raise UserError('--config: expected --config=PATH.py.')
  return rest, path


def _load_config(path: str) -> config_dict.ConfigDict:
  match = re.fullmatch(r'(.*\.py)(?::(.*))?', path)
  # As it stands, or as it is called in the package.
  places = [pathlib.Path(match[1]), _ROOT / match[1]] if match else []
  file = next(filter(pathlib.Path.is_file, places), None)
  if file is None:
    raise UserError(
        f'--config={path}: no such file; expected a Python file that defines '
        'get_config(), such as those in configs/.')
  spec = importlib.util.spec_from_file_location('_run_config', file)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except SyntaxError as error:
    raise UserError(
        f'--config={path}, line {error.lineno}: {error.msg}.') from None
  if not hasattr(module, 'get_config'):
    raise UserError(
        f'--config={path}: expected a function get_config() in the file.')
  arguments = [] if match[2] is None else [match[2]]
  try:
    inspect.signature(module.get_config).bind(*arguments)
  except TypeError as error:
    raise UserError(f'--config={path}: get_config(): {error}.') from None
  config = module.get_config(*arguments)
  if not isinstance(config, config_dict.ConfigDict):
    raise UserError(
        f'--config={path}: get_config() should return a ConfigDict, got '
        f'{type(config).__name__}.')
  return config


def _check_override(argument: str, config: config_dict.ConfigDict) -> None:
  """Refuses `--config.a.b` when the configuration has no field `a.b`."""
  match = _OVERRIDE.match(argument)
  if not match:
    return
  node, path = config, 'config'
  for name in match[2].split('.'):
    if not isinstance(node, config_dict.ConfigDict):
      raise UserError(
          f'--config.{match[2]}: {path} is a single value, {node!r}; set it '
          f'as --{path}=VALUE.')
    if name not in node:
      raise UserError(
          f'--config.{match[2]}: {path} has no field {name!r}; '
          f'{_valid_names(name, node)}')
    path, parent, node = f'{path}.{name}', node, node[name]
  if node is None and parent.get_type(name) is type(None):
    raise UserError(
        f'--{path}: the field is None in the configuration, so the type of '
        'its value is not known there; set it in the file.')
  if isinstance(node, config_dict.ConfigDict):
    raise UserError(
        f'--{path}: this is a group of fields; set one of them, as '
        f'--{path}.FIELD=VALUE. Fields: {", ".join(node)}.')


def _valid_names(name: str, names: typing.Iterable[str]) -> str:
  names = sorted(names)
  close = difflib.get_close_matches(name, names, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  return f'{hint}Valid names: {", ".join(names) or "none"}.'


def _own_flags(flag_values: flags.FlagValues) -> flags.FlagValues:
  """The command's own flags, back at their defaults, in a new FlagValues.

  Overrides are flags too, and they belong to one call only: the new object
  keeps them out of the process-wide one.
  """
  flag_values.unparse_flags()
  values = flags.FlagValues()
  values.append_flag_values(flag_values)
  return values


def _print_help(
    description: str, path: str, config: config_dict.ConfigDict,
    flag_values: flags.FlagValues) -> None:
  print(_start.as_called(description).strip() or 'Runs an experiment.')
  print(f'\nflags:\n  --config=PATH.py  (now {path})')
  for name in flag_values:
    flag = flag_values[name]
    print(f'  --{name}={flag.default}  {flag.help}')
  print('\nfields of the configuration:')
  for name, value in _flat(config, 'config'):
    print(f'  --{name}={value}')


def _flat(config: config_dict.ConfigDict, path: str):
  for name, value in config.items():
    if isinstance(value, config_dict.ConfigDict):
      yield from _flat(value, f'{path}.{name}')
    else:
      yield f'{path}.{name}', value
