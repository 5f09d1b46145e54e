"""Single lines that go on from many prompts, which share most of their text.

A request about a sentence begins with examples that all requests have, and with
the sentence, that all requests about it have. Both are read once; on a CPU
reading them for every row would take longer than writing.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sleepjax.mesh.sharding import to_host
from sleepjax.models import transformer
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib
from sleepjax.writing.dreamer import Dreamer


@functools.partial(jax.jit, static_argnums=0)
def _read_each(config, params, ids_GxS, mask_GxS, of_B, segments):
  """Keys and values of G beginnings, those that each of B rows goes on from."""
  _, segment = transformer.hidden_states(
      config, params, ids_GxS, mask_GxS, segments)
  # Of layers apart the batch is the first axis, of stacked ones the second.
  rows = lambda x: jnp.take(
      x, of_B, axis=0 if isinstance(segment.k, tuple) else 1)
  return Segment(*jax.tree.map(rows, (segment.k, segment.v)),
                 segment.mask[of_B])


def write_lines(dreamer: Dreamer, prompts: Sequence[str],
                groups: Sequence[int], key, temperature: float,
                tokens: int) -> list[str]:
  """One line that goes on from each prompt, of at most so many tokens.

  Args:
    dreamer: who writes.
    prompts: texts, not messages.
    groups: of each prompt, the number of its group; prompts of a group begin
      alike.
    key: PRNG key.
    temperature, tokens: of the lines.
  """
  if not prompts:
    return []
  s, tokenizer = dreamer.settings, dreamer.chat.tokenizer
  line_end = tokenizer.encode('\n')
  stops = (*tokenizer.stop_ids, *(line_end if len(line_end) == 1 else ()))
  ids = [tokenizer.encode_stream(text) for text in prompts]
  shared = rows_lib.worth_sharing(ids)
  segments = (context.read_prefix(
      dreamer.model.config, dreamer.model.params, shared),) if shared else ()
  ids = [i[len(shared):] for i in ids]
  starts = {g: rows_lib.shared_prefix([i for i, of in zip(
      ids, groups, strict=True) if of == g]) for g in groups}
  ends = [i[len(starts[g]):] for i, g in zip(ids, groups, strict=True)]
  S, P = (rows_lib.bucket(max(map(len, some)), 16)
          for some in (starts.values(), ends))
  order = sorted(range(len(prompts)), key=lambda i: groups[i])
  lines = [''] * len(prompts)
  for start in range(0, len(order), s.batch_rows):
    which = order[start:start + s.batch_rows]
    rows = rows_lib.halved(max(len(which), -(-s.batch_rows // 4)),
                           s.batch_rows)
    filled = which + which[:1] * (rows - len(which))
    read = list(dict.fromkeys(groups[i] for i in filled))
    count = rows_lib.halved(len(read), s.batch_rows)
    begun = _read_each(
        dreamer.model.config, dreamer.model.params, *rows_lib.pad_right(
            [starts[g] for g in read + read[:1] * (count - len(read))], S),
        jnp.asarray([read.index(groups[i]) for i in filled]), segments)
    rollout = sampler.jitted_sample(
        dreamer.model.config, dreamer.model.params,
        *rows_lib.pad_left([ends[i] for i in filled], P),
        jax.random.fold_in(key, start), sampler.Until(tokens, stops),
        method=sampler.Sampling(temperature), segments=(*segments, begun))
    written, mask = map(to_host, (rollout.tokens, rollout.mask))
    for row, i in enumerate(which):
      lines[i] = tokenizer.decode(written[row][mask[row]].tolist())
    dreamer.report(int(mask[:len(which)].sum()))
  return lines
