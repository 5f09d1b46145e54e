"""The page of a run: what was measured, nothing that runs or is fetched."""

import html.parser
import json
import re

import pytest

from sleepjax.errors import UserError
from sleepjax.evals import page, svg

EVIL = '<script>alert("x")</script> & "quotes" \' {{ 7 * 7 }}'
REPORT = {
    'document': EVIL, 'questions': 2, 'questions_source': 'file', 'sleeps': 1,
    'knows_before': 0.0, 'knows_after': 0.5, 'knows_in_view': 1.0,
    'drift_ppl_before': 40.0, 'drift_ppl_after': 42.0,
    'control_nll_before': 7.0, 'control_nll_after': 6.5,
    'outside_piqa_before': 0.7, 'outside_piqa_after': 0.6,
    'answers': [
        {'question': EVIL, 'gold': EVIL, 'before': EVIL, 'after': EVIL,
         'in_view': EVIL, 'knows_before': False, 'knows_after': True,
         'knows_in_view': True},
        {'question': 'Lost?', 'gold': 'yes', 'before': 'yes', 'after': '',
         'in_view': 'yes', 'knows_before': True, 'knows_after': False,
         'knows_in_view': True}],
    'hand_overs': [{
        'sender': 'context', 'receiver': 'mlp', 'divergence_before': 7.25,
        'divergence_after': 0.5, 'retention_divergence': None,
        'rolled_back': True}],
    'params_before': 1234567, 'night_tokens': 9876, 'seconds': {
        'write': 10.0, 'seed': 40.0}, 'break_even_questions': None,
    'config': {'note': EVIL}}
DREAMS = {'sleeps': [{
    'texts': [{'kind': 'question', 'prompt': EVIL, 'start': '',
               'completion': EVIL}],
    'held_out_questions': [['Held?', EVIL]],
    'facts': {'topic': EVIL, 'note': EVIL, 'sentences': [
        {'sentence': EVIL, 'spans': [
            {'span': EVIL, 'kind': 'name', 'verified': [EVIL], 'by_rule': [],
             'refused': [[EVIL, EVIL]], 'given_up': False},
            {'span': 'two', 'kind': 'number', 'verified': [],
             'by_rule': ['How many?'], 'refused': [], 'given_up': True}]},
        {'sentence': 'Plain.', 'spans': []}]}}]}
METRICS = [{'phase': 'seed', 'step': step, 'cycle': 0, 'divergence': 4.0 - step,
            'note': EVIL} for step in range(3)]


class Tags(html.parser.HTMLParser):
  """Which elements and attributes there are, and all text."""

  def __init__(self, source):
    super().__init__()
    self.names, self.attributes, self.text, self.open = set(), [], [], []
    self.feed(source)

  def handle_starttag(self, tag, attrs):
    self.names.add(tag)
    self.attributes += attrs
    if tag not in ('meta', 'br', 'line', 'polyline', 'circle'):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.names.add(tag)
    self.attributes += attrs

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'report.json').write_text(json.dumps(REPORT))
  (tmp_path / 'dreams.json').write_text(json.dumps(DREAMS))
  (tmp_path / 'metrics.jsonl').write_text(
      ''.join(json.dumps(line) + '\n' for line in METRICS))
  return tmp_path


def words(source):
  return ' '.join(' '.join(Tags(source).text).split())


def test_what_a_model_writes_is_text(folder):
  """Wherever it stands: as a title, in a question, in a refusal."""
  tags = Tags(page.render([page.read_run(folder)]))
  assert tags.open == []  # Every element is closed, in order.
  assert 'script' not in tags.names
  # The title twice, question, answers, facts, rows, configuration.
  assert sum(text.count(EVIL) for text in tags.text) >= 13
  assert '49' not in ' '.join(tags.text)


def test_nothing_is_fetched_and_nothing_runs(folder):
  tags = Tags(page.render([page.read_run(folder)]))
  for name, value in tags.attributes:
    assert name not in ('src', 'srcset', 'action') and not name.startswith('on')
    assert name != 'href' or value.startswith('#')
  assert not {'link', 'iframe', 'object', 'img'} & tags.names
  style = page.render([]).split('<style>')[1].split('</style>')[0]
  assert 'url(' not in style and '@import' not in style
  assert 'prefers-color-scheme: dark' in style


def test_every_number_of_a_document(folder):
  shown = words(page.render([page.read_run(folder)]))
  for part in (
      '0 % right before', '50 % right after the night',
      '100 % right with the text in view', '+5.0 % perplexity',
      '−0.5 nats a token, loss of questions about other texts',
      'learnt', 'lost', 'before ✓ right yes after ✗ wrong (nothing)',
      'context → mlp 7.25 0.5 – undone', '2 of 2 asked for, 1 verified',
      'nothing asked Plain.', 'two number by rule How many?',
      'questions about other texts nats a token 7 6.5 −0.5',
      'unrelated text perplexity 40 42 +2 worse',
      'public test piqa share 0.7 0.6 −0.1 worse',
      'write 10 seed 40', 'parameters before 1,234,567',
      'tokens of all nights 9,876', 'cheaper than the text in view never',
      '1 rows, 1 more held out', 'D of student from teacher'):
    assert part in shown, part
  assert 'change' in shown and 'reward of imitation' not in shown


