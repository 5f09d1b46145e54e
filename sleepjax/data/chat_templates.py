"""Chat templates: which one a model brings, and what it renders.

Templates are Jinja programs, written for `apply_chat_template` of transformers.
They get the same filters, functions and blocks here, so that they render the
same text. Two things differ: there is no clock, and no thought is begun unless
it is asked for.
"""

import datetime
import functools
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from sleepjax.data import model_files
from sleepjax.errors import UserError

# The form of a conversation for models that were never taught one. A system
# message, or a passage, stands as a paragraph of its own.
PLAIN_TEMPLATE = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ 'Question: ' + message['content'] + '\n' }}
{%- elif message['role'] == 'assistant' %}
{{ 'Answer: ' + message['content'] + '\n\n' }}
{%- else %}
{{ message['content'] + '\n\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ 'Answer:' }}
{%- endif %}
"""

# What `strftime_now` tells: the date that Llama 3's templates fall back to.
TODAY = datetime.datetime(2024, 7, 26)

# Where a prompt ends in a thought that the template has opened.
_OPEN_THOUGHT = re.compile(
    r'<((?:\w+:)?think|thinking|thought|reasoning)>\s*\Z')


def folder_template(folder: pathlib.Path, settings: Mapping[str, Any]) -> str:
  """The chat template of a model folder.

  It is chat_template.jinja, or the one in tokenizer_config.json, or in
  chat_template.json, as image models have it, or `PLAIN_TEMPLATE`. Of several
  by name it is 'default', or the only one.

  Args:
    folder: of the model.
    settings: contents of its tokenizer_config.json.

  Raises:
    UserError: a file that holds something else, or several templates of which
      none is the default.
  """
  path = folder / 'chat_template.jinja'
  if path.is_file():
    try:
      return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as e:
      raise UserError(f'{path}: not UTF-8 text: {e}') from e
  template = _chosen(settings, folder / 'tokenizer_config.json')
  if template is None:
    path = folder / 'chat_template.json'
    template = _chosen(model_files.read_json(path), path) if (
        path.exists()) else None
  return PLAIN_TEMPLATE if template is None else template


def _chosen(settings, path) -> str | None:
  template = settings.get('chat_template')
  if isinstance(template, list) and all(isinstance(t, dict) for t in template):
    template = {t.get('name'): t.get('template') for t in template}
  found = f'is {str(template)[:80]!r}'
  if isinstance(template, dict):
    found = f'has the names {", ".join(map(str, template))}'
    template = template.get('default') or (
        [*template.values()] if len(template) == 1 else [template])[0]
  if template is None or isinstance(template, str):
    return template
  raise UserError(
      f'{path}: chat_template {found}; expected one template, or several by '
      "name with one called 'default'. Write the one that the model should "
      f'use into {path.parent / "chat_template.jinja"}.')


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    add_generation_prompt: bool,
    special_tokens: Mapping[str, str],
    enable_thinking: bool = False,
) -> str:
  """The text of a conversation.

  Args:
    template: a Jinja program.
    messages: dicts with 'role' and 'content'.
    add_generation_prompt: end where the assistant's next answer begins.
    special_tokens: texts by role, which the template may name.
    enable_thinking: whether that answer begins with a thought. Templates that
      know `enable_thinking` or `thinking` are told. Others open a thought by
      themselves; without thinking it is closed at once, so that the prompt
      ends in an empty thought, as Qwen3's does.

  Raises:
    UserError: the template refuses these messages.
  """
  try:
    text = compiled(template).render(
        messages=messages, add_generation_prompt=add_generation_prompt,
        tools=None, documents=None, enable_thinking=enable_thinking,
        thinking=enable_thinking, **special_tokens)
  except Exception as e:  # A template computes: it may fail in any way.
    raise UserError(
        f'the chat template cannot render these messages: {e}. It got '
        f'{str(messages)[:200]}') from e
  opened = _OPEN_THOUGHT.search(text)
  if opened and add_generation_prompt and not enable_thinking:
    name = opened[1]
    text = f'{text[:opened.start()]}<{name}>\n\n</{name}>\n\n'
  return text


@functools.lru_cache(maxsize=8)
def compiled(template: str) -> jinja2.Template:
  """Compiles a template as those who wrote it expect.

  Templates come with models from anywhere, so they run sandboxed. There is no
  clock: today is `TODAY`, and a run does not change overnight.
  """
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
      trim_blocks=True, lstrip_blocks=True,
      extensions=['jinja2.ext.loopcontrols', _Generation])
  environment.globals['raise_exception'] = _raise_exception
  environment.globals['strftime_now'] = TODAY.strftime
  environment.filters['tojson'] = _to_json
  return environment.from_string(template)


class _Generation(jinja2.ext.Extension):
  """`{% generation %}` marks what an assistant says; it changes no text."""

  tags = {'generation'}

  def parse(self, parser):
    line = next(parser.stream).lineno
    body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
    # A block of its own, so that what is set inside is unknown after it.
    return jinja2.nodes.CallBlock(
        self.call_method('_said'), [], [], body).set_lineno(line)

  def _said(self, caller):
    return caller()


def _raise_exception(message):
  raise jinja2.TemplateError(message)


def _to_json(value, ensure_ascii=False, indent=None, separators=None,
             sort_keys=False):
  """Jinja's own filter escapes HTML, which no model was taught."""
  return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent,
                    separators=separators, sort_keys=sort_keys)
