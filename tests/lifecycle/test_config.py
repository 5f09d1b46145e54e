"""Settings of a sleep."""

import pytest

from sleepjax.lifecycle.config import SleepConfig


def test_a_share_of_the_layers_is_that_of_every_model():
  settings = SleepConfig(slot_from=2 / 3)
  assert settings.open_layers(30) == tuple(range(20, 30))
  assert settings.open_layers(2) == (1,)
  assert (settings.first_layer(30), settings.first_layer(1)) == (20, 0)
  assert SleepConfig().open_layers(30) == () == SleepConfig(
      slot_from=0.1).open_layers(3)
  chosen = SleepConfig(slot_layers=(3, 5), slot_from=0.5)
  assert chosen.open_layers(8) == (3, 5) and chosen.first_layer(8) == 3
  adapter = SleepConfig(trained='low_rank', slot_from=0.5, dreaming=None)
  assert adapter.first_layer(8) == 0  # It changes every layer.
  with pytest.raises(ValueError, match='slot_from=1.0'):
    SleepConfig(slot_from=1.0)
