"""Text to token ids and back, and conversations to text."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.sandbox
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sleepjax.data import model_files
from sleepjax.errors import UserError

# The form of a conversation for models that were never taught one. A system
# message, or a passage, stands as a paragraph of its own.
PLAIN_TEMPLATE = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ 'Question: ' + message['content'] + '\n' }}
{%- elif message['role'] == 'assistant' %}
{{ 'Answer: ' + message['content'] + '\n\n' }}
{%- else %}
{{ message['content'] + '\n\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ 'Answer:' }}
{%- endif %}
"""

# End of a turn, in the chat forms of Qwen and SmolLM2, and of Llama 3. Base
# models of these families list only the end of a text as their `eos`.
_TURN_ENDS = ('<|im_end|>', '<|eot_id|>')

_MOST_TOKENS = 2**31  # Ids are int32.
_CONTROL = 3  # The type of special tokens in GGUF files.


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """A fixed vocabulary with the chat template that goes with it.

  Attributes:
    backend: the byte-pair encoder.
    chat_template: a Jinja template over `messages`.
    special_tokens: texts by role ('bos_token', 'eos_token', 'pad_token'), for
      those that exist; the template may name them.
    text_start: ids that stand in front of a text by itself, such as Llama's
      <|begin_of_text|>; most tokenizers have none.
    stop_ids: any of these ends a generated text.
    pad_id: fills rows of a batch. Some models have no token for it; an end
      token then stands in, and masks tell the difference.
  """

  backend: tokenizers.Tokenizer
  chat_template: str
  special_tokens: Mapping[str, str]
  stop_ids: tuple[int, ...]
  pad_id: int
  text_start: tuple[int, ...] = ()

  @classmethod
  def from_folder(cls, folder: str | os.PathLike) -> 'Tokenizer':
    """Reads tokenizer.json and the settings beside it.

    Args:
      folder: a Hugging Face model folder, or what `save` wrote. Its chat
        template is chat_template.jinja, or the one in tokenizer_config.json,
        or, with neither, `PLAIN_TEMPLATE`.

    Raises:
      UserError: no tokenizer.json, or a damaged file.
    """
    folder = pathlib.Path(folder)
    path = folder / 'tokenizer.json'
    if not path.is_file():
      raise UserError(
          f'{folder}: has no tokenizer.json. Download the tokenizer files of '
          'the model into this folder, too.')
    with _library_errors(f'{path}: cannot be read as a tokenizer'):
      backend = tokenizers.Tokenizer.from_file(str(path))
    settings, generation = (
        model_files.read_json(folder / name) if (folder / name).exists() else {}
        for name in ('tokenizer_config.json', 'generation_config.json'))
    special = {}
    for role in ('bos_token', 'eos_token', 'pad_token'):
      token = settings.get(role)
      if isinstance(token, dict):
        token = token.get('content')
      if token and isinstance(token, str):
        special[role] = token
    ends = generation.get('eos_token_id')
    ends = ends if isinstance(ends, list) else [ends]
    return _finished(
        backend, _folder_template(folder, settings), special,
        [i for i in ends if type(i) is int], str(folder))

  @classmethod
  def from_gguf(
      cls, source: str | os.PathLike | model_files.GgufFile) -> 'Tokenizer':
    """Builds the tokenizer that a GGUF file describes.

    Only the splitting rule of SmolLM2 (single digits, then GPT-2 words) is
    known; other models bring their tokenizer.json.

    Args:
      source: a path, or a file that is already open.

    Raises:
      UserError: a damaged file or another kind of tokenizer.
    """
    file = source
    if not isinstance(file, model_files.GgufFile):
      file = model_files.open_gguf(source)
    kind = (file.need('tokenizer.ggml.model', str),
            file.need('tokenizer.ggml.pre', str))
    if kind != ('gpt2', 'smollm'):
      raise UserError(
          f'{file.path}: tokenizer {"/".join(kind)} is not supported from '
          'GGUF; expected gpt2/smollm. Load the Hugging Face folder of this '
          'model.')
    tokens = file.need('tokenizer.ggml.tokens', list)
    merges = file.need('tokenizer.ggml.merges', list)
    types = file.need('tokenizer.ggml.token_type', list)
    with _library_errors(f'{file.path}: its vocabulary is damaged'):
      control = [token for token, kind in zip(tokens, types, strict=True)
                 if kind == _CONTROL]
      backend = tokenizers.Tokenizer(models.BPE(
          vocab={token: i for i, token in enumerate(tokens)},
          merges=[tuple(merge.split(' ')) for merge in merges]))
      backend.pre_tokenizer = pre_tokenizers.Sequence([
          pre_tokenizers.Digits(individual_digits=True),
          pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
      backend.decoder = decoders.ByteLevel()
      backend.add_special_tokens([
          tokenizers.AddedToken(token, special=True, normalized=False)
          for token in control])
    special = {}
    for role, key in (('bos_token', 'bos'), ('eos_token', 'eos'),
                      ('pad_token', 'padding')):
      index = file.metadata.get(f'tokenizer.ggml.{key}_token_id')
      if type(index) is int and 0 <= index < len(tokens):
        special[role] = tokens[index]
    template = file.metadata.get('tokenizer.chat_template', PLAIN_TEMPLATE)
    return _finished(backend, template, special, [], str(file.path))

  @classmethod
  def trained_on(cls, text: str, vocab_size: int) -> 'Tokenizer':
    """A byte-pair vocabulary of a text's own, for models from scratch.

    Any text can be encoded by it, as single bytes if need be.

    Args:
      text: what merges are counted in.
      vocab_size: at least 257, the bytes and the end of a text; a short text
        may give fewer.

    Raises:
      UserError: the vocabulary is too small.
    """
    if vocab_size < 257:
      raise UserError(f'vocab_size={vocab_size} must be at least 257: 256 '
                      'bytes and the end of a text.')
    end = '<|endoftext|>'
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        text.splitlines(keepends=True), trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=[end], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return _finished(
        backend, PLAIN_TEMPLATE, {'eos_token': end}, [], 'trained tokenizer')

  @functools.cached_property
  def vocab_size(self) -> int:
    """One more than the largest id; embeddings may have more rows."""
    return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

  def encode(self, text: str) -> list[int]:
    """Token ids of a text; names of special tokens in it become these.

    Nothing is added: where a model wants a first token, its chat template
    writes it, or `encode_stream`. Bytes that the vocabulary lacks are dropped
    (SmolLM2 lacks some control characters).
    """
    return self.backend.encode(text, add_special_tokens=False).ids

  def encode_stream(self, text: str) -> list[int]:
    """Token ids of a text that is no part of a conversation."""
    return [*self.text_start, *self.encode(text)]

  def decode(self, ids: Iterable[int]) -> str:
    """Text of token ids, without the special ones."""
    return self.backend.decode(
        [int(i) for i in ids], skip_special_tokens=True)

  def render_chat(
      self,
      messages: Sequence[Mapping[str, str]],
      add_generation_prompt: bool = True,
  ) -> str:
    """A conversation as the text that the model was taught to read.

    Args:
      messages: dicts with 'role' ('system', 'user', 'assistant') and
        'content'.
      add_generation_prompt: end where the assistant's next answer begins.

    Raises:
      UserError: the template refuses these messages.
    """
    try:
      return _compiled(self.chat_template).render(
          messages=messages, add_generation_prompt=add_generation_prompt,
          tools=None, documents=None, **self.special_tokens)
    except Exception as e:  # A template computes: it may fail in any way.
      raise UserError(
          f'the chat template cannot render these messages: {e}. It got '
          f'{str(messages)[:200]}') from e

  def save(self, folder: str | os.PathLike) -> None:
    """Writes what `from_folder` (and transformers) needs.

    Files: tokenizer.json, tokenizer_config.json with the chat template, and
    generation_config.json with the stop ids.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    self.backend.save(str(folder / 'tokenizer.json'))
    _write_json(folder / 'tokenizer_config.json', {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'clean_up_tokenization_spaces': False,
        **self.special_tokens,
        'chat_template': self.chat_template,
    })
    _write_json(folder / 'generation_config.json', {
        'eos_token_id': list(self.stop_ids),
        'pad_token_id': self.pad_id,
    })


def _finished(backend, template, special, ends, where) -> Tokenizer:
  """Derives the ids and checks the parts against each other."""
  with _library_errors(f'{where}: its tokenizer cannot read a text'):
    backend.no_truncation()
    backend.no_padding()
    backend.encode('A text.\n')
    ids = {role: backend.token_to_id(token) for role, token in special.items()}
  for role, index in ids.items():
    if index is None:
      raise UserError(
          f'{where}: {role} {special[role]!r} is not in the vocabulary.')
  turn_ends = [backend.token_to_id(token) for token in _TURN_ENDS]
  stops = [ids.get('eos_token'), *ends, *turn_ends]
  stops = tuple(dict.fromkeys(i for i in stops if i is not None))
  for i in stops:
    if not 0 <= i < _MOST_TOKENS:
      raise UserError(f'{where}: eos_token_id={i} is no token.')
  try:
    template.encode()
    _compiled(template)
  except Exception as e:  # Whatever the compiler makes of it.
    raise UserError(f'{where}: its chat template is not valid: {e}') from e
  pad = ids.get('pad_token', stops[0] if stops else 0)
  start = _text_start(backend)
  if template == PLAIN_TEMPLATE and start and start == [ids.get('bos_token')]:
    template = '{{ bos_token }}' + template
  return Tokenizer(backend, template, special, stops, pad, tuple(start))


def _text_start(backend):
  """What the tokenizer's own rules put in front of a text."""
  whole, bare = (backend.encode('A text.', add_special_tokens=special).ids
                 for special in (True, False))
  return next((whole[:i] for i in range(len(whole))
               if bare and whole[i:i + len(bare)] == bare), [])


def _folder_template(folder: pathlib.Path, settings: dict[str, Any]) -> str:
  path = folder / 'chat_template.jinja'
  if path.is_file():
    try:
      return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as e:
      raise UserError(f'{path}: not UTF-8 text: {e}') from e
  template = settings.get('chat_template')
  if isinstance(template, list):  # Several, by name.
    template = {str(t.get('name')): t.get('template') for t in template
                if isinstance(t, dict)}.get('default')
  return template if isinstance(template, str) else PLAIN_TEMPLATE


@contextlib.contextmanager
def _library_errors(what: str):
  """The tokenizers library raises plain Exception, and panics beside them."""
  try:
    yield
  except BaseException as e:
    if not isinstance(e, Exception) and 'Panic' not in type(e).__name__:
      raise
    raise UserError(f'{what}: {e}') from e


@functools.lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
  """Compiles a template as those who wrote it expect.

  Templates come with models from anywhere, so they run sandboxed. There is
  no clock: a template that would write today's date into the prompt uses the
  date of its own fallback, and a run does not change overnight.
  """
  def raise_exception(message):
    raise jinja2.TemplateError(message)

  def tojson(value, indent=None):
    return json.dumps(value, ensure_ascii=False, indent=indent)

  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
      trim_blocks=True, lstrip_blocks=True,
      extensions=['jinja2.ext.loopcontrols'])
  environment.globals['raise_exception'] = raise_exception
  environment.filters['tojson'] = tojson
  return environment.from_string(template)


def _write_json(path: pathlib.Path, contents: dict[str, Any]) -> None:
  path.write_text(
      json.dumps(contents, indent=2, ensure_ascii=False) + '\n',
      encoding='utf-8')
