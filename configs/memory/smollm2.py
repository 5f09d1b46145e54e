"""The same question for a pretrained model: SmolLM2-135M reads 64,000 tokens.

  python -m experiments.read_stream --config=configs/memory/smollm2.py \
      --workdir=DIR

Attention 1,000 tokens, MLP levels 4k | 16k | 32k, of which the two in front of
the model's own MLP learn awake: 64 + 16 + 4 sleeps. Question, success and stop
rule are those of `configs/memory/million.py`.
"""

from ml_collections import ConfigDict

from configs.memory import million


def get_config() -> ConfigDict:
  c = million.get_config()
  c.model = 'smollm2-135m-instruct'
  c.tokens = 64_000
  c.save_every = 8000
  c.continuum.wake.chunks = (1000, 4000, 16_000, 32_000)
  c.continuum.wake.learning_rates = (0.1, 0.03, 0.0)
  s = c.continuum.sleep
  s.stretches.update(dreams=4, held_out=4, prompt_tokens=16, dream_tokens=16)
  s.seeding.update(steps=3, rows=4, warmup_steps=0)
  return c
