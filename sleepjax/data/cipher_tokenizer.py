"""The vocabulary of cipher languages: every word is a token."""

import re

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sleepjax.data import ciphers
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.data.world_tokenizer import (
    CHAT_TEMPLATE,
    END,
    PAD,
    SPECIAL,
    UNKNOWN,
)

_CONTENT = (*ciphers.ENGLISH, *ciphers.words()[0], *ciphers.words()[1])
VOCABULARY = {token: i for i, token in enumerate(dict.fromkeys([
    *SPECIAL, *_CONTENT, *ciphers.ROLES,
    *re.findall(r'\S+', ciphers.known().book())]))}


def build_tokenizer() -> Tokenizer:
  """A word-level tokenizer with the world's chat form."""
  backend = tokenizers.Tokenizer(
      models.WordLevel(VOCABULARY, unk_token=UNKNOWN))
  backend.pre_tokenizer = pre_tokenizers.Whitespace()
  backend.decoder = decoders.WordPiece(prefix='##', cleanup=True)
  backend.add_special_tokens(list(SPECIAL))
  return Tokenizer(
      backend, CHAT_TEMPLATE, {'eos_token': END, 'pad_token': PAD},
      (VOCABULARY[END],), VOCABULARY[PAD])


def is_content(vocab_size: int) -> np.ndarray:
  """Which ids [V] are words that mean something, bool."""
  content = np.zeros(vocab_size, bool)
  content[[VOCABULARY[word] for word in _CONTENT]] = True
  return content
