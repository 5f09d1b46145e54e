"""Special tokens, in all the places where a model folder may declare them.

tokenizer.json need not know them: they may stand in tokenizer_config.json, or
in two files of older models, or be entries of the vocabulary that only the chat
template writes. Read and added as transformers does, in its order.
"""

import json
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken

from sleepjax.data import model_files
from sleepjax.errors import UserError

# Where several are not in the vocabulary, their ids follow in this order.
_ROLES = ('bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token',
          'cls_token', 'mask_token')
_FLAGS = ('single_word', 'lstrip', 'rstrip', 'normalized', 'special')
_CONTROL_FORM = re.compile(r'<[^<>\s]+>|\[/?[A-Z_]+\]')
_SHOWN = re.compile('think|tool')  # Written as text, by models that use them.


def add_declared(backend: tokenizers.Tokenizer, folder: pathlib.Path,
                 settings: Mapping[str, Any]) -> dict[str, str]:
  """Makes each token that a model folder declares one token.

  What is an entry of the vocabulary keeps its id; others get the next ones. A
  list in tokenizer_config.json (`added_tokens_decoder`) makes those in
  special_tokens_map.json and added_tokens.json obsolete; without it, the
  former comes before tokenizer_config.json.

  Args:
    backend: of the tokenizer.json in the folder; changed in place.
    folder: of the model.
    settings: contents of its tokenizer_config.json.

  Returns:
    Role ('eos_token', ...) -> text, of all roles that tokens have.

  Raises:
    UserError: a file that holds something else, or a token has another id than
      its declaration says.
  """
  listed = settings.get('added_tokens_decoder')
  roles, others = _named(folder, settings, older_first=listed is None)
  with_role = {token.content for token in roles.values()}
  if listed is None:
    where = folder / 'added_tokens.json'
    special = with_role | {token.content for token in others}
    by_id = {index: AddedToken(text, normalized=text not in special,
                               special=text in special)
             for text, index in optional_json(where).items()}
    known = added_texts(backend)  # The flags in tokenizer.json are better.
  else:
    where = folder / 'tokenizer_config.json'
    by_id = {index: _token(token, where, with_role)
             for index, token in _items(listed, where)}
    known = ()
  backend.add_tokens([by_id[index] for index in sorted(by_id)
                      if by_id[index].content not in known])
  for index, token in by_id.items():
    _check_id(backend, token.content, index, where)
  make_special(backend, with_role)
  known = added_texts(backend)
  backend.add_tokens([
      token for token in (*roles.values(), *others)
      if token.content not in known])
  return {role: token.content for role, token in roles.items()}


def _named(folder, settings, older_first):
  """({role: token}, further special tokens)"""
  where = f'{folder}: special tokens'
  older = optional_json(folder / 'special_tokens_map.json')
  given = {k: v for k, v in settings.items() if v is not None}
  given = {**given, **older} if older_first else {
      **{role: older[role] for role in _ROLES if role in older}, **given}
  others = given.get('extra_special_tokens') or given.get(
      'additional_special_tokens') or []
  if isinstance(others, dict):
    given, others = {**given, **others}, []
  if not isinstance(others, list):
    raise UserError(f'{where}: got {others!r:.80}; expected a list.')
  roles = {role: _token(given[role], where)
           for role in sorted(given, key=_order)
           if role.endswith('_token') and given[role]
           and isinstance(given[role], str | dict)}
  # Of two descriptions of one token, the last with flags of its own counts.
  taken = {token.content for token in roles.values()}
  return roles, [_token(token, where) for token in others
                 if isinstance(token, dict) or token not in taken]


def _items(listed, where):
  """[(id, token)] of added_tokens_decoder, whose keys are texts of numbers."""
  if isinstance(listed, dict) and all(
      key.isdecimal() and len(key) < 12 for key in listed):
    return [(int(key), token) for key, token in listed.items()]
  raise UserError(
      f'{where}: added_tokens_decoder is {str(listed)[:80]!r}; expected ids '
      'and the tokens that they stand for.')


