"""How often sampled answers agree with the greedy one."""

import jax
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.data.prompts import ChatPrompts
from sleepjax.model import load_pretrained
from sleepjax.sampling import context
from sleepjax.writing import agreement
from sleepjax.writing.dreamer import DreamConfig, Dreamer


@pytest.mark.slow
def test_a_model_agrees_with_itself_about_a_text_it_has_in_view():
  model = load_pretrained('tiny-world')
  chat = ChatPrompts(model.tokenizer)
  day = world.day(seed=900, number=0)
  dreamer = Dreamer(model, DreamConfig(
      '', (), '', (), '', completion_tokens=4))
  segment = context.read_document(model.config, model.params, chat, day.text)
  asked = day.questions('direct')
  prompts = [chat.after_document(q.question) for q in asked]
  shares = agreement.agreement(
      dreamer, prompts, [q.answer for q in asked], (segment,),
      jax.random.key(0), 4)
  assert len(shares) == len(asked) and set(shares) <= {0, 0.25, 0.5, 0.75, 1}
  assert np.mean(shares) > 0.9
  wrong = agreement.agreement(
      dreamer, prompts, ['nonsense'] * len(asked), (segment,),
      jax.random.key(0), 2)
  assert wrong == [0.0] * len(asked)
  blind = agreement.agreement(
      dreamer, [chat.closed_book(q.question) for q in asked],
      [q.answer for q in asked], (), jax.random.key(0), 4)
  assert np.mean(blind) < 0.5
  assert agreement.agreement(dreamer, [], [], (), jax.random.key(0), 4) == []
