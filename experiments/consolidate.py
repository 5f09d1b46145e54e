r"""A pretrained model reads a document, sleeps, and answers from its weights.

  python -m experiments.consolidate --config=configs/consolidate/smollm2.py \
      --document=FILE [--questions=FILE.json] --workdir=DIR

Writes DIR/report.json, DIR/report.png, DIR/metrics.jsonl, DIR/dreams.json and
the slept model DIR/model, which `python -m experiments.ask` answers from. The
same command continues a run that was interrupted: documents longer than the
context are read in chunks, and every finished sleep is kept.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('consolidate')

import json

from absl import flags

from experiments import _config, _host_pages, _main, _mesh, _start
from sleepjax.data import documents
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.model import load_pretrained
from sleepjax.runs import nights
from sleepjax.runs.announce import announcement
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
_DOCUMENT = flags.DEFINE_string(
    'document', None, 'Text file to read.', flag_values=_FLAGS)
_QUESTIONS = flags.DEFINE_string(
    'questions', None, 'JSON list of {"question", "answer"}, for scoring only.',
    flag_values=_FLAGS)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/consolidate/smollm2.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep', 'exam'))
  document_path, workdir = map(_config.path, (_DOCUMENT, _WORKDIR))
  _config.check_numbers(config, seed=0)
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  exam = _config.to_dataclass(ExamConfig, config.exam, 'config.exam')
  saving = _config.saving_of(config)
  _config.check_no_best(saving)
  document = documents.read_document(document_path)
  questions = (None if _QUESTIONS.value is None
               else documents.read_questions(_QUESTIONS.value))
  enable_compilation_cache()
  with _mesh.devices_of(config):
    model = load_pretrained(config.model)
    task = DocumentTask(
        model, Reading(document, questions, bundled_controls(),
                       _QUESTIONS.value or ''), settings, exam, config.seed)
    print(announcement(_DOCUMENT.value, task.nights, model.config, settings),
          flush=True)
    report, _ = slept_on(task, model, nights.Run(
        workdir, json.loads(json.dumps(config.to_dict())), config.seed, saving,
        _host_pages.give_back, _main.tell))
    report_lib.print_table(report)
    print(_start.as_called(
        f'Wrote {workdir}/report.json and report.png; ask the model with\n'
        f'  python -m experiments.ask --checkpoint={workdir} --question="…"'))
