"""The report of a run: a JSON file, a table on the terminal and one picture.

A report is a dict of numbers. Losses are nats per answer token; `before` and
`after` are the model before and after it slept. `closed_book` is without the
text, `in_context` with it; `control` questions are about texts that were not
learned, and `in_context_other` is those questions with their own text in the
context. What a report does not have is left out of the table and the picture.
"""

import contextlib
import json
import math
import os
import pathlib
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
import rich.markup
import rich.table

from sleepjax.data import benchmarks, files
from sleepjax.evals import pictures
from sleepjax.evals.sleep_scores import LEAST_GAP
from sleepjax.mesh import distributed
from sleepjax.training.metrics import plain_scalar, read_metrics

# The three columns of the table and bars of a group, in this order.
_COLOURS = {'before sleep': '#b0b7c3', 'after sleep': '#2f6fb5',
            'with the text': '#e0a030'}
_LOSSES = (
    # Group, and the report's key for each bar of it.
    ('questions on\nthe text', 'closed_book_nll_before',
     'closed_book_nll_after', 'in_context_nll'),
    ('control\nquestions', 'control_nll_before', 'control_nll_after', None),
    ('control with\ntheir texts', 'in_context_other_nll_before',
     'in_context_other_nll_after', None),
)
_ACCURACIES = ('closed_book_accuracy_before', 'closed_book_accuracy_after',
               'in_context_accuracy')
_SCORES = {'exact': 'exact match', 'contains': 'contains', 'f1': 'F1'}
# What is known of the text, see `sleepjax.evals.knowledge`: name, key, form.
_KNOWN = (('knows: right answers', 'knows', '.1%'),
          ('chooses the right one', 'choice', '.1%'),
          ('margin over wrong ones, nats/token', 'margin', '.2f'))
_MARKS = {True: '✓', False: '✗'}


def write_report(folder: str | os.PathLike, report: Mapping[str, Any]) -> None:
  """Writes `report.json` into `folder`, whole or not at all.

  Numbers may be numpy or jax scalars. JSON has no NaN or infinity; a number
  that is not finite is written as null. Of several processes the first one
  writes.

  Raises:
    UserError: the file system refuses it.
  """
  write_json(pathlib.Path(folder) / 'report.json', plain(report), False)


def write_json(path: str | os.PathLike, contents: Any,
               allow_nan: bool = True) -> None:
  """Writes a JSON file, whole or not at all; of several processes the first.

  Raises:
    UserError: the file system refuses it.
  """
  if distributed.is_first():
    files.write(
        path, json.dumps(contents, indent=2, allow_nan=allow_nan) + '\n')


def print_table(
    report: Mapping[str, Any],
    console: rich.console.Console | None = None) -> None:
  """Prints what changed: before, after, and with the text in context."""
  console = console or rich.console.Console()
  table = rich.table.Table()
  table.add_column('')
  for name in _COLOURS:
    table.add_column(name, justify='right')
  for name, key, form in _KNOWN:
    _add_row(table, name, report, [
        f'{key}_{when}' for when in ('before', 'after', 'in_view')], form)
  for name, *keys in _LOSSES:
    _add_row(table, f'loss, {" ".join(name.split())}', report, keys, '.3f')
  for score, name in _SCORES.items():
    accuracy = {
        key: report[key].get(score) for key in _ACCURACIES if key in report}
    _add_row(table, f'answers, {name}', accuracy, _ACCURACIES, '.1%')
  for name in benchmarks.NAMES:
    _add_row(table, f'public test, {name}', report, [
        f'outside_{name}_{when}' for when in ('before', 'after')], '.1%')
  _add_row(table, 'perplexity, unrelated text', report,
           ('drift_ppl_before', 'drift_ppl_after'), '.2f')
  _add_row(table, 'parameters', report, ('params_before', 'params_after'), ',')
  _add_row(table, 'parameters, of open slots', report,
           (None, 'params_open_slots'), ',')
  console.print(table)
  if report.get('answers'):
    console.print(_answers_table(report['answers']))
  for line in _summary_lines(report):
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def plot_report(
    folder: str | os.PathLike, report: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]]) -> None:
  """Draws `report.png` into `folder`: losses, answers, and seeding over steps.

  Args:
    folder: where to write.
    report: the numbers of the run.
    metrics: lines as `read_metrics` returns them; those of phase `seed` with
      `divergence` and `reward` are drawn.

  Raises:
    UserError: the file system refuses it.
  """
  pictures.draw(
      pathlib.Path(folder) / 'report.png',
      lambda figure: _draw_report(figure, report, metrics), dpi=130,
      figsize=(13, 4.2), layout='constrained')


def draw_run(folder: str | os.PathLike, report: Mapping[str, Any]) -> None:
  """Draws `report.png` of a run from its own metrics, in the first process."""
  metrics = pathlib.Path(folder) / 'metrics.jsonl'
  if distributed.is_first():
    plot_report(
        folder, report, read_metrics(metrics) if metrics.exists() else [])


