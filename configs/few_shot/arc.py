r"""ARC-AGI-1 by SEAL's protocol with Llama-3.2-1B-Instruct, for an accelerator.

  python -m experiments.few_shot --config=configs/few_shot/arc.py \
      --config.model=FOLDER --workdir=DIR

Not run here. FOLDER has the weights (hf download
meta-llama/Llama-3.2-1B-Instruct). Tasks are the 12 easy ones on which SEAL
(arXiv 2506.10943) trains and the 10 on which it is tested; it leaves one and
two of them out as not valid, and prints 29 of 40 answers of 8 tasks by 5
self-edits, where this asks each task once a seed: five seeds are 50 answers and
more, of tasks with two tests.

As there: 15 self-edits of each of 11 tasks, greedy answers and votes of
augmentations. Unlike there, fine-tuning is of all weights with AdamW in place
of LoRA of rank 128, by 375 updates of two augmented tasks at most, of which all
outputs are learnt; a self-edit says augmentations, rate and length in three
words in place of a JSON tool configuration; and one answer counts, not the
better of two. The stop rule asks tasks of the training list, on which writers
are trained as well.
"""

from ml_collections import ConfigDict

from configs.few_shot import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.model = 'llama-3.2-1b-instruct'
  c.data = 'arc_agi1/seal'
  c.seeds = (0, 1, 2, 3, 4)
  c.mesh = ConfigDict({'data': 1, 'fsdp': -1, 'tensor': 1})

  b = c.bed
  b.tasks, b.train, b.choice = 10, 11, 11
  b.votes, b.colours = 16, 10
  b.prompt_tokens, b.conversation_tokens, b.reply_tokens = 6144, 6144, 1024
  b.batch_rows, b.rows = 4, 2
  b.rates = (1e-5, 3e-5, 1e-4)
  b.slot_rates = (5e-4, 1.5e-3, 5e-3)
  b.updates = (60, 375)
  w = c.writer
  w.ask = (
      'Do not answer yet. How would you learn this task from its examples? '
      'Reply with three words and two commas: none, turned, coloured or both, '
      'for how examples are changed; slow, middle or fast; short or long. For '
      'instance: both,middle,long')
  w.temperature = 0.8
  w.updates, w.rows, w.rate = 80, 5, 1e-5
  s = c.sleep
  s.matmul_dtype = 'bfloat16'
  s.slot_rank = 64
  s.seeding.rows_at_once = 1
  return c
