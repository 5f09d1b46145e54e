"""Ten days and nights of a tiny model in a tiny world, offline.

  python -m experiments.quickstart --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.consolidate import smollm2


def get_config() -> ConfigDict:
  c = smollm2.get_config()
  del c.exam
  c.model = 'tiny-world'

  c.days = ConfigDict()
  c.days.days = 10
  c.days.facts = 8
  c.days.people = 5
  c.days.rehearsal_texts = 8
  c.days.remembered = 256
  c.days.base = True
  c.days.level_dim = 0

  c.sleep.answer_prompt = '{question}'
  c.sleep.context_tokens = 256
  c.sleep.slot_rank = 16
  c.sleep.rehearsal_per_text = 4
  c.sleep.rehearsal_tokens = 128
  c.sleep.rehearse_questions = True
  c.sleep.memories = 192
  c.sleep.memory_prompt = 'Ask a question.'
  c.sleep.matmul_dtype = 'float32'
  c.sleep.low_rank = 3  # About as many parameters as the slot.

  d = c.sleep.dreams
  d.question_prompt = 'Ask a question about this: {sentence}'
  d.openings = ('',)
  d.recall_prompt = 'Tell me a fact.'
  d.open_prompts = ()
  d.topic_prompt = 'Tell me a fact.'
  d.questions_per_opening = 12
  d.questions_in_all = 96
  d.answers_per_question = 1
  d.recalls_per_sentence = 2
  d.open_samples = 1
  d.held_out = 0  # Facts are independent: one kept from seeding is not learnt.
  d.question_temperature = 1.0
  d.prompt_tokens = 16
  d.completion_tokens = 12
  d.batch_rows = 64

  s = c.sleep.seeding
  s.steps = 80
  s.rows = 16  # A multiple of group_size.
  s.on_policy = 0.25
  s.rehearsal_rows = 6
  s.retention_rows = 32
  s.learning_rate = 1e-2
  s.divergence.chunk_rows = 1024

  r = c.sleep.dreaming
  r.dreams = 16
  r.dream_tokens = 12
  r.prompt_tokens = 16
  r.top_k = 4
  r.random = 2
  r.gradient_rows = 16
  r.inner_learning_rate = 1e-3
  r.outer_learning_rate = 3e-3
  r.rehearsed = 2
  r.generator_rank = 8
  r.generator_alpha = 16.0
  r.write_back_steps = 16
  r.write_back_learning_rate = 3e-3
  r.write_back_dreams = 1
  r.questions = 24
  return c
