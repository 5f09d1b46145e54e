import dataclasses
import pathlib
import re
import subprocess
import sys
from typing import Literal

import pytest
from absl import flags
from ml_collections import config_dict

from experiments import (
    _config,
    _main,
    ablate_dreaming,
    ablate_seeding,
    ask,
    beds,
    compile,
    consolidate,
    export,
    few_shot,
    growth_parity,
    growth_training,
    inspect_checkpoint,
    judge_error,
    kill_test,
    knowledge_incorporation,
    long_context,
    mirror,
    pretrain,
    pretrain_level,
    question_agreement,
    quickstart,
    read_stream,
    reasoning,
    translation,
)
from sleepjax.errors import UserError
from sleepjax.model import load_pretrained

CONFIG = '''
from ml_collections import config_dict


def get_config(name='plain'):
  return config_dict.ConfigDict(dict(
      name=name, seed=0, remat=True, adapter=None,
      adapter_rank=config_dict.placeholder(int),
      seeding=dict(steps=100, learning_rate=1e-3, levels=(64, 256))))
'''


@pytest.fixture
def path(tmp_path):
  file = tmp_path / 'run.py'
  file.write_text(CONFIG)
  return str(file)


def parse(*arguments, **kwargs):
  kwargs.setdefault('flag_values', flags.FlagValues())
  return _config.from_flags(['prog', *arguments], **kwargs)


def test_file_and_overrides_of_every_type(path):
  config = parse(
      f'--config={path}', '--config.seed=3', '--noconfig.remat',
      '--config.adapter_rank=8', '--config.seeding.learning_rate', '2',
      '--config.seeding.levels=32,64')
  assert config.seed == 3 and config.remat is False
  assert config.adapter_rank == 8
  assert config.seeding.learning_rate == 2.0
  assert config.seeding.levels == (32, 64)
  assert config.seeding.steps == 100
  assert config.is_locked


def test_text_after_the_colon_reaches_get_config(path):
  assert parse('--config', f'{path}:large').name == 'large'


def test_overrides_do_not_leak_into_the_next_call(path):
  values = flags.FlagValues()
  document = flags.DEFINE_string(
      'document', 'none.txt', 'Text to read.', flag_values=values)
  first = parse('--config.seed=3', '--document=a.txt', default=path,
                flag_values=values)
  assert (first.seed, document.value) == (3, 'a.txt')
  second = parse(default=path, flag_values=values)
  assert (second.seed, document.value) == (0, 'none.txt')


@pytest.mark.parametrize('arguments, message', [
    (['--config.sed=3'], r"config has no field 'sed'; did you mean 'seed'\?"),
    (['--config.seeding.step=3'],
     r"config.seeding has no field 'step'; did you mean 'steps'\? "
     r'Valid names: learning_rate, levels, steps'),
    (['--config.seed.x=3'], 'config.seed is a single value, 0'),
    (['--config.seeding=3'], 'group of fields'),
    (['--config.adapter=3'], 'set it in the file'),
    (['--config.seed=three'], r'config.seed=three.*invalid literal'),
    (['--config.seed'], 'Missing value for flag --config.seed'),
    (['--confg.seed=3'], r'unknown flag --confg.seed.*--config.FIELD=VALUE'),
    (['--documen=a'], r"unknown flag --documen: did you mean 'document'\? "
     r'Valid names: config, document\.'),
    (['config.seed=3'], "unexpected argument 'config.seed=3'"),
    (['--config'], 'expected --config=PATH.py'),
    (['--config=missing.py'], r'missing.py: no such file'),
])
def test_wrong_command_lines_are_explained(
    path, arguments, message, monkeypatch):
  values = flags.FlagValues()
  flags.DEFINE_string('document', '', 'Text to read.', flag_values=values)
  # A command's own flags are those of the file that was started.
  monkeypatch.setattr(
      sys, 'argv', [values.find_module_defining_flag('document')])
  with pytest.raises(UserError, match=message):
    parse(*arguments, default=path, flag_values=values)


@pytest.mark.parametrize('text, message', [
    ('def get_config(:', 'line 1: invalid syntax'),
    ('x = 1', r'expected a function get_config\(\)'),
    ('def get_config(): return {}', 'should return a ConfigDict, got dict'),
])
def test_wrong_config_files_are_explained(tmp_path, text, message):
  file = tmp_path / 'broken.py'
  file.write_text(text)
  with pytest.raises(UserError, match=message):
    parse(f'--config={file}')


