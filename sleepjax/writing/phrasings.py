"""Other English questions with the same answer, made by rule.

What is learnt from one wording is not yet known in another. A small model has
few wordings of its own, so a statement with a gap is asked in three more ways:
with a question word in its gap, turned round ("The light was automated in ___"
becomes "When was the light automated?"), and as the few words that somebody who
asks would remember, some of them left out at random. Their answers are right by
construction; their grammar need not be.
"""

import re

import numpy as np

from sleepjax.writing.spans import FUNCTION_WORDS, Span
from sleepjax.writing.statements import GAP, echo_question, gapped

_LENGTHS = (7, 10, 13, 18, 30, 60)  # Words of a statement, shortest first.
_LEAST_WORDS = 4
_AUXILIARY = re.compile(
    r'\b(?:is|was|are|were|has|had|have|can|could|will|would)\b')
_DATE_PREPOSITION = re.compile(rf'\b(?:in|on|at|since)\s(?={GAP})')
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
  if span.kind == 'date' and not re.fullmatch(r'[12]\d{3}s?', span.text):
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
  if GAP not in statement or not verb or not verb.start():
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


def keywords(sentence: str, span: Span, topic: str,
             rng: np.random.Generator) -> str:
  """Half or more of a statement's content words, in order, behind a question
  word; the topic is named in most."""
  statement = shortest_statement(sentence, span, topic)
  # The topic is said whole or not at all.
  named = re.sub(re.escape(topic), ' ', statement, flags=re.I) if topic else (
      statement)
  words = [w.strip('.,;:()') for w in named.replace(GAP, ' ').split()]
  content = [i for i, w in enumerate(words)
             if w and w.lower() not in FUNCTION_WORDS and w != "'s"]
  if not content:
    return ''
  share = rng.uniform(0.5, 1)
  chosen = set(rng.choice(
      content, max(1, round(len(content) * share)), replace=False))
  # A function word stays with the word that it leads to, in most cases.
  text = ' '.join(w for i, w in enumerate(words) if i in chosen or (
      i + 1 in chosen and w.lower() in FUNCTION_WORDS and rng.random() < 0.7))
  if topic and rng.random() < 0.8:
    form = _WITH_TOPIC[rng.integers(len(_WITH_TOPIC))]
    text = form.format(words=text, topic=topic)
  if _ARTICLE.match(text):
    text = text[0].lower() + text[1:]
  return f'{question_word(span, rng)} {text}?'


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
