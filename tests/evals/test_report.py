import io
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from matplotlib.image import imread

from sleepjax.evals import report as report_lib

REPORT = {
    'closed_book_nll_before': 4.0, 'closed_book_nll_after': 1.5,
    'in_context_nll': 0.75, 'control_nll_before': 3.9,
    'control_nll_after': 3.8, 'in_context_other_nll_before': 0.9,
    'in_context_other_nll_after': 0.95, 'topic_recovered': 0.77,
    'topic_recovered_net': 0.74,
    'closed_book_accuracy_before': {'exact': 0.0, 'contains': 0.1, 'f1': 0.1},
    'closed_book_accuracy_after': {'exact': 0.5, 'contains': 0.7, 'f1': 0.6},
    'in_context_accuracy': {'exact': 0.8, 'contains': 1.0, 'f1': 0.9},
    'drift_ppl_before': 14.25, 'drift_ppl_after': 14.5,
    'params_before': 134515008, 'params_after': 137833028,
    'params_open_slots': 1106006,
    'params_sha256': 'c0ffee', 'seconds': {'seed': 61.25, 'grow': 0.5},
    'tokens_per_second': {'seed': 1234.0}, 'peak_memory_bytes': 2**31,
    'questions': 10, 'questions_source': 'file',
    'growth_max_abs_logit_change': 0.0, 'dream_reward': 0.41234,
    'config': {'seed': 0, 'levels': (1, 2)},
}
METRICS = [
    {'phase': 'seed', 'step': step, 'divergence': 2.0 / (step + 1),
     'reward': 0.1 * step} for step in range(5)]


def printed(report, width=100):
  console = rich.console.Console(file=io.StringIO(), width=width)
  report_lib.print_table(report, console)
  return console.file.getvalue()


def test_report_file_holds_every_number(tmp_path):
  report_lib.write_report(tmp_path / 'out', {
      **REPORT, 'array': jnp.float32(0.5), 'count': np.int64(3),
      'bad': float('nan'), 'where': tmp_path})
  files = list((tmp_path / 'out').iterdir())
  assert [file.name for file in files] == ['report.json']
  read = json.loads(files[0].read_text())
  assert read['config'] == {'seed': 0, 'levels': [1, 2]}
  assert (read['array'], read['count'], read['bad']) == (0.5, 3, None)
  assert read['where'] == str(tmp_path)
  assert list(read)[:len(REPORT)] == list(REPORT)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
  report_lib.write_report(tmp_path, {'questions': 1})
  with pytest.raises(ValueError):
    report_lib.write_report(tmp_path, {'questions': np.zeros(3)})
  assert json.loads((tmp_path / 'report.json').read_text()) == {'questions': 1}


def test_table_shows_the_numbers_in_their_columns():
  lines = printed(REPORT).splitlines()
  (row,) = [line for line in lines if 'questions on the text' in line]
  cells = [cell.strip() for cell in row.split('│')[1:-1]]
  assert cells == ['loss, questions on the text', '4.000', '1.500', '0.750']
  text = '\n'.join(lines)
  for part in ('70.0%', '14.25', '137,833,028', '1,106,006',
               'topic recovered: 77.0%', '74.0% net', '10 (file)',
               'seed 61.2 s (1,234 tokens/s)',
               'grow 0.5 s', '2.00 GiB', 'c0ffee', 'dream reward: 0.4123'):
    assert part in text


def test_what_matters_is_said_in_a_sentence():
  answer = {'question': 'Who?', 'gold': 'Ida', 'before': 'Ada', 'after': 'Ida',
            'in_view': 'Ida', 'knows_before': False, 'knows_after': True,
            'knows_in_view': True}
  lost = {**answer, 'knows_after': False}
  lines = printed({**REPORT, 'answers': [answer, answer, lost]}).splitlines()
  assert ('answered right: 0 of 3 before, 2 after, 3 with the text in view'
          in lines)
  harm = 'questions about other texts: their loss {} by {} nats a token'
  assert harm.format('fell', '0.10') in lines
  assert harm.format('rose', '1.20') in printed(
      {**REPORT, 'control_nll_after': 5.1}).splitlines()


def test_a_small_gap_is_said_in_place_of_a_ratio():
  text = printed({**REPORT, 'topic_recovered': None,
                  'topic_recovered_net': None, 'context_gap': 0.0051})
  assert 'the text helps by 0.005 nats a token, too little for a ratio' in text
  assert '%' not in text[text.index('topic recovered'):].splitlines()[0]


