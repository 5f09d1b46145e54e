"""Scores of public tests, by hand and token by token."""

import dataclasses
import functools
import string

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.data.benchmarks import Item
from sleepjax.errors import UserError
from sleepjax.evals import outside
from sleepjax.model import Model
from sleepjax.models import transformer

CONTEXT = 'Ann takes a lamp and climbs the tower.'


@pytest.fixture(scope='module')
def model(talker, byte_tokenizer):
  """It says nothing but letters, digits and punctuation of ASCII."""
  config, params = talker
  said = byte_tokenizer.encode(string.ascii_letters + string.punctuation)
  table = np.zeros_like(params['embed']['table'])
  table[said] = params['embed']['table'][np.array(said)]
  return Model(config, {**params, 'embed': {'table': table}}, byte_tokenizer,
               'talker')


@pytest.fixture(scope='module')
def indifferent(model):
  """All tokens are equally likely."""
  params = {**model.params, 'final_norm': jax.tree.map(
      np.zeros_like, model.params['final_norm'])}
  return model.with_params(model.config, params)


@functools.partial(jax.jit, static_argnums=0)
def _log_softmax(config, params, ids):
  hidden, _ = transformer.hidden_states(
      config, params, ids, jnp.ones_like(ids, bool))
  return jax.nn.log_softmax(hidden[0] @ transformer.unembedding(params))


def log_probs(model, context, reply):
  """([N] log-probabilities of a reply's tokens, [N] the likeliest ones)."""
  first, rest = map(model.tokenizer.encode, (context, reply))
  # What comes after a token does not change it.
  ids = np.zeros((1, model.config.max_context), np.int32)
  ids[0, :len(first + rest)] = first + rest
  log_p = np.asarray(_log_softmax(model.config, model.params, ids))[
      len(first) - 1:len(first + rest) - 1]
  return log_p[np.arange(len(rest)), rest], log_p.argmax(-1)


def test_a_model_without_preferences_takes_the_shortest_or_the_longest(
    indifferent):
  """n letters and a space are n + 1 tokens: (n + 1) log V in all, and
  (1 + 1 / n) log V for each character."""
  items = [Item(CONTEXT, (' sings', ' is', ' is gone'), gold)
           for gold in range(3)]
  rows = outside.score(indifferent, 'hellaswag', items)
  assert [row['by_sum'] for row in rows] == [False, True, False]
  assert [row['right'] for row in rows] == [False, False, True]


@pytest.mark.parametrize('batch_rows', [3, 8])
def test_choices_token_by_token(model, batch_rows):
  contexts = (CONTEXT, 'Tea.', 'Why? ' * 20)
  endings = (' She lights it.', ' It is so.', ' He', ' Nobody sees the ship.')
  items = [Item(context, endings, gold)
           for context in contexts for gold in range(4)]
  rows = outside.score(model, 'hellaswag', items, batch_rows)
  for item, row in zip(items, rows):
    sums = np.array([float(log_probs(model, item.context, ending)[0].sum())
                     for ending in endings])
    sizes = np.array([len(ending.strip()) for ending in endings])
    assert row['by_sum'] == (sums.argmax() == item.gold)
    assert row['right'] == ((sums / sizes).argmax() == item.gold)
  assert {row['right'] for row in rows} == {True, False}


def test_last_words_token_by_token(model):
  contexts = (CONTEXT, 'Tea', 'Where is the ship? ' * 5, 'A')
  items = []
  for context in contexts:
    likeliest = ''
    for _ in range(3):
      best = log_probs(model, context + likeliest, 'x')[1]
      likeliest += model.tokenizer.decode(best.tolist())
    items += [Item(context, (ending,)) for ending in (
        likeliest, likeliest[:-1] + '#', ' lamp')]
  rows = outside.score(model, 'lambada', items, batch_rows=5)
  assert [row['right'] for row in rows] == [True, False, False] * 4
  for item, row in zip(items, rows):
    scores, best = log_probs(model, item.context, item.endings[0])
    assert row['nats'] == pytest.approx(-float(scores.sum()), rel=1e-4)
    assert row['right'] == (best.tolist() == model.tokenizer.encode(
        item.endings[0]))


def test_perplexity_is_of_words(indifferent):
  items = [Item(CONTEXT, (' ab',)), Item(CONTEXT, (' abcd',))]
  rows = {'lambada': outside.score(indifferent, 'lambada', items)}
  report = outside.compare(rows, rows)
  # Three and five tokens: four in the mean.
  assert report['outside_lambada_perplexity_before'] == pytest.approx(
      indifferent.config.vocab_size ** 4, rel=1e-3)


