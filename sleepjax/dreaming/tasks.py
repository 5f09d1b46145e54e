"""What is dreamt about: memories, each with a measure of its own.

The paper's task is a pair (C, τ), a context and a downstream measure (section
3.4). Asleep, no text is in view: C is a prompt that reminds the model of one,
and τ is the loss on questions that it wrote itself while it still had the text.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sleepjax.data.prompts import ChatPrompts
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows


@dataclasses.dataclass(frozen=True)
class Memory:
  """What one sleep keeps to dream about its text later; some lines of text.

  cycle: of wake and sleep.
  prompts: (user's message, first words of the reply) that remind of the text.
  questions: (user's message that asks, answer) that say whether it is still
    known.
  rehearsed: cycle in which it was last learnt or dreamt about.
  """

  cycle: int
  prompts: tuple[tuple[str, str], ...]
  questions: tuple[tuple[str, str], ...]
  rehearsed: int

  @classmethod
  def from_json(cls, entry: Mapping[str, Any]) -> 'Memory':
    pairs = lambda name: tuple((a, b) for a, b in entry[name])
    return cls(entry['cycle'], pairs('prompts'), pairs('questions'),
               entry['rehearsed'])


class Task(NamedTuple):
  """A memory as token ids.

  prompts: closed-book prompts, at least one.
  questions: (prompt ids, answer ids), at least one.
  """

  prompts: list[list[int]]
  questions: list[tuple[list[int], list[int]]]


def make_task(memory: Memory, chat: ChatPrompts, prompt_tokens: int,
              answer_tokens: int) -> Task | None:
  """The memory's task, or None if nothing of it fits.

  Args:
    memory: what to dream about.
    chat: renders prompts.
    prompt_tokens: longest prompt; longer ones are left out.
    answer_tokens: longest answer; longer ones are cut.
  """
  encode = chat.tokenizer.encode
  prompts = [chat.closed_book(prompt) + encode(start)
             for prompt, start in memory.prompts]
  questions = [(chat.closed_book(message), encode(answer)[:answer_tokens])
               for message, answer in memory.questions]
  prompts = [ids for ids in prompts if len(ids) <= prompt_tokens]
  questions = [(ids, answer) for ids, answer in questions
               if len(ids) <= prompt_tokens and answer]
  return Task(prompts, questions) if prompts and questions else None


def held_in_rows(tasks: Sequence[Task], settings: DreamingConfig) -> Rows:
  """The questions of all tasks [T, Q, ...]; fewer than Q are filled up, masked.

  Args:
    tasks: T of them.
    settings: names the lengths of prompts and answers; Q is `questions`, or
      half of it, and so on, so that few shapes are compiled.

  Raises:
    UserError: a task without an answer token, which nothing could measure.
  """
  most = rows_lib.halved(max(len(task.questions) for task in tasks),
                         max(1, settings.questions))
  stacked = []
  for number, task in enumerate(tasks):
    if not any(answer for _, answer in task.questions):
      raise UserError(
          f'the held-in questions of task {number} have no answer token to '
          'measure: give at least one with a non-empty answer.')
    missing = most - len(task.questions)
    filled = task.questions + task.questions[:1] * missing
    rows = Rows(
        *rows_lib.pad_left([q for q, _ in filled], settings.prompt_tokens),
        *rows_lib.pad_right([a for _, a in filled], settings.dream_tokens))
    rows.completion_mask[len(task.questions):] = False
    stacked.append(rows)
  return Rows(*(np.stack(part) for part in zip(*stacked, strict=True)))


def flat(rows: Rows) -> Rows:
  """[T, Q, ...] as [T Q, ...]."""
  return Rows(*(part.reshape(-1, part.shape[-1]) for part in rows))
