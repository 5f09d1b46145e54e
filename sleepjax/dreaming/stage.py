"""The second stage of a night: dreams about tonight's text and earlier ones.

  choose      earlier memories, by the curriculum
  rounds      dreams are written, tried and rewarded; the generator learns
  write back  the best dreams are seeded into the slot
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.dreaming import curriculum, tasks
from sleepjax.dreaming import round as round_lib
from sleepjax.dreaming import write_back as write_back_lib
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.dreaming.tasks import Task
from sleepjax.growth.learner import Learner
from sleepjax.seeding.consolidation import Guard
from sleepjax.seeding.loop import Seeder
from sleepjax.training import phase_saves
from sleepjax.training.observer import Watched


@dataclasses.dataclass(frozen=True)
class DreamReport:
  """What a night of dreaming did; plain Python values.

  rehearsed: which of the earlier memories were dreamt about.
  weights: with what probability each might have been.
  rounds: `round.RoundReport` of each, as dictionaries.
  write_back: `write_back.WriteBackReport` as a dictionary, or None.
  """

  rehearsed: list[int]
  weights: list[float]
  rounds: list[dict]
  write_back: dict | None


class Memories(NamedTuple):
  """What may be dreamt about.

  tonight: the memory of tonight's text.
  earlier: those of earlier ones.
  staleness: of each, cycles since it was learnt or dreamt about.
  """

  tonight: Task
  earlier: Sequence[Task] = ()
  staleness: Sequence[int] = ()


class Dreamt(NamedTuple):
  """What a night of dreaming leaves.

  slot: with what was written back.
  generator: an adapter of `round.generator_part` to be merged, or None.
  report: of all of it.
  """

  slot: dict
  generator: dict | None
  report: DreamReport


def choose_memories(sleeper: Learner, settings: DreamingConfig,
                    earlier: Sequence[Task], stale: Sequence[int], key):
  """(numbers of the drawn earlier memories, their probabilities)."""
  if not (earlier and settings.rehearsed):
    return [], []
  learnable = staleness = np.ones(len(earlier))
  if settings.curriculum == 'learnability':
    learnable = [curriculum.learnability(curriculum.answer_probabilities(
        sleeper, tasks.flat(tasks.held_in_rows([task], settings))))
                 for task in earlier]
    staleness = np.asarray(stale)
  weights = curriculum.memory_weights(learnable, staleness)
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  return curriculum.drawn_memories(
      weights, settings.rehearsed, rng), weights.tolist()


def dream(sleeper: Learner, seeder: Seeder, settings: DreamingConfig,
          memories: Memories, guard: Guard, key, watched: Watched) -> Dreamt:
  """Dreams for `settings.rounds`, and writes back; all follows from `key`.

  Args:
    sleeper: who dreams.
    seeder: tonight's, whose other terms the write-back keeps.
    settings: every choice.
    memories: what may be dreamt about.
    guard: tonight's held-out questions as examples for the write-back, and what
      undoes it.
    key: typed PRNG key.
    watched: hears of four steps a round, then of every update of the write-back
      and its end; no round begins when its budget is spent, and the write-back
      ends; saves the generator after each round.
  """
  s, meter, saves = settings, watched.meter, watched.saves
  tonight, earlier, staleness = memories

  def spent(step, metrics, tokens):
    meter.spend(tokens)
    watched.report(step, metrics, tokens)

  choose_key, born_key, round_key, last_key = jax.random.split(key, 4)
  chosen, weights = choose_memories(
      sleeper, s, earlier, staleness, choose_key)
  # As much work on every night, and one program for all.
  dreamt = [tonight] * (1 + s.rehearsed - len(chosen)) + [
      earlier[i] for i in chosen]
  part = round_lib.generator_part(s)
  born = generator = part.init(sleeper.config, born_key)
  best, reports, begin = [], [], 0  # best: (prompt ids, dream ids).
  saved = saves.restored('dream')
  if saved:
    generator = phase_saves.in_place_of(
        generator, saved, 'the unfinished dreaming')
    best = saved.metadata['best']
    reports, begin = saved.metadata['rounds'], saved.step
    meter.restore(saved.metadata['spent'])
  for number in range(begin, s.rounds):
    if meter.exhausted():
      break
    generator, rewarded, outcome = round_lib.dream_round(
        sleeper, generator, born if s.outer_start == 'birth' else generator, s,
        dreamt, seeder.imitation.stop_ids,
        jax.random.fold_in(round_key, number),
        lambda step, metrics, tokens, at=4 * number: spent(
            at + step, metrics, tokens))
    best = list({(tuple(p), tuple(d)): None for p, d in (*best, *rewarded)})
    reports.append(dataclasses.asdict(outcome))
    saves.save_if_due('dream', number + 1, generator, {
        'best': best, 'rounds': reports, 'spent': meter.spent()})
  best = [(list(p), list(d)) for p, d in best]
  at, learner, taught = 4 * s.rounds, seeder.learner, None
  with_generator = part.insert(sleeper.config, sleeper.frozen, generator)
  if s.generator == 'merged':  # What it learnt needs no teacher any more.
    learner = dataclasses.replace(learner, frozen=with_generator)
  elif best:
    taught = write_back_lib.dream_examples(
        dataclasses.replace(sleeper, frozen=with_generator), best,
        seeder.terms.shared_prefix, s.dream_tokens)
  slot, written = write_back_lib.write_back(
      dataclasses.replace(seeder, learner=learner), sleeper, taught,
      tasks.flat(tasks.held_in_rows([tonight], s)), guard, s, last_key,
      Watched(lambda step, *heard: watched.report(at + step, *heard), meter))
  merged = s.generator == 'merged' and (
      written is not None and not written.rolled_back)
  return Dreamt(slot, generator if merged else None, DreamReport(
      chosen, weights, reports,
      None if written is None else dataclasses.asdict(written)))
