"""The judges of meaning that a configuration can name."""

import dataclasses

from sleepjax.data import words
from sleepjax.errors import UserError
from sleepjax.evals import judges, sentence_encoder
from sleepjax.model import Model

KINDS = ('content_overlap', 'answer_exact', 'answer_contains', 'answer_f1',
         'embedding', 'yes_no')

# Chosen on answers of SmolLM2-135M-Instruct at temperature 0.5, as dreams are
# written; configs/judges/smollm2.py has the errors at these thresholds.
_THRESHOLDS = {'content_overlap': 0.24, 'answer_f1': 0.21, 'embedding': 0.62,
               'yes_no': 0.36}


def make_judge(kind: str, model: Model,
               yes_no: judges.YesNoConfig | None = None) -> judges.Judge:
  """The judge of that name with its calibrated threshold.

  Args:
    kind: one of `KINDS`.
    model: the frozen one that 'yes_no' asks.
    yes_no: how it is asked; None for the defaults.

  Raises:
    UserError: there is no such judge, or what it needs is not installed.
  """
  if kind not in KINDS:
    raise UserError(
        f'judge={kind!r}: expected one of {", ".join(KINDS)}.')
  if kind == 'embedding':
    judge = judges.EmbeddingJudge(sentence_encoder.load_sentence_encoder())
  elif kind == 'yes_no':
    judge = judges.YesNoJudge(model, yes_no or judges.YesNoConfig())
  elif kind == 'content_overlap':
    judge = judges.ContentOverlapJudge(
        model.tokenizer, words.content_free_tokens(model.tokenizer))
  else:
    judge = judges.AnswerJudge(kind.removeprefix('answer_'))
  return dataclasses.replace(
      judge, threshold=_THRESHOLDS.get(kind, judge.threshold))
