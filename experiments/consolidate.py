r"""A pretrained model reads documents, sleeps, and answers from its weights.

  python -m experiments.consolidate --config=configs/consolidate/facts.py \
      --document=FILE [--document=FOLDER ...] [--questions=FILE.json] \
      --workdir=DIR

Documents are files of text, Markdown or HTML, rows of JSON lines, JSON, CSV or
TSV, files of SQuAD v1, data sets that `datasets` has saved, and folders of all
these (docs/own_data.md). What is skipped, and why, is printed and stands in the
report.

Writes DIR/report.json, DIR/report.png, DIR/metrics.jsonl, DIR/dreams.json and
the slept model DIR/model, which `python -m experiments.ask` answers from. The
same command continues a run that was interrupted: documents are read one after
the other, those longer than the context in chunks, and every finished sleep is
kept.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('consolidate')

import json

from absl import flags

from experiments import _config, _host_pages, _main, _mesh, _start
from sleepjax.data import documents, own_data
from sleepjax.data.corpus import skipped_lines
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.model import load_pretrained
from sleepjax.runs import nights
from sleepjax.runs.announce import announcement_of_texts
from sleepjax.tasks.document import (
    DocumentTask,
    ExamConfig,
    Reading,
    bundled_controls,
    slept_on,
)
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_DOCUMENT = flags.DEFINE_multi_string(
    'document', None, 'File or folder to read',
    flag_values=_FLAGS)
_QUESTIONS = flags.DEFINE_string(
    'questions', None, 'JSON list of {"question", "answer"}, for scoring only, '
    'besides those that stand in the documents.', flag_values=_FLAGS)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/consolidate/facts.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep', 'exam'))
  workdir = _config.path(_WORKDIR)
  _config.check_given(_DOCUMENT)
  _config.check_numbers(config, seed=0)
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  exam = _config.to_dataclass(ExamConfig, config.exam, 'config.exam')
  saving = _config.saving_of(config)
  _config.check_no_best(saving)
  found = own_data.read(*_DOCUMENT.value)
  given = () if _QUESTIONS.value is None else documents.read_questions(
      _QUESTIONS.value)
  questions = tuple(dict.fromkeys((*given, *found.questions)))
  where = 'the questions' if found.questions else _QUESTIONS.value or ''
  enable_compilation_cache()
  with _mesh.devices_of(config):
    model = load_pretrained(config.model)
    task = DocumentTask(
        model, Reading(found.documents, questions or None, bundled_controls(),
                       where, found.skipped), settings, exam, config.seed)
    for line in (*skipped_lines(task.skipped), *announcement_of_texts(
        task.documents, task.sleeps_of, model.config, settings)):
      _main.tell(line)
    report, _ = slept_on(task, model, nights.Run(
        workdir, json.loads(json.dumps(config.to_dict())), config.seed, saving,
        _host_pages.give_back, _main.tell))
    report_lib.print_table(report)
    print(_start.as_called(
        f'Wrote {workdir}/report.json and report.png; ask the model with\n'
        f'  python -m experiments.ask --checkpoint={workdir} --question="…"'))
