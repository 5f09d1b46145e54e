"""Wrong answers of the right kind, taken from the text by a rule.

A model that has never read a text already tells a name from a number. Only
among answers of one kind does a choice show what the text says. The rule looks
at nothing but the text and its questions, so the distractors of a text are
fixed before any model is asked (`choices_sha256`).

Kinds: *date* (a year, month, weekday, decade, century), *number* (has a digit
or begins with a number word), *name* (every content word is capitalised) and
*phrase*, all else. Month and number words are English; scripts without
capitals have numbers, years and phrases, and where words have no spaces between
them a text's own phrases cannot be told from one another by this rule: there
only other gold answers serve.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Sequence

from sleepjax.data.documents import Question, split_sentences
from sleepjax.data.words import FUNCTION_WORDS
from sleepjax.evals import answers
from sleepjax.evals.knows import other_golds

MOST = 3
LEAST = 2

_MONTH = (r'(?:January|February|March|April|May|June|July|August|September|'
          r'October|November|December)')
_YEAR = r'(?:1\d{3}|20\d\d)'
_DATES = re.compile('|'.join((
    rf'\d{{1,2}} {_MONTH}(?: {_YEAR})?',
    rf'{_MONTH}(?: \d{{1,2}}(?:st|nd|rd|th)?\b)?(?:,? {_YEAR})?',
    r'\d{4}-\d\d-\d\d', r'\d{1,2}[/.]\d{1,2}[/.]\d{2,4}',
    r'(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day',
    r'\d{1,2}(?:st|nd|rd|th) century',
    r'(?:\d{1,4}[-–])?\d{1,4} (?:BC|AD|BCE|CE)\b',
    rf'{_YEAR}(?:年(?:\d{{1,2}}月(?:\d{{1,2}}日)?)?|s\b|\b)')))
_BESIDE_DATES = frozenset((
    *FUNCTION_WORDS, 'between', 'since', 'until', 'early', 'late', 'mid',
    'around', 'about', 'during', 'year', 'spring', 'summer', 'autumn',
    'winter'))
_NUMBER_WORDS = frozenset(
    'zero one two three four five six seven eight nine ten eleven twelve '
    'thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty '
    'thirty forty fifty sixty seventy eighty ninety hundred thousand million '
    'billion trillion half third quarter dozen once twice'.split())
# Clauses end at punctuation between words, but not inside 1,204 or U.S.
_CLAUSE_END = re.compile(r'[^\w\s]*[,.;:!?()\[\]"“”«»—–、。，；：！？「」]+'
                         r'[^\w\s]*(?:\s|$)|[()\[\]"“”«»—、。，；：！？「」]')
_LINKS = ('of', 'the', 'de', 'la', 'von', 'van', 'der', 'al', 'bin')


@dataclasses.dataclass(frozen=True)
class Choice:
  """What a question's gold answer stands beside.

  kind: 'date', 'number', 'name' or 'phrase'.
  distractors: up to three; with fewer than two there is no choice.
  """

  kind: str
  distractors: tuple[str, ...]


def kind_of(answer: str) -> str:
  """'date', 'number', 'name' or 'phrase'.

  >>> [kind_of(a) for a in ('June 1911', '38 metres', 'Ann Lee', 'whale oil')]
  ['date', 'number', 'name', 'phrase']
  """
  rest = _DATES.sub(' ', answer)
  if rest != answer and set(_words(rest)) <= _BESIDE_DATES:
    return 'date'
  content = [word for word in _split(answer)
             if word.lower() not in FUNCTION_WORDS]
  lettered = [word for word in content if not _is_number(word)]
  if lettered and all(word[0].isupper() for word in lettered):
    return 'name'
  if any(_has(str.isdigit, word) for word in content) or (
      content and _is_number(content[0])):
    return 'number'
  return 'phrase'


def choices(text: str, questions: Sequence[Question]) -> list[Choice]:
  """The distractors of every question about a text.

  First come other gold answers of its kind, in their order, then stretches of
  the text of that kind: those with digits or capitals as it has, the nearest in
  number of words, the first in the text. None stands in the question, in the
  gold answer or around it; a name or phrase shares no content word with it, a
  number or date no digits.

  Args:
    text: the whole text.
    questions: all of those about it.

  Returns:
    a `Choice` for each.
  """
  golds, found = [q.answer for q in questions], []
  sentences = split_sentences(text)
  for question in questions:
    kind, distractors = kind_of(question.answer), []
    for other in (*(gold for gold in other_golds(question.answer, golds)
                    if kind_of(gold) == kind),
                  *_spans(sentences, kind, question.answer)):
      if len(distractors) < MOST and _is_apart(
          other, kind, question, distractors):
        distractors.append(other)
    found.append(Choice(kind, tuple(distractors)))
  return found


def choices_sha256(found: Sequence[Choice]) -> str:
  """Hash of all kinds and distractors in their order, for reports."""
  return hashlib.sha256(json.dumps(
      [dataclasses.astuple(choice) for choice in found]).encode()).hexdigest()


def nested(one: str, other: str) -> bool:
  """Whether the words of either answer are a run of the other's."""
  a, b = sorted(map(answers.match_words, (one, other)), key=len)
  return not a or bool(answers.runs(b, a))


