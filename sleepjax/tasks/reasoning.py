"""Reasoning: fresh copies of a model learn to solve problems in several ways.

The teacher has a correct solution in view, the student the problem alone
(`sleepjax.seeding.reference`). An arm is a set of changes to one `SleepConfig`:
what is trained, whose solutions it learns from, and the weights of the
objective. Its `source` is 'dreams', solutions that the teacher samples, or
'text', the given ones. After learning the model solves problems that no part of
training has seen, several samples of each.
"""

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sleepjax import seeds
from sleepjax.data import arithmetic
from sleepjax.data.exercises import Exercise, Problems
from sleepjax.errors import UserError, check_least
from sleepjax.evals.judges import Judge
from sleepjax.evals.questions import batches
from sleepjax.growth.learner import Learner
from sleepjax.lifecycle import phases
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler
from sleepjax.seeding import reference, update
from sleepjax.seeding.loop import Seeder, Terms
from sleepjax.seeding.reference import Problem
from sleepjax.seeding.roles import Imitation
from sleepjax.training.observer import Observer
from sleepjax.writing.dreamer import Dreamer

_PROMPTS = 16  # Of so many tokens, or a multiple, share a program.


@dataclasses.dataclass(frozen=True)
class ReasoningConfig:
  """Which problems there are, and how they are asked.

  train, exam, choice: problems that arms learn from, that are asked in the end,
    and that are asked on the way, by which rates are chosen too.
  samples, choice_samples: solutions sampled of each in the end, and on the way.
  temperature, top_k: at which they are.
  points: how often it is asked on the way, the end included.
  batch_rows: solutions that are sampled at once.
  teacher_prompt: what the teacher sees, with {problem} and {solution}.
  least_gap, least_student, most_student: points between teacher and student,
    and right answers of the student, outside of which a bed has no room.
  least_after_slip: of the student's right arithmetic after a wrong number, the
    share that the teacher needs (`sleepjax.tasks.slips`).
  """

  train: int = 512
  exam: int = 500
  choice: int = 64
  samples: int = 16
  choice_samples: int = 4
  temperature: float = 1.0
  top_k: int = 0
  points: int = 4
  batch_rows: int = 256
  teacher_prompt: str = reference.TEACHER_PROMPT
  least_gap: float = 0.2
  least_student: float = 0.2
  most_student: float = 0.7
  least_after_slip: float = 0.9

  def __post_init__(self):
    check_least(self, train=1, exam=1, choice=1, samples=1, choice_samples=1,
                temperature=0, top_k=0, points=1, batch_rows=1)


@dataclasses.dataclass(frozen=True)
class Scores:
  """What a model made of problems.

  right: [problems][samples], whether each solution names the right answer.
  texts: the solutions, in the same order, flat.
  tokens: of a solution, the mean.
  """

  right: np.ndarray
  texts: list[str]
  tokens: float

  @property
  def mean(self) -> float:
    """avg@samples."""
    return float(self.right.mean())


class _Clock:
  """Seconds of work: the processor's on CPUs, which others may use too."""

  def __init__(self):
    cpu = jax.default_backend() == 'cpu'
    self._now = time.process_time if cpu else time.perf_counter
    self._began, self._stopped = self._now(), 0.0

  def seconds(self) -> float:
    return self._now() - self._began - self._stopped

  @contextlib.contextmanager
  def stopped(self):
    """What is done inside does not count."""
    began = self._now()
    yield
    self._stopped += self._now() - began


