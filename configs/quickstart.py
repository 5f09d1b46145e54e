"""Ten days and nights of a tiny model in a small world, offline.

  python -m experiments.quickstart --workdir=DIR
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'tiny-world'
  c.seed = 0

  c.days = ConfigDict()
  c.days.days = 10
  c.days.facts = 8
  c.days.people = 5
  c.days.rehearsal_texts = 8
  c.days.remembered = 48

  c.sleep = ConfigDict()
  c.sleep.answer_prompt = '{question}'
  c.sleep.context_tokens = 256
  c.sleep.slot_rank = 32
  c.sleep.slot_layers = ()
  c.sleep.rehearsal_per_text = 4
  c.sleep.rehearsal_tokens = 128
  c.sleep.judge = 'stand_in'
  c.sleep.matmul_dtype = 'float32'
  c.sleep.unroll = config_dict.placeholder(bool)
  c.sleep.trained = 'slot'
  c.sleep.low_rank = 6  # About as many parameters as the slot.
  c.sleep.source = 'dreams'
  c.sleep.replay = False

  d = c.sleep.dreams = ConfigDict()
  d.question_prompt = 'Ask a question.'
  d.openings = ('',)
  d.recall_prompt = 'Tell me a fact.'
  d.open_prompts = ()
  d.topic_prompt = 'Tell me a fact.'
  d.library = ()
  d.questions_per_opening = 8
  d.questions_in_all = 64
  d.answers_per_question = 1
  d.recalls_per_sentence = 2
  d.open_samples = 1
  d.held_out = 8
  d.question_temperature = 1.0
  d.temperature = 0.5
  d.prompt_tokens = 16
  d.completion_tokens = 12
  d.batch_rows = 64

  s = c.sleep.seeding = ConfigDict()
  s.steps = 120
  s.rows = 16  # A multiple of group_size.
  s.on_policy = 0.25
  s.group_size = 4
  s.alpha = 0.8
  s.gamma = 0.5
  s.levenshtein_threshold = 0.5
  s.semantic_threshold = 0.5
  s.prefix = 0.5
  s.rehearsal = 1.0
  s.rehearsal_rows = 16
  s.learning_rate = 1e-2
  s.warmup_steps = 5
  s.clip_norm = 1.0
  s.target = 'teacher'
  s.masked_first_tokens = 0
  s.estimator = 'exact'
  s.updates_per_rollout = 1
  s.clip = 0.2
  s.advantage = 'leave_one_out'
  s.teacher = 'frozen'
  s.ema_decay = 0.99
  s.ewc = 0.0
  s.divergence = ConfigDict(dict(
      kind='forward_kl', beta=0.5, top_k=100, temperature=1.0,
      chunk_rows=1024))

  r = c.sleep.dreaming = ConfigDict()
  r.dreams = 16
  r.dream_tokens = 12
  r.prompt_tokens = 16
  r.temperature = 1.0
  r.top_k = 4
  r.random = 2
  r.gradient_rows = 16
  r.inner_steps = 3
  r.inner_learning_rate = 1e-3
  r.outer_steps = 4
  r.outer_learning_rate = 3e-4
  r.max_retention_divergence = 0.05
  return c
