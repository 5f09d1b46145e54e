r"""A pretrained model reads a document, sleeps, and answers from its weights.

  python -m experiments.consolidate --config=configs/consolidate/smollm2.py \
      --document=FILE [--questions=FILE.json] --workdir=DIR

Writes DIR/report.json, DIR/report.png, DIR/metrics.jsonl, DIR/dreams.json and
the slept model DIR/model, which `python -m experiments.ask` answers from. The
same command continues a run that was interrupted: documents longer than the
context are read in chunks, and every finished sleep is kept.
"""

import json
import pathlib

from absl import flags

from experiments import _document, _main, _mesh
from sleepjax.data import documents
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.model import load_pretrained
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
  config = _main.config_from_flags(
      argv, default='configs/consolidate/smollm2.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep', 'exam'))
  for flag in (_DOCUMENT, _WORKDIR):
    if flag.value is None:
      raise UserError(f'--{flag.name} is missing; see --help.')
  _main.check_numbers(config, seed=0)
  settings = _main.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  exam_settings = _main.to_dataclass(
      _document.ExamConfig, config.exam, 'config.exam')
  saving = _main.saving_of(config)
  document = documents.read_document(_DOCUMENT.value)
  questions = (None if _QUESTIONS.value is None
               else documents.read_questions(_QUESTIONS.value))
  enable_compilation_cache()
  with _mesh.devices_of(config):
    report = _document.run(
        load_pretrained(config.model), document, questions,
        _document.bundled_controls(),
        json.loads(json.dumps(config.to_dict())), settings, exam_settings,
        config.seed, pathlib.Path(_WORKDIR.value), saving)
    report_lib.print_table(report)
    print(f'Wrote {_WORKDIR.value}/report.json and report.png; ask the model '
          f'with\n  python -m experiments.ask --checkpoint={_WORKDIR.value} '
          '--question="…"')


if __name__ == '__main__':
  import sys
  _main.run(main, sys.argv)
