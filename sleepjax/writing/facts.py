"""What a text says, as questions with verified answers.

Answer first: spans that are worth knowing are found, each is asked about,
and every question is verified. What fails is asked anew, then given up, and
everything is kept for the report.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sleepjax.data import documents
from sleepjax.data.documents import Document
from sleepjax.errors import check_least
from sleepjax.writing import asking, gain, table_rows, verification
from sleepjax.writing import spans as spans_lib
from sleepjax.writing.asking import AskConfig
from sleepjax.writing.cleaning import distinct
from sleepjax.writing.coverage import Coverage
from sleepjax.writing.dreamer import Dreamer, Segments
from sleepjax.writing.phrasings import few_words, phrasings
from sleepjax.writing.spans import Span
from sleepjax.writing.statements import echo_question, gapped
from sleepjax.writing.verification import Evidence, VerifyConfig

_LEAST_WORDS = 4  # Of a line that says something alone.


@dataclasses.dataclass(frozen=True)
class WritingConfig:
  """What is worth knowing, how it is asked, what a question must pass.

  spans_per_sentence: of a sentence of 20 words, see `spans.worth_knowing`.
  by_gain: whether spans are chosen by what the text tells about them, too.
  keyword_questions, short_questions: by rule about every span, of most and of
    few words of what is said, see `sleepjax.writing.phrasings`.
  held_out: questions that are not learnt from, in whose place others ask the
    same: the hand-over is measured on them.
  """

  ask: AskConfig = AskConfig()
  verify: VerifyConfig = VerifyConfig()
  spans_per_sentence: int = 3
  by_gain: bool = True
  keyword_questions: int = 3
  short_questions: int = 0
  held_out: int = 8

  def __post_init__(self):
    check_least(self, spans_per_sentence=1, keyword_questions=0,
                short_questions=0, held_out=0)


class Asked(NamedTuple):
  """A question and what came of it.

  refused: why it is not used; '' of a verified one.
  evidence: None of a question that was not put to the model.
  by_rule: it is made of a statement by rule, and nothing that the model has
    written.
  short: it is a few words of a statement, and no whole question.
  """

  question: str
  refused: str
  evidence: Evidence | None = None
  by_rule: bool = False
  short: bool = False


class Fact(NamedTuple):
  """A span and all that was asked about it, verified questions best first."""

  span: Span
  asked: tuple[Asked, ...] = ()

  @property
  def questions(self) -> list[str]:
    """The verified ones that the model has written."""
    return [a.question for a in self.asked if not (a.refused or a.by_rule)]

  @property
  def by_rule(self) -> list[str]:
    """Those made by rule; their answers are right by construction."""
    return [a.question for a in self.asked if a.by_rule and not a.refused]

  @property
  def short(self) -> list[str]:
    """Those of them that are a few words."""
    return [a.question for a in self.asked if a.short and not a.refused]

  @property
  def whole(self) -> list[str]:
    """Those by rule that are whole questions."""
    return [a.question for a in self.asked
            if a.by_rule and not (a.short or a.refused)]


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is known of a text.

  topic: of the text.
  sentences: of the text, in order.
  facts: of each, in order.
  note: what stands in the way, if nothing could be asked; else ''.
  """

  topic: str
  sentences: tuple[str, ...]
  facts: tuple[Fact, ...]
  note: str = ''

  @property
  def verified(self) -> list[Fact]:
    return [f for f in self.facts if f.questions]

  @property
  def coverage(self) -> float:
    """Share of sentences with a verified question of the model; 0 of none."""
    return self._covered(self.verified)

  @property
  def coverage_by_rule(self) -> float:
    """The same if questions that are made by rule count, too."""
    return self._covered(f for f in self.facts if f.questions or f.by_rule)

  def _covered(self, facts):
    return len({f.span.sentence for f in facts}) / max(1, len(self.sentences))

  @property
  def counts(self) -> Coverage:
    """Of how many sentences something is asked, and verified."""
    covered = lambda facts: len({f.span.sentence for f in facts})
    return Coverage(
        len(self.sentences), 0, len(self.sentences) - covered(
            f for f in self.facts if f.questions or f.by_rule),
        verified=covered(self.verified), answers_too_long=sum(
            not any(a.question for a in f.asked)
            for f in self.facts if f.asked))

  def split(self, number: int) -> tuple['Facts', list[tuple[str, str]]]:
    """These facts without some of their questions, and those with answers.

    Each is the last whole one by rule of a fact that has three others or more,
    of facts that are evenly chosen.
    """
    able = [n for n, f in enumerate(self.facts)
            if len(f.questions) + len(f.by_rule) > 3 and f.whole]
    chosen = {able[i] for i in np.unique(np.linspace(
        0, len(able) - 1, min(number, len(able))).round().astype(int))}
    held, facts = [], list(self.facts)
    for n in sorted(chosen):
      fact, question = facts[n], facts[n].whole[-1]
      held.append((question, fact.span.text))
      facts[n] = fact._replace(asked=tuple(
          a for a in fact.asked if a.question != question))
    return dataclasses.replace(self, facts=tuple(facts)), held

  def report(self) -> dict[str, Any]:
    """Plain values: of every sentence what was asked, verified, given up."""
    def entry(fact):
      return {'span': fact.span.text, 'kind': fact.span.kind,
              'verified': fact.questions, 'by_rule': fact.by_rule,
              'refused': [[a.question, a.refused] for a in fact.asked
                          if a.refused],
              'given_up': not fact.questions}
    return {
        'topic': self.topic, 'coverage': self.coverage,
        'coverage_by_rule': self.coverage_by_rule,
        'spans': len(self.facts), 'verified': len(self.verified),
        'note': self.note, 'sentences': [
            {'sentence': s, 'spans': [
                entry(f) for f in self.facts if f.span.sentence == n]}
            for n, s in enumerate(self.sentences)]}


