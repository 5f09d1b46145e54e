"""Conversations and their tokens beside those of transformers."""

import pathlib

import numpy as np
import pytest

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.model import BUNDLED

transformers = pytest.importorskip('transformers')
GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FOLDERS = {'tiny-world': BUNDLED['tiny-world'], **{
    name: GOLDEN / name for name in ('llama', 'qwen2')}}
# Names of special tokens, white space and quotes are where templates differ.
PIECES = ('w5', ' ', '\n', '<w6>', '&', '"', "'", '{{ x }}', '<|im_start|>',
          '<|eot_id|>', 'é', '灯', '\u2028', '😀', '\\n', 'Bokar', '.')


def conversations(number):
  random = np.random.default_rng(0)
  for _ in range(number):
    turns = int(random.integers(1, 6))
    roles = ['user', 'assistant'] * turns
    if random.random() < 0.5:
      roles.insert(0, 'system')
    yield [{'role': role, 'content': ''.join(random.choice(
        PIECES, int(random.integers(1, 9))))} for role in roles[:turns + 1]]


@pytest.mark.parametrize('name', FOLDERS)
def test_conversations_are_byte_for_byte_the_same(name):
  ours = Tokenizer.from_folder(FOLDERS[name])
  theirs = transformers.PreTrainedTokenizerFast.from_pretrained(FOLDERS[name])
  for number, messages in enumerate(conversations(200)):
    if name == 'tiny-world':  # Its template takes no others.
      messages = [m for m in messages if m['role'] != 'system']
    for ends in (True, False):
      text = theirs.apply_chat_template(
          messages, tokenize=False, add_generation_prompt=ends)
      assert ours.render_chat(messages, ends) == text, number
    assert ours.encode(text) == theirs.encode(
        text, add_special_tokens=False), number
