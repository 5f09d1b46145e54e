"""A configuration of a small sleep that learns from dreams."""

from ml_collections import ConfigDict

from configs.consolidate import smollm2


def get_config() -> ConfigDict:
  c = smollm2.get_config()
  c.sleep.unroll = False
  c.sleep.dreams.questions_per_opening = 2
  c.sleep.dreams.answers_per_question = 1
  c.sleep.dreams.recalls_per_sentence = 3
  c.sleep.rehearsal_per_text = 2
  c.sleep.seeding.steps = 60
  c.sleep.dreaming.dreams = 8
  c.sleep.dreaming.top_k = 2
  c.sleep.dreaming.random = 1
  c.sleep.dreaming.inner_steps = 2
  c.sleep.dreaming.outer_steps = 2
  c.exam.drift_tokens = 512
  c.exam.max_new_tokens = 16
  return c


def of_a_model_of_bytes() -> ConfigDict:
  """config.sleep of a night of moments: one update, one question a chunk."""
  c = get_config().sleep
  c.context_tokens = 110
  c.slot_rank = 2
  c.matmul_dtype = 'float32'
  c.seeding.update(
      steps=1, rows=4, rehearsal=0.0, retention=0.0, on_policy=0.0)
  c.dreaming.rounds = 0
  c.dreams.update(
      question_prompt='{sentence}', openings=('Who',), open_prompts=(),
      questions_in_all=1, recalls_per_sentence=1, held_out=0,
      prompt_tokens=100, completion_tokens=4, batch_rows=4)
  return c
