"""Who dreams of a text while it still holds it, and what a dream is.

Each dream is a prompt as the student will see it, without the text, and the
completion that the teacher sampled with the text in its context.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import check_least
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib
from sleepjax.writing import prompt_library

Segments = tuple[Segment, ...]


@dataclasses.dataclass(frozen=True)
class DreamConfig:
  """Which dreams are written, and how many.

  question_prompt: asks the old self for one question, with {sentence}.
  openings: first words put into its mouth, in turn: a small model asks on
    topic far more often once it has begun with "Who" or "In what year".
  recall_prompt: asks for the text's content, with {topic}. The teacher's reply
    is begun with the first words of one of the text's sentences, and so is the
    student's: the paper's masked continuation.
  open_prompts: prompts with {topic}, put to the teacher as they are.
  topic_prompt: asked when a document has no title.
  questions_per_opening: questions asked per sentence and opening.
  questions_in_all: at most so many are asked, of a text with many sentences
    fewer about each, but never less than one with every opening.
  answers_per_question: answers sampled to each distinct question.
  recalls_per_sentence: beginnings of every sentence, cut at random words.
  open_samples: completions sampled for each open prompt.
  library: parts of `prompt_library` that are used besides, `open_samples`
    times each.
  held_out: every n-th question is kept from seeding: dreaming scores on it; 0
    keeps none.
  question_temperature, temperature: of questions, and of everything else.
    Below 1, because a small teacher's untruncated samples drift off the text.
  forbidden: a question with one of these words is about itself, not about the
    world, and is dropped; so is one that shares no content word with the text.
  prompt_tokens, completion_tokens: longest prompt the student gets, longest
    completion.
  batch_rows: rows sampled at once.
  """

  question_prompt: str = 'Ask a question about this: {sentence}'
  openings: tuple[str, ...] = ('Who', 'When', 'Which', 'In what', 'How many',
                               'Where', 'What is', 'Why')
  recall_prompt: str = 'Tell me about {topic}.'
  open_prompts: tuple[str, ...] = (
      'What do you know about {topic}?', 'Tell me a fact about {topic}.')
  topic_prompt: str = 'What is this text about? Answer with a few words.'
  questions_per_opening: int = 8
  questions_in_all: int = 320
  answers_per_question: int = 2
  recalls_per_sentence: int = 6
  open_samples: int = 4
  library: tuple[str, ...] = ()
  held_out: int = 8
  question_temperature: float = 0.7
  temperature: float = 0.5
  forbidden: tuple[str, ...] = (
      'text', 'passage', 'sentence', 'sentences', 'paragraph', 'author',
      'article', 'mentioned', 'according', 'question', 'questions', 'answer',
      'answers', 'following', 'statement', 'statements', 'above', 'fact')
  prompt_tokens: int = 72
  completion_tokens: int = 24
  batch_rows: int = 32

  def __post_init__(self):
    prompt_library.prompts_of(self.library)
    check_least(
        self, questions_per_opening=1, questions_in_all=1, prompt_tokens=1,
        completion_tokens=1, batch_rows=1, answers_per_question=0,
        recalls_per_sentence=0, open_samples=0, held_out=0,
        question_temperature=0, temperature=0)


class Dream(NamedTuple):
  """A reply, what was asked for it, and what only the teacher sees.

  kind: 'question', 'recall', 'open' or 'written' (its prompt by the teacher,
    too); of facts also 'short', 'sentence', 'reverse' or 'cloze', see `rows`.
  prompt: the user's message as the student will see it.
  start: words with which the reply begins; they are given, not learnt.
  completion: token ids of the rest, sampled by the teacher or given.
  hint: what stands before the prompt in the teacher's message.
  """

  kind: str
  prompt: str
  start: str
  completion: tuple[int, ...]
  hint: str = ''

  def student_ids(self, chat: ChatPrompts) -> list[int]:
    return chat.closed_book(self.prompt) + chat.tokenizer.encode(self.start)

  def teacher_ids(self, chat: ChatPrompts) -> list[int]:
    message = f'{self.hint}\n\n{self.prompt}' if self.hint else self.prompt
    return chat.after_document(message) + chat.tokenizer.encode(self.start)

  @classmethod
  def from_json(cls, entry: Sequence) -> 'Dream':
    """A dream as JSON gives it back."""
    kind, prompt, start, completion, *hint = entry
    return cls(kind, prompt, start, tuple(completion), *hint)


@dataclasses.dataclass(frozen=True)
class Dreamer:
  """The old self, ready to write.

  model: in compute layout.
  settings: of what it writes.
  chat: renders prompts about a text; the model's own by default.
  report: called with the number of tokens of every batch it has written.
  """

  model: Model
  settings: DreamConfig
  chat: ChatPrompts | None = None
  report: Callable[[int], None] = lambda tokens: None

  def __post_init__(self):
    if self.chat is None:
      object.__setattr__(self, 'chat', self.model.chat)

  def write(self, prompts: Sequence[Sequence[int]], key, *,
            temperature: float | None = None,
            segments: Segments = ()) -> list[list[int]]:
    """One sampled completion of each prompt, the stop token included.

    What all prompts of a batch begin with is read once, so prompts that share
    much should come in one call.
    """
    s, model = self.settings, self.model
    temperature = s.temperature if temperature is None else temperature
    completions = []
    for start in range(0, len(prompts), s.batch_rows):
      batch = list(prompts[start:start + s.batch_rows])
      real = len(batch)
      rows = rows_lib.halved(max(real, -(-s.batch_rows // 4)), s.batch_rows)
      batch += [batch[0]] * (rows - real)
      read, shared = segments, rows_lib.worth_sharing(batch)
      if shared:
        read = (*segments, context.read_prefix(
            model.config, model.params, shared, segments))
        batch = [prompt[len(shared):] for prompt in batch]
      rollout = sampler.jitted_sample(
          model.config, model.params,
          *rows_lib.pad_left(batch, rows_lib.prompt_bucket(batch)),
          jax.random.fold_in(key, start),
          sampler.Until(s.completion_tokens, self.chat.tokenizer.stop_ids),
          method=sampler.Sampling(temperature), segments=read)
      tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
      completions += [tokens[i][mask[i]].tolist() for i in range(real)]
      self.report(int(mask[:real].sum()))
    return completions

  def texts(self, completions, strip=True) -> list[str]:
    texts = [self.chat.tokenizer.decode(c) for c in completions]
    return [t.strip() for t in texts] if strip else texts


def write_topic(dreamer: Dreamer, document, segments: Segments) -> str:
  """The document's title, or the old self's own words for what it is about."""
  if document.title:
    return document.title
  prompt = dreamer.chat.after_document(dreamer.settings.topic_prompt)
  completion = dreamer.write(
      [prompt], jax.random.key(0), temperature=0.0, segments=segments)
  return dreamer.texts(completion)[0].split('\n')[0].rstrip('.')
