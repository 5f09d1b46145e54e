"""Which files of a folder are read, and what is said about the others."""

import json
import logging
import pathlib
import shutil

import numpy as np
import pytest
import safetensors.numpy

from sleepjax.errors import UserError
from sleepjax.model import load_pretrained
from sleepjax.models import hf, hf_files

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
EMBED = 'model.embed_tokens.weight'
POINTER = ('version https://git-lfs.github.com/spec/v1\n'
           f'oid sha256:{"4d7a" * 16}\nsize 12345\n')


@pytest.fixture
def llama(tmp_path):
  folder = tmp_path / 'llama'
  shutil.copytree(GOLDEN / 'llama', folder)
  return folder


@pytest.fixture
def sharded(tmp_path):
  folder = tmp_path / 'qwen2'
  shutil.copytree(GOLDEN / 'qwen2', folder)
  return folder


def tensors_in(path):
  return safetensors.numpy.load_file(path)


def write_index(folder, **files):
  """Shards, name -> tensors, and the index that names them."""
  names = {}
  for name, tensors in files.items():
    safetensors.numpy.save_file(tensors, folder / f'{name}.safetensors')
    names |= dict.fromkeys(tensors, f'{name}.safetensors')
  (folder / hf_files.INDEX).write_text(json.dumps({'weight_map': names}))


def table(folder):
  return hf.load_hf(folder)[1]['embed']['table']


def test_the_single_file_goes_before_an_index(llama):
  """As in transformers: the index may be what an older save has left."""
  new = tensors_in(llama / 'model.safetensors')
  write_index(llama, old={name: array + 1 for name, array in new.items()})
  np.testing.assert_array_equal(table(llama), new[EMBED])
  files = load_pretrained(str(llama)).files
  assert [path.name for path in files.read] == ['model.safetensors']
  assert [path.name for path in files.left_out] == [
      hf_files.INDEX, 'old.safetensors']
  (llama / 'model.safetensors').unlink()
  np.testing.assert_array_equal(table(llama), new[EMBED] + 1)


def test_which_files_were_read_is_logged(llama):
  (llama / 'consolidated.safetensors').write_bytes(b'')
  (llama / 'pytorch_model.bin').write_bytes(b'')
  (llama / 'optimizer.pt').write_bytes(b'')
  lines, handler = [], logging.Handler()
  handler.emit = lambda record: lines.append(record.getMessage())
  logger = logging.getLogger('sleepjax.model')
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  try:
    load_pretrained(str(llama))
  finally:
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
  assert lines == [
      f'Read {llama}: model.safetensors; beside it, not read: '
      'consolidated.safetensors, pytorch_model.bin']


