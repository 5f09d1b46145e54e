"""Long texts, read a piece at a time."""

import gzip
import io
import itertools
import tarfile
import tracemalloc

import numpy as np
import pytest

from sleepjax.data import text_stream
from sleepjax.errors import UserError

LINES = ''.join(f'Line {n} of ä text.\r\n' for n in range(9000)) + 'The end'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The same text as a file, compressed, and as two files of an archive."""
  folder = tmp_path_factory.mktemp('texts')
  data = LINES.encode()
  (folder / 'a.txt').write_bytes(data)
  (folder / 'b.txt.gz').write_bytes(gzip.compress(data))
  with tarfile.open(folder / 'c.tar.xz', 'w:xz') as archive:
    for name, part in (('1.txt', data[:90_000]), ('2.txt', data[90_000:])):
      entry = tarfile.TarInfo(name)
      entry.size = len(part)
      archive.addfile(entry, io.BytesIO(part))
  return folder


def test_pieces_are_the_text(folder):
  text = LINES.replace('\r\n', '\n')
  for name in ('a.txt', 'b.txt.gz', 'c.tar.xz'):
    pieces = list(text_stream.pieces(folder / name))
    assert ''.join(pieces) == text
    assert len(pieces) > 2 and max(map(len, pieces)) < 2**16 + 40
  assert all(piece.endswith('\n') for piece in list(
      text_stream.pieces(folder / 'a.txt'))[:-1])


def test_windows_go_on_anywhere(folder, byte_tokenizer):
  read = lambda **first: list(text_stream.windows(
      byte_tokenizer, folder / 'a.txt', 1000, **first))
  ids = np.array(byte_tokenizer.encode(LINES.replace('\r\n', '\n')), np.int32)
  whole = read()
  np.testing.assert_array_equal(
      np.concatenate(whole), ids[:len(ids) // 1000 * 1000])
  np.testing.assert_array_equal(read(first=150_000), whole[150:])
  np.testing.assert_array_equal(read(first=7)[3], ids[3007:4007])
  assert read(first=len(ids)) == []


def test_a_text_is_never_whole_in_memory(tmp_path, byte_tokenizer):
  """Eight million characters; a window needs less than an eighth of them."""
  path = tmp_path / 'long.txt'
  path.write_text('0123456 ' * 2**20)
  tracemalloc.start()
  for window in itertools.islice(
      text_stream.windows(byte_tokenizer, path, 512), 3):
    assert len(window) == 512
  _, most = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert most < 2**23


def test_what_cannot_be_read_is_named(tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  (tmp_path / 'latin.txt').write_bytes('ä'.encode('latin-1'))
  (tmp_path / 'cut.tar').write_bytes(b'no archive')
  for name in ('latin.txt', 'cut.tar'):
    assert text_stream.find(name) == tmp_path / name
    with pytest.raises(UserError, match=f'{name}: cannot be read as UTF-8'):
      list(text_stream.pieces(tmp_path / name))
  with pytest.raises(UserError, match='other.txt: no such file, and none in'):
    text_stream.find('other.txt')
