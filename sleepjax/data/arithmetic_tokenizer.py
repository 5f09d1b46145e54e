"""The vocabulary of arithmetic in words: every word and digit is a token."""

import re

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sleepjax.data import arithmetic
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.data.world_tokenizer import (
    CHAT_TEMPLATE,
    END,
    PAD,
    SPECIAL,
    UNKNOWN,
)

# How a teacher is asked that has a solution in view, see
# `sleepjax.seeding.reference`.
IN_VIEW = '{problem} Solution: {solution} Solve it.'


def words() -> list[str]:
  """Every word of problems, solutions, and of a prompt with both."""
  plain = re.sub(r'\{\w+\}', ' ', IN_VIEW)
  return list(dict.fromkeys(
      [*arithmetic.words(), *re.findall(r'\w+|[^\w\s]', plain)]))


def build_tokenizer() -> Tokenizer:
  """A word-level tokenizer with single digits and the world's chat form."""
  vocabulary = {token: i for i, token in enumerate([*SPECIAL, *words()])}
  backend = tokenizers.Tokenizer(
      models.WordLevel(vocabulary, unk_token=UNKNOWN))
  backend.pre_tokenizer = pre_tokenizers.Sequence([
      pre_tokenizers.Whitespace(),
      pre_tokenizers.Digits(individual_digits=True)])
  backend.decoder = decoders.WordPiece(prefix='##', cleanup=True)
  backend.add_special_tokens(list(SPECIAL))
  return Tokenizer(
      backend, CHAT_TEMPLATE, {'eos_token': END, 'pad_token': PAD},
      (vocabulary[END],), vocabulary[PAD])
