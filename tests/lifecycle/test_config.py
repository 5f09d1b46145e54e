"""Settings of a sleep."""

import dataclasses

import pytest

from sleepjax.growth import adapters
from sleepjax.growth.adapters import AllLayers, LowRank, Slot, StaticSlot
from sleepjax.lifecycle.config import ADAPTERS, SleepConfig
from sleepjax.seeding.settings import SeedingConfig


def test_a_share_of_the_layers_is_that_of_every_model():
  settings = SleepConfig(slot_from=2 / 3)
  slot = settings.adapter
  assert slot.open_layers(30) == tuple(range(20, 30))
  assert slot.open_layers(2) == (1,)
  assert (slot.first_layer(30), slot.first_layer(1)) == (20, 0)
  assert SleepConfig().adapter.open_layers(30) == () == SleepConfig(
      slot_from=0.1).adapter.open_layers(3)
  chosen = SleepConfig(slot_layers=(3, 5), slot_from=0.5)
  assert chosen.adapter.open_layers(8) == (3, 5)
  assert chosen.adapter.first_layer(8) == 3
  adapter = SleepConfig(trained='low_rank', slot_from=0.5, dreaming=None)
  assert adapter.adapter.first_layer(8) == 0  # It changes every layer.
  with pytest.raises(ValueError, match='slot_from=1.0'):
    SleepConfig(slot_from=1.0)


@pytest.mark.parametrize('name, adapter', [
    ('slot', Slot(-1, 8, (1, 2), 0.5)),
    ('static_slot', StaticSlot(-1, 8, (1, 2), 0.5)),
    ('low_rank', LowRank(3, 6.0)),
    ('low_rank_mlp', LowRank(3, 6.0, ('gate', 'up', 'down'))),
    ('all_layers', AllLayers())])
def test_what_learns_by_its_name(name, adapter):
  assert name in ADAPTERS
  settings = SleepConfig(trained=name, slot_rank=8, slot_layers=(1, 2),
                         slot_from=0.5, low_rank=3, low_rank_scale=2.0,
                         dreaming=None)
  assert settings.adapter == adapter
  assert type(settings.adapter) is type(adapter)


@dataclasses.dataclass(frozen=True)
class Own(adapters.Adapter):
  """Changes weights of the model, as far as settings are concerned."""


def test_what_learns_may_be_an_object():
  settings = SleepConfig(trained=Own(), dreaming=None,
                         seeding=SeedingConfig(ewc=1.0))
  assert settings.adapter == Own()
  with pytest.raises(ValueError, match='no slot for the second stage'):
    SleepConfig(trained=Own())
