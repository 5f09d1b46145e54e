"""The same work by other programs: transformers, PEFT and TRL on torch.

Functions mirror those of `bench.phases` and return a step, too. They get the
same weights as a Hugging Face folder, the same shapes and no stop token, and
compute where JAX does. Each uses the fastest settings that we found on a CPU,
which are named where they are not the default.
"""

import importlib
import queue
import tempfile
import threading

import jax
import numpy as np

from experiments.bench import phases
from experiments.bench.work import Sizes
from sleepjax.errors import UserError

LORA_MATRICES = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj',
                 'up_proj', 'down_proj')


def package(name: str):
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise UserError(
        f"{error}: --peers needs pip install '.[peers]' (torch for CPUs: add "
        '--extra-index-url https://download.pytorch.org/whl/cpu).') from None


def _device(torch) -> str:
  """torch's name of what JAX computes on."""
  platform = jax.default_backend()
  if platform == 'cpu':
    return 'cpu'
  if platform == 'gpu' and torch.cuda.is_available():
    return 'cuda'
  raise UserError(
      f'JAX computes on a {platform.upper()}, where this torch '
      f'({torch.__version__}) does not: leave out --peers, install a torch '
      'that does, or set JAX_PLATFORMS=cpu for both.')


def _finished(torch, step):
  """The step as one that returns when its work is done."""
  if not torch.cuda.is_initialized():
    return step

  def and_wait():
    step()
    torch.cuda.synchronize()

  return and_wait


def _model(source, dtype):
  torch, transformers = package('torch'), package('transformers')
  transformers.utils.logging.set_verbosity_error()
  model = transformers.AutoModelForCausalLM.from_pretrained(
      source, dtype=getattr(torch, dtype), trust_remote_code=False)
  # A row then ends by its length alone.
  model.generation_config.eos_token_id = None
  model.generation_config.pad_token_id = 0
  return torch, model.to(_device(torch)).eval()


def _ids(torch, vocab_size, *shape):
  return torch.from_numpy(phases.random_tokens(
      vocab_size, *shape).astype(np.int64)).to(_device(torch))


def prefill(source: str, dtype: str, sizes: Sizes):
  """Keys and values of one text, logits of its last token only."""
  torch, model = _model(source, dtype)
  ids = _ids(torch, model.config.vocab_size, 1, sizes.prefix_tokens)

  @torch.inference_mode()
  def step():
    model(ids, use_cache=True, logits_to_keep=1)

  return _finished(torch, step)


def generate(source: str, dtype: str, sizes: Sizes, batch: int,
             compiled: bool = False):
  """Greedy continuation by `generate`; with `compiled`, by a compiled model,
  for which generate wants a static cache, a GPU and a second call."""
  torch, model = _model(source, dtype)
  cache = {'cache_implementation': 'static'} if compiled else {}
  ids = _ids(torch, model.config.vocab_size, batch, sizes.prompt_tokens)
  mask = torch.ones_like(ids)

  @torch.inference_mode()
  def step():
    out = model.generate(ids, attention_mask=mask, do_sample=False,
                         max_new_tokens=sizes.new_tokens, **cache)
    assert out.shape[1] == sizes.row_tokens

  if compiled:
    step()
  return _finished(torch, step)


def _learning_step(torch, model, ids, labels, **shifted):
  """Forward, backward, clipping and a fused AdamW update."""
  model.train()
  learnt = [p for p in model.parameters() if p.requires_grad]
  optimizer = torch.optim.AdamW(learnt, lr=1e-5, fused=True)

  def step():
    loss = model(
        input_ids=ids, labels=labels, use_cache=False, **shifted).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learnt, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if not torch.isfinite(loss):
      raise FloatingPointError(f'the loss is {loss}.')

  return _finished(torch, step)


def train_step(source: str, dtype: str, sizes: Sizes):
  """All parameters, next-token loss; the last token is not read."""
  torch, model = _model(source, dtype)
  ids = _ids(torch, model.config.vocab_size, sizes.rows, sizes.window + 1)
  following = ids[:, 1:].contiguous()
  return _learning_step(
      torch, model, ids[:, :-1], following, shift_labels=following)


def lora_step(source: str, dtype: str, sizes: Sizes):
  """Supervised fine-tuning of PEFT's LoRA on all linear layers, on the rows
  that `seeding_update` distils; as many trainable parameters as the slot."""
  torch, model = _model(source, dtype)
  model = package('peft').get_peft_model(model, _lora(model, sizes))
  ids = _ids(torch, model.config.vocab_size, sizes.rows, sizes.row_tokens)
  labels = ids.clone()
  labels[:, :sizes.prompt_tokens] = -100
  return _learning_step(torch, model, ids, labels)


