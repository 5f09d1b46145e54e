"""Arrays in files: rounding, sizes, and what transformers wants beside them."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from sleepjax.errors import UserError
from sleepjax.models import tensor_files

TENSORS = {'a': np.arange(6, dtype=np.float32).reshape(2, 3),
           'b': np.full(4, 1 / 3, np.float32),
           'c': np.ones(2, np.float32)}


def test_entries_are_rounded_to_the_nearest():
  rounded = tensor_files.rounded(TENSORS, 'bfloat16')
  assert {t.dtype for t in rounded.values()} == {np.dtype(ml_dtypes.bfloat16)}
  # Eight bits of 1/3: 0.01010101|0101… rounds up to 171 / 512.
  assert float(rounded['b'][0]) == 171 / 512
  np.testing.assert_array_equal(rounded['a'].astype(np.float32), TENSORS['a'])
  half = tensor_files.rounded(TENSORS, 'float16')['b']
  assert float(half[0]) == 1365 / 4096


def test_what_float16_cannot_hold_is_refused():
  with pytest.raises(UserError, match='big: its largest entry, 7e.04'):
    tensor_files.rounded({'big': np.float32([1, -7e4])}, 'float16')
  assert tensor_files.rounded({'big': np.float32([7e4])}, 'bfloat16')
  with pytest.raises(UserError, match="dtype='int8' must be one of float32"):
    tensor_files.rounded(TENSORS, 'int8')


@pytest.mark.parametrize('most, groups', [
    (1000, ['abc']), (40, ['ab', 'c']), (24, ['a', 'bc']),
    (1, ['a', 'b', 'c'])])
def test_groups_stay_under_a_size(most, groups):
  found = tensor_files.shards(TENSORS, most)
  assert [''.join(group) for group in found] == groups


def test_an_index_says_which_file_has_what(tmp_path):
  names = tensor_files.write(tmp_path, TENSORS, 40)
  assert names == ['model-00001-of-00002.safetensors',
                   'model-00002-of-00002.safetensors']
  index = json.loads((tmp_path / 'model.safetensors.index.json').read_text())
  assert index['metadata']['total_size'] == 48
  assert index['weight_map'] == {'a': names[0], 'b': names[0], 'c': names[1]}
  for name, file in index['weight_map'].items():
    np.testing.assert_array_equal(
        safetensors.numpy.load_file(tmp_path / file)[name], TENSORS[name])


def test_one_file_has_no_index(tmp_path):
  assert tensor_files.write(tmp_path, TENSORS, 48) == ['model.safetensors']
  assert [p.name for p in tmp_path.iterdir()] == ['model.safetensors']
