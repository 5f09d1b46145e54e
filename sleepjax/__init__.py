"""Sleep for language models: read, grow, seed, dream (arXiv 2606.03979)."""

from sleepjax.data.chunks import wake_chunks
from sleepjax.dreaming.round import dream_round
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.growth.fold import fold_slots
from sleepjax.growth.grow import ModelState, grow
from sleepjax.growth.slot_operators import AppendSlot, CloseSlot, OpenSlot
from sleepjax.growth.slots import append_slot, new_slot
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Day, Life, live, sleep
from sleepjax.model import load_pretrained
from sleepjax.models.config import ModelConfig
from sleepjax.models.export import export_hf
from sleepjax.models.layout import for_compute, insert_slot
from sleepjax.models.transformer import hidden_states, logits
from sleepjax.sampling.sampler import Sampling, sample
from sleepjax.seeding.objective import SeedingConfig
from sleepjax.seeding.update import seeding_step
from sleepjax.writing.dreams import DreamConfig, write_dreams

__all__ = [
    'AppendSlot', 'CloseSlot', 'Day', 'DreamConfig', 'DreamingConfig',
    'Life', 'ModelConfig', 'ModelState', 'OpenSlot', 'Sampling',
    'SeedingConfig', 'SleepConfig', 'UserError', 'append_slot',
    'dream_round', 'export_hf', 'fold_slots', 'for_compute', 'grow',
    'hidden_states', 'insert_slot', 'live', 'load_pretrained', 'logits',
    'new_slot', 'sample', 'seeding_step', 'sleep', 'wake_chunks',
    'write_dreams']
