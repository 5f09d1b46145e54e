"""When a night has paid for itself.

A night costs once, and afterwards a question costs its own tokens only. Keeping
the text in view costs nothing once, and with every question the text's tokens
are read again; so does a text that is looked up (`retrieval`), which is short
however much has been read. After n questions a night is cheaper if

  night + n · asleep < once + n · rival

FLOPs are the model's (`models.flops`): what the mathematics needs.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sleepjax.models.config import ModelConfig
from sleepjax.roofline import flops as flops_lib


@dataclasses.dataclass(frozen=True)
class Cost:
  """Tokens read and written, and the FLOPs that took."""

  read: int = 0
  written: int = 0
  flops: int = 0

  @property
  def tokens(self) -> int:
    return self.read + self.written

  def __add__(self, other: 'Cost') -> 'Cost':
    return Cost(self.read + other.read, self.written + other.written,
                self.flops + other.flops)


def answering(config: ModelConfig, prompt: int, answer: int, text: int = 0,
              kept: bool = False) -> Cost:
  """One question and its answer.

  Args:
    config: the model, with its slots if it has slept.
    prompt: tokens of the question and the chat template.
    answer: tokens that are written, at least 1.
    text: tokens of the text in view, which stand before.
    kept: whether the text's keys and values are kept from question to question,
      so that it is not read again; that costs memory instead.
  """
  read = prompt + (0 if kept else text)
  rows = read + answer - 1  # The last token is not read.
  pairs = flops_lib.causal_pairs(prompt + answer - 1, text)
  if not kept:
    pairs += flops_lib.causal_pairs(text)
  return Cost(read, answer, _forward(config, rows, answer)
              + flops_lib.attention_flops(config, pairs))


def break_even(night: float, asleep: float, rival: float,
               once: float = 0.0) -> int | None:
  """After how many questions a night is cheaper than a rival, if ever.

  Args:
    night: cost of the night, in tokens, FLOPs or seconds.
    asleep: of a question to the model that has slept.
    rival: of a question to the rival.
    once: what the rival costs before the first question.

  Returns:
    The least n >= 0 with night + n · asleep < once + n · rival, or None.
  """
  if night < once:
    return 0
  saved = rival - asleep
  if saved <= 0:
    return None
  return math.floor((night - once) / saved) + 1


NIGHT = ('grow', 'wake', 'write', 'seed', 'dream')  # Phases that cost once.


def of_questions(config: ModelConfig, prompts: Sequence[int],
                 replies: Sequence[int], texts: Sequence[int]
                 ) -> dict[str, dict[str, float]]:
  """Tokens and FLOPs of a question, with the text in view and after a night.

  Args:
    config: the model that has slept.
    prompts, replies: tokens of every question and of its answer.
    texts: of the text that each is about.

  Returns:
    {'after', 'in_view'}, each {'tokens', 'flops'}: means, reports' entries.
  """
  means = {}
  for name, view in (('after', [0] * len(texts)), ('in_view', texts)):
    total = sum((answering(config, p, max(1, r), t) for p, r, t in zip(
        prompts, replies, view, strict=True)), Cost())
    means[name] = {unit: getattr(total, unit) / len(prompts)
                   for unit in ('tokens', 'flops')}
  return means


def after_questions(question: Mapping[str, Mapping[str, float]],
                    tokens: Mapping[str, int]) -> dict[str, Any]:
  """What a run's nights cost, and after how many questions they had paid.

  Args:
    question: of `of_questions`.
    tokens: read and written in every phase of the run.

  Returns:
    night_tokens, and break_even_questions: against reading the text again for
    every question, in tokens; None if never.
  """
  night = sum(tokens.get(phase, 0) for phase in NIGHT)
  return {'night_tokens': night, 'break_even_questions': break_even(
      night, question['after']['tokens'], question['in_view']['tokens'])}


def _forward(config, rows, scored_rows):
  return flops_lib.total_flops(
      flops_lib.forward_products(config, rows, scored_rows))
