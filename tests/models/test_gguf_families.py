"""Files of the supported architectures compute what transformers computes.

`tests/golden/make_gguf.py` writes the references.
"""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.model import load_pretrained
from sleepjax.models import gguf, hf, transformer
from sleepjax.models.config import ModelConfig
from tests.gguf_files import (
    QUANTISED,
    stored_tensors,
    vocabulary,
    write_gguf,
    write_quantised,
)

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
VOCABULARIES = {
    name: json.loads((GOLDEN / f'gguf/{name}_tokens.json').read_text())
    for name in ('qwen2', 'llama3', 'sentencepiece')}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>"
    "\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>"
    "\n\n</think>\n\n{% endif %}{% endif %}")


@pytest.mark.parametrize('architecture', QUANTISED)
def test_logits_of_quantised_files_equal_transformers(architecture, tmp_path):
  path = write_quantised(tmp_path / 'm.gguf', architecture)
  golden = np.load(GOLDEN / f'gguf/{architecture}.npz')
  config, params = gguf.load_gguf(path)
  assert config == QUANTISED[architecture]
  want = golden['logits']
  logits = transformer.logits(
      config, jax.tree.map(jnp.asarray, params), golden['tokens'])
  assert want.std() > 0.5
  np.testing.assert_allclose(logits, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize('architecture', ['llama', 'qwen2', 'qwen3'])
def test_a_folder_as_a_file(architecture, tmp_path):
  """The golden folders, whose logits are those of transformers."""
  config, params = hf.load_hf(GOLDEN / architecture)
  config = dataclasses.replace(config, rope_scaling=None)
  path = write_gguf(
      tmp_path / 'm.gguf', config, params, architecture=architecture)
  again, loaded = gguf.load_gguf(path)
  assert again == config
  jax.tree.map(np.testing.assert_array_equal, loaded, params)


@pytest.mark.parametrize('architecture', ['qwen2', 'qwen3'])
@pytest.mark.parametrize('tied', [True, False])
def test_tied_and_separate_heads(architecture, tied, tmp_path):
  config = dataclasses.replace(
      hf.read_config(GOLDEN / architecture), tie_embeddings=tied)
  params = jax.tree.map(
      lambda leaf: np.full(leaf.shape, 0.5, np.float32),
      transformer.abstract_params(config))
  path = write_gguf(
      tmp_path / 'm.gguf', config, params, architecture=architecture)
  loaded_config, loaded = gguf.load_gguf(path)
  assert loaded_config == config and ('head' not in loaded) == tied


@pytest.mark.parametrize('architecture, more', [
    ('smollm3', {'layer_kinds': ('full',) * 3 + ('unrotated', 'full')}),
    ('gemma3', {'layer_kinds': ('window',) * 5, 'window': 8,
                'embed_scale': 4.0})])
def test_layers_of_several_kinds(architecture, more, tmp_path):
  """Every fourth of SmolLM3 is not rotated, every sixth of Gemma 3 is full."""
  config = ModelConfig(
      vocab_size=11, num_layers=5, embed_dim=16, mlp_dim=8, num_heads=2,
      num_kv_heads=1, head_dim=8, max_context=32,
      **gguf.FAMILIES[architecture], **more)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
      transformer.abstract_params(config))
  again, loaded = gguf.load_gguf(write_gguf(
      tmp_path / 'm.gguf', config, params, architecture=architecture))
  assert again == config
  jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_gemma_3_27b_is_refused(tmp_path):
  config = dataclasses.replace(
      QUANTISED['gemma3'], num_layers=62, embed_dim=4, mlp_dim=2, head_dim=2,
      layer_kinds=('window',) * 62)
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32),
                        transformer.abstract_params(config))
  path = write_gguf(
      tmp_path / 'm.gguf', config, params, architecture='gemma3')
  with pytest.raises(UserError, match='27B.*Take a smaller Gemma 3'):
    gguf.load_gguf(path)


def write_with_vocabulary(path, name, architecture='llama', rule='default',
                          **more):
  """A model with the vocabulary of a reference file."""
  known = VOCABULARIES[name]
  tokens = known['tokens']
  config = ModelConfig(
      vocab_size=len(tokens), num_layers=1, embed_dim=8, mlp_dim=8,
      num_heads=2, num_kv_heads=1, head_dim=4, max_context=64,
      **gguf.FAMILIES[architecture])
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32),
                        transformer.abstract_params(config))
  if name == 'sentencepiece':
    metadata = [
        ('add_tokenizer_model', 'llama'), ('add_token_list', tokens),
        ('add_token_scores', known['scores']),
        ('add_token_types', known['types']), ('add_eos_token_id', 2),
        ('add_bos_token_id', 1), ('add_unk_token_id', 0), *more.items()]
  else:
    metadata = vocabulary(tokens, known['merges'], 'gpt2', rule, **more)
  return write_gguf(path, config, params, metadata, architecture=architecture)


