"""Text to token ids and back, and conversations to text."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sleepjax.data import (
    chat_templates,
    gguf_tokenizer,
    model_files,
    special_tokens,
)
from sleepjax.data.chat_templates import PLAIN_TEMPLATE
from sleepjax.data.unicode_text import whole_characters
from sleepjax.errors import UserError

_MOST_TOKENS = 2**31  # Ids are int32.
_MARK = '\u241f'  # Never in a real conversation.

# What other programs read of a model's files and nothing here does: names, or
# what `save` writes itself. It leaves as it came.
_GENERATION, _SETTINGS = 'generation_config.json', 'tokenizer_config.json'
_KEPT = ('model_max_length', 'padding_side', 'truncation_side',
         'model_input_names')
_OWN_GENERATION = ('eos_token_id', 'pad_token_id', '_from_model_config')


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """A fixed vocabulary with the chat template that goes with it.

  Attributes:
    backend: the byte-pair encoder.
    chat_template: a Jinja template over `messages`.
    special_tokens: texts by role ('bos_token', 'eos_token', 'pad_token' and
      others), for those that exist; the template may name them.
    stop_ids: any of these ends a generated text; the first is the one that
      the vocabulary names, if it names one.
    pad_id: fills rows of a batch. Some models have no token for it; an end
      token then stands in, and masks tell the difference.
    text_start: ids that stand in front of a text by itself, such as Llama's
      <|begin_of_text|>; most tokenizers have none.
    enable_thinking: whether an answer begins with a thought, in chat templates
      of models that can do both (`chat_templates.render`).
    kept: settings by file that nothing here uses, such as the temperature that
      a model's makers recommend; `save` writes them again.
  """

  backend: tokenizers.Tokenizer
  chat_template: str
  special_tokens: Mapping[str, str]
  stop_ids: tuple[int, ...]
  pad_id: int
  text_start: tuple[int, ...] = ()
  enable_thinking: bool = False
  kept: Mapping[str, Mapping[str, Any]] = dataclasses.field(
      default_factory=dict)

  @classmethod
  def from_folder(cls, folder: str | os.PathLike,
                  enable_thinking: bool | None = None) -> 'Tokenizer':
    """Reads tokenizer.json and the settings beside it.

    Special tokens, the chat template and what ends a text are looked for where
    transformers does (`special_tokens.add_declared`,
    `chat_templates.folder_template`, `special_tokens.model_ends`).

    Args:
      folder: a Hugging Face model folder, or what `save` wrote.
      enable_thinking: None takes what tokenizer_config.json says under this
        name, and False if it says nothing.

    Raises:
      UserError: no tokenizer.json, a damaged file, files that contradict each
        other, or none says what ends a text.
    """
    folder = pathlib.Path(folder)
    path = folder / 'tokenizer.json'
    if not path.is_file():
      raise UserError(
          f'{folder}: has no tokenizer.json. Download the tokenizer files of '
          'the model into this folder, too. Older forms (tokenizer.model, '
          'vocab.json) are converted by AutoTokenizer.from_pretrained(folder)'
          '.save_pretrained(folder) of transformers.')
    with _library_errors(f'{path}: cannot be read as a tokenizer'):
      backend = tokenizers.Tokenizer.from_file(str(path))
    settings = special_tokens.optional_json(folder / _SETTINGS)
    generation = special_tokens.optional_json(folder / _GENERATION)
    if enable_thinking is None:
      enable_thinking = settings.get('enable_thinking', False)
    if not isinstance(enable_thinking, bool):
      raise UserError(f'{folder}: enable_thinking={enable_thinking!r:.80} in '
                      'tokenizer_config.json is neither true nor false.')
    with _library_errors(f'{folder}: its special tokens cannot be read'):
      roles = special_tokens.add_declared(backend, folder, settings)
    tokenizer = _finished(
        backend, chat_templates.folder_template(folder, settings), roles,
        special_tokens.model_ends(folder), str(folder), enable_thinking)
    return dataclasses.replace(tokenizer, kept={
        _SETTINGS: {k: v for k, v in settings.items() if k in _KEPT},
        _GENERATION: {k: v for k, v in generation.items()
                      if k not in _OWN_GENERATION}})

  @classmethod
  def from_gguf(cls, source: str | os.PathLike | model_files.GgufFile,
                enable_thinking: bool = False) -> 'Tokenizer':
    """Builds the tokenizer that a GGUF file describes.

    SentencePiece's and the rules of SmolLM2, Llama 3, Qwen2.5 and Qwen3 are
    known (`gguf_tokenizer`); other models bring their tokenizer.json.

    Args:
      source: a path, or a file that is already open.
      enable_thinking: see `Tokenizer`.

    Raises:
      UserError: a damaged file, another kind of tokenizer, or nothing says what
        ends a text.
    """
    file = source
    if not isinstance(file, model_files.GgufFile):
      file = model_files.open_gguf(source)
    with _library_errors(f'{file.path}: its vocabulary is damaged'):
      backend = gguf_tokenizer.backend(file)
    return _finished(
        backend, file.metadata.get('tokenizer.chat_template', PLAIN_TEMPLATE),
        gguf_tokenizer.roles(file), gguf_tokenizer.ends(file), str(file.path),
        enable_thinking)

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
    writes it, or `encode_stream`. Half characters become U+FFFD. Bytes that the
    vocabulary lacks are dropped (SmolLM2 lacks some control characters).
    """
    return self.backend.encode(
        whole_characters(text), add_special_tokens=False).ids

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
    return chat_templates.render(
        self.chat_template, messages, add_generation_prompt,
        self.special_tokens, self.enable_thinking)

  def within(self, rows: int, where: str) -> 'Tokenizer':
    """This tokenizer for an embedding of so many rows.

    Fine-tuning tools often add a token, such as [PAD], and leave the embedding
    as it was. A special token without a row that no text of this model has is
    taken out, so that its name is ordinary text.

    Args:
      rows: of the embedding; may be more than tokens.
      where: the model, for messages.

    Raises:
      UserError: a token without a row is needed.
    """
    beyond = {token: i for token, i in self.backend.get_vocab(True).items()
              if i >= rows}
    stops = tuple(i for i in self.stop_ids if i < rows)
    if not beyond and stops == self.stop_ids:
      return self
    special = special_tokens.added_texts(self.backend, only_special=True)
    written = '\n'.join([self.chat_template, *_samples(
        self.chat_template, self.special_tokens, self.enable_thinking)])
    needed = [token for token, i in beyond.items()
              if token not in special or token in written
              or i in (*self.stop_ids, *self.text_start)]
    if needed or not stops:
      names = ', '.join(map(repr, needed[:5])) or f'the ends {self.stop_ids}'
      raise UserError(
          f'{where}: the tokenizer has ids up to '
          f'{max([*beyond.values(), *self.stop_ids])}, but the embedding only '
          f'{rows} rows: none for {names}. If these were added in fine-tuning, '
          'save the model again after model.resize_token_embeddings('
          'len(tokenizer)). Else use the tokenizer of this model.')
    with _library_errors(f'{where}: its tokenizer needs {[*beyond]}'):
      backend = special_tokens.without(self.backend, beyond)
    return dataclasses.replace(
        self, backend=backend, stop_ids=stops,
        pad_id=self.pad_id if self.pad_id < rows else stops[0],
        special_tokens={role: token for role, token
                        in self.special_tokens.items() if token not in beyond})

  def save(self, folder: str | os.PathLike) -> None:
    """Writes what `from_folder` (and transformers) needs.

    Files: tokenizer.json, tokenizer_config.json with the chat template, and
    generation_config.json with the stop ids and what it said else.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    self.backend.save(str(folder / 'tokenizer.json'))
    _write_json(folder / _SETTINGS, {
        **self.kept.get(_SETTINGS, {}),
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'clean_up_tokenization_spaces': False,
        **self.special_tokens,
        'chat_template': self.chat_template,
        **({'enable_thinking': True} if self.enable_thinking else {}),
    })
    _write_json(folder / _GENERATION, {
        **self.kept.get(_GENERATION, {}),
        'eos_token_id': list(self.stop_ids),
        'pad_token_id': self.pad_id,
    })


def _finished(backend, template, roles, ends, where,
              enable_thinking=False) -> Tokenizer:
  """Derives the ids and checks the parts against each other."""
  try:
    template.encode()
    chat_templates.compiled(template)
  except Exception as e:  # Whatever the compiler makes of it.
    raise UserError(f'{where}: its chat template is not valid: {e}') from e
  with _library_errors(f'{where}: its tokenizer cannot read a text'):
    backend.no_truncation()
    backend.no_padding()
    backend.encode('A text.\n')
    named = [backend.id_to_token(i) for i in ends if 0 <= i < _MOST_TOKENS]
    samples = _samples(template, roles, enable_thinking)
    special_tokens.add_written(backend, '\n'.join(
        [*filter(None, named), *roles.values(), template, *samples]))
    ids = {role: backend.token_to_id(token) for role, token in roles.items()}
    start = _text_start(backend)
    turn_end = special_tokens.turn_end(
        backend, samples[1].rsplit(_MARK, 1)[-1])
  stops = [ids.get('eos_token'), *ends, turn_end]
  stops = tuple(dict.fromkeys(i for i in stops if i is not None))
  for i in stops:
    if not 0 <= i < _MOST_TOKENS:
      raise UserError(f'{where}: eos_token_id={i} is no token.')
  if not stops:
    raise UserError(
        f'{where}: nothing says which token ends a text. Name it: "eos_token" '
        'in tokenizer_config.json, or "eos_token_id" in generation_config.json '
        'or config.json (in GGUF: tokenizer.ggml.eos_token_id).')
  special_tokens.make_special(backend, {*map(backend.id_to_token, stops)})
  pad = ids.get('pad_token', stops[0])
  if template == PLAIN_TEMPLATE and start and start == [ids.get('bos_token')]:
    template = '{{ bos_token }}' + template
  return Tokenizer(backend, template, roles, stops, pad, tuple(start),
                   enable_thinking)


def _samples(template, roles, enable_thinking):
  """The prompt for an answer, and a turn with its answer; '' where refused."""
  turns = [{'role': role, 'content': _MARK} for role in ('user', 'assistant')]
  texts = []
  for messages, prompt in ((turns[:1], True), (turns, False)):
    try:
      texts.append(chat_templates.render(
          template, messages, prompt, roles, enable_thinking))
    except UserError:
      texts.append('')
  return texts


def _text_start(backend):
  """What the tokenizer's own rules put in front of a text."""
  whole, bare = (backend.encode('A text.', add_special_tokens=special).ids
                 for special in (True, False))
  return next((whole[:i] for i in range(len(whole))
               if bare and whole[i:i + len(bare)] == bare), [])


@contextlib.contextmanager
def _library_errors(what: str):
  """The tokenizers library raises plain Exception, and panics beside them."""
  try:
    yield
  except UserError:
    raise
  except BaseException as e:
    if not isinstance(e, Exception) and 'Panic' not in type(e).__name__:
      raise
    raise UserError(f'{what}: {e}') from e


def _write_json(path: pathlib.Path, contents: dict[str, Any]) -> None:
  # In ASCII: what is kept may have half characters.
  path.write_text(json.dumps(contents, indent=2) + '\n', encoding='utf-8')
