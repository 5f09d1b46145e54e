r"""Qwen2.5-Coder-0.5B-Instruct sleeps on one document, by the rows of `facts`.

  python -m experiments.consolidate \
      --config=configs/consolidate/qwen2p5_coder_0p5b.py \
      --config.model=FILE.gguf \
      --document=FILE --questions=FILE.json --workdir=DIR

FILE.gguf is any file of the model, or its Hugging Face folder. A measuring
configuration: nothing of the project depends on the model.

Question. Does a stronger model learn from a night what its text says? SmolLM2
answers about a fifth of the questions about a passage in view, this model most
of them, so that its own verified questions are fewer wrong and there is more to
keep.

Criterion. On five passages of SQuAD's `train`, right answers closed book after
the night, beside those before it and with the passage in view; descriptive, no
test.

Not run yet: there are no numbers. The slot is open in the upper half of the 24
layers, as in `facts` (15 of 30 there); everything else is as there, and neither
rate nor epochs were chosen on this model.
"""

from ml_collections import ConfigDict

from configs.consolidate import facts


def get_config() -> ConfigDict:
  c = facts.get_config()
  c.model = 'qwen2.5-coder-0.5b-instruct-q4_k_m.gguf'
  c.sleep.slot_layers = tuple(range(12, 24))
  c.sleep.writing.ask.rounds = 2  # It asks and verifies, too.
  c.sleep.seeding.divergence.chunk_rows = 64  # 151,936 tokens: 39 MB of logits.
  return c
