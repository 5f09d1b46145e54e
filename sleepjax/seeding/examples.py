"""What seeding learns from: rows, and what the old self made of them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sleepjax.mesh.sharding import to_host
from sleepjax.models import finite
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective
from sleepjax.writing.dreamer import Dream
from sleepjax.writing.teacher import Teacher

_SCORING_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Examples:
  """Rows the student learns from, with the old self's hidden states.

  All student prompts go on from the same tokens, see `Terms`.

  student: prompts [n, P] without the text, completions [n, N].
  teacher_prompt, teacher_mask: [n, P] the same prompts as they follow the text,
    or as they contain it.
  hidden: [n, N, D] from which the old self predicts the completions, or None
    if it is not asked.
  """

  student: Rows
  teacher_prompt: np.ndarray
  teacher_mask: np.ndarray
  hidden: np.ndarray | None

  def __len__(self):
    return len(self.student.prompt)

  def take(self, indices) -> tuple[Rows, np.ndarray | None]:
    rows = Rows(*(np.asarray(part)[indices] for part in self.student))
    return rows, None if self.hidden is None else self.hidden[indices]


def score_examples(config: ModelConfig, frozen, student_prompts,
                   teacher_prompts, completions, completion_tokens: int,
                   segments: tuple[Segment, ...] = (), taught: bool = True
                   ) -> Examples:
  """Reads every completion once with the teacher and keeps hidden states.

  D numbers a token instead of V logits, from which the divergence recomputes
  the exact distribution. If completions themselves are the targets it need not
  be `taught` by the teacher, who then reads nothing.

  Raises:
    NotFiniteError: they are not finite; the message names the row and, if they
      are to blame, the weights.
  """
  pad = lambda prompts: rows_lib.pad_left(
      prompts, rows_lib.prompt_bucket(prompts))
  student = Rows(*pad(student_prompts), *rows_lib.pad_right(
      completions, completion_tokens))
  teacher_prompt, teacher_mask = pad(teacher_prompts)
  if not taught:
    return Examples(student, teacher_prompt, teacher_mask, None)
  teacher = Rows(teacher_prompt, teacher_mask, *student[2:])
  n, hidden = len(completions), []
  for start in range(0, n, _SCORING_ROWS):
    wanted = np.arange(start, start + _SCORING_ROWS)
    rows = Rows(*(part[np.minimum(wanted, n - 1)] for part in teacher))
    scored = objective.teacher_hidden_states(config, frozen, rows, segments)
    hidden.append(to_host(scored)[:n - start])
  hidden = np.concatenate(hidden)
  finite.check_hidden(
      'the old self', hidden, student.completion_mask, frozen)
  return Examples(student, teacher_prompt, teacher_mask, hidden)


def dream_examples(teacher: Teacher, dreams: Sequence[Dream],
                   completion_tokens: int, shared: Sequence[int] = (),
                   taught: bool = True) -> Examples:
  """The dreams as examples: the text is in the teacher's view only.

  `shared` is left out of the student's prompts, which all begin with it.
  `taught` as in `score_examples`.
  """
  chat, model = teacher.chat, teacher.model
  return score_examples(
      model.config, model.params,
      [d.student_ids(chat)[len(shared):] for d in dreams],
      [d.teacher_ids(chat) for d in dreams],
      [d.completion for d in dreams], completion_tokens, teacher.segments,
      taught)


def paired_examples(config: ModelConfig, frozen, pairs, completion_tokens: int,
                    shared: Sequence[int] = (), taught: bool = True
                    ) -> Examples:
  """Replies to prompts that teacher and student see alike.

  Args:
    config, frozen: the old self.
    pairs: (prompt ids, completion ids), see `sleepjax.writing.rehearsal`.
    completion_tokens: longest completion.
    shared: what all prompts begin with.
    taught: as in `score_examples`.
  """
  prompts = [prompt[len(shared):] for prompt, _ in pairs]
  segments = objective.shared_segments(
      config, frozen, np.asarray(shared, np.int32) if shared else None)
  return score_examples(config, frozen, prompts, prompts,
                        [completion for _, completion in pairs],
                        completion_tokens, segments, taught)


def joined(*parts: Examples) -> Examples:
  """All examples of several teachers; without any if a part has none."""
  def below(arrays, padded_left):
    longest, padded = max(a.shape[1] for a in arrays), []
    for a in map(np.asarray, arrays):
      missing = longest - a.shape[1]
      width = np.zeros((a.ndim, 2), int)
      width[1] = (missing, 0) if padded_left else (0, missing)
      padded.append(np.pad(a, width))
    return np.concatenate(padded)

  prompts = lambda pick: below([pick(part) for part in parts], True)
  replies = lambda pick: below([pick(part) for part in parts], False)
  taught = all(part.hidden is not None for part in parts)
  return Examples(
      Rows(prompts(lambda e: e.student.prompt),
           prompts(lambda e: e.student.prompt_mask),
           replies(lambda e: e.student.completion),
           replies(lambda e: e.student.completion_mask)),
      prompts(lambda e: e.teacher_prompt), prompts(lambda e: e.teacher_mask),
      replies(lambda e: e.hidden) if taught else None)