def _check_id(backend, text, index, where):
  have = backend.token_to_id(text)
  if have != index:
    other = backend.id_to_token(index) if type(index) is int and (
        0 <= index < 2**32) else None
    raise UserError(
        f'{where}: says that {text!r} has the id {index!r:.40}; by the '
        f'tokenizer.json beside it, its id is {have}'
        + (f', and {index} is {other!r}' if other is not None else '')
        + '. The files are of different models, or one was edited: take all of '
        'them from one place.')


def add_written(backend: tokenizers.Tokenizer, text: str) -> None:
  """Makes control tokens of a text that the vocabulary has into one token.

  Nothing else would use such an entry: no merge leads to it.

  Args:
    backend: changed in place.
    text: what a chat template writes.
  """
  known = added_texts(backend)
  backend.add_tokens([
      AddedToken(token, normalized=False, special=not _SHOWN.search(token))
      for token in dict.fromkeys(_CONTROL_FORM.findall(text))
      if token not in known and backend.token_to_id(token) is not None
      and len(backend.encode(token, add_special_tokens=False).ids) > 1])


def model_ends(folder: pathlib.Path) -> list[int]:
  """Ids that end a text by generation_config.json, or else by config.json."""
  for name in ('generation_config.json', 'config.json'):
    ends = optional_json(folder / name).get('eos_token_id')
    ends = [i for i in (ends if isinstance(ends, list) else [ends])
            if type(i) is int]
    if ends:
      return ends
  return []


def optional_json(path: pathlib.Path) -> dict[str, Any]:
  """The JSON object in a file; {} if there is no such file."""
  return model_files.read_json(path) if path.exists() else {}


def turn_end(backend: tokenizers.Tokenizer, after: str) -> int | None:
  """The token that ends a turn, or None.

  Args:
    backend: knows it as one token.
    after: what a chat template writes behind an answer.
  """
  ids = backend.encode(after.strip(), add_special_tokens=False).ids[:1]
  token = backend.id_to_token(ids[0]) if ids else ''
  return ids[0] if token in added_texts(backend) and not _SHOWN.search(
      token) else None


def make_special(backend: tokenizers.Tokenizer, texts: Collection[str]
                 ) -> None:
  """Has decoding leave out those of these texts that are one token."""
  tokens = [token for token in backend.get_added_tokens_decoder().values()
            if token.content in texts and not token.special]
  for token in tokens:
    token.special = True
  backend.add_tokens(tokens)


def without(backend: tokenizers.Tokenizer, texts: Collection[str]
            ) -> tokenizers.Tokenizer:
  """A copy without these tokens, which have the largest ids."""
  contents = json.loads(backend.to_str())
  contents['added_tokens'] = [token for token in contents['added_tokens']
                              if token['content'] not in texts]
  model = contents['model']
  if isinstance(model['vocab'], dict):
    model['vocab'] = {text: index for text, index in model['vocab'].items()
                      if text not in texts}
  else:  # Pairs of text and score, in the order of their ids.
    model['vocab'] = [pair for pair in model['vocab'] if pair[0] not in texts]
  return tokenizers.Tokenizer.from_str(json.dumps(contents))


def added_texts(backend: tokenizers.Tokenizer, only_special: bool = False
                ) -> set[str]:
  """Texts that become one token before anything else is split."""
  return {token.content
          for token in backend.get_added_tokens_decoder().values()
          if token.special or not only_special}


def _order(role):
  return _ROLES.index(role) if role in _ROLES else len(_ROLES)


def _token(given, where, special=None) -> AddedToken:
  """A token of its text, or of the dict that transformers makes of one.

  It is special if it says so, or is one of `special`, or that is None.
  """
  given = {'content': given} if isinstance(given, str) else given
  if isinstance(given, dict) and isinstance(given.get('content'), str):
    flags = {flag: given[flag] for flag in _FLAGS if flag in given}
    if special is None or given['content'] in special:
      flags['special'] = True
    if all(isinstance(flag, bool) for flag in flags.values()):
      return AddedToken(given['content'], **flags)
  raise UserError(f'{where}: {given!r:.80} describes no token.')