def test_argument_for_a_config_that_takes_none(tmp_path):
  file = tmp_path / 'simple.py'
  file.write_text('def get_config(): return {}')
  with pytest.raises(UserError, match='too many positional arguments'):
    parse(f'--config={file}:large')


def test_a_configuration_is_found_by_its_name(tmp_path, monkeypatch):
  """In the package, whatever the current folder is; a local file wins."""
  monkeypatch.chdir(tmp_path)
  name = 'configs/scale/small.py'
  assert 'slot_rank' in parse(f'--config={name}')
  (tmp_path / 'configs/scale').mkdir(parents=True)
  (tmp_path / name).write_text(CONFIG)
  assert parse(f'--config={name}').name == 'plain'


@pytest.mark.parametrize('command, arguments, message', [
    (consolidate, ['--workdir='], '--workdir is empty'),
    (consolidate, ['--workdir=x'], '--document is missing'),
    (consolidate, ['--workdir=x', '--document= '], '--document is empty'),
    (consolidate, ['--workdir=x', '--document=.', '--document='],
     '--document is empty'),
    (consolidate, ['--workdir=x', '--document=.'],
     r'\.: nothing to read \(no files\)'),
    (consolidate, ['--workdir=x', '--document=.', '--document=nowhere'],
     'nowhere: no such file'),
    (consolidate, ['--questions='], '--questions is empty'),
    (quickstart, ['--workdir', ''], '--workdir is empty'),
    (quickstart, [], '--workdir is missing; see --help'),
    (ablate_seeding, ['--workdir='], '--workdir is empty'),
    (ablate_dreaming, [], '--workdir is missing'),
    (beds, ['--workdir='], '--workdir is empty'),
    (reasoning, [], '--workdir is missing'),
    (few_shot, [], '--workdir is missing'),
    (translation, [], '--workdir is missing'),
    (compile, ['--config=configs/scale/small.py', '--out='], '--out is empty'),
    (compile, ['--config=configs/scale/small.py', '--programs='],
     '--programs is empty'),
    (ask, ['--checkpoint='], 'checkpoint is empty'),
    (ask, ['--checkpoint=x', '--document='], 'document is empty'),
    (export, ['--checkpoint=x', '--out='], 'out is empty'),
    (inspect_checkpoint, [''], 'folder is empty'),
    (kill_test, ['--workdir=', '--', 'true'], 'workdir is empty'),
    (mirror, ['--remote=x', '--local=', '--', 'true'], 'local is empty')])
def test_a_path_that_was_given_as_nothing(
    command, arguments, message, tmp_path, monkeypatch):
  """As by --workdir=$UNSET: the current folder is not meant."""
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=message):
    command.main(['x', *arguments])
  assert not list(tmp_path.iterdir())


def test_no_config_and_no_default():
  with pytest.raises(UserError, match='expected --config=PATH.py'):
    parse()


@pytest.mark.parametrize('command, config, message', [
    (ablate_seeding, 'dreaming/world',
     'rates, which .* Start from configs/seeding/world.py'),
    (ablate_seeding, 'quickstart', 'scale, arms, seeds, rates, which'),
    (ablate_dreaming, 'quickstart',
     'scale, arms, seeds, which .* Start from configs/dreaming/world.py'),
    (beds, 'quickstart', 'bed, arms, changes, seeds, which'),
    (compile, 'quickstart', 'slot_rank, .* Start from one that --help names'),
    (consolidate, 'quickstart', 'exam, which'),
    (knowledge_incorporation, 'consolidate/smollm2', 'arms, rates, which'),
    (long_context, 'quickstart',
     'stream, continuum, asking, read, fast, .* arms, changes, seeds,'),
    (quickstart, 'consolidate/quick', 'days, which'),
    (read_stream, 'quickstart',
     'text, tokens, skip_tokens, save_every, continuum,'),
    (pretrain_level, 'quickstart', 'save_every, level_dim, .* which'),
    (pretrain, 'quickstart', 'save_every, .* stages, which'),
    (reasoning, 'quickstart', 'pretrained, files, check, whole, bed, arms, '
     'seeds, tried, choice_seed, rates, which'),
    (few_shot, 'quickstart', 'pretrained, data, bed, writer, edit, oracle, '
     'arms, seeds, which'),
    (translation, 'quickstart', 'pretrained, bed, arms, seeds, chosen, tried, '
     'choice_seed, which'),
    (growth_training, 'quickstart', 'scratch, pretraining, plan, seeds, which'),
    (growth_parity, 'quickstart', 'models, shapes, which'),
    (judge_error, 'quickstart', 'judges, yes_no, which'),
    (question_agreement, 'growth/parity', 'model, sleep, which')])
