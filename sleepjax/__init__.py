"""Sleep for language models: read, grow, seed, dream (arXiv 2606.03979).

What is public is imported when it is first asked for.
"""

import importlib
from typing import Any

# Module -> what of it is public.
_PUBLIC = {
    'data.chunks': ('wake_chunks',),
    'dreaming.round': ('dream_round',),
    'dreaming.settings': ('DreamingConfig',),
    'errors': ('UserError',),
    'growth.fold': ('fold_slots',),
    'growth.grow': ('ModelState', 'grow'),
    'growth.slot_operators': ('AppendSlot', 'CloseSlot', 'OpenSlot'),
    'growth.slots': ('append_slot', 'new_slot'),
    'lifecycle.config': ('SleepConfig',),
    'lifecycle.cycle': ('Life', 'live'),
    'lifecycle.written': ('Day',),
    'model': ('Model', 'load_pretrained'),
    'models.config': ('ModelConfig',),
    'library': ('Report', 'export_hf', 'load', 'open', 'save', 'sleep'),
    'data.documents': ('Document', 'Question'),
    'models.export': ('check_exportable',),
    'training.observer': ('Observer', 'shown'),
    'models.layout': ('for_compute', 'insert_slot'),
    'models.transformer': ('hidden_states', 'logits'),
    'sampling.sampler': ('Sampling', 'sample'),
    'seeding.settings': ('SeedingConfig',),
    'seeding.update': ('seeding_step',),
    'writing.dreams': ('DreamConfig', 'write_dreams'),
    'writing.facts': ('WritingConfig', 'write_facts'),
    'writing.rows': ('RowConfig',),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items()
              for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
  if name not in _MODULE_OF:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module = importlib.import_module(f'{__name__}.{_MODULE_OF[name]}')
  return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
