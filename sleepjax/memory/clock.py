"""When memory levels hand over to each other.

A model has memory levels, fastest first: attention, whose chunk is its context,
then the MLP levels of its blocks. Level ℓ is due whenever the number of tokens
read is a multiple of its chunk C_ℓ (arXiv 2606.03979, section 3.2).
"""

from collections.abc import Sequence


def check_chunks(chunks: Sequence[int]) -> tuple[int, ...]:
  """The chunk sizes in tokens, fastest level first, if they can be used.

  Raises:
    ValueError: fewer than two, or one that is not a positive multiple of the
      one before it (section 2.1 assumes that).
  """
  chunks = tuple(chunks)
  if len(chunks) < 2 or chunks[0] < 1:
    raise ValueError(
        f'chunks={chunks} must name the positive chunk sizes in tokens of '
        'attention and of one MLP level at least.')
  for fast, slow in zip(chunks, chunks[1:], strict=False):
    if slow < fast or slow % fast:
      raise ValueError(
          f'chunks={chunks}: {slow} must be a multiple of {fast}, the chunk of '
          'the level before it.')
  return chunks


def due(tokens_read: int,
        chunks: Sequence[int]) -> tuple[tuple[int, int | None], ...]:
  """The (sender, receiver) pairs due after so many tokens, slow before fast.

  A slow level is consolidated and its slots are pruned before it receives a new
  slot from its faster neighbour, which would otherwise be pruned at once.

  Args:
    tokens_read: by the whole stream so far; nothing is due at 0.
    chunks: see `check_chunks`.

  Returns:
    Pairs of memory levels, 0 for attention. The slowest level has no receiver:
    its pair is (last, None), an update without a sleep.
  """
  if not tokens_read:
    return ()
  last = len(chunks) - 1
  return tuple((level, level + 1 if level < last else None)
               for level in range(last, -1, -1)
               if tokens_read % chunks[level] == 0)


def sleeps(num_tokens: int, chunks: Sequence[int]) -> int:
  """Σ ⌊N / C_ℓ⌋ over the levels that have a slower one: sleeps in N tokens."""
  return sum(num_tokens // chunk for chunk in chunks[:-1])
