import dataclasses
import json
import multiprocessing
import pathlib
import random
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepjax.errors import UserError
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig, RopeScaling
from sleepjax.training import checkpoints, saved_folder
from tests.conftest import random_params
from tests.golden import make_checkpoints

VERSIONS = sorted(make_checkpoints.FOLDER.iterdir())


@pytest.fixture
def saved(every_part, byte_tokenizer, tmp_path):
  folder = tmp_path / 'model'
  checkpoints.save_model(
      folder, *every_part, byte_tokenizer, {'name': 'first'})
  return folder


def assert_same_arrays(have, want):
  assert jax.tree.structure(have) == jax.tree.structure(want)
  for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want)):
    assert isinstance(a, np.ndarray)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, np.asarray(b))


def test_model_comes_back(saved, every_part, byte_tokenizer):
  config, params = every_part
  model = checkpoints.load_model(saved)
  assert model.config == config
  assert_same_arrays(model.params, params)
  assert model.params['layers']['slots']['open'].dtype == bool
  assert model.lineage == {'name': 'first'}
  assert model.tokenizer.encode('Is it é?') == byte_tokenizer.encode('Is it é?')
  assert model.tokenizer.stop_ids == byte_tokenizer.stop_ids
  assert model.tokenizer.chat_template == byte_tokenizer.chat_template


def test_folder_moves(saved, every_part, tmp_path):
  moved = shutil.move(saved, tmp_path / 'elsewhere')
  assert_same_arrays(checkpoints.load_model(moved).params, every_part[1])


def test_rope_scaling_and_float_dtypes_are_kept(
    plain, byte_tokenizer, tmp_path):
  config = dataclasses.replace(
      plain[0], rope_scaling=RopeScaling(8.0, 1.0, 4.0, 128))
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), plain[1])
  params['final_norm']['scale'] = np.asarray(
      params['final_norm']['scale'], np.float32)
  # How a model is computed is a choice of the run, not of the checkpoint.
  computed = dataclasses.replace(config, matmul_dtype='bfloat16')
  checkpoints.save_model(tmp_path / 'm', computed, params, byte_tokenizer, {})
  model = checkpoints.load_model(tmp_path / 'm')
  assert model.config == config
  assert_same_arrays(model.params, params)


def test_the_folder_of_a_wrong_model_is_never_written(
    plain, byte_tokenizer, tmp_path):
  config, params = plain
  wider = dataclasses.replace(config, mlp_dim=52)
  with pytest.raises(ValueError, match=r'layers/mlp/gate: have float32\[2, '
                     r'32, 48\], want float32\[2, 32, 52\]'):
    checkpoints.save_model(tmp_path / 'm', wider, params, byte_tokenizer, {})
  assert not list(tmp_path.iterdir())


def test_a_newer_model_replaces_an_older_one(
    saved, plain, byte_tokenizer, tmp_path):
  checkpoints.save_model(saved, *plain, byte_tokenizer, {'name': 'second'})
  model = checkpoints.load_model(saved)
  assert model.lineage == {'name': 'second'}
  assert_same_arrays(model.params, plain[1])
  assert [path.name for path in tmp_path.iterdir()] == ['model']


def test_replacement_killed_between_its_renames(
    saved, plain, byte_tokenizer, tmp_path):
  saved.rename(tmp_path / 'model.old')
  (tmp_path / 'model.writing').mkdir()
  assert checkpoints.is_saved(saved)
  assert checkpoints.load_model(saved).lineage == {'name': 'first'}
  checkpoints.save_model(saved, *plain, byte_tokenizer, {'name': 'second'})
  assert checkpoints.load_model(saved).lineage == {'name': 'second'}
  assert [path.name for path in tmp_path.iterdir()] == ['model']


def test_other_folders_are_not_replaced(plain, byte_tokenizer, tmp_path):
  folder = tmp_path / 'thesis'
  folder.mkdir()
  checkpoints.save_model(folder, *plain, byte_tokenizer, {})  # Was empty.
  shutil.rmtree(folder)
  folder.mkdir()
  (folder / 'chapter').write_text('1')
  with pytest.raises(UserError, match='thesis: would be replaced'):
    checkpoints.save_model(folder, *plain, byte_tokenizer, {})
  with pytest.raises(UserError, match='thesis: would be replaced'):
    checkpoints.save_progress(folder, 1, {}, {})
  assert (folder / 'chapter').read_text() == '1'


