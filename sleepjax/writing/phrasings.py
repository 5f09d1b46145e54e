"""Other English questions with the same answer, made by rule.

What is learnt from one wording is not yet known in another. A small model has
few wordings of its own, so a statement with a gap is asked in three more ways:
with a question word in its gap, turned round ("The light was automated in ___"
becomes "When was the light automated?"), and as the few words that somebody who
asks would remember, some of them left out at random. Their answers are right by
construction; their grammar need not be. Of a sentence's few words as many more
can be made as are wanted, so that no wording has to be learnt often.
"""

import re

import numpy as np

from sleepjax.writing.spans import FUNCTION_WORDS, OWNER, Span
from sleepjax.writing.statements import GAP, echo_question, gapped

_LENGTHS = (7, 10, 13, 18, 30, 60)  # Words of a statement, shortest first.
_LEAST_WORDS = 4
_VERBS = ('', '', '', 'is', 'was', 'are', 'did')
_NEAR = 6.0  # Words from the span at which one is a third as likely.
_AUXILIARY = re.compile(
    r'\b(?:is|was|are|were|has|had|have|can|could|will|would)\b')
_DATE_PREPOSITION = re.compile(rf'\b(?:in|on|at|since)\s(?={GAP})')
_YEAR = re.compile(r'(?:\D+ |mid-)?[12]\d{3}s?')  # Or about that one.
_ARTICLE = re.compile(r'(?:The|An?|Its|Their)\b')
_WORDS = {'date': ('When', 'In what year'), 'number': ('How many', 'How'),
          'name': ('Who', 'What', 'Which', 'Where'), 'phrase': ('What',)}
_WITH_TOPIC = ('{words}, {topic}', '{words} of {topic}', '{words} at {topic}',
               '{topic} {words}')


def shortest_statement(sentence: str, span: Span, topic: str) -> str:
  """The fewest clauses around the span that say something, with a gap for it.

  Args:
    sentence, span: what is said, and where the answer stands in it.
    topic: takes the place of a pronoun; '' keeps it.

  Returns:
    The statement, '' if there is none of four words.
  """
  for most in _LENGTHS:
    statement = gapped(sentence, span, topic,
                       lambda text, most=most: len(text.split()) <= most)
    if len(statement.split()) >= _LEAST_WORDS:
      return statement
  return ''


def question_word(span: Span, rng: np.random.Generator) -> str:
  """A word that may begin a question with this answer."""
  if span.kind == 'number':
    unit = re.search(r'[^\W\d_]\S*$', span.text)
    if unit and ' ' in span.text and rng.random() < 0.6:
      return f'How many {unit[0]}'
  if span.kind == 'date' and not _YEAR.fullmatch(span.text):
    return ('When', 'On what date')[rng.integers(2)]
  words = _WORDS[span.kind]
  return words[rng.integers(len(words))]


def turned_round(statement: str, span: Span, rng: np.random.Generator) -> str:
  """The question in the order of English; '' of what has no auxiliary verb.

  >>> span = Span('1871', 'date', 0, 0)
  >>> turned_round('The light was lit in ___.', span, np.random.default_rng(0))
  'In what year was the light lit?'
  """
  statement = statement.rstrip('.;:, ')
  if span.kind == 'date':
    statement = _DATE_PREPOSITION.sub('', statement)
  verb = _AUXILIARY.search(statement)
  owns = OWNER.match(statement.partition(GAP)[2])
  if GAP not in statement or owns or not verb or not verb.start():
    return ''
  subject = statement[:verb.start()].strip()
  rest = re.sub(r'\s+', ' ', statement[verb.end():].replace(GAP, '')).strip(
      ' ,')
  word = question_word(span, rng)
  if GAP in subject:
    return f'{word} {verb[0]} {rest}?' if subject == GAP else ''
  if _ARTICLE.match(subject):
    subject = subject[0].lower() + subject[1:]
  return f'{word} {verb[0]} {subject} {rest}'.rstrip() + '?'


def _words_of(text: str, topic: str) -> list[str]:
  """The words of a text; the topic is said whole or not at all."""
  named = re.sub(re.escape(topic), ' ', text, flags=re.I) if topic else text
  return [word for word in (w.strip('.,;:()"') for w in named.split())
          if word and not OWNER.fullmatch(word)]


def _has_content(word: str) -> bool:
  return word.lower() not in FUNCTION_WORDS


def _about(topic: str, text: str, share: float,
           rng: np.random.Generator) -> str:
  """A question's end that names the topic in so many of all cases."""
  if topic and rng.random() < share:
    form = _WITH_TOPIC[rng.integers(len(_WITH_TOPIC))]
    text = form.format(words=text, topic=topic)
  return text[0].lower() + text[1:] if _ARTICLE.match(text) else text


def keywords(sentence: str, span: Span, topic: str,
             rng: np.random.Generator) -> str:
  """Half or more of a statement's content words, in order, behind a question
  word; the topic is named in most."""
  statement = shortest_statement(sentence, span, topic)
  words = _words_of(statement.replace(GAP, ' '), topic)
  content = [i for i, w in enumerate(words) if _has_content(w)]
  if not content:
    return ''
  share = rng.uniform(0.5, 1)
  chosen = set(rng.choice(
      content, max(1, round(len(content) * share)), replace=False))
  # A function word stays with the word that it leads to, in most cases.
  text = ' '.join(w for i, w in enumerate(words) if i in chosen or (
      i + 1 in chosen and w.lower() in FUNCTION_WORDS and rng.random() < 0.7))
  text = _about(topic, text, 0.8, rng)
  return f'{question_word(span, rng)} {text}?'


def few_words(sentence: str, span: Span, topic: str,
              rng: np.random.Generator) -> str:
  """Two to five content words of a sentence behind a question word.

  Those near the span are drawn more often; what follows it comes first in half
  of the questions.
  """
  before, after = (_words_of(part, topic) for part in (
      sentence[:span.start], sentence[span.end:]))
  words = [(w, len(before) - i) for i, w in enumerate(before)]
  behind = [(w, 1 + i) for i, w in enumerate(after)]
  words = behind + words if rng.random() < 0.5 else words + behind
  content = [i for i, (w, _) in enumerate(words) if _has_content(w)]
  if not content:
    return ''
  near = np.exp([-words[i][1] / _NEAR for i in content])
  number = min(len(content), int(rng.integers(2, 6)))
  chosen = set(rng.choice(
      content, number, replace=False, p=near / near.sum()).tolist())
  text = ' '.join(w for i, (w, _) in enumerate(words) if i in chosen or (
      i + 1 in chosen and not _has_content(w) and rng.random() < 0.5))
  text = _about(topic, text, 0.5, rng)
  verb = _VERBS[rng.integers(len(_VERBS))]
  return ' '.join(f'{question_word(span, rng)} {verb} {text}'.split()) + '?'


def phrasings(sentence: str, span: Span, topic: str, rng: np.random.Generator,
              most_keywords: int) -> list[str]:
  """Distinct questions whose answer is the span, none that says it.

  Args:
    sentence, span, topic: see `shortest_statement`.
    rng: chooses question words and what is left out.
    most_keywords: how many of `keywords` are tried.
  """
  statement = shortest_statement(sentence, span, topic)
  made = []
  if statement:
    made = [echo_question(statement, span), turned_round(statement, span, rng)]
  made += [keywords(sentence, span, topic, rng)
           for _ in range(most_keywords)]
  return list(dict.fromkeys(q for q in made if q))
