"""Prompts for dreams about any text, by name.

The teacher answers a prompt with the text in its context; the student is given
the prompt alone, so a prompt names its topic and never says "the text". Two
sorts: `told` prompts are put to the teacher as they are. `written` ones ask the
teacher, which has the text, to write the prompt itself; its own words are then
what teacher and student answer.

`implications` follows the self-edits of SEAL (arXiv 2506.10943), `rewrite` its
paraphrases; `self_study` asks for the five sorts of messages of Cartridges
(arXiv 2506.06266). The wording is ours.
"""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Prompts:
  """told: with {topic}. written: requests for a prompt, put after the text."""

  told: tuple[str, ...] = ()
  written: tuple[str, ...] = ()


LIBRARY = {
    'question_answer': Prompts(written=(
        'Ask one question that the text above answers. Name who or what it is '
        'about. Reply with the question only.',)),
    'facts': Prompts(told=(
        'List the facts you know about {topic}.',
        'Which names, dates and numbers belong to {topic}?')),
    'implications': Prompts(told=(
        'What follows from what is known about {topic}?',
        'Why does {topic} matter, and what did it lead to?')),
    'rewrite': Prompts(told=(
        'Write a paragraph about {topic} in plain words.',
        'Explain {topic} to a child.')),
    'summary': Prompts(told=(
        'Summarise what is known about {topic} in one sentence.',
        'Give a short overview of {topic}.')),
    'self_study': Prompts(written=(
        'Write a request for a table or list of details from the text above. '
        'Reply with the request only.',
        'Write a request for a summary of one part of the text above. Reply '
        'with the request only.',
        'Write a difficult question about the text above. Reply with the '
        'question only.',
        'Write a question of somebody who wants to use what the text above '
        'says. Reply with the question only.',
        'Write a request for something creative about the subject of the text '
        'above. Reply with the request only.')),
}


def prompts_of(names: Sequence[str]) -> Prompts:
  """All prompts of the named parts of the library, in the order of the names.

  >>> prompts_of(('facts',)).told[0].format(topic='Rome')
  'List the facts you know about Rome.'

  Raises:
    ValueError: there is no such part.
  """
  wrong = [name for name in names if name not in LIBRARY]
  if wrong:
    raise ValueError(f'{", ".join(map(repr, wrong))} is not in the library of '
                     f'prompts, which has {", ".join(LIBRARY)}.')
  parts = [LIBRARY[name] for name in names]
  return Prompts(*(tuple(prompt for part in parts for prompt in getattr(
      part, sort)) for sort in ('told', 'written')))
