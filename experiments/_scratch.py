"""Small models from scratch, for experiments that a large one would slow."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _config
from sleepjax import seeds
from sleepjax.data import sources
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.model import Model
from sleepjax.models import finite, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining import next_token
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.training import checkpoints


@dataclasses.dataclass(frozen=True)
class ScratchConfig:
  """Shape of a model with a vocabulary of its own; head_dim is D / H."""

  vocab_size: int = 2048
  num_layers: int = 4
  embed_dim: int = 128
  mlp_dim: int = 384
  num_heads: int = 4
  num_kv_heads: int = 2
  max_context: int = 1024

  def model_config(self, vocab_size: int) -> ModelConfig:
    fields = {**dataclasses.asdict(self), 'vocab_size': vocab_size}
    return ModelConfig(head_dim=self.embed_dim // self.num_heads, **fields)


def text_and_tokenizer(vocab_size: int):
  """WikiText-2's validation text as a stream [S], and its vocabulary."""
  text = sources.wikitext2('valid')
  tokenizer = Tokenizer.trained_on(text, vocab_size)
  return jnp.asarray(np.asarray(tokenizer.encode(text), np.int32)), tokenizer


def trained(config, folder: pathlib.Path, display) -> Model:
  """The model that `config.scratch` and `config.pretraining` describe.

  It is kept in `folder` and read from there the next time.
  """
  shape = _config.to_dataclass(ScratchConfig, config.scratch, 'config.scratch')
  settings = _config.to_dataclass(
      PretrainingConfig, config.pretraining, 'config.pretraining')
  recipe = json.loads(json.dumps({
      'scratch': dataclasses.asdict(shape),
      'pretraining': dataclasses.asdict(settings), 'seed': config.seed}))
  if checkpoints.is_saved(folder):
    saved = checkpoints.load_model(folder)
    if saved.lineage != recipe:
      raise UserError(f'{folder} holds a model of another recipe: choose '
                      'another --workdir, or delete that one.')
    return Model(saved.config, saved.params, saved.tokenizer, 'scratch')
  stream, tokenizer = text_and_tokenizer(shape.vocab_size)
  model = shape.model_config(tokenizer.vocab_size)
  key = seeds.key_of(config.seed)
  params = transformer.init(model, key)
  opt_state = next_token.make_optimizer(settings).init(params)
  with display.phase('pretrain', total=settings.steps) as phase:
    for step in range(settings.steps):
      params, opt_state, metrics = next_token.pretraining_step(
          model, settings, params, opt_state, stream,
          jax.random.fold_in(key, step))
      loss = float(metrics['loss'])
      finite.check_loss('pretrain', step, loss, params,
                        'Lower pretraining.learning_rate.')
      phase.advance(tokens=settings.rows * settings.window, loss=loss)
  checkpoints.save_model(folder, model, params, tokenizer, recipe)
  return Model(model, params, tokenizer, 'scratch')
