"""A sender is asked what it holds: which sentences, with what answers."""

import jax
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.data.world import Fact
from sleepjax.growth import slots
from sleepjax.memory import consolidate, questions
from sleepjax.memory.consolidate import ConsolidationConfig, Sides, Source
from sleepjax.memory.material import Holder
from sleepjax.memory.questions import QuestionConfig
from sleepjax.model import load_pretrained
from sleepjax.models import transformer
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.writing.dreamer import DreamConfig

pytestmark = pytest.mark.slow

NEW = Fact('Bokar', 'pet', 'lynx')
KNOWN = [f for f in world.known_facts() if f.attribute != 'mentor'][:40:7]
OTHER = world.day(seed=9, number=0)
TEXT = ' '.join([*(f.statement() for f in KNOWN[:3]), NEW.statement(),
                 *(f.statement() for f in KNOWN[3:])])
CONFIG = QuestionConfig(
    DreamConfig(question_prompt=world.ASK_ABOUT, openings=('',),
                recalls_per_sentence=2, question_temperature=1.0,
                prompt_tokens=16, completion_tokens=12, batch_rows=64),
    questions=16, memories=24)


@pytest.fixture(scope='module')
def model():
  """The tiny world's model with a pool of two slots."""
  model = load_pretrained('tiny-world')
  return model.with_params(*slots.allocate_pool(
      model.config, model.params, 2, 8))


@pytest.fixture(scope='module')
def asking(model):
  return questions.prepared(model, CONFIG, jax.random.key(1), [OTHER.text])


def holder(model, text, earlier=()):
  """The context holds a text."""
  tokens = np.asarray(model.tokenizer.encode(text), np.int32)
  _, segment = transformer.hidden_states(
      model.config, model.params, tokens[None])
  return Holder(model.config, model.params, model.params, (segment,), tokens,
                earlier)


def texts(model, examples, part='prompt'):
  rows = examples.student
  ids, mask = getattr(rows, part), getattr(rows, f'{part}_mask')
  return [model.tokenizer.decode(i[m].tolist())
          for i, m in zip(ids, mask, strict=True)]


def test_what_is_new_is_asked_and_what_is_known_is_not(model, asking):
  material = asking.write(holder(model, TEXT), jax.random.key(2))
  learnt = texts(model, material.examples)
  assert len(learnt) >= 4
  for text in learnt:
    if 'Tell me a fact' not in text:
      assert NEW.person in text or NEW.value in text, text
  assert not any(f.person in text for f in KNOWN for text in learnt)
  # Its answers are right, and no question has the wording of exams.
  asked = 0
  for text, reply in zip(learnt, texts(model, material.examples, 'completion'),
                         strict=True):
    if 'Tell me a fact' not in text:
      question = text.removeprefix('<user> ').removesuffix(' <assistant>')
      assert reply.split(' <')[0] == world.answer_to(question, [NEW]), text
      assert world.wording_of(question) == 'asked'
      asked += 1
  assert asked == len(material.asked) == len(set(material.asked))


def test_nothing_held_out_is_learnt(model, asking):
  material = asking.write(holder(model, TEXT), jax.random.key(2))
  learnt, unseen = (set(texts(model, part)) for part in (
      material.examples, material.held_out))
  assert unseen and not unseen & learnt
  # A question, and a beginning of the sentence.
  assert sum('Tell me a fact' in text for text in unseen) == 1
  assert len(unseen) == 2


def test_another_text_is_rehearsed_in_view(model, asking):
  """As a stretch of a stream, with a message of its own behind it."""
  prompts, replies = (texts(model, asking.rehearsal, part)
                      for part in ('prompt', 'completion'))
  assert len(prompts) >= 2 and all(p.startswith(OTHER.text) for p in prompts)
  asked = [prompt.removeprefix(OTHER.text).strip() for prompt in prompts]
  answers = [(question, reply.strip()) for question, reply in zip(
      asked, replies, strict=True) if world.wording_of(question)]
  right = [reply == world.answer_to(question, OTHER.facts)
           for question, reply in answers]
  assert sum(right) > len(right) / 2  # They are sampled.
  # Asking is rehearsed as well.
  assert sum(q.startswith('Ask a question about this') for q in asked) == len(
      answers) == len(asked) / 2


