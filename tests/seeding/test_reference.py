"""A solution in the teacher's prompt alone, and learning from it on-policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.learner import Learner
from sleepjax.losses.divergences import DivergenceConfig
from sleepjax.model import Model
from sleepjax.seeding import loop, reference, update
from sleepjax.seeding.reference import Problem
from sleepjax.seeding.roles import Imitation
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.writing.dreamer import DreamConfig, Dreamer

PROBLEMS = [Problem('What is 2 + 3?', 'It is 5.'),
            Problem('Name a prime.', '7 is one.'),
            Problem('x ' * 200, 'long')]
PROMPT = '{problem} ({solution})'


@pytest.fixture(scope='module')
def model(talker):
  config, params = talker
  slot = slots.new_slot(config, jax.random.key(1), 4)
  return slots.append_slot(
      config, params, slot, jnp.ones(config.num_layers, bool))


@pytest.fixture(scope='module')
def chat(byte_tokenizer):
  return ChatPrompts(byte_tokenizer)


def dreamer(model, chat, prompt_tokens=96):
  return Dreamer(Model(*model, chat.tokenizer), DreamConfig(
      question_prompt='', openings=(), recall_prompt='', open_prompts=(),
      topic_prompt='', prompt_tokens=prompt_tokens, completion_tokens=6,
      batch_rows=8))


def test_only_the_teacher_sees_the_solution(model, chat):
  writer = dreamer(model, chat)
  examples = reference.reference_examples(
      writer, PROBLEMS, jax.random.key(0), PROMPT)
  assert len(examples) == 2  # The third does not fit.
  for row, problem in enumerate(PROBLEMS[:2]):
    text = lambda ids, mask: chat.tokenizer.decode(ids[mask].tolist())
    student = text(examples.student.prompt[row],
                   examples.student.prompt_mask[row])
    teacher = text(examples.teacher_prompt[row], examples.teacher_mask[row])
    assert problem.problem in student and problem.solution not in student
    assert problem.problem in teacher and problem.solution in teacher


def test_given_solutions_are_completions_that_nobody_has_read(model, chat):
  writer = dreamer(model, chat)
  fitting = [*PROBLEMS, Problem('Say no.', 'no')]
  examples = reference.solved_examples(writer, fitting, PROMPT)
  assert examples.hidden is None
  # Of six tokens, 'It is 5.' and '7 is one.' are too long with their end.
  reply = examples.student.completion[0][examples.student.completion_mask[0]]
  assert len(examples) == 1
  assert reply.tolist() == [
      *chat.tokenizer.encode('no'), chat.tokenizer.stop_ids[0]]
  teacher = examples.teacher_prompt[0][examples.teacher_mask[0]].tolist()
  assert chat.tokenizer.decode(teacher) == chat.tokenizer.decode(
      chat.closed_book('Say no. (no)'))
  with pytest.raises(UserError, match='completion_tokens=6'):
    reference.solved_examples(writer, PROBLEMS, PROMPT)


@pytest.mark.parametrize('settings', [
    SeedingConfig(steps=3, rows=2, group_size=2, on_policy=1.0, alpha=0.5,
                  warmup_steps=1),
    pytest.param(SeedingConfig(
        steps=3, rows=2, group_size=2, on_policy=1.0, alpha=0.5,
        warmup_steps=1, updates_per_rollout=2), marks=pytest.mark.slow),
    pytest.param(SeedingConfig(
        steps=3, rows=2, group_size=2, on_policy=1.0, alpha=1.0,
        warmup_steps=1, estimator='sampled',
        divergence=DivergenceConfig('reverse_kl')), marks=pytest.mark.slow),
    SeedingConfig(steps=3, rows=2, group_size=2, on_policy=1.0, alpha=0.0,
                  gamma=1.0, warmup_steps=1)],
                         ids=['exact', 'twice', 'sampled', 'reward alone'])
def test_the_student_learns_on_its_own_attempts(
    model, chat, settings, monkeypatch):
  config, params = model
  writer = dreamer(model, chat)
  examples = reference.reference_examples(
      writer, PROBLEMS, jax.random.key(0), PROMPT)
  judged = {}
  if not settings.alpha:  # Then nobody asks what the teacher would say.
    monkeypatch.setattr(loop.objective, 'teacher_hidden_states', None)
    judged = {'judge': lambda texts, references: np.arange(len(texts)) % 2,
              'tokenizer': chat.tokenizer}
  seeder = loop.Seeder(
      Learner(config, params), settings, loop.Terms(examples),
      imitation=Imitation(chat.tokenizer.stop_ids, **judged))
  slot = slots.read_slot(config, params, 0)
  state = update.init_state(settings, jax.tree.map(jnp.copy, slot))
  lines = []
  state = seeder.run(
      state, jax.random.key(2), lambda step, m, tokens: lines.append(m))
  assert [line['on_policy'] for line in lines] == [1.0] * 3
  assert int(state.step) == 3
  assert all(np.isfinite(line['divergence']) for line in lines
             if settings.alpha)
  assert np.abs(state.slot['down']).max() > 0
  assert ('clipped' in lines[0]) == (settings.updates_per_rollout == 2)


@pytest.mark.parametrize('problems, prompt, message', [
    ([], PROMPT, 'at least one'), (PROBLEMS, '{problem}', 'contain {solution}'),
    (PROBLEMS[2:], PROMPT, 'no problem fits')])
def test_problems_that_cannot_be_are_refused(
    model, chat, problems, prompt, message):
  with pytest.raises(UserError, match=message):
    reference.reference_examples(dreamer(model, chat), problems,
                                 jax.random.key(0), prompt)
