"""Problems of arithmetic: right by another calculation, and never shared."""

import doctest

import numpy as np
import pytest

from sleepjax.data import arithmetic, arithmetic_tokenizer, exercises
from sleepjax.data.arithmetic import GRADES, PARTS, Chain, Grade
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.pretraining import arithmetic_batches
from sleepjax.pretraining.arithmetic_batches import ArithmeticRows

CHAT = ChatPrompts(arithmetic_tokenizer.build_tokenizer())


def test_the_examples_of_its_documentation():
  assert doctest.testmod(arithmetic).failed == 0


def test_a_chain_by_hand():
  chain = Chain(12, (('*', 4), ('-', 9), ('+', 60)))
  assert chain.values() == [12, 48, 39, 99]
  assert chain.solution() == (
      '12 * 4 = 48. 48 - 9 = 39. 39 + 60 = 99. The answer is 99.')
  story = chain.story(np.random.default_rng(0))
  numbers = [word.strip('.') for word in story.split() if word[0].isdigit()]
  assert numbers == ['12', '4', '9', '60'] and story.endswith('?')


@pytest.mark.parametrize('grade', GRADES)
def test_numbers_stay_in_their_grade(grade):
  """And the answer is what Python makes of the chain, from left to right."""
  rng, kinds = np.random.default_rng(1), set()
  for _ in range(300):
    chain = grade.draw(rng)
    value = str(chain.start)
    for kind, operand in chain.steps:
      value = str(eval(f'({value}){kind}{operand}'))
      assert 1 <= int(value) <= grade.largest and operand >= 1
      kinds.add(kind)
    assert len(chain.steps) == grade.steps
    assert arithmetic.answer_of(chain.solution()) == value
    assert all(arithmetic.equations(chain.solution()))
  assert kinds == ({'+', '-', '*'} if grade.times else {'+', '-'})


@pytest.mark.parametrize('grade', GRADES)
def test_a_slip_is_one_wrong_number_and_right_arithmetic_after_it(grade):
  rng, places = np.random.default_rng(2), set()
  for _ in range(200):
    chain = grade.draw(rng)
    slip = chain.slipped(rng, grade.largest)
    if slip is None:
      continue
    before, wrong, after = slip
    text = f'{before} {wrong}{after}'
    holds = arithmetic.equations(text)
    assert holds.count(False) == 1 and len(holds) == grade.steps
    places.add(holds.index(False))
    assert chain.solution().startswith(f'{before} ')
    # What follows begins with the wrong number.
    assert after.startswith((f'. {wrong} ', f'. The answer is {wrong}.'))
  assert places == set(range(grade.steps))


@pytest.mark.parametrize('text, answer, holds', [
    ('4 7 + 3 8 = 8 5. The answer is 8 5.', '85', [True]),
    ('2 * 3 = 7. 7 - 9 = - 2. The answer is 0 7', '7', [False]),
    ('The answer is 1. The answer is 12.', '12', []),
    ('The answer is 00.', '0', []),
    ('the 4', None, []), ('', None, [])])
def test_what_a_reply_says(text, answer, holds):
  assert arithmetic.answer_of(text) == answer
  assert arithmetic.equations(text) == holds


def chain_of(solution):
  """The chain that a solution spells out."""
  said = arithmetic.as_written(solution).split('. ')[:-1]
  terms = [equation.split() for equation in said]
  return Chain(int(terms[0][0]), tuple((t[1], int(t[2])) for t in terms))


def pretraining_chains(steps):
  found = set()
  for step in range(steps):
    rows = arithmetic_batches.sample_rows(
        ArithmeticRows(rows=8, length=512), (0, step))
    for tokens, turns in zip(rows.tokens, rows.turn):
      for turn in range(1, turns.max() + 1):
        text = CHAT.tokenizer.decode(tokens[turns == turn].tolist())
        equations = arithmetic.as_written(text)
        if 'answer is' in equations:
          found.add(chain_of(text_of_reply(equations)))
  return found


def text_of_reply(text):
  """From the first equation of the reply on."""
  reply = text.split('<assistant>')[-1] if '<assistant>' in text else (
      text.split('?')[-1].split('Solve it.')[-1])
  return reply.strip()


def test_no_part_has_a_problem_of_another():
  """Pretraining, arms, choices and exams of several seeds, and as tokens."""
  chains = {part: {chain_of(e.solution) for seed in (0, 1, 100)
                   for e in arithmetic.exercises(part, 300, seed)}
            for part in PARTS}
  chains['pretraining'] |= pretraining_chains(8)
  assert len(chains['pretraining']) > 900
  for i, part in enumerate(PARTS):
    assert all(arithmetic.part_of(chain) == part for chain in chains[part])
    for other in PARTS[i + 1:]:
      assert not chains[part] & chains[other]


