"""What counts as a dream, and how a document is cut into readings."""

import jax
import numpy as np
import pytest

from sleepjax.data import words
from sleepjax.data.chunks import wake_chunks
from sleepjax.data.documents import Document
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.lifecycle import cycle
from sleepjax.model import Model, packaged_file
from sleepjax.sampling import context
from sleepjax.sampling import rows as rows_lib
from sleepjax.writing import cleaning, dreams, prompt_library
from sleepjax.writing.coverage import (
    Coverage,
    askable,
    check_askable,
    question_requests,
)
from sleepjax.writing.dreamer import Dream, DreamConfig, Dreamer
from tests.conftest import CONFIG

TEXT = ('The ferry Alma crossed the strait in 1911. Its captain, Ida Roe, '
        'had been a whaler.')
FORBIDDEN = ('text', 'question')


@pytest.fixture(scope='module')
def chat():
  return ChatPrompts(Tokenizer.from_gguf(
      packaged_file('smollm2-135m-instruct')))


@pytest.mark.parametrize('reply, question', [
    ('Who was the captain of Alma? She was', 'Who was the captain of Alma?'),
    ('Question: when did the ferry cross?', 'When did the ferry cross?'),
    ('"Who sailed the ferry Alma?"', 'Who sailed the ferry Alma?'),
    ('Who was the captain of Alma', None),
    ('Who was it?', None),
    ('What does the text say about Alma?', None),
    ('Who invented the telephone in Boston?', None),
    ('First line\nWho was the captain of Alma?', None),
])
def test_clean_question(reply, question):
  assert cleaning.clean_question(reply, TEXT, FORBIDDEN) == question


@pytest.mark.parametrize('reply, request_', [
    ('"List the dates of ship Alma."', 'List the dates of ship Alma.'),
    ('Who sailed the ferry?\nIda Roe.', 'Who sailed the ferry?'),
    ('List the dates in the text of Alma.', None),
    ('Write a poem about the sea.', None),
    ('Alma!', None)])
def test_clean_request(reply, request_):
  assert cleaning.clean_request(reply, TEXT, FORBIDDEN) == request_


def test_every_prompt_of_the_library_is_usable_for_any_topic():
  for name in prompt_library.LIBRARY:
    prompts = prompt_library.prompts_of((name,))
    assert prompts.told or prompts.written
    for told in prompts.told:
      assert 'Rome' in told.format(topic='Rome') and 'text' not in told.lower()
    assert all('{' not in written for written in prompts.written)
  prompts = prompt_library.prompts_of(tuple(prompt_library.LIBRARY))
  every = prompts.told + prompts.written
  assert len(set(every)) == len(every) > 10
  with pytest.raises(ValueError, match="'poems' is not in the library"):
    DreamConfig(question_prompt='', openings=(), recall_prompt='',
                       open_prompts=(), topic_prompt='', library=('poems',))


@pytest.mark.parametrize('name, value, least', [
    ('questions_per_opening', 0, 1), ('questions_in_all', 0, 1),
    ('prompt_tokens', 0, 1), ('completion_tokens', 0, 1), ('batch_rows', 0, 1),
    ('answers_per_question', -1, 0), ('recalls_per_sentence', -1, 0),
    ('open_samples', -1, 0), ('held_out', -1, 0), ('temperature', -1.0, 0),
    ('question_temperature', -0.5, 0)])
def test_numbers_of_dreams_that_cannot_be_are_refused(name, value, least):
  config = lambda number: DreamConfig('', (), '', (), '', **{
      name: number})
  with pytest.raises(ValueError, match=(
      f'{name}={value} must be at least {least}')):
    config(value)
  assert getattr(config(least), name) == least


@pytest.mark.parametrize('per_opening, in_all, expected', [
    (1, 384, 1), (5, 384, 5), (5, 12, 3), (5, 1, 1)])
