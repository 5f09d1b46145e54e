import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepjax.memory import clock


@st.composite
def chunk_lists(draw):
  chunks = [draw(st.integers(1, 7))]
  for factor in draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)):
    chunks.append(chunks[-1] * factor)
  return tuple(chunks)


@settings(max_examples=200, deadline=None)
@given(chunk_lists(), st.integers(0, 500))
def test_sleeps_are_those_of_the_formula(chunks, num_tokens):
  """Σ⌊N/C⌋, each with its right pair, slow before fast."""
  assert clock.check_chunks(chunks) == chunks
  counted = {}
  for now in range(num_tokens + 1):
    pairs = clock.due(now, chunks)
    senders = [sender for sender, _ in pairs]
    assert senders == sorted(senders, reverse=True)
    for sender, receiver in pairs:
      assert now > 0 and now % chunks[sender] == 0
      assert receiver == (
          None if sender == len(chunks) - 1 else sender + 1)
      counted[sender] = counted.get(sender, 0) + 1
  for level, chunk in enumerate(chunks):
    assert counted.get(level, 0) == num_tokens // chunk
  assert clock.sleeps(num_tokens, chunks) == sum(
      n for level, n in counted.items() if level < len(chunks) - 1)


def test_the_papers_lists():
  """1k | 5k | 10k under a context of 500, and 512 | 2k | 8k under 256."""
  chunks = (500, 1000, 5000, 10_000)
  assert clock.due(500, chunks) == ((0, 1),)
  assert clock.due(6000, chunks) == ((1, 2), (0, 1))
  assert clock.due(10_000, chunks) == ((3, None), (2, 3), (1, 2), (0, 1))
  assert clock.due(10_250, chunks) == clock.due(0, chunks) == ()
  assert clock.sleeps(100_000, chunks) == 200 + 100 + 20
  assert clock.sleeps(8192, (256, 512, 2048, 8192)) == 32 + 16 + 4


@pytest.mark.parametrize('chunks, message', [
    ((), 'must name the positive chunk sizes'),
    ((512,), 'of one MLP level at least'),
    ((0, 4), 'must name the positive chunk sizes'),
    ((512, 1000), '1000 must be a multiple of 512'),
    ((512, 256), '256 must be a multiple of 512')])
def test_chunks_are_checked(chunks, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    clock.check_chunks(chunks)
