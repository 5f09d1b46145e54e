"""All that a night learns from, written by the tiny model of the world."""

import collections
import json
import re

import jax
import numpy as np
import pytest

from configs import quickstart
from experiments import _config
from sleepjax.data import world
from sleepjax.data.documents import Question
from sleepjax.evals import questions
from sleepjax.evals.questions import AnswerConfig
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle import written as written_lib
from sleepjax.memory import day as day_memory
from sleepjax.model import load_pretrained
from sleepjax.writing.dreamer import Dreamer
from sleepjax.writing.teacher import Teacher

pytestmark = pytest.mark.slow

DAY = world.day(901, 0)
CHANGES = {
    'memories': 16, 'rehearsal_per_text': 3, 'rehearse_questions': True,
    'dreams.questions_per_opening': 2, 'dreams.recalls_per_sentence': 1,
    'dreams.held_out': 4, 'dreams.temperature': 1.5, 'dreaming.questions': 8,
    'dreaming.agreement_samples': 2, 'dreaming.agreement': 0.0}


@pytest.fixture(scope='module')
def model():
  return load_pretrained('tiny-world')


def write(model, avoid=(), changes=(), given=()):
  """(words, who has read the day, chat, [(key, temperature) of each draw])."""
  config = quickstart.get_config().sleep
  config.update_from_flattened_dict({**CHANGES, **dict(changes)})
  settings = _config.to_dataclass(cycle.SleepConfig, config)
  ready = settings.for_compute(model)
  reading = day_memory.read(
      model, ready, DAY.text, None, settings.for_compute)
  draws, original = [], Dreamer.write

  def noted(self, prompts, key, *, temperature=None, segments=()):
    draws.append((jax.random.key_data(key).tolist(), temperature))
    return original(self, prompts, key, temperature=temperature,
                    segments=segments)

  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(Dreamer, 'write', noted)
    asleep = Teacher(ready)
    words = written_lib.write_words(
        settings, written_lib.Teachers(reading, asleep, asleep),
        written_lib.Day(
            DAY.document,
            [world.day(3_000_000 + i, 0).text for i in range(4)], avoid,
            [q.question
             for q in world.questions(world.known_facts()[:4], 'direct')],
            given=given),
        jax.random.split(jax.random.key(5)), lambda tokens: None)
  return words, reading, model.chat, draws


@pytest.fixture(scope='module')
def written(model):
  return write(model)


def asked(words, chat):
  """The last sentence of every prompt, by where it stands."""
  decode = chat.tokenizer.decode
  last = lambda text: text.split('. ')[-1].strip()
  found = collections.defaultdict(list)
  for dream in words.dreams:
    found['dreams'].append(dream.prompt)
  for name in ('rehearsed', 'memories'):
    found[name] = [last(decode(prompt)) for prompt, _ in getattr(words, name)]
  return found


def test_nothing_asks_what_is_to_be_avoided(model, written):
  before = asked(written[0], written[2])
  avoided = {before[name][0] for name in before}
  assert len(avoided) == 3
  after = asked(*write(model, [q.upper() for q in avoided])[::2])
  for name in before:
    assert not avoided & set(after[name]), name
    assert len(after[name]) > len(before[name]) // 2, name


def test_what_a_night_is_given_it_dreams_besides(model, written):
  given = Question('Where does Bokar live?', 'Oslo')
  words, _, chat, _ = write(model, given=[given])
  *own, last = words.dreams
  assert own == written[0].dreams
  assert (last.kind, last.start) == ('question', '')
  assert last.prompt == given.question
  *answer, stop = last.completion
  assert chat.tokenizer.decode(answer).strip() == 'Oslo'
  assert stop in chat.tokenizer.stop_ids


def test_a_night_asks_in_its_own_wording_without_being_checked(written):
  for name, prompts in asked(written[0], written[2]).items():
    said = [world.wording_of(re.sub(r' ([?.])', r'\1', prompt))
            for prompt in prompts]
    said = [wording for wording in said if wording]
    assert len(said) >= 8, name
    assert said.count('asked') >= 0.95 * len(said), name


def test_samples_are_drawn_with_keys_of_their_own(written):
  keys = [str(key) for key, temperature in written[3] if temperature != 0]
  assert len(keys) == len(set(keys)) > 6


def test_held_in_answers_are_the_likeliest(written):
  words, reading, chat, _ = written
  assert len(words.held_in) > 6
  answers = questions.greedy_answers(
      reading.model,
      [Question(question, '') for question, _ in words.held_in],
      AnswerConfig(max_new_tokens=12), reading.segments[0])
  assert answers == [answer for _, answer in words.held_in]
  assert np.mean([world.answer_to(question, DAY.facts) == answer
                  for question, answer in words.held_in]) > 0.8


def test_facts_are_learnt_as_verified_answers_and_in_their_own_words(model):
  """This model answers in chats alone, so nothing that it asks is verified."""
  words, _, chat, _ = write(model, changes={
      'source': 'facts', 'writing.ask.examples': (), 'writing.ask.rounds': 1,
      'dreams.prompt_tokens': 40})
  kinds = collections.Counter(d.kind for d in words.dreams)
  assert {'question', 'cloze', 'recall'} <= set(kinds)
  sentences = words.facts['sentences']
  assert words.coverage == {
      'sentences': len(sentences), 'too_long': 0, 'without_question': sum(
          not any(e['verified'] or e['by_rule'] for e in s['spans'])
          for s in sentences),
      'beginnings_too_long': words.facts['left_out'].get('recall', 0),
      'verified': sum(any(e['verified'] for e in s['spans'])
                      for s in sentences),
      'answers_too_long': sum(e['refused'][:1] == [[
          '', 'as an answer longer than dreams.completion_tokens=12']]
                              for s in sentences for e in s['spans'])}
  spans = {e['span'] for s in sentences for e in s['spans']}
  for dream in words.dreams:
    if dream.kind == 'question':
      reply = chat.tokenizer.decode(dream.completion).strip()
      assert reply in spans and reply in dream.hint
      assert reply not in dream.prompt
  saved = json.loads(json.dumps(words._asdict()))
  assert written_lib.Words.from_json(saved) == words


def test_a_text_without_a_fact_is_learnt_as_it_stands(model, monkeypatch):
  monkeypatch.setattr(written_lib, 'rows_of', lambda *_: ([], []))
  words, *_ = write(model, changes={
      'source': 'facts', 'writing.ask.examples': (), 'writing.ask.rounds': 1})
  assert words.dreams and {d.kind for d in words.dreams} == {'recall'}