def test_the_configuration_of_another_command_is_refused(
    command, config, message, tmp_path):
  path = f'{_config._ROOT}/configs/{config}.py'
  with pytest.raises(UserError, match=(
      rf'--config={path}: this command needs {message}')):
    command.main(['x', f'--config={path}', f'--workdir={tmp_path}/run',
                  '--config.none=1'])
  assert not (tmp_path / 'run').exists()


def test_what_a_configuration_needs_may_be_none(path):
  assert parse(f'--config={path}', needs=('seed', 'adapter')).seed == 0


def test_an_arm_that_dreams_needs_a_configuration_that_does(tmp_path):
  path = f'{_config._ROOT}/configs/seeding/world.py'
  for arm in 'dreaming', 'more_seeding':
    with pytest.raises(UserError, match=(
        f"arm '{arm}' needs config.sleep.dreaming, which is None")):
      ablate_dreaming.main([
          'x', f'--config={path}', f'--config.arms=({arm!r},)',
          f'--workdir={tmp_path}/run'])


@pytest.mark.parametrize('command, flag, message', [
    (consolidate, 'seed=-1', 'config.seed=-1 must be at least 0'),
    (consolidate, 'exam.drift=news', "drift='news' must be 'wikitext2' or"),
    (consolidate, 'exam.drift_tokens=1', 'drift_tokens=1 must be at least 2'),
    (consolidate, 'exam.batch_rows=0', 'batch_rows=0 must be at least 1'),
    (consolidate, 'exam.max_new_tokens=0',
     'config.exam: max_new_tokens=0 must be at least 1'),
    (consolidate, 'sleep.seeding.rows=0', 'config.sleep.seeding: rows=0 must'),
    (consolidate, 'sleep.dreams.held_out=-1',
     'config.sleep.dreams: held_out=-1 must be at least 0'),
    (read_stream, 'tokens=499', 'config.tokens=499 must be at least 500'),
    (judge_error, 'max_new_tokens=0', 'max_new_tokens=0 must be at least 1'),
    (growth_parity, 'seed=-1', 'config: seed=-1 must be at least 0')])
def test_wrong_numbers_are_refused_at_once(command, flag, message, tmp_path):
  own = [f'--document={tmp_path}/none.txt'] if command is consolidate else []
  with pytest.raises(UserError, match=message):
    command.main(['x', f'--workdir={tmp_path}/run', *own, f'--config.{flag}'])
  assert not (tmp_path / 'run').exists()


def test_help_lists_the_fields(path, capsys):
  with pytest.raises(SystemExit) as end:
    parse('--help', default=path, description='Sleeps once.')
  assert not end.value.code
  out = capsys.readouterr().out
  assert 'Sleeps once.' in out and '--config.seeding.steps=100' in out


@pytest.mark.parametrize('outcome, status, message', [
    ('return None', 0, ''),
    ('return 3', 3, ''),
    ('raise UserError("no such file:\\n  a.txt")', 2,
     'error: no such file:\n  a.txt\n'),
    ('raise KeyboardInterrupt', 130, 'interrupted\n'),
])
def test_run_ends_with_the_status_that_fits(
    capsys, outcome, status, message):
  scope = {'UserError': UserError}
  exec(f'def main(argv): {outcome}', scope)
  with pytest.raises(SystemExit) as end:
    _main.run(scope['main'], [])
  assert end.value.code == status
  assert capsys.readouterr().err == message


@pytest.mark.parametrize('error, message', [
    (OSError(28, 'No space left on device'),
     'standard output: cannot be written (No space left on device). Make '),
    (OSError(28, 'No space left on device', 'a.npz'),
     'a.npz: cannot be written (No space left on device). Make room or grant '),
    (TimeoutError('process 0 waited'), 'process 0 waited\n')])
def test_what_the_machine_refuses_has_no_traceback(
    error, message, capsys, monkeypatch):
  monkeypatch.setattr(_main, '_drop_stdout', lambda: None)
  def main(argv):
    raise error
  with pytest.raises(SystemExit) as end:
    _main.run(main, [])
  assert end.value.code == 2
  assert capsys.readouterr().err.startswith(f'error: {message}')


