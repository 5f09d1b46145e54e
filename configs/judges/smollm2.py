"""How far judges of meaning can be trusted, by SmolLM2-135M-Instruct's answers.

  python -m experiments.judge_error --config=configs/judges/smollm2.py \
      --workdir=DIR

Measured on 8 passages for each part, 32 pairs of each kind, one seed, at the
calibrated threshold; separation is from answers about the same passage:

                    temperature 0.5              temperature 0.2
                    threshold balanced separ.    threshold balanced separ.
  content_overlap   0.24      82 %     0.78      0.32      91 %     0.92
  answer_f1         0.21      84 %     0.78      0.36      88 %     0.90
  embedding         0.62      76 %     0.75      0.65      88 %     0.91
  answer_contains             55 %     0.55
  answer_exact                52 %     0.52
  yes_no            0.36      50 %     0.56

At 0.5 this teacher often says two different things itself, which is charged as
refused; 95 % intervals are some 15 points to either side. Nothing here tells
the first three apart. The model of this size, asked yes or no, does no better
than chance; of five wordings tried on the calibration pairs this is the best.
Five minutes on two busy cores of an AMD EPYC, one of them for the yes-no judge.
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