def _is_apart(other, kind, question, distractors):
  gold, words = question.answer, answers.match_words(other)
  if nested(other, gold) or answers.runs(
      answers.match_words(question.question), words):
    return False
  if any(nested(other, taken) for taken in distractors):
    return False
  if kind in ('name', 'phrase'):
    return not set(_words(other)) & set(_words(gold)) - _BESIDE_DATES
  digits = set(re.findall(r'\d+', gold.replace(',', '')))
  return not digits & set(re.findall(r'\d+', other.replace(',', '')))


def _spans(sentences, kind, gold):
  """Stretches of a text that are of a kind, those most like an answer first."""
  length = len(_content(gold))
  found = {'date': _dates, 'number': _numbers, 'name': _names,
           'phrase': _phrases}[kind](sentences, length)
  spans = [span for span in dict.fromkeys(found) if kind_of(span) == kind]
  form = functools.partial(_has, (
      str.isdigit if kind in ('date', 'number') else str.isupper))
  return sorted(spans, key=lambda span: (
      form(span) != form(gold), abs(len(_content(span)) - length)))


def _dates(sentences, length):
  return [m.group() for s in sentences for m in _DATES.finditer(s)]


def _numbers(sentences, length):
  """A number and the words behind it, so many in all."""
  for clause in _clauses(_DATES.sub(
      lambda date: date[0] if date[0].isdigit() else ',', sentence)
                         for sentence in sentences):
    for i, word in enumerate(clause):
      if _is_number(word) and (not i or not _is_number(clause[i - 1])):
        end = i + 1
        while end < len(clause) and (
            _is_number(clause[end]) or (
                end - i < length and clause[end].lower() not in
                FUNCTION_WORDS)):
          end += 1
        yield ' '.join(clause[i:end])


def _names(sentences, length):
  """Capitalised runs with short links inside; no lone word that begins a
  sentence, unless it has a capital elsewhere."""
  clauses = list(_clauses(_DATES.sub(',', sentence) for sentence in sentences))
  starts = {words[0].lower() for words in map(_split, sentences) if words}
  inside = {word for clause in clauses for word in clause[1:]}
  for clause in clauses:
    run = []
    for word in (*clause, ''):
      if word[:1].isupper() and word.lower() not in FUNCTION_WORDS or (
          run and word[:1].isdigit()):
        run.append(word)
      elif not (run and word in _LINKS):
        while run and run[-1] in _LINKS:
          run.pop()
        if run[1:2] == ['the'] and run[0].lower() in starts:
          run = run[2:]  # As in "After the Seleucid defeat".
        if run and not (len(run) == 1 and run[0] not in inside
                        and run[0].lower() in starts):
          yield re.sub("(?:['’]s|['’])$", '', ' '.join(run))
        run = []
      else:
        run.append(word)


def _phrases(sentences, length):
  """Runs of content words, their last words if they are too long."""
  for clause in _clauses(sentences):
    run = []
    for word in (*clause, ''):
      if word and word.lower() not in FUNCTION_WORDS:
        run.append(word)
        continue
      # A verb or adverb more often ends a clause than begins one.
      if run and not any(map(answers.is_unspaced, run)):
        yield ' '.join(run[-length:] if length else run)
      run = []


def _clauses(sentences):
  for sentence in sentences:
    for clause in _CLAUSE_END.split(sentence):
      words = _split(clause)
      if words:
        yield words


def _split(text):
  """The words of a text as they are written, without marks around them."""
  words = (re.sub(r'^[^\w$€£¥]+|[^\w%]+$', '', word) for word in text.split())
  return [word for word in words if word]


def _words(text):
  return [word.lower() for word in _split(text)]


def _content(text):
  return [word for word in _words(text) if word not in FUNCTION_WORDS]


def _has(test, text):
  return any(map(test, text))


def _is_number(word):
  return word[:1].isdigit() or word[:1] in '$€£¥' and word[1:2].isdigit() or (
      word.lower().split('-')[0] in _NUMBER_WORDS)
