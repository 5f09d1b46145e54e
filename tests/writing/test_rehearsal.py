"""What the old self says about other things, by the tiny model of the world."""

import jax
import numpy as np
import pytest

from configs import quickstart
from experiments import _config
from sleepjax.data import world
from sleepjax.errors import UserError
from sleepjax.model import load_pretrained
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding.examples import joined, paired_examples
from sleepjax.writing import rehearsal
from sleepjax.writing.dreamer import DreamConfig, Dreamer

DAYS = [world.day(3_000_000 + i, 0) for i in range(4)]
KEY = jax.random.key(7)


@pytest.fixture(scope='module')
def dreamer():
  model = load_pretrained('tiny-world')
  settings = _config.to_dataclass(
      DreamConfig, quickstart.get_config().sleep.dreams)
  return Dreamer(model.for_compute('float32'), settings)


def texts(dreamer, pairs):
  """[(user's message, reply)] of pairs."""
  decode = dreamer.chat.tokenizer.decode
  return [(decode(prompt), decode(reply).strip()) for prompt, reply in pairs]


def test_rehearsal_answers_and_asks_about_texts_in_view(dreamer):
  pairs = rehearsal.write_rehearsal(
      dreamer, [day.text for day in DAYS], KEY, '{question}', 4, 160, True)
  answers, asked = pairs[:len(pairs) // 2], pairs[len(pairs) // 2:]
  right = []
  for prompt, reply in texts(dreamer, answers):
    day = next(day for day in DAYS if prompt.startswith(day.text))
    question = prompt.removeprefix(day.text).strip()
    right.append(world.answer_to(question, day.facts) == reply)
  assert len(answers) > 12 and np.mean(right) > 0.8
  about = set()
  for (prompt, reply), (answered, _) in zip(
      texts(dreamer, asked), texts(dreamer, answers), strict=True):
    assert 'Ask a question about this : ' in prompt
    assert answered.endswith(reply)  # What it asked is what it answered.
    about.add(prompt)
  assert len(about) > 12  # Of every text, several sentences.


def test_no_room_for_a_text_is_an_error(dreamer):
  with pytest.raises(UserError, match='sleep.rehearsal_tokens=20: use shorter'):
    rehearsal.write_rehearsal(
        dreamer, [DAYS[0].text], KEY, '{question}', 2, 20)


def test_memories_are_what_is_long_known(dreamer):
  pairs = rehearsal.write_memories(
      dreamer, world.ASK, 32, KEY, '{question}')
  assert len(pairs) > 20
  known = world.known_facts()
  assert np.mean([world.answer_to(question, known) == reply
                  for question, reply in texts(dreamer, pairs)]) > 0.8


def test_closed_book_answers_leave_out_what_is_too_long(dreamer):
  questions = [q.question for q in world.questions(
      world.known_facts()[:5], 'direct')]
  pairs = rehearsal.write_closed_book(
      dreamer, [*questions, DAYS[0].text], KEY)
  assert [prompt for prompt, _ in texts(dreamer, pairs)] == questions


def test_examples_of_two_teachers_join(dreamer):
  pair = lambda *lengths: [([5] * n, [6, 7, 8] * (n // 3)) for n in lengths]
  short, long = (paired_examples(
      dreamer.model.config, dreamer.model.params, pairs, 24)
                 for pairs in (pair(3, 5), pair(20,)))
  both = joined(short, long)
  assert len(both) == 3
  assert both.student.prompt_mask.sum(1).tolist() == [3, 5, 20]
  for index, part, own in ((1, short, 1), (2, long, 0)):
    rows, hidden = both.take([index])
    want, want_hidden = part.take([own])
    N = want_hidden.shape[1]
    assert (hidden[:, :N] == want_hidden).all()
    assert not rows.completion_mask[:, N:].any()
    assert rows_lib.num_tokens(rows) == rows_lib.num_tokens(want)
    prompt = lambda r: r.prompt[r.prompt_mask].tolist()
    assert prompt(rows) == prompt(want)