def test_a_long_text_gets_fewer_questions_a_sentence(
    byte_tokenizer, per_opening, in_all, expected):
  settings = DreamConfig(
      question_prompt='{sentence}', openings=('Who', 'When'), recall_prompt='',
      open_prompts=(), topic_prompt='', questions_per_opening=per_opening,
      questions_in_all=in_all)
  writer = Dreamer(Model(CONFIG, None, byte_tokenizer), settings)
  requests = list(question_requests(writer, TEXT))
  assert [len(r) for r in requests] == [2 * expected] * 2


LONG = 'The keeper of the tower wrote of birds and weather ' * 12


@pytest.mark.parametrize('text', [
    LONG, '灯塔的看守人写下了鸟和天气' * 30, 'x' * 600])
def test_a_sentence_too_long_for_a_request_is_asked_about_in_parts(chat, text):
  writer = Dreamer(Model(CONFIG, None, chat.tokenizer), DreamConfig(
      question_prompt='Ask a question about this: {sentence}',
      openings=('Who', 'In what year'), recall_prompt='', open_prompts=(),
      topic_prompt=''))
  parts = askable(writer, text)
  assert len(parts) > 1
  assert ''.join(''.join(parts).split()) == ''.join(text.split())
  for requests in question_requests(writer, text):
    assert all(len(ids) <= 72 + 40 for ids, _ in requests)
  check_askable(writer, [text])
  for nothing in ('12 - 13 - 14', ''):
    with pytest.raises(UserError, match='nothing in the text can be asked'):
      check_askable(writer, [nothing])


def test_what_nothing_was_asked_about_is_counted(chat, monkeypatch):
  """Of three sentences one gets a question of use."""
  settings = DreamConfig(
      question_prompt='{sentence}', openings=('Who',), recall_prompt='{topic}',
      open_prompts=('{topic}',), topic_prompt='', held_out=0, open_samples=1,
      recalls_per_sentence=1, answers_per_question=1)
  replies = {'The ferry Alma': ' sailed the ferry Alma?'}
  monkeypatch.setattr(Dreamer, 'write', lambda self, prompts, key, **_: [
      chat.tokenizer.encode(next(
          (reply for begin, reply in replies.items()
           if begin in chat.tokenizer.decode(ids)), 'nothing'))
      for ids in prompts])
  writer = Dreamer(Model(CONFIG, None, chat.tokenizer), settings)
  text = TEXT + ' The crew lived on barley and fish.'
  written, held, coverage = dreams.write_dreams(
      writer, Document('T', text), (), jax.random.key(0), '{question}')
  assert coverage == Coverage(3, 0, 2, 0)
  assert [d.prompt for d in written if d.kind == 'question'] == [
      'Who sailed the ferry Alma?']
  replies.clear()
  monkeypatch.setattr(dreams, '_fits', lambda *_: False)
  with pytest.raises(UserError, match=(
      'found 3 sentences, 0 too long for a request, 3 whose replies')):
    dreams.write_dreams(
        writer, Document('T', text), (), jax.random.key(0), '{question}')


def test_recitations_are_the_text_to_the_character(chat):
  text = '| tower | height |\n|---|---|\n' + ''.join(
      f'| Skarrow {i} |  {i} m |\n' for i in range(20)) + 'if x:\n\treturn 1'
  writer = Dreamer(Model(CONFIG, None, chat.tokenizer), DreamConfig(
      question_prompt='', openings=('Who',), recall_prompt='About {topic}.',
      open_prompts=(), topic_prompt=''))
  said = dreams.recitations(writer, Document('T', text))
  pieces = said[:next(i for i, d in enumerate(said) if i and not d.start)]
  decoded = [chat.tokenizer.decode(d.completion) for d in pieces]
  assert len(pieces) > 5 and ''.join(decoded) == text
  for i, dream in enumerate(pieces):
    assert ''.join(decoded[:i]).endswith(dream.start)
    assert len(dream.student_ids(chat)) <= writer.settings.prompt_tokens


