"""Nights as files: saved alone, opened elsewhere, combined, forgotten.

What a night has learnt is its slot, and slots add up: a model with the slots of
several nights adds to the output of each MLP the sum of what every one of them
adds. So a night can leave its model as a file of a few MB, and enter any copy
of the model that it was learnt on.

A night that was learnt while others were open has learnt beside them. It
enters only where these are, too, and a model that forgets one of these is not
the model that has never known it.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.night_files import SavedNight, slot_sha256, write_night
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models.config import SLOT_MATRICES, ModelConfig
from sleepjax.models.hashes import base_sha256
from sleepjax.models.night_records import NightRecord, chosen, next_number

# What a lineage keeps when a night enters or leaves: the rest is of a run that
# is no longer this model's, and may hold what was read.
_KEPT = ('base', 'base_architecture', 'base_files', 'answer_prompt', 'nights',
         'forgotten')


def slot_of(model: Model, index: int) -> tuple[dict[str, np.ndarray],
                                               tuple[int, ...]]:
  """A slot's matrices in its open layers, and which these are."""
  opened = to_host(slots.opened_layers(model.config, model.params))
  layers = np.flatnonzero(opened[:, index])
  slot = slots.read_slot(model.config, model.params, index)
  return ({name: to_host(leaf)[layers] for name, leaf in slot.items()},
          tuple(layers.tolist()))


def take_out(model: Model, number: int) -> SavedNight:
  """A night of a model, apart from it.

  Args:
    model: canonical.
    number: of the night, see `Model.nights`.

  Raises:
    UserError: there is no such night, it has no slot of its own, or its slot or
      the model below it is no longer what it was that night.
  """
  night, = _chosen(model, (number,))
  if night.slot is None:
    raise UserError(
        f'night {number} has changed other weights of the model than a slot of '
        "its own: it cannot leave it. Sleep with sleep.trained='slot'.")
  slot, layers = slot_of(model, night.slot)
  now = {'sha256': slot_sha256(slot, layers),
         'base_sha256': base_sha256(model.config, model.params)}
  for name, value in now.items():
    if getattr(night, name) not in ('', value):
      raise UserError(
          f'night {number}: {"its slot" if name == "sha256" else "the model"} '
          'was changed by a later night, so that it would not be the same '
          'elsewhere. Save the whole model instead.')
  learnt_on = night.learnt_on if night.sha256 else tuple(
      slot_sha256(*slot_of(model, one.slot)) for one in model.nights()
      if one.number < number and one.slot is not None)
  return SavedNight(
      dataclasses.replace(night, **now, learnt_on=learnt_on), slot, model.name,
      f'night {number}')


def save_night(model: Model, number: int, path: str | os.PathLike) -> None:
  """Writes one night of a model as a file of its own, in safetensors.

  Args:
    model: canonical.
    number: of the night, see `Model.nights`.
    path: of the file; what is there is replaced.

  Raises:
    UserError: see `take_out`; or the file cannot be written.
  """
  write_night(take_out(model, number), path)


def add_nights(model: Model, nights: Iterable[SavedNight]) -> Model:
  """A model with more nights: to each MLP's output their slots are added.

  The same nights give the same parameters in whichever order they are named.

  Args:
    model: canonical; a copy of what every one of them was learnt on.
    nights: each a different one.

  Returns:
    The model; the nights have the next numbers of it.

  Raises:
    UserError: a night was learnt on another model, or beside nights that are
      neither there nor among these; is there already; or does not fit.
  """
  nights = sorted(nights, key=lambda night: (
      len(night.record.learnt_on), night.record.sha256))
  if not nights:
    return model
  _check_enter(model, nights)
  config, params = model.config, model.params
  used = to_host(slots.is_open(config, params)).tolist()
  missing = len(nights) - used.count(False)
  if missing > 0:
    config, params = slots.allocate_pool(
        config, params, missing, nights[0].rank)
    used += missing * [False]
  params = _with_slots(params, lambda leaf: leaf)
  lineage, written = dict(model.lineage), list(model.nights())
  for number, night in enumerate(nights, next_number(lineage, written)):
    index = used.index(False)
    used[index] = True
    layers = np.array(night.record.layers)
    whole = {name: jnp.zeros((config.num_layers, *leaf.shape[1:]),
                             jnp.float32).at[layers].set(leaf)
             for name, leaf in night.slot.items()}
    params = slots.open_slot(
        config, params, whole, index,
        slots.layer_mask(config, night.record.layers))
    written.append(dataclasses.replace(
        night.record, number=number, slot=index))
  lineage.setdefault('base', model.name)
  lineage.setdefault('answer_prompt', nights[0].record.answer_prompt)
  return _with_nights(model.with_params(config, params), lineage, written)


def _check_enter(model, nights):
  c, base = model.config, base_sha256(model.config, model.params)
  there = {night.sha256 for night in model.nights()}
  coming = [night.record.sha256 for night in nights]
  if c.slot_top_k:
    raise UserError(
        f'slot_top_k={c.slot_top_k}: the slots of this model compete, so that '
        'nights do not add up. Use a model with slot_top_k=0.')
  rank = (c.slot_rank if c.num_slots or any(c.level_slots)
          else nights[0].rank)
  for i, night in enumerate(nights):
    r, where = night.record, night.where
    if r.base_sha256 != base:
      raise UserError(
          f'{where} was learnt on {night.base} with sha256 '
          f'{r.base_sha256[:12]}…, and without its nights this model, '
          f'{model.name}, has {base[:12]}…. Load the very model that it was '
          'learnt on, from the same file (its precision and quantisation '
          'count), or sleep on the text again with this one.')
    if r.sha256 in there or r.sha256 in coming[:i]:
      raise UserError(f'{where} is in the model already, or was named twice: '
                      'leave it out.')
    if lacking := [sha for sha in r.learnt_on
                   if sha not in there and sha not in coming]:
      raise UserError(
          f'{where} was learnt beside {len(lacking)} earlier nights that this '
          f'model does not have (sha256 {lacking[0][:12]}…). Save these from '
          'its model, too, and combine all; what is not wanted can be '
          'forgotten afterwards.')
    if night.rank != rank:
      raise UserError(
          f'{where} has a slot of rank {night.rank}, and this model or another '
          f'of the nights of rank {rank}: all slots of a model share one. '
          'Combine nights of one sleep.slot_rank.')
    _check_form(c, night)


