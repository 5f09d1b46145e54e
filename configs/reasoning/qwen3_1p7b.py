r"""Reasoning with Qwen3-1.7B by the protocol of OPSD, for an accelerator.

  pip install 'sleepjax[math]'
  python -m experiments.reasoning --config=configs/reasoning/qwen3_1p7b.py \
      --config.model=FOLDER --config.files.train=FILE.jsonl \
      --config.files.choice=FILE.jsonl --config.files.exam=FILE.jsonl \
      --workdir=DIR

Not run here. FOLDER has the weights (hf download Qwen/Qwen3-1.7B). Files have a
problem a line, {"problem": ..., "solution": ...}: at most 30,000 mathematical
ones of OpenThoughts for training, a few hundred others of it for choosing
rates, and AIME 2024, AIME 2025 or HMMT 2025, each 30 problems with "answer" in
place of a solution, for the exam.

As the paper's Table 5 and OPSD (arXiv 2601.18734) have it: AdamW at 5e-6, 32
rollouts of at most 1,024 tokens an update, 100 updates (GRPO 500), LoRA of rank
64 with alpha 128 on all matrices for arms without growth, gradient clipped at
0.1, forward KL, samples of 16 at temperature 1. Unlike there rollouts are
drawn at temperature 1 from the whole distribution, without a thought in front,
and the exam allows as many tokens as a rollout has, where OPSD's has 38,912.
Gradients are taken of four rows at a time.
"""

from ml_collections import ConfigDict

from configs.reasoning import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.model = 'qwen3-1.7b'
  c.files = ConfigDict({'train': 'openthoughts.jsonl', 'choice': 'choice.jsonl',
                        'exam': 'aime_2025.jsonl'})
  c.check = 'math_verify'
  c.whole = 'low_rank'
  c.seeds = (0, 1, 2, 3, 4)
  c.mesh = ConfigDict({'data': 1, 'fsdp': -1, 'tensor': 1})

  b = c.bed
  b.train, b.exam, b.choice = 3200, 30, 64
  b.batch_rows = 96
  b.teacher_prompt = (
      '{problem}\n\nA correct solution, for you alone:\n{solution}\n\nSolve '
      'the problem in your own words.')
  s = c.sleep
  s.answer_prompt = (
      '{question}\n\nReason step by step, and put your final answer within '
      '\\boxed{{}}.')
  s.low_rank = 64
  s.low_rank_scale = 2.0
  s.matmul_dtype = 'bfloat16'
  s.dreams.prompt_tokens = 4096
  s.dreams.completion_tokens = 1024
  s.dreams.batch_rows = 32
  q = s.seeding
  q.steps, q.rows, q.rows_at_once = 100, 32, 4
  q.clip_norm = 0.1
  c.tried = ConfigDict({name: (5e-6, 5e-5, 5e-4) for name in c.tried})
  c.rates = ConfigDict({name: 5e-6 for name in c.tried})
  return c
