"""What the student learns from verified facts.

A question is answered by its span, and in another wording of the request by one
short sentence that has the span in it. What could not be asked is still learnt
from the text's own words: a gap to fill, and the sentence from the span on.
Nothing is sampled. The teacher reads the given reply with its sentence beside
the prompt, and its distribution over it is what is learnt.
"""

import dataclasses

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import check_least
from sleepjax.writing.dreamer import Dream, DreamConfig
from sleepjax.writing.facts import Facts
from sleepjax.writing.phrasings import shortest_statement
from sleepjax.writing.statements import gapped, short_sentence


@dataclasses.dataclass(frozen=True)
class RowConfig:
  """Which rows are made of a fact.

  sentence_prompt: how questions are put whose reply is a sentence, with
    {question}; '' makes none.
  reverse_prompt: with {span}, a name; the reply is its sentence; '' for none.
  cloze_prompt: with {gap}, a statement with ___; '' makes none.
  recall: whether a request for the text is replied to with the sentence from
    the span on, after its own beginning.
  hint: what the teacher reads before a prompt, with {sentence} and {answer}.
  copies: of every row whose reply is a span, which are the shortest.
  """

  sentence_prompt: str = '{question} Answer in a sentence.'
  reverse_prompt: str = 'What do you know about {span}?'
  cloze_prompt: str = 'Fill the gap: {gap}'
  recall: bool = True
  hint: str = '{sentence}\n\nThe right answer is: {answer}'
  copies: int = 1

  def __post_init__(self):
    check_least(self, copies=1)


def rows_of(facts: Facts, chat: ChatPrompts, settings: RowConfig,
            dreams: DreamConfig, answer_prompt: str
            ) -> tuple[list[Dream], list[Dream]]:
  """All rows of the facts of a text, in its order.

  A reply is never cut: a row that does not fit is left out, a sentence that is
  too long is replaced by its clauses around the span.

  Args:
    facts: of the text.
    chat: the student's prompt format.
    settings: which rows.
    dreams: how the text is asked for, and how long prompts and replies may be.
    answer_prompt: how questions are put whose reply is the span, with
      {question}.

  Returns:
    (rows, those that were left out).
  """
  s, encode = settings, chat.tokenizer.encode
  stop = chat.tokenizer.stop_ids[:1]
  made: list[Dream] = []

  def add(kind, prompt, start, answer, reply, sentence):
    hint = s.hint.format(sentence=sentence, answer=answer)
    made.append(Dream(kind, prompt, start, (*encode(reply), *stop), hint))

  fits = lambda text: len(encode(text)) < dreams.completion_tokens
  for fact in facts.facts:
    span, sentence = fact.span, facts.sentences[fact.span.sentence]
    short = short_sentence(sentence, span, fits)
    asked = [('question', q) for q in (*fact.questions, *fact.whole)]
    for kind, question in [*asked, *(('short', q) for q in fact.short)]:
      for _ in range(s.copies):
        add(kind, answer_prompt.format(question=question), '',
            span.text, span.text, sentence)
      if s.sentence_prompt and short:
        add('sentence', s.sentence_prompt.format(question=question), '', short,
            short, sentence)
    if s.reverse_prompt and short and span.kind == 'name' and fact.questions:
      add('reverse', s.reverse_prompt.format(span=span.text), '', short, short,
          sentence)
    gap = shortest_statement(sentence, span, facts.topic) or gapped(
        sentence, span, facts.topic)
    if s.cloze_prompt and gap:
      add('cloze', s.cloze_prompt.format(gap=gap), '',
          span.text, span.text, sentence)
    before = sentence[:span.start].rstrip()
    if s.recall and before:
      rest = sentence[len(before):]
      if not fits(rest):
        rest = sentence[len(before):span.end]
      add('recall', dreams.recall_prompt.format(topic=facts.topic), before,
          sentence, rest, sentence)
  fitting, left_out = [], []
  for row in made:
    fit = (len(row.completion) <= dreams.completion_tokens
           and len(row.student_ids(chat)) <= dreams.prompt_tokens)
    (fitting if fit else left_out).append(row)
  return fitting, left_out