def lora_rank(width: int, layers: int, per_rank: int, sizes: Sizes) -> int:
  """The rank whose parameters, so many each, come nearest to the slot's."""
  slot = 3 * width * sizes.slot_rank * layers
  return max(1, round(slot / per_rank))


def _lora(model, sizes):
  per_rank = sum(
      module.in_features + module.out_features
      for name, module in model.named_modules()
      if name.rsplit('.', 1)[-1] in LORA_MATRICES)
  rank = lora_rank(model.config.hidden_size, model.config.num_hidden_layers,
                   per_rank, sizes)
  return package('peft').LoraConfig(
      r=rank, lora_alpha=rank, lora_dropout=0.0,
      target_modules=list(LORA_MATRICES), task_type='CAUSAL_LM')


def distillation_step(source: str, dtype: str, sizes: Sizes):
  """TRL's on-policy distillation: rollouts, teacher, forward KL, update."""
  trl = package('trl')

  class OfIds(trl.DistillationTrainer):
    """Prompts are places in a table of random tokens instead of texts."""

    def _tokenize_prompts(self, prompts):
      ids = phases.random_tokens(
          self.model.config.vocab_size, sizes.rows, sizes.prompt_tokens)
      return [ids[int(place)].tolist() for place in prompts], None, {}

  examples = [{'prompt': str(i)} for i in range(sizes.rows)]
  return _trainer_step(
      source, dtype, sizes, OfIds, trl.DistillationConfig, examples,
      max_completion_length=sizes.new_tokens, beta=0.0, temperature=1.0,
      generation_kwargs={'min_new_tokens': sizes.new_tokens})


def gkd_step(source: str, dtype: str, sizes: Sizes):
  """The same by TRL's older trainer, every step on-policy."""
  gkd = package('trl.experimental.gkd')

  class WithoutStop(gkd.GKDTrainer):
    """Rollouts of full length, as in all other programs."""

    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      self.generation_config.min_new_tokens = sizes.new_tokens
      self.generation_kwargs['min_new_tokens'] = sizes.new_tokens

  ids = phases.random_tokens(
      package('transformers').AutoConfig.from_pretrained(source).vocab_size,
      sizes.rows, sizes.row_tokens)
  mask = [0] * sizes.prompt_tokens + [1] * sizes.new_tokens
  examples = [{'prompt': '', 'input_ids': row.tolist(),
               'completion_mask': mask} for row in ids]
  return _trainer_step(
      source, dtype, sizes, WithoutStop, gkd.GKDConfig, examples,
      max_new_tokens=sizes.new_tokens, beta=0.0, lmbda=1.0, temperature=1.0,
      max_length=sizes.row_tokens)


def _trainer_step(source, dtype, sizes, trainer_class, config_class, examples,
                  **settings):
  """A step of a trainer's own loop, which runs in a thread and waits."""
  torch, student = _model(source, dtype)
  _, teacher = _model(source, dtype)
  transformers, datasets = package('transformers'), package('datasets')
  tokenizer = transformers.AutoTokenizer.from_pretrained(source)
  tokenizer.padding_side = 'left'
  if tokenizer.pad_token is None:
    tokenizer.pad_token = tokenizer.eos_token
  gates = Gates()

  class Turn(transformers.TrainerCallback):

    def on_step_begin(self, *_, **__):
      gates.wait_for_turn()

    def on_step_end(self, *_, **__):
      gates.finish_turn()

  config = config_class(
      output_dir=tempfile.mkdtemp(), per_device_train_batch_size=sizes.rows,
      max_steps=10_000, learning_rate=1e-5, report_to=[], save_strategy='no',
      logging_strategy='no', use_cpu=_device(torch) == 'cpu',
      disable_tqdm=True,
      # Faster; memory would be a little less with it.
      gradient_checkpointing=False, bf16=False, **settings)
  trainer = trainer_class(
      model=student, teacher_model=teacher, args=config,
      train_dataset=datasets.Dataset.from_list(examples),
      processing_class=tokenizer, peft_config=_lora(student, sizes),
      callbacks=[Turn()])
  gates.start(trainer.train)
  return _finished(torch, gates.step)


class Gates:
  """Lets a loop in a thread do one step at a time."""

  def __init__(self):
    self._go, self._done = queue.Queue(), queue.Queue()

  def start(self, loop):
    def run():
      try:
        loop()
        self._done.put(RuntimeError('the trainer stopped by itself.'))
      except BaseException as error:
        self._done.put(error)

    threading.Thread(target=run, daemon=True).start()

  def wait_for_turn(self):
    self._go.get()

  def finish_turn(self):
    self._done.put(None)

  def step(self):
    self._go.put(None)
    error = self._done.get()
    if error is not None:
      raise error
