"""A document and a prompt about it, read apart, are the tokens of the whole."""

import json

import pytest
import tokenizers
from tokenizers import (
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer

TEXT = 'Mira lives on the hill.\n\nShe bakes bread.'
QUESTION = 'Who lives on the hill?'
# How Llama 3 and Qwen split a text: a line's end belongs to what precedes it.
_SPLIT = tokenizers.Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+')


def built(folder, family):
  """A small vocabulary that splits texts as a family's does."""
  backend = tokenizers.Tokenizer(models.BPE())
  if family == 'llama 2':
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    backend.decoder = decoders.Metaspace()
    alphabet = sorted({*(TEXT + QUESTION), *'▁Questionswer:'})
  else:
    split = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=family == 'gpt2')
    backend.pre_tokenizer = split if family == 'gpt2' else (
        pre_tokenizers.Sequence([
            pre_tokenizers.Split(_SPLIT, 'isolated'), split]))
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
  texts = [f'{TEXT}\n\n{QUESTION}']
  if family == 'llama 2':  # Joins what it can, and has seen few lines' ends.
    texts = texts[0].split()
  backend.train_from_iterator(texts * 4, trainers.BpeTrainer(
      vocab_size=400, special_tokens=['<s>', '</s>'], show_progress=False,
      initial_alphabet=alphabet))
  if family != 'gpt2':
    backend.post_processor = processors.TemplateProcessing(
        single='<s> $A', special_tokens=[('<s>', 0)])
  folder.mkdir()
  backend.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps(
      {'bos_token': '<s>', 'eos_token': '</s>'}))
  return Tokenizer.from_folder(folder), backend


@pytest.mark.parametrize('family', ['gpt2', 'llama 3', 'llama 2'])
def test_the_parts_are_the_whole(family, tmp_path):
  tokenizer, backend = built(tmp_path / 'model', family)
  chat = ChatPrompts(tokenizer)
  whole = f'Question: {TEXT}\n\n{QUESTION}\nAnswer:'
  assert chat.document(TEXT) + chat.after_document(QUESTION) == (
      backend.encode(whole).ids)
  assert chat.closed_book(QUESTION) == backend.encode(
      f'Question: {QUESTION}\nAnswer:').ids


@pytest.mark.parametrize('family, start', [
    ('gpt2', ()), ('llama 3', (0,)), ('llama 2', (0,))])
def test_a_first_token_stands_in_front_of_streams_and_plain_messages(
    family, start, tmp_path):
  tokenizer, backend = built(tmp_path / 'model', family)
  assert tokenizer.text_start == start
  assert tokenizer.encode_stream(TEXT) == backend.encode(TEXT).ids == [
      *start, *tokenizer.encode(TEXT)]
  tokenizer.save(tmp_path / 'again')
  again = Tokenizer.from_folder(tmp_path / 'again')
  assert again.text_start == start
  assert ChatPrompts(again).closed_book(QUESTION) == ChatPrompts(
      tokenizer).closed_book(QUESTION)
  assert ChatPrompts(again).closed_book(QUESTION)[:1].count(0) == len(start)
