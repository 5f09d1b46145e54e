"""What the student learns from verified facts.

A question is answered by its span, and in another wording of the request by one
short sentence that has the span in it. What could not be asked is still learnt
from the text's own words: a gap to fill, and the sentence from the span on.
Nothing is sampled. The teacher reads the given reply with its sentence beside
the prompt, and its distribution over it is what is learnt.
"""

import dataclasses
from typing import Any, NamedTuple

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import check_least
from sleepjax.writing.facts import Facts
from sleepjax.writing.statements import gapped, short_sentence


class Row(NamedTuple):
  """A prompt, a reply that is given, and what only the teacher sees.

  It stands where a `sleepjax.writing.dreams.Dream` does.

  kind: 'question', 'sentence', 'reverse', 'cloze' or 'recall'.
  prompt: the user's message as the student will see it.
  start: words with which the reply begins; they are given, not learnt.
  hint: what stands before the prompt in the teacher's message.
  completion: token ids of the rest of the reply.
  """

  kind: str
  prompt: str
  start: str
  hint: str
  completion: tuple[int, ...]

  def student_ids(self, chat: ChatPrompts) -> list[int]:
    return chat.closed_book(self.prompt) + chat.tokenizer.encode(self.start)

  def teacher_ids(self, chat: ChatPrompts) -> list[int]:
    message = f'{self.hint}\n\n{self.prompt}' if self.hint else self.prompt
    return chat.after_document(message) + chat.tokenizer.encode(self.start)


@dataclasses.dataclass(frozen=True)
class RowConfig:
  """Which rows are made of a fact.

  answer_prompt: how questions are put, with {question}; the reply is the span.
  sentence_prompt: the same, where the reply is a sentence; '' makes none.
  reverse_prompt: with {span}, a name; the reply is its sentence; '' for none.
  cloze_prompt: with {gap}, a statement with ___; '' makes none.
  recall_prompt: with {topic}; the reply is the sentence from the span on, after
    its own beginning; '' makes none.
  hint: what the teacher reads before a prompt, with {sentence} and {answer}.
  copies: of every row whose reply is a span, which are the shortest.
  prompt_tokens, completion_tokens: longest; what does not fit is left out.
  """

  answer_prompt: str = '{question} Answer briefly.'
  sentence_prompt: str = '{question} Answer in a sentence.'
  reverse_prompt: str = 'What do you know about {span}?'
  cloze_prompt: str = 'Fill the gap: {gap}'
  recall_prompt: str = 'Tell me about {topic}.'
  hint: str = '{sentence}\n\nThe right answer is: {answer}'
  copies: int = 1
  prompt_tokens: int = 72
  completion_tokens: int = 24

  def __post_init__(self):
    check_least(self, copies=1, prompt_tokens=1, completion_tokens=1)


def rows_of(facts: Facts, chat: ChatPrompts, settings: RowConfig = RowConfig()
            ) -> list[Row]:
  """All rows of the facts of a text that fit, in its order.

  A reply is never cut: a row that does not fit is left out, a sentence that is
  too long is replaced by its clauses around the span.
  """
  s, encode = settings, chat.tokenizer.encode
  stop = chat.tokenizer.stop_ids[:1]
  made: list[Row] = []

  def add(kind, prompt, start, answer, reply, sentence):
    hint = s.hint.format(sentence=sentence, answer=answer)
    made.append(Row(kind, prompt, start, hint, (*encode(reply), *stop)))

  fits = lambda text: len(encode(text)) < s.completion_tokens
  for fact in facts.facts:
    span, sentence = fact.span, facts.sentences[fact.span.sentence]
    short = short_sentence(sentence, span, fits)
    for question in fact.questions or fact.by_rule:
      for _ in range(s.copies):
        add('question', s.answer_prompt.format(question=question), '',
            span.text, span.text, sentence)
      if s.sentence_prompt and short:
        add('sentence', s.sentence_prompt.format(question=question), '', short,
            short, sentence)
    if s.reverse_prompt and short and span.kind == 'name' and fact.questions:
      add('reverse', s.reverse_prompt.format(span=span.text), '', short, short,
          sentence)
    gap = gapped(sentence, span, facts.topic, lambda text: len(
        encode(text)) + 24 < s.prompt_tokens)
    if s.cloze_prompt and gap:
      add('cloze', s.cloze_prompt.format(gap=gap), '',
          span.text, span.text, sentence)
    before = sentence[:span.start].rstrip()
    if s.recall_prompt and before:
      rest = sentence[len(before):]
      if not fits(rest):
        rest = sentence[len(before):span.end]
      add('recall', s.recall_prompt.format(topic=facts.topic), before,
          sentence, rest, sentence)
  return [row for row in made
          if len(row.completion) <= s.completion_tokens
          and len(row.student_ids(chat)) <= s.prompt_tokens]


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
  """Plain values, for what is saved; `Row(**entry)` gives a row back."""
  return [row._asdict() for row in rows]
