import ctypes
import json
import platform
import resource
import types

import jax
import pytest

from experiments import benchmark
from experiments.bench import contest, peers, phases, work
from experiments.bench.contest import Entry
from sleepjax.errors import UserError
from sleepjax.model import load_pretrained

pytestmark = pytest.mark.slow

# A worker imports this module by its name.
HERE = __name__

TINY = ['--model=tiny-world', '--repeats=2', '--prompt_tokens=8',
        '--new_tokens=4', '--prefix_tokens=32', '--rows=4', '--window=16',
        '--copies=2', '--inner_steps=1', '--pool=2']
FIELDS = {'name', 'tokens_per_second', 'step_seconds', 'compile_seconds',
          'peak_bytes', 'model_flops', 'fraction_of_gemm_peak', 'peer', 'ratio'}


def constant(seconds):
  return lambda: seconds


def holding(mebibytes):
  """First a lot of memory, then as much as said."""
  state = {'first': 400}

  def step():
    return len(bytearray(state.pop('first', mebibytes) * 2**20)) and None

  return step


def faults():
  """Page faults of 64 MiB that are written and freed, all pages small ones."""
  ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE.

  def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b'1') * 2**26
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

  return step


def refusing():
  raise UserError('no such thing; install it.')


def failing():
  return {}['missing']


def test_ratios_are_taken_within_rounds():
  results = contest.compete({
      'a': Entry(HERE, 'constant', {'seconds': 3.0}),
      'b': Entry(HERE, 'constant', {'seconds': 2.0})}, 3)
  assert results['a'].seconds == (3.0, 3.0, 3.0)
  assert contest.ratios(results['a'], results['b']) == (1.5, 1.5, 1.5)
  assert results['a'].compile_seconds == 0.0


def test_peaks_are_those_of_the_rounds():
  results = contest.compete({
      'small': Entry(HERE, 'holding', {'mebibytes': 1}),
      'large': Entry(HERE, 'holding', {'mebibytes': 200})}, 2)
  rise = results['large'].peak_bytes - results['small'].peak_bytes
  assert 190 * 2**20 < rise < 215 * 2**20


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='settings of glibc')
def test_freed_memory_is_kept_by_those_who_ask(monkeypatch):
  monkeypatch.setenv('SLEEPJAX_KEEP_PAGES', '1')
  results = contest.compete({
      'kept': Entry(HERE, 'faults'),
      'given back': Entry(HERE, 'faults', {}, keep_pages=False)}, 3)
  assert results['kept'].median < 1000
  assert min(results['given back'].seconds) > 12000


def test_failures_come_with_the_name():
  with pytest.raises(UserError, match='broken: no such thing; install it'):
    contest.compete({'broken': Entry(HERE, 'refusing')}, 1)
  with pytest.raises(RuntimeError, match='(?s)broken failed.*missing'):
    contest.compete({'broken': Entry(HERE, 'failing')}, 1)


def test_writes_every_field(tmp_path, capsys):
  names = ['decode_b1', 'scoring_shared_prefix']
  benchmark.main(['benchmark', f'--workdir={tmp_path}',
                  f'--phases={",".join(names)}', *TINY])
  entries = json.loads((tmp_path / 'benchmark.json').read_text())
  assert [entry['name'] for entry in entries] == names
  printed = capsys.readouterr().out
  for entry in entries:
    assert FIELDS <= set(entry) and entry['name'] in printed
    for field in FIELDS - {'name', 'peer', 'ratio'}:
      assert entry[field] > 0
  assert entries[0]['peer'] is entries[0]['ratio'] is None
  assert entries[1]['peer'] == 'the prefix in every row'
  assert entries[1]['ratio'] > 0


SIZES = work.Sizes(
    prompt_tokens=8, new_tokens=4, prefix_tokens=32, rows=4, window=16,
    copies=2, inner_steps=1, pool=2)


@pytest.mark.parametrize('build', [
    phases.seeding_step, phases.train_step, phases.growth_and_step])
def test_phases_compile_in_their_first_step_alone(build):
  """So a sleep costs the same however many came before: growth opens slot
  after slot, here past the end of its pool."""
  step = build('tiny-world', 'float32', SIZES)
  step()
  compiled = []
  listener = lambda event, *_, **__: compiled.append(event)
  jax.monitoring.register_event_duration_secs_listener(listener)
  try:
    for _ in range(3):
      step()
  finally:
    jax.monitoring.unregister_event_duration_listener(listener)
  assert not [event for event in compiled if 'backend_compile' in event]


