"""Writes the reference files of the tests of GGUF files.

  pip install torch==2.13.0 transformers==5.24.0 accelerate sentencepiece \
      xllamacpp==2026.10.11549
  PYTHONPATH=. python tests/golden/make_gguf.py logits
  PYTHONPATH=. python tests/golden/make_gguf.py tokens
  PYTHONPATH=. python tests/golden/make_gguf.py sentencepiece_tokens

logits: what transformers, by its own reader of GGUF files, computes with the
random models of `tests.gguf_files`. The others: small vocabularies and ids by
other programs: transformers' tokenizer of Qwen2, llama.cpp for Llama 3's rule,
sentencepiece for its own.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile

import jax
import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from sleepjax.models import transformer
from tests import gguf_files
from tests.golden.make_golden import STRINGS, llama_cpp_encoder

HERE = pathlib.Path(__file__).parent / 'gguf'
TEXT = pathlib.Path('sleepjax/data/text/lighthouse.txt')


def logits():
  import torch
  import transformers

  HERE.mkdir(exist_ok=True)
  for name, config in gguf_files.QUANTISED.items():
    with tempfile.TemporaryDirectory() as folder:
      gguf_files.write_quantised(f'{folder}/m.gguf', name)
      model = transformers.AutoModelForCausalLM.from_pretrained(
          folder, gguf_file='m.gguf', dtype=torch.float32).eval()
    tokens = np.random.default_rng(1).integers(
        0, config.vocab_size, (2, 24)).astype(np.int32)
    with torch.no_grad():
      out = model(torch.from_numpy(tokens).long()).logits.numpy()
    np.savez_compressed(HERE / f'{name}.npz', tokens=tokens, logits=out)
    print(name, type(model).__name__, float(out.std()))


def tokens():
  import transformers

  special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
  trained = _trained(transformers.Qwen2Tokenizer().backend_tokenizer)
  ids = trained['vocab']
  qwen2 = transformers.Qwen2Tokenizer(
      {**ids, special[0]: len(ids)},
      [tuple(merge) for merge in trained['merges']])
  qwen2.add_tokens(special, special_tokens=True)
  _write('qwen2_tokens.json', {
      'tokens': [*ids, *special], 'merges': trained['merges'],
      'encoded': _encoded(qwen2.encode)})

  special = ['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>']
  backend = tokenizers.Tokenizer(models.BPE())
  backend.pre_tokenizer = pre_tokenizers.Sequence([
      pre_tokenizers.Split(tokenizers.Regex(r'\p{L}+|\p{N}{1,3}'), 'isolated'),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
  trained = _trained(backend)
  names = [*trained['vocab'], *special]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'm.gguf')
    config = dataclasses.replace(
        gguf_files.QUANTISED['llama'], vocab_size=len(names))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32),
                          transformer.abstract_params(config))
    gguf_files.write_gguf(path, config, params, gguf_files.vocabulary(
        names, trained['merges'], 'gpt2', 'llama-bpe', len(names) - 2,
        add_bos_token_id=len(names) - 3))
    encode = llama_cpp_encoder(path)
    _write('llama3_tokens.json', {
        'tokens': names, 'merges': trained['merges'],
        'encoded': _encoded(encode)})


def sentencepiece_tokens():
  import sentencepiece

  with tempfile.TemporaryDirectory() as folder:
    sentencepiece.SentencePieceTrainer.train(
        input=str(TEXT), model_prefix=f'{folder}/m', vocab_size=600,
        model_type='bpe', byte_fallback=True, split_digits=True,
        normalization_rule_name='identity', remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, minloglevel=2)
    pieces = sentencepiece.SentencePieceProcessor(f'{folder}/m.model')
  of_id = lambda f: [f(i) for i in range(pieces.vocab_size())]
  types = of_id(lambda i: 2 if pieces.is_unknown(i) else 3 if pieces.is_control(
      i) else 6 if pieces.is_byte(i) else 1)
  _write('sentencepiece_tokens.json', {
      'tokens': of_id(pieces.id_to_piece), 'scores': of_id(pieces.get_score),
      'types': types, 'encoded': _encoded(pieces.encode)})


def _trained(like):
  """Vocabulary and merges learnt by the normaliser and words of a tokenizer."""
  backend = tokenizers.Tokenizer(models.BPE())
  if like.normalizer:
    backend.normalizer = like.normalizer
  backend.pre_tokenizer = like.pre_tokenizer
  text = TEXT.read_text(encoding='utf-8')
  backend.train_from_iterator([text, *STRINGS * 3], trainers.BpeTrainer(
      vocab_size=640, show_progress=False,
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
  trained = json.loads(backend.to_str())['model']
  assert [*trained['vocab'].values()] == [*range(len(trained['vocab']))]
  return trained


def _encoded(encode):
  return [{'text': text, 'ids': encode(text)} for text in STRINGS]


def _write(name, contents):
  (HERE / name).write_text(json.dumps(contents, separators=(',', ':')) + '\n')


if __name__ == '__main__':
  globals()[sys.argv[1]]()
