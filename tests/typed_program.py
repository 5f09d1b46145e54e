"""What a type checker must accept of the public surface, and refuse.

Checked by tests/test_types.py and never run. A line that is to be refused says
so; if it is not, the checker calls the remark unnecessary.
"""

from typing import assert_type

import jax

import sleepjax as sj
from sleepjax.losses import divergences
from sleepjax.sampling import rows
from sleepjax.sampling.sampler import Rollout, Until, sample


def accepted() -> None:
  model = assert_type(sj.load('smollm2-135m-instruct'), sj.Model)
  night = sj.sleep(model, sj.Document.read('notes.txt'), sj.SleepConfig(),
                   key=0, observer=sj.shown())
  found = assert_type(sj.read('notes', 'diary.md'), sj.Corpus)
  sj.sleep(model, found.documents, questions=found.questions)
  slept, report = assert_type(night, tuple[sj.Model, sj.Report])
  assert_type(slept.ask('Who designed the lighthouse?'), str)
  print(report, report['knows_after'])
  sj.export_hf(slept, 'notes-hf')
  sj.save(slept, 'notes')
  assert_type(sj.open('notes'), sj.Model)
  assert_type(slept.nights(), tuple[sj.NightRecord, ...])
  sj.save_night(slept, 1, 'notes.safetensors')
  assert_type(sj.open_night(model, 'notes.safetensors'), sj.Model)
  both = sj.combine(model, 'notes.safetensors', 'diary.safetensors')
  assert_type(both, tuple[sj.Model, sj.Report])
  assert_type(sj.forget(slept, 1, 2, never=model), tuple[sj.Model, sj.Report])
  state = sj.ModelState(model.params, None, model.config)
  larger = sj.grow([sj.AppendSlot(16)])(state, jax.random.key(0))
  assert_type(larger, sj.ModelState)
  batch = assert_type(rows.rows_of([[1, 2]], [[3]]), rows.Rows)
  rollout = sample(model.config, model.params, batch.prompt, batch.prompt_mask,
                   jax.random.key(0), Until(4, (0,)))
  assert_type(rollout, Rollout)
  divergences.of_logits(divergences.ForwardKL(), rollout.log_probs,
                        rollout.log_probs)


def refused(model: sj.Model) -> None:
  sj.sleep(model, 'notes.txt')  # pyright: ignore[reportArgumentType]
  sj.sleep(model)  # pyright: ignore[reportCallIssue]
  sj.load(135)  # pyright: ignore[reportArgumentType]
  sj.forget(model, 'notes')  # pyright: ignore[reportArgumentType]
  model.ask(question=1)  # pyright: ignore[reportArgumentType]
  sj.grow(sj.AppendSlot(16))  # pyright: ignore[reportArgumentType]
  sj.wake()  # pyright: ignore[reportAttributeAccessIssue]
