"""What the old self says about anything but the text of this sleep.

A new slot that learns only about one text teaches its model other things too:
to look at its context less, and to give the text's answers to other questions.
Rehearsal holds it to what the old self writes with other texts in view,
retention to what that says closed book. Nothing has to be kept for either: the
prompts are the old self's own.
"""

from collections.abc import Sequence

import jax

from sleepjax.errors import UserError
from sleepjax.writing.cleaning import clean_question, distinct
from sleepjax.writing.coverage import question_requests
from sleepjax.writing.dreamer import Dreamer


def write_rehearsal(dreamer: Dreamer, texts: Sequence[str], key,
                    answer_prompt: str, per_text: int, prompt_tokens: int,
                    questions: bool = False, avoid: Sequence[str] = ()):
  """Answers of the old self about other texts, each with its text in front.

  Args:
    dreamer: the old self.
    texts: short texts that have nothing to do with the document.
    key: PRNG key.
    answer_prompt: how questions are put, with {question}.
    per_text: questions tried for each text.
    prompt_tokens: longest prompt, the text included.
    questions: whether writing the questions is rehearsed as well.
    avoid: questions that nothing may ask.

  Returns:
    list of (prompt ids with the text, completion ids).

  Raises:
    UserError: if no text fits with a question.
  """
  chat, tried = dreamer.chat, []
  for n, text in enumerate(texts):
    requests = list(question_requests(dreamer, text))
    context = chat.document(text)
    for i in range(per_text if requests else 0):
      of_sentence = requests[(n + i) % len(requests)]
      ids, opening = of_sentence[(2 * n + i) % len(of_sentence)]
      tried.append((text, context, opening, context + ids))
  tried = [t for t in tried if len(t[3]) <= prompt_tokens]
  replies = dreamer.write([ids for *_, ids in tried], key,
                          temperature=dreamer.settings.question_temperature)
  prompts, asked = [], []
  for (text, context, opening, ids), reply, written in zip(
      tried, replies, dreamer.texts(replies, strip=False), strict=True):
    written = clean_question(
        opening + written, text, dreamer.settings.forbidden)
    for question in distinct([written], avoid):
      prompt = context + chat.after_document(
          answer_prompt.format(question=question))
      if len(prompt) <= prompt_tokens:
        prompts.append(prompt)
        asked.append((ids, reply))
  if not prompts:
    raise UserError(
        'no rehearsal text has a usable question and fits, with it, into '
        f'sleep.rehearsal_tokens={prompt_tokens}: use shorter texts, a larger '
        'number or more of sleep.rehearsal_per_text.')
  completions = dreamer.write(prompts, jax.random.fold_in(key, 1))
  answers = list(zip(prompts, completions, strict=True))
  return answers + asked if questions else answers


def write_closed_book(dreamer: Dreamer, prompts: Sequence[str], key):
  """What the old self answers without any text: (prompt ids, completion ids).

  Prompts longer than `prompt_tokens` are left out.
  """
  asked = [dreamer.chat.closed_book(prompt) for prompt in prompts]
  asked = [ids for ids in asked if len(ids) <= dreamer.settings.prompt_tokens]
  return list(zip(asked, dreamer.write(asked, key), strict=True))


def write_memories(dreamer: Dreamer, prompt: str, number: int, key,
                   answer_prompt: str, avoid: Sequence[str] = ()):
  """What the old self asks itself without any text, and its answers.

  Args:
    dreamer: the old self.
    prompt: asks it for a question about anything.
    number: questions tried; those that come twice are answered once.
    key: PRNG key.
    answer_prompt: how questions are put, with {question}.
    avoid: questions that nothing may ask.

  Returns:
    list of (prompt ids of a question, completion ids).
  """
  s = dreamer.settings
  request = dreamer.chat.closed_book(prompt)
  replies = dreamer.write([request] * number, key,
                          temperature=s.question_temperature)
  questions = distinct((clean_question(text, text, s.forbidden)
                        for text in dreamer.texts(replies)), avoid)
  return write_closed_book(
      dreamer, [answer_prompt.format(question=q) for q in questions],
      jax.random.fold_in(key, 1))
