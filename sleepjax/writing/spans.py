"""What in a text is worth knowing: short spans, some of every sentence.

Spans come from a text's form: dates, numbers with what they count, runs of
capitalised words, runs of content words. Where a script has no capitals or the
language is not known, any short run of words is a candidate; where it has no
spaces either, a word begins where the next character is harder to guess than
the last one was (branching entropy, Harris 1955). Which of them are chosen is
said by how much the text tells about them, see `sleepjax.writing.gain`.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data import words as words_lib
from sleepjax.data.sentences import after_marker

FUNCTION_WORDS = words_lib.FUNCTION_WORDS | frozenset(
    'about after against all although among any because been before between '
    'both each every few however i.e if into later least less like many more '
    'most much my near no nor now once one only other our out over own same '
    'she since so some such than then though through thus under until up upon '
    'us very well whether while whose within without your during himself '
    'itself themselves due just even still yet too as cannot'.split())
_MONTH = (r'(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|'
          r'July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|'
          r'Dec(?:ember)?)')
_ERA_NAME = r'\s(?:BCE?|AD|CE)\b'
_ERA = rf'(?:{_ERA_NAME})?'
_DATE = re.compile(
    rf'\b\d{{1,2}}(?:st|nd|rd|th)?\s{_MONTH}\b(?:,?\s\d{{4}}\b)?'
    rf'|\b{_MONTH}\s\d{{1,2}}\b(?:,\s\d{{4}}\b)?|\b{_MONTH}\s\d{{4}}\b'
    rf'|\b\d{{4}}-\d{{2}}-\d{{2}}\b|\d+年(?:\d+月(?:\d+日)?)?'
    rf'|\b(?:\d{{1,2}}(?:st|nd|rd|th)\sand\s)?\d{{1,2}}(?:st|nd|rd|th)\s'
    rf'(?:century|centuries)\b{_ERA}'
    rf'|\b\d{{1,4}}{_ERA_NAME}|\bAD\s\d{{1,4}}\b'
    rf'|\b[12]\d{{3}}(?:s\b|[–-]\d{{2,4}}\b|\b)(?![,.]?\d|%){_ERA}')
_ONES = ('one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|'
         'thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen')
_TENS = 'twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety'
_COUNT = (rf'(?:(?:{_TENS})(?:-(?:{_ONES}))?|(?!one\b)(?:{_ONES}))'
          r'(?:\s(?:hundred|thousand|million|billion))?')
# A number, and the word that it counts; scripts without spaces put it at once.
_NUMBER = re.compile(
    rf'(?:[$€£¥₹]\s?)?(?:(?<![A-Za-z\d.])\d+(?:[.,:]\d+)*|\b{_COUNT}\b)'
    r'(?:\s?%|\s(?:hundred|thousand|million|billion|percent)\b)?')
# What makes a number or a date less exact is part of the answer.
_HEDGE = {
    'number': re.compile(
        r'\b(?:(?:more|less|fewer|greater|higher|lower) than|at (?:least|most)|'
        r'up to|as (?:many|much|few) as|around|about|approximately|roughly|'
        r'nearly|almost|over|under|some)\s$', re.IGNORECASE),
    'date': re.compile(
        r'\b(?:(?:around|about|circa|after|before|early|late)\s(?:in\s)?|mid-)$',
        re.IGNORECASE)}
_RANGE = re.compile(r'\s?[–—]\s?|\s(?:to|or)\s')
_UNIT = re.compile(r'(?:\s|-)([^\W\d_][^\s,;:.!?()।"“”]*)')
_WORD = re.compile(r"[^\W\d_][\w'’.&-]*[\w]|[^\W\d_]")
# An initial's full stop, and small words of names.
_LINK = re.compile(
    r"(?:(?<=\b[A-Z])\.)?\s(?:(?:of|de|du|da|des|del|di|la|le|van|von|der|the|al|"
    r"bin|y|e|et|&)\s){0,2}")
OWNER = re.compile(r"['’]s\b")  # After a name, before what it has.
# English verbs and adverbs by their ends, which are right often enough.
_VERBISH = re.compile(r'(?!family|assembly|supply|hundred).{3,}(?:ed|ly)$')
# Separates phrases: punctuation, and everything else that is no word.
_BREAK = re.compile(r"[^\w\s'’-]+|\s[–—-]\s|\n|\t")
_UNSPACED = re.compile(
    '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff'
    '\uf900-\ufaff]')
_BONUS = {'date': 6.0, 'number': 6.0, 'name': 6.0, 'phrase': 0.0}
_REPEATED = 4.0  # Nats that a span loses which an earlier sentence has given.
_MOST_GAIN = 12.0  # Nats: a long rare name is not worth two facts.


class Span(NamedTuple):
  """A stretch of a sentence that a question can be about.

  text: as it stands there.
  kind: 'date', 'number', 'name' or 'phrase'.
  sentence: number of the sentence.
  start: its first character there.
  """

  text: str
  kind: str
  sentence: int
  start: int

  @property
  def end(self) -> int:
    return self.start + len(self.text)


def is_unspaced(text: str) -> bool:
  """Whether most letters are of a script that puts no space between words."""
  letters = [c for c in text if c.isalpha()]
  return sum(bool(_UNSPACED.match(c)) for c in letters) * 2 > len(letters)


def is_english(text: str) -> bool:
  """Whether function words are as frequent as in English prose."""
  words = re.findall(r'[^\W\d_]+', text.lower())
  return sum(w in FUNCTION_WORDS for w in words) * 6 > len(words)


def worth_knowing(sentences: Sequence[str],
                  gains: Sequence[np.ndarray] | None = None,
                  per_sentence: int = 3) -> list[Span]:
  """Some spans of every sentence, those first that the text tells most about.

  Args:
    sentences: of one text, in order.
    gains: of every sentence, nats for each of its characters; None chooses by
      kind and place alone.
    per_sentence: spans of a sentence of 20 words; longer ones get more, up to
      twice as many, and short ones fewer, but one if there is any.

  Returns:
    spans in the order of the text, none over another.
  """
  whole = ' '.join(sentences)
  english, seen, chosen = is_english(whole), set(), []
  inner = _capitalised_inside(sentences)
  for n, sentence in enumerate(sentences):
    gain = np.zeros(len(sentence)) if gains is None else gains[n]
    found = candidates(sentence, n, english, inner, gain)
    size = (len(re.findall(r'\w', sentence)) / 2 if is_unspaced(sentence)
            else len(sentence.split()))
    most = min(max(1, math.ceil(size * per_sentence / 20)), 2 * per_sentence)
    worth = [min(gain[span.start:span.end].sum(), _MOST_GAIN)
             + _BONUS[span.kind] - _REPEATED * (span.text.casefold() in seen)
             for span in found]
    taken: list[Span] = []
    for i in np.argsort(-np.asarray(worth), kind='stable'):
      span = found[i]
      if taken and english and span.kind == 'phrase' and ' ' not in span.text:
        continue  # A common word, and something else is worth more.
      if len(taken) < most and not any(
          span.start < t.end and t.start < span.end for t in taken):
        taken.append(span)
    seen |= {span.text.casefold() for span in taken}
    chosen += sorted(taken, key=lambda span: span.start)
  return chosen


def candidates(sentence: str, number: int = 0, english: bool = True,
               names: frozenset[str] = frozenset(), gain=None) -> list[Span]:
  """All spans of one sentence that might be asked about; they may overlap.

  Args:
    sentence: the sentence.
    number: which one it is.
    english: whether English function words end a phrase; otherwise all runs of
      one or two words are phrases.
    names: words that are capitalised inside sentences: also names where they
      begin one.
    gain: [characters], to find words in scripts without spaces.
  """
  span = lambda start, end, kind: Span(
      sentence[start:end], kind, number, start)
  found = [span(*m.span(), 'date') for m in _DATE.finditer(sentence)]
  free = lambda start, end: all(
      end <= s.start or s.end <= start for s in found)
  numbers = [m for m in _NUMBER.finditer(
      sentence, after_marker(sentence)) if free(*m.span())]
  found += [span(m.start(), _with_unit(sentence, m, english), 'number')
            for m in numbers]
  if english:
    found = [span(*whole) for whole in _ranges_and_hedges(sentence, found)]
  found += [span(start, end, 'name')
            for start, end in _name_runs(sentence, names) if free(start, end)]
  if is_unspaced(sentence):
    runs = _unspaced_words(sentence, gain)
  elif english:
    runs = _content_runs(sentence)
  else:
    runs = _short_runs(sentence)
  return found + [span(start, end, 'phrase') for start, end in runs
                  if free(start, end)]


def _with_unit(sentence, match, english):
  """Where the number ends with the word that it counts."""
  unit = _UNIT.match(sentence, match.end())
  if unit and not (unit[1].lower() in FUNCTION_WORDS or unit[1][0].isupper()
                   or english and _VERBISH.match(unit[1])):
    more = _UNIT.match(sentence, unit.end())
    # "12 research centers": an English plural may end what is counted.
    if more and english and more[1].endswith('s') and more[1].islower() and (
        not unit[1].endswith('s') and more[1] not in FUNCTION_WORDS):
      return more.end()
    return unit.end()
  if match.end() < len(sentence) and _UNSPACED.match(sentence[match.end()]):
    return match.end() + 1
  return match.end()


def _ranges_and_hedges(sentence, found):
  """(start, end, kind): "100 to 300 miles" is one, "over 40%" all of it."""
  whole: list[tuple[int, int, str]] = []
  money = lambda at: sentence[at] in '$€£¥₹'
  for s in sorted(found, key=lambda s: s.start):
    start, end, kind = whole[-1] if whole else (0, 0, '')
    joint = kind and _RANGE.fullmatch(sentence, end, s.start)
    if joint and (money(start) == money(s.start)
                  or money(start) and 'or' not in joint[0]):
      whole[-1] = start, s.end, 'date' if 'date' in (kind, s.kind) else kind
    else:
      whole.append((s.start, s.end, s.kind))
  for start, end, kind in whole:
    hedge = _HEDGE[kind].search(sentence[:start])
    yield (hedge.start() if hedge else start), end, kind


def _capitalised_inside(sentences):
  """Words that are capitalised where no sentence begins."""
  return frozenset(
      m[0] for s in sentences for m in _WORD.finditer(s)
      if m[0][0].isupper() and re.search(r'[\w,;]\s$', s[:m.start()]))


def _name_runs(sentence, names):
  """(start, end) of runs of capitalised words, linked by of, de, van …"""
  runs = []
  for m in _WORD.finditer(sentence):
    word, first = m[0], not re.search(r'\w', sentence[:m.start()])
    if not (word[0].isupper() or word[0].isdigit()):
      continue
    if word.lower() in FUNCTION_WORDS:
      continue
    if (runs and _LINK.fullmatch(sentence, runs[-1][1], m.start())):
      runs[-1] = runs[-1][0], m.end()
    elif not first or word in names or not word[1:].islower():
      runs.append((m.start(), m.end()))
    else:  # It may begin a name: only with another capital after it.
      rest = _WORD.match(sentence, m.end() + 1)
      if rest and rest[0][0].isupper():
        runs.append((m.start(), m.end()))
  return [(start, _without_owned(sentence, end)) for start, end in runs]


def _without_owned(sentence, end):
  """Where a name ends that has what follows: without its 's. McDonald's may be
  one, before a verb or a mark."""
  owned = _UNIT.match(sentence, end)
  owns = re.search(r"['’]s$", sentence[:end])
  if not owns or not owned or not owned[1][0].islower() or (
      owned[1] in FUNCTION_WORDS or _VERBISH.match(owned[1])):
    return end
  return owns.start()


def _content_runs(sentence):
  """(start, end) of runs of content words, of long ones the last three."""
  runs = []
  for part_start, part in _parts(sentence):
    run: list[re.Match] = []
    for m in [*_WORD.finditer(part), None]:
      if m and not (m[0].lower() in FUNCTION_WORDS
                    or _VERBISH.match(m[0].lower())):
        run.append(m)
        continue
      run = run[-3:]
      if sum(len(w[0]) for w in run) > 3:
        runs.append((part_start + run[0].start(), part_start + run[-1].end()))
      run = []
  return runs


def _short_runs(sentence):
  """(start, end) of every run of one or two words of a part of a sentence."""
  runs = []
  for start, part in _parts(sentence):
    words = [m.span() for m in re.finditer(r"\S+", part)]
    runs += [(start + a, start + b) for a, b in words if b - a > 2
             and any(map(str.isalpha, part[a:b]))]
    runs += [(start + a, start + d) for (a, _), (_, d) in zip(
        words, words[1:])]
  return runs


def _parts(sentence):
  """(start, text) between punctuation marks."""
  start = 0
  for m in [*_BREAK.finditer(sentence), None]:
    end = len(sentence) if m is None else m.start()
    # A break that is a combining mark belongs to its word.
    if m and unicodedata.category(m[0][0]).startswith('M'):
      continue
    if sentence[start:end].strip():
      yield start, sentence[start:end]
    start = m.end() if m else end


def _unspaced_words(sentence, gain):
  """(start, end) of one or two words where no space divides them.

  A word begins where the gain rises; without gains every second character.
  """
  runs = []
  for start, part in _parts(sentence):
    end = start + len(part)
    cuts = [start] + [
        i for i in range(start + 1, end)
        if not unicodedata.category(sentence[i]).startswith('M') and (
            gain[i] > gain[i - 1] if gain is not None and gain.any()
            else (i - start) % 2 == 0)] + [end]
    for width in (1, 2):
      runs += [(a, b) for a, b in zip(cuts, cuts[width:])
               if 2 <= b - a <= 12]
  return runs
