import json
import pathlib
import shutil

import pytest

from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.data.unicode_text import whole_characters
from sleepjax.errors import UserError
from sleepjax.model import packaged_file

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
REFERENCE = json.loads((GOLDEN / 'smollm2_tokens.json').read_text())


@pytest.fixture(scope='module')
def smollm2():
  return Tokenizer.from_gguf(packaged_file('smollm2-135m-instruct'))


@pytest.fixture(scope='module')
def saved(smollm2, tmp_path_factory):
  folder = tmp_path_factory.mktemp('saved')
  smollm2.save(folder)
  return Tokenizer.from_folder(folder)


@pytest.mark.parametrize('case', REFERENCE, ids=range(len(REFERENCE)))
@pytest.mark.slow
def test_ids_equal_llama_cpp(smollm2, case):
  assert smollm2.encode(case['text']) == case['ids']


@pytest.mark.parametrize(
    'text', [c['text'] for c in REFERENCE if '<|' not in c['text']])
def test_decode_inverts_encode(smollm2, text):
  assert smollm2.decode(smollm2.encode(text)) == text


def test_decode_skips_special_tokens(smollm2):
  ids = smollm2.encode('<|im_start|>assistant\nBerlin.<|im_end|>\n')
  assert smollm2.decode(ids) == 'assistant\nBerlin.\n'


def test_smollm2_settings(smollm2):
  assert smollm2.vocab_size == 49152
  assert smollm2.stop_ids == (2,)
  assert smollm2.pad_id == 2
  assert smollm2.special_tokens['bos_token'] == '<|im_start|>'


def test_smollm2_chat(smollm2):
  question = {'role': 'user', 'content': 'What is 1+1?'}
  assert smollm2.render_chat([question]) == (
      '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, '
      'trained by Hugging Face<|im_end|>\n'
      '<|im_start|>user\nWhat is 1+1?<|im_end|>\n<|im_start|>assistant\n')
  turns = [{'role': 'system', 'content': 'Be brief.'}, question,
           {'role': 'assistant', 'content': '2'}]
  assert smollm2.render_chat(turns, add_generation_prompt=False) == (
      '<|im_start|>system\nBe brief.<|im_end|>\n'
      '<|im_start|>user\nWhat is 1+1?<|im_end|>\n'
      '<|im_start|>assistant\n2<|im_end|>\n')


def test_saved_tokenizer_is_the_same(smollm2, saved):
  for case in REFERENCE:
    assert saved.encode(case['text']) == case['ids']
    assert saved.decode(case['ids']) == smollm2.decode(case['ids'])
  assert saved.chat_template == smollm2.chat_template
  assert saved.special_tokens == smollm2.special_tokens
  assert (saved.stop_ids, saved.pad_id, saved.vocab_size) == (
      smollm2.stop_ids, smollm2.pad_id, smollm2.vocab_size)


@pytest.mark.parametrize('family', ['llama', 'qwen2'])
@pytest.mark.parametrize('prompt', [True, False])
def test_chat_equals_transformers(family, prompt):
  golden = json.loads((GOLDEN / family / 'chat.json').read_text())
  tokenizer = Tokenizer.from_folder(GOLDEN / family)
  rendered = tokenizer.render_chat(golden['messages'], prompt)
  assert rendered == golden['rendered'][str(prompt)]


def test_plain_template_without_another():
  tokenizer = Tokenizer.from_folder(GOLDEN / 'qwen3')
  turns = [{'role': 'system', 'content': 'A passage.'},
           {'role': 'user', 'content': 'Who?'}]
  # <s> is what this vocabulary puts in front of a text.
  assert tokenizer.render_chat(turns) == (
      '<s>A passage.\n\nQuestion: Who?\nAnswer:')
  turns.append({'role': 'assistant', 'content': 'Me.'})
  assert tokenizer.render_chat(turns, add_generation_prompt=False) == (
      '<s>A passage.\n\nQuestion: Who?\nAnswer: Me.\n\n')


def test_no_first_token_is_added():
  # This file's post-processor would put <s> (1) in front.
  tokenizer = Tokenizer.from_folder(GOLDEN / 'llama')
  assert tokenizer.encode('w5 w6') == [5, 6]
  assert tokenizer.encode('<s> w5 <|eot_id|>') == [1, 5, 3]


def test_stop_ids_are_gathered_from_all_places(tmp_path):
  # eos_token 2; generation_config lists 2 and 5; <|eot_id|> is 3.
  tokenizer = Tokenizer.from_folder(GOLDEN / 'llama')
  assert tokenizer.stop_ids == (2, 5, 3)
  assert tokenizer.pad_id == 2  # There is no token for padding.
  tokenizer.save(tmp_path)
  again = Tokenizer.from_folder(tmp_path)
  assert (again.stop_ids, again.pad_id) == ((2, 5, 3), 2)
  assert again.encode('w5') == [5]
  assert Tokenizer.from_folder(GOLDEN / 'qwen2').pad_id == 0


