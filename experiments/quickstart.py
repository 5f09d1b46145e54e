"""Days and nights of a tiny model: what it was told, and what it still knows.

  python -m experiments.quickstart --workdir=DIR

Each day the model reads facts about people it has never heard of, which it can
look up as long as they are in its context. Each night it sleeps on them, and
its context is cleared. After every night it is asked about all days, from
memory alone. Writes DIR/report.json (`accuracy_matrix[i][j]`: on day j after
night i), DIR/report.png and DIR/model, which `experiments.ask` answers from.
The same command on the same folder goes on after the last finished night.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('quickstart')

import json

import numpy as np
import rich.console
import rich.table
from absl import flags

from experiments import _config, _main, _mesh
from sleepjax.evals import pictures
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import nights
from sleepjax.runs.announce import announcement
from sleepjax.tasks import world
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)


def print_report(report):
  """The matrix as a table, and the numbers it comes down to."""
  matrix = report['accuracy_matrix']
  table = rich.table.Table('night', *map(str, range(len(matrix))), title=(
      'Answers right of every day, %, from memory'))
  percent = lambda value: f'{100 * value:.0f}'
  for i, row in enumerate(matrix):
    table.add_row(str(i), *map(percent, row))
  table.add_section()
  table.add_row('in view', *map(percent, report['in_context_accuracy']))
  console = rich.console.Console()
  console.print(table)
  for line in (
      f'in the end, of all days: {report["average_accuracy"]:.0%} '
      f'(paraphrased {report["paraphrase_accuracy"]:.0%}, reversed '
      f'{report["reversed_accuracy"]:.0%}; as the nights ask it themselves '
      f'{report["trained_templates_accuracy"]:.0%})',
      report_lib.recovered_line(report),
      f'forgotten of earlier days: {report["forgetting"]:.1%}',
      f'long-known facts: {report["known_accuracy"][0]:.0%} before, '
      f'{report["known_accuracy"][-1]:.0%} after all nights',
      'time: ' + ', '.join(f'{name} {seconds:.0f} s' for name, seconds in
                           report['seconds'].items()),
      f'parameters sha256: {report["params_sha256"]}'):
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def plot_report(report, path):
  """The matrix as a picture, and all of it over the nights."""
  pictures.draw(path, lambda figure: _draw(figure, report), dpi=150,
                figsize=(11, 4.6), layout='constrained')


def _draw(figure, report):
  matrix = np.asarray(report['accuracy_matrix'])
  n = len(matrix)
  left, right = figure.subplots(1, 2)
  left.imshow(matrix, vmin=0, vmax=1, cmap='Blues')
  for (i, j), value in np.ndenumerate(matrix):
    left.text(j, i, f'{value:.0%}', ha='center', va='center', fontsize=7,
              color='white' if value > 0.6 else 'black')
  left.set(xlabel='day', ylabel='night', xticks=range(n), yticks=range(n),
           title='Answers from memory on each day, after each night')
  nights = np.arange(n)
  lived = [matrix[i, :i + 1].mean() for i in nights]
  right.plot(nights, lived, marker='o', label='all days so far')
  right.plot(nights, matrix[:, 0], marker='o', label='the first day')
  right.plot(nights, report['known_accuracy'][1:], marker='o',
             label='long-known facts')
  right.plot(nights, report['in_context_accuracy_after'], marker='o',
             linestyle=':', label='text in view')
  right.set(xlabel='night', ylabel='answers right', ylim=(-0.03, 1.03),
            title='What is known', xticks=range(n))
  right.spines[['top', 'right']].set_visible(False)
  right.legend(frameon=False)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/quickstart.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep', 'days'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(config, seed=0)
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  days = _config.to_dataclass(world.DaysConfig, config.days, 'config.days')
  saving = _config.saving_of(config)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    model = load_pretrained(config.model)
    print(announcement(f'{days.days} days and nights', days.days, model.config,
                       settings), flush=True)
    report = nights.run(
        world.WorldTask(settings, days, config.seed), model, settings,
        nights.Run(workdir, json.loads(json.dumps(config.to_dict())),
                   config.seed, saving, tell=_main.tell))
    if distributed.is_first():
      print_report(report)
      plot_report(report, workdir / 'report.png')
