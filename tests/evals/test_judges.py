"""Judges of meaning, their error, and what they do to the imitation reward."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from sleepjax.data import words
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import NotFiniteError, UserError
from sleepjax.evals import judge_calibration as calibration
from sleepjax.evals import judges, questions
from sleepjax.growth import slots
from sleepjax.growth.learner import Learner
from sleepjax.losses import imitation
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import blame, loop, objective, update
from sleepjax.seeding.examples import score_examples
from sleepjax.seeding.roles import Imitation
from sleepjax.seeding.settings import SeedingConfig
from tests.conftest import random_params


def test_answers_are_normalised():
  a = ['The U.S.', 'in Paris, France', '', 'the', 'a cat', 'red cat']
  b = ['us', 'Paris', '', 'dog', 'The Cat!', 'cat red']
  for measure, expected in (
      ('exact', [1, 0, 1, 0, 1, 0]), ('contains', [1, 1, 1, 0, 1, 0]),
      ('f1', [1, 0, 1, 0, 1, 1])):
    judge = judges.AnswerJudge(measure)
    verdicts = judge(a, b)
    assert verdicts.dtype == np.float32 and judge.name == f'answer_{measure}'
    np.testing.assert_array_equal(verdicts, expected)
    np.testing.assert_array_equal(judge(b, a, a), expected)
  np.testing.assert_allclose(
      judges.AnswerJudge('f1').score(a, b)[1], 2 * 1 / (3 + 1))
  assert judges.AnswerJudge('f1', threshold=0.5)(a, b)[1] == 1
  with pytest.raises(ValueError, match='rouge.*exact, contains, f1'):
    judges.AnswerJudge('rouge')


def test_overlap_is_the_stand_in_on_texts(byte_tokenizer):
  free = words.content_free_tokens(byte_tokenizer)
  a = ['bcd', 'b c!', 'bcd', '...', '', '?', 'bb']
  b = ['dcb', 'c b', 'xyz', '. .', '', '', 'bxx']
  judge = judges.ContentOverlapJudge(byte_tokenizer, free)
  ids = [[byte_tokenizer.encode(t) for t in side] for side in (a, b)]
  sides = (rows_lib.pad_right(side, 8) for side in ids)
  padded = [part for row, mask in sides for part in (row, mask.sum(1))]
  np.testing.assert_array_equal(
      judge(a, b), imitation.content_overlap_judge(*padded, free))
  np.testing.assert_allclose(
      judge.score(a, b), [1, 1, 0, 2 / 3, 1, 0, 0.4], atol=1e-6)
  assert judge([], []).shape == (0,)


def test_cosine_decides():
  vectors = {'a': [1, 0], 'b': [0.6, 0.8], 'c': [0, -1]}
  encoder = lambda texts: np.array([vectors[t] for t in texts], np.float32)
  judge = judges.EmbeddingJudge(encoder, threshold=0.6)
  np.testing.assert_allclose(
      judge.score('aab', 'abc'), [1, 0.6, -0.8], atol=1e-6)
  np.testing.assert_array_equal(judge('aab', 'abc'), [1, 1, 0])


def test_yes_no_is_the_difference_of_log_probs(talker, byte_tokenizer):
  config, params = talker
  chat = ChatPrompts(byte_tokenizer)
  settings = judges.YesNoConfig(
      '{candidate}={reference}?', '{prompt}: ', batch_rows=2)
  judge = judges.YesNoJudge(
      Model(config, params, byte_tokenizer), settings, threshold=0.1)
  asked = [('a', 'b', 'who'), ('a long one', 'c', 'why'), ('d', 'e', 'how')]
  reply = [byte_tokenizer.encode(word)[:1] for word in ('Yes', 'No')]

  def log_odds(message):
    prompt = chat.closed_book(message)
    yes, no = (questions.completion_log_probs(config, params, rows_lib.rows_of(
        [prompt], [ids])).sum() for ids in reply)
    return float(yes - no)

  a, b, q = zip(*asked, strict=True)
  expected = [log_odds(f'{q}: {a}={b}?') for a, b, q in asked]
  np.testing.assert_allclose(judge.score(a, b, q), expected, atol=1e-4)
  np.testing.assert_array_equal(judge(a, b, q), np.array(expected) >= 0.1)
  np.testing.assert_allclose(
      judge.score(a[:1], b[:1]), [log_odds('a=b?')], atol=1e-4)
  same = judges.YesNoConfig(yes='Yes', no='Yeah')
  with pytest.raises(UserError, match="'Yes' and no='Yeah' begin with"):
    dataclasses.replace(judge, settings=same).score(a, b)


@pytest.fixture(scope='module')
def seeder(talker, byte_tokenizer):
  """make(judge) -> Seeder of two rollouts each from two of three dreams."""
  config = transformer.with_slots(talker[0], 1, 4)
  params = random_params(config)
  settings = SeedingConfig(
      rows=4, group_size=2, gamma=0.25, prefix=0.5, levenshtein_threshold=1.0)
  encode = byte_tokenizer.encode
  prompts = [encode('who? '), encode('why? '), encode('how')]
  examples = score_examples(
      config, params, prompts, prompts,
      [encode('catsat'), encode('reddog'), encode('on')], 8)
  free = words.content_free_tokens(byte_tokenizer)

  def make(judge=None, tokenizer=None):
    return loop.Seeder(
        Learner(config, params), settings, loop.Terms(examples),
        imitation=Imitation(
            byte_tokenizer.stop_ids, free, judge, tokenizer))
  return make


def rollouts(seeder):
  """(batch, metrics) of one on-policy update that is always the same."""
  slot = slots.read_slot(seeder.learner.config, seeder.learner.frozen, 0)
  state = update.SlotState(slot, None, jnp.int32(0))
  rng = np.random.default_rng(3)
  return seeder._on_policy(state, rng.choice(3, 2), rng, jax.random.key(3))


@pytest.mark.slow
def test_verdicts_change_the_advantages(seeder, byte_tokenizer):
  heard, said = [], np.array([0, 1, 1, 0], np.float32)

  def judge(candidates, references, prompts=None):
    heard.append((candidates, references))
    return said

  batch, metrics = rollouts(seeder(judge, tokenizer=byte_tokenizer))
  [(candidates, references)] = heard
  written = [np.asarray(row)[mask].tolist() for row, mask in zip(
      batch.rows.completion, np.asarray(batch.rows.completion_mask))]
  assert candidates == [byte_tokenizer.decode(w).strip() for w in written]
  assert references[0] == references[1] and references[2] == references[3]
  assert all(any(whole.endswith(r) for whole in ('catsat', 'reddog', 'on'))
             for r in references)
  reward = []
  for n, text in enumerate(written):
    reference = byte_tokenizer.encode(references[n])
    r_abs = 1 - Levenshtein.distance(text, reference) / max(
        len(text), len(reference))
    reward.append(0.25 * said[n] + 0.75 * r_abs)
  expected = [reward[0] - reward[1], reward[1] - reward[0],
              reward[2] - reward[3], reward[3] - reward[2]]
  np.testing.assert_allclose(batch.advantage, expected, atol=1e-6)
  assert float(metrics['reward_semantic']) == 0.5
  plain, _ = rollouts(seeder())
  np.testing.assert_array_equal(plain.rows.completion, batch.rows.completion)
  assert not np.allclose(plain.advantage, batch.advantage)


@pytest.mark.slow
def test_a_judge_that_repeats_the_stand_in_changes_nothing(
    seeder, byte_tokenizer):
  references = []

  def judge(candidates, theirs, prompts=None):
    references.extend(map(byte_tokenizer.encode, theirs))
    return np.ones(4, bool)

  all_yes = rollouts(seeder(judge, tokenizer=byte_tokenizer))[1]
  assert float(all_yes['reward_semantic']) == 1
  plain, _ = rollouts(seeder())
  ids, mask = rows_lib.pad_right(references, 8)
  said = imitation.content_overlap_judge(
      plain.rows.completion, plain.rows.completion_mask.sum(1), ids,
      mask.sum(1), words.content_free_tokens(byte_tokenizer))
  batch, _ = rollouts(seeder(
      lambda *texts: np.asarray(said), tokenizer=byte_tokenizer))
  np.testing.assert_array_equal(batch.advantage, plain.advantage)
  with pytest.raises(ValueError, match='needs the tokenizer'):
    seeder(judges.AnswerJudge())


def test_a_judge_that_says_nan_is_named(seeder, byte_tokenizer):
  def judge(candidates, references, prompts=None):
    return np.array([1, 0, np.nan, 1])

  with pytest.raises(NotFiniteError, match=(
      r"judge 'function': its verdict of pair 2 of 4 is nan \(.* beside .*\)\. "
      'No setting of the training is to blame')):
    rollouts(seeder(judge, tokenizer=byte_tokenizer))
  judge = lambda *texts: np.ones((4, 1))
  with pytest.raises(UserError, match=r'about 4 pairs .* shape \[4, 1\]'):
    rollouts(seeder(judge, tokenizer=byte_tokenizer))


def test_a_score_that_is_no_number_is_no_refusal():
  unit = np.array([[1, 0], [np.nan, 0]])
  judge = judges.EmbeddingJudge(lambda texts: unit[[len(t) for t in texts]])
  np.testing.assert_array_equal(judge([''], ['']), [1])
  with pytest.raises(NotFiniteError, match=(
      "judge 'embedding': its score of pair 1 of 2 is nan")):
    judge(['', ''], ['', 'a'])
  # Infinite log-odds are an answer.
  np.testing.assert_array_equal(judge.verdicts([np.inf, -np.inf]), [1, 0])
  with pytest.raises(NotFiniteError, match='scores 1 of 2 pairs that say not'):
    calibration.calibrated_threshold([1.0], [0.0, np.nan])


def test_the_teacher_that_cannot_read_is_named(seeder):
  model = seeder().learner
  broken = jax.tree.map(jnp.asarray, model.frozen)
  broken['final_norm']['scale'] = broken['final_norm']['scale'].at[3].set(
      jnp.nan)
  with pytest.raises(NotFiniteError, match=(
      r'the old self reads row 0 of 1: .* final_norm/scale \(1 of 32\)')):
    score_examples(model.config, broken, [[5, 6]], [[5, 6]], [[7]], 4)


@pytest.mark.parametrize('what, message', [
    ('frozen', "the model's weights: embed/table .1 of .*another copy"),
    ('teacher', "the teacher's weights: 0/embed/table .1 of .*another copy"),
    ('reward', 'the reward: reward_semantic .1 of 1.. Look at the judge'),
    ('advantage', 'the reward: advantage .1 of 4.. Look at the judge'),
    ('rollouts', 'the log-probabilities of the rollouts: .*1 of 12'),
    ('text', 'what the teacher makes of the rows: rows .1 of .*on a text'),
    ('importance', 'the importance of elastic weight consolidation: down'),
    ('slot', 'Not finite: slot/down .1 of .* Lower seeding.learning_rate'),
    ('optimizer', 'Not finite: opt_state/.*mu/down .* Lower seeding.learn'),
    ('gradient', "the gradient's norm is inf. All leaves are finite")])
def test_a_loss_that_is_no_number_is_blamed_on_its_cause(
    seeder, what, message):
  """Whatever comes later is broken as well: the optimizer always is."""
  broken = lambda x: np.where(np.arange(np.size(x)) == 0, np.nan, np.ravel(
      x)).reshape(np.shape(x)).astype(np.float32)
  seeder = seeder()
  good = seeder.learner
  dead = {**good.frozen, 'embed': {
      'table': broken(good.frozen['embed']['table'])}}
  frozen = dead if what == 'frozen' else good.frozen
  teacher = dead if what == 'teacher' else None
  slot = slots.read_slot(good.config, good.frozen, 0)
  state = update.init_state(seeder.settings, slot)
  moment = {**slot, 'down': broken(slot['down'])}
  if what == 'slot':
    state = state._replace(slot=moment)
  elif what != 'gradient':
    adam = state.opt_state[1]
    state = state._replace(opt_state=(state.opt_state[0], (
        adam[0]._replace(mu=moment), *adam[1:])))
  rows, hidden = seeder.terms.examples.take([0, 1, 2, 0])
  hidden = np.array(hidden)
  hidden[~rows.completion_mask] = np.nan  # Counts nowhere.
  if what == 'text':
    hidden[0, 0, 0] = np.nan
  batch = objective.Batch(
      rows, hidden, np.array([np.nan if what == 'advantage' else 1, 0, 0, 0]),
      importance=moment if what == 'importance' else None)
  if what == 'rollouts':
    batch = batch._replace(sampled_log_probs=broken(np.zeros((4, 3))))
  metrics = {'loss': 0.5 if what == 'gradient' else np.nan,
             'gradient_norm': np.inf if what == 'gradient' else 1.0,
             'reward_semantic': np.float32(
                 np.nan if what == 'reward' else 0.5)}
  with pytest.raises(NotFiniteError, match=f'seed, step 3: .*{message}'):
    blame.check_update(3, frozen, teacher, state, batch, metrics)
  # Before anything was learnt the learning rate is not to blame.
  with pytest.raises(NotFiniteError) as e:
    blame.check_update(0, frozen, teacher, state, batch, metrics)
  assert 'learning_rate' not in str(e.value) or what in ('teacher', 'rollouts')
