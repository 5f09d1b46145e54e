"""Reads damaged and malicious files, many of them.

  python -m tests.fuzz_files --cases=10000 --seed=0

Each case damages one file of a small model, of a checkpoint, of questions or of
what is read, at random but repeatably, and reads it as the commands do. It has
to be read, or refused by a UserError, within TIME_LIMIT seconds and
MEMORY_LIMIT of additional memory. The cases run in a process of their own, so
that a crash is a finding, too. Prints what was found and ends with status 1 if
that is anything.
"""

import argparse
import collections
import copy
import json
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import jax
import numpy as np

from sleepjax import model as load
from sleepjax.data import documents, own_data
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.growth import night_files
from sleepjax.models import export, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.night_records import NightRecord
from sleepjax.training import checkpoints
from tests import gguf_files

TIME_LIMIT = 20  # Seconds; a case takes milliseconds on an idle machine.
MEMORY_LIMIT = 512 * 2**20  # Bytes; the files have some tens of kB.
SHARD = 'model-00001-of-00001.safetensors'
CONFIG = ModelConfig(
    vocab_size=300, num_layers=2, embed_dim=8, mlp_dim=12, num_heads=2,
    num_kv_heads=1, head_dim=4, max_context=32)
_NUMBERS = (0, 1, -1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**64 - 1)
_VALUES = (None, True, False, 0, -1, 3, 2**31, 2**63, 10**30, 10**400, 1e308,
           0.5, '', 'x', 'a/../../b', '../escape', [], [1], ['x', None], {},
           {'a': 1}, '{{ 1/0 }}', '{{ messages[99].x.y }}', '{% for %}',
           "{{ ''.__class__.__mro__ }}", '\ud800', 'é' * 50)


def parameters(config):
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(
      np.float32), transformer.abstract_params(config))


def _tokenizer():
  return Tokenizer.trained_on(
      'a tower, a lighthouse, another tower\n' * 9, CONFIG.vocab_size)


def write_gguf_model(path: pathlib.Path, metadata=()) -> None:
  """A file with its tokenizer; metadata as `write_gguf` takes it."""
  tokenizer = _tokenizer()
  ids = tokenizer.backend.get_vocab()
  merges = json.loads(tokenizer.backend.to_str())['model']['merges']
  gguf_files.write_gguf(path, CONFIG, parameters(CONFIG), [
      *gguf_files.vocabulary(
          sorted(ids, key=ids.get), merges, 'gpt2', 'smollm', 0,
          add_chat_template=tokenizer.chat_template), *metadata])


def write_originals(folder: pathlib.Path) -> None:
  """One small, valid example of everything that is read."""
  tokenizer, params = _tokenizer(), parameters(CONFIG)
  export.export_hf(CONFIG, params, tokenizer, folder / 'hf')
  (folder / 'hf/model.safetensors').rename(folder / 'hf' / SHARD)
  (folder / 'hf/model.safetensors.index.json').write_text(
      json.dumps({'weight_map': {'model.norm.weight': SHARD}}))
  (folder / 'gguf').mkdir()
  write_gguf_model(folder / 'gguf/model.gguf')
  checkpoints.save_model(
      folder / 'checkpoint', CONFIG, params, tokenizer, {'nights': 1})
  # What models of older and newer tools have beside tokenizer.json.
  end = tokenizer.special_tokens['eos_token']
  token = {'content': end, 'lstrip': False, 'special': True}
  for name, more in (
      ('hf/special_tokens_map.json', {
          'eos_token': token, 'additional_special_tokens': [end]}),
      ('hf/added_tokens.json', {end: 0}),
      ('checkpoint/tokenizer_config.json', {
          'added_tokens_decoder': {'0': token}})):
    path = folder / name
    contents = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**contents, **more}))
  (folder / 'night').mkdir()
  slot = {name: np.ones((1, *shape), np.float32) for name, shape in (
      ('gate', (8, 2)), ('up', (8, 2)), ('down', (2, 8)))}
  night_files.write_night(night_files.SavedNight(NightRecord(
      1, 0, layers=(1,), questions=(('Who?', 'Ann'),), learnt_on=('a',),
      sha256=night_files.slot_sha256(slot, (1,))), slot, 'base'),
                          folder / 'night/night.safetensors')
  (folder / 'questions').mkdir()
  (folder / 'questions/questions.json').write_text(json.dumps(
      [{'question': f'Who built tower {i}?', 'answer': 'Ann'}
       for i in range(4)]))
  (folder / 'own').mkdir()
  for name, text in OWN.items():
    (folder / 'own' / name).write_text(text)