def test_settings_of_other_programs_leave_as_they_came(tmp_path):
  shutil.copytree(GOLDEN / 'llama', tmp_path / 'in')
  for name, more in (
      ('generation', {'temperature': 0.6, 'top_p': 0.95, 'note': '\ud800'}),
      ('tokenizer', {'model_max_length': 77, 'auto_map': 'x'})):
    path = tmp_path / f'in/{name}_config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
  for source in 'in', 'out':
    tokenizer = Tokenizer.from_folder(tmp_path / source)
    tokenizer.save(tmp_path / 'out')
    generation, settings = (
        json.loads((tmp_path / f'out/{name}_config.json').read_text())
        for name in ('generation', 'tokenizer'))
    assert generation == {
        'bos_token_id': 1, 'eos_token_id': [2, 5, 3], 'pad_token_id': 2,
        'output_attentions': False, 'output_hidden_states': False,
        'transformers_version': '5.23.0', 'use_cache': True,
        'temperature': 0.6, 'top_p': 0.95, 'note': '\ud800'}
    assert settings['model_max_length'] == 77 and 'auto_map' not in settings


def test_messages_the_template_refuses(smollm2):
  tokenizer = Tokenizer.from_folder(GOLDEN / 'llama')
  with pytest.raises(UserError, match='unknown role narrator'):
    tokenizer.render_chat([{'role': 'narrator', 'content': 'x'}])
  with pytest.raises(UserError, match='chat template cannot render'):
    smollm2.render_chat([{'role': 'user'}])


def test_template_with_a_mistake(tmp_path):
  shutil.copy(GOLDEN / 'llama/tokenizer.json', tmp_path)
  (tmp_path / 'chat_template.jinja').write_text('{% for %}')
  with pytest.raises(UserError, match='chat template is not valid'):
    Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize('template', [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append('x') }}",
])
def test_templates_run_in_a_sandbox(tmp_path, template):
  shutil.copy(GOLDEN / 'llama/tokenizer.json', tmp_path)
  (tmp_path / 'tokenizer_config.json').write_text('{"eos_token": "</s>"}')
  (tmp_path / 'chat_template.jinja').write_text(template)
  tokenizer = Tokenizer.from_folder(tmp_path)
  with pytest.raises(UserError, match='cannot render'):
    tokenizer.render_chat([])


def test_damaged_files(tmp_path):
  with pytest.raises(UserError, match='has no tokenizer.json'):
    Tokenizer.from_folder(tmp_path)
  (tmp_path / 'tokenizer.json').write_text('{"version": "1.0"')
  with pytest.raises(UserError, match='cannot be read as a tokenizer'):
    Tokenizer.from_folder(tmp_path)
  shutil.copy(GOLDEN / 'llama/tokenizer.json', tmp_path)
  (tmp_path / 'tokenizer_config.json').write_text('[]')
  with pytest.raises(UserError, match='tokenizer_config.json: holds a list'):
    Tokenizer.from_folder(tmp_path)
  (tmp_path / 'tokenizer_config.json').write_text('{"eos_token": {"a": 1}}')
  with pytest.raises(UserError, match="{'a': 1} describes no token"):
    Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize('text, same', [
    ('Who smiled \ud83d?', 'Who smiled \ufffd?'),  # Half of a smile.
    ('\udce9t\udce9', '\ufffdt\ufffd'),  # Arguments in Latin-1.
    ('\ud83d\ude00', '\U0001f600'),  # Both halves, apart.
    ('plain', 'plain')])
def test_half_characters(smollm2, text, same):
  assert whole_characters(text) == same
  assert smollm2.encode(text) == smollm2.encode(same)
  assert ChatPrompts(smollm2).closed_book(text) == (
      ChatPrompts(smollm2).closed_book(same))


def test_trained_on_a_text(tmp_path):
  """Merges what is frequent, and loses nothing of any other text."""
  text = 'the lighthouse of the island\n' * 20
  tokenizer = Tokenizer.trained_on(text, 280)
  assert 257 < tokenizer.vocab_size <= 280
  ids = tokenizer.encode(text)
  assert len(ids) < len(text) / 3
  assert tokenizer.decode(ids) == text
  assert tokenizer.decode(tokenizer.encode('Ångström 7')) == 'Ångström 7'
  assert tokenizer.stop_ids == tuple(
      tokenizer.encode('<|endoftext|>'))
  tokenizer.save(tmp_path)
  assert Tokenizer.from_folder(tmp_path).encode(text) == ids
  with pytest.raises(UserError, match='vocab_size=256 must be at least 257'):
    Tokenizer.trained_on(text, 256)
