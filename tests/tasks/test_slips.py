"""Slips by a reader that answers as it is told, in place of a model."""

import re
import types

from sleepjax.data import arithmetic_tokenizer
from sleepjax.data.prompts import ChatPrompts
from sleepjax.evals import questions
from sleepjax.tasks import slips

TOKENIZER = arithmetic_tokenizer.build_tokenizer()
MODEL = types.SimpleNamespace(
    tokenizer=TOKENIZER, chat=ChatPrompts(TOKENIZER))
EQUATION = re.compile(r'(\d+) ([-+*]) (\d+) =( \d+)?')


def reads(copies):
  """Finishes the last equation; with a solution in view, maybe from there."""
  def texts(model, prompts, tokens, rows):
    said = []
    for prompt in prompts:
      text = slips.arithmetic.as_written(TOKENIZER.decode(prompt))
      *before, (a, kind, b, _) = EQUATION.findall(text)
      value = slips.arithmetic.calculated(int(a), kind, int(b))
      in_view = 'Solution' in text
      if in_view and copies:  # The solution's equation at the same place.
        reply = text.split('Solve it.')[1]
        value = int(before[len(EQUATION.findall(reply)) - 1][3])
      said.append(f'{value}. The')
    return said
  return texts


def test_who_copies_and_who_calculates(monkeypatch):
  asked = lambda: slips.after_slips(MODEL, arithmetic_tokenizer.IN_VIEW, 24, 3)
  monkeypatch.setattr(questions, 'greedy_texts', reads(copies=False))
  assert asked() == {'student': 1.0, 'teacher': 1.0, 'copied': 0.0}
  monkeypatch.setattr(questions, 'greedy_texts', reads(copies=True))
  found = asked()
  # By multiplication, and at no other step, two numbers may come out the same.
  assert found['copied'] == 1.0 and found['teacher'] < 0.2
  assert found['student'] == 1.0
