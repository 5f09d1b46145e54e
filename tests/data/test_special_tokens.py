"""Tokens and ends of text, in every place where a model may declare them.

The ids are those of transformers 5.24 (AutoTokenizer) for the same files.
"""

import json
import pathlib
import shutil

import gguf
import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from sleepjax.data import special_tokens
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.model import load_pretrained

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
END, START, STOP = SPECIAL = '<|endoftext|>', '<|im_start|>', '<|im_end|>'
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}")
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def backend_of(added=(), entries=()):
  """One token a byte (ids 0 to 255), then entries, of which some are added."""
  backend = tokenizers.Tokenizer(models.BPE(
      vocab={c: i for i, c in enumerate([*BYTES, *entries])}, merges=[]))
  backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  backend.decoder = decoders.ByteLevel()
  backend.add_special_tokens(list(added))
  return backend


@pytest.fixture
def model(tmp_path):
  """Writes a folder; contents of its files by name."""
  def write(backend, settings=None, **files):
    backend.save(str(tmp_path / 'tokenizer.json'))
    files['tokenizer_config'] = settings or {}
    for name, contents in files.items():
      (tmp_path / f'{name}.json').write_text(json.dumps(contents))
    return Tokenizer.from_folder(tmp_path)
  return write


def flags(text, **true):
  names = ('single_word', 'lstrip', 'rstrip', 'normalized', 'special')
  return {'content': text, **dict.fromkeys(names, False), **true}


@pytest.mark.parametrize('entries, settings, files', [
    ((), {'added_tokens_decoder': {
        '258': flags(STOP, special=True), '257': flags(START, special=True)}},
     {}),
    ((), {}, {'added_tokens': {STOP: 258, START: 257}}),
    ((START, STOP), {'additional_special_tokens': [START, STOP]}, {}),
    ((), {'extra_special_tokens': {'turn_token': START, 'end_token': STOP}},
     {}),
    ((START, STOP), {}, {'special_tokens_map': {
        'bos_token': START, 'eos_token': flags(STOP)}}),
    ((START, STOP), {}, {}),  # Only the template writes them.
], ids=['added_tokens_decoder', 'added_tokens.json', 'additional', 'extra',
        'special_tokens_map.json', 'vocabulary'])
def test_chat_tokens_are_one_token(model, entries, settings, files):
  tokenizer = model(
      backend_of([END], [END, *entries]),
      {'eos_token': END, 'chat_template': CHATML, **settings}, **files)
  ids = tokenizer.encode(f'{START}a{STOP}')
  assert ids == [257, *tokenizer.encode('a'), 258]
  # Not special: of added_tokens.json, what has no role.
  hidden = 'added_tokens' not in files
  assert tokenizer.decode(ids) == ('a' if hidden else f'{START}a')
  assert 258 in tokenizer.stop_ids


def test_flags_of_a_declaration_count(model):
  tokenizer = model(backend_of([END, STOP], [END, STOP]), {
      'eos_token': END, 'added_tokens_decoder': {
          '257': flags(STOP, lstrip=True)}})
  assert tokenizer.encode(f'a \n{STOP}') == [*tokenizer.encode('a'), 257]


def test_a_list_makes_older_files_obsolete(model):
  files = {'special_tokens_map': {'eos_token': STOP},
           'added_tokens': {STOP: 7}}
  settings = {'eos_token': END, 'added_tokens_decoder': {
      '257': flags(STOP, special=True)}}
  tokenizer = model(backend_of([END], [END]), settings, **files)
  assert tokenizer.special_tokens == {'eos_token': END}
  files['added_tokens'][STOP] = 257
  del settings['added_tokens_decoder']
  tokenizer = model(backend_of([END], [END]), settings, **files)
  assert tokenizer.special_tokens == {'eos_token': STOP}


@pytest.mark.parametrize('index, message', [
    (7, "has the id 7; .* its id is 257, and 7 is '"),
    (300, 'has the id 300; .* its id is 257')])
def test_ids_that_contradict_are_refused(model, index, message):
  for files in ({'settings': {'added_tokens_decoder': {
      str(index): flags(START)}}}, {'added_tokens': {START: index}}):
    with pytest.raises(UserError, match=f"'{START}'".replace('|', r'\|')
                       + f' {message}'):
      model(backend_of([END], [END]), **files)


@pytest.mark.parametrize('settings', [
    {'added_tokens_decoder': [START]}, {'added_tokens_decoder': {'a': START}},
    {'added_tokens_decoder': {'257': 3}}, {'extra_special_tokens': 'x'},
    {'extra_special_tokens': [[START]]}, {'pad_token': {'content': None}},
    {'eos_token': '\ud800'}, {'eos_token': flags(START, lstrip=1)}])
def test_declarations_of_another_form_are_refused(model, settings):
  with pytest.raises(UserError):
    model(backend_of([END], [END]), {'eos_token': END, **settings})


