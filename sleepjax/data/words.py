"""Words of a text in any script, also in those that put no space between them.

Chinese, Japanese, Thai, Lao, Khmer and Burmese have no mark between words, and
finding them takes a dictionary. Here a character of theirs, with the marks that
it carries, counts as a word where one is needed to cut at, and two neighbours
where one is needed to compare.
"""

import re
import unicodedata

import numpy as np

# English words that say little about what a text is about.
FUNCTION_WORDS = frozenset(
    'a an the of in on at to for from by with as and or but not is are was '
    'were be been being it its this that these those he she they his her '
    'their them i you we which who what when where how has have had do does '
    'did can could will would may there also'.split())

_THAI_LIKE = '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff'
_HAN_LIKE = ('\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'
             '\uff66-\uff9f\U00020000-\U0003ffff')


def _mark_ranges():
  r"""Marks above, below and behind letters, which \w does not match."""
  marks = [n for n in range(0x300, 0x20000)
           if unicodedata.category(chr(n))[0] == 'M']
  starts = [n for n, last in zip(marks, [0, *marks]) if n - last > 1]
  ends = [n for n, after in zip(marks, [*marks[1:], 0x20000]) if after - n > 1]
  return ''.join(f'{chr(a)}-{chr(b)}' for a, b in zip(starts, ends))


_MARKS = _mark_ranges() + '\u200c\u200d'
_SPACED = rf'[^\s{_THAI_LIKE}{_HAN_LIKE}]+'
_UNIT = re.compile(rf'{_SPACED}|\S[{_MARKS}\u0e33\u0eb3]*')
_RUN = re.compile(rf'[\w{_MARKS}]+')
_PART = re.compile(rf'[{_THAI_LIKE}{_HAN_LIKE}]+|[^{_THAI_LIKE}{_HAN_LIKE}]+')
_HAN = re.compile(rf'[{_HAN_LIKE}]')
_THAI = re.compile(rf'[{_THAI_LIKE}]')
_LETTER = re.compile(r'[^\W\d_]')


def is_han_like(character: str) -> bool:
  """Whether it is Chinese or Japanese, whose lines join without a space."""
  return bool(_HAN.match(character))


def is_thai_like(text: str) -> bool:
  """Whether most of a text is in a script whose sentences have no end mark."""
  return 2 * len(_THAI.findall(text)) > len(text)


def has_letters(text: str) -> bool:
  """Whether a text has a letter of any script."""
  return bool(_LETTER.search(text))


def word_ends(text: str) -> list[int]:
  """Where the words of a text end: places where it may be cut."""
  return [match.end() for match in _UNIT.finditer(text)]


def comparable_words(text: str) -> list[str]:
  """Lower-case words and numbers; of scripts without spaces, pairs of letters.

  >>> comparable_words('Who lit it in 1871?')
  ['who', 'lit', 'it', 'in', '1871']
  """
  found = []
  for run in _RUN.findall(text.lower()):
    for part in _PART.findall(run):
      if len(part) > 1 and (_HAN.match(part) or _THAI.match(part)):
        found += [part[i:i + 2] for i in range(len(part) - 1)]
      else:
        found.append(part)
  return found


def content_words(text: str) -> set[str]:
  """Lower-case words and numbers of a text without English function words.

  Of scripts without spaces, pairs of letters.
  """
  return set(comparable_words(text)) - FUNCTION_WORDS


def content_free_tokens(tokenizer) -> np.ndarray:
  """[V] bool: punctuation, spaces and English function words."""
  texts = (tokenizer.decode([i]).strip().lower()
           for i in range(tokenizer.vocab_size))
  return np.array([not any(c.isalnum() for c in text)
                   or text in FUNCTION_WORDS for text in texts])