def test_what_nothing_was_asked_about_is_said():
  text = printed({
      'sentences': 12, 'recollections_left_out': 3, 'answers_too_long': 7,
      'sentences_without_question': {'too_long': 2, 'no_usable_question': 4}})
  assert ('sentences that nothing was asked about: 6 of 12 (2 too long for a '
          'request, 4 without a question of use); recollections '
          'left out as too long: 3; not asked about, as an answer takes more '
          'than sleep.dreams.completion_tokens: 7') in ' '.join(text.split())


def test_table_fits_eighty_columns():
  table = [line for line in printed(REPORT, 80).splitlines()
           if line.startswith(('│', '┃'))]
  assert len(table) == 10  # The header and nine rows, none of them wrapped.


def test_table_leaves_out_what_was_not_measured():
  text = printed({'closed_book_nll_before': 4.0, 'in_context_nll': None})
  assert '4.000' in text
  for word in ('perplexity', 'F1', 'recovered', 'control'):
    assert word not in text


@pytest.mark.parametrize('report, metrics', [
    (REPORT, METRICS),
    ({'closed_book_nll_before': 4.0}, []),
    ({}, [{'phase': 'dream', 'step': 0, 'reward': 1.0},
          {'phase': 'seed', 'step': 0, 'loss': 1.0}]),
])
def test_picture_is_drawn_from_whatever_there_is(tmp_path, report, metrics):
  report_lib.plot_report(tmp_path / 'out', report, metrics)
  picture = imread(tmp_path / 'out' / 'report.png')
  height, width = picture.shape[:2]
  assert height > 400 and width > 1200


def axes_of(draw, *arguments):
  from matplotlib.figure import Figure
  figure = Figure()
  draw(figure.subplots(), *arguments)
  return figure.axes


def test_bars_have_their_heights_and_stay_apart():
  (axes,) = axes_of(
      report_lib._draw_bars, ['a', 'b', 'c'],
      [[4.0, 1.5, 0.75], [None] * 3, [3.0, 2.0, None]], '{:.2f}')
  assert sorted(bar.get_height() for bar in axes.patches) == [
      0.75, 1.5, 2.0, 3.0, 4.0]
  assert [t.get_text() for t in axes.get_xticklabels()] == ['a', 'c']
  spans = sorted((b.get_x(), b.get_x() + b.get_width()) for b in axes.patches)
  assert all(end < start for (_, end), (start, _) in zip(spans, spans[1:]))


def test_seeding_is_drawn_over_its_steps():
  last = [{**METRICS[4], 'divergence': 9.0, 'reward': 0.0}]
  divergence, reward = axes_of(
      report_lib._draw_seeding, METRICS[:4] + last)
  assert list(divergence.lines[0].get_xdata()) == [0, 1, 2, 3, 4]
  assert divergence.lines[0].get_ydata()[-1] == 9.0
  assert reward.lines[0].get_ydata()[-1] == 0.0


def test_seeding_of_later_sleeps_follows():
  sleeps = [{**line, 'cycle': cycle, 'divergence': cycle + line['step'] / 10}
            for cycle in (0, 1) for line in METRICS]
  divergence, _ = axes_of(report_lib._draw_seeding, sleeps)
  assert list(divergence.lines[0].get_xdata()) == list(range(10))
  assert list(divergence.lines[0].get_ydata()) == [
      0, .1, .2, .3, .4, 1, 1.1, 1.2, 1.3, 1.4]


def test_peak_memory_is_in_bytes_and_is_that_of_this_process():
  """In a process of its own, so that what others held here is not counted."""
  code = (
      'import numpy as np; from sleepjax.evals import report as r; '
      'before = r.peak_memory_bytes(); np.ones(2**24); '
      'print(before, r.peak_memory_bytes())')
  out = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True)
  before, after = map(int, out.stdout.split())
  assert 2**23 < before < 2**30
  assert 2**26 < after - before < 2**28


def test_every_question_stands_with_its_answers():
  answers = [{'question': 'Who lit it?', 'gold': 'Ann', 'before': 'Bob.',
              'after': 'Ann [did].', 'in_view': 'Ann.', 'knows_before': False,
              'knows_after': True, 'knows_in_view': True}]
  text = printed({**REPORT, 'answers': answers, 'knows_before': 0.0,
                  'knows_after': 1.0, 'knows_in_view': 1.0})
  for part in ('knows: right answers', 'Who lit it?', '✗ Bob.',
               '✓ Ann [did].', '✓ Ann.'):
    assert part in text
