"""The distillation trainer of google-tunix, as a rival in the benchmark.

It learns from given rows: the teacher's logits, their KL to the student's, and
an update of a LoRA. Both models are tunix's own Llama with our weights.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.bench import peers, phases
from experiments.bench.work import Sizes


def distillation_step(source: str, dtype: str, sizes: Sizes):
  """A step of the trainer's own loop, on the rows that ours learns from."""
  trainers = peers.package('tunix.distillation.distillation_trainer')
  strategies = peers.package('tunix.distillation.strategies')
  config, teacher = _llama(source, dtype)
  _, student = _llama(source, dtype)
  ids = phases.random_tokens(config.vocab_size, sizes.rows, sizes.row_tokens)
  everything, gates = np.ones(ids.shape, bool), peers.Gates()

  def logits_of_completion(model, input_tokens, input_mask):
    del input_mask
    B, T = input_tokens.shape
    logits, _ = model(input_tokens, jnp.broadcast_to(jnp.arange(T), (B, T)),
                      None, jnp.tril(jnp.ones((B, T, T), bool)))
    return logits[:, sizes.prompt_tokens - 1:-1]

  def labels(input_tokens, input_mask):
    del input_mask
    return jax.nn.one_hot(
        input_tokens[:, sizes.prompt_tokens:], config.vocab_size)

  class Waiting(trainers.DistillationTrainer):
    """Its steps end when their results are there."""

    def _post_process_train_step(self, aux):
      loss = float(jax.block_until_ready(aux)['distill/soft_loss'])
      if not np.isfinite(loss):
        raise FloatingPointError(f'the loss is {loss}.')

  def batches():
    while True:
      gates.wait_for_turn()
      yield trainers.TrainingInput(input_tokens=ids, input_mask=everything)
      gates.finish_turn()

  trainer = Waiting(
      _with_lora(config, student, sizes), teacher,
      strategies.LogitStrategy(
          logits_of_completion, logits_of_completion, labels,
          temperature=1.0, alpha=1.0),
      optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5)),
      trainers.TrainingConfig(eval_every_n_steps=10**9))
  gates.start(lambda: trainer.train(batches()))
  gates.step()  # It compiles in its first two steps.
  return gates.step


def _llama(source, dtype):
  """tunix's Llama of a Hugging Face folder, and its config.

  tunix 0.1.7 turns positions with a base of 10⁶ whatever `rope_theta` says:
  logits are those of our model with that base, and as fast.
  """
  llama = peers.package('tunix.models.llama3.model')
  params = peers.package('tunix.models.llama3.params')
  said = json.loads((pathlib.Path(source) / 'config.json').read_text())
  config = llama.ModelConfig(
      num_layers=said['num_hidden_layers'], vocab_size=said['vocab_size'],
      embed_dim=said['hidden_size'], hidden_dim=said['intermediate_size'],
      num_heads=said['num_attention_heads'], head_dim=said['head_dim'],
      num_kv_heads=said['num_key_value_heads'],
      rope_theta=int(said['rope_theta']), norm_eps=said['rms_norm_eps'],
      weight_tying=said['tie_word_embeddings'])
  return config, params.create_model_from_safe_tensors(
      source, config, dtype=jnp.dtype(dtype))


def _with_lora(config, model, sizes):
  qwix = peers.package('qwix')
  c = config
  ends = (c.num_heads + c.num_kv_heads) * c.head_dim * 2 + 4 * c.embed_dim
  ends += 3 * (c.embed_dim + c.hidden_dim)
  rank = peers.lora_rank(c.embed_dim, c.num_layers, c.num_layers * ends, sizes)
  names = '|'.join(peers.LORA_MATRICES)
  lora = qwix.LoraProvider(
      module_path=f'.*({names})', rank=rank, alpha=float(rank))
  model = qwix.apply_lora_to_model(
      model, lora, rngs=nnx.Rngs(0), **model.get_model_input())
  learnt = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.LoRAParam)))
  assert learnt == rank * c.num_layers * ends, (learnt, rank)
  return model
