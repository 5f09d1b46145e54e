import dataclasses
import doctest
import itertools
import re

import numpy as np
import pytest

from sleepjax.data import documents, world, world_tokenizer
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.data.world_attributes import BY_NAME, COMPOSITE
from sleepjax.errors import UserError
from sleepjax.pretraining import packed, world_batches
from sleepjax.pretraining.world_batches import WorldRows
from sleepjax.writing.cleaning import clean_question

TOKENIZER = world_tokenizer.build_tokenizer()
DAYS = [world.day(7, i) for i in range(world.number_of_days())]
ROWS = WorldRows(rows=64)


def test_days_are_those_of_their_seed():
  assert world.day(7, 3) == DAYS[3]
  assert world.day(8, 3).facts != DAYS[3].facts


def test_days_have_no_person_in_common_and_none_is_known():
  people = [{fact.person for fact in day.facts} for day in DAYS]
  assert len(people) == 38 and all(len(p) == 5 for p in people)
  assert len(set.union(*people)) == sum(map(len, people))
  assert not set.union(*people) & set(world.KNOWN_NAMES)


def test_a_day_tells_its_facts_in_order():
  for day in DAYS:
    sentences = day.text.split('. ')
    assert len(sentences) == len(day.facts) == 8
    for fact, sentence in zip(day.facts, sentences):
      options = [fact.statement(i).rstrip('.') for i in range(3)]
      assert sentence.rstrip('.') in options


def test_examples_of_the_module_are_right():
  assert doctest.testmod(world) == (0, 4)


def every_question(day):
  """(question, form, wording) about every fact of a day, in every template."""
  for form, wording, turn in itertools.product(
      world.FORMS, world.WORDINGS, (0, 1)):
    for question in world.questions(day.facts, form, wording, turn):
      yield question, form, wording


def test_every_question_of_a_day_has_the_one_answer():
  for day in DAYS:
    for question, _, wording in every_question(day):
      assert world.answer_to(question.question, day.facts) == question.answer
      assert world.wording_of(question.question) == wording


def test_no_template_is_in_two_wordings():
  forms = [getattr(a, form) for a in BY_NAME.values() for form in world.FORMS]
  for templates in (*forms, COMPOSITE):
    assert len(templates.asked) == len(templates.exam) == 2
  every = [t for form in (*forms, COMPOSITE) for of in form for t in of]
  assert len(set(every)) == len(every) == 4 * (9 * 3 + 1)


def test_templates_take_turns():
  facts = [world.Fact('Bokar', 'city', 'Oslo'), world.Fact('Delin', 'city',
                                                           'Lima')]
  texts = lambda **turn: [
      q.question for q in world.questions(facts, 'direct', **turn)]
  assert texts() == ['What city does Bokar live in?',
                     'In which place does Delin live?']
  assert texts(turn=1) == ['In which place does Bokar live?',
                           'What city does Delin live in?']


def test_composites_join_two_facts():
  facts = [world.Fact('Bokar', 'city', 'Oslo'),
           world.Fact('Delin', 'mentor', 'Bokar'),
           world.Fact('Bokar', 'mentor', 'Gasol'),
           world.Fact('Delin', 'city', 'Lima')]
  question, = world.composites(facts, 'asked')
  assert question == documents.Question(
      'Where does the mentor of Delin live?', 'Oslo')
  assert world.answer_to(question.question, facts) == 'Oslo'
  assert world.answer_to(question.question, facts[1:]) is None
  assert world.wording_of(question.question) == 'asked'


def test_answer_to_refuses_what_is_no_question_about_the_facts():
  fact = world.Fact('Bokar', 'pet', 'lynx')
  twice = [fact, world.Fact('Delin', 'pet', 'lynx')]
  assert world.answer_to('Whose pet is a lynx?', [fact]) == 'Bokar'
  assert world.answer_to('Whose pet is a lynx?', twice) is None
  assert world.answer_to('Whose pet is a wolf?', [fact]) is None
  assert world.answer_to('Whose pet a is lynx?', [fact]) is None


def test_known_facts_are_one_of_each_attribute_and_spread_evenly():
  facts = world.known_facts()
  assert len(facts) == 64 * 9
  assert len({(f.person, f.attribute) for f in facts}) == len(facts)
  counts = np.unique([f.value for f in facts if f.attribute != 'mentor'],
                     return_counts=True)[1]
  assert len(counts) == 160 and set(counts) <= {3, 4}
  mentors = {f.person: f.value for f in facts if f.attribute == 'mentor'}
  assert sorted(mentors.values()) == sorted(world.KNOWN_NAMES)
  assert all(mentors[mentors[one]] != one != mentors[one] for one in mentors)
  assert len(world.composites(facts)) == 64


