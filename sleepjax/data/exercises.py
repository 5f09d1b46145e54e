"""Problems that have a solution and one answer, and files of them."""

import json
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from sleepjax.data.documents import text_field
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError

# (part, how many, seed) -> different problems.
Problems = Callable[[str, int, int], list['Exercise']]

_FORM = '{"problem": "...", "solution": "..."} in every line'


class Exercise(NamedTuple):
  """A problem, a correct solution that names its answer, and its grade.

  The grade is a number from 0, of problems that are about as difficult.
  """

  problem: str
  solution: str
  grade: int = 0


def read_exercises(path: str | os.PathLike) -> list[Exercise]:
  """The problems of a file of JSON lines.

  A line may have a "grade", and of a problem that is only asked "answer" in
  place of "solution".

  Raises:
    UserError: there is no such file, or a line has another form; the message
      names it.
  """
  lines = read_text(path, f'JSON lines, {_FORM}').splitlines()
  return [_exercise(line, f'{path}, line {number}')
          for number, line in enumerate(lines, 1) if line.strip()]


def _exercise(line, where):
  try:
    item = json.loads(line)
  except (ValueError, RecursionError) as error:
    raise UserError(f'{where}: not JSON ({error}); expected {_FORM}.') from None
  problem = text_field(item, 'problem', where)
  key = 'answer' if 'solution' not in item and 'answer' in item else 'solution'
  grade = item.get('grade', 0)
  if not isinstance(grade, int) or grade < 0:
    raise UserError(f'{where}: "grade" should be a whole number from 0, got '
                    f'{grade!r:.40}.')
  return Exercise(problem, text_field(item, key, where), grade)


def from_files(paths: Mapping[str, str | os.PathLike]) -> Problems:
  """Problems of files, drawn anew for every seed.

  Args:
    paths: part -> file of JSON lines, `train`, `exam` and `choice`.

  Raises:
    UserError: a part has no file, or two parts have a problem in common; later,
      a file has fewer problems than are asked for.
  """
  if missing := {'train', 'exam', 'choice'} - {*paths}:
    raise UserError(f'config.files lacks {", ".join(sorted(missing))}: name a '
                    'file of problems for each.')
  every = {part: read_exercises(path) for part, path in paths.items()}
  seen: dict[str, str] = {}
  for part, exercises in every.items():
    for text in {exercise.problem for exercise in exercises}:
      if seen.setdefault(text, part) != part:
        raise UserError(
            f'{paths[part]} and {paths[seen[text]]} have the problem '
            f'{text!r:.60} in common: leave it out of one.')

  def problems(part: str, count: int, seed: int) -> list[Exercise]:
    found = every[part]
    if count > len(found):
      raise UserError(f'{paths[part]} has {len(found)} problems, fewer than '
                      f'config.bed.{part}={count}.')
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[i] for i in order[:count]]

  return problems
