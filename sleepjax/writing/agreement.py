"""Questions whose answers the model is sure of, while the text is in view.

Asleep, nobody checks what a model has asked itself. A question is worth
measuring with if the model gives the same answer however often it is asked
(self-consistency, Wang et al. 2022, arXiv 2203.11171). Models that answer in
whole sentences never say the same thing twice, so answers agree by degrees.
"""

from collections.abc import Sequence

import numpy as np

from sleepjax.evals import answers
from sleepjax.writing.dreamer import Dreamer, Segments


def agreement(dreamer: Dreamer, prompts: Sequence[Sequence[int]],
              greedy: Sequence[str], segments: Segments, key,
              samples: int) -> list[float]:
  """Of each prompt, the mean F1 of sampled answers against the greedy one.

  Args:
    dreamer: who answers, at temperature 1.
    prompts: token ids of the questions as they follow the text.
    greedy: the most likely answers.
    segments: the text in the cache; () if the model has it elsewhere.
    key: PRNG key.
    samples: answers to each, at least 1.

  Returns:
    values in [0, 1]: of words as SQuAD normalises them; of answers of one word,
    the share that is the same.
  """
  if not prompts:
    return []
  written = dreamer.texts(dreamer.write(
      [p for p in prompts for _ in range(samples)], key, temperature=1.0,
      segments=segments))
  gold = [answer for answer in greedy for _ in range(samples)]
  same = [answers.f1(a, b) for a, b in zip(written, gold, strict=True)]
  return np.reshape(same, (-1, samples)).mean(-1).tolist()
