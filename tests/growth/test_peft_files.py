"""LoRA leaves in PEFT's format, whose sums are the weights that were learnt."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from experiments import export as export_command
from sleepjax.errors import UserError
from sleepjax.growth import peft_files, slots
from sleepjax.growth.adapters import AllLayers, LowRank
from sleepjax.model import load_pretrained
from sleepjax.models import hf, transformer
from sleepjax.training import checkpoints

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
PART = LowRank(3, 6.0, ('q', 'o', 'up', 'down'))


def learnt(part, seed=0, model=None):
  """(model, the same with a random value of an adapter, that value)."""
  base = model or load_pretrained(str(GOLDEN / 'qwen2'))
  keys = iter(jax.random.split(jax.random.key(seed), 99))
  value = jax.tree.map(
      lambda leaf: np.asarray(jax.random.normal(next(keys), leaf.shape)) / 9,
      part.init(base.config, jax.random.key(seed)))
  params = part.insert(
      base.config, jax.tree.map(jnp.asarray, base.params), value)
  return base, base.with_params(base.config, params), value


def sums(folder):
  """{stored name: (lora_alpha / r) lora_B lora_A} of an adapter."""
  settings = json.loads((folder / 'adapter_config.json').read_text())
  tensors = safetensors.numpy.load_file(folder / 'adapter_model.safetensors')
  scale = settings['lora_alpha'] / settings['r']
  for name in tensors:
    if 'lora_A' in name:
      assert tensors[name].shape[0] == settings['r']
      stored = name.removeprefix('base_model.model.').replace('lora_A.', '')
      yield stored, scale * (
          tensors[name.replace('lora_A', 'lora_B')] @ tensors[name])


@pytest.mark.parametrize('trained', [True, False])
def test_weights_are_the_base_and_the_product(trained, tmp_path):
  """Of factors as they were trained, and as they are found in the weights."""
  base, after, value = learnt(PART)
  part = PART
  if not trained:
    part, value = peft_files.low_rank_change(base, after)
    assert (part.rank, set(part.matrices)) == (3, set(PART.matrices))
  peft_files.export_peft(part, value, 'the-base', tmp_path / 'adapter')
  settings = json.loads((tmp_path / 'adapter/adapter_config.json').read_text())
  assert settings['target_modules'] == [
      'down_proj', 'o_proj', 'q_proj', 'up_proj']
  assert settings['base_model_name_or_path'] == 'the-base'
  before, want = (hf.to_hf_tensors(m.config, m.params) for m in (base, after))
  changes = dict(sums(tmp_path / 'adapter'))
  assert len(changes) == 4 * base.config.num_layers
  for name, change in changes.items():
    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(before[name] + change, want[name], atol=1e-6)


def test_nights_together_have_the_rank_of_all(tmp_path):
  base, once, _ = learnt(PART)
  _, twice, _ = learnt(LowRank(2, 2.0, ('up',)), 1, once)
  part, _ = peft_files.low_rank_change(base, twice)
  assert part.rank == 5


def test_what_is_no_adapter_is_refused():
  base, after, _ = learnt(PART)
  slot = slots.append_slot(
      base.config, after.params,
      slots.new_slot(base.config, jax.random.key(0), 2), (True,) * 3)
  for model, why in (
      (base, 'the same model'), (base.with_params(*slot), 'has 1 slots'),
      (learnt(AllLayers(('up',)))[1], 'up: its change .* has rank 32'),
      (dataclasses.replace(after, params={
          **after.params, 'final_norm': {'scale': np.ones(32)}}),
       'final_norm/scale: differ')):
    with pytest.raises(UserError, match=why):
      peft_files.low_rank_change(base, model)


@pytest.mark.slow
def test_peft_computes_what_was_learnt(tmp_path):
  """The whole way: a saved model, the command, PEFT on the base's folder."""
  peft = pytest.importorskip('peft')
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  _, after, _ = learnt(PART)
  checkpoints.save_model(tmp_path / 'model', after.config, after.params,
                         after.tokenizer, {})
  export_command.main([
      'export', f'--checkpoint={tmp_path}', '--format=peft',
      f'--base={GOLDEN / "qwen2"}', f'--out={tmp_path / "adapter"}'])
  theirs = peft.PeftModel.from_pretrained(
      transformers.AutoModelForCausalLM.from_pretrained(
          GOLDEN / 'qwen2', dtype=torch.float32), tmp_path / 'adapter').eval()
  tokens = np.arange(3, 20)[None]
  with torch.no_grad():
    want = theirs(torch.tensor(tokens)).logits.numpy()
  have = transformer.logits(after.config, after.params, tokens)
  np.testing.assert_allclose(have, want, atol=1e-4)


@pytest.mark.slow
def test_the_command_wants_a_base(tmp_path):
  command = lambda *flags: export_command.main(
      ['export', f'--checkpoint={tmp_path}', f'--out={tmp_path / "a"}', *flags])
  for flags, why in ((('--format=peft',), 'belong together'),
                     (('--base=x',), 'belong together'),
                     (('--format=peft', '--base=x', '--pad-to=8'), '--pad-to')):
    with pytest.raises(UserError, match=why):
      command(*flags)
