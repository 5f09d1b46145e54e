"""Talk to a model, and let it sleep on what you told it.

  python -m experiments.chat --workdir=DIR [--model=NAME]

What you type is a message, with all of the day in the model's context. Lines
that begin with a slash are commands:

  /read FILE   puts a text into the context
  /sleep       sleeps on the texts and on what you told; the context is cleared
  /ask …       asks from the weights alone, nothing in context
  /nights      what it has slept on
  /forget N    takes a night out of the model; with N reseed, the nights that
               were learnt on it learn their own answers once more
  /export DIR  writes the model as a Hugging Face folder, or, if the name ends
               in .gguf, as such a file
  /help, /exit

Questions you ask teach nothing; what you tell does. All of it is kept in DIR
after each line: the same command goes on. Messages may come from a pipe; then
only answers go to stdout, and what goes wrong is a line on stderr.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('chat')

import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import flags

from experiments import _config
from sleepjax import library
from sleepjax.data import documents, files
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.model import load_pretrained
from sleepjax.runs import folder
from sleepjax.tasks.conversation import Conversation
from sleepjax.training import checkpoints
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.observer import Observer, shown

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_MODEL = flags.DEFINE_string(
    'model', None, 'In place of config.model: who is talked to.',
    flag_values=_FLAGS)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of the conversation and the model.',
    flag_values=_FLAGS)

_RESEED = 'reseed'  # Behind the numbers of /forget.


def main(argv: Sequence[str]) -> None:
  config = _config.from_flags(
      argv, default='configs/consolidate/quick.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'sleep'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(config, seed=0)
  settings = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  enable_compilation_cache()
  claim = folder.claim(workdir)
  chat = Chat(workdir, _MODEL.value or config.model, settings, config.seed)
  if sys.stdin.isatty():
    print('Type a message, or /help.', file=sys.stderr)
  for line in _lines():
    try:
      if (answer := chat.answer(line)) is None:
        break
      print(answer, flush=True)
    except UserError as error:
      print(f'error: {error}', file=sys.stderr, flush=True)
  del claim


class Chat:
  """Answers lines, and keeps everything in a folder."""

  def __init__(self, workdir: pathlib.Path, source: str, settings: SleepConfig,
               seed: int):
    """Begins a conversation, or goes on with that of the folder.

    Args:
      workdir: the folder.
      source: the model, if nothing has been slept on there.
      settings: of every sleep.
      seed: of everything random.

    Raises:
      UserError: the model, or what is in the folder, cannot be read.
    """
    self._model_folder = workdir / 'model'
    self._state = workdir / 'chat.json'
    slept = checkpoints.is_saved(self._model_folder)
    model = checkpoints.load_model(
        self._model_folder) if slept else load_pretrained(source)
    try:
      saved = json.loads(self._state.read_text(encoding='utf-8')) if (
          self._state.exists()) else None
      self._talk = Conversation(model, settings, seed, saved)
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise UserError(f'{self._state}: damaged ({error}). Delete it to begin a '
                      'new conversation; the nights stay.') from error

  def answer(self, line: str) -> str | None:
    """What is said to a line; None to /exit.

    Raises:
      UserError: the command is none, or cannot be followed.
    """
    name, _, rest = line.partition(' ')
    if not line.startswith('/'):
      answer = self._talk.say(line)
    elif name in ('/exit', '/quit'):
      return None
    elif (command := self._commands().get(name)) is None:
      raise UserError(f'{name}: no such command; /help lists all.')
    else:
      answer = command(rest.strip())
    files.write(self._state, json.dumps(self._talk.to_json(), indent=2))
    return answer

  def _commands(self) -> dict[str, Callable[[str], str]]:
    return {'/help': lambda rest: __doc__.split('\n\n')[3], '/read': self._read,
            '/sleep': self._sleep, '/ask': self._ask, '/nights': self._nights,
            '/forget': self._forget, '/export': self._export}

  def _read(self, path: str) -> str:
    document = documents.Document.read(_given(path, '/read FILE'))
    self._talk.read(document)
    return (f'Read {document.title or path}: {len(document.text.split())} '
            'words. Ask about it, or /sleep.')

  def _sleep(self, rest: str) -> str:
    del rest
    new = self._talk.sleep(_observer())
    self._save()
    return '\n'.join(f'Slept: night {night.number}, {night.title or "a text"}'
                     + (', undone: it would have harmed what should stay'
                        if night.rolled_back else '') for night in new)

  def _ask(self, question: str) -> str:
    return self._talk.ask(_given(question, '/ask QUESTION'))

  def _nights(self, rest: str) -> str:
    del rest
    return '\n'.join(
        f'{night.number}  {night.date}  {night.title or "a text"}  '
        f'{night.parameters:,} parameters'
        for night in self._talk.model.nights()) or 'No night yet.'

  def _forget(self, rest: str) -> str:
    *numbers, last = rest.replace(',', ' ').split() or ['']
    reseed = last == _RESEED
    try:
      numbers = [*map(int, numbers if reseed else [*numbers, last])]
    except ValueError:
      numbers = []
    if not numbers:
      raise UserError(
          f'/forget N, or /forget N {_RESEED}: expected numbers of nights; '
          '/nights has them.')
    exact, reseeded = self._talk.forget(
        *numbers, updates=Reseeding().updates if reseed else 0,
        observer=_observer())
    self._save()
    if exact:
      return 'Forgotten: this is the model that never had it.'
    return '; '.join(['Forgotten', *(
        f'night {number} has learnt its answers once more'
        + (', undone: it moved what should stay' if hand_over.rolled_back
           else '') for number, hand_over in reseeded.items()),
        'later nights have leant on it, and may still hold something of it.'])

  def _export(self, path: str) -> str:
    path = _given(path, '/export DIR')
    write = (library.export_gguf if path.endswith('.gguf')
             else library.export_hf)
    write(self._talk.model, path)
    return f'Wrote {path}.'

  def _save(self):
    library.save(self._talk.model, self._model_folder)


def _observer() -> Observer | None:
  """Shows phases to a person, and nothing in a pipe."""
  return shown() if sys.stderr.isatty() else None


def _given(text: str, form: str) -> str:
  if not text:
    raise UserError(f'{form}: something is missing.')
  return text


def _lines() -> Iterator[str]:
  """Lines from stdin, with a prompt sign where a person types them."""
  while True:
    if sys.stdin.isatty():
      print('> ', end='', file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
      return
    if line.strip():
      yield line.strip()
