r"""Ten SQuAD passages, a sleep for each: what is recovered, with intervals.

  python -m experiments.squad_passages --config=configs/consolidate/smollm2.py \
      --config.exam.drift=wikitext2 --workdir=DIR

Each passage is slept on by a fresh copy of the model, with a seed of its own
(`config.seed` plus its number), and scored on its own questions; the controls
are five passages that no run reads. So an interval over passages is one over
seeds, too. Passages come from
SQuAD in SEAL's form (`sleepjax.data.sources`): `val` for results, `train` to
choose hyper-parameters on. Finished passages found in DIR are not repeated.
Writes DIR/<number>/ for each and DIR/summary.json. Columns of the table: right
answers (`sleepjax.evals.knows`) before, after and with the passage in view;
*topic*, the share of the loss that the text in view saves, net of what controls
gain, which a model that has learnt the passage's words alone gets as well; how
much worse *controls* have become, and with *theirs*, their own texts, in view,
nats per token; *drift* of perplexity.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('squad_passages')

import dataclasses
import json

import numpy as np
import rich.box
import rich.console
import rich.table
from absl import flags

from experiments import _config, _host_pages, _main, _mesh
from sleepjax.data import passage_lists, sources
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.evals import paired, sleep_scores
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import nights
from sleepjax.runs import table as table_lib
from sleepjax.runs.announce import Remaining, announcement
from sleepjax.runs.rows import Cell
from sleepjax.runs.table import Column
from sleepjax.tasks.document import (
    DocumentTask,
    ExamConfig,
    Reading,
    slept_on,
)
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_SPLIT = flags.DEFINE_enum(
    'split', 'val', ['val', 'train', *passage_lists.NAMES],
    'Passages of a split, or of a frozen list (sleepjax.data.passage_lists).',
    flag_values=_FLAGS)
_PASSAGES = flags.DEFINE_integer(
    'passages', 10, 'How many, at least 1.', flag_values=_FLAGS)
_FIRST = flags.DEFINE_integer(
    'first', 0, 'Number of the first passage.', flag_values=_FLAGS)

_CONTROLS = 5


def shuffled_passages(split):
  """Passages with at least four questions, one per title, in a fixed order."""
  passages, titles = sources.squad_seal(split), set()
  order = np.random.default_rng(0).permutation(len(passages))
  for i in order:
    passage = passages[i]
    if len(passage.questions) >= 4 and passage.title not in titles:
      titles.add(passage.title)
      yield passage


def read_passages(split, first, number):
  """(passages, [(document, questions)] of the controls that no run reads)."""
  if number < 1 or first < 0:
    raise UserError(f'{number} passages from number {first}: passages must be '
                    'at least 1, the first at least 0.')
  passages, controls = every_passage(split)
  if first + number > len(passages):
    raise UserError(
        f'{number} passages from number {first}: {split} has '
        f'{len(passages)} passages beside the controls.')
  return passages[first:first + number], [to_exam(p) for p in controls]


def every_passage(split):
  """(passages of a split or list, the controls, which are none of them)."""
  passages = list(shuffled_passages(
      'val' if split in passage_lists.NAMES else split))
  controls = passages[-_CONTROLS:]
  return (passage_lists.read(split) if split in passage_lists.NAMES else
          passages[:-_CONTROLS]), controls


def to_exam(passage):
  questions = tuple(Question(q.strip(), a) for q, a in passage.questions)
  title = passage.title.replace('_', ' ')
  return Document(title, passage.context), questions


def changes(report) -> dict:
  """What one sleep changed, from a passage's report; losses in nats per token.

  Returns:
    gap: what the text in view would save; gained, gained_net: what the sleep
    does (`sleep_scores.gained_net`); control_change, context_lost: how much
    worse controls have become without and with their own text in view; drift,
    of the perplexity, a share.
  """
  r, fell = report, lambda name: report[f'{name}_before'] - report[
      f'{name}_after']
  return {
      'gap': r['closed_book_nll_before'] - r['in_context_nll'],
      'gained': fell('closed_book_nll'),
      'gained_net': sleep_scores.gained_net(
          r['closed_book_nll_before'], r['closed_book_nll_after'],
          r['control_nll_before'], r['control_nll_after']),
      'control_change': -fell('control_nll'),
      'context_lost': -fell('in_context_other_nll'),
      'drift': r['drift_ppl_after'] / r['drift_ppl_before'] - 1}


def summarise(reports) -> dict:
  """Means over passages, and ratios of summed losses.

  A ratio of sums, not a mean of ratios: one passage whose text does not help
  the model even in context would otherwise decide the mean. None where texts
  help by less than `sleep_scores.LEAST_GAP` on average.
  """
  mean = lambda rows, name: float(np.mean([row[name] for row in rows]))
  summary = {name: entry and entry['mean']
             for name, entry in intervals(reports).items()}
  for name in ('closed_book_nll_before', 'closed_book_nll_after',
               'in_context_nll', 'in_context_nll_after', 'control_nll_before',
               'control_nll_after', 'in_context_other_nll_before',
               'in_context_other_nll_after'):
    summary[name] = mean(reports, name)
  for name in ('closed_book_accuracy_before', 'closed_book_accuracy_after',
               'in_context_accuracy'):
    scores = [r[name] for r in reports]
    summary[name] = {kind: mean(scores, kind)
                     for kind in ('exact', 'contains', 'f1')}
  answers = [row for r in reports for row in r['answers']]
  right = {when: [row[f'knows_{when}'] for row in answers]
           for when in ('before', 'after', 'in_view')}
  minutes = [sum(r['seconds'].values()) / 60 for r in reports]
  return {
      **summary, 'passages': len(reports),
      **{f'knows_{when}': float(np.mean(all_right))
         for when, all_right in right.items()},
      **{f'knows_{name}': value for name, value in paired.mcnemar(
          right['before'], right['after']).items()},
      'sleeps_rolled_back': mean(reports, 'sleeps_rolled_back'),
      'questions': int(sum(r['questions'] for r in reports)),
      'minutes_a_passage': float(np.mean(minutes)),
      'longest_minutes': float(np.max(minutes))}


def intervals(reports) -> dict:
  """Of `changes`, and of the shares recovered, over passages and so seeds."""
  rows = {Cell('all', n): changes(r) for n, r in enumerate(reports)}
  columns = {name: Column(name) for name in rows[Cell('all', 0)]}
  for name, part in (('', 'gained'), ('_net', 'gained_net')):
    columns[f'topic_recovered{name}'] = Column(
        (part, 'gap'), least=sleep_scores.LEAST_GAP)
  return table_lib.summary(rows, columns)['all']


def print_summary(reports, summary):
  table = rich.table.Table(
      rich.table.Column('passage', no_wrap=True, max_width=14), *(
          rich.table.Column(name, no_wrap=True) for name in (
              'knows', 'after', 'in view', 'topic', 'controls', 'theirs',
              'drift')), box=rich.box.SIMPLE_HEAD)
  share = lambda value: '–' if value is None else f'{value:.0%}'
  known = ('knows_before', 'knows_after', 'knows_in_view')
  for r in reports:
    row = changes(r)
    table.add_row(
        r['document'], *(f'{r[name]:.0%}' for name in known),
        share(r['topic_recovered_net']), f"{row['control_change']:+.2f}",
        f"{row['context_lost']:+.2f}", f"{row['drift']:+.1%}")
  table.add_section()
  found = [(summary['intervals'][name], form) for name, form in (
      ('topic_recovered_net', '.0%'), ('control_change', '+.2f'),
      ('context_lost', '+.2f'), ('drift', '+.1%'))]
  table.add_row('all', *(f'{summary[name]:.0%}' for name in known), *(
      f'{entry["mean"]:{form}}' if entry else '–' for entry, form in found))
  if len(reports) > 1:
    table.add_row('95 % ±', '', '', '', *(
        f'{entry["half_width"]:{form.lstrip("+")}}' if entry else '–'
        for entry, form in found))
  console = rich.console.Console()
  console.print(table)
  console.print(
      f'right answers: {summary["knows_gained"]} gained, '
      f'{summary["knows_lost"]} lost of {summary["questions"]}, '
      f'p = {summary["knows_p"]:.3g} (McNemar)', highlight=False)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/consolidate/smollm2.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep', 'exam'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(config, seed=0)
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  exam = _config.to_dataclass(
      ExamConfig, config.exam, 'config.exam')
  saving = _config.saving_of(config)
  _config.check_no_best(saving)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    passages, controls = read_passages(
        _SPLIT.value, _FIRST.value, _PASSAGES.value)
    _run(load_pretrained(config.model), settings, exam, passages, controls,
         nights.Run(workdir, json.loads(json.dumps(config.to_dict())),
                    config.seed, saving, _host_pages.give_back, _main.tell))


def _run(model, settings, exam, passages, controls, place):
  # All are checked before the first one is slept on.
  numbered, reports = list(enumerate(passages, _FIRST.value)), []
  tasks = [DocumentTask(
      model, Reading(*to_exam(passage), controls,
                     f'passage {n} ({passage.title})'), settings, exam,
      place.seed + n) for n, passage in numbered]
  print(announcement(
      f'{len(passages)} passages', sum(task.nights for task in tasks),
      model.config, settings, max(task.nights for task in tasks)), flush=True)
  remaining = Remaining(len(passages), 0, 'passage', place.tell)
  for (n, passage), task in zip(numbered, tasks, strict=True):
    print(f'passage {n}: {passage.title}', flush=True)
    report, found = slept_on(task, model, dataclasses.replace(
        place, workdir=place.workdir / f'{n:03d}', seed=task.seed,
        config={**place.config, 'seed': task.seed}))
    if not found:
      report_lib.print_table(report)
    remaining.done(not found)
    reports.append(report)
    if not found or len(reports) == len(passages):
      summary = {**summarise(reports), 'intervals': intervals(reports)}
      report_lib.write_json(place.workdir / 'summary.json', summary)
      print_summary(reports, summary)