def test_wrong_days_and_forms_are_refused():
  with pytest.raises(UserError, match='day 38 of 38'):
    world.day(0, 38)
  with pytest.raises(UserError, match='4 facts about 5 people'):
    world.day(0, 0, facts=4)
  with pytest.raises(UserError, match="form 'short'"):
    world.questions([], 'short')
  with pytest.raises(UserError, match="wording 'plain'"):
    world.composites([], 'plain')


def test_every_name_and_value_is_one_token_and_known():
  words = [*world.KNOWN_NAMES, *world.NEW_NAMES,
           *(v for a in world.ATTRIBUTES for v in a.values)]
  assert len(set(words)) == len(words) == 256 + 160
  assert all(len(TOKENIZER.encode(word)) == 1 for word in words)
  unknown = TOKENIZER.encode(world_tokenizer.UNKNOWN)[0]
  for day in DAYS:
    assert unknown not in TOKENIZER.encode(day.text)
    for question, *_ in every_question(day):
      assert unknown not in TOKENIZER.encode(question.question)


def test_names_and_values_are_content():
  content = world_tokenizer.is_content(576)
  assert content.shape == (576,) and content.sum() == 256 + 160
  encode = lambda text: TOKENIZER.encode(text)
  assert content[encode('Gaten doctor Bokar')].all()
  assert not content[encode('works as a . Who <user> <end>')].any()
  assert not content[TOKENIZER.vocab_size:].any()


def test_every_statement_is_a_sentence_of_its_own():
  for day in DAYS:
    sentences = documents.split_sentences(day.text)
    assert len(sentences) == len(day.facts)
    for sentence, fact in zip(sentences, day.facts, strict=True):
      assert sentence in [fact.statement(i) for i in range(3)]


def test_values_do_not_come_back_in_eight_days():
  for seed in range(20):
    told = [fact for n in range(8) for fact in world.day(seed, n).facts]
    assert len({(f.attribute, f.value) for f in told}) == len(told)


def test_tokenizer_gives_the_text_back_also_after_saving(tmp_path):
  TOKENIZER.save(tmp_path)
  loaded = Tokenizer.from_folder(tmp_path)
  assert loaded.stop_ids == TOKENIZER.stop_ids
  assert loaded.chat_template == TOKENIZER.chat_template
  for day in DAYS[:5]:
    question = day.questions('reversed')[0].question
    for text in (day.text, question):
      assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
      assert loaded.encode(text) == TOKENIZER.encode(text)
      assert loaded.decode(loaded.encode(text)) == text


def test_document_and_prompt_are_the_tokens_of_the_whole():
  chat, day = ChatPrompts(TOKENIZER), DAYS[0]
  for question in (*day.questions('direct'), *day.questions('reversed')):
    parts = chat.document(day.text) + chat.after_document(question.question)
    assert parts == chat.closed_book(f'{day.text}\n\n{question.question}')
  text = TOKENIZER.render_chat(
      [{'role': 'user', 'content': 'Who?'},
       {'role': 'assistant', 'content': 'Bokar'}], False)
  assert text == '<user> Who? <assistant> Bokar <end> '
  with pytest.raises(UserError, match='roles user and assistant'):
    TOKENIZER.render_chat([{'role': 'system', 'content': 'Who?'}])


def test_questions_pass_as_dreams():
  for day in DAYS:
    for question, *_ in every_question(day):
      assert clean_question(question.question, day.text, ())


def turns_of(rows, b):
  """Texts of a row's context and turns, and what is learnt of each turn."""
  text = lambda where: ' '.join(
      TOKENIZER.backend.id_to_token(int(i)) for i in rows.tokens[b][where])
  turn, last = rows.turn[b], rows.turn[b].max()
  return text(turn == 0), [
      (text(turn == j), text((turn == j) & (rows.weight[b] == 1)))
      for j in range(1, last)]  # The last may be cut off.


# Every statement of the world as its tokens: the fact.
STATEMENTS = {
    ' '.join(re.findall(r'\w+', fact.statement(i))): fact
    for name in (*world.KNOWN_NAMES, *world.NEW_NAMES)
    for a in BY_NAME.values()
    for v in a.values or (*world.KNOWN_NAMES, *world.NEW_NAMES)
    for fact in [world.Fact(name, a.name, v)] for i in range(3)}
ASKING = {f'{prefix}{about}': wording
          for prefix, wording in (('Ask a question', 'asked'),
                                  ('Set an exam question', 'exam'))
          for about in (' .', ' about this : ')}


def facts_of(text):
  return [STATEMENTS[s.strip()] for s in text.split('.') if s.strip()]


