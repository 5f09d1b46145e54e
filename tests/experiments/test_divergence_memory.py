import json

import pytest

from experiments import divergence_memory
from sleepjax.errors import UserError

TINY = ['--rows=12', '--vocab=40', '--embed=4', '--chunk_rows=3']


def test_chunks_need_a_quarter_of_the_memory_at_most_at_full_size():
  """The command's own sizes, planned; nothing of them is allocated."""
  args = divergence_memory._parsed(['divergence_memory'])
  assert args.vocab == 151936
  report = divergence_memory.measure(args)
  assert report['temp_ratio'] <= 1 / 4
  # Both logits at least in one form, those of one chunk in the other.
  logits = 4 * args.vocab
  assert report['direct']['temp'] >= 2 * args.rows * logits
  assert report['chunked']['temp'] >= 2 * args.chunk_rows * logits


def test_writes_what_it_prints(tmp_path, capsys):
  out = tmp_path / 'memory.json'
  divergence_memory.main(['divergence_memory', *TINY, f'--out={out}'])
  report = json.loads(out.read_text())
  assert report['temp_ratio'] == (
      report['chunked']['temp'] / report['direct']['temp'])
  printed = capsys.readouterr().out
  assert f'{report["temp_ratio"]:.3f}' in printed and 'V = 40' in printed
  assert 'resident' not in printed


@pytest.mark.parametrize('form', divergence_memory.FORMS)
def test_both_forms_run(form):
  assert abs(divergence_memory.resident_bytes(form, 12, 4, 40, 3)) < 2**30


@pytest.mark.parametrize('name', ['vocab', 'rows', 'embed', 'chunk_rows'])
def test_sizes_below_one_are_refused(name):
  with pytest.raises(UserError, match=f'--{name}=0 must be at least 1'):
    divergence_memory.main(['divergence_memory', f'--{name}=0'])