def _check_form(config: ModelConfig, night):
  names = {*SLOT_MATRICES[config.slot_form]} | (
      {'router'} if config.slot_routing != 'none' else set())
  layers = night.record.layers
  if (set(night.slot) != names or max(layers, default=0) >= config.num_layers
      or night.slot['down'].shape[2] != config.embed_dim):
    raise UserError(
        f'{night.where}: a slot with {", ".join(sorted(night.slot))} of width '
        f'{night.slot["down"].shape[2]} in layers up to '
        f'{max(layers, default=0)} does not fit into this model. Open it in '
        'the model that it was learnt on.')


def forgets_exactly(model: Model, *numbers: int) -> bool:
  """Whether without these nights it is the model that never had them.

  It is if no other night was learnt beside them, and nothing but their slots
  has changed since: the last night, nights after it, or such as were learnt
  apart from all others.

  Raises:
    UserError: the model has no such night.
  """
  gone = _chosen(model, numbers)
  base = base_sha256(model.config, model.params)
  for night in gone:
    if night.slot is None:
      return False
    now = slot_sha256(*slot_of(model, night.slot))
    if night.sha256 not in ('', now) or night.base_sha256 not in ('', base):
      return False
  return not leaning_on(model, *numbers)


def leaning_on(model: Model, *numbers: int) -> list[NightRecord]:
  """The other nights that were learnt while one of these was open.

  Where nobody wrote that down, they are all that have come after it.

  Raises:
    UserError: the model has no such night.
  """
  gone = _chosen(model, numbers)
  now = {slot_sha256(*slot_of(model, night.slot))
         for night in gone if night.slot is not None}
  first = min(night.number for night in gone)
  return [other for other in model.nights() if other not in gone and (
      now.intersection(other.learnt_on)
      or (not other.sha256 and other.number > first))]


def forget(model: Model, *numbers: int) -> Model:
  """A model without what some nights have added.

  Their slots are closed and emptied. That is exact where `forgets_exactly`
  says so: of the last night, and of nights that were learnt apart. Nights that
  were learnt while a forgotten one was open have leant on it; what they know
  may change, and some of what it knew may be in them.

  Args:
    model: canonical.
    numbers: of the nights, see `Model.nights`; the others keep theirs.

  Returns:
    The model; neither its parameters nor its lineage hold what was read.

  Raises:
    UserError: there is no such night, or it has no slot of its own.
  """
  gone, exact = _chosen(model, numbers), forgets_exactly(model, *numbers)
  params = model.params
  for night in gone:
    if night.slot is None:
      raise UserError(
          f'night {night.number} has changed other weights of the model than a '
          'slot of its own, and cannot be taken out of them. Start again from '
          'the model as it was before.')
    params = _with_slots(params, lambda leaf, index=night.slot: leaf.at[
        :, index].set(jnp.zeros((), leaf.dtype)))
  lineage = dict(model.lineage)
  lineage['forgotten'] = [*lineage.get('forgotten', ()), *(
      {'number': night.number, 'exact': exact} for night in gone)]
  return _with_nights(
      model.with_params(model.config, params), lineage,
      [night for night in model.nights() if night not in gone])


def trained_again(before: Model, after: Model,
                  settings: Mapping[str, Any]) -> Model:
  """A model of whose nights some were trained once more, with their records.

  They have leant on all others that are open now.

  Args:
    before, after: canonical, with the same nights.
    settings: of that training, for their records.
  """
  old, new = ({night.number: slot_sha256(*slot_of(model, night.slot))
               for night in before.nights() if night.slot is not None}
              for model in (before, after))
  now = {old[number]: new[number] for number in old}
  written = []
  for night in before.nights():
    learnt_on = tuple(now.get(sha, sha) for sha in night.learnt_on)
    if night.slot is not None and new[night.number] != old[night.number]:
      night = dataclasses.replace(
          night, sha256=new[night.number],
          base_sha256=base_sha256(after.config, after.params),
          settings={**night.settings, **settings})
      learnt_on = tuple(sha for number, sha in new.items()
                        if number != night.number)
    written.append(dataclasses.replace(night, learnt_on=learnt_on))
  return _with_nights(after, after.lineage, written)


def _with_slots(params, change):
  """Parameters with every leaf of the pool, on its device, changed."""
  layers = params['layers']
  return {**params, 'layers': {**layers, 'slots': jax.tree.map(
      lambda leaf: change(jnp.asarray(leaf)), layers['slots'])}}


def _chosen(model, numbers):
  nights = model.nights()
  try:
    return chosen(nights, numbers)
  except KeyError as error:
    have = ', '.join(str(night.number) for night in nights)
    raise UserError(
        f'night {error.args[0]}: this model has '
        + (f'the nights {have}.' if have else 'slept no night.')) from None


def _with_nights(model, lineage, written):
  kept = {name: lineage[name] for name in _KEPT if name in lineage}
  return dataclasses.replace(model, lineage={
      **kept, 'nights': [dataclasses.asdict(night) for night in written]})