def check_turn(prompt, reply, told):
  """Checks a turn about a context of some facts; returns of which kind."""
  known = world.known_facts()
  facts, question = [*told, *known], reply.replace(' ?', '?')
  if prompt.startswith('Ask a question of two steps'):
    about = facts_of(prompt.partition(' : ')[2].strip(' .')) or facts
    person = re.search(r'mentor of (\w+)', reply)[1]
    assert any(f.person == person and f.attribute == 'mentor' for f in about)
    assert world.wording_of(question) == 'asked'
    assert world.answer_to(question, facts)
    return 'ask in two steps'
  for request, wording in ASKING.items():
    if prompt.startswith(request):
      about = facts_of(prompt.removeprefix(request))
      assert bool(about) == request.endswith(' : ')
      assert about or not told
      assert all(fact in (told or known) for fact in about)
      assert world.answer_to(question, about or known)
      assert world.wording_of(question) == wording
      return f'ask {wording} {bool(about)}'
  if prompt.startswith('Tell me'):
    said = facts_of(reply)
    assert said and all(fact in facts for fact in said)
    if 'about' in prompt:
      name = prompt.split()[3]
      assert len(set(said)) == min(sum(f.person == name for f in facts), 2)
      assert all(fact.person == name for fact in said)
    return 'tell'
  if prompt.endswith('Step by step .'):
    asked = prompt.removesuffix(' Step by step .').replace(' ?', '?')
    one, two = facts_of(reply)
    assert (one.attribute, two.attribute) == ('mentor', 'city')
    assert one in facts and two in facts and one.value == two.person
    assert world.answer_to(asked, [one, two]) == two.value
    return 'step by step'
  asked = prompt.replace(' ?', '?')
  in_view = world.answer_to(asked, told)
  assert reply == (in_view or world.answer_to(asked, known))
  mentors = [fact for fact in known if fact.attribute == 'mentor']
  if 'mentor of' in asked and world.answer_to(asked, [*told, *mentors]) is None:
    return 'two steps at once'  # Never of what is in view.
  return world.wording_of(asked)


@pytest.mark.parametrize('stretch', (0, 6))
def test_rows_ask_what_their_context_or_the_table_answers(stretch):
  rows = world_batches.sample_rows(dataclasses.replace(
      ROWS, length=260, mentor_share=0.5, stretch_share=0.5,
      max_stretch=stretch, stream_share=0.3), (1, 2))
  seen, lengths, streams = dict.fromkeys(KINDS, 0), [], 0
  known = set(world.known_facts())
  for b in range(ROWS.rows):
    context, turns = turns_of(rows, b)
    between = facts_of(context.removeprefix('<user>'))
    told = [fact for fact in between if fact not in known]
    assert not told or 6 <= len(told) <= 10
    lengths.append(len(between) - len(told))
    for turn, learnt in turns:
      prompt, reply = turn.split(' <assistant> ')
      assert learnt == reply and reply.endswith(' <end>')
      # A message begins with the text, or with what is asked about a stream.
      assert turn.startswith('<user>') != context.startswith('<user>')
      streams += turn.startswith('<user>')
      prompt = prompt.removeprefix('<user> ')
      seen[check_turn(prompt, reply.removesuffix(' <end>'), told)] += 1
  assert min(seen.values()) > 0, seen
  assert max(lengths) == stretch and min(lengths) == 0
  assert (streams > 20) == (stretch > 0)


KINDS = ('asked', 'exam', 'tell', 'step by step', 'two steps at once',
         'ask in two steps', *(f'ask {wording} {about}'
                               for wording in world.WORDINGS
                               for about in (True, False)))


def test_rows_depend_on_their_seed_alone():
  one, same, other = (
      world_batches.sample_rows(ROWS, seed) for seed in ((1, 2), (1, 2), (1, 3))
  )
  assert all((a == b).all() for a, b in zip(one, same))
  assert (one.tokens != other.tokens).any()


def test_few_attributes_and_no_context():
  few = dataclasses.replace(ROWS, min_attributes=1, closed_share=1.0)
  rows = world_batches.sample_rows(few, 0)
  assert ((rows.turn == 0).sum(1) == 1).all()


def test_packing_closes_gaps_and_cuts():
  context = np.array([[5, -9, 6], [7, -9, -9]])
  turns = np.array([[[1, -9], [2, 3]], [[-9, 1], [2, -9]]])
  rows = packed.pack(context, turns, np.ones(turns.shape), empty=-9, length=4,
                     context_weight=0.5)
  assert rows.tokens.tolist() == [[5, 6, 1, 2], [7, 1, 2, 0]]
  assert rows.turn.tolist() == [[0, 0, 1, 2], [0, 1, 2, -1]]
  assert rows.weight.tolist() == [[0.5, 0.5, 1, 1], [0.5, 1, 1, 0]]
