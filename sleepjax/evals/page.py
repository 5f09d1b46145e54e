"""Runs as one HTML page that needs nothing else: no network, no script.

  page.write('page.html', [page.read_run('runs/notes')])

The template is `assets/page/page.html`. All that comes from a run, such as what
a model has written, is escaped.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from sleepjax.data import benchmarks, files
from sleepjax.errors import UserError
from sleepjax.evals import svg
from sleepjax.training.metrics import read_metrics

_TEMPLATES = pathlib.Path(__file__).resolve().parents[1] / 'assets/page'
# Of a step, in this order: name, what it is.
_CURVES = {
    'seed': {
        'divergence': 'D of student from teacher, nats a token',
        'loss': 'loss', 'reward': 'reward of imitation',
        'reward_semantic': 'reward: same meaning',
        'reward_levenshtein': 'reward: same words',
        'retention_divergence': 'moved what should stay, nats a token',
        'rehearsal_divergence': 'moved rehearsal, nats a token',
        'entropy': 'entropy, nats', 'top1_agreement': 'same likeliest token',
        'gradient_norm': 'norm of the gradient'},
    'dream': {
        'dream_reward': 'reward of dreams, by round',
        'dream_tau_inner': 'τ after the dreams of a round',
        'dream_success_rate': 'share of dreams that help, by round',
        'divergence': 'D while writing back, nats a token'}}
_HARM = (
    ('questions about other texts', 'control_nll', 'nats a token', True),
    ('the same with their texts in view', 'in_context_other_nll',
     'nats a token', True),
    ('unrelated text', 'drift_ppl', 'perplexity', True),
    ('right answers about other texts', 'controls_knows', 'share', False),
    *((f'public test {name}', f'outside_{name}', 'share', False)
      for name in benchmarks.NAMES))
_MATRICES = (
    ('accuracy_matrix', 'Direct questions'),
    ('paraphrase_matrix', 'Paraphrased questions'),
    ('reversed_matrix', 'Reversed questions'),
    ('trained_templates_matrix', 'As the nights ask themselves (training)'))
_MOST_TEXTS = 400  # Of a night's rows that are shown.


@dataclasses.dataclass(frozen=True)
class Run:
  """What a folder holds of a run.

  folder: where it is.
  report: `report.json`.
  dreams: `dreams.json`; None if it is not there.
  metrics: lines of `metrics.jsonl`.
  """

  folder: pathlib.Path
  report: Mapping[str, Any]
  dreams: Any = None
  metrics: Sequence[Mapping[str, Any]] = ()


def read_run(folder: str | os.PathLike) -> Run:
  """What a run has left in its folder.

  Raises:
    UserError: there is no report, or a file is damaged.
  """
  folder = pathlib.Path(folder).expanduser()
  report = _json(folder / 'report.json')
  if not isinstance(report, dict):
    raise UserError(
        f'{folder}/report.json: missing or no report. Name the folder of a run '
        'that has ended (its --workdir).')
  metrics = folder / 'metrics.jsonl'
  return Run(folder, report, _json(folder / 'dreams.json'),
             read_metrics(metrics) if metrics.exists() else [])


def write(path: str | os.PathLike, runs: Sequence[Run]) -> None:
  """Writes the page of some runs.

  Raises:
    UserError: it cannot be written.
  """
  files.write(path, render(runs))


def render(runs: Sequence[Run]) -> str:
  """The page of some runs, as HTML."""
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True,
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  environment.filters |= {
      'percent': _percent,
      'number': _number, 'signed': _signed}
  return environment.get_template('page.html').render(
      style=(_TEMPLATES / 'page.css').read_text(encoding='utf-8'),
      runs=[described(run) for run in runs])


def described(run: Run) -> dict[str, Any]:
  """All that the template shows of a run; what it does not have is empty."""
  r = run.report
  return {
      'title': _title(run), 'folder': str(run.folder), 'report': r,
      'tiles': _tiles(r), 'answers': [_judged(a) for a in r.get('answers', ())],
      'nights': _nights(run.dreams), 'curves': _curves(run.metrics),
      'hand_overs': r.get('hand_overs', ()), 'harm': _harm(r),
      'combined': r.get('nights', ()) if not r.get('sleeps') else (),
      'matrices': [{'name': name, 'rows': r[key]} for key, name in _MATRICES
                   if r.get(key)],
      'cost': _cost(r), 'seconds': _shares(r.get('seconds') or {}),
      'config': json.dumps(r.get('config'), indent=2, ensure_ascii=False)
                if r.get('config') else ''}


def _title(run):
  r = run.report
  if r.get('document'):
    return r['document']
  if r.get('accuracy_matrix'):
    return f'{len(r["accuracy_matrix"])} days and nights'
  return run.folder.resolve().name


def _tiles(r):
  """(large, small) of what matters most."""
  tiles = []
  if r.get('knows_after') is not None:
    tiles = [(_percent(r.get(f'knows_{when}')), name) for when, name in (
        ('before', 'right before'), ('after', 'right after the night'),
        ('in_view', 'right with the text in view'))]
  if r.get('accuracy_matrix'):
    tiles = [(_percent(r.get(key)), name) for key, name in (
        ('average_accuracy', 'right of all days, in the end'),
        ('paraphrase_accuracy', 'the same, paraphrased'),
        ('forgetting', 'forgotten of earlier days'))]
  if r.get('control_nll_after') is not None and (
      r.get('control_nll_before') is not None):
    tiles.append((_signed(r['control_nll_after'] - r['control_nll_before']),
                  'nats a token, loss of questions about other texts'))
  if r.get('drift_ppl_after') and r.get('drift_ppl_before'):
    change = r['drift_ppl_after'] / r['drift_ppl_before'] - 1
    tiles.append((f'{100 * change:+.1f} %'.replace('-', '−'),
                  'perplexity of unrelated text'))
  return tiles


def _judged(answer):
  """A question with what has become of it."""
  before, after = answer['knows_before'], answer['knows_after']
  verdict = {(False, True): 'learnt', (True, False): 'lost',
             (True, True): 'known before', (False, False): 'not learnt'}
  return {**answer, 'verdict': verdict[bool(before), bool(after)]}


def _nights(dreams):
  """Of each night its sentences, if they were looked at, and its rows."""
  if isinstance(dreams, dict):
    sleeps = dreams.get('sleeps', [])
  else:
    sleeps = [{'texts': texts} for texts in dreams or ()]
  return [{
      'topic': (sleep.get('facts') or {}).get('topic', ''),
      'note': (sleep.get('facts') or {}).get('note', ''),
      'sentences': [_sentence(s) for s in (sleep.get('facts') or {}).get(
          'sentences', ())],
      'held_out': sleep.get('held_out_questions', ()),
      'texts': sleep.get('texts', ())[:_MOST_TEXTS],
      'more': max(0, len(sleep.get('texts', ())) - _MOST_TEXTS),
  } for sleep in sleeps]


def _sentence(sentence):
  """A sentence with how much of it the model could verify."""
  spans = sentence['spans']
  verified = sum(bool(span['verified']) for span in spans)
  by_rule = any(span['by_rule'] for span in spans)
  return {**sentence, 'verified': verified,
          'asked': sum(bool(span['verified'] or span['by_rule'])
                       for span in spans),
          'state': ('verified' if verified else 'by rule' if by_rule
                    else 'nothing asked')}


def _curves(metrics):
  """Phase -> charts of what changes over its steps."""
  phases = {}
  for phase, names in _CURVES.items():
    lines = [line for line in metrics if line.get('phase') == phase]
    charts = []
    for name, label in names.items():
      # The steps of dreaming are of several kinds.
      own = [line for line in lines if phase == 'seed' or name in line]
      if not any(line.get(name) is not None for line in own):
        continue
      nights = [line.get('cycle', 0) for line in own]
      charts.append({'label': label, 'svg': svg.line_chart(
          [line.get(name) for line in own], label,
          [i for i in range(1, len(own)) if nights[i] != nights[i - 1]])})
    if charts:
      phases[phase] = charts
  return phases


def _harm(r):
  rows = []
  for name, key, unit, less_is_better in _HARM:
    before, after = r.get(f'{key}_before'), r.get(f'{key}_after')
    if before is not None and after is not None:
      change = after - before
      worse = change > 0 if less_is_better else change < 0
      rows.append({'name': name, 'unit': unit, 'before': before, 'after': after,
                   'change': change, 'worse': worse and change != 0})
  return rows


def _cost(r):
  """(what, how much) of what the nights took."""
  rows = []
  def add(name, key, form):
    if r.get(key) is not None:
      rows.append((name, form(r[key])))
  add('parameters before', 'params_before', _number)
  add('parameters after', 'params_after', _number)
  add('of them in open slots', 'params_open_slots', _number)
  add('tokens of all nights', 'night_tokens', _number)
  if 'break_even_questions' in r:
    least = r['break_even_questions']
    rows.append(('cheaper than the text in view', 'never' if least is None else
                 f'from question {_number(least)} on'))
  add('peak memory', 'peak_memory_bytes', lambda x: f'{x / 2**30:.2f} GiB')
  add('rows written', 'dreams', _number)
  add('largest change of a logit by growth', 'growth_max_abs_logit_change',
      lambda x: f'{x:.1e}' if x else '0')
  add('seed', 'seed', str)
  add('parameters sha256', 'params_sha256', str)
  add('text sha256', 'document_sha256', str)
  return rows


def _shares(seconds):
  """(phase, seconds, share of the longest) of each phase."""
  longest = max(seconds.values(), default=0) or 1
  return [(name, each, each / longest) for name, each in seconds.items()]


def _percent(value):
  return '–' if value is None else f'{100 * value:.0f} %'


def _signed(value):
  return f'{value:+.3g}'.replace('-', '−') if value else '0'


def _number(value):
  if value is None:
    return '–'
  if isinstance(value, int):
    return f'{value:,}'
  return f'{value:.3g}' if abs(value) < 1000 else f'{value:,.0f}'


def _json(path):
  if not path.exists():
    return None
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f'{path}: cannot be read as JSON ({error}). Run the '
                    'command again, or leave this run out.') from error
