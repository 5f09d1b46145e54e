"""The programs of a sleep, as shapes: what a mesh would be asked to run.

Each is a jitted function of the code base with abstract arguments that say
where they would lie, and the FLOPs that it stands for. Nothing is allocated.

FLOPs are counted in two ways. *Model* FLOPs are what the mathematics needs
(`sleepjax.roofline.flops`): products of one forward pass and, of a backward
pass, the gradients of inputs in all layers and of the slot's weights; attention
pairs that the causal mask lets through; three projections to the vocabulary for
a divergence (teacher, student, and the student's gradient). *Program* FLOPs are
what is computed: a layer once more where it is recomputed, and attention pairs
that the mask then hides. The student's logits are taken once in both: every
term of the loss shares the divergence's pass.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments import _config
from sleepjax.dreaming import inner
from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.adapters import Slot
from sleepjax.growth.grow import ModelState, grow
from sleepjax.growth.learner import Learner
from sleepjax.growth.slot_operators import AppendSlot
from sleepjax.losses.divergences import DivergenceConfig
from sleepjax.memory import wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.mesh import sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.roofline import flops
from sleepjax.sampling import sampler
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import update
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.settings import SeedingConfig


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Rows and tokens of one kind of row."""

  rows: int
  prompt_tokens: int
  completion_tokens: int

  @property
  def length(self) -> int:
    return self.prompt_tokens + self.completion_tokens

  @property
  def tokens(self) -> int:
    return self.rows * self.length

  @property
  def completions(self) -> int:
    return self.rows * self.completion_tokens

  def shapes(self) -> Rows:
    prompt = self.rows, self.prompt_tokens
    completion = self.rows, self.completion_tokens
    array = jax.ShapeDtypeStruct
    return Rows(array(prompt, jnp.int32), array(prompt, jnp.bool_),
                array(completion, jnp.int32), array(completion, jnp.bool_))


@dataclasses.dataclass(frozen=True)
class Program:
  """One program, ready to be traced.

  trace: mesh -> jax.stages.Traced; call it inside that mesh.
  mesh_config: what it runs on.
  flops: that it computes, on all chips together.
  model_flops: that the mathematics needs.
  unknown_turns: of its loops that stop by their data.
  rows: the greatest common divisor of its batches' rows; 0 without any. A batch
    that does not divide by its parts lies whole on every chip.
  """

  trace: Callable[[Any], Any]
  mesh_config: MeshConfig
  flops: int
  model_flops: int
  unknown_turns: int = 1
  rows: int = 0


