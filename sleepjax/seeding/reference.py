"""A reference solution as the teacher's privilege, instead of a document.

On-policy self-distillation for reasoning (OPSD, arXiv 2601.18734): the teacher
has a problem together with its solution in view, the student the problem alone,
and the student learns, mostly on its own attempts, what the teacher would say
there. Every row has a privilege of its own, so nothing is shared in a cache.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.seeding.examples import Examples, score_examples
from sleepjax.writing.dreamer import Dreamer

TEACHER_PROMPT = (
    '{problem}\n\nA correct solution, for you alone:\n{solution}\n\nSolve the '
    'problem in your own words. Do not mention that you saw a solution.')


class Problem(NamedTuple):
  """A problem as the student sees it, and a correct solution."""

  problem: str
  solution: str


def prompts_of(chat: ChatPrompts, problems: Sequence[Problem],
               teacher_prompt: str = TEACHER_PROMPT):
  """(student's prompts, teacher's prompts) as token ids.

  Raises:
    UserError: there is no problem, or the teacher's prompt lacks a field.
  """
  if not problems:
    raise UserError('no problems to learn from: give at least one.')
  for field in ('{problem}', '{solution}'):
    if field not in teacher_prompt:
      raise UserError(
          f'the teacher\'s prompt {teacher_prompt!r} must contain {field}.')
  return ([chat.closed_book(p.problem) for p in problems],
          [chat.closed_book(teacher_prompt.format(**p._asdict()))
           for p in problems])


def reference_examples(dreamer: Dreamer, problems: Sequence[Problem], key,
                       teacher_prompt: str = TEACHER_PROMPT,
                       taught: bool = True) -> Examples:
  """Solutions in the teacher's words, for `seed.Seeder` without segments.

  Args:
    dreamer: the teacher, which is the old self; its settings bound prompts and
      completions.
    problems: with their solutions.
    key: PRNG key of the samples.
    teacher_prompt: with {problem} and {solution}.
    taught: whether the teacher's states for its own words are kept, which no
      update asks for that learns from rollouts alone.

  Returns:
    Examples whose teacher prompts hold the solutions. Problems that do not fit
    are left out.

  Raises:
    UserError: none fits.
  """
  fitting = _fitting(dreamer, problems, teacher_prompt)
  student, teacher, _ = zip(*fitting, strict=True)
  return score_examples(
      dreamer.model.config, dreamer.model.params, student, teacher,
      dreamer.write(teacher, key), dreamer.settings.completion_tokens,
      taught=taught)


def solved_examples(dreamer: Dreamer, problems: Sequence[Problem],
                    teacher_prompt: str = TEACHER_PROMPT) -> Examples:
  """The given solutions themselves, of which the teacher has read nothing yet.

  They are targets of supervised fine-tuning, or bound the student's own
  attempts, which a teacher with the solution in view then reads.

  Args:
    dreamer, problems, teacher_prompt: as of `reference_examples`; a solution
      that is too long to be written is left out as well.

  Raises:
    UserError: none fits.
  """
  student, teacher, solutions = zip(
      *_fitting(dreamer, problems, teacher_prompt, written=True), strict=True)
  return score_examples(
      dreamer.model.config, dreamer.model.params, student, teacher, solutions,
      dreamer.settings.completion_tokens, taught=False)


def _fitting(dreamer, problems, teacher_prompt, written=False):
  """(student's prompt, teacher's, solution with its end), where they fit."""
  limit, tokenizer = dreamer.settings, dreamer.chat.tokenizer
  fitting = [
      (*prompts, solution) for *prompts, solution in zip(
          *prompts_of(dreamer.chat, problems, teacher_prompt),
          ([*tokenizer.encode(p.solution), *tokenizer.stop_ids[:1]]
           for p in problems), strict=True)
      if len(prompts[1]) <= limit.prompt_tokens and (
          not written or len(solution) <= limit.completion_tokens)]
  if not fitting:
    raise UserError(
        'no problem fits with its solution into prompt_tokens='
        f'{limit.prompt_tokens} and completion_tokens='
        f'{limit.completion_tokens}: raise them, or choose shorter ones.')
  return fitting
