import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepjax.data import documents
from sleepjax.errors import UserError


def write(tmp_path, content, name='a.txt'):
  path = tmp_path / name
  path.write_bytes(
      content if isinstance(content, bytes) else content.encode())
  return path


@pytest.mark.parametrize('content, title, text', [
    ('A title\n\nOne text.\n', 'A title', 'One text.'),
    ('A title\n\n\n  One text.\n\nTwo.', 'A title', 'One text.\n\nTwo.'),
    ('A sentence.\n\nOne text.', '', 'A sentence.\n\nOne text.'),
    ('A title\nOne text.', '', 'A title\nOne text.'),
    ('x' * 81 + '\n\nOne text.', '', 'x' * 81 + '\n\nOne text.'),
    ('Only a line\n\n', '', 'Only a line'),
    ('\ufeffA title\r\n\r\nOne text.\r\n', 'A title', 'One text.'),
])
def test_title_is_a_short_first_line_set_apart(tmp_path, content, title, text):
  document = documents.read_document(write(tmp_path, content))
  assert document == documents.Document(title, text)


@pytest.mark.parametrize('content, message', [
    (b'', 'the file is empty'),
    (b' \n\t\n', 'the file is empty'),
    (b'text\0text', 'a binary file'),
    (b'caf\xe9', r'not UTF-8 text \(byte 3\)'),
    (b'%PDF-1.7\n1 0 obj', 'is a PDF.*pdftotext'),
    (b'PK\3\4', 'as .docx, .odt and .epub are.*pandoc'),
])
def test_files_without_text_are_refused(tmp_path, content, message):
  path = write(tmp_path, content)
  with pytest.raises(UserError, match=message) as error:
    documents.read_document(path)
  assert str(path) in str(error.value)


def test_missing_file_and_folder_are_refused(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    documents.read_document(tmp_path / 'missing.txt')
  with pytest.raises(UserError, match='is a folder'):
    documents.read_document(tmp_path)


def test_read_questions(tmp_path):
  path = write(tmp_path, json.dumps(
      [{'question': ' Who? ', 'answer': 'Ann', 'id': 3}]))
  assert documents.read_questions(path) == (documents.Question('Who?', 'Ann'),)


GOOD = {'question': 'Who?', 'answer': 'Ann'}


@pytest.mark.parametrize('content, message', [
    ('[{"question": "Who?",\n]', 'line 2: not JSON'),
    (json.dumps(GOOD), 'expected a list'),
    ('[]', 'the list is empty'),
    (json.dumps([GOOD, 'Who?']), 'item 1: expected an object'),
    (json.dumps([GOOD, {'question': 'Who?'}]),
     'item 1: "answer" is missing, found "question"'),
    (json.dumps([{'answer': 'Ann'}]),
     'item 0: "question" is missing, found "answer"'),
    (json.dumps([{**GOOD, 'answer': 3}]),
     'item 0: "answer" should be a string, got 3'),
    (json.dumps([{**GOOD, 'question': ' '}]), 'item 0: "question" is empty'),
])
def test_wrong_question_files_are_explained(tmp_path, content, message):
  with pytest.raises(UserError, match=message):
    documents.read_questions(write(tmp_path, content, 'q.json'))


def test_bundled_texts_are_complete():
  assert len(documents.bundled_names('control_')) == 5
  assert len(documents.bundled_names('rehearsal_')) == 8
  assert {'lighthouse', 'drift'} < set(documents.bundled_names())


@pytest.mark.parametrize('name', documents.bundled_names())
def test_bundled_texts_are_plain(name):
  document = documents.bundled_document(name)
  assert document.text.isascii() and document.title.isascii()
  assert bool(document.title) == (name != 'drift')
  sentences = documents.split_sentences(document.text)
  assert len(sentences) >= 6
  assert all(s.endswith(('.', '!', '?')) for s in sentences)


@pytest.mark.parametrize(
    'name', ('lighthouse', *documents.bundled_names('control_')))
def test_bundled_answers_stand_in_their_text_alone(name):
  texts = {
      other: documents.bundled_document(other).text
      for other in documents.bundled_names()}
  questions = documents.bundled_questions(name)
  assert len(questions) == (10 if name == 'lighthouse' else 6)
  subject = documents.bundled_document(name).title.split(' (')[0].split()
  for question in questions:
    assert question.answer in texts[name]
    assert len(question.answer.split()) <= 5
    # Answerable without the text only if the question says what it is about.
    assert set(question.question.replace("'s", '').split()) & set(subject)
    if len(question.answer) > 6:  # A year or `milk` may occur elsewhere.
      assert [t for t in texts if question.answer in texts[t]] == [name]


def test_unknown_bundled_names():
  with pytest.raises(UserError, match='expected one of .*lighthouse'):
    documents.bundled_document('../text/lighthouse')
  with pytest.raises(UserError, match='no such file'):
    documents.bundled_questions('drift')


@pytest.mark.parametrize('text, sentences', [
    ('The first one stops here. The second asks why? And it ends!',
     ['The first one stops here.', 'The second asks why? And it ends!']),
    ('He met Dr. Ann B. Lee at 3.15 p.m. on Mt. Derrow. They spoke for long.',
     ['He met Dr. Ann B. Lee at 3.15 p.m. on Mt. Derrow.',
      'They spoke for long.']),
    ('"Is it far to the sea?" She did not say. "Far enough for one day."',
     ['"Is it far to the sea?" She did not say.',
      '"Far enough for one day."']),
    ('A heading without an end\n\nThe first line\nruns on here. 12 men came.',
     ['A heading without an end', 'The first line runs on here. 12 men came.']),
    ('Yes. It was the longest day of all.',
     ['Yes. It was the longest day of all.']),
    ('', []),
    ('灯塔建于一九一一年，由老船长看守了整整三十年。他说：“从这里能看见北方所有的'
     '岛屿和船只！” 后来再也没有任何人来过这座岛上的那座灯塔了？是的。',
     ['灯塔建于一九一一年，由老船长看守了整整三十年。',
      '他说：“从这里能看见北方所有的岛屿和船只！”',
      '后来再也没有任何人来过这座岛上的那座灯塔了？是的。']),
    ('「あの灯台は百年前に建てられたものです。」円周率は３．１４であると彼は船長に言った．'
     '船長は三十年のあいだここで働いていました｡',
     ['「あの灯台は百年前に建てられたものです。」',
      '円周率は３．１４であると彼は船長に言った．',
      '船長は三十年のあいだここで働いていました｡']),
])
def test_split_sentences(text, sentences):
  assert documents.split_sentences(text) == sentences


@given(st.text(alphabet='aB1 .?!"\n', max_size=200))
def test_split_sentences_keeps_every_word(text):
  sentences = documents.split_sentences(text)
  assert ' '.join(sentences).split() == text.split()
  assert len(sentences) <= 1 or all(len(s) >= 20 for s in sentences)


@given(st.text(alphabet='aB1 .?"\n灯。！？．」', max_size=200))
def test_split_sentences_keeps_every_character(text):
  sentences = documents.split_sentences(text)
  assert ''.join(''.join(sentences).split()) == ''.join(text.split())
  assert len(sentences) <= 1 or all(len(s) >= 20 for s in sentences)