@pytest.mark.parametrize('reply, text', [
    ('船长在岛上住了多少年？', '船长在岛上住了三十年。'),
    ('लाइटहाउस किसने डिज़ाइन किया था?', 'लाइटहाउस आन्ना ने डिज़ाइन किया।'),
    ('من صمم المنارة الجديدة؟', 'صممت أوتيلي المنارة الجديدة.'),
    ('Où se trouve l’île d’été ?', 'L’île d’été est au nord.')])
def test_questions_in_other_scripts_are_of_use(reply, text):
  assert cleaning.clean_question(reply, text, FORBIDDEN) == reply
  assert cleaning.clean_question(reply, 'A red house.', FORBIDDEN) is None
  assert cleaning.distinct([reply, reply, reply[:-3]]) == [reply, reply[:-3]]


def test_sentence_beginnings_are_proper_and_seeded():
  draw = lambda n: dreams.sentence_beginnings(
      TEXT, 3, np.random.default_rng(n))
  first = draw(0)
  assert len(first) == 6 and len(set(first)) == 6
  for beginning in first:
    assert beginning in TEXT and len(beginning.split()) >= 2
    assert TEXT.index(beginning) in (0, TEXT.index('Its'))
  assert first == draw(0) and first != draw(1)
  chinese = '灯塔建于一九一一年，由老船长看守了整整三十年。'
  begun = dreams.sentence_beginnings(chinese, 3, np.random.default_rng(0))
  assert len(set(begun)) == 3
  assert all(chinese.startswith(b) and 2 <= len(b) for b in begun)


def test_document_prefix_and_prompt_join_to_the_whole_chat(chat):
  whole = chat.tokenizer.encode(chat.tokenizer.render_chat(
      [{'role': 'user', 'content': f'{TEXT}\n\nWho was captain?'}]))
  assert (chat.document(TEXT) + chat.after_document('Who was captain?')
          == whole)
  assert chat.closed_book('Who was captain?') == chat.tokenizer.encode(
      chat.tokenizer.render_chat(
          [{'role': 'user', 'content': 'Who was captain?'}]))


def test_dream_start_stands_in_the_reply(chat):
  dream = Dream('recall', 'Tell me about Alma.', 'The ferry', (5,))
  text = chat.tokenizer.backend.decode(
      dream.student_ids(chat), skip_special_tokens=False)
  assert text.endswith('assistant\nThe ferry')
  assert TEXT not in text


def test_wake_chunks_cover_the_text_in_order(chat):
  sentences = [f'Sentence number {i} tells of the harbour at dawn.'
               for i in range(60)]
  document = Document('Harbour', ' '.join(sentences))
  chunks = wake_chunks(chat, document, 200, 8192)
  assert len(chunks) > 3
  assert ''.join(c.text for c in chunks) == document.text
  for chunk in chunks:
    assert len(chat.document(chunk.text)) <= 200
    assert chunk.title == 'Harbour'
  assert wake_chunks(chat, document, 8192, 8192) == [document]


def test_wake_chunks_cut_a_sentence_without_an_end(chat):
  document = Document('', 'word ' * 700)
  chunks = wake_chunks(chat, document, 200, 8192)
  assert sum(len(c.text.split()) for c in chunks) == 700
  assert all(len(chat.document(c.text)) <= 200 for c in chunks)


@pytest.mark.parametrize('text', [
    '灯塔建于一九一一年，由老船长看守。从塔顶能看见北方的岛屿！' * 60,
    '灯塔建于一九一一年' * 200, 'Harbour. ' + 'x1' * 2000 + ' at dawn. ' * 90,
    '一九一一年。 The ferry Alma crossed。\n\n灯塔' * 50])
