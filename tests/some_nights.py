"""Nights that have learnt something at random, and are written down."""

import jax
import numpy as np

from sleepjax.data.documents import Document, Question
from sleepjax.growth import slots
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day
from sleepjax.runs.recording import NightBook
from sleepjax.seeding.consolidation import HandOver

RANK = 4


def slept(model, seed, layers=(0, 1), rank=RANK, exam=None, scale=0.3):
  """The model after one more night.

  Args:
    model: canonical.
    seed: of the slot; the text is called after it.
    layers: where it is open.
    rank: of the slot.
    exam: questions about the text; None for one.
    scale: of what it writes to the residual stream.
  """
  config, params = model.config, model.params
  if np.asarray(slots.is_open(config, params)).all():
    config, params = slots.allocate_pool(config, params, 1, rank)
  evening = model.with_params(config, params)
  index = int(np.argmin(np.asarray(slots.is_open(config, params))))
  slot = slots.new_slot(config, jax.random.key(seed), rank)
  slot['down'] = scale * jax.random.normal(
      jax.random.key(seed + 100), slot['down'].shape)
  morning = evening.with_params(config, slots.open_slot(
      config, params, slot, index, slots.layer_mask(config, layers)))
  report = SleepReport(0.0, '', 0, (), [], HandOver(
      'context', 'mlp', None, None, None, False), {}, [], None, {}, {})
  if exam is None:
    exam = [Question(f'What {seed}?', f'It {seed}')]
  return NightBook(SleepConfig(
      answer_prompt='{question}', slot_rank=rank)).written(
          evening, morning, Day(Document(f'Day {seed}', f'Text {seed}.'),
                                exam=exam), report)
