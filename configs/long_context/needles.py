"""Do levels tell keys apart? Eight facts of one attribute in 2k to 64k tokens.

  python -m experiments.long_context \
      --config=configs/long_context/needles.py:2048 --workdir=DIR

The text after the colon is the number of tokens, from 2048 up in windows of
128. All needles are of one kind, such as the homes of eight people, hidden
among long-known sentences of the same form, so that nothing but the name says
which value is asked for. Arms, and how they are made, are those of
`configs/long_context/small.py`: levels, nothing learnt, and with a text in view
`window`, `truncated` and `bm25`.

Stop rule: `bm25` answers less than 90 % of what was told more than four windows
before the end, and the model cannot tell the keys apart when it sees them.

Success: at every length that is run `sleep_1` answers at least 80 % of that,
and 50 points more than `truncated` wherever the stream is four times as long as
the context.
"""

from ml_collections import ConfigDict

from configs.long_context import small
from sleepjax.errors import UserError

_LEAST = 2048


def get_config(tokens: str = '2048') -> ConfigDict:
  c = small.get_config()
  window = c.stream.window
  if not tokens.isdigit() or int(tokens) < _LEAST or int(tokens) % window:
    raise UserError(f'configs/long_context/needles.py:{tokens}: expected a '
                    f'number of tokens, {_LEAST} or more, a multiple of '
                    f'{window}.')
  c.stream.windows = int(tokens) // window
  c.stream.alike = c.stream.facts
  c.stream.distances = tuple(
      2 ** n for n in range((c.stream.windows // 2).bit_length()))
  c.arms = ('sleep_1', 'sleep_3', 'nothing', 'window', 'truncated', 'bm25')
  c.seeds = (0, 1, 2)
  return c