def _draw_report(figure, report, metrics):
  from matplotlib.patches import Patch
  figure.get_layout_engine().set(wspace=0.06, w_pad=0.1, h_pad=0.06)
  losses, answers, seeding = figure.subplots(1, 3)
  _draw_bars(
      losses, [name for name, *_ in _LOSSES],
      [[report.get(key) for key in keys] for _, *keys in _LOSSES], '{:.2f}')
  losses.set(title='Loss of the answers', ylabel='nats per token')
  _draw_bars(
      answers, ['knows', 'chooses', *(
          name.replace(' ', '\n') for name in _SCORES.values())],
      [*([report.get(f'{key}_{when}')
          for when in ('before', 'after', 'in_view')]
         for key in ('knows', 'choice')),
       *([report.get(key, {}).get(score) for key in _ACCURACIES]
         for score in _SCORES)], '{:.0%}')
  answers.set(title='Answers to questions on the text', ylim=(0, 1.1))
  answers.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  _draw_seeding(seeding, metrics)
  figure.legend(
      handles=[Patch(color=colour, label=name)
               for name, colour in _COLOURS.items()],
      loc='outside lower center', ncols=3, frameon=False)


def peak_memory_bytes() -> int:
  """Most main memory that this process has held at once, in bytes.

  On a CPU that includes the arrays of jax; memory of an accelerator is not
  counted.
  """
  # Linux carries ru_maxrss over from the process that started this one, so a
  # large parent would be counted; VmHWM belongs to this process alone.
  status = pathlib.Path('/proc/self/status')
  if status.exists():
    for line in status.read_text().splitlines():
      if line.startswith('VmHWM:'):
        return int(line.split()[1]) * 1024
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == 'darwin' else peak * 1024


def forget_peak_memory() -> None:
  """Lets `peak_memory_bytes` begin anew from what is held now, on Linux."""
  # 5 resets VmHWM; elsewhere, or if it is not allowed, the peak stays.
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5')


def plain(value: Any) -> Any:
  """A value in JSON's types, numbers that are not finite as None."""
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [plain(item) for item in value]
  if value is None or isinstance(value, str):
    return value
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  number = plain_scalar(value)
  return number if math.isfinite(number) else None


def _add_row(
    table: rich.table.Table, name: str, numbers: Mapping[str, Any],
    keys: Sequence[str | None], form: str) -> None:
  """Adds a row unless none of its numbers is there."""
  cells = [numbers.get(key) for key in keys]
  if any(cell is not None for cell in cells):
    table.add_row(name, *(
        '' if cell is None else format(cell, form) for cell in cells))


def _summary_lines(report: Mapping[str, Any]) -> list[str]:
  lines = []
  if report.get('answers'):
    lines.append(_right_line(report['answers']))
  if report.get('control_nll_after') is not None and report.get(
      'control_nll_before') is not None:
    change = report['control_nll_after'] - report['control_nll_before']
    lines.append('questions about other texts: their loss '
                 f'{"rose" if change > 0 else "fell"} by {abs(change):.2f} '
                 'nats a token')
  if report.get('topic_recovered') is not None or 'context_gap' in report:
    lines.append(recovered_line(report))
  if report.get('sentences'):
    lines.append(_unasked(report))
  if 'questions' in report:
    lines.append(f'questions: {report["questions"]} '
                 f'({report.get("questions_source", "source unknown")})')
  if report.get('skipped'):
    lines.append(f'skipped: {len(report["skipped"])}, see `skipped` in '
                 'report.json')
  if 'growth_max_abs_logit_change' in report:
    lines.append('largest change of a logit by growth: '
                 f'{report["growth_max_abs_logit_change"]:.2e}')
  lines.extend(
      f'{key.replace("_", " ")}: {_short(value)}'
      for key, value in report.items() if key.startswith('dream_'))
  if report.get('seconds'):
    speed = report.get('tokens_per_second', {})
    lines.append('time: ' + ', '.join(
        f'{name} {seconds:.1f} s'
        + (f' ({speed[name]:,.0f} tokens/s)' if name in speed else '')
        for name, seconds in report['seconds'].items()))
  if 'break_even_questions' in report:
    lines.append(
        f'cost: {report["night_tokens"]:,} tokens asleep; '
        + ('no question is cheaper than with the text in view'
           if report['break_even_questions'] is None else
           'fewer than reading the text anew for every question from question '
           f'{report["break_even_questions"]:,} on'))
  if 'peak_memory_bytes' in report:
    lines.append(f'peak memory: {report["peak_memory_bytes"] / 2**30:.2f} GiB')
  if 'params_sha256' in report:
    lines.append(f'parameters sha256: {report["params_sha256"]}')
  return lines