def qwen2_file(path, architecture='qwen2', rule='qwen2'):
  tokens = VOCABULARIES['qwen2']['tokens']
  return write_with_vocabulary(
      path, 'qwen2', architecture, rule, end=tokens.index('<|im_end|>'),
      add_pad_token_id=tokens.index('<|endoftext|>'), add_add_bos_token=False,
      add_chat_template=TEMPLATE)


def test_ids_equal_those_of_qwen2s_tokenizer(tmp_path):
  tokenizer = load_pretrained(str(qwen2_file(tmp_path / 'm.gguf'))).tokenizer
  known = VOCABULARIES['qwen2']
  for row in known['encoded']:
    assert tokenizer.encode(row['text']) == row['ids']
  end, pad = map(known['tokens'].index, ('<|im_end|>', '<|endoftext|>'))
  assert (tokenizer.stop_ids, tokenizer.pad_id) == ((end,), pad)
  text = 'A lighthouse, 1969!\n'
  assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ids_of_llama3s_rule_equal_llama_cpp(tmp_path):
  known = VOCABULARIES['llama3']
  begin, end = map(
      known['tokens'].index, ('<|begin_of_text|>', '<|end_of_text|>'))
  for says, start in (({}, (begin,)), ({'add_add_bos_token': False}, ())):
    path = write_with_vocabulary(
        tmp_path / 'm.gguf', 'llama3', rule='llama-bpe', end=end,
        add_bos_token_id=begin, **says)
    tokenizer = load_pretrained(str(path)).tokenizer
    assert tokenizer.text_start == start and tokenizer.stop_ids == (end,)
    for row in known['encoded']:
      assert tokenizer.encode(row['text']) == row['ids']


def test_a_word_that_is_a_token_needs_no_merges(tmp_path, monkeypatch):
  """As in Llama 3: its vocabulary has words that no merge leads to."""
  known = VOCABULARIES['llama3']
  monkeypatch.setitem(VOCABULARIES, 'llama3', {
      **known, 'tokens': [*known['tokens'], 'Zyx']})
  path = write_with_vocabulary(
      tmp_path / 'm.gguf', 'llama3', rule='llama-bpe',
      end=known['tokens'].index('<|end_of_text|>'))
  tokenizer = load_pretrained(str(path)).tokenizer
  assert tokenizer.encode('Zyx') == [len(known['tokens'])]
  assert len(tokenizer.encode('Zyxa')) > 1


def test_ids_of_sentencepiece_equal_its_own(tmp_path):
  known = VOCABULARIES['sentencepiece']
  path = write_with_vocabulary(tmp_path / 'm.gguf', 'sentencepiece')
  tokenizer = load_pretrained(str(path)).tokenizer
  for row in known['encoded']:
    assert tokenizer.encode(row['text']) == row['ids']
    assert tokenizer.decode(row['ids']) == row['text']
  assert (tokenizer.text_start, tokenizer.stop_ids) == ((1,), (2,))
  tokenizer.save(tmp_path / 'saved')
  again = Tokenizer.from_folder(tmp_path / 'saved')
  assert [again.encode(row['text']) for row in known['encoded']] == [
      row['ids'] for row in known['encoded']]


def test_sentencepiece_without_a_space_in_front(tmp_path):
  """As in Gemma: a text begins as it does, and is read so."""
  path = write_with_vocabulary(
      tmp_path / 'm.gguf', 'sentencepiece', add_add_space_prefix=False)
  tokenizer = load_pretrained(str(path)).tokenizer
  plain = load_pretrained(str(write_with_vocabulary(
      tmp_path / 'n.gguf', 'sentencepiece'))).tokenizer
  assert tokenizer.encode(' the sea') == plain.encode('the sea')
  assert tokenizer.encode('the sea') != plain.encode('the sea')
  for text in ('the sea', ' the sea'):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_template_of_the_file_and_thinking(tmp_path):
  path = str(qwen2_file(tmp_path / 'm.gguf', 'qwen3'))
  message = [{'role': 'user', 'content': 'Who?'}]
  asked = '<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n'
  for thinking, more in (
      (None, '<think>\n\n</think>\n\n'), (True, '')):
    model = load_pretrained(path, enable_thinking=thinking)
    assert model.tokenizer.render_chat(message) == asked + more
    assert ChatPrompts(model.tokenizer).closed_book('Who?') == (
        model.tokenizer.encode(asked + more))


def test_another_rule_of_words_is_refused(tmp_path):
  path = qwen2_file(tmp_path / 'm.gguf', rule='tekken')
  with pytest.raises(UserError, match='gpt2/tekken is not .* gpt2/qwen2') as e:
    load_pretrained(str(path))
  assert 'Load the Hugging Face folder' in str(e.value)


def test_biases_are_missed_in_a_file_without_them(tmp_path):
  config, params = hf.load_hf(GOLDEN / 'qwen2')
  path = write_gguf(
      tmp_path / 'm.gguf', config, params, architecture='qwen2',
      change=lambda tensors: tensors.pop('blk.1.attn_k.bias'))
  assert 'blk.1.attn_k.bias' in stored_tensors(config, params, 'qwen2')
  with pytest.raises(UserError, match=r'blk.1.attn_k.bias +missing +\[16\]'):
    gguf.load_gguf(path)
