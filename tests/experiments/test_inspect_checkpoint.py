import json
import shutil

import numpy as np
import pytest

from experiments import inspect_checkpoint
from sleepjax.errors import UserError
from sleepjax.training import checkpoints
from tests.golden.make_checkpoints import FOLDER

V1 = FOLDER / 'v1'


def printed(capsys, *arguments):
  inspect_checkpoint.main(['inspect_checkpoint', *map(str, arguments)])
  return capsys.readouterr().out.splitlines()


def test_a_model(capsys):
  lines = printed(capsys, V1 / 'model')
  assert lines[0] == str(V1 / 'model')
  for row in ('format          version 1', 'holds           model',
              'num_layers      2', 'slot_form       swiglu',
              'base            "random"', 'nights          3',
              'checksums       all arrays are as written'):
    assert f'  {row}' in lines
  leaves = [line.split(maxsplit=1) for line in lines]
  assert ['layers/attn/q', 'float32[2, 4, 2, 2]'] in leaves
  assert ['layers/slots/open', 'bool[2, 2]'] in leaves
  params = checkpoints.load_model(V1 / 'model').params
  numbers = params['embed']['table'].size * 2  # And the head.
  [total] = [line for line in lines if line.startswith('  arrays')]
  assert int(total.split()[2].replace(',', '')) > numbers
  assert total.endswith(' bytes on disk')


def test_the_workdir_of_a_run(capsys, tmp_path):
  """All that is saved in it, where a killed replacement has left it, too."""
  shutil.copytree(V1, tmp_path / 'run')
  (tmp_path / 'run/model').rename(tmp_path / 'run/model.old')
  lines = printed(capsys, tmp_path / 'run')
  assert [line for line in lines if not line.startswith(' ')] == [
      str(tmp_path / 'run/model.old'), str(tmp_path / 'run/progress')]
  assert '  step            7' in lines
  assert ['slot/down', 'bfloat16[3, 2]'] in [
      line.split(maxsplit=1) for line in lines]


def test_long_metadata_is_counted():
  assert inspect_checkpoint.summary({'a': [1]}) == '{"a": [1]}'
  assert inspect_checkpoint.summary(list(range(99))) == '[99 items]'
  assert inspect_checkpoint.summary(
      {'a': list(range(99)), 'b': 1}) == '{2 entries: a, b}'
  assert inspect_checkpoint.summary('x' * 99) == '"' + 'x' * 71 + '…'


def test_what_is_no_checkpoint(tmp_path):
  with pytest.raises(UserError, match='no such folder'):
    inspect_checkpoint.main(['', str(tmp_path / 'nothing')])
  with pytest.raises(UserError, match='not a checkpoint, and none is in it'):
    inspect_checkpoint.main(['', str(tmp_path)])


def test_a_damaged_and_a_newer_one(capsys, tmp_path):
  checkpoints.save_progress(tmp_path / 'p', 1, {'a': np.arange(4.0)}, {})
  path = tmp_path / 'p/progress.json'
  manifest = json.loads(path.read_text())
  manifest['arrays']['a']['crc32'] += 1
  path.write_text(json.dumps(manifest))
  with pytest.raises(UserError, match='a has another checksum'):
    inspect_checkpoint.main(['', str(tmp_path)])
  capsys.readouterr()
  assert '  checksums       not read' in printed(
      capsys, tmp_path, '--no_check')
  path.write_text(json.dumps({**manifest, 'format_version': 99}))
  with pytest.raises(UserError, match='has format version 99, and this'):
    inspect_checkpoint.main(['', str(tmp_path)])
