"""Rows of grids are what the tokenizer makes of the same conversation."""

import dataclasses

import numpy as np
import pytest

from sleepjax.data import grid_prompts, grids, self_edits
from sleepjax.data.grid_tokenizer import build_tokenizer
from sleepjax.data.grids import GridConfig, Pair
from sleepjax.pretraining import grid_batches
from sleepjax.pretraining.grid_batches import GridRows

ROWS = GridRows(rows=12, length=150, edit_share=0.5)


def pairs_of(text):
  """(pairs, the last reply) of a row that the tokenizer has read back."""
  *turns, last = text.removesuffix('<end>').split('<end>')
  split = [turn.removeprefix('<user>').split('<assistant>')
           for turn in [*turns, last]]
  grids_of = [Pair(*map(grids.read_grid, turn)) for turn in split
              if turn[0] != '?']
  return grids_of, split[-1]


def test_rows_are_conversations_whose_replies_are_learnt():
  tokenizer = build_tokenizer()
  made, with_edit = grid_batches.sample_rows(ROWS, 3), 0
  again = grid_batches.sample_rows(ROWS, 3)
  for one, other in zip(made, again, strict=True):
    np.testing.assert_array_equal(one, other)
  assert (made.tokens != grid_batches.sample_rows(ROWS, 4).tokens).any()
  for tokens, turn, weight in zip(*made, strict=True):
    n = int((turn == 0).sum())
    assert (turn[:n] == 0).all() and (turn[n:] == -1).all()
    text = ''.join(map(tokenizer.backend.id_to_token, tokens[:n].tolist()))
    pairs, last = pairs_of(text)
    ids, learnt = grid_prompts.conversation(tokenizer, pairs)
    if last[0] == '?':
      assert self_edits.read(last[1]) in self_edits.EVERY
      reply = grid_prompts.reply(tokenizer, last[1])
      asked = grid_prompts.prompt(tokenizer, pairs, '?')
      learnt += [False] * (len(asked) - len(ids)) + [True] * len(reply)
      ids, with_edit = asked + reply, with_edit + 1
    assert ids == tokens[:n].tolist()
    assert np.array(learnt, float).tolist() == weight[:n].tolist()
    assert not weight[n:].any()
  assert 0 < with_edit < ROWS.rows


def test_a_row_shows_one_rule():
  """With single primitives alone, one of them makes every output."""
  tokenizer = build_tokenizer()
  settings = dataclasses.replace(ROWS, single_share=1.0, edit_share=0.0)
  made = grid_batches.sample_rows(settings, 0)
  for tokens, turn, _ in zip(*made, strict=True):
    text = ''.join(map(tokenizer.backend.id_to_token,
                       tokens[turn == 0].tolist()))
    pairs, _ = pairs_of(text)
    assert len(pairs) == 5
    assert any(all(np.array_equal(rule(pair.input), pair.output)
                   for pair in pairs) for rule in every_rule())


def every_rule():
  """All primitives with all colours."""
  for name, (_, colours) in grids.PRIMITIVES.items():
    for chosen in np.ndindex(*(grids.COLOURS,) * colours):
      yield grids.Rule((grids.Step(name, chosen),))


def test_what_is_too_long_is_cut_off():
  cut = grid_batches.packed_rows(
      [([5, 6, 7], [0.0, 1.0, 1.0]), ([8], [0.5])], 2)
  assert cut.tokens[0].tolist() == [5, 6] and cut.tokens[1][0] == 8
  assert cut.turn.tolist() == [[0, 0], [0, -1]]
  assert cut.weight.tolist() == [[0.0, 1.0], [0.5, 0.0]]


def test_shares_are_shares():
  with pytest.raises(ValueError, match='edit_share=2 must lie between'):
    GridRows(edit_share=2)
  assert GridRows().grids == GridConfig(shown=4, asked=1)