def test_shards_that_no_index_names_are_not_read(sharded):
  safetensors.numpy.save_file(
      {EMBED: np.zeros((1, 1), np.float32)},
      sharded / 'model-00003-of-00003.safetensors')
  files = load_pretrained(str(sharded)).files
  assert [path.name for path in files.read] == [
      'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
  assert [path.name for path in files.left_out] == [
      'model-00003-of-00003.safetensors']


def test_a_tensor_in_two_shards(llama):
  whole = tensors_in(llama / 'model.safetensors')
  (llama / 'model.safetensors').unlink()
  write_index(llama, a=whole, b={'model.norm.weight': whole[
      'model.norm.weight']})
  hf.load_hf(llama)
  write_index(llama, a=whole, b={'model.norm.weight': whole[
      'model.norm.weight'] + 1})
  with pytest.raises(UserError, match='model.norm.weight is in a.safetensors '
                     'and, with other values, in b.safetensors'):
    hf.load_hf(llama)


def without_weights(folder):
  (folder / 'model.safetensors').unlink()


@pytest.mark.parametrize('names, said', [
    (['model-00001-of-00002.safetensors'], 'download model.safetensors.index'),
    (['pytorch_model.bin'], r'Convert the PyTorch files there \(pytorch_model'),
    (['consolidated.00.pth'], 'Convert the PyTorch files'),
    (['consolidated.safetensors'], 'format of Meta or Mistral'),
    (['model.fp16.safetensors'], 'It has model.fp16.safetensors, which is not'),
    (['model.Q8_0.gguf'], 'name a .gguf file itself'),
    ([], 'Download all of the model')])
def test_folders_without_weights_that_we_read(llama, names, said):
  without_weights(llama)
  for name in names:
    (llama / name).write_bytes(b'')
  with pytest.raises(UserError, match=said) as error:
    load_pretrained(str(llama))
  assert str(error.value).startswith(f'{llama}: has no model.safetensors.')


@pytest.mark.parametrize('name, said', [
    ('adapter_config.json', 'is an adapter, not a model. Merge it'),
    ('adapter_model.safetensors', 'is an adapter, not a model. Merge it'),
    ('hf/config.json', 'Name the folder inside: .*/hf$'),
    ('snapshots/0ab/config.json', 'Name the folder inside: .*/snapshots/0ab$'),
    ('model.gguf', r'Name the file inside: .*/model\.gguf$'),
    ('params.json', 'format of Meta or Mistral'),
    ('model.json', 'experiments.export --checkpoint='),
    ('model/model.json', 'experiments.export --checkpoint='),
    ('readme.txt', 'Download all of the model')])
def test_folders_that_are_no_model(tmp_path, name, said):
  path = tmp_path / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text('{}')
  with pytest.raises(UserError, match=said) as error:
    load_pretrained(str(tmp_path))
  assert str(error.value).startswith(f'{tmp_path}/config.json: no such file')


def test_an_adapter_beside_a_model(llama):
  (llama / 'adapter_config.json').write_text('{}')
  with pytest.raises(UserError, match='adapter .* beside a model'):
    load_pretrained(str(llama))


@pytest.mark.parametrize('name', [
    'config.json', 'tokenizer.json', 'model.safetensors'])
def test_pointers_in_place_of_files(llama, name):
  (llama / name).write_text(POINTER)
  with pytest.raises(UserError, match='Git LFS pointer.*git lfs pull') as error:
    load_pretrained(str(llama))
  assert str(llama / name) in str(error.value)


def test_pointer_in_place_of_a_gguf_file(tmp_path):
  path = tmp_path / 'm.gguf'
  path.write_text(POINTER)
  with pytest.raises(UserError, match='Git LFS pointer'):
    load_pretrained(str(path))


def test_one_file_of_a_folder(llama):
  with pytest.raises(UserError, match=f'name its folder, {llama}'):
    load_pretrained(str(llama / 'model.safetensors'))


@pytest.mark.parametrize('dtype, number', [
    (np.float32, np.nan), (np.float32, -np.inf), (np.float16, np.inf),
    (np.float64, 1e300)])
def test_numbers_that_are_none(sharded, dtype, number):
  """Growth or a judge would be blamed for them."""
  path = sharded / 'model-00002-of-00002.safetensors'
  tensors = tensors_in(path)
  name = sorted(n for n in tensors if n.endswith('proj.weight'))[-1]
  tensors[name] = tensors[name].astype(dtype)
  tensors[name][1, 2] = number
  safetensors.numpy.save_file(tensors, path)
  with pytest.raises(UserError) as error:
    hf.load_hf(sharded)
  assert str(error.value).startswith(
      f'{path}: tensor {name} has 1 of {tensors[name].size:,} entries that are '
      'NaN or infinite in float32, the first at [1, 2].')


def test_large_numbers_are_read(llama):
  """Whose sum is infinite, and no entry."""
  path = llama / 'model.safetensors'
  tensors = tensors_in(path)
  tensors['model.norm.weight'][:] = 3e38
  safetensors.numpy.save_file(tensors, path)
  _, params = hf.load_hf(llama)
  assert (params['final_norm']['scale'] == np.float32(3e38)).all()


@pytest.mark.parametrize('change, said', [
    ({'vocab_size': 96}, 'vocab_size is 96, but the embedding has 97 rows'),
    ({'num_hidden_layers': 2},
     'num_hidden_layers is 2, but there are tensors of 3 layers'),
    ({'num_hidden_layers': 4},
     'num_hidden_layers is 4, but there are tensors of 3 layers')])
def test_numbers_of_config_json_that_are_wrong(llama, change, said):
  path = llama / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(UserError, match=said):
    hf.load_hf(llama)