def write_facts(dreamer: Dreamer, document: Document, segments: Segments, key,
                settings: WritingConfig = WritingConfig(),
                avoid: Sequence[str] = ()) -> Facts:
  """Finds what a text says and asks the model about all of it.

  Args:
    dreamer: the old self.
    document: `title`, what it is about, and `text`.
    segments: the document in the dreamer's cache; () if it has it elsewhere.
    key: PRNG key.
    settings: every choice.
    avoid: questions that may not be asked.
  """
  topic, text = document.title, document.text
  sentences = [s for s in documents.split_sentences(text) if s.strip()]
  gains = gain.information_gain(
      dreamer, sentences, dreamer.settings.recall_prompt.format(topic=topic),
      segments
  ) if settings.by_gain and sentences else None
  spans = _spans(sentences, gains, settings.spans_per_sentence)
  english = spans_lib.is_english(text)
  rules = english or table_rows.is_table(sentences)
  facts = {span: Fact(span) for span in spans}
  most = dreamer.settings.completion_tokens
  long = {s for s in spans
          if len(dreamer.chat.tokenizer.encode(s.text)) >= most}
  for n in range(settings.ask.rounds_in(rules)):
    open_ = [span for span in spans
             if span not in long and not facts[span].questions]
    asked = asking.ask(dreamer, settings.ask, topic, sentences, open_,
                       jax.random.fold_in(key, n), english, n)
    new = [(span, q) for span, questions in zip(open_, asked, strict=True)
           for q in distinct(questions, (
               *avoid, *(a.question for a in facts[span].asked)))]
    judged = _judge(dreamer, settings, topic, sentences, text, new, spans)
    for span in spans:
      more = [a for s, a in judged if s == span]
      facts[span] = Fact(span, _ranked(
          (*facts[span].asked, *more), settings.ask.phrasings))
  for span in long:
    facts[span] = Fact(span, (Asked('', (
        f'as an answer longer than dreams.completion_tokens={most}')),))
  for fact in list(facts.values()) if rules else ():
    if fact.span in long:
      continue
    questions, short = _by_rule(
        dreamer, settings, topic, sentences, fact, avoid)
    facts[fact.span] = Fact(fact.span, (*fact.asked, *(
        Asked(q, asking.why_unusable(q, fact.span, topic, text), None, True,
              q in short) for q in questions)))
  found = Facts(topic, tuple(sentences), tuple(facts[s] for s in spans))
  return dataclasses.replace(found, note=_note(found, rules))