def _right_line(answers):
  """How many questions were answered right, when."""
  right = [sum(row[f'knows_{when}'] for row in answers)
           for when in ('before', 'after', 'in_view')]
  line = ('answered right: {} of {} before, {} after, {} with the text in view'
          .format(right[0], len(answers), *right[1:]))
  if right[1] <= right[0]:
    line += ': no more than before'
  if 4 * right[2] < len(answers):
    line += ('. This model can hardly read this text, or these questions: a '
             'night teaches no better than it reads')
  return line


def recovered_line(report: Mapping[str, Any]) -> str:
  """The share of what a text in context saves, or why there is none."""
  if report.get('topic_recovered') is None:
    return (f'topic recovered: the text helps by {report["context_gap"]:.3f} '
            f'nats a token, too little for a ratio (below {LEAST_GAP})')
  line = (f'topic recovered: {report["topic_recovered"]:.1%} of the loss, no '
          'measure of what is known')
  if report.get('topic_recovered_net') is not None:
    line += (f' ({report["topic_recovered_net"]:.1%} net of what control '
             'questions gained)')
  return line


def _answers_table(answers):
  """Each question with what was said to it, and the gold answer."""
  table = rich.table.Table('question', *_COLOURS, 'gold', show_lines=True)
  for row in answers:
    table.add_row(*map(rich.markup.escape, (
        row['question'], *(f'{_MARKS[row[f"knows_{name}"]]} {row[name]}'
                           for name in ('before', 'after', 'in_view')),
        row['gold'])))
  return table


def _unasked(report):
  """How many sentences nothing was asked about, and why."""
  reasons = report['sentences_without_question']
  line = (f'sentences that nothing was asked about: {sum(reasons.values())} of '
          f'{report["sentences"]}')
  if any(reasons.values()):
    line += (f' ({reasons["too_long"]} too long for a request, '
             f'{reasons["no_usable_question"]} without a question of use)')
  if report.get('recollections_left_out'):
    line += (f'; recollections left out as too long: '
             f'{report["recollections_left_out"]}')
  if report.get('answers_too_long'):
    line += (f'; not asked about, as an answer takes more than '
             f'sleep.dreams.completion_tokens: {report["answers_too_long"]}')
  return line


def _short(value: Any) -> str:
  if isinstance(value, Mapping):
    return ', '.join(f'{key} {_short(item)}' for key, item in value.items())
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _draw_bars(
    axes: Any, groups: Sequence[str],
    heights: Sequence[Sequence[float | None]], form: str) -> None:
  """One bar per series in each group, the number above it.

  Groups without any number are left out.
  """
  _clean(axes)
  shown = [
      (name, row) for name, row in zip(groups, heights)
      if any(height is not None for height in row)]
  if not shown:
    _say(axes, 'not measured')
    return
  width = 0.27
  for series, colour in enumerate(_COLOURS.values()):
    bars = []
    for group, (_, row) in enumerate(shown):
      if row[series] is not None:
        # A group with fewer bars keeps them centred over its label.
        present = [i for i, height in enumerate(row) if height is not None]
        offset = present.index(series) - (len(present) - 1) / 2
        bars.append((group + width * offset, row[series]))
    drawn = axes.bar(
        [x for x, _ in bars], [height for _, height in bars], width * 0.92,
        color=colour)
    axes.bar_label(
        drawn, [form.format(height) for _, height in bars], fontsize=8,
        padding=2)
  axes.set_xticks(range(len(shown)), [name for name, _ in shown], fontsize=9)
  axes.set_xlim(-0.6, len(shown) - 0.4)
  axes.margins(y=0.12)


def _draw_seeding(axes: Any, metrics: Sequence[Mapping[str, Any]]) -> None:
  """Divergence, and reward on an axis of its own, over seeding steps.

  Those of later sleeps follow.
  """
  axes.set(title='Seeding', xlabel='step')
  _clean(axes)
  lines = [line for line in metrics if line.get('phase') == 'seed']
  if not lines:
    _say(axes, 'no seeding steps')
    return
  axes.xaxis.get_major_locator().set_params(integer=True)
  colours = {'divergence': '#2f6fb5', 'reward': '#3f8f5f'}
  for name, colour in colours.items():
    points = [
        (number, line[name]) for number, line in enumerate(lines)
        if line.get(name) is not None]
    if not points:
      continue
    if name == 'reward':
      axes = axes.twinx()
      axes.spines[['top', 'left']].set_visible(False)
    axes.plot(*zip(*points), color=colour, linewidth=1.6,
              marker='.' if len(points) < 30 else None)
    axes.set_ylabel(
        'divergence (nats per token)' if name == 'divergence' else name,
        color=colour)
    axes.tick_params(axis='y', colors=colour)


def _say(axes: Any, text: str) -> None:
  axes.text(0.5, 0.5, text, ha='center', va='center',
            transform=axes.transAxes, color='gray')
  axes.set(xticks=(), yticks=())


def _clean(axes: Any) -> None:
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(axis='y', alpha=0.25)
  axes.set_axisbelow(True)
