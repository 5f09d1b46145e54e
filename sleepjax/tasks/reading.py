"""What every task that reads documents does before its nights."""

import numpy as np

from sleepjax.data.chunks import wake_chunks
from sleepjax.data.documents import Document
from sleepjax.growth import slots
from sleepjax.growth.adapters import check_growth
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.writing import verification
from sleepjax.writing.coverage import check_askable
from sleepjax.writing.dreamer import Dreamer

_BLOCK = 8  # Slots that a pool gains at once, at least.


def chunks_of(model: Model, document: Document, settings: SleepConfig
              ) -> list[Document]:
  """The stretches of a document that are each slept on.

  Raises:
    UserError: they cannot be read, or nothing can be asked about them.
  """
  s, chat = settings, model.chat
  check_growth(s.adapter, model.config, model.params)
  chunks = wake_chunks(chat, document, s.context_tokens,
                       model.config.max_context - s.reply_tokens)
  if s.source == 'dreams':
    check_askable(Dreamer(model, s.dreams), [chunk.text for chunk in chunks])
  for chunk in chunks if s.source == 'facts' else ():
    verification.check_fits(
        model, s.writing.ask.examples, chunk.title, chunk.text)
  return chunks


def with_room(model: Model, settings: SleepConfig, left: int) -> Model:
  """The same function with a closed slot for the next night.

  Slots are added in blocks of at least as many as there are, so that programs
  are compiled anew a few times in a long life, and half of the pool at most is
  empty.

  Args:
    model: canonical.
    settings: of the sleeps.
    left: nights that are to come.
  """
  used = np.asarray(slots.is_open(model.config, model.params))
  room = min(settings.adapter.slots_in(left, len(used)),
             max(_BLOCK, len(used)))
  if not room or not used.all():
    return model
  return model.with_params(*slots.allocate_pool(
      model.config, model.params, room, settings.slot_rank))
