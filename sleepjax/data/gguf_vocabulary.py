"""Tokenizers written as GGUF files describe them, for `gguf_tokenizer`.

A file names the rule that splits a text into words, and has no merges of
SentencePiece but scores, so that not every tokenizer can be said in one. What
cannot is refused.
"""

import json

import gguf
import tokenizers
from tokenizers import models

from sleepjax.data.gguf_tokenizer import (
    COMPOSED,
    SPLITTERS,
    WHOLE_WORDS,
    merges_by_score,
)
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError

_Type = gguf.TokenType
_SAMPLE = ("A café's 1,234 ships\n\n  weren't  there; naïve — 你好 🙂\t"
           'def f(x): return x ** 2\n')


def write(writer: gguf.GGUFWriter, tokenizer: Tokenizer, rows: int) -> None:
  """Adds a vocabulary, its special tokens and its chat template to a file.

  Args:
    writer: of the file.
    tokenizer: of byte pairs, or SentencePiece's.
    rows: of the embedding; those without a token get names that no text means.

  Raises:
    UserError: GGUF files cannot describe this tokenizer.
  """
  contents = json.loads(tokenizer.backend.to_str())
  model = contents['model']
  if model['type'] != 'BPE':
    raise _refused(f'it is of the kind {model["type"]}, not BPE')
  tokens, types = _tokens(tokenizer, model, rows)
  merges = [tuple(pair) for pair in model['merges']]
  if model['byte_fallback']:
    writer.add_tokenizer_model('llama')
    writer.add_tokenizer_pre('default')
    writer.add_token_scores(_scores(tokens, types, merges))
    writer.add_add_space_prefix(_begins_with_a_space(contents))
  else:
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre(_rule(contents))
    writer.add_token_merges([' '.join(pair) for pair in merges])
  writer.add_token_list(tokens)
  writer.add_token_types(types)
  _write_special(writer, tokenizer)
  writer.add_chat_template(tokenizer.chat_template)


def check_same(tokenizer: Tokenizer, again: Tokenizer) -> None:
  """Checks that what was read from a file reads texts as what was written.

  Raises:
    UserError: it does not.
  """
  message = [{'role': 'user', 'content': _SAMPLE}]
  for text in (_SAMPLE, tokenizer.render_chat(message)):
    if tokenizer.encode_stream(text) != again.encode_stream(text):
      raise _refused(f'a file would split {text!r} into other tokens')
  if set(tokenizer.stop_ids) != set(again.stop_ids):
    raise _refused(f'texts end with {tokenizer.stop_ids}, and in a file with '
                   f'{again.stop_ids}')


def _tokens(tokenizer, model, rows):
  """([name], [type]) of every row of the embedding."""
  tokens = [f'[PAD{i}]' for i in range(rows)]
  types = [_Type.UNUSED] * rows
  for token, i in tokenizer.backend.get_vocab(True).items():
    tokens[i], types[i] = token, _Type.NORMAL
    if model['byte_fallback'] and token == model['unk_token']:
      types[i] = _Type.UNKNOWN
  for byte in range(256 if model['byte_fallback'] else 0):
    types[model['vocab'][f'<0x{byte:02X}>']] = _Type.BYTE
  for i, token in tokenizer.backend.get_added_tokens_decoder().items():
    if types[i] != _Type.UNKNOWN:
      types[i] = _Type.CONTROL if token.special else _Type.USER_DEFINED
  return tokens, types


def _rule(contents):
  """The name under which files know what splits a text into words."""
  for rule, splitter in SPLITTERS.items():
    known = tokenizers.Tokenizer(models.BPE())
    known.pre_tokenizer = splitter
    if (_splitting(json.loads(known.to_str())) == _splitting(contents)
        and contents['model']['ignore_merges'] == (rule in WHOLE_WORDS)
        and contents['normalizer'] == (
            {'type': 'NFC'} if rule in COMPOSED else None)):
      return rule
  raise _refused('what splits a text into words is none of '
                 f'{", ".join(SPLITTERS)}')


def _splitting(contents):
  """The steps of a pre-tokenizer, without what concerns places in a text."""
  step = contents['pre_tokenizer'] or {}
  return [{name: value for name, value in part.items()
           if name != 'trim_offsets'}
          for part in step.get('pretokenizers', [step])]


def _scores(tokens, types, merges):
  """Of every token, such that merges follow from them."""
  ranks = {}
  for pair in merges:
    ranks.setdefault(''.join(pair), len(ranks))
  scores = [-float(ranks.get(token, len(ranks))) for token in tokens]
  ids = {token: i for i, token in enumerate(tokens)
         if types[i] != _Type.UNUSED}
  order = [ranks[''.join(pair)] for pair in merges]
  if order != sorted(order) or {*merges} != {
      *merges_by_score(tokens, types, scores, ids)}:
    raise _refused('its merges do not follow from a score of each token')
  return scores


def _begins_with_a_space(contents):
  """Whether SentencePiece puts one in front of a text."""
  splitter, normal = contents['pre_tokenizer'], contents['normalizer'] or {}
  if splitter and splitter['type'] == 'Metaspace':
    return splitter['prepend_scheme'] != 'never'
  return any(step.get('type') == 'Prepend'
             for step in normal.get('normalizers', [normal]))


def _write_special(writer, tokenizer):
  ids = {role: tokenizer.backend.token_to_id(token)
         for role, token in tokenizer.special_tokens.items()}
  begin = ids.get('bos_token')
  if tokenizer.text_start not in ((), (begin,)):
    raise _refused(f'texts begin with the tokens {tokenizer.text_start}')
  writer.add_add_bos_token(bool(tokenizer.text_start))
  if len(tokenizer.stop_ids) > 3:
    raise _refused('more than three tokens end a text')
  for add, index in (
      (writer.add_bos_token_id, begin),
      (writer.add_unk_token_id, ids.get('unk_token')),
      (writer.add_pad_token_id, ids.get('pad_token')),
      *zip((writer.add_eos_token_id, writer.add_eot_token_id,
            writer.add_eom_token_id), tokenizer.stop_ids)):
    if index is not None:
      add(index)


def _refused(why) -> UserError:
  return UserError(f'this tokenizer cannot be written to a GGUF file: {why}. '
                   'Export a Hugging Face folder.')
