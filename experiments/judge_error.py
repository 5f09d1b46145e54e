r"""The error of every judge of meaning, before it may reward anything.

  python -m experiments.judge_error --config=configs/judges/smollm2.py \
      --workdir=DIR

Pairs that say the same are two samples of the old self that answer one question
with its passage in context. Pairs that do not are answers to different
questions about the same passage, and answers from other passages. Thresholds
are calibrated on some passages and errors counted on others, all from SQuAD in
SEAL's form, `train`, one passage a title. Questions of a passage whose answers
contain one another are not paired. A positive pair is one by construction: a
teacher that is unsure says two different things, and a judge that notices is
charged with a false negative.

Writes DIR/report.json with all texts and verdicts, and prints a table.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('judge_error')

import dataclasses
import json
import sys
import time

import jax
import numpy as np
import rich.console
import rich.table
from absl import flags

from experiments import _config
from sleepjax.data import sources
from sleepjax.errors import UserError, check_least
from sleepjax.evals import answers, judges
from sleepjax.evals import judge_calibration as calibration
from sleepjax.evals import report as report_lib
from sleepjax.evals.judge_by_name import KINDS, make_judge
from sleepjax.evals.judge_calibration import Pair, on_pairs
from sleepjax.model import load_pretrained
from sleepjax.runs import folder as folder_lib
from sleepjax.sampling import context
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.writing.dreamer import DreamConfig, Dreamer

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for the report.', flag_values=_FLAGS)


@dataclasses.dataclass(frozen=True)
class JudgeErrorConfig:
  """What is measured; see configs/judges/smollm2.py."""

  model: str
  judges: tuple[str, ...]
  yes_no: judges.YesNoConfig
  seed: int = 0
  calibration_passages: int = 8
  report_passages: int = 8
  questions: int = 4
  passage_tokens: int = 256
  question_tokens: int = 32
  answer_prompt: str = '{question}'
  max_new_tokens: int = 24
  temperature: float = 0.5

  def __post_init__(self):
    if min(self.calibration_passages, self.report_passages,
           self.questions) < 2:
      raise ValueError('calibration_passages, report_passages and questions '
                       'must be at least 2: answers are paired with others.')
    if '{question}' not in self.answer_prompt:
      raise ValueError(f'answer_prompt={self.answer_prompt!r} must contain '
                       '{question}.')
    check_least(self, seed=0, max_new_tokens=1, temperature=0)


def distinct_questions(questions, fits):
  """Of (question, answer) pairs that fit, those whose answers are apart."""
  kept = []
  for question, answer in questions:
    if fits(question) and not any(
        answers.contains(answer, a) or answers.contains(a, answer)
        for _, a in kept):
      kept.append((question, answer))
  return kept


def choose_passages(passages, settings, chat):
  """(text, questions) of as many passages as are wanted, one a title."""
  prompt = lambda q: chat.after_document(
      settings.answer_prompt.format(question=q.strip()))
  fits = lambda q: len(prompt(q)) <= settings.question_tokens
  wanted = settings.calibration_passages + settings.report_passages
  chosen = {}
  for i in np.random.default_rng(settings.seed).permutation(len(passages)):
    passage = passages[i]
    questions = distinct_questions(passage.questions, fits)
    if (len(questions) >= settings.questions and passage.title not in chosen
        and len(chat.document(passage.context)) <= settings.passage_tokens):
      chosen[passage.title] = passage.context, [
          q.strip() for q, _ in questions[:settings.questions]]
    if len(chosen) == wanted:
      return list(chosen.values())
  raise UserError(
      f'{len(chosen)} passages are short enough and have {settings.questions} '
      f'questions with different answers; {wanted} are needed. Ask for fewer, '
      'or raise passage_tokens or question_tokens.')


def write_pairs(dreamer, passages, settings, key):
  """{'same', 'same_passage', 'other_passage'}: pairs of sampled answers.

  Every negative pair is a first sample with the second sample of the next
  question, of the same or of the next passage, so that no sample is used twice
  in one kind.
  """
  firsts, seconds = [], []
  for n, (text, questions) in enumerate(passages):
    segment = context.read_document(
        dreamer.model.config, dreamer.model.params, dreamer.chat, text)
    prompts = [dreamer.chat.after_document(
        settings.answer_prompt.format(question=q)) for q in questions]
    written = dreamer.texts(dreamer.write(
        prompts * 2, jax.random.fold_in(key, n), segments=(segment,)))
    firsts.append(written[:len(questions)])
    seconds.append(written[len(questions):])
    print(f'passage {n + 1} of {len(passages)}', file=sys.stderr, flush=True)
  pairs = {'same': [], 'same_passage': [], 'other_passage': []}
  for n, (_, questions) in enumerate(passages):
    after = (n + 1) % len(passages)
    for q, question in enumerate(questions):
      for kind, other in (('same', seconds[n][q]),
                          ('same_passage', seconds[n][q - 1]),
                          ('other_passage', seconds[after][q])):
        pairs[kind].append(Pair(firsts[n][q], other, question))
  return pairs


def _rate(rate, n):
  low, high = calibration.wilson_interval(rate, n)
  return {'rate': rate, 'low': low, 'high': high, 'n': n}


def measure(judge, fit_on, report):
  """One entry of the report: errors with the default and a fitted threshold.

  Args:
    judge: with its default threshold.
    fit_on, report: what `write_pairs` returns, of different passages.
  """
  threshold = calibration.calibrated_threshold(
      on_pairs(judge.score, fit_on['same']),
      on_pairs(judge.score, fit_on['same_passage']
                      + fit_on['other_passage']))
  start = time.monotonic()
  scores = {kind: on_pairs(judge.score, pairs)
            for kind, pairs in report.items()}
  seconds = time.monotonic() - start
  entry = {'seconds_a_pair': seconds / sum(map(len, scores.values())),
           'scores': {k: s.astype(float).tolist() for k, s in scores.items()},
           'separation': {kind: calibration.separation(
               scores['same'], scores[kind]) for kind in (
                   'same_passage', 'other_passage')}}
  for name, at in (('default', judge), (
      'calibrated', dataclasses.replace(judge, threshold=threshold))):
    verdicts = {kind: at.verdicts(s) for kind, s in scores.items()}
    near, far = (
        calibration.error_of_verdicts(verdicts['same'], verdicts[kind])
        for kind in ('same_passage', 'other_passage'))
    false_positive = near.false_positive_rate, far.false_positive_rate
    entry[name] = {
        'threshold': at.threshold,
        'false_negative': _rate(near.false_negative_rate, near.positives),
        'false_positive_same_passage': _rate(
            false_positive[0], near.negatives),
        'false_positive_other_passage': _rate(
            false_positive[1], far.negatives),
        'balanced_accuracy': 1 - (near.false_negative_rate
                                  + float(np.mean(false_positive))) / 2}
  return entry


def print_table(report):
  table = rich.table.Table(
      'judge', 'threshold', 'refused: same', 'let through: same passage',
      'other passage', 'balanced accuracy', 'separation', 'ms a pair')
  percent = lambda r: f"{r['rate']:.0%} ({r['low']:.0%} to {r['high']:.0%})"
  for name, entry in report['judges'].items():
    for kind in ('default', 'calibrated'):
      e, first = entry[kind], kind == 'default'
      table.add_row(
          name if first else '', f"{e['threshold']:.2f} {kind}",
          percent(e['false_negative']),
          percent(e['false_positive_same_passage']),
          percent(e['false_positive_other_passage']),
          f"{e['balanced_accuracy']:.0%}",
          ' / '.join(f'{s:.2f}' for s in entry['separation'].values())
          if first else '',
          f"{1000 * entry['seconds_a_pair']:.0f}" if first else '')
  for name in report['left_out']:
    table.add_row(name, 'left out')
  console = rich.console.Console(width=150)
  console.print(table)
  for entry in list(report['judges'].values())[:1]:
    sizes = [entry['default'][kind]['n'] for kind in (
        'false_negative', 'false_positive_same_passage',
        'false_positive_other_passage')]
    console.print(f'pairs of each kind: {", ".join(map(str, sizes))}; '
                  'intervals of 95 %')
  for name, reason in report['left_out'].items():
    console.print(f'{name} was left out: {reason}')


def main(argv):
  resolved = _config.from_flags(
      argv, default='configs/judges/smollm2.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'judges', 'yes_no'))
  workdir = _config.path(_WORKDIR)
  settings = _config.to_dataclass(JudgeErrorConfig, resolved)
  for name in settings.judges:
    if name not in KINDS:
      raise UserError(f'config.judges: no judge {name!r}; expected some of '
                      f'{", ".join(KINDS)}.')
  passages = sources.squad_seal('train')
  _claim = folder_lib.claim(workdir)
  enable_compilation_cache()
  model = load_pretrained(settings.model)
  longest = (settings.passage_tokens + settings.question_tokens
             + settings.max_new_tokens)
  if longest > model.config.max_context:
    raise UserError(
        f'passage_tokens, question_tokens and max_new_tokens are {longest} '
        "together, more than the model's context of "
        f'{model.config.max_context}: lower one of them.')
  chosen = choose_passages(passages, settings, model.chat)
  # Scanned layers compile faster, and there is little to compute.
  ready = model.for_compute(unroll=False)
  dreamer = Dreamer(ready, DreamConfig(
      # Questions are people's, and nothing is recalled: no prompts.
      '', (), '', (), '', completion_tokens=settings.max_new_tokens,
      temperature=settings.temperature))
  pairs = [write_pairs(dreamer, part, settings, key) for part, key in zip(
      (chosen[:settings.calibration_passages],
       chosen[settings.calibration_passages:]),
      jax.random.split(jax.random.key(settings.seed)))]
  report = {'config': json.loads(json.dumps(resolved.to_dict())),
            'judges': {}, 'left_out': {}}
  for name in settings.judges:
    print(f'judge {name}', file=sys.stderr, flush=True)
    try:
      judge = make_judge(name, ready, settings.yes_no)
    except UserError as missing:
      report['left_out'][name] = str(missing)
      continue
    report['judges'][name] = measure(judge, *pairs)
  report['pairs'] = dict(zip(('calibration', 'report'), pairs))
  report_lib.write_json(workdir / 'report.json', report)
  print_table(report)