def test_run_says_which_files_a_model_came_from(capsys):
  folder = _config._ROOT / 'tests/golden/qwen2'
  with pytest.raises(SystemExit):
    _main.run(lambda argv: load_pretrained(str(folder)) and None, [])
  assert capsys.readouterr() == (
      '', f'Read {folder}: model-00001-of-00002.safetensors, '
      'model-00002-of-00002.safetensors\n')


def test_run_keeps_the_traceback_of_a_bug():
  with pytest.raises(ZeroDivisionError):
    _main.run(lambda argv: 1 // 0, [])


def test_a_command_with_a_wrong_field(tmp_path, path):
  script = tmp_path / 'command.py'
  script.write_text(f'''
import sys
from experiments import _config, _main


def main(argv):
  print(_config.from_flags(argv, default={path!r}).seed)


if __name__ == '__main__':
  _main.run(main, sys.argv)
''')
  def call(flag):
    return subprocess.run(
        [sys.executable, str(script), flag], capture_output=True, text=True,
        cwd=_config._ROOT, env={'PYTHONPATH': str(_config._ROOT)})
  good, bad = call('--config.seed=5'), call('--config.sed=5')
  assert (good.returncode, good.stdout) == (0, '5\n')
  assert bad.returncode == 2
  assert bad.stderr.startswith('error: --config.sed: config has no field')
  assert bad.stderr.count('\n') == 1


@dataclasses.dataclass(frozen=True)
class Inner:
  steps: int
  rates: tuple[float, ...] = (0.1,)

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f'steps={self.steps} must be positive.')


@dataclasses.dataclass(frozen=True)
class Outer:
  inner: Inner
  pair: tuple[int, str]
  kind: Literal['forward', 'reverse'] = 'forward'
  others: tuple[Inner, ...] = ()
  spare: Inner | None = None
  limit: int | None = None
  scale: float | str = 1.0
  flag: bool = False


def config(**fields):
  return config_dict.ConfigDict(
      {'inner': {'steps': 3}, 'pair': (1, 'a'), **fields})


def test_to_dataclass_builds_nested_parts():
  built = _config.to_dataclass(Outer, config(
      inner={'steps': 3, 'rates': [1, 0.5]}, others=({'steps': 4},),
      spare={'steps': 5}, kind='reverse', scale=2))
  assert built == Outer(
      inner=Inner(3, (1.0, 0.5)), pair=(1, 'a'), kind='reverse',
      others=(Inner(4),), spare=Inner(5), scale=2.0)
  assert isinstance(built.inner.rates[0], float)


@pytest.mark.parametrize('fields, message', [
    ({'kinds': 'reverse'}, r"seed.kinds: unknown field; did you mean 'kind'\?"),
    ({'inner': {'step': 3}}, r"seed.inner.step: .*Valid names: rates, steps"),
    ({'inner': {}}, 'seed.inner: missing steps; Inner needs'),
    ({'inner': 3}, 'seed.inner: expected the fields of Inner, got 3'),
    ({'inner': {'steps': 0}}, 'seed.inner: steps=0 must be positive'),
    ({'inner': {'steps': '3'}}, r"seed.inner.steps: expected int, got '3'"),
    ({'inner': {'steps': True}}, 'seed.inner.steps: expected int, got True'),
    ({'inner': {'steps': 3, 'rates': (1, 'x')}},
     r"seed.inner.rates\[1\]: expected float"),
    ({'pair': (1,)}, 'seed.pair: expected 2 values, got 1'),
    ({'pair': 1}, 'seed.pair: expected tuple'),
    ({'kind': 'sideways'}, "seed.kind: expected one of 'forward', 'reverse'"),
    ({'limit': 'x'}, 'seed.limit: expected int'),
    ({'flag': 1}, 'seed.flag: expected bool'),
])
def test_to_dataclass_explains_wrong_fields(fields, message):
  with pytest.raises(UserError, match=message):
    _config.to_dataclass(Outer, config(**fields), path='seed')


def test_the_list_of_commands():
  """Every command stands in it once, and nothing else does."""
  folder = pathlib.Path(_main.__file__).parent
  text = (folder / 'README.md').read_text()
  firsts = ' '.join(re.findall(r'^\| ([^|]*) \|', text, re.M))
  assert sorted(re.findall('`([^`]+)`', firsts)) == sorted(
      p.stem for p in folder.glob('[a-z]*.py'))
