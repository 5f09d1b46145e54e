"""How a text file is read, by whatever command.

One rule of encodings: UTF-8, or UTF-16 and UTF-32 that begin with a byte order
mark, or else what a file itself says that it is. Anything else is refused, with
a guess at what it is: a wrong guess would be learnt without a word.
"""

import gzip
import io
import os
import pathlib
import re
import stat
import unicodedata
import zlib
from collections.abc import Callable

from sleepjax.errors import UserError

_MOST_BYTES = 2**28  # 50,000 readings of an ordinary context, and a machine's.
_GUESSED_FROM = 2**16
_HALF = re.compile(r'[\ud800-\udfff]')
# Longer ones first: that of UTF-16 begins that of UTF-32.
_MARKS = ((b'\xff\xfe\0\0', 'utf-32'), (b'\0\0\xfe\xff', 'utf-32'),
          (b'\xff\xfe', 'utf-16'), (b'\xfe\xff', 'utf-16'))
# How files begin that people take for text, what they are, and what makes text
# of one.
_FORMATS = (
    (b'%PDF-', 'a PDF', 'pdftotext FILE FILE.txt'),
    (b'PK\3\4', 'a zip file, as .docx, .odt and .epub are',
     'pandoc FILE -t plain -o FILE.txt'))


def read_text(path: str | os.PathLike, expected: str, strip: bool = True,
              encoding: Callable[[bytes], str | None] = lambda content: None
              ) -> str:
  r"""The text of a file, newlines as \n.

  Args:
    path: a file, or with `.gz` a compressed one.
    expected: what it should be, for messages.
    strip: takes off the white space around it.
    encoding: finds the one that a file says it has; it is tried where the rule
      of this module fails.

  Raises:
    UserError: there is no such file, or it holds no readable text.
  """
  content = read_bytes(path, expected)
  try:
    text = decode(content, path, expected)
  except UserError:
    if (declared := encoding(content)) is None:
      raise
    text = _decode_as(declared, content, path, expected)
  text = text.replace('\r\n', '\n').replace('\r', '\n')
  if not text.strip():
    raise UserError(f'{path}: the file is empty; expected {expected}.')
  text = readable(text, str(path))
  return text.strip() if strip else text


def read_bytes(path: str | os.PathLike, expected: str) -> bytes:
  """What a file holds, decompressed where its name ends in `.gz`.

  Raises:
    UserError: it cannot be read, or has more than 256 MiB.
  """
  path = pathlib.Path(path).expanduser()
  try:
    # Devices have no end; pipes do.
    kind = os.stat(path).st_mode
    if stat.S_ISDIR(kind):
      raise UserError(f'{path}: is a folder; expected {expected}.')
    if stat.S_ISBLK(kind):
      raise UserError(f'{path}: is a device; expected {expected}.')
    with path.open('rb') as file:
      content = file.read(_MOST_BYTES + 1)
      if path.suffix == '.gz':
        with gzip.open(io.BytesIO(content)) as unpacked:
          content = unpacked.read(_MOST_BYTES + 1)
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; expected {expected}.') from None
  except (OSError, ValueError, EOFError, zlib.error) as error:
    if isinstance(error, UserError):
      raise
    reason = getattr(error, 'strerror', None) or error
    raise UserError(
        f'{path}: cannot be read ({reason}); expected {expected}.') from None
  if len(content) > _MOST_BYTES:
    raise UserError(
        f'{path}: has more than {_MOST_BYTES >> 20} MiB; expected {expected}. '
        'Split it.')
  return content


def decode(content: bytes, path: str | os.PathLike, expected: str) -> str:
  """Text from bytes by the rule of this module.

  Raises:
    UserError: they are none, or of another encoding; the message has the place.
  """
  for mark, what, command in _FORMATS:
    if content.startswith(mark):
      raise UserError(f'{path}: is {what}; expected {expected}. Make text of '
                      f'it first, for example with {command}.')
  encoding = next((name for mark, name in _MARKS if content.startswith(mark)),
                  'utf-8-sig')
  try:
    text = content.decode(encoding)
  except UnicodeDecodeError as error:
    line = content.count(b'\n', 0, error.start) + 1
    raise UserError(
        f'{path}, line {line}: not {encoding.removesuffix("-sig").upper()} '
        f'text (byte {error.start}); expected {expected}. {_advice(content)}'
    ) from None
  if '\0' in text:
    raise UserError(
        f'{path}: a binary file (it has a NUL), or UTF-16 without a byte order '
        f'mark; expected {expected}.')
  return text


def _decode_as(encoding, content, path, expected):
  try:
    text = content.decode(encoding)
  except (ValueError, LookupError):  # Not every codec is one of text.
    text = '\0'
  if '\0' in text:
    raise UserError(f'{path}: says that it is {encoding}, and is not; expected '
                    f'{expected}. {_advice(content)}')
  return text


def readable(text: str, where: str) -> str:
  """The text itself.

  Raises:
    UserError: it has half a character, which no encoding knows, or none that
      can be seen.
  """
  half = _HALF.search(text)
  if half is not None:
    raise UserError(
        f'{where}: character {half.start()} is half a character '
        f'(U+{ord(half[0]):04X}, a surrogate alone): write it whole or leave '
        'it out.')
  if not any(unicodedata.category(c)[0] not in 'CZ' for c in text):
    raise UserError(f'{where} is empty: it has no character that can be seen.')
  return text


def _advice(content):
  # Half a tenth of a second to import, and only this message needs it.
  import charset_normalizer

  guess = charset_normalizer.from_bytes(content[:_GUESSED_FROM]).best()
  if guess is None:
    return 'Convert the file to plain UTF-8 text first.'
  return (f'It may be {guess.encoding}: convert it first, for example with '
          f'iconv -f {guess.encoding} -t utf-8.')
