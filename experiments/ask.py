"""Asks a model that has slept.

  python -m experiments.ask --checkpoint=DIR --question="Who wrote it?"

prints the answer. Without --question it reads questions, one a line, until an
empty line, `exit` or the end of the input. --document=FILE puts a text into
the model's context, so that what it knows can be compared with what it can
look up. Only answers go to stdout.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('ask')

import argparse
import dataclasses
import sys
from collections.abc import Sequence

import jax
import numpy as np

from experiments import _main
from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.model import Model
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context, rows, sampler
from sleepjax.training import checkpoints
from sleepjax.training.compilation_cache import enable_compilation_cache

# Questions of up to this many tokens, or a multiple of it, share a program.
_PROMPT_BUCKET = 64


def main(argv: Sequence[str]) -> None:
  args = _parse(argv)
  enable_compilation_cache()
  # As a sleep reads it: without its title.
  text = (None if args.document is None else
          documents.Document.read(args.document).text)
  folder = _main.model_folder(args.checkpoint)
  print(f'loading {folder}', file=sys.stderr)
  ask = _asker(checkpoints.load_model(folder), args, text)
  if args.question is not None:
    print(ask(args.question))
    return
  for number, question in enumerate(_lines()):
    print(ask(question, number), flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = _main.Parser('ask', __doc__)
  parser.add_argument(
      '--checkpoint', required=True, metavar='DIR',
      help='workdir of a run, or the folder of a saved model')
  parser.add_argument(
      '--question', metavar='TEXT', help='asked once; without it, a loop')
  parser.add_argument(
      '--document', metavar='FILE', help='text to put into the context')
  parser.add_argument(
      '--max_new_tokens', type=int, default=48, metavar='N',
      help='longest answer, in tokens (default 48)')
  parser.add_argument(
      '--temperature', type=float, default=0.0, metavar='T',
      help='0, the default, always takes the most likely token')
  parser.add_argument(
      '--top_p', type=float, default=1.0, metavar='P',
      help='draws from the likeliest tokens of so much probability together '
      '(default 1: all)')
  parser.add_argument(
      '--seed', type=int, default=0, metavar='N',
      help='of the random numbers when the temperature is not 0')
  args = parser.parse_args(argv[1:])
  if args.max_new_tokens < 1:
    raise UserError(
        f'--max_new_tokens={args.max_new_tokens}: expected at least 1.')
  if not 0 <= args.temperature < float('inf'):
    raise UserError(f'--temperature={args.temperature}: expected 0 or more.')
  if not 0 < args.top_p <= 1:
    raise UserError(
        f'--top_p={args.top_p}: expected a number above 0 and at most 1.')
  return args


@dataclasses.dataclass(frozen=True)
class _Asker:
  """A model that waits for questions.

  prompt: the user's message, with {question}.
  document_tokens, segments: of the text in context; 0 and () without.
  """

  config: ModelConfig
  params: dict
  chat: ChatPrompts
  prompt: str
  max_new_tokens: int
  method: sampler.Sampling
  key: jax.Array
  document_tokens: int = 0
  segments: tuple[Segment, ...] = ()

  def check_fits(self, tokens: int, what: str) -> None:
    if tokens + self.max_new_tokens > self.config.max_context:
      raise UserError(
          f'{what}: {tokens} tokens to read and up to {self.max_new_tokens} '
          "to write are more than the model's context of "
          f'{self.config.max_context}. Shorten it or lower --max_new_tokens.')

  def __call__(self, question: str, number: int = 0) -> str:
    """The answer to the `number`-th question, which shares no other's dice."""
    encode = (self.chat.after_document if self.segments else
              self.chat.closed_book)
    ids = encode(self.prompt.format(question=question.strip()))
    self.check_fits(self.document_tokens + len(ids), 'the question')
    rollout = sampler.jitted_sample(
        self.config, self.params,
        *rows.pad_left([ids], rows.bucket(len(ids), _PROMPT_BUCKET)),
        jax.random.fold_in(self.key, number),
        sampler.Until(self.max_new_tokens, self.chat.tokenizer.stop_ids),
        method=self.method, segments=self.segments)
    tokens = np.asarray(rollout.tokens)[np.asarray(rollout.mask)]
    return self.chat.tokenizer.decode(tokens.tolist()).strip()


def _asker(saved: Model, args: argparse.Namespace,
           text: str | None) -> _Asker:
  config, params = layout.for_compute(saved.config, saved.params)
  ask = _Asker(
      config, params, ChatPrompts(saved.tokenizer),
      saved.lineage.get('answer_prompt', '{question}'), args.max_new_tokens,
      sampler.Sampling(args.temperature, top_p=args.top_p),
      jax.random.key(args.seed))
  if text is None:
    return ask
  tokens = len(ask.chat.document(text))
  ask.check_fits(tokens, args.document)
  segment = context.read_document(config, params, ask.chat, text)
  return dataclasses.replace(
      ask, document_tokens=tokens, segments=(segment,))


def _lines():
  """Questions from stdin, with a prompt sign where a person types them."""
  while True:
    if sys.stdin.isatty():
      print('> ', end='', file=sys.stderr, flush=True)
    line = sys.stdin.readline().strip()
    if line in ('', 'exit'):
      return
    yield line