def test_days_and_nights():
  report = {'accuracy_matrix': [[1.0, 0.0], [0.5, 0.75]],
            'average_accuracy': 0.625, 'paraphrase_accuracy': None,
            'forgetting': 0.5, 'hand_overs': []}
  source = page.render([page.Run(page.pathlib.Path('days'), report, [
      [{'kind': 'question', 'prompt': 'Who?', 'start': '',
        'completion': 'Ann'}]])])
  cells = re.findall(r'<td class="([\w ]*)" style="--share:(\d+)%">(\d+)</td>',
                     source)
  assert cells == [(' strong', '100', '100'), ('ahead', '0', '0'),
                   ('', '50', '50'), (' strong', '75', '75')]
  shown = words(source)
  assert '2 days and nights' in shown
  assert '62 % right of all days' in shown and '– the same, para' in shown
  assert 'question Who? Ann' in shown


def test_several_runs_have_a_table(folder):
  run = page.read_run(folder)
  source = page.render([run, run])
  shown = words(source)
  assert '2 runs' in shown and '0 % 50 % 100 %' in shown
  assert ('href', '#run2') in Tags(source).attributes
  assert ('id', 'run2') in Tags(source).attributes


def test_nights_that_were_combined_or_forgotten():
  nights = [{'night': 1, 'title': 'A', 'questions': 4, 'gained': 0, 'lost': 2,
             'knows': {'before': 0.25, 'after': 0.75}, 'answers': [
                 {'question': EVIL, 'gold': 'g', 'before': EVIL, 'after': '',
                  'knows_before': True, 'knows_after': False}]},
            {'night': 2, 'title': '', 'questions': 0, 'gained': 0, 'lost': 0,
             'forgotten': True, 'answers': [],
             'knows': {'before': None, 'after': None}}]
  source = page.render([page.Run(
      page.pathlib.Path('less'), {'nights': nights})])
  shown = words(source)
  assert 'Night 1, A: every answer' in shown and 'after ✗ wrong (noth' in shown
  assert shown.count(EVIL) == 2 and 'script' not in Tags(source).names
  assert '1 A 4 25 % 75 % 0 2' in shown and '2 forgotten 0 – – 0 0' in shown


def test_a_run_that_only_has_a_report():
  assert 'empty' in words(page.render([
      page.Run(page.pathlib.Path('empty'), {})]))


def test_folders_without_a_run(tmp_path):
  with pytest.raises(UserError, match='report.json: missing or no report'):
    page.read_run(tmp_path)
  (tmp_path / 'report.json').write_text('[1')
  with pytest.raises(UserError, match='cannot be read as JSON'):
    page.read_run(tmp_path)
  (tmp_path / 'report.json').write_text('[1]')
  with pytest.raises(UserError, match='missing or no report'):
    page.read_run(tmp_path)


@pytest.mark.parametrize('low, high, ticks', [
    (0.0, 8.0, [0, 2, 4, 6, 8]), (0.3, 0.97, [0.2, 0.4, 0.6, 0.8, 1.0]),
    (-3.0, 9.0, [-5, 0, 5, 10]), (5.0, 5.0, [2, 4, 6, 8]),
    (0.0, 0.0, [-0.5, 0, 0.5])])
def test_round_numbers(low, high, ticks):
  have = svg.nice_ticks(low, high)
  assert have[0] <= low and have[-1] >= high and 3 <= len(have) <= 7
  assert have == pytest.approx(ticks)


def polylines(chart, name='mean'):
  return [[tuple(map(float, pair.split(','))) for pair in points.split()]
          for points in re.findall(
              rf'<polyline class="{name}" points="([^"]*)"', chart)]


def test_a_line_is_where_its_numbers_are():
  line, = polylines(svg.line_chart([0.0, 8.0, 4.0], 'a'))
  (x0, y0), (x1, y1), (x2, y2) = line
  assert x1 - x0 == pytest.approx(x2 - x1)
  assert y2 == pytest.approx((y0 + y1) / 2) and y1 < y0


def test_nights_are_lines_of_their_own():
  chart = svg.line_chart([1.0, 2.0, 5.0, 6.0, 7.0], 'a', breaks=[2])
  assert [len(line) for line in polylines(chart)] == [2, 3]
  assert chart.count('class="night"') == 1


def test_many_points_are_smoothed_within_a_night():
  values = [0.0] * 50 + [10.0] * 50
  first, second = polylines(svg.line_chart(values, 'a', breaks=[50]))
  assert len({y for _, y in first}) == len({y for _, y in second}) == 1
  assert [len(raw) for raw in polylines(svg.line_chart(
      values, 'a', breaks=[50]), 'raw')] == [50, 50]


def test_numbers_that_are_missing():
  assert svg.line_chart([None, float('nan')], 'a') == ''
  chart = svg.line_chart([1.0, None, 3.0], EVIL)
  line, = polylines(chart)
  assert len(line) == 2 and '<script' not in chart
  assert '<circle' in svg.line_chart([3.0], 'a')


def test_rounding_below_zero_takes_no_room():
  chart = svg.line_chart([-1e-9, 1.0, 0.5], 'a')
  assert '-' not in ''.join(re.findall('text-anchor="end">([^<]*)<', chart))
