"""Dreams about a text: questions, recollections, open prompts; the text itself.

All of them are the old self's words while it still holds the text.
"""

import bisect
import itertools
from collections.abc import Sequence

import jax
import numpy as np

from sleepjax.data import documents, words
from sleepjax.errors import UserError
from sleepjax.writing import prompt_library
from sleepjax.writing.cleaning import clean_request, distinct
from sleepjax.writing.coverage import (
    askable,
    covering_questions,
    write_questions,
)
from sleepjax.writing.dreamer import Dream, Dreamer, Segments


def sentence_beginnings(text: str, per_sentence: int, rng,
                        split=documents.split_sentences) -> list[str]:
  """Beginnings of every sentence, cut before a random word after the second.

  Args:
    text: of a document.
    per_sentence: how many, where a sentence has as many words.
    rng: numpy generator.
    split: text -> its sentences.
  """
  beginnings = []
  for sentence in split(text):
    ends = words.word_ends(sentence)
    cuts = np.arange(min(2, len(ends) - 1), len(ends))
    cuts = rng.choice(cuts[cuts > 0], min(per_sentence, (cuts > 0).sum()),
                      replace=False) if len(ends) > 1 else []
    beginnings += [sentence[:ends[cut - 1]] for cut in sorted(cuts)]
  return beginnings


def _question_dreams(dreamer, questions, answer_prompt):
  """Dreams without completions yet, of the questions that fit."""
  dreams = [Dream('question', answer_prompt.format(question=q), '', ())
            for q in questions]
  return [(q, d) for q, d in zip(questions, dreams, strict=True)
          if _fits(dreamer, d)]


def _fits(dreamer, dream):
  return (len(dream.student_ids(dreamer.chat))
          <= dreamer.settings.prompt_tokens)


def _complete(dreamer, dreams, segments, key, temperature=None):
  """The dreams, which come sorted by kind, with what the teacher wrote."""
  finished = []
  for i, (_, same) in enumerate(itertools.groupby(dreams, lambda d: d.kind)):
    same = list(same)
    completions = dreamer.write(
        [d.teacher_ids(dreamer.chat) for d in same],
        jax.random.fold_in(key, i), segments=segments,
        temperature=temperature)
    finished += [d._replace(completion=tuple(c))
                 for d, c in zip(same, completions, strict=True)]
  return finished


def _library_dreams(dreamer, document, segments, key, avoid):
  """Dreams without completions yet, from the library."""
  s, chat = dreamer.settings, dreamer.chat
  prompts = prompt_library.prompts_of(s.library)
  told = [Dream('open', p.format(topic=document.title), '', ())
          for p in prompts.told for _ in range(s.open_samples)]
  requests = [chat.after_document(p) for p in prompts.written
              for _ in range(s.open_samples)]
  replies = dreamer.texts(dreamer.write(
      requests, key, temperature=s.question_temperature, segments=segments))
  written = distinct((clean_request(reply, document.text, s.forbidden)
                      for reply in replies), avoid)
  return told + [Dream('written', prompt, '', ()) for prompt in written]


def write_exam(dreamer: Dreamer, text: str, segments: Segments, key,
               answer_prompt: str, limit: int) -> list[tuple[str, str]]:
  """Questions about a text with the old self's greedy in-context answers.

  Returns:
    at most `limit` pairs; those whose answer is empty are left out.
  """
  asked = _question_dreams(
      dreamer, write_questions(dreamer, text, segments, key),
      answer_prompt)[:limit]
  if not asked:
    return []
  answered = _complete(dreamer, [d for _, d in asked], segments, key, 0.0)
  answers = dreamer.texts(d.completion for d in answered)
  return [(q, a) for (q, _), a in zip(asked, answers, strict=True) if a]


