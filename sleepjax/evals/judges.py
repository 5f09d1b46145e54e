"""Judges: do two texts say the same? The semantic half of the reward.

The paper's r_sem is the verdict of a frozen reward model that it does not name
(arXiv 2606.03979, Eq. 3). Here are four, all deterministic. Each gives a pair
of texts a score and says yes from a threshold on, which is to be calibrated
(`judge_calibration`) on two answers of one teacher to one question, the same,
against answers to different questions, which are not.

A judge is called with lists of texts, outside jit:

>>> judge = AnswerJudge()
>>> judge(['The U.S.', 'Paris.'], ['us', 'Rome.'])
array([1., 0.], dtype=float32)
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import numpy as np

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import NotFiniteError, UserError
from sleepjax.evals import answers
from sleepjax.losses import imitation
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models import ops, transformer
from sleepjax.sampling import rows as rows_lib

_ROUNDING = 1e-6  # A score equal to a threshold may come out just below it.


class Judge(Protocol):
  """Says of each pair of texts whether they mean the same.

  name: for reports.
  """

  name: str

  def __call__(self, candidates: Sequence[str], references: Sequence[str],
               prompts: Sequence[str] | None = None) -> np.ndarray:
    """Verdicts [n] float32, 0 or 1.

    Args:
      candidates: n texts of the student.
      references: n texts of the teacher.
      prompts: what each pair is an answer to, where that is known.
    """


def asked(judge: Judge, candidates: Sequence[str],
          references: Sequence[str]) -> np.ndarray:
  """What a judge says of each pair [n], if that can be a reward.

  Raises:
    UserError: another number of verdicts than of pairs.
    NotFiniteError: one is not finite; the message names judge and pair.
  """
  name = getattr(judge, 'name', type(judge).__name__)
  verdicts = np.asarray(judge(candidates, references), np.float32)
  if verdicts.shape != (len(candidates),):
    raise UserError(
        f'judge {name!r} was asked about {len(candidates)} pairs of texts and '
        f'gave verdicts of shape {list(verdicts.shape)}: expected one number, '
        '0 or 1, for each pair.')
  _check_numbers(name, 'verdict', verdicts, np.isfinite(verdicts),
                 lambda i: f' ({candidates[i]!r} beside {references[i]!r})')
  return verdicts


def _check_numbers(name, what, numbers, good, shown=lambda i: ''):
  if not good.all():
    i = int(np.argmin(good))
    raise NotFiniteError(
        f'judge {name!r}: its {what} of pair {i} of {len(good)} is '
        f'{numbers[i]}{shown(i)}. No setting of the training is to blame: mend '
        'the judge, or choose another.')


class ScoringJudge:
  """A judge that says yes where `score` reaches its `threshold`."""

  def __call__(self, candidates, references, prompts=None) -> np.ndarray:
    return self.verdicts(self.score(candidates, references, prompts))

  def verdicts(self, scores) -> np.ndarray:
    """What it says, 0 or 1, of pairs with these scores.

    Raises:
      NotFiniteError: a score is no number.
    """
    scores = np.asarray(scores)
    _check_numbers(self.name, 'score', scores, ~np.isnan(scores))
    return (scores >= self.threshold - _ROUNDING).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingJudge(ScoringJudge):
  """Cosine of two sentence embeddings.

  encoder: texts to [n, D] vectors of length 1.
  threshold: least cosine for a yes.
  """

  encoder: Callable[[Sequence[str]], np.ndarray]
  threshold: float = 0.7
  name: str = 'embedding'

  def score(self, candidates, references, prompts=None) -> np.ndarray:
    """Cosines [n]; the prompts are not read."""
    del prompts
    vectors = self.encoder([*candidates, *references])
    return np.sum(vectors[:len(candidates)] * vectors[len(candidates):], axis=1)


_WORD_SCORES = {'exact': answers.exact_match, 'contains': answers.contains,
                'f1': answers.f1}


@dataclasses.dataclass(frozen=True)
class AnswerJudge(ScoringJudge):
  """Equivalence of short answers, normalised as SQuAD does.

  measure: 'exact', 'contains' (either of them in the other) or 'f1', see
    `sleepjax.evals.answers`.
  threshold: least score for a yes; it matters for 'f1' alone.
  """

  measure: str = 'exact'
  threshold: float = 1.0

  def __post_init__(self):
    if self.measure not in _WORD_SCORES:
      raise ValueError(f'measure={self.measure!r}: expected one of '
                       f'{", ".join(_WORD_SCORES)}.')

  @property
  def name(self) -> str:
    return f'answer_{self.measure}'

  def score(self, candidates, references, prompts=None) -> np.ndarray:
    """Scores [n] in [0, 1], symmetric; the prompts are not read."""
    del prompts
    measure = _WORD_SCORES[self.measure]
    return np.array([max(measure(a, b), measure(b, a)) for a, b in zip(
        candidates, references, strict=True)], np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class ContentOverlapJudge(ScoringJudge):
  """`imitation.content_overlap_judge`, the stand-in, called with texts.

  content_free_V: [V] bool, tokens that carry no content.
  threshold: least F1 of the two bags of content tokens for a yes.
  """

  tokenizer: Tokenizer
  content_free_V: np.ndarray
  threshold: float = 0.5
  name: str = 'content_overlap'

  def score(self, candidates, references, prompts=None) -> np.ndarray:
    """F1 [n]; the prompts are not read."""
    del prompts
    pairs = [self._kept(a, b) for a, b in zip(
        candidates, references, strict=True)]
    if not pairs:
      return np.zeros(0, np.float32)
    width = rows_lib.bucket(max(len(text) for pair in pairs for text in pair))
    sides = (rows_lib.pad_right(side, width) for side in zip(*pairs))
    return np.asarray(imitation.token_f1(*(
        part for ids, mask in sides for part in (ids, mask.sum(1)))))

  def _kept(self, *texts):
    """Content tokens of both texts; all tokens if neither has any."""
    ids = [self.tokenizer.encode(text) for text in texts]
    content = [[t for t in row if not self.content_free_V[t]] for row in ids]
    return content if any(content) else ids


@dataclasses.dataclass(frozen=True)
class YesNoConfig:
  """How a language model is asked whether two texts say the same.

  prompt: the user's message, with {candidate} and {reference}.
  question: stands in front of it where the prompt is known, with {prompt}.
  yes, no: the two replies; the first token of each is compared.
  batch_rows: pairs read at once.
  """

  prompt: str = ('First answer: {candidate}\nSecond answer: {reference}\nDo '
                 'both answers say the same? Reply with Yes or No.')
  question: str = 'Question: {prompt}\n'
  yes: str = 'Yes'
  no: str = 'No'
  batch_rows: int = 16


@functools.partial(jax.jit, static_argnums=0)
def _log_odds(config, params, prompt_BxP, mask_BxP, yes, no):
  """log P(yes) - log P(no) [B] of the next token: a difference of logits."""
  hidden, _ = transformer.hidden_states(config, params, prompt_BxP, mask_BxP)
  w_DxV = transformer.unembedding(params)
  return ops.matmul(hidden[:, -1], w_DxV[:, yes] - w_DxV[:, no])


@dataclasses.dataclass(frozen=True, eq=False)
class YesNoJudge(ScoringJudge):
  """A frozen language model, such as the old self, asked yes or no.

  model: in either layout.
  settings: what it is asked.
  threshold: least log-odds for a yes. 0 is what the model would reply; small
    models lean to one side whatever they read.
  """

  model: Model
  settings: YesNoConfig = YesNoConfig()
  threshold: float = 0.0
  name: str = 'yes_no'

  def score(self, candidates, references, prompts=None) -> np.ndarray:
    """Log-odds [n] of a yes, in nats.

    Raises:
      UserError: both replies begin with the same token.
    """
    s = self.settings
    yes, no = (self.model.tokenizer.encode(word)[0] for word in (s.yes, s.no))
    if yes == no:
      raise UserError(f'yes={s.yes!r} and no={s.no!r} begin with the same '
                      'token: the judge cannot tell them apart.')
    asked = [self._prompt(*texts) for texts in zip(
        candidates, references, prompts or [None] * len(candidates),
        strict=True)]
    scores = []
    for start in range(0, len(asked), s.batch_rows):
      batch = asked[start:start + s.batch_rows]
      filled = batch + [batch[0]] * (s.batch_rows - len(batch))
      odds = _log_odds(self.model.config, self.model.params, *rows_lib.pad_left(
          filled, rows_lib.prompt_bucket(filled)), yes, no)
      scores.append(to_host(odds)[:len(batch)])
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)

  def _prompt(self, candidate, reference, prompt):
    s = self.settings
    message = s.prompt.format(candidate=candidate, reference=reference)
    if prompt is not None:
      message = s.question.format(prompt=prompt) + message
    return self.model.chat.closed_book(message)
