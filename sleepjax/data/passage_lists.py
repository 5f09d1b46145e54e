"""Frozen lists of SQuAD passages: each confirms one thing, once.

A passage that somebody looked at while settings were chosen proves nothing
about them. So the passages of SQuAD's development set with at least four
questions were split once, by a seed, into lists that share none:

  know    twenty, for what a night makes a model know
  parts   twelve, for which part of a night does it
  inc     those to which SEAL's own self-edits are published (Zweiger et al.
          2025, arXiv 2506.10943): the incorporation of single passages
  seq     twenty-four, three sequences of eight
  spent   those that commands visited before there were lists
  reserve all others

In every list the titles take turns, so that its first passages are about
different things for as long as there are titles. The lists are kept as ids,
hashes of the passages' texts; the texts themselves do not come with the
package (`sleepjax.data.sources`). One run on a list confirms what was frozen
before it; then the list is spent.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Collection, Sequence

import numpy as np

from sleepjax.data import sources
from sleepjax.data.sources import Passage
from sleepjax.errors import UserError

SEED = 20260603
LEAST_QUESTIONS = 4
SIZES = {'know': 20, 'parts': 12, 'seq': 24}  # `inc` takes what there is.
NAMES = ('know', 'parts', 'inc', 'seq')
_FILE = pathlib.Path(__file__).resolve().parent / 'text/passage_lists.json'


def passage_id(passage: Passage) -> str:
  """The first 16 hexadecimal digits of the SHA-256 of a passage's text."""
  return hashlib.sha256(passage.context.strip().encode()).hexdigest()[:16]


def split(passages: Sequence[Passage], spent: Collection[str],
          self_edited: Collection[str], seed: int = SEED
          ) -> dict[str, tuple[str, ...]]:
  """Ids of each list but `reserve`, whatever order the passages come in.

  Args:
    passages: all there are; those with fewer than four questions are left out.
    spent: ids of those that were looked at.
    self_edited: ids of those with self-edits of SEAL's.
    seed: of the one permutation.

  Raises:
    ValueError: there are too few passages for the lists.
  """
  titles = {passage_id(p): p.title for p in passages
            if len(p.questions) >= LEAST_QUESTIONS}
  order = sorted(titles)
  order = [order[i] for i in np.random.default_rng(seed).permutation(
      len(order))]
  fresh = [i for i in order if i not in spent]
  inc = _titles_in_turn([i for i in fresh if i in self_edited], titles)
  lists = {'inc': tuple(inc), 'spent': tuple(sorted(spent))}
  fresh = [i for i in fresh if i not in self_edited]
  if len(fresh) < sum(SIZES.values()):
    raise ValueError(f'{len(fresh)} passages are left for lists of '
                     f'{sum(SIZES.values())}.')
  for name, size in SIZES.items():
    fresh = _titles_in_turn(fresh, titles)
    lists[name], fresh = tuple(fresh[:size]), fresh[size:]
  return lists


def _titles_in_turn(ids, titles):
  """The first of every title, then the second, each in the order given."""
  seen, turns = {}, []
  for i in ids:
    turns.append(seen.get(titles[i], 0))
    seen[titles[i]] = turns[-1] + 1
  return [ids[n] for n in np.argsort(turns, kind='stable')]


@functools.cache
def ids() -> dict[str, tuple[str, ...]]:
  """The committed ids of every list but `reserve`, in their order."""
  return {name: tuple(listed)
          for name, listed in json.loads(_FILE.read_text()).items()}


def lists_sha256() -> str:
  """Hash of all lists and their order, for reports."""
  return hashlib.sha256(json.dumps(
      ids(), sort_keys=True).encode()).hexdigest()


def read(name: str, number: int | None = None) -> list[Passage]:
  """The first passages of a list.

  Args:
    name: of the list.
    number: how many; all by default.

  Raises:
    UserError: there is no such list, it is shorter, or the data that are found
      lack one of its passages.
  """
  names = (*ids(), 'reserve')
  if name not in names:
    raise UserError(f'no list {name!r} of passages: expected one of '
                    f'{", ".join(names)}.')
  found = {passage_id(p): p for p in sources.squad_seal('val')}
  listed = ids().get(name)
  if listed is None:
    taken = set().union(*ids().values())
    listed = sorted(i for i, p in found.items() if i not in taken
                    and len(p.questions) >= LEAST_QUESTIONS)
  number = len(listed) if number is None else number
  if not 1 <= number <= len(listed):
    raise UserError(f'{number} passages of list {name!r}: it has '
                    f'{len(listed)}; ask for 1 to {len(listed)}.')
  missing = [i for i in listed[:number] if i not in found]
  if missing:
    raise UserError(
        f'list {name!r}: {len(missing)} of its passages are not among the '
        f'{len(found)} that were found ({missing[0]} is the first): the lists '
        "are of SQuAD 1.1's development set, whole; see sleepjax/data/"
        'sources.py for where it is looked for.')
  return [found[i] for i in listed[:number]]
