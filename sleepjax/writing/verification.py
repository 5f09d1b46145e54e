"""Whether a question has the answer it was asked for.

The model answers its own question and is not told the answer. It passes if

  1. its greedy answer, with the question's sentence in view, is the span, or
     another one of that sentence, which then is what it asks for;
  2. log p(span | question, text) - log p(span | question, topic alone) is at
     least `least_gain` nats: the answer is from the text;
  3. log p(span | question, text) - max over other spans of the text is above
     `least_margin` nats: the question asks for this span and no other.

A small model answers far better from one sentence than from a page, and from
examples than from a chat; the page is what tells whether the question is clear
without its sentence.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.errors import UserError, check_least
from sleepjax.evals import answers
from sleepjax.model import Model
from sleepjax.writing.asking import Example, says
from sleepjax.writing.dreamer import Dreamer
from sleepjax.writing.gain import log_probs
from sleepjax.writing.lines import write_lines
from sleepjax.writing.spans import Span, is_unspaced


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
  """What a question must pass.

  least_gain, least_margin: nats, see above.
  rivals: other spans that the right one is compared with: of its sentence
    first, then of its kind.
  tokens: longest greedy answer.
  extra_words: that a greedy answer may have beside the span.
  """

  least_gain: float = 1.0
  least_margin: float = 3.0
  rivals: int = 4
  tokens: int = 12
  extra_words: int = 3

  def __post_init__(self):
    check_least(self, rivals=0, tokens=1, extra_words=0)


class Evidence(NamedTuple):
  """What is known of a question and the answer that it was asked for.

  answer: greedy, with the sentence in view.
  in_view, closed_book: log-probability of the span with the text in view and
    with its topic alone, in nats.
  best_other: of the likeliest rival with the text in view; -inf without any.
  """

  answer: str
  in_view: float
  closed_book: float
  best_other: float

  @property
  def gain(self) -> float:
    return self.in_view - self.closed_book

  @property
  def margin(self) -> float:
    return self.in_view - self.best_other


def is_answer(answer: str, span: str, extra_words: int,
              question: str = '') -> bool:
  """Whether an answer is the span, with at most so many words beside it.

  What a number counts may stand in the question instead: 164, of "164 steps".
  """
  line = answer.strip().split('\n')[0]
  number, _, unit = span.partition(' ')
  if unit and any(map(str.isdigit, number)) and (
      unit.casefold() in question.casefold()):
    span = number
  if is_unspaced(span):
    plain = lambda s: re.sub(r'\W', '', s.casefold())
    return (plain(span) in plain(line)
            and len(plain(line)) <= len(plain(span)) + 2 * extra_words)
  words = len(answers.normalised_tokens(line))
  return bool(answers.contains(line, span)) and (
      words <= len(answers.normalised_tokens(span)) + extra_words)


def why_refused(evidence: Evidence, span: str, settings: VerifyConfig,
                question: str = '') -> str:
  """What a question fails, in words; '' if it is verified."""
  if not is_answer(
      evidence.answer, span, settings.extra_words, question):
    return f'answered: {evidence.answer or "nothing"}'
  if not evidence.gain >= settings.least_gain:
    return f'needs no text: {evidence.gain:.2f} nats'
  if not evidence.margin > settings.least_margin:
    return f'asks for another span as much: {evidence.margin:.2f} nats'
  return ''


def span_of_answer(answer: str, question: str, wanted: Span,
                   spans: Sequence[Span], extra_words: int) -> Span | None:
  """The span of the wanted one's sentence that an answer is, if any.

  The wanted one if it can be, and never one that the question says.
  """
  if is_answer(answer, wanted.text, extra_words, question):
    return wanted
  return next((span for span in spans if span.sentence == wanted.sentence
               and is_answer(answer, span.text, extra_words, question)
               and not says(question, span)), None)


def rivals_of(span: Span, spans: Sequence[Span], most: int) -> list[str]:
  """Other spans of a text that a question about `span` might ask for."""
  other = [s for s in spans if s.text.casefold() not in span.text.casefold()
           and span.text.casefold() not in s.text.casefold()]
  near = sorted(other, key=lambda s: (
      s.sentence != span.sentence, s.kind != span.kind,
      abs(s.sentence - span.sentence)))
  return list(dict.fromkeys(s.text for s in near))[:most]


def before_answer(examples: Sequence[Example], topic: str, text: str) -> str:
  """What stands before questions that are answered as in the examples."""
  shown = [f'Topic: {e.topic}\nText: {e.text}\nQuestion: {e.question}\n'
           f'Answer: {e.answer}\n' for e in examples]
  return '\n'.join([*shown, f'Topic: {topic}\nText: {text}\n'])


def check_fits(model: Model, examples: Sequence[Example], topic: str,
               text: str) -> None:
  """Checks that a text fits into the model's context beside the examples.

  Raises:
    UserError: it does not.
  """
  size = len(model.tokenizer.encode_stream(
      before_answer(examples, topic, text)))
  if size > model.config.max_context:
    raise UserError(
        f'the text takes {size} tokens beside the examples of questions, more '
        f"than the model's context of {model.config.max_context}: read it "
        'in shorter chunks.')


def examine(dreamer: Dreamer, settings: VerifyConfig,
            examples: Sequence[Example], topic: str, sentences: Sequence[str],
            asked: Sequence[tuple[Span, str]], spans: Sequence[Span]
            ) -> list[tuple[Span, Evidence]]:
  """Answers questions and scores their spans; nothing is random.

  A question that was asked for one span and whose answer is another one of its
  sentence is examined as a question about that one.

  Questions that are answered wrongly are not scored: their numbers are NaN.
  Those that need no text are not compared with rivals.

  Args:
    dreamer: who answers; it need not have the text in view.
    settings: how.
    examples: shown before every question.
    topic: what the text is about.
    sentences: of the text.
    asked: (wanted answer, question).
    spans: of the text, rivals.

  Raises:
    UserError: text and examples do not fit into the model's context.
  """
  if not asked:
    return []
  encode = dreamer.chat.tokenizer.encode_stream
  question = lambda q: f'Question: {q}\nAnswer:'
  opening = lambda text: before_answer(examples, topic, text)
  replies = write_lines(
      dreamer, [opening(sentences[span.sentence]) + question(q)
                for span, q in asked], [span.sentence for span, _ in asked],
      jax.random.key(0), 0.0, settings.tokens)
  replies = [reply.split('\n')[0].strip() for reply in replies]
  answered = [span_of_answer(reply, q, span, spans, settings.extra_words)
              for reply, (span, q) in zip(replies, asked, strict=True)]
  right = [i for i, span in enumerate(answered) if span]
  asked = [(span or wanted, q) for span, (wanted, q) in zip(
      answered, asked, strict=True)]
  page = ' '.join(sentences)
  if right:
    check_fits(dreamer.model, examples, topic, page)

  def score(text, choices):
    """Of (number of a question, span), log p after `text` and the question."""
    before = [encode(opening(text) + question(asked[i][1])) for i, _ in choices]
    ends = [dreamer.chat.tokenizer.encode(f' {c}\n') for _, c in choices]
    return [float(np.sum(p)) for p in log_probs(dreamer, before, ends)]

  own = [(i, asked[i][0].text) for i in right]
  found = [Evidence(reply, np.nan, np.nan, np.nan) for reply in replies]
  for i, in_view, alone in zip(
      right, score(page, own), score(topic, own), strict=True):
    found[i] = Evidence(replies[i], in_view, alone, -np.inf)
  others = [(i, rival) for i in right if found[i].gain >= settings.least_gain
            for rival in rivals_of(asked[i][0], spans, settings.rivals)]
  for (i, _), value in zip(others, score(page, others), strict=True):
    found[i] = found[i]._replace(best_other=max(found[i].best_other, value))
  return [(span, e) for (span, _), e in zip(asked, found, strict=True)]
