"""What a run says of its cost."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _config
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.lifecycle import cycle
from sleepjax.model import Model
from sleepjax.runs import announce, nights
from sleepjax.tasks.document import DocumentTask, ExamConfig, Reading
from tests import small_sleep
from tests.conftest import CONFIG

QUESTION = Question('Who lit it?', 'Ann')


@pytest.fixture(scope='module')
def settings():
  config = small_sleep.get_config()
  config.sleep.context_tokens = 120
  config.sleep.dreams.prompt_tokens = 100
  config.sleep.dreams.completion_tokens = 8
  return _config.to_dataclass(cycle.SleepConfig, config.sleep, 'sleep')


@pytest.mark.parametrize('seconds, said', [
    (0.2, '1 second'), (59, '59 seconds'), (70, '1 minute'),
    (5000, '83 minutes'), (7300, '2.0 hours'), (200_000, '2.3 days')])
def test_durations(seconds, said):
  assert announce.duration(seconds) == said


def test_announcement(monkeypatch, settings, capsys):
  monkeypatch.setattr(announce, '_flops_a_second', lambda config: 1e6)
  seconds = announce.seconds_of_a_sleep(CONFIG, settings)
  print(announce.announcement('notes.txt', 3, CONFIG, settings))
  out = capsys.readouterr().out
  assert out.startswith(
      f'notes.txt: 3 sleeps, at least {announce.duration(3 * seconds)} (')
  now, then = announce.parameter_bytes(CONFIG, settings.slot_rank, 3)
  # Three matrices, three slots, and where they are open.
  assert then - now == CONFIG.num_layers * 3 * (
      3 * CONFIG.embed_dim * settings.slot_rank * 4 + 1)
  print(announce.announcement('notes.txt', 10**9, CONFIG, settings))
  if jax.default_backend() == 'cpu':
    assert 'more than this machine may have' in capsys.readouterr().out


def test_what_remains(monkeypatch, capsys):
  clock = iter([0, 100, 160, 170, 230])
  monkeypatch.setattr(announce.time, 'monotonic', lambda: next(clock))
  remaining = announce.Remaining(5, 1, tell=print)
  remaining.done()
  remaining.done()
  remaining.done(counts=False)
  remaining.done()
  assert capsys.readouterr().out.splitlines() == [
      'sleep 2 of 5 took 2 minutes; about 5 minutes to go',
      'sleep 3 of 5 took 1 minute; about 2 minutes to go']


def test_pools_grow_in_blocks(settings, plain, byte_tokenizer):
  """20 sleeps: eight slots, eight more, and the last four."""
  task = DocumentTask.__new__(DocumentTask)
  task.settings, task.nights = settings, 20
  model, shapes = Model(*plain, byte_tokenizer), []
  for night in range(20):
    roomy = task.with_room(model, night)
    if roomy is not model:
      shapes.append((night, roomy.config.num_slots))
    index = int(np.argmin(slots.is_open(roomy.config, roomy.params)))
    model = roomy.with_params(roomy.config, slots.set_open(
        roomy.config, roomy.params, index, jnp.ones(CONFIG.num_layers, bool)))
  assert shapes == [(0, 8), (8, 16), (16, 20)]
  task.nights = 1
  assert task.with_room(Model(*plain, byte_tokenizer), 0).config.num_slots == 1


def test_room_is_made_at_once(plain):
  config, params = slots.allocate_pool(*plain, 2, 4)
  one = plain
  for _ in range(2):
    one = slots.allocate_pool(*one, 1, 4)
  assert config == one[0]
  jax.tree.map(np.testing.assert_array_equal, params, one[1])


@pytest.fixture(scope='module')
def checked(talker, byte_tokenizer, settings):
  model = Model(*talker, byte_tokenizer, 'talker')

  def check(document='It was lit by Ann.', asked=(QUESTION,),
            control='It was dark.', controls=(QUESTION,)):
    task = DocumentTask(
        model, Reading(Document('A tower', document), asked, [
            (Document('A control', control), controls)], 'q.json'), settings,
        ExamConfig(max_new_tokens=4, drift_tokens=100))
    return task.chunks, task.drift

  return check


def test_what_is_given_is_checked(checked, monkeypatch):
  chunks, drift = checked()
  assert [c.text for c in chunks] == ['It was lit by Ann.'] and len(drift)
  with pytest.raises(UserError, match='nothing in the text can be asked'):
    checked(document='12 - 13')
  with pytest.raises(UserError, match='q.json, item 1: .* has 23. tokens'):
    checked(asked=(QUESTION, Question('w' * 200, 'Ann')))
  with pytest.raises(UserError, match="'A control', item 0: .* room for -"):
    checked(control='dark ' * 100)


def test_what_has_no_token_is_named(checked, byte_tokenizer, monkeypatch):
  encode = byte_tokenizer.backend.encode
  monkeypatch.setattr(
      type(byte_tokenizer), 'encode', lambda self, text: encode(
          text.replace('\x04', ''), add_special_tokens=False).ids)
  asked = (QUESTION, Question('Who?', '\x04'))
  with pytest.raises(UserError, match="q.json, item 1: the answer '.x04' has"):
    checked(asked=asked)
  with pytest.raises(UserError, match="on 'A control', item 1: the answer"):
    checked(controls=asked)


@pytest.mark.slow
def test_a_run_of_several_sleeps_says_its_time_and_fills_its_pool(
    talker, byte_tokenizer, tmp_path, capsys):
  config = small_sleep.of_a_model_of_bytes()
  settings = _config.to_dataclass(cycle.SleepConfig, config, 'sleep')
  text = ' '.join(f'The keeper number {i} lit the lamp.' for i in range(6))
  controls = [(Document('A control', 'It was dark.'), (QUESTION,))]
  model = Model(*talker, byte_tokenizer, 'talker')
  task = DocumentTask(
      model, Reading(Document('T', text), (QUESTION,), controls), settings,
      ExamConfig(max_new_tokens=2, drift_tokens=32, batch_rows=2))
  report = nights.run(task, model, settings, nights.Run(
      tmp_path / 'run', tell=print))
  out = capsys.readouterr().out
  assert report['sleeps'] == 2
  assert 'night 1 of 2 took' in out
  assert report['growth_max_abs_logit_change'] == 0
  # All room is made before the first sleep, and nothing is compiled anew.
  first, *later = report['growth_shapes']
  assert any('slots/gate' in line and '2' in line for line in first)
  assert all(len(lines) <= 1 for lines in later)
  assert report['sentences'] == 6
  assert report['params_after'] - report['params_before'] == (
      CONFIG.num_layers * 2 * 3 * CONFIG.embed_dim * 2)


def test_texts_are_announced_before_their_sum(monkeypatch, settings):
  monkeypatch.setattr(announce, '_flops_a_second', lambda config: 1e6)
  texts = [Document('A tower', 'Lit by Ann.'), Document('', 'one\n ' * 30)]
  lines = announce.announcement_of_texts(texts, [1, 3], CONFIG, settings)
  assert lines[0] == "  'A tower': 3 words, 1 sleep"
  assert lines[1].endswith(": 30 words, 3 sleeps") and '\n' not in lines[1]
  assert lines[2:] == [announce.announcement('2 texts', 4, CONFIG, settings)]
  many = announce.announcement_of_texts(
      texts[:1] * 22, [1] * 22, CONFIG, settings)
  assert len(many) == 22 and many[20] == '  and 2 more'
