"""Beds of the tiny world: what their days tell, and what only the exam asks."""

import doctest

import pytest

from sleepjax.data import world, world_beds, world_tokenizer
from sleepjax.errors import UserError


def facts_of(bed):
  return [fact for day in bed.days for fact in day.facts]


def test_the_example_of_the_module_is_right():
  assert doctest.testmod(world_beds) == (0, 3)


def test_mentor_and_home_are_told_on_two_days():
  bed = world_beds.relational(seed=3, days=5, pairs=4)
  told = {fact: day.number for day in bed.days for fact in day.facts}
  assert len(told) == 2 * 4 * 4 == len(facts_of(bed))
  links = [fact for fact in told if fact.attribute == 'mentor']
  homes = {fact.person: fact for fact in told if fact.attribute == 'city'}
  assert len(links) == len(homes) == 16
  for link in links:
    home = homes[link.value]
    assert told[home] == told[link] + 1  # Never in view together.
    asked = bed.exams['composite'][f'3-{link.person}']
    assert asked == (asked.question, told[home])
    assert asked.question.answer == home.value
  assert len({fact.person for fact in told}) == 32


def test_every_exam_of_two_days_knows_when_it_can_be_passed():
  bed = world_beds.relational(seed=3, days=3, pairs=2)
  composite, stepwise, one_hop = (
      bed.exams[name] for name in ('composite', 'stepwise', 'one hop'))
  assert [asked.day for asked in composite.values()] == [1, 1, 2, 2]
  for name, (question, day) in stepwise.items():
    plain = composite[name]
    assert question.question == f'{plain.question.question} Step by step.'
    assert question.answer == plain.question.answer
    assert day == plain.day
  assert len(one_hop) == 8
  for question, number in one_hop.values():
    for day in bed.days:
      assert world.answer_to(question.question, day.facts) == (
          question.answer if day.number == number else None)


def test_nothing_that_a_day_says_answers_the_exam_of_two_days():
  bed = world_beds.relational(seed=3)
  exam = bed.exams['composite'].values()
  assert len(exam) == 28
  for question, _ in exam:
    assert world.answer_to(question.question, facts_of(bed)) == question.answer
    for day in bed.days:
      assert world.answer_to(question.question, day.facts) is None