def test_a_long_context_is_read_from_its_end(model):
  config = dataclasses.replace(model.config, max_context=64)
  short = model.with_params(config, model.params)
  ends = 'x' * 30 + ' and climbs the tower.'
  whole = 64 - len(' lamp')
  items = [Item('y' * 50 + ends, (' lamp',)),
           Item(('y' * 50 + ends)[-whole:], (' lamp',))]
  long, cut = outside.score(short, 'lambada', items)
  assert long['nats'] == pytest.approx(cut['nats'], rel=1e-5)


@pytest.mark.parametrize('solution, stated, last', [
    ('So 3 + 4 = 7.\n#### 7', '7', '7'),
    ('It costs $1,250.\n#### $1,250', None, '1250'),
    ('#### 1,250.', '1250', '1250'),
    ('#### -3\nQuestion: 12', '-3', '12'),
    ('#### 5 #### 6', '5', '6'),
    ('about 72', None, '72'),
    ('####7', None, '7'),
    ('none', None, None)])
def test_numbers_of_solutions(solution, stated, last):
  assert outside.stated(solution) == stated
  assert outside.last_number(solution) == last


def test_solutions_are_right_or_not(model, monkeypatch):
  said = ['So.\n#### 1,000', 'So it is 1000.', '#### 7',
          'No.\n\nQuestion: 2?\nAnswer: #### 1000']
  monkeypatch.setattr(outside.questions_lib, 'greedy_texts', lambda *_: said)
  items = [Item('Question: 1?\nAnswer:', (' It. #### 1,000',))] * 4
  rows = outside.score(model, 'gsm8k', items)
  assert [row['right'] for row in rows] == [True, False, False, False]
  assert [row['last_number'] for row in rows] == [True, True, False, False]
  assert rows[3]['answer'] == 'No.'


@pytest.mark.slow
def test_solutions_are_what_the_model_says(model, monkeypatch):
  """Shots that all problems share are read once."""
  monkeypatch.setattr(outside, 'SOLUTION_TOKENS', 6)
  shots = 'Question: one?\nAnswer: #### 1\n\n'
  items = [Item(f'{shots}Question: {asked}?\nAnswer:', (' #### 1',))
           for asked in ('two', 'three', 'why')]
  rows = outside.score(model, 'gsm8k', items, batch_rows=2)
  for item, row in zip(items, rows):
    ids = model.tokenizer.encode(item.context)
    for _ in range(6):
      best = int(log_probs(model, model.tokenizer.decode(ids), 'x')[1][0])
      if best in model.tokenizer.stop_ids:
        break
      ids.append(best)
    text = model.tokenizer.decode(ids)[len(item.context):]
    assert row['answer'] == text.partition('Question:')[0].strip()


def test_what_is_reported():
  before = {'piqa': [{'right': r, 'by_sum': s} for r, s in (
      (True, False), (True, True), (False, False), (True, False))],
            'gsm8k': [{'right': False, 'last_number': True, 'answer': '1'}]}
  after = {'piqa': [{'right': r, 'by_sum': True} for r in (
      False, True, True, False)],
           'gsm8k': [{'right': True, 'last_number': True, 'answer': '2'}]}
  assert outside.compare(before, after) == {
      'outside_piqa_questions': 4, 'outside_piqa_before': 0.75,
      'outside_piqa_after': 0.5, 'outside_piqa_by_sum_before': 0.25,
      'outside_piqa_by_sum_after': 1.0, 'outside_piqa_gained': 1,
      'outside_piqa_lost': 2, 'outside_piqa_p': 1.0,
      'outside_gsm8k_questions': 1, 'outside_gsm8k_before': 0.0,
      'outside_gsm8k_after': 1.0, 'outside_gsm8k_last_number_before': 1.0,
      'outside_gsm8k_last_number_after': 1.0, 'outside_gsm8k_gained': 1,
      'outside_gsm8k_lost': 0, 'outside_gsm8k_p': 1.0}
  assert outside.compare({}, {}) == {}
  with pytest.raises(ValueError, match='shapes'):
    outside.compare(before, {'piqa': after['piqa'][1:]})


def test_what_cannot_be_asked_is_named(byte_tokenizer):
  check = lambda name, item, room=256: outside.check(
      name, [item], byte_tokenizer, room)
  check('piqa', Item('a', (' b',)))
  with pytest.raises(UserError, match="piqa, item 0: '' has no token"):
    check('piqa', Item('a', ('',)))
  with pytest.raises(UserError, match='takes 10 tokens, more than'):
    check('piqa', Item('a', (' b', ' ' * 9)), 9)
  with pytest.raises(UserError, match='gsm8k, item 0: it takes 257 tokens'):
    check('gsm8k', Item('a', (' b',)))