@dataclasses.dataclass(frozen=True)
class Bed:
  """A model and problems; every row of a table is made from a fresh copy.

  model: canonical.
  problems: where they come from.
  check: whether a solution names the answer of another.
  config: which problems, and how they are asked.
  """

  model: Model
  problems: Problems
  check: Judge
  config: ReasoningConfig

  def gap(self, settings: SleepConfig, seed: int) -> dict[str, Any]:
    """Right answers of the student, and of the teacher, greedily.

    Returns:
      student, teacher: shares; enough: whether they leave room, see
      `ReasoningConfig`; problems: how many were asked.
    """
    c, ready = self.config, settings.for_compute(self.model)
    asked = self.problems('choice', c.choice, seed)
    found = {}
    for who, prompts in zip(
        ('student', 'teacher'), self._prompts(settings, asked), strict=True):
      found[who] = self._scores(
          ready, settings, asked, prompts, 1, 0.0, jax.random.key(0)).mean
    enough = (found['teacher'] - found['student'] >= c.least_gap
              and c.least_student <= found['student'] <= c.most_student)
    return {**found, 'enough': enough, 'problems': len(asked)}

  def exam(self, ready: Model, settings: SleepConfig, seed: int,
           observer: Observer) -> dict[str, Any]:
    """What a model makes of the exam, entries of a row in JSON types.

    Args:
      ready: in compute layout.
      settings: for how problems are put, and how long solutions may be.
      seed: of the problems and of the samples.
      observer: is shown the phase.
    """
    c, key = self.config, jax.random.fold_in(seeds.key_of(seed), 1)
    with observer.phase('exam', total=2) as phase:
      asked = self.problems('exam', c.exam, seed)
      prompts, _ = self._prompts(settings, asked)
      greedy = self._scores(ready, settings, asked, prompts, 1, 0.0, key)
      phase.advance(greedy=greedy.mean)
      sampled = self._scores(
          ready, settings, asked, prompts, c.samples, c.temperature, key)
      phase.advance(mean=sampled.mean)
    return self._of(asked, greedy, sampled)

  def _of(self, asked, greedy, sampled) -> dict[str, Any]:
    """The entries of a row that an exam gives."""
    holds = [holds for text in sampled.texts
             for holds in arithmetic.equations(text)]
    grades = np.array([exercise.grade for exercise in asked])
    named = self.check(greedy.texts, greedy.texts)
    return {
        'mean': sampled.mean, 'samples': sampled.right.shape[1],
        'right_samples': sampled.right.sum(1).tolist(),
        'right': greedy.right[:, 0].tolist(), 'reply_tokens': sampled.tokens,
        'finished': float(np.mean(named)),
        'equations': float(np.mean(holds)) if holds else None,
        'by_grade': {str(grade): float(sampled.right[grades == grade].mean())
                     for grade in np.unique(grades)}}

  def learn(self, settings: SleepConfig, seed: int, observer: Observer
            ) -> tuple[Model, dict[str, Any]]:
    """A fresh copy of the model learns.

    Args:
      settings: of an arm.
      seed: of the problems and of everything random.
      observer: is shown phases.

    Returns:
      (model in compute layout, entries of its row): seconds, without those in
      which programs were compiled and problems asked on the way; tokens read
      and written; and `curve`, right answers on the way to both.
    """
    c, key = self.config, jax.random.fold_in(seeds.key_of(seed), 0)
    exercises = self.problems('train', c.train, seed)
    adapter = settings.adapter
    grown = phases.grow(self.model, adapter, key, self.model.chat.closed_book(
        exercises[0].problem))
    newborn, first = adapter.newborn(
        grown.model.config, grown.model.params, key, grown.index)
    ready = settings.for_compute(grown.model)
    learner = Learner(ready.config, ready.params, adapter, grown.index, first)
    asked = self.problems('choice', c.choice, seed)
    prompts, _ = self._prompts(settings, asked)

    def with_value(value) -> Model:
      return ready.with_params(
          ready.config, learner.with_value(value).params)

    def score(value) -> float:
      return self._scores(
          with_value(value), settings, asked, prompts, c.choice_samples,
          c.temperature, jax.random.key(seed)).mean

    seeder, written = self._seeder(
        settings, ready, learner, exercises, key, observer)
    curve = [{'step': 0, 'seconds': 0.0, 'tokens': 0, 'mean': score(newborn)}]
    steps = seeder.settings.steps
    due = {round(steps * i / c.points) for i in range(1, c.points + 1)}
    # A first update, thrown away, compiles its programs.
    seeder.update(update.init_state(seeder.settings, jax.tree.map(
        jax.numpy.copy, newborn)), 0, key)
    total, sums = written['tokens'], []
    with observer.phase('learn', total=steps) as phase:
      clock = _Clock()

      def report(step, metrics, tokens):
        nonlocal total
        total += tokens
        sums.append(metrics)
        observer.wrote('learn', step, metrics)
        phase.advance(tokens=tokens, **{
            name: metrics[name] for name in ('divergence', 'reward')
            if name in metrics})

      def after(state):
        if int(state.step) in due:
          with clock.stopped():
            curve.append({
                'step': int(state.step), 'tokens': total,
                'seconds': written['seconds'] + clock.seconds(),
                'mean': score(state.slot)})

      state = seeder.run(
          update.init_state(seeder.settings, newborn), key, report,
          after_update=after)
    return with_value(state.slot), {
        'curve': curve, 'tokens': total, 'seconds': curve[-1]['seconds'],
        'trained': transformer.parameter_count(newborn), 'steps': steps,
        **{f'last_{name}': float(np.mean([m[name] for m in sums[-10:]]))
           for name in ('divergence', 'reward', 'constant_groups')
           if sums and name in sums[-1]}}

  def _seeder(self, settings: SleepConfig, ready: Model, learner: Learner,
              exercises, key, observer: Observer):
    """(what learns, {tokens, seconds} of what was written for it)."""
    dreamer = Dreamer(ready, settings.dreams)
    problems = [Problem(self._asked(settings, e), e.solution)
                for e in exercises]
    prompt, cost = self.config.teacher_prompt, {'tokens': 0, 'seconds': 0.0}
    if settings.source == 'dreams':
      taught = settings.seeding.on_policy < 1
      made = lambda problems: reference.reference_examples(
          dreamer, problems, key, prompt, taught)
      made(problems[:settings.dreams.batch_rows])  # Compiles its programs.
      with observer.phase('write', total=1) as phase:
        clock = _Clock()
        examples = made(problems)
        cost['seconds'] = clock.seconds()
        cost['tokens'] = int(examples.teacher_mask.sum()
                             + examples.student.completion_mask.sum())
        phase.advance(tokens=cost['tokens'])
    else:
      examples = reference.solved_examples(dreamer, problems, prompt)
    tokenizer = ready.tokenizer
    return Seeder(
        learner, settings.seeding, Terms(examples), imitation=Imitation(
            tokenizer.stop_ids, judge=self.check, tokenizer=tokenizer)), cost

  def _asked(self, settings: SleepConfig, exercise: Exercise) -> str:
    return settings.answer_prompt.format(question=exercise.problem)

  def _prompts(self, settings: SleepConfig, asked: Sequence[Exercise]):
    """(student's, teacher's) as token ids."""
    return reference.prompts_of(self.model.chat, [
        Problem(self._asked(settings, e), e.solution) for e in asked],
                                self.config.teacher_prompt)

  def _scores(self, ready: Model, settings: SleepConfig,
              asked: Sequence[Exercise], prompts: Sequence[Sequence[int]],
              samples: int, temperature: float, key) -> Scores:
    """Solutions to problems, and whether they are right."""
    N = settings.dreams.completion_tokens
    most = max(map(len, prompts)) + N
    if most > ready.config.max_context:
      raise UserError(
          f'a problem and its solution take up to {most} tokens, more than the '
          f"model's context of {ready.config.max_context}: lower "
          'sleep.dreams.completion_tokens, or leave long problems out.')
    every = [prompt for prompt in prompts for _ in range(samples)]
    P, texts, written = rows_lib.bucket(
        max(map(len, prompts)), _PROMPTS), [], 0
    rows = min(self.config.batch_rows, len(every))
    for number, (batch, real) in enumerate(batches(every, rows)):
      rollout = sampler.jitted_sample(
          ready.config, ready.params, *rows_lib.pad_left(batch, P),
          jax.random.fold_in(key, number),
          sampler.Until(N, ready.tokenizer.stop_ids),
          method=sampler.Sampling(temperature, self.config.top_k))
      tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
      texts += [ready.tokenizer.decode(tokens[i][mask[i]].tolist()).strip()
                for i in range(real)]
      written += int(mask[:real].sum())
    solutions = [e.solution for e in asked for _ in range(samples)]
    right = np.asarray(self.check(texts, solutions)) > 0
    return Scores(right.reshape(len(asked), samples), texts,
                  written / len(every))
