r"""Does agreement of its own answers tell a model which of them are right?

  python -m experiments.question_agreement \
      --config=configs/consolidate/smollm2.py \
      --config.sleep.dreams.questions_in_all=64 --workdir=DIR

With a SQuAD passage in view the model answers the questions that people asked
about it, and as many of its own, greedily and a few times at temperature 1.
Agreement (`sleepjax.writing.agreement`) sees no gold answer; people's questions
have one, so they say how far agreement can be trusted, and what a threshold
keeps. Passages as of `experiments.squad_passages`: `train` to choose a
threshold on, `val` for results. Writes DIR/report.json.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('question_agreement')


import jax
import numpy as np
import rich.console
import rich.table
from absl import flags

from experiments import _config, squad_passages
from sleepjax import seeds
from sleepjax.data.documents import Question
from sleepjax.dreaming.select import rank_correlation
from sleepjax.errors import UserError
from sleepjax.evals import answers
from sleepjax.evals import report as report_lib
from sleepjax.evals.questions import AnswerConfig, check_scorable
from sleepjax.lifecycle import cycle
from sleepjax.model import load_pretrained
from sleepjax.runs import folder as folder_lib
from sleepjax.sampling import context
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.progress import Display
from sleepjax.writing.agreement import agreement
from sleepjax.writing.coverage import write_questions
from sleepjax.writing.dreamer import Dreamer

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for the report.', flag_values=_FLAGS)
_SPLIT = flags.DEFINE_enum(
    'split', 'val', ['val', 'train'], 'Passages of.', flag_values=_FLAGS)
_PASSAGES = flags.DEFINE_integer(
    'passages', 20, 'How many, at least 1.', flag_values=_FLAGS)

_THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)


def ask(dreamer, answer_prompt, questions, segment, samples, key):
  """[{question, answer, agreement}] of one passage in view."""
  prompts = [dreamer.chat.after_document(answer_prompt.format(question=q))
             for q in questions]
  replies = dreamer.texts(dreamer.write(
      prompts, key, temperature=0.0, segments=(segment,)))
  values = agreement(dreamer, prompts, replies, (segment,), key, samples)
  return [{'question': q, 'answer': a, 'agreement': v}
          for q, a, v in zip(questions, replies, values, strict=True)]


def summarise(people, own):
  """What the table shows.

  Args:
    people: entries of `ask` with `right`, 1 if the gold answer is contained.
    own: entries of `ask`.

  Returns:
    {'rank_correlation' of agreement and being right (None if undefined),
    'thresholds': [{threshold, people_kept, people_right, own_kept}]}, shares;
    people_right is of those kept, None without any.
  """
  values, right = (np.asarray([e[name] for e in people], float)
                   for name in ('agreement', 'right'))
  own = np.asarray([e['agreement'] for e in own], float)
  rows = []
  for threshold in _THRESHOLDS:
    kept = values >= threshold
    rows.append({
        'threshold': threshold, 'people_kept': float(kept.mean()),
        'people_right': float(right[kept].mean()) if kept.any() else None,
        'own_kept': float((own >= threshold).mean()) if len(own) else None})
  return {'people': len(people), 'own': len(own),
          'rank_correlation': rank_correlation(values, right),
          'thresholds': rows}


def print_summary(summary):
  percent = lambda value: '-' if value is None else f'{100 * value:.0f}'
  table = rich.table.Table(
      'agreement', "people's kept", 'of them right', 'own kept', title='%')
  for row in summary['thresholds']:
    table.add_row(f'≥ {row["threshold"]}', *(
        percent(row[name])
        for name in ('people_kept', 'people_right', 'own_kept')))
  console = rich.console.Console()
  console.print(table)
  rho = summary['rank_correlation']
  console.print(
      f"{summary['people']} questions of people, {summary['own']} of its own; "
      'rank correlation of agreement and being right: '
      + ('-' if rho is None else f'{rho:.2f}'), highlight=False)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/consolidate/smollm2.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep'))
  workdir = _config.path(_WORKDIR)
  if _PASSAGES.value < 1:
    raise UserError(f'--passages={_PASSAGES.value} must be at least 1.')
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  samples = settings.dreaming.agreement_samples if settings.dreaming else 0
  if samples < 1:
    raise UserError('config.sleep.dreaming.agreement_samples must be at least '
                    '1: it is what is measured.')
  _claim = folder_lib.claim(workdir)
  enable_compilation_cache()
  passages, _ = squad_passages.read_passages(
      _SPLIT.value, 0, _PASSAGES.value)
  model = load_pretrained(config.model)
  ready = model.for_compute(settings.matmul_dtype, settings.unroll)
  dreamer = Dreamer(ready, settings.dreams)
  for passage in passages:  # All before the first.
    check_scorable(
        dreamer.chat, [Question(*pair) for pair in passage.questions],
        passage.title, AnswerConfig(
            settings.answer_prompt, settings.dreams.completion_tokens),
        model.config.max_context - len(dreamer.chat.document(passage.context)))
  people, own = [], []
  with Display() as display, display.phase('ask', len(passages)) as phase:
    for number, passage in enumerate(passages):
      asked_key, own_key, key = jax.random.split(
          jax.random.fold_in(seeds.key_of(config.seed), number), 3)
      segment = context.read_document(
          ready.config, ready.params, ready.chat, passage.context)
      answered = ask(
          dreamer, settings.answer_prompt, [q for q, _ in passage.questions],
          segment, samples, key)
      people += [{**entry, 'gold': gold,
                  'right': answers.contains(entry['answer'], gold)}
                 for entry, (_, gold) in zip(answered, passage.questions)]
      questions = write_questions(
          dreamer, passage.context, (segment,), own_key)
      own += ask(dreamer, settings.answer_prompt,
                 questions[:len(answered)], segment, samples, asked_key)
      phase.advance(people=len(people), own=len(own))
  summary = summarise(people, own)
  report_lib.write_json(
      workdir / 'report.json',
      {'summary': summary, 'people': people, 'own': own})
  print_summary(summary)
