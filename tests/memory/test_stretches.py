"""Stretches of a stream: those that are learnt, and those that measure."""

import re

import jax
import numpy as np
import pytest

from sleepjax.memory import stretches
from sleepjax.memory.material import Holder
from sleepjax.memory.stretches import StretchConfig, Stretches
from tests.conftest import CONFIG, random_params


@pytest.mark.parametrize('number, held', [(40, 8), (23, 5), (16, 1)])
def test_no_place_is_both_learnt_and_held_out(number, held):
  """Of n − 15 places a quarter, rounded up, and never all."""
  settings = StretchConfig(dreams=200)
  learnt, unseen = stretches.places(number, settings, jax.random.key(1))
  places = range(number - 15)
  if number == 16:
    assert not len(unseen) and set(learnt) == {0}
    return
  assert len(set(unseen)) == min(held, -(-len(places) // 4))
  assert not set(unseen) & set(learnt)
  assert set(unseen) | set(learnt) == set(places)


def test_a_stream_shorter_than_a_stretch():
  with pytest.raises(ValueError, match=re.escape('prompt_tokens=16')):
    stretches.places(15, StretchConfig(), jax.random.key(0))


def test_rows_are_stretches_and_held_out_ones_are_others():
  params = random_params(CONFIG)
  tokens = np.arange(30) % 61
  asking = Stretches(
      StretchConfig(dreams=6, prompt_tokens=4, dream_tokens=3),
      rehearsal=[[7, 8, 9]], retention=[[5, 6]])
  holder = Holder(CONFIG, params, params, (), tokens)
  material = asking.write(holder, jax.random.key(0))
  rows = lambda examples: {
      tuple(prompt[mask].tolist()) for prompt, mask in zip(
          examples.student.prompt, examples.student.prompt_mask, strict=True)}
  learnt, unseen = rows(material.examples), rows(material.held_out)
  of_stream = {tuple(tokens[i:i + 4].tolist()) for i in range(27)}
  assert learnt <= of_stream and unseen <= of_stream and not learnt & unseen
  assert len(material.examples) == 6 and len(unseen) == 7
  assert rows(material.rehearsal) == {(7, 8, 9)}
  assert rows(material.retention) == {(5, 6)}
  again = asking.recite(holder, jax.random.key(0))
  assert again.rehearsal is None and again.retention is None