# Of every form of text and of rows.
OWN = {
    'a.txt': 'A tower\n\nIt was lit by Ann.', 'b.md': (
        '---\ntitle: B\n---\n# B\n\n* [a](b) `c`\n\n|d|e|\n|-|-|\n|f|g|\n'),
    'c.html': '<meta charset="latin1"><table><tr><th>a<th>b<tr><td>c<td>d'
              '</table><ol start="2"><li><pre>e</pre></ol><p hidden>f',
    'd.jsonl': '{"text": "One."}\n{"prompt": "a", "privileged_context": "b"}',
    'e.json': json.dumps({'data': [{'title': 'a', 'paragraphs': [{
        'context': 'b', 'qas': [{'question': 'c', 'answers': [
            {'text': 'd'}]}]}]}]}),
    'f.csv': 'a;b\n"c";d\ne;f\n'}


# (folder, files that are damaged, how it is read).
def _read_model(path):
  model = load.load_pretrained(str(path))
  ChatPrompts(model.tokenizer).closed_book('Who?')


READERS = {
    'gguf': (('model.gguf',), lambda folder: _read_model(
        folder / 'model.gguf')),
    'hf': (('config.json', SHARD, 'tokenizer.json',
            'tokenizer_config.json', 'generation_config.json',
            'special_tokens_map.json', 'added_tokens.json',
            'model.safetensors.index.json'), _read_model),
    'checkpoint': (('model.json', 'tokenizer_config.json'),
                   lambda folder: (checkpoints.describe(folder),
                                   Tokenizer.from_folder(folder))),
    'night': (('night.safetensors',), lambda folder: night_files.read_night(
        folder / 'night.safetensors')),
    'own': ((*OWN,), own_data.read),
    'questions': (('questions.json',), lambda folder: documents.read_questions(
        folder / 'questions.json')),
}


def damaged_bytes(chance: random.Random, data: bytes) -> bytes:
  """A few bytes changed, moved, cut, or replaced by telling numbers."""
  data = bytearray(data)
  for _ in range(chance.randint(1, 4)):
    at = chance.randrange(len(data)) if data else 0
    # Headers decide what is read; half of the damage goes there.
    at = min(at, chance.choice((len(data), 64, 512)))
    kind = chance.randrange(6)
    if kind == 0 and data:
      at = min(at, len(data) - 1)
      data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
      number = chance.choice(_NUMBERS) % 2**64
      size = chance.choice((4, 8))
      data[at:at + size] = (number % 2**(8 * size)).to_bytes(size, 'little')
    elif kind == 2:
      del data[at:at + chance.choice((1, 8, 100))]
    elif kind == 3:
      data[at:at] = chance.randbytes(chance.choice((1, 8, 100)))
    elif kind == 4:
      data[at:at] = data[at:at + chance.choice((8, 64, 1000))]
    elif chance.random() < 0.3:
      del data[at:]
  return bytes(data)


def damaged_json(chance: random.Random, data: bytes) -> bytes:
  """Values and keys of a JSON file replaced by unlikely ones."""
  if chance.random() < 0.02:
    depth = chance.choice((900, 100_000))
    return b'[' * depth + b']' * depth
  tree = [json.loads(data)]
  for _ in range(chance.randint(1, 3)):
    parent = chance.choice(_containers(tree))
    keys = list(parent) if isinstance(parent, dict) else range(len(parent))
    if not keys:
      continue
    key, kind = chance.choice(keys), chance.randrange(6)
    if kind == 0 and parent is not tree:
      del parent[key]
    elif kind == 1 and isinstance(parent, dict):
      parent[chance.choice(('x', '', '../y', key + ' '))] = parent.pop(key)
    else:
      parent[key] = copy.deepcopy(chance.choice(_VALUES))
  text = json.dumps(tree[0] if tree else None)
  return text.encode()