def test_wake_chunks_of_text_without_spaces_fit(chat, text):
  chunks = wake_chunks(chat, Document('', text), 256, 1500)
  sizes = [len(chat.document(chunk.text)) for chunk in chunks]
  assert max(sizes) <= 256
  assert len(sizes) < 2 + len(chat.document(text)) / 180
  whole = ''.join(text.split())
  assert ''.join(''.join(c.text for c in chunks).split()) == whole
  if ' ' not in text:
    assert ''.join(c.text for c in chunks) == whole


@pytest.mark.parametrize('context, message', [
    (9000, 'more than the model allows'), (40, 'leaves')])
def test_wake_chunks_refuse_a_context_that_cannot_be(chat, context, message):
  with pytest.raises(UserError, match=message):
    wake_chunks(chat, Document('', TEXT), context, 8192)


@pytest.mark.slow
def test_sharing_what_prompts_begin_with_changes_no_token(
    talker, byte_tokenizer, monkeypatch):
  settings = DreamConfig(
      question_prompt='', openings=(), recall_prompt='', open_prompts=(),
      topic_prompt='', completion_tokens=8, batch_rows=8)
  writer = Dreamer(Model(*talker, byte_tokenizer), settings)
  segment = context.read_prefix(*talker, [7, 30, 31, 5])
  head = list(range(20, 45))
  prompts = [head + tail for tail in ([50], [51, 52, 53], [54, 55])]
  write = lambda: writer.write(
      prompts, jax.random.key(0), segments=(segment,))
  shared = write()
  monkeypatch.setattr(rows_lib, '_WORTH_SHARING', 1000)
  assert shared == write()
  assert len(set(map(tuple, shared))) > 1


def test_content_free_tokens(chat):
  free = words.content_free_tokens(chat.tokenizer)
  assert free.shape == (chat.tokenizer.vocab_size,)
  is_free = lambda text: [
      bool(free[i]) for i in chat.tokenizer.encode(text)]
  assert all(is_free(' the')) and all(is_free(',')) and all(is_free(' of'))
  assert not any(is_free(' captain')) and not any(is_free('7'))


@pytest.mark.slow
def test_a_real_model_writes_questions_where_none_are_given(chat):
  """What a run without --questions is scored on."""
  from experiments import _config
  from sleepjax.model import load_pretrained
  from sleepjax.tasks.document import DocumentTask, ExamConfig, Reading
  from tests import small_sleep

  config = small_sleep.get_config()
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  model = load_pretrained('smollm2-135m-instruct')
  task = DocumentTask(
      model, Reading(Document('Alma', TEXT)), settings, ExamConfig())
  questions = task._written_questions(settings.for_compute(model))
  assert 1 <= len(questions) <= 12
  assert len({q.question for q in questions}) == len(questions)
  for q in questions:
    assert q.question.endswith('?') and q.answer
    assert words.content_words(q.question) & words.content_words(TEXT)


@pytest.mark.slow
def test_a_real_model_dreams_by_the_library(chat):
  """No prompt of the student holds the text; those written differ."""
  from experiments import _config
  from sleepjax.model import load_pretrained
  from tests import small_sleep

  config = small_sleep.get_config()
  config.sleep.dreams.update(
      library=('question_answer', 'facts', 'self_study'), openings=('Who',),
      open_prompts=(), open_samples=2, recalls_per_sentence=1)
  settings = _config.to_dataclass(
      cycle.SleepConfig, config.sleep, 'config.sleep')
  model = load_pretrained('smollm2-135m-instruct')
  ready = model.for_compute('auto', settings.unroll)
  segment = context.read_document(
      ready.config, ready.params, ready.chat, TEXT)
  writer = Dreamer(ready, settings.dreams)
  written, _, coverage = dreams.write_dreams(
      writer, Document('The ferry Alma', TEXT), (segment,), jax.random.key(0),
      '{question}')
  kinds = [d.kind for d in written]
  assert kinds.count('open') == 4 and kinds.count('written') >= 1
  own = [d.prompt for d in written if d.kind == 'written']
  assert len(set(own)) == len(own)
  for dream in written:
    assert dream.completion and TEXT not in dream.prompt
