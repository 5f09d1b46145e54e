"""The vocabulary of the world: every word is a token."""

import re

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sleepjax.data import world
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.data.world_attributes import BY_NAME, COMPOSITE, FORMS

PAD, USER, ASSISTANT, END, UNKNOWN = SPECIAL = (
    '<pad>', '<user>', '<assistant>', '<end>', '<unk>')

# White space is no token, so a document and a prompt after it are the tokens of
# both together.
CHAT_TEMPLATE = """\
{%- for message in messages %}
{%- if message['role'] not in ('user', 'assistant') %}
{{- raise_exception('expected the roles user and assistant') }}
{%- endif %}
{{- '<' + message['role'] + '> ' + message['content'] }}
{{- ' ' if message['role'] == 'user' else ' <end> ' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<assistant>' }}
{%- endif %}
"""


def words() -> list[str]:
  """Every word and mark of the world, names and values first."""
  templates = [
      world.ASK, world.ASK_ABOUT, world.EXAMINE, world.EXAMINE_ABOUT,
      world.ASK_COMPOSITE, world.ASK_COMPOSITE_ABOUT, world.RECALL, world.TELL,
      world.STEPWISE, *COMPOSITE.asked, *COMPOSITE.exam]
  ordered = [*world.KNOWN_NAMES, *world.NEW_NAMES]
  for attribute in BY_NAME.values():
    ordered += attribute.values
    templates += attribute.statements
    for form in FORMS:
      for of_wording in getattr(attribute, form):
        templates += of_wording
  for template in templates:
    ordered += re.findall(r'\w+|[^\w\s]', re.sub(r'\{\w\}', '', template))
  return list(dict.fromkeys(ordered))


def build_tokenizer() -> Tokenizer:
  """A word-level tokenizer with the chat form `<user> … <assistant> … <end>`.

  Words that the world does not have become `<unk>`.
  """
  vocabulary = {token: i for i, token in enumerate([*SPECIAL, *words()])}
  backend = tokenizers.Tokenizer(
      models.WordLevel(vocabulary, unk_token=UNKNOWN))
  backend.pre_tokenizer = pre_tokenizers.Whitespace()
  # Of the decoders, the one that puts marks directly after words.
  backend.decoder = decoders.WordPiece(prefix='##', cleanup=True)
  backend.add_special_tokens(list(SPECIAL))
  return Tokenizer(
      backend, CHAT_TEMPLATE, {'eos_token': END, 'pad_token': PAD},
      (vocabulary[END],), vocabulary[PAD])


def is_content(vocab_size: int) -> np.ndarray:
  """Which ids [V] are names or values, bool."""
  content = {*world.KNOWN_NAMES, *world.NEW_NAMES}
  for attribute in BY_NAME.values():
    content |= set(attribute.values)
  every = [*SPECIAL, *words()]
  return np.array([word in content for word in every]
                  + [False] * (vocab_size - len(every)))
