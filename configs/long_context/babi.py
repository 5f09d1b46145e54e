"""BABILong's form: stories of bAbI, or needles, hidden in 2k to 64k tokens.

  python -m experiments.long_context \
      --config=configs/long_context/babi.py:qa1-2048 --workdir=DIR

The text after the colon is what is hidden, `qa1`, `qa2`, `qa3` or `needles`
(four numbers on things, each asked for), and the length of every text in
tokens, whole windows of 512. All sentences of a story stand in order among
sentences of books, and the question comes at the end. Twenty texts a seed, of
the test split of 1,000 questions; any pretrained model reads them. Arms:

* `nothing`: the question alone; `window`, the last window in view; `truncated`,
  as much of the end as the context holds; `bm25`, as many windows as the answer
  follows from sentences;
* `sleep_1`, `sleep_3`: one and three MLP levels that are asked what they read
  and hand it over. Every text is a life of its own, so this is for an
  accelerator.

Stop rule: with everything in view (`truncated` at 2,048 tokens) less than 60 %
is right, and the model cannot do the task; train or take another.

Success: beyond the context `sleep_3` is 10 points above `truncated`, intervals
apart.
"""

import re

from ml_collections import ConfigDict

from configs.long_context import small
from sleepjax.errors import UserError
from sleepjax.writing.dreamer import DreamConfig

_WINDOW = 512


def get_config(what: str = 'qa1-2048') -> ConfigDict:
  match = re.fullmatch(r'(qa[123]|needles)-(\d+)', what)
  if match is None or not int(match[2]) or int(match[2]) % _WINDOW:
    raise UserError(
        f'configs/long_context/babi.py:{what}: expected what is hidden and a '
        f'number of tokens, a multiple of {_WINDOW}, such as qa1-2048 or '
        'needles-4096.')
  kind, tokens = match[1], int(match[2])
  c = small.get_config()
  c.model = 'smollm2-135m-instruct'
  c.bed = 'haystack'
  c.rehearsal_texts = 0  # Those that there are tell of the tiny world.
  c.stream = ConfigDict(dict(
      kind=kind, tokens=tokens, window=_WINDOW, texts=20,
      book='gutenberg/gutenberg_8books.tar.xz',
      found=int(kind[2]) if kind != 'needles' else 1))
  q, default = c.asking, DreamConfig()
  q.dreams.openings = ('What', 'Where', 'Who')
  q.dreams.question_prompt = default.question_prompt
  q.dreams.prompt_tokens = default.prompt_tokens
  q.dreams.completion_tokens = default.completion_tokens
  q.recall_prompt = 'Tell me what you have read.'
  q.memory_prompt = 'Ask a question.'

  k = c.continuum
  k.slot_rank = 64
  k.sleep.seeding.learning_rate = 1e-3
  levels = lambda *chunks: {'continuum': {
      'level_dims': (256,) * (len(chunks) - 1),
      'wake': {'chunks': (_WINDOW, *chunks),
               'learning_rates': (0.0,) * len(chunks)}}}
  c.changes = ConfigDict(dict(
      sleep_1=levels(8192),
      sleep_3=levels(1024, 4096, 8192),
      nothing={'read': 'nothing'},
      window={'read': 'window'},
      truncated={'read': 'truncated'},
      bm25={'read': 'bm25'}))
  c.arms = 'sleep_1', 'sleep_3', 'nothing', 'window', 'truncated', 'bm25'
  c.seeds = (0, 1, 2)
  return c