def test_missing_and_foreign_folders(tmp_path):
  with pytest.raises(UserError, match='no/where: no such folder.*model.json'):
    checkpoints.load_model('no/where')
  with pytest.raises(UserError, match='not a checkpoint: it has no model.json'):
    checkpoints.load_model(tmp_path)
  with pytest.raises(UserError, match='not a checkpoint.*progress.json'):
    checkpoints.load_progress(tmp_path)
  (tmp_path / 'config.json').touch()
  with pytest.raises(UserError, match='is a file: .*sleepjax.load'):
    checkpoints.load_model(tmp_path / 'config.json')
  with pytest.raises(UserError, match='Hugging Face folder: .*sleepjax.load'):
    checkpoints.load_model(tmp_path)
  assert not checkpoints.is_saved(tmp_path)
  assert not checkpoints.is_saved('no/where')


def edit_manifest(folder, **changes):
  path = folder / 'model.json'
  path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_newer_format(saved):
  edit_manifest(saved, format_version=2)
  for read in checkpoints.load_model, checkpoints.describe:
    with pytest.raises(UserError, match='format version 2.*Install a newer'):
      read(saved)


def test_arrays_of_another_architecture(saved, every_part):
  architecture = every_part[0].architecture()
  edit_manifest(saved, architecture={**architecture, 'qk_norm': False,
                                     'slot_rank': 8})
  with pytest.raises(UserError) as error:
    checkpoints.load_model(saved)
  message = str(error.value)
  assert 'layers/attn/q_norm: have float32[2, 8], want nothing' in message
  assert ('layers/slots/down: have float32[2, 2, 4, 32], '
          'want float32[2, 2, 8, 32]') in message
  assert 'embed/table' not in message


@pytest.mark.parametrize('folder', VERSIONS, ids=lambda path: path.name)
def test_every_released_format_is_read(folder):
  """Old checkpoints are read; their folders are never written again."""
  golden = make_checkpoints
  model = checkpoints.load_model(folder / 'model')
  assert model.config == golden.CONFIG
  assert model.lineage == golden.METADATA
  assert_same_arrays(model.params, random_params(golden.CONFIG))
  assert model.tokenizer.vocab_size == golden.CONFIG.vocab_size
  progress = checkpoints.load_progress(folder / 'progress')
  assert (progress.step, progress.metadata) == (
      golden.STEP, golden.STATE_METADATA)
  state = golden.run_state()
  assert_same_arrays(
      checkpoints.with_structure(state, progress.tree),
      jax.tree.map(np.asarray, state))


def test_the_present_format_is_among_those_that_are_read():
  assert f'v{saved_folder.FORMAT_VERSION}' in [path.name for path in VERSIONS]


@pytest.mark.parametrize('changes', [
    {'architecture': None}, {'architecture': {'num_layers': 2}},
    {'arrays': None}, {'arrays': {'embed/table': {}}}, {'metadata': 1},
    {'format_version': 'one'}, {'format_version': 0}, {'format_version': True},
    {'arrays': {'embed/table': {'dtype': 'float32', 'shape': [-1]}}},
    {'arrays': {'embed/table': {'dtype': 'object', 'shape': [1]}}}], ids=str)
def test_damaged_manifest(saved, changes):
  edit_manifest(saved, **changes)
  with pytest.raises(UserError, match='model.json: missing or damaged'):
    checkpoints.load_model(saved)


# A reader that Orbax abandons still reports to its closed event loop.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_every_damaged_byte_is_noticed(saved, tmp_path):
  """Cut or flipped, no file changes a loaded model in silence."""
  want = checkpoints.load_model(saved)
  noticed = 0
  files = [path.relative_to(saved) for path in saved.rglob('*')
           if path.is_file() and path.stat().st_size]
  for number, file in enumerate(files):
    folder = tmp_path / f'{number}'
    shutil.copytree(saved, folder)
    contents = bytearray((folder / file).read_bytes())
    middle = len(contents) // 2
    for damaged in (contents[:middle], contents[:middle] + bytes(
        [contents[middle] ^ 1]) + contents[middle + 1:]):
      (folder / file).write_bytes(damaged)
      try:
        have = checkpoints.load_model(folder)
      except UserError:
        noticed += 1
      else:  # Files that Orbax does not read back.
        assert_same_arrays(have.params, want.params)
  assert noticed >= 8  # Twice model.json, manifest, metadata and data.


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('name', ['arrays', 'tokenizer.json'])
def test_missing_parts(saved, name):
  path = saved / name
  shutil.rmtree(path) if path.is_dir() else path.unlink()
  with pytest.raises(UserError, match=name):
    checkpoints.load_model(saved)