def _spans(sentences, gains, per_sentence):
  """What is worth knowing; of a table's row, all of its values."""
  of_rows = {n: spans for n, sentence in enumerate(sentences)
             if (spans := table_rows.row_spans(sentence, n))}
  others = [span for span in spans_lib.worth_knowing(
      sentences, gains, per_sentence)
            if span.sentence not in of_rows and '\n' not in span.text]
  return sorted([*others, *(s for spans in of_rows.values() for s in spans)],
                key=lambda span: (span.sentence, span.start))


def _by_rule(dreamer, settings, topic, sentences, fact, avoid):
  """Distinct questions made of what is said of a span, and the short ones."""
  whole_span, sentence = fact.span, sentences[fact.span.sentence]
  if of_row := table_rows.row_questions(sentence, whole_span):
    return distinct(of_row, (*avoid, *(a.question for a in fact.asked))), set()
  sentence, span = _own_line(sentence, whole_span)
  encode = dreamer.chat.tokenizer.encode
  statement = gapped(sentence, span, topic, lambda text: len(
      encode(text)) <= settings.ask.statement_tokens)
  # The same choices wherever the text is read.
  rng = np.random.default_rng([span.sentence, whole_span.start])
  whole = phrasings(sentence, span, topic, rng, settings.keyword_questions)
  tried = (few_words(sentence, span, topic, rng)
           for _ in range(settings.short_questions))
  short = [question for question in tried if question]
  return distinct([
      statement and echo_question(statement, span) or None, *whole, *short],
      (*avoid, *(a.question for a in fact.asked))), set(short).difference(whole)


def _own_line(sentence, span):
  """(the line of a sentence that says a span, the span there).

  A heading, or what is too short to stand alone, is in a sentence with what is
  beside it, on a line of its own.
  """
  start = sentence.rfind('\n', 0, span.start) + 1
  line = sentence[start:].partition('\n')[0]
  if len(line.split()) < _LEAST_WORDS:
    return sentence, span
  indent = len(line) - len(line.lstrip())
  return line.strip(), span._replace(start=span.start - start - indent)


def _judge(dreamer, settings, topic, sentences, text, asked, spans):
  """[(span, Asked)]: those that cannot be used are not put to the model."""
  unusable = [asking.why_unusable(
      q, span, topic, text, dreamer.settings.forbidden) for span, q in asked]
  usable = [pair for pair, why in zip(asked, unusable, strict=True) if not why]
  evidence = iter(verification.examine(
      dreamer, settings.verify, settings.ask.examples, topic, sentences,
      usable, spans))
  judged = []
  for (span, q), why in zip(asked, unusable, strict=True):
    if why:
      judged.append((span, Asked(q, why)))
    else:
      about, e = next(evidence)
      judged.append((about, Asked(q, verification.why_refused(
          e, about.text, settings.verify, q), e)))
  return judged


def _ranked(asked, most):
  """Verified questions by their margin, at most so many, then the others."""
  good = sorted((a for a in asked if not a.refused),
                key=lambda a: a.evidence.margin, reverse=True)
  left = [a._replace(refused='others are better') for a in good[most:]]
  return (*good[:most], *left, *(a for a in asked if a.refused))


def _note(found, rules):
  """What stands in the way where nothing could be asked."""
  if found.verified:
    return ''
  if not found.facts:
    return ('nothing in the text is worth a question: no name, number, date or '
            'phrase was found. It is learnt as it stands, in recitations.')
  asked = sum(not a.by_rule for f in found.facts for a in f.asked)
  if not asked and rules:
    return ''
  language = '' if rules else (
      ' It is not English: the model may not write its language.')
  return (f'none of {asked} questions about {len(found.facts)} spans was '
          f'verified.{language} The text is learnt from its own words alone.')