def test_exercises_are_those_of_their_seed_and_all_different():
  found = arithmetic.exercises('exam', 60, 3)
  assert found == arithmetic.exercises('exam', 60, 3)
  assert found != arithmetic.exercises('exam', 60, 4)
  assert len({e.solution for e in found}) == 60
  assert [e.grade for e in found[:4]] == [0, 1, 2, 0]


def test_parts_that_cannot_be_filled():
  with pytest.raises(UserError, match="part='final': expected one of exam"):
    arithmetic.exercises('final', 1, 0)
  with pytest.raises(UserError, match='too few problems for 50 of exam'):
    arithmetic.exercises('exam', 50, 0, (Grade(1, 9, False),))


def test_every_word_has_a_token_and_digits_are_apart():
  encode = CHAT.tokenizer.encode
  unknown = CHAT.tokenizer.backend.token_to_id('<unk>')
  for exercise in arithmetic.exercises('train', 90, 0):
    text = arithmetic_tokenizer.IN_VIEW.format(
        problem=exercise.problem, solution=exercise.solution)
    assert unknown not in encode(text)
    reply = encode(exercise.solution)
    assert 17 <= len(reply) <= 34
    assert arithmetic.as_written(
        CHAT.tokenizer.decode(reply)) == exercise.solution
  assert len(encode('147 + 3')) == 5


def test_rows_of_pretraining():
  settings = ArithmeticRows(
      rows=4, length=600, view_share=0.5, slip_share=0.0)
  rows = arithmetic_batches.sample_rows(settings, 7)
  again = arithmetic_batches.sample_rows(settings, 7)
  assert all(np.array_equal(a, b) for a, b in zip(rows, again))
  assert rows.tokens.shape == (4, 600)
  seen = 0
  for tokens, turns, weights in zip(*rows):
    assert turns.max() == 5 and weights[turns < 1].max() == 0
    for turn in range(1, 6):
      mine = turns == turn
      reply = tokens[mine & (weights == 1)].tolist()
      assert reply[-1] in CHAT.tokenizer.stop_ids
      solution = arithmetic.as_written(CHAT.tokenizer.decode(reply[:-1]))
      assert all(arithmetic.equations(solution))
      prompt = tokens[mine & (weights < 1)].tolist()
      told = arithmetic.as_written(CHAT.tokenizer.decode(prompt))
      seen += solution in told
      assert weights[mine][0] == 0
  assert 3 <= seen <= 17


def test_a_slip_is_not_learnt_but_what_follows_is():
  rows = arithmetic_batches.sample_rows(ArithmeticRows(
      rows=4, length=600, view_share=1.0, slip_share=1.0), 7)
  slips = 0
  for tokens, turns, weights in zip(*rows):
    for turn in range(1, 6):
      mine = turns == turn
      said = arithmetic.as_written(CHAT.tokenizer.decode(
          tokens[mine].tolist()))
      wrong = arithmetic.equations(said).count(False)
      first_reply = np.flatnonzero(mine & (weights == 1))[0]
      unlearnt = mine & (weights == 0)
      unlearnt[:first_reply] = False
      assert bool(unlearnt.any()) == bool(wrong) and wrong <= 1
      assert unlearnt.sum() <= 2  # Digits.
      slips += wrong
  assert slips > 15


def write(folder, **parts):
  paths = {}
  for part, lines in parts.items():
    paths[part] = folder / f'{part}.jsonl'
    paths[part].write_text('\n'.join(lines))
  return paths


LINE = '{{"problem": "What is {}?", "{}": "It is \\\\boxed{{5}}."}}'


def test_problems_of_files(tmp_path):
  paths = write(
      tmp_path, train=[LINE.format(i, 'solution') for i in range(9)],
      choice=[LINE.format('pi', 'solution')],
      exam=[LINE.format(x, 'answer') for x in 'xyz'])
  problems = exercises.from_files(paths)
  drawn = problems('train', 4, 0)
  assert len(set(drawn)) == 4 and drawn != problems('train', 4, 1)
  assert problems('exam', 3, 0)[0].solution == r'It is \boxed{5}.'
  with pytest.raises(UserError, match='3 problems, fewer than config.bed.exam'):
    problems('exam', 4, 0)
  with pytest.raises(UserError, match='config.files lacks exam'):
    exercises.from_files({k: paths[k] for k in ('train', 'choice')})
  paths['exam'].write_text(LINE.format(3, 'answer'))
  with pytest.raises(UserError, match="'What is 3.' in common"):
    exercises.from_files(paths)


@pytest.mark.parametrize('line, message', [
    ('[]', 'line 1: expected an object'), ('{', 'line 1: not JSON'),
    ('{"problem": "1"}', '"solution" is missing'),
    ('{"problem": "1", "solution": "2", "grade": -1}', '"grade" should be')])
def test_files_that_are_none_of_problems(tmp_path, line, message):
  path = tmp_path / 'a.jsonl'
  path.write_text(line)
  with pytest.raises(UserError, match=message):
    exercises.read_exercises(path)