def test_work_of_every_phase():
  """Against counts by hand, in products of one token through all layers."""
  config = load_pretrained('tiny-world').config
  sizes = work.Sizes(prompt_tokens=6, new_tokens=4, prefix_tokens=10, rows=4,
                      window=5, slot_rank=2, copies=3, inner_steps=2, pool=2)
  c = config
  layers = 2 * c.num_layers * (
      c.embed_dim * c.head_dim * (2 * c.num_heads + 2 * c.num_kv_heads)
      + 3 * c.embed_dim * c.mlp_dim)
  slot = 2 * 3 * c.num_layers * c.embed_dim * sizes.slot_rank
  head = 2 * c.embed_dim * c.vocab_size
  products = lambda phase: (
      lambda work: work.flops - work.attention)(
          work.work_of(phase, config, sizes))
  assert products('prefill') == 10 * layers
  assert products('decode_b8') == 8 * ((6 + 3) * layers + 4 * head)
  assert products('scoring_shared_prefix') == 4 * 10 * layers
  assert products('train_step') == 3 * 4 * 5 * (layers + head)
  update = 4 * 10 * (2 * layers + 3 * slot) + 4 * 4 * 3 * head
  assert products('seeding_update') == update
  assert products('distillation_update') == update + 4 * 10 * layers
  assert products('growth') == update + 4 * 10 * 2 * slot
  assert products('seeding_step') == update + 4 * (
      (9 + 10) * layers + 9 * slot + 4 * head)
  assert products('dream_inner') == 3 * (
      2 * (10 * (2 * layers + 3 * slot) + 4 * 2 * head)
      + 4 * (10 * (layers + slot) + 4 * head))
  assert {phase for phase in benchmark.PHASES} == {
      'prefill', 'decode_b1', 'decode_b8', 'decode_b32',
      'scoring_shared_prefix', 'seeding_update', 'distillation_update',
      'seeding_step', 'dream_inner', 'train_step', 'growth'}
  for phase in benchmark.PHASES:
    assert work.work_of(phase, config, sizes).attention > 0


@pytest.mark.parametrize('argument, message', [
    ('--phases=decode_b2', "no phase 'decode_b2'; expected some of prefill"),
    ('--without=TRL', "no rival 'TRL'; expected some of transformers"),
    ('--repeats=0', 'at least 1'), ('--rows=6', 'multiple of 4'),
    ('--dtype=int8', 'dtype')])
def test_wrong_arguments_are_refused(tmp_path, argument, message):
  with pytest.raises(UserError, match=message):
    benchmark.main(['benchmark', f'--workdir={tmp_path}', argument])


def test_peers_compute_where_jax_does(monkeypatch):
  torch = types.SimpleNamespace(
      __version__='2', cuda=types.SimpleNamespace(is_available=lambda: False))
  assert peers._device(torch) == 'cpu'
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  with pytest.raises(UserError, match='on a GPU, where this torch .* does not'):
    peers._device(torch)
  torch.cuda.is_available = lambda: True
  assert peers._device(torch) == 'cuda'


def test_torch_trains_on_as_many_tokens_as_we_do(monkeypatch):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
      vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
      num_attention_heads=2, num_key_value_heads=2))
  read, forward = [], model.forward

  def watched(**inputs):
    out = forward(**inputs)
    read.append((inputs['input_ids'], out))
    return out

  monkeypatch.setattr(model, 'forward', watched)
  monkeypatch.setattr(peers, '_model', lambda *_: (torch, model))
  peers.train_step('', 'float32', SIZES)()
  (ids, out), = read
  assert ids.shape == (SIZES.rows, SIZES.window)
  whole = peers._ids(torch, 64, SIZES.rows, SIZES.window + 1)
  assert (ids == whole[:, :-1]).all()
  want = torch.nn.functional.cross_entropy(
      out.logits.reshape(-1, 64), whole[:, 1:].reshape(-1))
  torch.testing.assert_close(out.loss, want)


def test_absent_peers_are_named(tmp_path):
  try:
    import torch  # noqa: F401
  except ImportError:
    with pytest.raises(UserError, match=r"torch.*pip install '.\[peers\]'"):
      benchmark.main(['benchmark', f'--workdir={tmp_path}', '--peers',
                      '--phases=prefill', *TINY])