def test_progress_comes_back(tmp_path):
  slot = {'gate': jnp.ones((2, 3)), 'down': jnp.zeros((2, 3), jnp.bfloat16)}
  tree = {
      'slot': slot, 'moments': optax.adamw(1e-3).init(slot),
      'mask': np.array([True, False]), 'step': jnp.int32(7), 'pair': (1.5, 2),
      'none': None, 'empty': np.zeros((0, 4), np.int32)}
  checkpoints.save_progress(tmp_path / 'p', 'seed', tree, {'cycle': [1, 2]})
  progress = checkpoints.load_progress(tmp_path / 'p')
  assert (progress.step, progress.metadata) == ('seed', {'cycle': [1, 2]})
  assert progress.tree['moments']['0']['mu']['gate'].shape == (2, 3)
  assert progress.tree['pair'] == {'0': 1.5, '1': 2}
  tree['pair'] = np.float64(1.5), np.int64(2)
  like = jax.eval_shape(lambda: {'slot': slot, 'moments': tree['moments']})
  part = {name: progress.tree[name] for name in like}
  assert_same_arrays(
      checkpoints.with_structure(like, part),
      {name: tree[name] for name in like})
  assert_same_arrays(
      {name: progress.tree[name] for name in ('mask', 'step', 'empty')},
      {name: np.asarray(tree[name]) for name in ('mask', 'step', 'empty')})


def test_progress_of_another_shape(tmp_path):
  checkpoints.save_progress(
      tmp_path / 'p', 1, {'a': np.ones(2), 'b': np.ones(2)}, {})
  tree = checkpoints.load_progress(tmp_path / 'p').tree
  spec = jax.ShapeDtypeStruct((2,), jnp.float32)
  with pytest.raises(UserError) as error:
    checkpoints.with_structure({'a': spec, 'c': spec}, tree, 'p')
  message = str(error.value)
  assert 'a: have float64[2], want float32[2]' in message
  assert 'b: have float64[2], want nothing' in message
  assert 'c: have nothing, want float32[2]' in message


def test_empty_progress(tmp_path):
  checkpoints.save_progress(tmp_path / 'p', 0, {}, {})
  assert checkpoints.load_progress(tmp_path / 'p').tree == {}


def test_keys_with_a_slash(tmp_path):
  with pytest.raises(ValueError, match='a/b: the keys'):
    checkpoints.save_progress(tmp_path / 'p', 0, {'a/b': np.ones(1)}, {})


_KILLS = 10
_TINY = ModelConfig(
    vocab_size=4, num_layers=1, embed_dim=2, mlp_dim=2, num_heads=1,
    num_kv_heads=1, head_dim=2, max_context=8)


def _save_forever(folder: pathlib.Path, tokenizer_folder, first, finished):
  """Saves version after version; `finished` is the last complete one."""
  from sleepjax.data.tokenizer import Tokenizer
  tokenizer = Tokenizer.from_folder(tokenizer_folder)
  abstract = transformer.abstract_params(_TINY)
  n = first
  while True:
    params = jax.tree.map(
        lambda x, n=n: np.full(x.shape, n, x.dtype), abstract)
    checkpoints.save_model(
        folder / 'model', _TINY, params, tokenizer, {'n': n})
    checkpoints.save_progress(
        folder / 'progress', n, params, {'n': n})
    finished.value = n
    n += 1


@pytest.mark.slow
def test_killed_at_any_moment(byte_tokenizer, tmp_path):
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload([checkpoints.__name__])
  byte_tokenizer.save(tmp_path / 'tokenizer')
  moments = random.Random(0)
  finished = context.RawValue('i', 0)

  def wait_for(version, process):
    while finished.value < version:
      assert process.is_alive()
      time.sleep(0.002)
    return time.monotonic()

  for _ in range(_KILLS):
    first = finished.value + 2  # One more than was begun.
    process = context.Process(target=_save_forever, daemon=True, args=(
        tmp_path, tmp_path / 'tokenizer', first, finished))
    process.start()
    started = wait_for(first, process)
    duration = wait_for(first + 1, process) - started
    time.sleep(moments.uniform(0, 1.5 * duration))
    process.kill()
    process.join()
    model = checkpoints.load_model(tmp_path / 'model')
    progress = checkpoints.load_progress(tmp_path / 'progress')
    for n, tree in ((model.lineage['n'], model.params),
                    (progress.step, progress.tree)):
      assert finished.value <= n <= finished.value + 1
      assert all((leaf == n).all() for leaf in jax.tree.leaves(tree))
