"""Tokenizers as GGUF files describe them: a vocabulary and the name of a rule.

Two kinds. 'gpt2' merges bytes: the file lists tokens, merges and types; how a
text is split into words before it only names (`tokenizer.ggml.pre`), so that
each rule is written down here. 'llama' is SentencePiece's: characters are
merged, the pair whose token has the highest score first, nothing is split, and
what no token spells becomes bytes.
"""

from collections.abc import Mapping, Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from sleepjax.data import model_files
from sleepjax.errors import UserError

# Types of tokens. What is unused has a name that no text means.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5
_ROLES = {'bos_token': 'bos', 'eos_token': 'eos', 'unk_token': 'unknown',
          'pad_token': 'padding'}

# Words as GPT-4 splits them: endings such as 's; letters with one character in
# front that is neither letter nor digit; digits; signs; line breaks; spaces.
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AROUND_DIGITS = (r'[^\r\n\p{L}\p{N}]?\p{L}+',
                  r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+')


def _words(digits):
  letters, rest = _AROUND_DIGITS
  return pre_tokenizers.Sequence([
      pre_tokenizers.Split(
          tokenizers.Regex('|'.join((_ENDINGS, letters, digits, rest))),
          'isolated'),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# By tokenizer.ggml.pre, what splits a text into words.
SPLITTERS = {
    'gpt-2': pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    'smollm': pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]),
    'qwen2': _words(r'\p{N}'),
    'llama-bpe': _words(r'\p{N}{1,3}'),
}
# Those that compose characters first, as their models' own files do; that take
# a word that is a token as it is; that begin a text by a token unless the file
# says no.
COMPOSED, WHOLE_WORDS, _BEGIN = ('qwen2',), ('llama-bpe',), ('llama-bpe',)
_SPACE = '\u2581'  # How SentencePiece writes it.
_LONGEST = 512  # Characters of a token that merges lead to.


def backend(file: model_files.GgufFile) -> tokenizers.Tokenizer:
  """The byte-pair encoder of an open file.

  Raises:
    UserError: metadata is missing, or the tokenizer is of another kind.
    Exception: of the tokenizers library, for a vocabulary that is damaged.
  """
  kind = file.need('tokenizer.ggml.model', str)
  if kind == 'llama':
    built, begins = _sentencepiece(file), True
  else:
    rule = file.need('tokenizer.ggml.pre', str)
    if kind != 'gpt2' or rule not in SPLITTERS:
      raise UserError(
          f'{file.path}: tokenizer {kind}/{rule} is not supported from GGUF; '
          'expected llama (SentencePiece) or one of '
          f'{", ".join(f"gpt2/{r}" for r in SPLITTERS)}. Load the Hugging '
          'Face folder of this model.')
    built, begins = _byte_level(file, rule), rule in _BEGIN
  tokens, types = _tokens(file)
  built.add_tokens([
      tokenizers.AddedToken(
          token, normalized=False, special=kind != _USER_DEFINED)
      for token, kind in zip(tokens, types, strict=True)
      if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED)])
  ids = _special_ids(file)
  if file.metadata.get('tokenizer.ggml.add_bos_token', begins) and 'bos' in ids:
    start = tokens[ids['bos']]
    built.post_processor = processors.TemplateProcessing(
        single=[start, '$A'], special_tokens=[(start, ids['bos'])])
  return built


def _byte_level(file, rule):
  tokens, types = _tokens(file)
  merges = file.need('tokenizer.ggml.merges', list)
  built = tokenizers.Tokenizer(models.BPE(
      vocab={token: i for i, token in enumerate(tokens)
             if types[i] != _UNUSED},
      merges=[tuple(merge.split(' ')) for merge in merges],
      ignore_merges=rule in WHOLE_WORDS))
  if rule in COMPOSED:
    built.normalizer = normalizers.NFC()
  built.pre_tokenizer = SPLITTERS[rule]
  built.decoder = decoders.ByteLevel()
  return built


def _sentencepiece(file):
  tokens, types = _tokens(file)
  scores = file.need('tokenizer.ggml.scores', list)
  ids = {token: i for i, token in enumerate(tokens) if types[i] != _UNUSED}
  unknown = _special_ids(file).get('unknown')
  built = tokenizers.Tokenizer(models.BPE(
      vocab=ids, merges=merges_by_score(tokens, types, scores, ids),
      unk_token=None if unknown is None else tokens[unknown],
      fuse_unk=True, byte_fallback=True))
  spaces = [normalizers.Replace(' ', _SPACE)]
  texts = [decoders.Replace(_SPACE, ' '), decoders.ByteFallback(),
           decoders.Fuse()]
  if file.metadata.get('tokenizer.ggml.add_space_prefix', True):
    spaces.insert(0, normalizers.Prepend(_SPACE))
    texts.append(decoders.Strip(' ', 1, 0))
  built.normalizer = normalizers.Sequence(spaces)
  built.decoder = decoders.Sequence(texts)
  return built


def merges_by_score(tokens: Sequence[str], types: Sequence[int],
                    scores: Sequence[float], ids: Mapping[str, int]
                    ) -> list[tuple[str, str]]:
  """Every pair of tokens that makes a third, by the score of that one.

  Args:
    tokens, types, scores: of each id.
    ids: of the tokens in use.
  """
  found = []
  for token, kind, score in zip(tokens, types, scores, strict=True):
    if kind != _NORMAL or len(token) > _LONGEST:
      continue
    for i in range(1, len(token)):
      first, second = token[:i], token[i:]
      if first in ids and second in ids:
        found.append((-score, ids[first], ids[second], first, second))
  return [pair[3:] for pair in sorted(found)]


def roles(file: model_files.GgufFile) -> dict[str, str]:
  """Role ('eos_token', ...) -> text, of those that tokens have."""
  tokens, ids = _tokens(file)[0], _special_ids(file)
  return {role: tokens[ids[key]] for role, key in _ROLES.items() if key in ids}


def ends(file: model_files.GgufFile) -> list[int]:
  """Ids that end a turn or a message, besides the end of a text."""
  ids = _special_ids(file)
  return [ids[key] for key in ('eot', 'eom') if key in ids]


def _tokens(file):
  return (file.need('tokenizer.ggml.tokens', list),
          file.need('tokenizer.ggml.token_type', list))


def _special_ids(file):
  """{'bos': id, ...} of tokens that the vocabulary has."""
  tokens, types = _tokens(file)
  ids = {key: file.metadata.get(f'tokenizer.ggml.{key}_token_id')
         for key in ('bos', 'eos', 'unknown', 'padding', 'eot', 'eom')}
  return {key: index for key, index in ids.items()
          if type(index) is int and 0 <= index < min(len(tokens), len(types))
          and types[index] != _UNUSED}
