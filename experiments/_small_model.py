"""The small model of an experiment, pretrained if it is not yet."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments import _config, pretrain
from sleepjax import seeds
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.mesh import distributed, sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.model import Model, load_pretrained
from sleepjax.models import export
from sleepjax.models.config import ModelConfig
from sleepjax.models.lookup_init import lookup_init
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.pretraining.packed import PackedRows
from sleepjax.runs import folder as folder_lib
from sleepjax.runs.session import StepSession
from sleepjax.training.phase_saves import in_place_of


def trained(config, folder: pathlib.Path, tokenizer: Tokenizer,
            rows_class: type,
            sample_rows: Callable[[Any, Any], PackedRows],
            content: Callable[[int], np.ndarray] | None = None) -> Model:
  """The model that `config.pretrained` describes.

  It is made in `folder`, whose unfinished training goes on, and read from there
  the next time.

  Args:
    config: with seed, save_every, model, pretraining and rows.
    folder: of this model alone.
    tokenizer: its vocabulary.
    rows_class: a dataclass of what config.rows may say.
    sample_rows: (an instance of it, a seed) -> rows to train on.
    content: size of a vocabulary -> which tokens it is to look things up by
      from the start, see `sleepjax.models.lookup_init`; None draws all layers.

  Raises:
    UserError: a setting is wrong, or the folder holds another model.
  """
  model = _config.to_dataclass(
      ModelConfig, config.model, 'config.pretrained.model')
  settings = _config.to_dataclass(
      PretrainingConfig, config.pretraining, 'config.pretrained.pretraining')
  rows = _config.to_dataclass(
      rows_class, config.rows, 'config.pretrained.rows')
  if model.vocab_size < tokenizer.vocab_size:
    raise UserError(
        f'config.pretrained.model.vocab_size={model.vocab_size}: the '
        f'vocabulary has {tokenizer.vocab_size} tokens.')
  recipe, mesh = json.loads(config.to_json()), sharding.make_mesh(MeshConfig())
  if (folder / 'report.json').exists():
    made = json.loads((folder / 'report.json').read_text(encoding='utf-8'))
    folder_lib.check_same(folder, *(folder_lib.identity(run, ('config',))
                                    for run in (made, {'config': recipe})))
    return load_pretrained(str(folder / 'hf'))
  with StepSession(folder, recipe, 'steps.jsonl') as session:
    state = pretrain.born(model, settings, config.seed, False, mesh)
    if content is not None:
      looking_up = lookup_init(
          model, state[0], content(model.vocab_size),
          jax.random.fold_in(seeds.key_of(config.seed), 1))
      state[0] = sharding.put(
          looking_up, sharding.param_shardings(looking_up, mesh))
    if session.saved:
      state = in_place_of(state, session.saved, 'the saved state')
    with (session.observer.phase('pretrain', total=settings.steps) as phase,
          session.deferred()):
      if session.step:
        phase.advance(session.step)
      params, _ = pretrain.train(
          model, settings, lambda step: sample_rows(
              rows, (config.seed, step)), state,
          range(session.step, settings.steps),
          pretrain.watched(session, phase, config.save_every), mesh)
    params = jax.tree.map(sharding.to_host, params)
    if distributed.is_first() and not (folder / 'hf').exists():
      export.export_hf(model, params, tokenizer, folder / 'hf')
    distributed.barrier('the pretrained model', timeout=3600)
    session.report(session.notes)
  return load_pretrained(str(folder / 'hf'))
