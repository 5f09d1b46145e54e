"""Classes of short utterances that come in increments.

*Invented* intents are of the tiny world: a made-up label and what goes with it,
values of any attribute that no other intent has. What belongs together is
arbitrary, so that no model knows it. An utterance asks who has a value. It is
told and learnt in some wordings and asked in others, see
`sleepjax.data.world_attributes`.

>>> first = invented(seed=0, increments=2, classes=2)[0]
>>> first.text.split('. ')[0]
'Favin keeps a rabbit at home'
>>> first.learnt[5]
Labelled(utterance='Who keeps a rabbit?', label='Favin')
>>> first.exam[5].utterance
'Which person keeps a rabbit?'
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data import prepared, world
from sleepjax.data.world import ATTRIBUTES, NEW_NAMES, Fact
from sleepjax.errors import UserError

# Data set -> splits to learn from and to be asked, and the field of the label.
BENCHMARKS = {
    'clinc150': ('train', 'test', 'intent'),
    'banking77': ('train', 'test', 'intent'),
    'dbpedia14/full': ('train', 'test', 'category'),
    'dbpedia14/sample': ('validation', 'test', 'category')}


class Labelled(NamedTuple):
  """An utterance and the name of its class."""

  utterance: str
  label: str


class Increment(NamedTuple):
  """Classes that are told together.

  labels: of them.
  text: labelled examples, as they are put in view.
  learnt: utterances to learn from.
  exam: utterances that are asked; none of them is learnt in any increment.
  stored: some of `learnt`, which later nights may have again.
  """

  labels: tuple[str, ...]
  text: str
  learnt: tuple[Labelled, ...]
  exam: tuple[Labelled, ...]
  stored: tuple[Labelled, ...] = ()


def invented(seed: int, increments: int = 10, classes: int = 5,
             values: int = 3, stored: int = 2) -> list[Increment]:
  """Intents of the tiny world; the seed draws what they are and their order.

  Args:
    seed: of all.
    increments: how many.
    classes: of each.
    values: of each class; every one is told once, learnt in two wordings and
      asked in two others.
    stored: utterances of a class that may be kept.

  Raises:
    UserError: more of them than the world has values.
  """
  rng, number = np.random.default_rng((seed, 7)), increments * classes
  every = [(a.name, value) for a in ATTRIBUTES for value in a.values]
  if min(increments, classes, values) < 1 or number * values > len(every):
    raise UserError(
        f'increments={increments} of classes={classes} with values={values}: '
        f'expected one of each at least, and at most {len(every)} values in '
        'all.')
  labels = rng.permutation(NEW_NAMES)[:number].tolist()
  chosen = iter(rng.permutation(len(every)).tolist())
  facts = {label: [Fact(label, *every[next(chosen)]) for _ in range(values)]
           for label in labels}
  made = []
  for start in range(0, number, classes):
    own = labels[start:start + classes]
    told = [fact for label in own for fact in facts[label]]
    text = ' '.join(told[i].statement(int(rng.integers(3)))
                    for i in rng.permutation(len(told)))
    learnt, exam = (tuple(
        Labelled(question.question, question.answer) for turn in (0, 1)
        for question in world.questions(told, 'reversed', wording, turn))
                    for wording in ('asked', 'exam'))
    made.append(Increment(tuple(own), text, learnt, exam,
                          _some(learnt, stored, rng)))
  return made


def drawn(learnt: Iterable[Labelled], asked: Iterable[Labelled], seed: int,
          counts: tuple[int, int], some: dict[str, int]) -> list[Increment]:
  """Classes of a data set; the seed draws their order and their utterances.

  Args:
    learnt, asked: all utterances of either part, in the order of the data.
    seed: of all that is drawn.
    counts: increments, and classes of each; the classes left over are no part.
    some: at most so many utterances of a class that are `learnt`, `shown` in
      view, `stored` and in the `exam`.

  Raises:
    UserError: the data set has fewer classes, or a class too little to learn
      from or to ask.
  """
  rng, (increments, classes) = np.random.default_rng((seed, 8)), counts
  parts = [_by_label(part) for part in (learnt, asked)]
  names = [label for label in parts[0] if label in parts[1]]
  number = increments * classes
  if not 1 <= number <= len(names):
    raise UserError(
        f'increments={increments} of classes={classes}: expected at most '
        f'{len(names)} classes in all, and one at least.')
  labels = [names[i] for i in rng.permutation(len(names))[:number]]
  seen = {u for label in labels for u in parts[0][label]}
  made = []
  for start in range(0, number, classes):
    own = tuple(labels[start:start + classes])
    pick = lambda label, known, count: tuple(
        Labelled(known[i], label)
        for i in rng.permutation(len(known))[:count])
    rows = {label: pick(label, parts[0][label], some['learnt'])
            for label in own}
    exam = {label: pick(label, [
        u for u in parts[1][label] if u not in seen], some['exam'])
            for label in own}
    for name, by_label in (('learn', rows), ('ask', exam)):
      if empty := [label for label in own if not by_label[label]]:
        raise UserError(
            f'class {empty[0]!r} has no utterance to {name} beside those of '
            'the other part.')
    shown = [row for label in own for row in rows[label][:some['shown']]]
    text = as_examples([shown[i] for i in rng.permutation(len(shown))])
    every = sum(rows.values(), ())
    made.append(Increment(own, text, every, sum(exam.values(), ()),
                          _some(every, some['stored'], rng)))
  return made


def as_examples(rows: Iterable[Labelled]) -> str:
  """Labelled utterances of a data set as they are put in view."""
  return '\n\n'.join(f'{row.utterance}\nClass: {row.label}' for row in rows)


def benchmark(name: str) -> tuple[list[Labelled], list[Labelled]]:
  """(utterances to learn from, those that are asked) of a data set.

  Labels are words: underscores are spaces.

  Raises:
    UserError: an unknown name, or its files are not there.
  """
  if name not in BENCHMARKS:
    raise UserError(f'data={name!r} must be one of invented, '
                    f'{", ".join(BENCHMARKS)}.')
  # Registers them, and takes half a second.
  from sleepjax.data import builders  # noqa: F401
  *splits, field = BENCHMARKS[name]
  learnt, asked = ([Labelled(
      prepared.text(row['text']),
      prepared.text(row[field]).replace('_', ' '))
                    for row in prepared.rows(name, split)]
                   for split in splits)
  return learnt, asked


def _by_label(rows) -> dict[str, list[str]]:
  """label -> its different utterances, in their order."""
  found: dict[str, dict[str, None]] = {}
  for row in rows:
    found.setdefault(row.label, {})[row.utterance] = None
  return {label: list(texts) for label, texts in found.items()}


def _some(rows: Sequence[Labelled], count: int, rng) -> tuple[Labelled, ...]:
  """So many of every class, in the order of the rows."""
  order, taken, found = rng.permutation(len(rows)), {}, []
  for i in order:
    label = rows[i].label
    if taken.setdefault(label, 0) < count:
      taken[label] += 1
      found.append(int(i))
  return tuple(rows[i] for i in sorted(found))
