"""Pretraining rows of the world: a context and many short turns about it."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from sleepjax.data import world, world_tokenizer
from sleepjax.pretraining import packed
from sleepjax.pretraining.packed import PackedRows

_NAME, _VALUE, _NONE = -1, -2, -3  # In templates, instead of ids.
_WORDS = 9  # Of the longest template.
DIRECT, PARAPHRASE, REVERSED, ASK, TELL, RECALL = range(6)


@dataclasses.dataclass(frozen=True)
class WorldRows:
  """What rows are about.

  rows, length: B and T; turns that do not fit are cut off.
  turns: of every row.
  min_facts, max_facts: about new people in a context.
  min_attributes, max_attributes: how many different ones a context may have.
    The fewer, the less it helps to look for any value of the right kind.
  templates: of every attribute's statements, how many are used.
  bare_share: of the rows, those whose statements and questions are nothing but
    names and values: what a model learns to look up first.
  known_share: of the turns of a row with a context, those about long-known
    people.
  closed_share: of the rows, those without a context.
  context_weight: of the loss of a context's own tokens.
  kinds: relative frequencies of turns: direct question, paraphrase, reversed,
    ask a question, tell about someone, tell a fact. What is to be asked about
    is said, but for half of the rows without a context.
  """

  rows: int = 64
  length: int = 160
  turns: int = 10
  min_facts: int = 6
  max_facts: int = 10
  min_attributes: int = 8
  max_attributes: int = 8
  templates: int = 3
  bare_share: float = 0.0
  known_share: float = 0.15
  closed_share: float = 0.2
  context_weight: float = 0.1
  kinds: tuple[float, ...] = (3., 2., 2., 1., 1., 1.)


class _Tables(NamedTuple):
  name: np.ndarray  # [people], known ones first.
  value: np.ndarray  # [A, values]
  statement: np.ndarray  # [A, templates, W], the last one bare.
  question: np.ndarray  # [A, forms, W], those of `world`, then the same bare.
  about: np.ndarray  # [L] what stands before a statement to be asked about.
  known: np.ndarray  # [known people, A] index of a value


@functools.cache
def _encode():
  return world_tokenizer.build_tokenizer().encode


def _template(text):
  """Ids [W] of a template, with marks for name, value and nothing."""
  name, value = world.NEW_NAMES[0], world.ATTRIBUTES[0].values[0]
  ids = _encode()(text.format(n=name, v=value, name=name))
  marks = {_encode()(name)[0]: _NAME, _encode()(value)[0]: _VALUE}
  return [*(marks.get(i, i) for i in ids), *[_NONE] * (_WORDS - len(ids))]


@functools.cache
def _tables() -> _Tables:
  words = lambda texts: np.array([_encode()(text)[0] for text in texts])
  known = np.array([
      world.ATTRIBUTES[i % len(world.ATTRIBUTES)].values.index(fact.value)
      for i, fact in enumerate(world.known_facts())])
  bare = lambda *marks: [*marks, *[_NONE] * (_WORDS - len(marks))]
  return _Tables(
      words([*world.KNOWN_NAMES, *world.NEW_NAMES]),
      np.stack([words(a.values) for a in world.ATTRIBUTES]),
      np.array([[*(_template(s) for s in a.statements),
                 bare(_NAME, _VALUE, _encode()('.')[0])]
                for a in world.ATTRIBUTES]),
      np.array([[*(_template(getattr(a, form)) for form in world.FORMS),
                 bare(_NAME), bare(_NAME), bare(_VALUE)]
                for a in world.ATTRIBUTES]),
      np.array(_encode()(world.ASK_ABOUT.format(sentence=''))),
      known.reshape(len(world.KNOWN_NAMES), -1))


def _filled(templates, name, value):
  """Templates [..., W] with the ids of a name [...] and a value [...]."""
  return np.where(templates == _NAME, name[..., None],
                  np.where(templates == _VALUE, value[..., None], templates))


class _Facts(NamedTuple):
  """Facts of a row's context, in its order; beyond `count` there are none.

  person, attribute, value: [B, F] indices.
  count: [B].
  bare: [B] bool, told as names and values only.
  """

  person: np.ndarray
  attribute: np.ndarray
  value: np.ndarray
  count: np.ndarray
  bare: np.ndarray

  def real(self):
    """[B, F] bool."""
    return np.arange(self.person.shape[1]) < self.count[:, None]


def _draw_facts(c: WorldRows, rng) -> _Facts:
  """One or two facts about each of several new people; no value twice."""
  t, F = _tables(), c.max_facts
  A, V = t.value.shape
  old = len(world.KNOWN_NAMES)
  count = rng.integers(c.min_facts, F + 1, c.rows)
  count[rng.random(c.rows) < c.closed_share] = 0
  bare = (rng.random(c.rows) < c.bare_share) & (count > 0)
  kinds = rng.integers(
      c.min_attributes, c.max_attributes + 1, c.rows)[:, None]
  people = rng.integers((count + 1) // 2, count + 1)[:, None]
  people = np.where((kinds == 1) | bare[:, None], count[:, None], people)
  names = rng.random((c.rows, len(t.name) - old)).argsort(1)[:, :F] + old
  i = np.arange(F)
  person = np.take_along_axis(names, i % np.maximum(people, 1), 1)
  first = rng.integers(0, kinds, (c.rows, F))
  second = (np.take_along_axis(first, np.maximum(i - people, 0), 1)
            + rng.integers(1, np.maximum(kinds, 2), (c.rows, F))) % kinds
  attribute = np.take_along_axis(
      rng.random((c.rows, A)).argsort(1), np.where(i < people, first, second),
      1)
  ranks = rng.random((c.rows, A, V)).argsort(2)[:, :, :F]
  value = np.take_along_axis(
      ranks.transpose(0, 2, 1), attribute[..., None], 2)[..., 0]
  order = np.where(i < count[:, None], rng.random((c.rows, F)), 2).argsort(1)
  return _Facts(*(np.take_along_axis(x, order, 1)
                  for x in (person, attribute, value)), count, bare)


class _Subjects(NamedTuple):
  """What turns are about, each [B, J].

  kind: of the turn.
  about: whether what to ask about is said.
  known: about a long-known person.
  person, attribute, value: a fact.
  more, attribute_2, value_2: whether there is another about the person.
  """

  kind: np.ndarray
  about: np.ndarray
  known: np.ndarray
  person: np.ndarray
  attribute: np.ndarray
  value: np.ndarray
  more: np.ndarray
  attribute_2: np.ndarray
  value_2: np.ndarray


def _draw_subjects(c: WorldRows, facts: _Facts, rng) -> _Subjects:
  table, shape = _tables().known, (c.rows, c.turns)
  P, A = table.shape
  kind = rng.choice(len(c.kinds), shape, p=np.divide(c.kinds, sum(c.kinds)))
  known = rng.random(shape) < c.known_share
  known &= np.isin(kind, (DIRECT, PARAPHRASE, TELL))
  closed = (facts.count == 0)[:, None]
  about = (kind == ASK) & (~closed | (np.arange(c.rows) % 2 == 0)[:, None])
  known |= closed
  # Many long-known people share a value.
  kind = np.where(known & (kind == REVERSED), DIRECT, kind)
  pick = lambda x, at: np.take_along_axis(x, at, 1)
  at = (rng.random(shape) * facts.count[:, None]).astype(int)
  person = np.where(known, rng.integers(0, P, shape), pick(facts.person, at))
  attribute = np.where(
      known, rng.integers(0, A, shape), pick(facts.attribute, at))
  others = (facts.person[:, None] == person[..., None]) & facts.real()[:, None]
  others &= np.arange(c.max_facts) != at[..., None]
  other = others.argmax(2)
  attribute_2 = np.where(known, (attribute + rng.integers(1, A, shape)) % A,
                         pick(facts.attribute, other))
  row = np.where(known, person, 0)
  value, value_2 = (
      np.where(known, table[row, a], pick(facts.value, i))
      for a, i in ((attribute, at), (attribute_2, other)))
  return _Subjects(kind, about, known, person, attribute, value,
                   known | others.any(2), attribute_2, value_2)


def _turn_tokens(c: WorldRows, subjects: _Subjects, bare, rng):
  """Turns [B, J, W] with gaps, and which of W are learnt [W]."""
  t, s = _tables(), subjects
  bare = bare[:, None] & ~s.known
  name, word = t.name[s.person], t.value[s.attribute, s.value]
  form = np.where(s.kind == ASK, rng.integers(0, 3, s.kind.shape), s.kind % 3)
  form = np.where(s.known & (form == REVERSED), DIRECT, form)
  question = _filled(
      t.question[s.attribute, form + len(world.FORMS) * bare], name, word)
  statements = [
      _filled(t.statement[a, _style(c, bare, a.shape, rng)], name,
              t.value[a, v])
      for a, v in ((s.attribute, s.value), (s.attribute_2, s.value_2),
                   (s.attribute, s.value))]
  k, about = s.kind[..., None], s.about[..., None]
  before = np.where(about, t.about, _NONE)
  prompt = np.select(
      [about, k == ASK, k == TELL, k == RECALL],
      [statements[2], *(
          _filled(np.array(_template(text)), name, word)
          for text in (world.ASK, world.TELL, world.RECALL))], question)
  answer = np.full(question.shape, _NONE)
  answer[..., 0] = np.where(s.kind == REVERSED, name, word)
  reply = np.select([k == ASK, k >= TELL], [question, statements[0]], answer)
  more = np.where((k == TELL) & s.more[..., None], statements[1], _NONE)
  mark = lambda token: np.full((*k.shape[:2], 1), _encode()(token)[0])
  turns = np.concatenate([
      before, prompt, mark(world_tokenizer.ASSISTANT), reply, more,
      mark(world_tokenizer.END)], 2)
  return turns, np.arange(turns.shape[2]) > before.shape[2] + _WORDS


def _style(c, bare, shape, rng):
  """Which template a statement has."""
  return np.where(bare, -1, rng.integers(0, c.templates, shape))


def sample_rows(c: WorldRows, seed) -> PackedRows:
  """The rows that belong to a seed.

  Args:
    c: what they are about.
    seed: of numpy's default generator; a tuple of numbers for example.
  """
  rng, t = np.random.default_rng(seed), _tables()
  facts = _draw_facts(c, rng)
  template = _style(c, facts.bare[:, None], facts.person.shape, rng)
  told = t.statement[facts.attribute, template]
  filled = _filled(told, t.name[facts.person],
                   t.value[facts.attribute, facts.value])
  filled[~facts.real()] = _NONE
  user = np.full((c.rows, 1), _encode()(world_tokenizer.USER)[0])
  context = np.concatenate([user, filled.reshape(c.rows, -1)], 1)
  weight = np.full(context.shape, c.context_weight)
  weight[:, 0] = 0
  turns, learnt = _turn_tokens(
      c, _draw_subjects(c, facts, rng), facts.bare, rng)
  return packed.pack(
      context, turns,
      np.broadcast_to(learnt, turns.shape), empty=_NONE, length=c.length,
      context_weight=weight)
