import jax
import numpy as np
import pytest

from sleepjax.models import transformer
from sleepjax.sampling import rows


def test_pad_left():
  ids, mask = rows.pad_left([[1, 2, 3], [4], []], 3)
  assert ids.tolist() == [[1, 2, 3], [0, 0, 4], [0, 0, 0]]
  assert mask.tolist() == [
      [True, True, True], [False, False, True], [False, False, False]]
  assert (ids.dtype, mask.dtype) == (np.int32, bool)


def test_pad_right():
  ids, mask = rows.pad_right([[1, 2, 3], [4], []], 4)
  assert ids.tolist() == [[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]]
  assert mask.tolist() == [
      [True, True, True, False], [True, False, False, False], [False] * 4]


def test_token_0_is_a_token():
  assert rows.pad_left([[0]], 2)[1].tolist() == [[False, True]]


@pytest.mark.parametrize('pad', [rows.pad_left, rows.pad_right])
def test_too_long_names_the_row(pad):
  with pytest.raises(ValueError, match='sequence 1 has 3 tokens, more than'):
    pad([[1], [1, 2, 3]], 2)


@pytest.mark.parametrize('length, multiple, want', [
    (0, 32, 32), (1, 32, 32), (32, 32, 32), (33, 32, 64), (64, 32, 64),
    (17, 16, 32)])
def test_bucket(length, multiple, want):
  assert rows.bucket(length, multiple) == want


@pytest.mark.parametrize('length, most, want', [
    (24, 24, 24), (13, 24, 24), (12, 24, 12), (7, 24, 12), (6, 24, 6),
    (4, 24, 6), (3, 24, 3), (1, 24, 1), (0, 24, 1), (25, 24, 48), (8, 12, 12),
    (3, 5, 3), (1, 1, 1)])
def test_halved(length, most, want):
  assert rows.halved(length, most) == want


@pytest.fixture(scope='module')
def batch():
  prompts = [[5, 6, 7, 8, 9], [10, 11], [12]]
  completions = [[20], [21, 22, 23, 24], [25, 26]]
  return prompts, completions


def test_completion_hidden_predicts_the_completion(plain, batch):
  """Of every row as if it were alone: the state before each new token."""
  config, params = plain
  prompts, completions = batch
  have = jax.jit(rows.completion_hidden, static_argnums=0)(
      config, params, rows.Rows(*rows.pad_left(prompts, 6),
                                *rows.pad_right(completions, 4)))
  assert have.shape == (3, 4, config.embed_dim)
  read = jax.jit(transformer.hidden_states, static_argnums=0)
  for row, (prompt, completion) in enumerate(zip(prompts, completions)):
    # One compiled length for all rows: tokens that follow are not seen.
    ids = np.full((1, 12), 60)
    ids[0, :len(prompt + completion)] = prompt + completion
    alone, _ = read(config, params, ids)
    first, n = len(prompt) - 1, len(completion)
    np.testing.assert_allclose(
        have[row, :n], alone[0, first:first + n], atol=1e-5)


@pytest.mark.parametrize('prompts, shared', [
    ([[1, 2, 3], [1, 2, 4]], [1, 2]),
    ([[1, 2], [1, 2]], [1]),  # Something must be left of every prompt.
    ([[1, 2, 3], [1, 2]], [1]),
    ([[5], [6]], []),
    ([[7, 8, 9]], [7, 8]),
    ([[1, 9], [1, 2, 3], [1, 2, 4]], [1])], ids=str)
def test_shared_prefix(prompts, shared):
  assert rows.shared_prefix(prompts) == shared


def test_prompt_buckets_are_few():
  sizes = {rows.prompt_bucket([[0] * n]) for n in range(1, 300)}
  assert sizes == {16, 32, 48, 64, 96, 128, 192, 256, 320}
