"""Which files of a Hugging Face folder hold a model, and what else is there.

The order is that of transformers: model.safetensors, then the shards that
model.safetensors.index.json names. Other files of weights are never read, so
they are told apart here: a folder often holds what an earlier save has left.
"""

import dataclasses
import pathlib

import numpy as np

from sleepjax.data import model_files
from sleepjax.errors import UserError

SINGLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
_LONGEST_NAME = 200  # Of a file.
_WEIGHTS = ('*.safetensors', '*.safetensors.index*.json', 'pytorch_model*.bin',
            'consolidated*.pth', '*.gguf')
_ADAPTER = 'adapter_config.json'
_MERGE = ('Merge it into its base model, with peft: PeftModel.from_pretrained('
          'base, FOLDER).merge_and_unload().save_pretrained(NEW)')


@dataclasses.dataclass(frozen=True)
class WeightFiles:
  """Where the weights of a model are.

  Attributes:
    read: files that hold the model.
    left_out: other files of weights, which nobody reads.
  """

  read: tuple[pathlib.Path, ...] = ()
  left_out: tuple[pathlib.Path, ...] = ()

  def __str__(self):
    if not self.read:
      return 'no file'
    names = lambda paths: ', '.join(path.name for path in paths)
    text = f'{self.read[0].parent}: {names(self.read)}'
    if self.left_out:
      text += f'; beside it, not read: {names(self.left_out)}'
    return text


def weight_files(folder: pathlib.Path) -> WeightFiles:
  """Chooses the files that transformers would load, too.

  Raises:
    UserError: there are none, or shards are missing.
  """
  index = []
  if (folder / SINGLE).is_file():
    names = [SINGLE]
  elif (folder / INDEX).is_file():
    names, index = _shards(folder / INDEX), [folder / INDEX]
  else:
    raise UserError(
        f'{folder}: has no {SINGLE}. {_advice_without_weights(folder)}')
  missing = [name for name in names if not (folder / name).is_file()]
  if missing:
    raise UserError(
        f'{folder}: has no {", ".join(missing)}, which {INDEX} names. Download '
        'all of the model: config.json, tokenizer files and *.safetensors.')
  read = [folder / name for name in names]
  there = {path for pattern in _WEIGHTS for path in folder.glob(pattern)}
  return WeightFiles(
      tuple(read), tuple(sorted(there.difference(read, index))))


def check_folder(folder: pathlib.Path) -> None:
  """Checks that a folder is that of one whole model.

  Raises:
    UserError: it holds an adapter, files of another format, or pointers to
      files; or the model is in a folder inside.
  """
  for path in sorted(folder.glob('*.json')):
    model_files.check_is_no_pointer(path)
  if not (folder / 'config.json').is_file():
    raise UserError(f'{folder / "config.json"}: no such file; a Hugging Face '
                    f'model folder has one. {_advice_without_config(folder)}')
  if (folder / _ADAPTER).is_file():
    raise UserError(
        f'{folder}: holds an adapter ({_ADAPTER}) beside a model, and does not '
        f'say which of the two is meant. {_MERGE}; or move the adapter '
        'elsewhere to load the model without it.')


class Tensors:
  """The tensors of several safetensors files, read one at a time.

  Args:
    paths: the files.

  Raises:
    UserError: a file is damaged, or two disagree on a tensor.
  """

  def __init__(self, paths: tuple[pathlib.Path, ...]):
    self._owners = {}
    for path in paths:
      handle = model_files.open_safetensors(path)
      for name in handle.keys():
        if name in self._owners:
          self._check_same(name, path, handle)
        self._owners[name] = path, handle

  def __iter__(self):
    return iter(self._owners)

  def file_of(self, name: str) -> pathlib.Path:
    return self._owners[name][0]

  def spec(self, name: str) -> tuple[str, tuple[int, ...]]:
    """(dtype as the file names it, shape)."""
    view = self._owners[name][1].get_slice(name)
    return view.get_dtype(), tuple(view.get_shape())

  def read(self, name: str) -> np.ndarray:
    return self._owners[name][1].get_tensor(name)

  def _check_same(self, name, path, handle):
    view, other = handle.get_slice(name), self.file_of(name)
    same = self.spec(name) == (view.get_dtype(), tuple(view.get_shape()))
    # As bytes: there is NaN, and numbers that numpy does not know.
    if not same or handle.get_tensor(name).tobytes() != self.read(
        name).tobytes():
      raise UserError(
          f'{path.parent}: tensor {name} is in {other.name} and, with other '
          f'values, in {path.name}. Download the model again into an empty '
          'folder.')


def _shards(index: pathlib.Path) -> list[str]:
  shards = model_files.read_json(index).get('weight_map')
  if not isinstance(shards, dict) or not shards:
    raise UserError(f"{index}: has no 'weight_map' from tensor to file.")
  names = sorted(set(map(str, shards.values())))
  for name in names:
    if pathlib.PurePath(name).name != name or len(name) > _LONGEST_NAME:
      raise UserError(
          f'{index}: names the file {name[:80]!r}; expected a file of the same '
          'folder.')
  return names


def _names(folder, *patterns):
  return sorted(path.name for p in patterns for path in folder.glob(p))


def _advice_without_weights(folder):
  """What to do in a folder with a config.json and no weights that we read."""
  if _names(folder, 'model-*-of-*.safetensors'):
    return f'Its shards need their index: download {INDEX}, too.'
  if bins := _names(folder, 'pytorch_model*.bin', '*.pth', '*.pt', '*.bin'):
    return (f'Convert the PyTorch files there ({", ".join(bins[:3])}) to '
            'safetensors, with transformers: AutoModelForCausalLM.'
            f'from_pretrained({str(folder)!r}).save_pretrained('
            f'{str(folder)!r}).')
  advice = ('Download all of the model: config.json, tokenizer files and '
            '*.safetensors.')
  if others := _names(folder, '*.safetensors', '*.gguf'):
    advice += (f' It has {", ".join(others[:3])}, which is not a model under '
               'its Hugging Face name: consolidated files are in the format of '
               'Meta or Mistral; of several precisions, rename the one to use; '
               'name a .gguf file itself.')
  return advice


def _advice_without_config(folder):
  """What to do in a folder without config.json."""
  if _names(folder, _ADAPTER, 'adapter_model.*'):
    return f'This one is an adapter, not a model. {_MERGE}.'
  if _names(folder, 'model.json', 'model/model.json'):
    return ('What a run has saved becomes such a folder by `python -m '
            f'experiments.export --checkpoint={folder} --out=NEW`.')
  for pattern in ('*/config.json', 'snapshots/*/config.json'):
    if inside := sorted(folder.glob(pattern)):
      return f'Name the folder inside: {inside[0].parent}'
  if files := _names(folder, '*.gguf'):
    return f'Name the file inside: {folder / files[0]}'
  if _names(folder, 'params.json', 'consolidated.*'):
    return ('params.json and consolidated files are in the format of Meta or '
            'Mistral: download the model in that of Hugging Face.')
  return ('Download all of the model: config.json, tokenizer files and '
          '*.safetensors.')