def _containers(node):
  children = node.values() if isinstance(node, dict) else node
  return [node] + [found for child in children
                   if isinstance(child, dict | list)
                   for found in _containers(child)]


def run_case(originals: pathlib.Path, scratch: pathlib.Path, seed: int,
             case: int) -> str:
  """'read' or 'refused'; anything else is raised."""
  chance = random.Random(f'{seed} {case}')
  kind = chance.choice(('gguf', 'gguf', 'hf', 'hf', 'hf', 'checkpoint',
                        'night', 'questions', 'own'))
  files, read = READERS[kind]
  name = chance.choice(files)
  folder = scratch / kind
  if not folder.exists():
    shutil.copytree(originals / kind, folder)
  original = (originals / kind / name).read_bytes()
  damage = damaged_bytes
  if name.endswith('.json') and chance.random() < 0.8:
    damage = damaged_json
  (folder / name).write_bytes(damage(chance, original))
  signal.alarm(TIME_LIMIT)
  try:
    read(folder)
    return 'read'
  except UserError:
    return 'refused'
  finally:
    signal.alarm(0)
    (folder / name).write_bytes(original)


def _too_long(*_):
  raise TimeoutError(f'more than {TIME_LIMIT} s')


def work(originals: pathlib.Path, seed: int, first: int, last: int) -> None:
  """All cases; a line 'number outcome' of each."""
  signal.signal(signal.SIGALRM, _too_long)
  with tempfile.TemporaryDirectory() as scratch:
    for kind, (_, read) in READERS.items():  # Imports and caches come first.
      read(originals / kind)
    size = int(pathlib.Path('/proc/self/statm').read_text().split()[0])
    limit = size * resource.getpagesize() + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for case in range(first, last):
      try:
        outcome = run_case(originals, pathlib.Path(scratch), seed, case)
      except BaseException as e:  # Also panics of extension modules.
        outcome = f'FOUND {type(e).__name__}: {" ".join(str(e).split())[:200]}'
      print(case, outcome, flush=True)


def fuzz(cases: int, seed: int) -> collections.Counter:
  """outcome -> number, over all cases; findings are printed as they come."""
  found = collections.Counter()
  with tempfile.TemporaryDirectory() as folder:
    originals = pathlib.Path(folder)
    write_originals(originals)
    first = 0
    while first < cases:
      process = subprocess.Popen(
          [sys.executable, '-m', 'tests.fuzz_files', f'--work={folder}',
           f'--seed={seed}', f'--first={first}', f'--cases={cases}'],
          cwd=pathlib.Path(__file__).parents[1], stdout=subprocess.PIPE,
          stderr=subprocess.DEVNULL, text=True)
      started = first
      for line in process.stdout:
        number, outcome = line.rstrip('\n').split(' ', 1)
        first = int(number) + 1
        found[outcome.split(':')[0]] += 1
        if outcome.startswith('FOUND'):
          print(f'case {number}: {outcome}', flush=True)
      status = process.wait()
      if status:
        if first == started and status == 1:
          raise RuntimeError('the worker does not start; run it by hand: '
                             + ' '.join(process.args))
        print(f'case {first}: FOUND the process ended with status {status}')
        found[f'FOUND status {status}'] += 1
        first += 1
  return found


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--cases', type=int, default=10_000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--first', type=int, default=0, help=argparse.SUPPRESS)
  parser.add_argument('--work', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.work:
    work(pathlib.Path(args.work), args.seed, args.first, args.cases)
    return
  found = fuzz(args.cases, args.seed)
  print(dict(found))
  sys.exit(any(outcome.startswith('FOUND') for outcome in found))


if __name__ == '__main__':
  main()
