"""Grids as a conversation: every input is asked, every output is the reply.

Earlier turns are the examples in view. So one form serves a model that is
trained on grids alone and one that follows instructions.
"""

from collections.abc import Sequence

from sleepjax.data.grids import Grid, Pair, write_grid
from sleepjax.data.tokenizer import Tokenizer


def turns(pairs: Sequence[Pair]) -> list[dict[str, str]]:
  """The messages of pairs."""
  return [{'role': role, 'content': write_grid(grid)} for pair in pairs
          for role, grid in zip(('user', 'assistant'), pair, strict=True)]


def prompt(tokenizer: Tokenizer, shown: Sequence[Pair], asked: Grid | str
           ) -> list[int]:
  """Token ids up to where the reply to a grid, or a text, begins."""
  content = asked if isinstance(asked, str) else write_grid(asked)
  return tokenizer.encode(tokenizer.render_chat(
      [*turns(shown), {'role': 'user', 'content': content}]))


def reply(tokenizer: Tokenizer, content: Grid | str) -> list[int]:
  """Token ids of a reply, with what ends it."""
  text = content if isinstance(content, str) else write_grid(content)
  return [*tokenizer.encode(text), tokenizer.stop_ids[0]]


def conversation(tokenizer: Tokenizer, pairs: Sequence[Pair]
                 ) -> tuple[list[int], list[bool]]:
  """(token ids of all pairs, which of them belong to an output)."""
  ids, learnt = [], []
  for number, pair in enumerate(pairs):
    before = prompt(tokenizer, pairs[:number], pair.input)
    output = reply(tokenizer, pair.output)
    # Between two turns a template may write more than the first one's end.
    learnt += [False] * (len(before) - len(learnt)) + [True] * len(output)
    ids = before + output
  return ids, learnt
