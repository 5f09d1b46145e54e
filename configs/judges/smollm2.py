"""How far judges of meaning can be trusted, by SmolLM2-135M-Instruct's answers.

  python -m experiments.judge_error --config=configs/judges/smollm2.py \
      --workdir=DIR
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'smollm2-135m-instruct'  # The teacher, and the yes-no judge.
  c.seed = 0
  c.calibration_passages = 8
  c.report_passages = 8
  c.questions = 4  # Of each passage, at least 2.
  c.passage_tokens = 256  # Longest passage; few lengths are few programs.
  c.question_tokens = 32  # Longest question with the chat template's tail.
  c.answer_prompt = '{question} Answer briefly.'
  c.max_new_tokens = 24
  c.temperature = 0.5  # As dreams are written.
  c.judges = ('content_overlap', 'answer_exact', 'answer_contains',
              'answer_f1', 'embedding', 'yes_no')

  y = c.yes_no = ConfigDict()
  y.prompt = ('First answer: {candidate}\nSecond answer: {reference}\nDo both '
              'answers say the same? Reply with Yes or No.')
  y.question = 'Question: {prompt}\n'
  y.yes = 'Yes'
  y.no = 'No'
  y.batch_rows = 16
  return c