def write_dreams(dreamer: Dreamer, document, segments: Segments, key,
                 answer_prompt: str, avoid: Sequence[str] = ()):
  """The teacher's dreams about a document, and questions held out of them.

  Args:
    dreamer: the old self.
    document: has `title`, what it is about, and `text`.
    segments: the document in its cache; () if it has it elsewhere.
    key: PRNG key.
    answer_prompt: how questions are put, with {question}.
    avoid: questions that no dream may ask.

  Returns:
    (dreams, held_out, coverage): a list of Dream; of (question, greedy answer)
    about the same text that no dream contains; how much of it was asked.

  Raises:
    UserError: if no dream would tell of a sentence of the text.
  """
  s = dreamer.settings
  ask_key, held_key, dream_key = jax.random.split(key, 3)
  questions, coverage = covering_questions(
      dreamer, document.text, segments, ask_key, avoid)
  asked = _question_dreams(dreamer, questions, answer_prompt)
  held = asked[::s.held_out] if s.held_out else []
  kept = [pair for pair in asked if pair not in held]
  wanted = [d for _, d in kept] * s.answers_per_question
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  beginnings = sentence_beginnings(
      document.text, s.recalls_per_sentence, rng,
      lambda text: askable(dreamer, text))
  recall = s.recall_prompt.format(topic=document.title)
  recalls = [Dream('recall', recall, start, ()) for start in beginnings]
  fitting = [dream for dream in recalls if _fits(dreamer, dream)]
  coverage = coverage._replace(
      beginnings_too_long=len(recalls) - len(fitting))
  wanted += fitting
  if not (asked or fitting):
    raise UserError(
        f'nothing in the text can be asked about: found {coverage}. Raise '
        f'dreams.prompt_tokens={s.prompt_tokens}, or give a text of sentences, '
        'items or lines in a language that the model writes.')
  wanted += [Dream('open', p.format(topic=document.title), '', ())
             for p in s.open_prompts for _ in range(s.open_samples)]
  wanted += _library_dreams(
      dreamer, document, segments, jax.random.fold_in(ask_key, 1),
      (*avoid, *(question for question, _ in held)))
  wanted = [d for d in wanted if _fits(dreamer, d)]
  dreams = _complete(dreamer, wanted, segments, dream_key)
  if not held:
    return dreams, [], coverage
  answered = _complete(dreamer, [d for _, d in held], segments, held_key, 0.0)
  answers = dreamer.texts(d.completion for d in answered)
  return dreams, [(q, a) for (q, _), a in zip(
      held, answers, strict=True) if a], coverage


def answers_to(dreamer: Dreamer, prompts: Sequence[str], segments: Segments,
               key) -> list[Dream]:
  """What the teacher says to prompts that come with a text, as they are.

  Args:
    dreamer: the old self.
    prompts: each is answered `open_samples` times, at least once.
    segments: the text in its cache.
    key: PRNG key.
  """
  return _complete(
      dreamer, [Dream('open', prompt, '', ()) for prompt in prompts
                for _ in range(max(1, dreamer.settings.open_samples))],
      segments, key)


def recitations(dreamer: Dreamer, document) -> list[Dream]:
  """The text itself as replies: piece by piece, each after what stands before
  it, and every sentence alone. Nothing is sampled.

  What plain fine-tuning on a text learns from.
  """
  s, chat, text = dreamer.settings, dreamer.chat, document.text
  prompt = s.recall_prompt.format(topic=document.title)
  ends = [0, *words.word_ends(text)]
  before = lambda first, at: text[ends[first]:ends[at]].lstrip()
  dreams, at = [], 0
  while at < len(ends) - 1:
    fits = lambda i, at=at: _fits(
        dreamer, Dream('recall', prompt, before(i, at), ()))
    first = bisect.bisect_left(range(at), True, key=fits)
    # A few tokens fewer may follow a word more.
    first = next((i for i in range(max(0, first - 4), first) if fits(i)), first)
    end = at + 1
    encode = lambda end, at=at: chat.tokenizer.encode(text[ends[at]:ends[end]])
    while end < len(ends) - 1 and len(encode(end + 1)) <= s.completion_tokens:
      end += 1
    dreams.append(Dream('recall', prompt, before(first, at),
                        tuple(encode(end)[:s.completion_tokens])))
    at = end
  stop = chat.tokenizer.stop_ids[:1]
  dreams += [Dream('recall', prompt, '', tuple(
      (*chat.tokenizer.encode(sentence), *stop)[:s.completion_tokens]))
             for sentence in documents.split_sentences(document.text)]
  return dreams