def test_what_the_student_knows_is_not_handed_over(model, asking):
  known = ' '.join(f.statement() for f in KNOWN)
  assert asking.write(holder(model, known), jax.random.key(2)) is None


def test_earlier_questions_are_retained_and_not_those_of_tonight(
    model, asking):
  prompts = [tuple(model.chat.closed_book(q.question)) for q in world.questions(
      [NEW, *KNOWN[:2]], 'direct', 'asked')]
  material = asking.write(
      holder(model, TEXT, tuple(prompts)), jax.random.key(2))
  retained = texts(model, material.retention)
  assert len(asking.memories) < len(retained)
  wanted = {model.tokenizer.decode(list(p)) for p in prompts
            if p not in material.asked}
  assert wanted <= set(retained)
  assert not set(retained[len(asking.memories):]) & set(
      texts(model, material.examples))


def test_the_context_hands_over_a_fact(model, asking):
  """Seven tenths of D on prompts that were not trained in it."""
  tokens = model.tokenizer.encode(TEXT)
  settings = ConsolidationConfig(SeedingConfig(
      steps=40, rows=8, on_policy=0.0, group_size=1, alpha=1.0, rehearsal=None,
      retention_rows=8, learning_rate=1e-2))
  student, hand_over, asked = consolidate.consolidate(
      model.config, Sides(model.params, model.params), 0, tokens, settings,
      jax.random.key(3), source=Source(asking))
  assert hand_over.divergence_before > 1
  assert hand_over.closed >= 0.7
  assert asked and slots.is_open(model.config, student).tolist() == [
      True, False]
  slept = model.with_params(model.config, student)
  asked = world.questions([NEW], 'direct')[0]
  assert slept.ask(asked.question) == asked.answer
  assert model.ask(asked.question) != asked.answer
  # Nothing of it is new: the pool stays as it is.
  again = consolidate.consolidate(
      model.config, Sides(student, student), 0, tokens, settings,
      jax.random.key(4), source=Source(asking))
  assert again.hand_over.divergence_before is None and again.asked == ()
  assert slots.is_open(model.config, again.params).tolist() == [True, False]


def test_two_slots_recite_what_was_asked_of_them(model, asking):
  prompt = tuple(model.chat.closed_book('Where does Bokar live?'))
  material = asking.recite(
      holder(model, TEXT, (prompt,))._replace(segments=()), jax.random.key(0))
  assert texts(model, material.examples) == [
      'Where does Bokar live?']
  assert asking.recite(holder(model, TEXT), jax.random.key(0)) is None


def test_sentences_of_a_stretch():
  assert questions.whole_sentences(
      'in Oslo. Bonat lives in Lima. Oslo. Bonat lives in Lima. Lobor keeps'
  ) == ['Bonat lives in Lima.']


def test_a_reply_stands_in_its_sentence():
  assert questions.stands_in('Lima.', 'Bonat lives in Lima.')
  assert not questions.stands_in('Oslo', 'Bonat lives in Lima.')
  assert not questions.stands_in(' ', 'Bonat lives in Lima.')


def test_a_question_names_what_its_sentence_does():
  assert questions.names_stand_in('What does Bonat drink?', 'Bonat likes tea.')
  assert questions.names_stand_in('Who drinks tea?', 'Bonat likes tea.')
  assert not questions.names_stand_in(
      'What does Lobor drink?', 'Bonat likes tea.')


def test_a_sentence_tells_what_its_weakest_question_tells():
  answered = [questions._Answered(n, '', ()) for n in (0, 0, 1, 2, 2, 3)]
  gains = [5.0, 0.5, 2.0, 3.0, 4.0, 1.0]
  assert questions.told_most(gains, answered, 1.0, 2) == [1, 2]
  assert questions.told_most(gains, answered, 1.0, 8) == [1, 2, 3]
  assert questions.told_most(gains, answered, 3.5, 8) == []


@pytest.mark.parametrize('fields', [{'answer_prompt': 'x'}, {'scouts': 0}])
def test_settings_are_checked(fields):
  with pytest.raises(ValueError, match=next(iter(fields))):
    QuestionConfig(**fields)