def _pairs(config, sizes, causal):
  """(query, key) pairs of all rows; those in blocks of queries are padded."""
  T, block = sizes.length, config.attention_queries
  if causal:
    return sizes.rows * flops.causal_pairs(T)
  padded = -(-T // block) * block if 0 < block < T else T
  return sizes.rows * padded * T


def _forward(config, sizes, head_rows, causal=True):
  """FLOPs of reading rows once."""
  return flops.total_flops(flops.forward_products(
      config, sizes.tokens, head_rows)) + flops.attention_flops(
          config, _pairs(config, sizes, causal))


def _backward(config, sizes, trained, causal=True):
  """FLOPs of the backward pass of what is trained, see
  `flops.backward_products`; attention's is twice its forward one, a gradient
  for each factor of both products, and scores once more where only some
  queries' exist at a time."""
  attention = flops.attention_flops(config, _pairs(config, sizes, causal))
  K, C = config.head_dim, config.value_dim or config.head_dim
  again = (not causal and 0 < config.attention_queries < sizes.length)
  return flops.total_flops(flops.backward_products(
      config, sizes.tokens, 0, trained)
  ) + 2 * attention + again * attention * K // (K + C)


def _recomputed(config, sizes):
  """FLOPs of a layer's second forward pass, which needs no output: the last
  products of its MLP and of its slots are left out."""
  D, R = config.embed_dim, config.num_slots * config.slot_rank
  last = flops.Product(
      sizes.tokens, config.mlp_dim + R, D, config.num_layers)
  return _forward(config, sizes, 0, causal=False) - last.flops


def _update_flops(config, sizes, heads, trained='slot'):
  """(program, model) FLOPs of a forward and a backward pass.

  Args:
    config: the model's shape.
    sizes: of the rows.
    heads: projections of completions to the vocabulary.
    trained: see `flops.backward_products`.
  """
  head = flops.total_flops(flops.forward_products(
      config, 0, sizes.completions)[-1:])
  program = (_forward(config, sizes, 0, causal=False)
             + _backward(config, sizes, trained, causal=False) + heads * head)
  if config.remat == 'full':
    program += _recomputed(config, sizes)
  model = (_forward(config, sizes, 0) + _backward(config, sizes, trained)
           + heads * head)
  return program, model


class Sleep:
  """A sleep of a configuration such as those in configs/scale."""

  def __init__(self, config, devices):
    """Reads the configuration and makes its meshes of `devices`.

    Raises:
      UserError: a field is wrong, or a mesh does not divide the devices.
    """
    c = self.config = config
    shape = _config.to_dataclass(ModelConfig, c.model, 'config.model')
    shape = transformer.with_slots(shape, c.slots, c.slot_rank)
    self.canonical = dataclasses.replace(
        shape, remat=c.remat, attention_queries=c.attention_queries)
    self.model = dataclasses.replace(
        self.canonical, matmul_dtype=c.matmul_dtype)
    self.devices = devices

  def mesh_config(self, name: str) -> MeshConfig:
    return _config.to_dataclass(
        MeshConfig, self.config[name], f'config.{name}')

  def mesh(self, mesh_config: MeshConfig):
    """Over all devices.

    Raises:
      UserError: it would leave some of them idle.
    """
    mesh = sharding.make_mesh(mesh_config, self.devices)
    if mesh.size != len(self.devices):
      raise UserError(
          f'mesh sizes {mesh_config.named(mesh.devices.shape)} use '
          f'{mesh.size} of {len(self.devices)} chips: set one of them to -1, '
          'or choose sizes whose product is the number of chips.')
    return mesh

  def _params(self, mesh):
    params = jax.eval_shape(lambda params: layout.for_compute(
        dataclasses.replace(self.canonical, remat='none'), params,
        self.config.matmul_dtype, unroll=False)[1],
        transformer.abstract_params(self.canonical))
    return sharding.abstract(params, sharding.param_shardings(params, mesh))

  def _placed(self, tree, mesh):
    return sharding.abstract(tree, sharding.batch_shardings(tree, mesh))

  def _slot(self, mesh):
    slot = jax.eval_shape(lambda: slots.new_slot(
        self.model, jax.random.key(0), self.model.slot_rank))
    return sharding.abstract(slot, sharding.param_shardings(slot, mesh))

  def _scalar(self, mesh, dtype):
    return jax.ShapeDtypeStruct(
        (), dtype, sharding=sharding.replicated(mesh))

  def programs(self) -> dict[str, Program]:
    """By name: seeding_update, rollout, dream_inner and growth; of a model
    with several MLP levels wake_update and hand_over, too."""
    of_levels = {}
    if self.model.level_dims:
      of_levels = {'wake_update': self.wake_update(),
                   'hand_over': self.seeding_update(level=0)}
    return {'seeding_update': self.seeding_update(),
            'rollout': self.rollout(), 'dream_inner': self.dream_inner(),
            'growth': self.growth(), **of_levels}

  def wake_update(self) -> Program:
    """A window of every stream is read, and their fastest levels step.

    Extra levels learn, each stream's its own; the blocks' MLPs are shared.
    """
    w, model = self.config.wake, self.model
    settings = _config.to_dataclass(
        WakeConfig, w.levels, 'config.wake.levels')
    sizes = Sizes(w.streams, 0, settings.chunks[0])  # All are predicted.

    def trace(mesh):
      params = self._params(mesh)
      state = self._placed(jax.eval_shape(
          lambda params: wake.init_wake(model, params, settings, w.streams),
          params), mesh)
      tokens = self._placed(jax.ShapeDtypeStruct(
          (w.streams, sizes.length), jnp.int32), mesh)

      def step(params, state, tokens):
        state, metrics = wake.read_window(
            model, params, settings, state, tokens)
        return wake.updated(settings, state, 0), metrics

      return jax.jit(step, donate_argnums=1).trace(params, state, tokens)

    return Program(trace, self.mesh_config('mesh'),
                   *_update_flops(model, sizes, 2, 'levels'), rows=w.streams)

  def seeding_update(self, level: int = -1) -> Program:
    """An update from rollouts: divergence, imitation, rehearsal, retention.

    Args:
      level: MLP level whose slot learns; a hand-over to it is many of these.
    """
    s, model = self.config.seeding, self.model
    own = Sizes(s.rows, s.prompt_tokens, s.completion_tokens)
    others = {name: Sizes(*(s[f'{name}_{what}'] for what in (
        'rows', 'prompt_tokens', 'completion_tokens')))
              for name in ('rehearsal', 'retention')}
    settings = SeedingConfig(
        rows=s.rows, group_size=s.group_size, alpha=s.alpha, on_policy=1.0,
        rehearsal_rows=s.rehearsal_rows, retention_rows=s.retention_rows,
        divergence=DivergenceConfig(chunk_rows=s.chunk_rows))
    hidden = lambda sizes: jax.ShapeDtypeStruct(
        (sizes.rows, sizes.completion_tokens, model.embed_dim), jnp.float32)
    # Teacher, student and the student's gradient; imitation shares them.
    counts = [_update_flops(model, sizes, 3)
              for sizes in (own, *others.values())]

    def trace(mesh):
      state = jax.eval_shape(
          lambda slot: update.init_state(settings, slot), self._slot(mesh))
      state = sharding.abstract(state, sharding.param_shardings(state, mesh))
      batch = self._placed(Batch(
          own.shapes(), hidden(own), jax.ShapeDtypeStruct(
              (s.rows,), jnp.float32),
          **{name: sizes.shapes() for name, sizes in others.items()},
          **{f'{name}_hidden': hidden(sizes)
             for name, sizes in others.items()}), mesh)
      return update.seeding_step.trace(
          model, settings, self._params(mesh), state,
          self._scalar(mesh, jnp.int32), batch, Slot(level))

    return Program(trace, self.mesh_config('mesh'),
                   *(sum(part) for part in zip(*counts, strict=True)),
                   rows=math.gcd(s.rows, *(
                       sizes.rows for sizes in others.values())))

  def rollout(self) -> Program:
    """All rollouts of one update, sampled token by token."""
    s, model = self.config.seeding, self.model
    P, N = s.prompt_tokens, s.completion_tokens
    prompt = Sizes(s.rows, P, 0)
    steps = flops.total_flops(flops.forward_products(
        model, s.rows * (N - 1), s.rows * N))
    whole = steps + flops.attention_flops(
        model, s.rows * (N - 1) * (P + N + 1))
    causal = steps + flops.attention_flops(
        model, s.rows * flops.causal_pairs(N - 1, P))

    def trace(mesh):
      rows = self._placed(prompt.shapes(), mesh)
      key = jax.eval_shape(lambda: jax.random.key(0))
      return sampler.jitted_sample.trace(
          model, self._params(mesh), rows.prompt, rows.prompt_mask,
          sharding.abstract(key, sharding.replicated(mesh)),
          sampler.Until(N, (0,)))

    return Program(
        trace, self.mesh_config('rollout_mesh'),
        _forward(model, prompt, 0, causal=False) + whole,
        _forward(model, prompt, 0) + causal, unknown_turns=N - 1, rows=s.rows)

  def dream_inner(self) -> Program:
    """Every kept dream learnt by a copy of the slot, and each copy examined."""
    d, model = self.config.dreaming, self.model
    dream = Sizes(1, d.prompt_tokens, d.dream_tokens)
    exam = Sizes(d.questions, d.question_tokens, d.answer_tokens)
    # The slot as it was goes through the same program; it does not count.
    learnt = _update_flops(model, dream, 2)
    asked = [_forward(model, exam, exam.completions, causal)
             for causal in (False, True)]
    copies = (d.kept + 1, d.kept)

    def trace(mesh):
      dreams = dataclasses.replace(dream, rows=d.kept).shapes()
      held_in = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(
          (1, *leaf.shape), leaf.dtype), exam.shapes())
      task = jax.ShapeDtypeStruct((d.kept,), jnp.int32)
      trials = jax.jit(lambda frozen, slot, index, *rows, how: (
          inner.dream_trials(Learner(model, frozen, index=index, value=slot),
                             *rows, inner.Descent(*how))))
      return trials.trace(
          self._params(mesh), self._slot(mesh), self._scalar(mesh, jnp.int32),
          *self._placed((dreams, held_in, task), mesh),
          how=(self._scalar(mesh, jnp.int32), self._scalar(mesh, jnp.float32)))

    return Program(
        trace, self.mesh_config('mesh'), *(
            n * (d.inner_steps * learn + ask) for n, learn, ask in zip(
                copies, learnt, asked, strict=True)),
        unknown_turns=d.inner_steps, rows=d.kept + 1)

  def growth(self) -> Program:
    """One more slot in every layer of a training state with its moments."""
    canonical = dataclasses.replace(self.canonical, remat='none')
    plan = [AppendSlot(canonical.slot_rank)]

    def trace(mesh):
      params = transformer.abstract_params(canonical)
      state = jax.eval_shape(lambda: ModelState(
          params, optax.adamw(1e-3).init(params), canonical))
      key = jax.eval_shape(lambda: jax.random.key(0))
      larger = jax.eval_shape(grow(plan), state, key)
      place = lambda tree: sharding.param_shardings(tree, mesh)
      step = jax.jit(grow(plan), donate_argnums=0, out_shardings=place(larger))
      return step.trace(
          sharding.abstract(state, place(state)),
          sharding.abstract(key, sharding.replicated(mesh)))

    return Program(trace, self.mesh_config('mesh'), 0, 0)
