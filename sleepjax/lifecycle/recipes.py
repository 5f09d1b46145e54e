"""Settings of a sleep that were chosen together."""

import dataclasses

from sleepjax.lifecycle.config import SleepConfig


def facts() -> SleepConfig:
  """Learns what a text says as answered questions, in one stage.

  Spans worth knowing are asked about by rule; the answers are learnt as tokens
  by a slot in the upper third of the layers. Chosen for SmolLM2-135M-Instruct
  on passages of SQuAD's `train`: configs/consolidate/facts.py says how. A
  larger model may also ask itself, and verify what it asks with the text in
  view, in `writing.ask.rounds` rounds.
  """
  default = SleepConfig()
  return dataclasses.replace(
      default,
      source='facts',
      slot_from=2 / 3,  # What is below is computed once.
      slot_rank=96,  # As many parameters as 64 in 15 layers.
      dreaming=None,
      rehearsal_per_text=2,
      memories=0,  # What the model asks itself asks for no fact;
      contrasts=128,  # half of these are questions that people ask.
      dreams=dataclasses.replace(
          default.dreams, prompt_tokens=64, completion_tokens=16),
      writing=dataclasses.replace(
          default.writing, spans_per_sentence=5,
          ask=dataclasses.replace(default.writing.ask, rounds=0)),
      rows=dataclasses.replace(
          default.rows, sentence_prompt='', reverse_prompt='', recall=False),
      seeding=dataclasses.replace(
          default.seeding,
          target='tokens',  # The teacher would rather begin "The answer is".
          on_policy=0.0,
          alpha=1.0,
          in_passes=True,
          epochs=4.5,  # Of about five rows a fact;
          steps=140,  # few facts take as many updates.
          rows=6,
          group_size=2,
          learning_rate=1.5e-2,
          retention_rows=3,
          rehearsal=4.0,
          retention=4.0,
          rehearsal_every=4))
