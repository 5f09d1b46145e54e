"""Pretraining rows of the world: a context and many short turns about it."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from sleepjax.data import world, world_tokenizer
from sleepjax.data.world_attributes import BY_NAME, COMPOSITE, FORMS
from sleepjax.pretraining import packed
from sleepjax.pretraining.packed import PackedRows

_NAME, _VALUE, _NONE = -1, -2, -3  # In templates, instead of ids.
_WORDS = 12  # Of the longest template.
(DIRECT, PARAPHRASE, REVERSED, ASK, TELL, RECALL, STEPWISE, COMPOSITE_,
 ASK_COMPOSITE) = range(9)
_TWO_STEPS = (STEPWISE, COMPOSITE_, ASK_COMPOSITE)
_CITY, _MENTOR = (list(BY_NAME).index(name) for name in ('city', 'mentor'))


@dataclasses.dataclass(frozen=True)
class WorldRows:
  """What rows are about.

  rows, length: B and T; turns that do not fit are cut off.
  turns: of every row.
  min_facts, max_facts: about new people in a context.
  min_attributes, max_attributes: how many different ones a context may have.
    The fewer, the less it helps to look for any value of the right kind.
  templates: of every attribute's statements, how many are used.
  known_share: of the turns of a row with a context, those about long-known
    people.
  closed_share: of the rows, those without a context.
  mentor_share: of the rows with a context, those whose second facts about a
    person say who is the mentor.
  stretch_share: of the rows with a context, those in which sentences about
    long-known people stand between the facts.
  max_stretch: of these sentences.
  stream_share: of the rows with such sentences, those that are a piece of a
    stream: no message, and whatever is asked follows in a message of its own.
  context_weight: of the loss of a context's own tokens.
  kinds: relative frequencies of turns: direct question, paraphrase, reversed,
    ask a question, tell about someone, tell a fact; composite question to be
    answered step by step, to be answered at once (only about long-known
    people), ask a composite question. What is to be asked about is said, but
    for half of the rows without a context.
  """

  rows: int = 64
  length: int = 160
  turns: int = 10
  min_facts: int = 6
  max_facts: int = 10
  min_attributes: int = 8
  max_attributes: int = 8
  templates: int = 3
  known_share: float = 0.15
  closed_share: float = 0.2
  mentor_share: float = 0.25
  stretch_share: float = 0.0
  max_stretch: int = 0
  stream_share: float = 0.0
  context_weight: float = 0.1
  kinds: tuple[float, ...] = (3., 2., 2., 1., 1., 1., .5, .5, .2)


class _Tables(NamedTuple):
  name: np.ndarray  # [people] ids, known ones first.
  value: np.ndarray  # [A, values] ids, but for mentors.
  statement: np.ndarray  # [A + 1, templates, W]
  question: np.ndarray  # [A + 1, forms, wordings, templates, W]
  composite: np.ndarray  # [wordings, templates, W]
  ask: np.ndarray  # [wordings, W] for a question about anything.
  about: np.ndarray  # [wordings, L] what stands before a statement.
  known: np.ndarray  # [known people, A + 1] ids of values, mentors last.


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
  templates = lambda form: [[_template(t) for t in of] for of in form]
  before = lambda *texts: np.array([
      _template(text.format(sentence='')) for text in texts])
  return _Tables(
      words([*world.KNOWN_NAMES, *world.NEW_NAMES]),
      np.stack([words(a.values) for a in world.ATTRIBUTES]),
      np.array(templates(a.statements for a in BY_NAME.values())),
      np.array([[templates(getattr(a, form)) for form in FORMS]
                for a in BY_NAME.values()]),
      np.array(templates(COMPOSITE)),
      before(world.ASK, world.EXAMINE),
      before(world.ASK_ABOUT, world.EXAMINE_ABOUT),
      words(fact.value for fact in world.known_facts()).reshape(
          len(world.KNOWN_NAMES), -1))


def _filled(templates, name, value):
  """Templates [..., W] with the ids of a name [...] and a value [...]."""
  return np.where(templates == _NAME, name[..., None],
                  np.where(templates == _VALUE, value[..., None], templates))


class _Facts(NamedTuple):
  """Facts of a row's context, in its order; beyond `count` there are none.

  person, value: [B, F] ids.
  attribute: [B, F] indices.
  count: [B].
  """

  person: np.ndarray
  attribute: np.ndarray
  value: np.ndarray
  count: np.ndarray

  def real(self):
    """[B, F] bool."""
    return np.arange(self.person.shape[1]) < self.count[:, None]

  def mentors_home(self):
    """[B, F, F] bool: the first fact says who is the mentor of somebody, and
    the second where the mentor lives."""
    real, is_city = self.real(), self.attribute == _CITY
    links = real & (self.attribute == _MENTOR)
    return (links[..., None] & (real & is_city)[:, None]
            & (self.value[..., None] == self.person[:, None]))


def _draw_facts(c: WorldRows, rng) -> _Facts:
  """One or two facts about each of several new people; no value twice."""
  t, F = _tables(), c.max_facts
  A, V = t.value.shape
  count = rng.integers(c.min_facts, F + 1, c.rows)
  count[rng.random(c.rows) < c.closed_share] = 0
  linked = (rng.random(c.rows) < c.mentor_share)[:, None]
  kinds = rng.integers(
      c.min_attributes, c.max_attributes + 1, c.rows)[:, None]
  people = rng.integers((count + 1) // 2, count + 1)[:, None]
  people = np.where((kinds == 1) & ~linked, count[:, None], people)
  linked &= people > 1
  new = t.name[len(world.KNOWN_NAMES):]
  names = new[rng.random((c.rows, len(new))).argsort(1)[:, :F]]
  i, pick = np.arange(F), lambda x, at: np.take_along_axis(x, at, 1)
  person = pick(names, i % np.maximum(people, 1))
  first = rng.integers(0, kinds, (c.rows, F))
  second = (pick(first, np.maximum(i - people, 0))
            + rng.integers(1, np.maximum(kinds, 2), (c.rows, F))) % kinds
  attribute = pick(rng.random((c.rows, A)).argsort(1),
                   np.where(i < people, first, second))
  # Where there are mentors, half of the people have a home.
  attribute = np.where(linked & (rng.random(attribute.shape) < 0.5), _CITY,
                       attribute)
  ranks = rng.random((c.rows, A, V)).argsort(2)[:, :, :F]
  rank = np.take_along_axis(
      ranks.transpose(0, 2, 1), attribute[..., None], 2)[..., 0]
  value = t.value[attribute, rank]
  link = linked & (i >= people)
  shift = rng.integers(1, np.maximum(people, 2))
  mentor = pick(names, (i + shift) % np.maximum(people, 1))
  attribute = np.where(link, _MENTOR, attribute)
  value = np.where(link, mentor, value)
  order = np.where(i < count[:, None], rng.random((c.rows, F)), 2).argsort(1)
  return _Facts(*(pick(x, order) for x in (person, attribute, value)), count)


class _Subjects(NamedTuple):
  """What turns are about, each [B, J].

  kind: of the turn.
  about: whether what to ask about is said.
  known: about a long-known person.
  name, attribute, value: a fact; ids but for the attribute.
  more: whether there is another fact about the person, or about the mentor in
    questions of two steps.
  name_2, attribute_2, value_2: that one.
  """

  kind: np.ndarray
  about: np.ndarray
  known: np.ndarray
  name: np.ndarray
  attribute: np.ndarray
  value: np.ndarray
  more: np.ndarray
  name_2: np.ndarray
  attribute_2: np.ndarray
  value_2: np.ndarray


def _draw_subjects(c: WorldRows, facts: _Facts, rng) -> _Subjects:
  t, shape = _tables(), (c.rows, c.turns)
  P, A = t.known.shape
  kind = rng.choice(len(c.kinds), shape, p=np.divide(c.kinds, sum(c.kinds)))
  closed = (facts.count == 0)[:, None]
  two_steps = np.isin(kind, _TWO_STEPS)
  homes = facts.mentors_home()
  none = ~homes.any((1, 2))[:, None]
  known = closed | ((rng.random(shape) < c.known_share)
                    & ~np.isin(kind, (REVERSED, ASK, RECALL)))
  known |= two_steps & none
  # Two lookups at once are too much for two layers: one after the other.
  kind = np.where((kind == COMPOSITE_) & ~known, STEPWISE, kind)
  # Many long-known people share a value.
  kind = np.where(known & (kind == REVERSED), DIRECT, kind)
  about = np.isin(kind, (ASK, ASK_COMPOSITE)) & (
      ~closed | (np.arange(c.rows) % 2 == 0)[:, None])
  pick = lambda x, at: np.take_along_axis(x, at, 1)
  at = (rng.random(shape) * facts.count[:, None]).astype(int)
  link = (rng.random((*shape, c.max_facts)) * homes.any(2)[:, None]).argmax(2)
  at = np.where(two_steps, link, at)
  person = rng.integers(0, P, shape)
  attribute = np.where(two_steps, _MENTOR, np.where(
      known, rng.integers(0, A, shape), pick(facts.attribute, at)))
  name = np.where(known, t.name[person], pick(facts.person, at))
  value = np.where(known, t.known[person, attribute], pick(facts.value, at))
  others = (facts.person[:, None] == name[..., None]) & facts.real()[:, None]
  others &= np.arange(c.max_facts) != at[..., None]
  others = np.where(two_steps[..., None],
                    np.take_along_axis(homes, at[..., None], 1), others)
  other = others.argmax(2)
  attribute_2 = np.where(two_steps, _CITY, np.where(
      known, (attribute + rng.integers(1, A, shape)) % A,
      pick(facts.attribute, other)))
  name_2 = np.where(two_steps, value, name)
  index = np.zeros(t.name.max() + 1, int)  # Of long-known people.
  index[t.name[:P]] = np.arange(P)
  person_2 = np.where(known, index[name_2 * known], 0)
  value_2 = np.where(
      known, t.known[person_2, attribute_2], pick(facts.value, other))
  return _Subjects(kind, about, known, name, attribute, value,
                   known | others.any(2), name_2, attribute_2, value_2)


def _turn_tokens(c: WorldRows, subjects: _Subjects, user, rng):
  """Turns [B, J, W] with gaps, and which of W are learnt [W].

  They begin with `user` [B], an id or a gap.
  """
  t, s, shape = _tables(), subjects, subjects.kind.shape
  wording = rng.integers(0, t.question.shape[2], shape)
  template = rng.integers(0, t.question.shape[3], shape)
  form = np.where(s.kind == ASK, rng.integers(0, 3, shape), s.kind % 3)
  form = np.where(s.known & (form == REVERSED), DIRECT, form)
  asked = np.where(s.kind == ASK_COMPOSITE, 0, wording)
  k, two_steps = s.kind[..., None], np.isin(s.kind, _TWO_STEPS)[..., None]
  question = _filled(np.where(
      two_steps, t.composite[asked, template],
      t.question[s.attribute, form, wording, template]), s.name, s.value)
  told = lambda name, attribute, value, style: _filled(
      t.statement[attribute, style], name, value)
  style = lambda: np.where(
      s.kind == STEPWISE, 0, rng.integers(0, c.templates, shape))
  one, of = (told(s.name, s.attribute, s.value, style()) for _ in range(2))
  two = told(s.name_2, s.attribute_2, s.value_2, style())
  fixed = lambda text: _filled(
      np.array(_template(text)), s.name, s.value)
  step = (*_encode()(world.STEPWISE.format(question='')),)
  ask_composite = fixed(world.ASK_COMPOSITE)
  about_composite = fixed(world.ASK_COMPOSITE_ABOUT.format(sentence=''))
  before = np.where(
      s.about[..., None], np.where(
          k == ASK_COMPOSITE, about_composite, t.about[wording]), _NONE)
  prompt = np.select(
      [s.about[..., None], k == ASK, k == TELL, k == RECALL,
       k == ASK_COMPOSITE],
      [of, t.ask[wording], fixed(world.TELL), fixed(world.RECALL),
       ask_composite], question)
  after = np.where(k == STEPWISE, step, _NONE)
  answer = np.full(question.shape, _NONE)
  answer[..., 0] = np.select(
      [s.kind == REVERSED, s.kind == COMPOSITE_], [s.name, s.value_2], s.value)
  reply = np.select(
      [(k == ASK) | (k == ASK_COMPOSITE),
       (k == TELL) | (k == RECALL) | (k == STEPWISE)], [question, one], answer)
  more = np.where(
      ((k == TELL) & s.more[..., None]) | (k == STEPWISE), two, _NONE)
  mark = lambda token: np.full((*shape, 1), _encode()(token)[0])
  parts = [np.broadcast_to(user[:, None, None], (*shape, 1)), before, prompt,
           after, mark(world_tokenizer.ASSISTANT), reply, more,
           mark(world_tokenizer.END)]
  unlearnt = sum(part.shape[2] for part in parts[:5])
  turns = np.concatenate(parts, 2)
  return turns, np.arange(turns.shape[2]) >= unlearnt


def _context_tokens(c: WorldRows, facts: _Facts, number, rng):
  """Statements [B, S, W] of the facts and, between them, of `number` [B] that
  are long known."""
  t = _tables()
  style = lambda shape: rng.integers(0, c.templates, shape)
  told = _filled(t.statement[facts.attribute, style(facts.person.shape)],
                 facts.person, facts.value)
  told[~facts.real()] = _NONE
  shape = c.rows, c.max_stretch
  person, attribute = (rng.integers(0, n, shape) for n in t.known.shape)
  between = _filled(t.statement[attribute, style(shape)], t.name[person],
                    t.known[person, attribute])
  between[np.arange(c.max_stretch) >= number[:, None]] = _NONE
  both = np.concatenate([told, between], 1)
  order = rng.random(both.shape[:2]).argsort(1)
  return np.take_along_axis(both, order[..., None], 1)


def sample_rows(c: WorldRows, seed) -> PackedRows:
  """The rows that belong to a seed.

  Args:
    c: what they are about.
    seed: of numpy's default generator; a tuple of numbers for example.
  """
  rng = np.random.default_rng(seed)
  facts = _draw_facts(c, rng)
  number = rng.integers(0, c.max_stretch + 1, c.rows)
  number *= (rng.random(c.rows) < c.stretch_share) & (facts.count > 0)
  stream = (rng.random(c.rows) < c.stream_share) & (number > 0)
  user = _encode()(world_tokenizer.USER)[0]
  before_context, before_turns = (
      np.where(where, user, _NONE) for where in (~stream, stream))
  context = np.concatenate(
      [before_context[:, None],
       _context_tokens(c, facts, number, rng).reshape(c.rows, -1)], 1)
  weight = np.full(context.shape, c.context_weight)
  weight[:, 0] = 0
  turns, learnt = _turn_tokens(
      c, _draw_subjects(c, facts, rng), before_turns, rng)
  return packed.pack(
      context, turns, np.broadcast_to(learnt, turns.shape), empty=_NONE,
      length=c.length, context_weight=weight)
