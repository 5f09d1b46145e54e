"""A table of arms: means with intervals, and each arm beside the first.

Comparisons are paired: rows of the same seed and item, questions of the same
row. p values of one column are adjusted for the number of arms (Holm).
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax.evals import paired, pictures
from sleepjax.evals.interval import interval, ratio_interval
from sleepjax.runs.rows import Cell

Results = Mapping[Cell, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Column:
  """One number of every row.

  key: of a row; two of them are a ratio of sums. A row may hold a list of
    booleans there, one per question: then the column is their share. Rows
    without it are left out.
  form: how it is printed.
  least: of a ratio, the mean that its denominators need, or it has no meaning.
  margin: differences smaller than it are none; None asks for no such test.
  """

  key: str | tuple[str, str]
  form: str = '.2f'
  least: float = 0.0
  margin: float | None = None


def summary(results: Results, columns: Mapping[str, Column]
            ) -> dict[str, dict[str, dict | None]]:
  """arm -> column -> mean, interval and values; None where a row has none."""
  by_arm = {}
  for cell, row in results.items():
    by_arm.setdefault(cell.arm, []).append(row)
  return {arm: {name: _entry(rows, column) for name, column in columns.items()}
          for arm, rows in by_arm.items()}


def against_first(results: Results, columns: Mapping[str, Column]
                  ) -> dict[str, dict[str, dict | None]]:
  """arm -> column -> its difference from the first arm, paired.

  Of numbers: mean, half width and p of a paired t test. Of answers: those
  gained and lost, and p of McNemar's exact test on all pairs of questions. Of a
  ratio, its numerator. With a margin, `p_equivalent` is that of two one-sided
  tests. Both are adjusted over arms; `p_single` and `p_equivalent_single` are
  not.
  """
  arms = list(dict.fromkeys(cell.arm for cell in results))
  first, *others = arms
  found = {arm: {name: _compared(results, first, arm, column)
                 for name, column in columns.items()} for arm in others}
  for name, p in itertools.product(columns, ('p', 'p_equivalent')):
    single = {arm: found[arm][name][p] for arm in others
              if (found[arm][name] or {}).get(p) is not None}
    for arm, adjusted in paired.holm(single).items():
      found[arm][name] |= {p: adjusted, f'{p}_single': single[arm]}
  return found


def _entry(rows, column):
  ratio = isinstance(column.key, tuple)
  keys = column.key if ratio else (column.key,)
  values = [[row[key] for key in keys] for row in rows
            if None not in map(row.get, keys)]
  if not values:
    return None
  first, *second = zip(*values, strict=True)
  if ratio:
    return ratio_interval(first, second[0], column.least)
  if isinstance(first[0], list):
    right = sum(map(sum, first))
    number = sum(map(len, first))
    low, high = paired.wilson(right, number)
    return {'mean': right / number, 'low': low, 'high': high,
            'questions': number, 'values': [float(np.mean(v)) for v in first],
            'half_width': (high - low) / 2}
  return interval(first)


def _compared(results, first, arm, column) -> Any:  # A dict, or None.
  key = column.key[0] if isinstance(column.key, tuple) else column.key
  pairs = [(results[cell._replace(arm=first)].get(key), row.get(key))
           for cell, row in results.items()
           if cell.arm == arm and cell._replace(arm=first) in results]
  pairs = [pair for pair in pairs if None not in pair]
  if not pairs:
    return None
  before, after = zip(*pairs, strict=True)
  if isinstance(before[0], list):
    return {**paired.mcnemar(sum(before, []), sum(after, [])),
            'questions': sum(map(len, before))}
  found = {**paired.paired_t(before, after), 'pairs': len(pairs)}
  if column.margin and len(pairs) > 1:
    found['p_equivalent'] = paired.equivalence(
        before, after, column.margin)['p']
  return found


def cell_text(entry: Mapping[str, Any] | None, form: str) -> str:
  """Mean ± half width, as tables show it."""
  if entry is None:
    return '–'
  text, half = format(entry['mean'], form), entry.get('half_width')
  return text if half is None else (
      f'{text} ± {format(half, form.lstrip("+"))}')


def markdown(entries: Mapping[str, Mapping[str, dict | None]],
             columns: Mapping[str, Column]) -> str:
  """The table of `summary` as documentation has it."""
  lines = ['| arm | rows | ' + ' | '.join(columns) + ' |',
           '| --- | --- |' + ' --- |' * len(columns)]
  for arm, row in entries.items():
    number = max((len(e['values']) for e in row.values() if e), default=0)
    lines.append(f'| {arm} | {number} | ' + ' | '.join(
        cell_text(row[name], column.form)
        for name, column in columns.items()) + ' |')
  return '\n'.join(lines) + '\n'


def plot(path, entries: Mapping[str, Mapping[str, dict | None]],
         columns: Mapping[str, Column], names: Sequence[str],
         note: str = '') -> None:
  """Draws some columns: a point and its interval for every arm.

  Args:
    path: of the picture.
    entries, columns: as of `markdown`.
    names: of the columns that are drawn.
    note: kept in the picture, see `pictures.note_of`.
  """
  pictures.draw(
      path, lambda figure: _fill(figure, entries, columns, names), dpi=130,
      note=note, layout='constrained',
      figsize=(3.4 * len(names) + 1.6, 0.36 * len(entries) + 1.5))


def _fill(figure, entries, columns, names):
  axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
  for axis, name in zip(axes, names, strict=True):
    for place, row in enumerate(entries.values()):
      entry = row[name]
      if entry is not None:
        axis.errorbar(entry['mean'], place, xerr=entry.get('half_width') or 0,
                      fmt='o', color='#2f6fb5', capsize=3)
    axis.set(title=name)
    axis.grid(axis='x', alpha=0.3)
    axis.spines[['top', 'right']].set_visible(False)
    if columns[name].form.endswith('%'):
      axis.xaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  axes[0].set_yticks(range(len(entries)), list(entries))
  axes[0].invert_yaxis()
