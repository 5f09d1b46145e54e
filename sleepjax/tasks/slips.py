"""What a teacher with a solution in view says after a wrong number.

On a student's own attempts that is much of what it is asked. One that copies
its solution there teaches false arithmetic, however many problems it solves.
"""

from collections.abc import Sequence

import numpy as np

from sleepjax.data import arithmetic
from sleepjax.data.arithmetic import GRADES, Grade
from sleepjax.evals import questions
from sleepjax.model import Model
from sleepjax.seeding import reference
from sleepjax.seeding.reference import Problem

_TOKENS = 4  # Of a number and the full stop after it.


def after_slips(model: Model, teacher_prompt: str, count: int, seed: int,
                grades: Sequence[Grade] = GRADES) -> dict[str, float]:
  """How the equation after a wrong number is finished, greedily.

  Args:
    model: in compute layout.
    teacher_prompt: with {problem} and {solution}.
    count: problems of the part `choice`, each with a slip before its last step.
    seed: of the problems and their slips.
    grades: how difficult they are.

  Returns:
    student, teacher: shares of equations that hold; copied: the teacher's that
    have the solution's number instead.
  """
  rng, encode = np.random.default_rng(seed), model.tokenizer.encode
  problems, starts, right, copied = [], [], [], []
  while len(problems) < count:
    grade = grades[len(problems) % len(grades)]
    chain = grade.draw(rng)
    slip = chain.slipped(rng, grade.largest)
    if slip is None or slip[2].count('=') == 0 or (
        arithmetic.part_of(chain) != 'choice'):
      continue
    begun, finished = slip[2].split(' = ')[:2]
    problems.append(Problem(chain.story(rng), chain.solution()))
    starts.append(encode(f'{slip[0]} {slip[1]}{begun} ='))
    right.append(finished.split('.')[0])
    copied.append(str(chain.values()[-slip[2].count('=')]))
  found = {}
  for who, prompts in zip(
      ('student', 'teacher'), reference.prompts_of(
          model.chat, problems, teacher_prompt), strict=True):
    texts = questions.greedy_texts(
        model, [p + s for p, s in zip(prompts, starts)], _TOKENS, count)
    said = [arithmetic.as_written(text).split('.')[0].strip()
            for text in texts]
    found[who] = float(np.mean([a == b for a, b in zip(said, right)]))
  return {**found, 'copied': float(np.mean(
      [a == b for a, b in zip(said, copied)]))}
