"""SmolLM2-135M-Instruct sleeps on one document.

  python -m experiments.consolidate --config=configs/consolidate/smollm2.py \
      --document=FILE --questions=FILE.json --workdir=DIR
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'smollm2-135m-instruct'  # Or a .gguf file, or a HF folder.
  c.seed = 0
  c.mesh = ConfigDict(dict(data=1, fsdp=1, tensor=1))  # -1: all that is left.
  c.saving = ConfigDict(dict(
      seconds=30.0, keep=ConfigDict(dict(latest=0, best=False))))

  c.sleep = ConfigDict()
  c.sleep.answer_prompt = '{question} Answer briefly.'
  c.sleep.context_tokens = 512  # Longer documents are read in chunks.
  c.sleep.slot_rank = 64
  c.sleep.slot_layers = ()  # Empty for all.
  c.sleep.rehearsal_per_text = 6
  c.sleep.rehearsal_tokens = 288
  c.sleep.rehearse_asking = False
  c.sleep.memories = 0
  c.sleep.memory_prompt = 'Ask a question.'
  c.sleep.judge = 'stand_in'  # See configs/judges/smollm2.py.
  c.sleep.matmul_dtype = 'auto'
  c.sleep.unroll = config_dict.placeholder(bool)  # None: on a CPU.
  c.sleep.trained = 'slot'
  c.sleep.low_rank = 11  # As many parameters as the slot.
  c.sleep.source = 'dreams'
  c.sleep.replay = False
  c.sleep.max_retention_divergence = 1.0

  d = c.sleep.dreams = ConfigDict()
  d.question_prompt = 'Ask a question about this: {sentence}'
  d.openings = ('Who', 'When', 'Which', 'In what', 'How many', 'Where',
                'What is', 'Why')
  d.recall_prompt = 'Tell me about {topic}.'
  d.open_prompts = ('What do you know about {topic}?',
                    'Tell me a fact about {topic}.')
  d.topic_prompt = 'What is this text about? Answer with a few words.'
  d.questions_per_opening = 8
  d.questions_in_all = 320
  d.answers_per_question = 2
  d.recalls_per_sentence = 6
  d.open_samples = 4
  d.library = ()  # Parts of writing/prompt_library.py to add.
  d.held_out = 8
  d.question_temperature = 0.7
  d.temperature = 0.5
  d.prompt_tokens = 72
  d.completion_tokens = 24
  d.batch_rows = 32

  s = c.sleep.seeding = ConfigDict()
  s.steps = 130
  s.rows = 8  # A multiple of group_size.
  s.rows_at_once = 0  # Fewer need less memory; 0: all.
  s.on_policy = 0.1
  s.group_size = 4
  s.alpha = 0.8
  s.gamma = 0.5
  s.levenshtein_threshold = 0.5
  s.semantic_threshold = 0.5
  s.prefix = 0.5
  s.rehearsal = 1.0
  s.rehearsal_rows = 1
  s.retention = 1.0
  s.retention_rows = 4
  s.learning_rate = 1.5e-3
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
      chunk_rows=192))

  r = c.sleep.dreaming = ConfigDict()
  r.rounds = 1
  r.dreams = 12
  r.rehearsed = 0
  r.curriculum = 'learnability'
  r.dream_tokens = 24
  r.prompt_tokens = 72
  r.temperature = 1.0
  r.random_expert = True
  r.selection = 'gradient_norm'
  r.top_k = 3
  r.random = 1
  r.gradient_rows = 4
  r.inner_adapter = 'slot'
  r.inner_rank = 32
  r.inner_alpha = 64.0
  r.inner_steps = 3
  r.inner_learning_rate = 3e-4
  r.copies_at_once = 0
  r.reward = 'binary'
  r.outer = 'rest_em'
  r.outer_start = 'last_round'
  r.outer_steps = 4
  r.outer_learning_rate = 3e-4
  r.generator_rank = 16
  r.generator_alpha = 32.0
  r.generator = 'kept'
  r.write_back_steps = 6
  r.write_back_learning_rate = 5e-4
  r.write_back_dreams = 2
  r.questions = 8
  r.agreement_samples = 4
  r.agreement = 0.3  # See experiments/question_agreement.py.
  r.max_retention_divergence = 0.05

  for name in ('seeding_budget', 'dreaming_budget'):
    c.sleep[name] = ConfigDict(dict(tokens=0, steps=0, seconds=0.0))

  c.exam = ConfigDict()
  c.exam.drift = 'bundled'  # Or 'wikitext2', where that can be had.
  c.exam.drift_tokens = 2048
  c.exam.max_new_tokens = 32
  c.exam.batch_rows = 8
  return c