@pytest.mark.parametrize('facts', (80, 320, 1280))
def test_facts_for_which_there_may_be_no_room(facts):
  bed = world_beds.capacity(seed=2, facts=facts)
  told = facts_of(bed)
  assert [len(day.facts) for day in bed.days] == [10] * (facts // 10)
  assert len({(f.person, f.attribute) for f in told}) == facts
  # Everybody has as many facts on average, however many there are.
  assert len({f.person for f in told}) == facts * 3 / 20
  assert [*map(len, bed.exams.values())] == [facts, facts]
  days = {fact: day.number for day in bed.days for fact in day.facts}
  for fact in told:
    for form in ('direct', 'paraphrase'):
      question, day = bed.exams[form][f'2-{fact.person}-{fact.attribute}']
      assert question.answer == fact.value and day == days[fact]
      assert world.answer_to(question.question, told) == fact.value


@pytest.mark.parametrize('bed', (
    world_beds.relational(1), world_beds.capacity(1, 80)))
def test_exams_ask_in_their_own_wording_and_texts_tell_the_facts(bed):
  for exam, asked in bed.exams.items():
    for question, _ in asked.values():
      text = question.question.removesuffix(' Step by step.')
      assert (text != question.question) == (exam == 'stepwise')
      assert world.wording_of(text) == 'exam'
      assert not any(text in day.text for day in bed.days)
  for number, day in enumerate(bed.days):
    assert day.number == number
    sentences = [f'{s.rstrip(".")}.' for s in day.text.split('. ')]
    for fact, sentence in zip(day.facts, sentences, strict=True):
      assert sentence in [fact.statement(i) for i in range(3)]


def test_beds_are_those_of_their_seed():
  for make in world_beds.relational, lambda seed: world_beds.capacity(seed, 80):
    bed, other = make(4), make(5)
    assert bed == make(4)
    assert bed.days != other.days and not any(
        set(asked) & set(other.exams[exam])
        for exam, asked in bed.exams.items())


def test_a_stretch_is_a_day_with_sentences_between():
  for number in range(3):
    day = world.day(6, number)
    far = world_beds.stretch(6, number, sentences=12)
    assert far == world_beds.stretch(6, number, sentences=12)
    assert far.facts == day.facts and far.number == number
    sentences = [f'{s.rstrip(".")}.' for s in far.text.split('. ')]
    assert len(sentences) == 20
    known = {fact.statement(i) for fact in world.known_facts()
             for i in range(3)}
    between = [sentence for sentence in sentences if sentence not in known]
    for fact, sentence in zip(day.facts, between, strict=True):
      assert sentence in [fact.statement(i) for i in range(3)]


def test_a_stream_tells_a_new_fact_in_each_of_its_parts():
  tokenizer = world_tokenizer.build_tokenizer()
  for seed in range(8):
    stream = world_beds.stream(seed, windows=24, window=40, facts=6)
    assert stream == world_beds.stream(seed, 24, 40, 6)
    ids = [tokenizer.encode(text) for text in stream.windows]
    assert [len(window) for window in ids] == [40] * 24
    every = sum(ids, [])
    assert [told.window // 4 for told in stream.told] == list(range(6))
    for told in stream.told:
      # Whole, within its window, and nowhere else.
      assert told.token // 40 == told.window
      spoken = [tokenizer.encode(told.fact.statement(i)) for i in range(3)]
      found = [of for of in spoken
               if every[told.token:told.token + len(of)] == of]
      assert len(found) == 1
      assert (told.token + len(found[0]) - 1) // 40 == told.window
      assert every.count(tokenizer.encode(told.fact.person)[0]) == 1
    facts = [told.fact for told in stream.told]
    assert len({f.person for f in facts}) == 6
    assert len({f.attribute for f in facts}) == 3
    assert len({(f.attribute, f.value) for f in facts}) == 6
    assert {f.person for f in facts} <= set(world.NEW_NAMES)


def test_needles_are_alike():
  """As many facts of one attribute, no two with one value, and one of all."""
  facts = [told.fact for told in world_beds.stream(5, 16, 40, 8, alike=8).told]
  assert len({f.attribute for f in facts}) == 1
  assert len({f.value for f in facts}) == len({f.person for f in facts}) == 8
  facts = [told.fact for told in world_beds.stream(5, 16, 40, 8, alike=1).told]
  assert len({f.attribute for f in facts}) == 8


def test_many_facts_share_a_window():
  stream = world_beds.stream(0, windows=2, window=128, facts=8)
  assert [told.window for told in stream.told] == [0] * 4 + [1] * 4
  assert all(told.fact.person in stream.windows[told.window]
             for told in stream.told)


def test_the_longest_sentence_is_as_long_as_streams_count_on():
  encode = world_tokenizer.build_tokenizer().encode
  assert max(len(encode(fact.statement(i))) for fact in world.known_facts()
             for i in range(3)) <= world_beds._LONGEST_SENTENCE


def test_beds_for_which_the_world_is_too_small_are_refused():
  for wrong in ({'windows': 2, 'facts': 15}, {'window': 31}, {'facts': 17}):
    with pytest.raises(UserError, match='windows of at least 32 tokens'):
      world_beds.stream(0, **wrong)
  with pytest.raises(UserError, match='alike=21: expected from 1 to 20'):
    world_beds.stream(0, alike=21)
  with pytest.raises(UserError, match='days=1 of pairs=4'):
    world_beds.relational(0, days=1)
  with pytest.raises(UserError, match='at most 192'):
    world_beds.relational(0, days=20, pairs=6)
  with pytest.raises(UserError, match='from 1 to 1280'):
    world_beds.capacity(0, 1281)