@pytest.mark.parametrize('files, stops', [
    ({'config': {'eos_token_id': [257, 256]}}, (257, 256)),
    ({'config': {'eos_token_id': 256}}, (256,)),
    ({'config': {'eos_token_id': 256},
      'generation_config': {'eos_token_id': [257]}}, (257,)),
    ({'config': {'eos_token_id': 256},
      'generation_config': {'eos_token_id': []}}, (256,)),
    ({'special_tokens_map': {'eos_token': STOP}}, (257,)),
    ({'settings': {'eos_token': flags(STOP)}}, (257,)),
    ({'settings': {'eos_token': END},
      'generation_config': {'eos_token_id': [257, 256]}}, (256, 257)),
    # The end of a turn, which only the template knows.
    ({'settings': {'eos_token': END, 'chat_template': CHATML}}, (256, 257))])
def test_ends_of_text(model, files, stops):
  tokenizer = model(backend_of([END, STOP], [END, STOP]), **files)
  assert tokenizer.stop_ids == stops
  assert tokenizer.decode(stops) == ''


def test_a_model_without_an_end_is_refused(model):
  with pytest.raises(UserError, match='nothing says which token ends a text'):
    model(backend_of([END], [END]))


def test_a_token_without_a_row_that_no_text_needs(model):
  tokenizer = model(
      backend_of(SPECIAL, SPECIAL),
      {'eos_token': STOP, 'pad_token': '[PAD]', 'chat_template': CHATML})
  assert tokenizer.encode('[PAD]') == [259]
  assert tokenizer.within(260, 'm') is tokenizer
  within = tokenizer.within(259, 'm')
  assert (within.vocab_size, within.pad_id) == (259, 258)
  assert within.special_tokens == {'eos_token': STOP}
  assert within.decode(within.encode('[PAD]')) == '[PAD]'
  assert within.encode(f'{START}a{STOP}') == tokenizer.encode(
      f'{START}a{STOP}')


@pytest.mark.parametrize('backend, needed', [
    (backend_of(SPECIAL[:2], SPECIAL), STOP),  # The template writes it.
    (backend_of(SPECIAL, [*SPECIAL, 'th']), 'th')],  # An ordinary entry.
    ids=['template', 'entry'])
def test_a_token_without_a_row_that_is_needed(model, backend, needed):
  tokenizer = model(backend, {'eos_token': END, 'chat_template': CHATML})
  with pytest.raises(UserError, match='258 rows|259 rows') as refused:
    tokenizer.within(tokenizer.vocab_size - 1, 'm')
  assert repr(needed) in str(refused.value)
  assert 'resize_token_embeddings' in str(refused.value)


def test_ids_of_ends_that_no_token_has(model):
  tokenizer = model(backend_of([END], [END]), {'eos_token': END},
                    config={'eos_token_id': 50256})
  assert tokenizer.within(257, 'm').stop_ids == (256,)
  tokenizer = model(backend_of([END], [END]), config={'eos_token_id': 50256})
  with pytest.raises(UserError, match=r'none for the ends \(50256,\)'):
    tokenizer.within(257, 'm')


def test_types_of_gguf_tokens(tmp_path):
  tokens = [*BYTES, 'th', END, STOP, '<think>', '[PAD260]', '<unk>']
  path = tmp_path / 'm.gguf'
  writer = gguf.GGUFWriter(path, 'llama')
  writer.add_tokenizer_model('gpt2')
  writer.add_tokenizer_pre('smollm')
  writer.add_token_list(tokens)
  writer.add_token_merges(['t h'])
  writer.add_token_types([1] * 257 + [3, 3, 4, 5, 2])
  writer.add_bos_token_id(257)
  writer.add_eos_token_id(257)
  writer.add_eot_token_id(258)
  writer.add_pad_token_id(260)
  writer.add_add_bos_token(True)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  tokenizer = Tokenizer.from_gguf(path)
  assert tokenizer.encode(f'th<think>{STOP}<unk>') == [256, 259, 258, 261]
  assert tokenizer.decode([256, 259, 258, 260, 261]) == 'th<think>'
  assert 260 not in tokenizer.encode('[PAD260]')
  assert tokenizer.stop_ids == (257, 258)
  assert (tokenizer.text_start, tokenizer.pad_id) == ((257,), 257)


def test_written_entries_that_merges_reach_stay_entries():
  backend = tokenizers.Tokenizer(models.BPE(
      vocab={c: i for i, c in enumerate(['<', 'p', '>', '<p', '<p>', '<q>'])},
      merges=[('<', 'p'), ('<p', '>')]))
  special_tokens.add_written(backend, '<p><q><r>')
  assert special_tokens.added_texts(backend) == {'<q>'}
  assert backend.get_added_tokens_decoder() == {
      5: AddedToken('<q>', normalized=False, special=True)}


def test_models_load_with_a_token_too_many(tmp_path):
  folder = shutil.copytree(GOLDEN / 'llama', tmp_path / 'llama')
  path = folder / 'tokenizer_config.json'
  settings = json.loads(path.read_text())
  path.write_text(json.dumps({**settings, 'pad_token': '[PAD]'}))
  assert Tokenizer.from_folder(folder).vocab_size == 98
  model = load_pretrained(str(folder), enable_thinking=True)
  assert (model.config.vocab_size, model.tokenizer.vocab_size) == (97, 97)
  assert model.tokenizer.pad_id == 2
  assert model.tokenizer.enable_thinking
  path.write_text(json.dumps({**settings, 'eos_token': '[END]'}))
  with pytest.raises(UserError, match=r"97 rows: none for '\[END\]'"):
    load_pretrained(str(folder))
