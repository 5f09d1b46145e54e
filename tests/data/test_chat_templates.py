"""Chat templates render as transformers 5.24 renders them, without a clock."""

import json

import pytest

from sleepjax.data import chat_templates
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from tests.data.test_special_tokens import CHATML, END, SPECIAL, backend_of

ASKED = [{'role': 'user', 'content': 'Who?'}]
HEAD = '<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n'
EMPTY_THOUGHT = '<think>\n\n</think>\n\n'


def rendered(template, messages=ASKED, prompt=True, **kwargs):
  return chat_templates.render(
      template, messages, prompt, {'eos_token': END}, **kwargs)


@pytest.mark.parametrize('template, text', [
    ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", 'Who?!'),
    ("{%- generation -%}\n {% set x = 1 %}a{% endgeneration %}"
     "{{ x is defined }}", 'aFalse'),
    ("{{ strftime_now('%d %B %Y') }}", '26 July 2024'),
    ("{{ {'b': 'é', 'a': '<'} | tojson }}", '{"b": "é", "a": "<"}'),
    ("{{ ['é'] | tojson(ensure_ascii=True) }}", r'["\u00e9"]'),
    ("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}",
     '{\n "a": 2,\n "b": 1\n}'),
    ("{{ {'a': [1, 2]} | tojson(separators=(',', ':')) }}", '{"a":[1,2]}'),
    ("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
     "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", '02'),
    ("{{ eos_token }}{{ tools is none }}", END + 'True')])
def test_dialects(template, text):
  assert rendered(template) == text


def test_a_template_may_refuse():
  with pytest.raises(UserError, match='cannot render .* only two'):
    rendered("{{ raise_exception('only two') }}")


QWEN3 = CHATML.replace(
    "assistant\n' }}", "assistant\n' }}{% if enable_thinking is defined and "
    "enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}")
GRANITE = CHATML.replace(
    "assistant\n' }}", "assistant\n' }}{% if thinking %}{{ 'Think. ' }}"
    "{% endif %}")
R1 = CHATML.replace("assistant\n'", "assistant\n<think>\n'")


@pytest.mark.parametrize('template, without, thinking', [
    (CHATML, HEAD, HEAD),
    (QWEN3, HEAD + EMPTY_THOUGHT, HEAD),
    (GRANITE, HEAD, HEAD + 'Think. '),
    (R1, HEAD + EMPTY_THOUGHT, HEAD + '<think>\n'),
    (R1.replace('<think>\n', '<seed:think>'),
     HEAD + EMPTY_THOUGHT.replace('think', 'seed:think'),
     HEAD + '<seed:think>')],
    ids=['chatml', 'qwen3', 'granite', 'r1', 'seed'])
def test_thoughts_begin_only_when_asked_for(template, without, thinking):
  assert rendered(template) == without
  assert rendered(template, enable_thinking=True) == thinking


def test_a_thought_in_a_conversation_stays():
  turns = [*ASKED, {'role': 'assistant', 'content': '<think>'}]
  assert rendered("{{ messages[-1].content }}", turns, prompt=False) == (
      '<think>')


@pytest.fixture
def folder(tmp_path):
  backend_of(SPECIAL, SPECIAL).save(str(tmp_path / 'tokenizer.json'))
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps(
      {'eos_token': END, 'chat_template': R1}))
  return tmp_path


def test_thinking_is_a_setting_that_is_saved(folder):
  tokenizer = Tokenizer.from_folder(folder)
  assert tokenizer.render_chat(ASKED) == HEAD + EMPTY_THOUGHT
  thinking = Tokenizer.from_folder(folder, enable_thinking=True)
  assert thinking.render_chat(ASKED) == HEAD + '<think>\n'
  # A prompt apart from its document ends as the whole does.
  assert tokenizer.decode(ChatPrompts(tokenizer).closed_book('Who?')) == (
      f'user\nWho?\nassistant\n{EMPTY_THOUGHT}')
  for saved in (tokenizer, thinking):
    saved.save(folder)
    again = Tokenizer.from_folder(folder)
    assert again.enable_thinking is saved.enable_thinking
    assert again.render_chat(ASKED) == saved.render_chat(ASKED)
  (folder / 'tokenizer_config.json').write_text('{"enable_thinking": "no"}')
  with pytest.raises(UserError, match="'no' .* neither true nor false"):
    Tokenizer.from_folder(folder)


@pytest.mark.parametrize('value, text', [
    ('a', 'a'), ([{'name': 'default', 'template': 'a'},
                  {'name': 'tool_use', 'template': 'b'}], 'a'),
    ([{'name': 'rag', 'template': 'b'}], 'b'),
    ({'tool_use': 'b', 'default': 'a'}, 'a')])
@pytest.mark.parametrize('name', ['tokenizer_config', 'chat_template'])
def test_where_a_template_stands(folder, name, value, text):
  (folder / 'tokenizer_config.json').write_text('{}')
  (folder / f'{name}.json').write_text(json.dumps(
      {'eos_token': END, 'chat_template': value}))
  settings = json.loads((folder / 'tokenizer_config.json').read_text())
  assert chat_templates.folder_template(folder, settings) == text
  (folder / 'chat_template.jinja').write_text('c')
  assert chat_templates.folder_template(folder, settings) == 'c'


@pytest.mark.parametrize('value, message', [
    ([{'name': 'rag', 'template': 'b'}, {'name': 'tool_use', 'template': 'a'}],
     'has the names rag, tool_use'), (3, "is '3'"),
    ({'default': 3}, 'has the names default')])
def test_templates_without_a_default_are_refused(folder, value, message):
  with pytest.raises(UserError, match=message):
    chat_templates.folder_template(folder, {'chat_template': value})
