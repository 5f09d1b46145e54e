"""The vocabulary of grids: every cell, end of a row and setting is a token."""

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.data.world_tokenizer import (
    ASSISTANT,
    END,
    PAD,
    SPECIAL,
    UNKNOWN,
    USER,
)

# Nothing stands between the parts, since a line end is a token.
CHAT_TEMPLATE = f"""\
{{%- for message in messages %}}
{{%- if message['role'] == 'user' %}}
{{{{- '{USER}' + message['content'] }}}}
{{%- elif message['role'] == 'assistant' %}}
{{{{- '{ASSISTANT}' + message['content'] + '{END}' }}}}
{{%- else %}}
{{{{- raise_exception('expected the roles user and assistant') }}}}
{{%- endif %}}
{{%- endfor %}}
{{%- if add_generation_prompt %}}
{{{{- '{ASSISTANT}' }}}}
{{%- endif %}}
"""

# How a model is asked how it would learn a task, see `tasks.self_edits`; the
# words of its reply follow the digits.
ASK_EDIT = '?'
WORDS = ('none', 'turned', 'coloured', 'both', 'slow', 'middle', 'fast',
         'short', 'long', ',')
VOCABULARY = {token: i for i, token in enumerate([
    *SPECIAL, '\n', *'0123456789', ASK_EDIT, *WORDS])}


def build_tokenizer() -> Tokenizer:
  """A tokenizer of single cells with a chat form whose turns are grids."""
  backend = tokenizers.Tokenizer(
      models.WordLevel(VOCABULARY, unk_token=UNKNOWN))
  backend.pre_tokenizer = pre_tokenizers.Split(
      Regex(r'[a-z]+|[^a-z]'), 'isolated')
  backend.decoder = decoders.Fuse()
  backend.add_special_tokens(list(SPECIAL))
  return Tokenizer(
      backend, CHAT_TEMPLATE, {'eos_token': END, 'pad_token': PAD},
      (VOCABULARY[END],), VOCABULARY[PAD])
