"""Nights that leant on a forgotten one learn their own answers once more.

A night that was learnt while another was open may have leant on it, and lost
answers where that is closed. Its slot learns them again: what the model said,
closed book, before the forgotten night was closed, to what this night was
asked. Nothing passes but the words of these answers: no text, no distribution
and no question about what is forgotten. What the forgotten night had put into
these very answers stays in them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sleepjax import seeds
from sleepjax.errors import UserError, check_least
from sleepjax.growth import nights, slots
from sleepjax.growth.adapters import Slot
from sleepjax.growth.learner import Learner
from sleepjax.lifecycle import recipes
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.models.night_records import NightRecord
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding.consolidation import Guard, HandOver, consolidate
from sleepjax.seeding.examples import paired_examples, score_examples
from sleepjax.seeding.loop import Seeder, Terms
from sleepjax.training.observer import Observer, silent
from sleepjax.writing import rehearsal
from sleepjax.writing.dreamer import Dreamer

_GUARDED = 16  # Rows on which is measured what the updates move.


@dataclasses.dataclass(frozen=True)
class Reseeding:
  """How nights learn their own answers once more.

  updates: of each such night's slot; 0 for none.
  prompts: number of a night -> the messages that it has learnt to answer, also
    of the forgotten ones, whose messages nobody is asked; None for those that
    the run has saved with its model.
  learning_rate: lower than of a newborn slot.
  settings: of the sleep that this is a part of: rows, retention, what it asks
    itself for that, and how far it may move.
  seed: of what is drawn.
  """

  updates: int = 40
  prompts: Mapping[int, Sequence[str]] | None = None
  learning_rate: float = 1e-3
  settings: SleepConfig = dataclasses.field(
      default_factory=lambda: dataclasses.replace(
          recipes.facts(), unroll=False))  # It compiles faster.
  seed: int = 0

  def __post_init__(self):
    check_least(self, updates=0, learning_rate=0)


def saved_prompts(model: Model) -> dict[int, list[str]]:
  """Number of a night -> what it has learnt to answer, as its run has saved it.

  Nights that were not learnt in the run that saved this model have none, and
  no night has in a model that was put together or has forgotten one.

  Args:
    model: as it was read from the folder of a run.
  """
  progress: Any = model.lineage.get('progress') or {}
  written = progress.get('dreams') or [
      sleep['texts'] for sleep in progress.get('sleeps', ())]
  return {night.number: prompts_in(dreams) for night, dreams in zip(
      model.nights()[-len(written):], written, strict=True)} if written else {}


def prompts_in(dreams: Sequence[Mapping[str, Any]]) -> list[str]:
  """What was asked in a night's dreams, as its report has them, each once."""
  return sorted({dream['prompt'] for dream in dreams
                 if dream['kind'] != 'recall'})


def reseeded(before: Model, after: Model, plan: Reseeding,
             observer: Observer | None = None
             ) -> tuple[Model, dict[int, HandOver]]:
  """A model without some nights whose other nights learn their answers again.

  Those nights are trained that were learnt while a forgotten one was open, one
  after the other, each on what it was asked itself. What the model says, with
  the forgotten ones closed, to what other nights were asked and to what it asks
  itself is retained.

  Args:
    before: canonical, with all nights.
    after: what `nights.forget` has made of it.
    plan: how.
    observer: is shown phase `seed` of each.

  Returns:
    (the model; number of each night that was trained -> what that did).

  Raises:
    UserError: of such a night no prompt is known that fits.
  """
  left = {night.number for night in after.nights()}
  gone = [n.number for n in before.nights() if n.number not in left]
  leaning = nights.leaning_on(before, *gone)
  asked = _asked(before, leaning, gone, plan) if plan.updates else {}
  if not asked:
    return after, {}
  observer, s = observer or silent(), plan.settings
  said = _answers(s.for_compute(before), asked, s)
  model, done = after, {}
  for night in leaning:
    model, done[night.number] = _trained(
        model, night, said, plan, jax.random.fold_in(
            seeds.key_of(plan.seed), night.number), observer)
  return nights.trained_again(after, model, {
      'reseeded.updates': plan.updates,
      'reseeded.learning_rate': plan.learning_rate}), done


