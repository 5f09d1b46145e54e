"""Questions whose answer is already there: a span of the text.

A small model asks about a given answer far better than it thinks of something
to ask. It is shown how, in a few examples: a short statement with a gap, what
belongs there, and the question. Its own is begun for it with words that fit the
kind of the span.
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from sleepjax.errors import check_least
from sleepjax.writing.cleaning import content_words, distinct
from sleepjax.writing.dreamer import Dreamer
from sleepjax.writing.lines import write_lines
from sleepjax.writing.spans import FUNCTION_WORDS, Span, is_unspaced
from sleepjax.writing.statements import GAP, gapped

_QUESTION_END = re.compile(r'[?？؟;՞፧]')
_PRONOUNS = frozenset(
    'it he she they them him her this that these those there its his their '
    'we i you us'.split())


class Example(NamedTuple):
  """How a question is asked about a span of a sentence."""

  topic: str
  text: str
  answer: str
  question: str


_BAKERY = ('Elm Street bakery', 'It was opened by Rosa Klein in 1952, and its '
           'bread is baked in a stone oven.')
_TARN = ('River Tarn', 'In the dry summer of 1911 the river fell by three '
         'metres, and the mills at Corvo stood still.')
_BEETLES = ('Bark beetles', 'They live under the bark of dead oaks, and eat '
            'fungus from May to September.')
EXAMPLES = (
    Example(*_BAKERY, 'Rosa Klein', 'Who opened the Elm Street bakery?'),
    Example(*_TARN, 'three metres',
            'How far did the River Tarn fall in the summer of 1911?'),
    Example(*_BEETLES, 'fungus', 'What do bark beetles eat?'),
    Example(*_BAKERY, '1952',
            'In what year was the Elm Street bakery opened?'),
    Example(*_TARN, 'Corvo',
            'Where did the mills stand still when the River Tarn fell?'),
    Example(*_BAKERY, 'stone oven',
            'What is the bread of the Elm Street bakery baked in?'),
)


@dataclasses.dataclass(frozen=True)
class Openings:
  """First words of English questions for every kind of span, in turn."""

  name: tuple[str, ...] = ('Who', '', 'What', 'Where', 'Which')
  date: tuple[str, ...] = ('When', 'In what year', '', 'On what date')
  number: tuple[str, ...] = ('How many', '', 'How', 'What')
  phrase: tuple[str, ...] = ('What', '', 'Which', 'What kind of')

  def of(self, kind: str) -> tuple[str, ...]:
    """Those of one kind; that of any word if it has none."""
    return getattr(self, kind) or ('',)


@dataclasses.dataclass(frozen=True)
class AskConfig:
  """How questions are asked.

  examples: shown before every request, each as topic, text, answer, question;
    the last question is the model's.
  openings: of English questions; other languages begin as the model likes.
  samples: questions about a span in every round.
  rounds: what has no verified question is asked again, so often in all; 0
    leaves all questions to those by rule, and where there are no rules, as for
    languages other than English, is 2.
  phrasings: verified questions of a span that are kept, the best first.
  temperature: of the first round; later ones are 0.2 warmer each.
  tokens: longest question.
  statement_tokens: longest statement that is asked about; a sentence is cut to
    the clauses around the span.
  """

  examples: tuple[tuple[str, str, str, str], ...] = EXAMPLES
  openings: Openings = Openings()
  samples: int = 3
  rounds: int = 2
  phrasings: int = 3
  temperature: float = 0.6
  tokens: int = 24
  statement_tokens: int = 32

  def rounds_in(self, by_rule: bool) -> int:
    """Rounds about a text of which rules can ask, or cannot."""
    return self.rounds or (0 if by_rule else AskConfig.rounds)

  def __post_init__(self):
    check_least(self, samples=1, rounds=0, phrasings=1, tokens=1,
                temperature=0)
    # A configuration has them as plain tuples.
    object.__setattr__(self, 'examples', tuple(
        Example(*example) for example in self.examples))


def request(examples: Sequence[Example], statement: str, answer: str,
            opening: str = '') -> str:
  """What the model goes on from to ask about the gap of a statement."""
  shown = [_request(gapped(e.text, Span(
      e.answer, 'phrase', 0, e.text.index(e.answer)), e.topic), e.answer,
                    f' {e.question}') for e in examples]
  return '\n\n'.join([*shown, _request(
      statement, answer, f'{" " * bool(opening)}{opening}')])


def _request(statement, answer, question):
  return f'Fact: {statement}\n{GAP}: {answer}\nQuestion:{question}'


def ask(dreamer: Dreamer, settings: AskConfig, topic: str,
        sentences: Sequence[str], spans: Sequence[Span], key,
        english: bool = True, round_number: int = 0) -> list[list[str]]:
  """For every span, the distinct questions that the model has asked about it.

  Args:
    dreamer: who asks; it need not have the text in view.
    settings: how.
    topic: what the text is about.
    sentences: of the text.
    spans: wanted answers.
    key: PRNG key.
    english: whether questions begin with English openings.
    round_number: later rounds begin with other openings and are warmer.
  """
  if not spans:
    return []
  asked, n = [], settings.samples
  encode = dreamer.chat.tokenizer.encode
  fits = lambda text: len(encode(text)) <= settings.statement_tokens
  for span in spans:
    ways = settings.openings.of(span.kind) if english else ('',)
    openings = [ways[(round_number * n + i) % len(ways)] for i in range(n)]
    sentence = sentences[span.sentence]
    statement = gapped(sentence, span, topic, fits) or gapped(
        sentence, span, topic)
    asked += [(o, request(settings.examples, statement, span.text, o))
              for o in openings]
  replies = write_lines(
      dreamer, [text for _, text in asked],
      [i for i in range(len(spans)) for _ in range(n)], key,
      settings.temperature + 0.2 * round_number, settings.tokens)
  known = f'{topic} {" ".join(sentences)}'
  questions = [first_question(repaired(
      opening + reply, settings.examples, topic, known))
               for (opening, _), reply in zip(asked, replies, strict=True)]
  return [distinct(questions[i * n:(i + 1) * n]) for i in range(len(spans))]


def repaired(question: str, examples: Sequence[Example], topic: str,
             known: str) -> str:
  """A question whose misspelt names are those of the text.

  A small model spells rare names wrongly, and sometimes asks about the topic of
  an example instead. What comes of it is verified like any other question.

  Args:
    question: as it was written.
    examples: whose topics are replaced by this one.
    topic: of the text.
    known: the topic and the text.
  """
  for name in {e.topic for e in examples} if topic else ():
    first = ' '.join(name.split()[:2])
    if first not in known:
      question = re.sub(rf'{re.escape(first)}(?: \w+)?', topic, question,
                        flags=re.I)
  names = sorted({w for w in re.findall(r'\w+', known) if w[0].isupper()})

  def right(match):
    word = match[0]
    if word in known or not match.start():
      return word
    near = difflib.get_close_matches(
        word, [n for n in names if n[:2] == word[:2]], 1, 0.6)
    return near[0] if near else word

  return re.sub(r'\b[A-Z]\w{3,}', right, question)


def first_question(reply: str) -> str | None:
  """The first question of a line; the line where its script has no marks.

  None if it has not ended.
  """
  line = reply.strip().split('\n')[0].strip('"\'*“” ')
  end = _QUESTION_END.search(line)
  if end:
    line = line[:end.end()]
  elif not is_unspaced(line):
    return None
  return line[0].upper() + line[1:] if line else None


def why_unusable(question: str, span: Span, topic: str, text: str,
                 forbidden: Sequence[str] = ()) -> str:
  """Why a question cannot be asked without its text; '' if it can.

  It must not say its own answer, nor name what the text does not know, and it
  must say what it is about.

  Args:
    question: the question.
    span: its answer.
    topic: of the text.
    text: all of it.
    forbidden: words that no question may contain, in lower case.
  """
  words = re.findall(r'\w+', question)
  known = f'{topic}\n{text}'.casefold()
  lower = {w.casefold() for w in words}
  if len(words) < 4 and not (is_unspaced(question) and len(question) > 4):
    return 'too short'
  if says(question, span):
    return 'says its answer'
  if lower & set(forbidden):
    return 'is about the text, not about what it says'
  strange = [w for i, w in enumerate(words) if w.casefold() not in known and (
      w[0].isdigit() or i and w[0].isupper())]
  if strange:
    return f'names what the text does not: {", ".join(strange)}'
  if is_unspaced(question):
    return ''
  content = {w for w in content_words(question) if w not in FUNCTION_WORDS
             and w not in ('name', 'many', 'much', 'kind', 'year', 'long')}
  shared = {w for w in content if w[:max(4, len(w) - 3)] in known}
  named = any(w[0].isupper() or w[0].isdigit() for w in words[1:])
  if lower & _PRONOUNS and not named:
    return 'does not say who or what it is about'
  if len(shared) < (1 if named else 2) or 2 * len(shared) < len(content):
    return 'says too little of the text'
  return ''


def says(question, span):
  """Whether a question contains its answer, or most of it."""
  if span.text.casefold() in question.casefold():
    return True
  words = re.findall(r'\w+', question.casefold())
  answer = re.findall(r'\w+', span.text.casefold())
  if span.kind in ('date', 'number'):  # It may say what is counted.
    return any(w in words for w in answer if any(map(str.isdigit, w)))
  content = [w for w in answer if w not in FUNCTION_WORDS]
  return 2 * sum(w in words for w in content) > len(content)
