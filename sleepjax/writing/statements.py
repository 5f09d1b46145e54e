"""Short statements with a gap where a span stands, and questions made of them.

A sentence is cut to the clauses around the span, and a pronoun that it begins
with gives way to the topic: what is left can be understood alone. The gap says
what is asked about; put a question word into it and the statement is a question
already, if an odd one: "The lamp burned what?"
"""

import re
from collections.abc import Callable

from sleepjax.data.sentences import after_marker
from sleepjax.writing.spans import OWNER, Span

GAP = '___'
_CLAUSE_END = re.compile(r'[,;:，、；：](?=\s|[^\x00-\x7f])\s*|\s[–—-]\s')
_PRONOUN = re.compile(
    r'(?P<of>Its|Their)\b|(?:It|They|This)\b(?= (?:is|was|are|were|has|had|have'
    r'|can|could|will|would|\w+(?:s|ed))\b)')
_YEAR = re.compile(r'[12]\d{3}$')
_YEARS = re.compile(r'[12]\d{3}(?:s$|[–-])')


def short_sentence(sentence: str, span: Span,
                   fits: Callable[[str], bool]) -> str:
  """The sentence, or as many of its clauses around the span as fit, or ''."""
  if fits(sentence):
    return sentence
  cuts = [0, *(m.end() for m in _CLAUSE_END.finditer(sentence)), len(sentence)]
  first = max(i for i, cut in enumerate(cuts) if cut <= span.start)
  last = min(i for i, cut in enumerate(cuts) if cut >= span.end)
  clauses = lambda a, b: sentence[cuts[a]:cuts[b]].strip().strip(',;:—– ')
  if not fits(clauses(first, last)):
    return ''
  while first and fits(clauses(first - 1, last)):
    first -= 1
  while last < len(cuts) - 1 and fits(clauses(first, last + 1)):
    last += 1
  return clauses(first, last)


def gapped(sentence: str, span: Span, topic: str,
           fits: Callable[[str], bool] = lambda text: True) -> str:
  """A statement with ___ for the span, or '' if its clause does not fit.

  >>> gapped('It was lit in 1871.', Span('1871', 'date', 0, 14), 'The light')
  'The light was lit in ___.'

  Args:
    sentence: where the span stands; a dash or a number before an item of a
      list is left out.
    span: the gap.
    topic: what a pronoun that begins the sentence stands for; '' keeps it.
    fits: whether a text is short enough.
  """
  begin = after_marker(sentence)
  marked = f'{sentence[begin:span.start]}{GAP}{sentence[span.end:]}'
  short = short_sentence(
      marked, span._replace(text=GAP, start=span.start - begin), fits)
  if not topic:
    return short
  return _PRONOUN.sub(
      lambda m: f"{topic}'s" if m['of'] else topic, short, count=1
  ) if _PRONOUN.match(short) else short


def echo_question(statement: str, span: Span) -> str:
  """The English question that a gapped statement is with a word in its gap.

  >>> echo_question('It was lit in ___.', Span('1871', 'date', 0, 14))
  'It was lit in what year?'

  Returns:
    '' where no word fits, before a date without a preposition.
  """
  before, _, after = statement.partition(GAP)
  by = re.search(r'\b(by|in|on|at|from)\s(?:the\s)?$', before, re.I)
  if owner := OWNER.match(after):
    word, after = 'whose', after[owner.end():]
  elif span.kind == 'date':
    if not by and not re.search(
        r'\b(since|until|till|before|after|around|by)\s$', before, re.I):
      return ''
    word = ('what year' if _YEAR.match(span.text) else
            'what years' if _YEARS.match(span.text) else 'what date')
  elif span.kind == 'number':
    unit = re.search(r'[^\W\d_]\S*$', span.text)
    word = f'how many {unit[0]}' if unit and ' ' in span.text else 'how much'
  elif span.kind == 'name' and by:
    word = 'whom' if by[1].lower() == 'by' else 'which place'
  else:
    word = 'what'
  before = re.sub(r'\b(?:the|an?)\s$', '', before, flags=re.I)
  question = f'{before}{word}{after}'.strip().rstrip('.!;:, ')
  return f'{question[0].upper()}{question[1:]}?'
