"""Costs and break-even, counted by hand; and what BM25 finds."""

import pytest

from sleepjax.evals import cost
from sleepjax.evals.cost import Cost
from sleepjax.evals.retrieval import Retriever
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig

# Ten hidden units all over, so that products are easily counted.
CONFIG = ModelConfig(
    vocab_size=100, num_layers=2, embed_dim=10, mlp_dim=10, num_heads=1,
    num_kv_heads=1, head_dim=10, max_context=64)
# A layer: query, key, value, output, gate, up and down, each 10 by 10.
LAYERS = 2 * 2 * 7 * 100  # FLOPs a token.
HEAD = 2 * 10 * 100
PAIR = 2 * 2 * (10 + 10)


def test_answering():
  """Five tokens read, then three written, of which the last is not read."""
  assert cost.answering(CONFIG, 5, 3) == Cost(
      5, 3, 7 * LAYERS + 3 * HEAD + PAIR * 28)
  with_text = cost.answering(CONFIG, 5, 3, text=20)
  assert with_text == Cost(
      25, 3, 27 * LAYERS + 3 * HEAD + PAIR * (27 * 28 // 2))
  kept = cost.answering(CONFIG, 5, 3, text=20, kept=True)
  assert kept == Cost(5, 3, 7 * LAYERS + 3 * HEAD + PAIR * (7 * 20 + 28))


def test_slots_cost_their_share():
  slept = transformer.with_slots(CONFIG, 1, 5)
  more = cost.answering(slept, 5, 3).flops - cost.answering(CONFIG, 5, 3).flops
  # Gate, up and down of five units, in two layers, for seven tokens.
  assert more == 7 * 2 * 2 * 3 * 50


def test_costs_add_up():
  one = Cost(3, 2, 10)
  assert one.tokens == 5
  assert one + one == Cost(6, 4, 20)


@pytest.mark.parametrize('night, asleep, rival, once, number', [
    (1000, 30, 130, 0, 11),  # At ten both cost 1300.
    (999, 30, 130, 0, 10),
    (1000, 30, 130, 100, 10),
    (1000, 130, 130, 0, None),
    (1000, 140, 130, 0, None),
    (100, 30, 130, 200, 0),
    (0, 30, 130, 0, 1),
])
def test_break_even(night, asleep, rival, once, number):
  assert cost.break_even(night, asleep, rival, once) == number
  if number:
    assert night + number * asleep < once + number * rival
    assert night + (number - 1) * asleep >= once + (number - 1) * rival


def test_bm25_finds_the_text():
  texts = ['The lighthouse was lit in 1871.', 'The mill grinds oats.',
           'A lighthouse keeper kept oats and a lighthouse cat.',
           '北京有灯塔。']
  retriever = Retriever(texts)
  assert retriever.best('Who grinds at the mill?') == [1]
  assert retriever.best('Which lighthouse?', 2) == [2, 0]
  assert retriever.best('灯塔在哪里？') == [3]
  assert retriever.best('Xyzzy?', 2) == [0, 1]
  assert retriever.best('lighthouse', 9) == [2, 0, 1, 3]
  # One text is always found; none cannot be.
  assert Retriever(['Only one.']).best('Which?') == [0]
  for nothing in ([], ['。']):
    with pytest.raises(ValueError, match='without a word'):
      Retriever(nothing)


def test_questions_pay_for_a_night():
  # A prompt of 5 and an answer of 3; a text of 40, read with every question.
  question = cost.of_questions(CONFIG, [5, 5], [3, 3], [40, 40])
  assert question['after']['tokens'] == 8
  assert question['in_view']['tokens'] == 48
  assert question['in_view']['flops'] > 5 * question['after']['flops']
  told = cost.after_questions(
      question, {'write': 300, 'seed': 100, 'evaluate before': 9999})
  # 400 + 8 n < 48 n.
  assert told == {'night_tokens': 400, 'break_even_questions': 11}
  same = cost.of_questions(CONFIG, [5], [3], [0])
  assert cost.after_questions(same, {'seed': 1})['break_even_questions'] is None