def _asked(before, leaning, gone, plan):
  """Number of each night that stays -> prompts of its own, and of no exam."""
  known = saved_prompts(before) if plan.prompts is None else plan.prompts
  forbidden = {prompt for number in gone for prompt in known.get(number, ())}
  forbidden |= {put for night in before.nights()
                for question, _ in night.questions
                for put in (question, night.answer_prompt.format(
                    question=question))}
  fits = lambda prompt: prompt not in forbidden and len(
      before.chat.closed_book(prompt)) <= plan.settings.dreams.prompt_tokens
  asked = {number: [*filter(fits, prompts)]
           for number, prompts in known.items() if number not in gone}
  for night in leaning:
    if night.slot is None or not asked.get(night.number):
      raise UserError(
          f'night {night.number} ({night.title or "without a title"}) was '
          'learnt while a forgotten one was open, and cannot be re-seeded: '
          + ('it has no slot of its own.' if night.slot is None else
             'nothing is saved of what it was asked, or all of that is too '
             'long, of an exam, or was asked of the forgotten one, too.')
          + ' Forget from the folder of the run that slept, or without '
          're-seeding.')
  return asked


def _answers(ready, asked, settings):
  """Number of a night -> (prompt ids, ids of the likeliest answer)."""
  dreamer = Dreamer(ready, settings.dreams)
  ids = {number: [*map(ready.chat.closed_book, prompts)]
         for number, prompts in asked.items()}
  return {number: list(zip(prompts, dreamer.write(
      prompts, jax.random.key(0), temperature=0.0), strict=True))
          for number, prompts in ids.items() if prompts}


def _trained(model: Model, night: NightRecord, said, plan, key, observer):
  """(the model after updates of one night's slot, what they did)."""
  s, tokens = plan.settings, plan.settings.dreams.completion_tokens
  ready, index = s.for_compute(model), night.slot
  config, params = ready.config, ready.params
  retained = _retained(ready, night, said, s, key)
  own = [prompt for prompt, _ in said[night.number]]
  part = Slot(-1, config.slot_rank, night.layers)
  opened = np.asarray(slots.opened_layers(model.config, model.params))
  first = int(np.argmax(opened[:, index]))
  seeder = Seeder(
      Learner(config, params, part, index, first),
      dataclasses.replace(
          s.seeding, steps=plan.updates, epochs=0.0, target='tokens', alpha=1.0,
          on_policy=0.0, teacher='frozen', estimator='exact', rehearsal=None,
          ewc=None, learning_rate=plan.learning_rate),
      Terms(score_examples(
          config, params, own, own, [reply for _, reply in said[night.number]],
          tokens, taught=False), retention=paired_examples(
              config, params, retained, tokens) if retained else None))
  few = retained[::-(-len(retained) // _GUARDED)] if retained else []
  value, hand_over = consolidate(
      seeder, slots.read_slot(
          model.config, model.params, index, first_layer=first), key,
      between=(f'night {night.number}', f'night {night.number}'),
      guard=Guard(None, rows_lib.rows_of(*zip(*few, strict=True)) if few
                  else None, s.max_retention_divergence),
      budget=s.seeding_budget, observer=observer)
  return model.with_params(model.config, part.insert(
      model.config, model.params, value, index)), hand_over


def _retained(ready, night, said, settings, key):
  """What the model says as it is: to others' prompts, and to its own."""
  dreamer = Dreamer(ready, settings.dreams)
  prompts = [prompt for number, pairs in said.items()
             if number != night.number for prompt, _ in pairs]
  retained = list(zip(prompts, dreamer.write(
      prompts, key, temperature=0.0), strict=True))
  if settings.memories:
    retained += rehearsal.write_memories(
        dreamer, settings.memory_prompt, settings.memories,
        jax.random.fold_in(key, 1), settings.answer_prompt)
  return retained
