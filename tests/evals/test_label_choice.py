"""Constrained decoding against log-probabilities of whole sequences."""

import jax
import numpy as np
import pytest

from sleepjax.evals import label_choice
from sleepjax.evals.gaussian_classes import Gaussians
from sleepjax.evals.label_choice import LabelChoice
from sleepjax.model import load_pretrained
from sleepjax.models import transformer
from sleepjax.sampling import context, rows

TEXT = 'Mikar lives in Oslo. Favin often cooks rice.'
ASKED = ['Which person lives in Oslo?', 'Which person eats rice?',
         'Whose pet is a fox?']


@pytest.fixture(scope='module')
def model():
  return load_pretrained('tiny-world')


def log_probs(model, prompts, labels):
  """[n, L] means over the tokens of a label, from logits of whole sequences."""
  ids = [model.tokenizer.encode(label) for label in labels]
  every = [(prompt, label) for prompt in prompts for label in ids]
  whole, mask = rows.pad_right([p + label for p, label in every], 20)
  scores = jax.nn.log_softmax(jax.jit(transformer.logits, static_argnums=0)(
      model.config, model.params, whole, mask))
  means = [np.mean([scores[row, len(prompt) - 1 + i, token]
                    for i, token in enumerate(label)])
           for row, (prompt, label) in enumerate(every)]
  return np.reshape(means, (len(prompts), len(labels)))


@pytest.mark.parametrize('labels', [
    ['Mikar', 'Favin', 'Bonat'], ['Mikar Favin', 'Bonat', 'Oslo in rice']])
def test_scores_are_log_probabilities(model, labels):
  prompts = [model.chat.closed_book(question) for question in [*ASKED, '']]
  *expected, empty = log_probs(model, prompts, labels)
  for calibrated in (False, True):
    found = LabelChoice(calibrated=calibrated, batch_rows=2).scores(
        model, ASKED, labels)
    np.testing.assert_allclose(
        found, np.subtract(expected, calibrated * empty), atol=1e-4)


def test_a_model_labels_by_examples_in_view(model):
  segment = context.read_document(
      model.config, model.params, model.chat, TEXT)
  labels = ['Bonat', 'Favin', 'Mikar']
  scores = LabelChoice().scores(model, ASKED[:2], labels, segment)
  assert label_choice.right(scores, labels, ['Mikar', 'Favin']) == [True, True]
  assert label_choice.right(scores, labels, ['Favin', 'Favin']) == [
      False, True]


def test_features_are_of_the_end_of_a_prompt(model):
  found = LabelChoice(batch_rows=2).features(model, ASKED)
  ids = np.array([model.chat.closed_book(ASKED[2])])
  hidden, _ = transformer.hidden_states(model.config, model.params, ids)
  assert found.shape == (3, model.config.embed_dim)
  np.testing.assert_allclose(found[2], hidden[0, -1], atol=1e-5)


def test_gaussians_by_hand():
  """Means (0, 0) and (4, 0), pooled covariance the identity."""
  around = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1.]])
  learner = Gaussians(shrinkage=0.0)
  learner.learn(around, ['a'] * 4)
  learner.learn(around + [4, 0], ['b'] * 4)
  assert learner.labels == ['a', 'b']
  scores = learner.scores(np.array([[1, 5], [3, -5], [2, 0]]))
  # -|x - mean|² / 2 of each, less that of the other.
  np.testing.assert_allclose(scores[:, 0] - scores[:, 1], [4, -4, 0],
                             atol=1e-9)


def test_the_order_of_classes_does_not_matter():
  random = np.random.default_rng(0)
  features, labels = random.normal(size=(12, 5)), list('abcabcabcabc')
  together, apart = Gaussians(), Gaussians()
  together.learn(features, labels)
  for label in 'cab':
    own = [i for i, other in enumerate(labels) if other == label]
    apart.learn(features[own], [label] * len(own))
  asked = random.normal(size=(4, 5))
  order = [apart.labels.index(label) for label in together.labels]
  np.testing.assert_allclose(
      together.scores(asked), apart.scores(asked)[:, order], atol=1e-9)
