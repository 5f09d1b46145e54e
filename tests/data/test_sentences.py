"""Sentences of many languages and layouts."""

import json
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepjax.data import documents, words
from sleepjax.data.sentences import sentences, split_sentences

FACTS = [
    'Launch date moved to 14 March 2026', 'Budget approved: 3.2 million euro',
    'Anna Keller leads the hardware team', 'Backup supplier: Lenswerk Jena',
    'Next review on 2 April in room 4.17', 'Contract number HX-2231-B']


@pytest.mark.parametrize('lines', [
    FACTS, [f'- {fact}' for fact in FACTS], [f'* {fact}.' for fact in FACTS],
    [f'{i}. {fact}' for i, fact in enumerate(FACTS, 1)],
    [fact[0].lower() + fact[1:] for fact in FACTS],
    [fact.replace(' ', '\t', 1) for fact in FACTS],
    [f'| {fact} | yes |' for fact in FACTS]])
@pytest.mark.parametrize('between', ['\n', '\n\n', '\r\n'])
def test_each_item_of_a_list_is_one(lines, between):
  assert split_sentences(between.join(lines)) == lines


@pytest.mark.parametrize('text, expected', [
    # English: abbreviations, numbers, initials, quotes.
    ('Dr. Smith met J. R. Hall, e.g. in May. It cost 3.2 million dollars.',
     ['Dr. Smith met J. R. Hall, e.g. in May.',
      'It cost 3.2 million dollars.']),
    ('He asked: "Is it far to the sea?" Nobody on the pier replied.',
     ['He asked: "Is it far to the sea?"', 'Nobody on the pier replied.']),
    # Hindi.
    ('प्रकाशस्तंभ 1987 में बनाया गया था। इसे आन्ना केलर ने डिज़ाइन किया था।',
     ['प्रकाशस्तंभ 1987 में बनाया गया था।', 'इसे आन्ना केलर ने डिज़ाइन किया था।']),
    # Chinese, wrapped without spaces.
    ('灯塔建于一九一一年，由老船长看守了整整三十\n年，从塔顶能看见北方的岛屿！'
     '后来再也没有任\n何人来过这座岛上的那座灯塔了？',
     ['灯塔建于一九一一年，由老船长看守了整整三十年，从塔顶能看见北方的岛屿！',
      '后来再也没有任何人来过这座岛上的那座灯塔了？']),
    # Japanese.
    ('「あの灯台は百年前に建てられた。」と彼は私たちに言った。'
     '船長は三十年のあいだここで働いていました。',
     ['「あの灯台は百年前に建てられた。」と彼は私たちに言った。',
      '船長は三十年のあいだここで働いていました。']),
    # Arabic.
    ('بُنيت المنارة عام 1871. من صمم المنارة الجديدة؟ '
     'صممتها المهندسة أوتيلي فانس.',
     ['بُنيت المنارة عام 1871.', 'من صمم المنارة الجديدة؟',
      'صممتها المهندسة أوتيلي فانس.']),
    # German: the day of a month.
    ('Am 14. März 1987 wurde er von Dr. A. Keller gebaut. '
     'Er ist heute 38 m hoch.',
     ['Am 14. März 1987 wurde er von Dr. A. Keller gebaut.',
      'Er ist heute 38 m hoch.']),
    # Russian.
    ('Маяк построен в 1871 г. инженером А. С. Поповым. '
     'Он стоит на высоком берегу.',
     ['Маяк построен в 1871 г. инженером А. С. Поповым.',
      'Он стоит на высоком берегу.']),
    # Spanish and French.
    ('El faro fue construido en 1871. ¿Quién diseñó aquella torre?',
     ['El faro fue construido en 1871.', '¿Quién diseñó aquella torre?']),
    ('« Le phare est trop loin d’ici. » Elle ne répondit rien ce jour-là.',
     ['« Le phare est trop loin d’ici. »',
      'Elle ne répondit rien ce jour-là.']),
    # Armenian and Amharic.
    ('Փարոսը կառուցվել է 1871 թվականին։ Այն ունի երեսուն մետր բարձրություն։',
     ['Փարոսը կառուցվել է 1871 թվականին։',
      'Այն ունի երեսուն մետր բարձրություն։']),
    ('መብራቱ በ1871 ተገነባ እና አሁንም ይሠራል። ከፍታው ሠላሳ ስምንት ሜትር ነው ይባላል።',
     ['መብራቱ በ1871 ተገነባ እና አሁንም ይሠራል።', 'ከፍታው ሠላሳ ስምንት ሜትር ነው ይባላል።'])])
def test_languages(text, expected):
  assert split_sentences(text) == expected


def test_thai_is_cut_at_spaces_into_bounded_stretches():
  text = 'ประภาคารสร้างขึ้นในปี 1871 โดยวิศวกรชื่อออตติลี แวนซ์ หอคอยสูงมาก ' * 8
  found = split_sentences(text)
  assert len(found) > 3 and all(20 <= len(s) <= 140 for s in found)
  assert ' '.join(found).split() == text.split()


@pytest.mark.parametrize('text, expected', [
    ('ANNA: Where is the key to the tower?\nBEN: In the shed by the harbour',
     ['ANNA: Where is the key to the tower?',
      'BEN: In the shed by the harbour']),
    ('<h1>Skarrow Point Light</h1><p>It was built in <b>1871.</b> The tower is '
     'tall.</p><ul><li>A crew of six people</li><li>Parking behind it</li>',
     ['<h1>Skarrow Point Light</h1>', '<p>It was built in <b>1871.</b>',
      'The tower is tall.</p>', '<ul><li>A crew of six people</li>',
      '<li>Parking behind it</li>']),
    ('1\n00:00:01,000 --> 00:00:04,000\nThe lighthouse was built\n\n'
     '2\n00:00:04,500 --> 00:00:08,000\nby the engineer Ottilie Vance',
     ['1\n00:00:01,000 --> 00:00:04,000\nThe lighthouse was built',
      '2\n00:00:04,500 --> 00:00:08,000\nby the engineer Ottilie Vance']),
    ('- The launch date has moved because the\n  lens came late\n- Budget: two '
     'million', ['- The launch date has moved because the lens came late',
                 '- Budget: two million']),
    ('Name             Height  Year\nSkarrow Point    38 m    1871',
     ['Name             Height  Year', 'Skarrow Point    38 m    1871']),
    ('def area(width, height):\n  if width < 0:\n    raise ValueError(width)\n'
     '  return width * height',
     ['def area(width, height):',
      'if width < 0:\n    raise ValueError(width)', 'return width * height']),
    ('Present: Ida Roe.\nAbsent: Otto Wren.\n\n1. The pump. It cannot be '
     'mended, and is sold.\n\n2. The hives. They have been moved.',
     ['Present: Ida Roe.\nAbsent: Otto Wren.',
      '1. The pump. It cannot be mended, and is sold.',
      '2. The hives. They have been moved.']),
    ('The oxide is written as CO\n2 or, at times, as O\n2 of the air.',
     ['The oxide is written as CO 2 or, at times, as O 2 of the air.'])])
def test_layouts(text, expected):
  assert split_sentences(text) == expected


@pytest.mark.parametrize('width', [40, 60, 72, 100])
@pytest.mark.parametrize('name', documents.bundled_names())
def test_wrapping_prose_changes_no_sentence(name, width):
  paragraphs = documents.bundled_document(name).text.split('\n\n')
  wrapped = '\n\n'.join(textwrap.fill(p, width) for p in paragraphs)
  assert split_sentences(wrapped) == split_sentences('\n\n'.join(paragraphs))


def test_short_items_stand_together_but_not_all_of_them():
  found = split_sentences('\n'.join(['milk', 'eggs', 'four lemons'] * 50))
  assert len(found) > 30 and max(map(len, found)) < 45


@given(st.text(
    alphabet='aB1 .?!"\n\t|-:।灯。ภ<>/pé\u2028\u0301\xa0', max_size=120))
def test_places_are_of_the_text_and_no_character_is_lost(text):
  found = sentences(text)
  whole = ''.join(text.split())
  assert ''.join(''.join(s.text for s in found).split()) == whole
  ends = [0, *(s.end for s in found)]
  for last, sentence in zip(ends, found):
    assert last <= sentence.start < sentence.end
    assert not text[last:sentence.start].strip()
    part = text[sentence.start:sentence.end]
    assert ''.join(part.split()) == ''.join(sentence.text.split())


def test_words_of_scripts_without_spaces():
  assert words.word_ends('ab cd 灯塔1911年') == [2, 5, 7, 8, 12, 13]
  assert words.word_ends('ที่') == [3]
  assert words.comparable_words('Wer? में 灯塔建 x1') == [
      'wer', 'में', '灯塔', '塔建', 'x1']
  assert words.has_letters('12 é') and not words.has_letters('12 _ -')


def test_a_list_with_blank_lines_has_no_title(tmp_path):
  path = tmp_path / 'list.txt'
  path.write_text('- ' + '\n\n- '.join(FACTS))
  document = documents.read_document(path)
  assert document.title == '' and len(split_sentences(document.text)) == 6


@pytest.mark.parametrize('content, expected', [
    ('Ein Türmchen.'.encode('utf-16'), 'Ein Türmchen.'),
    ('Ein Türmchen.'.encode('utf-32'), 'Ein Türmchen.'),
    ('Ein Türmchen.'.encode('utf-8-sig'), 'Ein Türmchen.')])
def test_encodings_that_say_which_they_are(tmp_path, content, expected):
  (tmp_path / 'a.txt').write_bytes(content)
  assert documents.read_document(tmp_path / 'a.txt').text == expected


@pytest.mark.parametrize('content, message', [
    ('Ein Türmchen steht über der Küste.\n'.encode('latin-1') * 20,
     r'line 1: not UTF-8 text .*iconv -f .* -t utf-8'),
    ('Ein Turm.'.encode('utf-16-le'), 'NUL.*UTF-16 without a byte order'),
    (b'\xff\xfe\x00', 'not UTF-16 text'),
    (b'\x04\x05\n', 'no character that can be seen')])
def test_other_encodings_are_refused(tmp_path, content, message):
  (tmp_path / 'a.txt').write_bytes(content)
  with pytest.raises(documents.UserError, match=message):
    documents.read_document(tmp_path / 'a.txt')


@pytest.mark.parametrize('answer, message', [
    ('\ud83d', r'item 1: "answer": character 0 is half a character'),
    ('\x04', 'item 1: "answer" is empty')])
def test_answers_that_say_nothing_are_named(tmp_path, answer, message):
  path = tmp_path / 'q.json'
  path.write_text(json.dumps([
      {'question': 'Who?', 'answer': 'Ann'},
      {'question': 'Who else?', 'answer': answer}]))
  with pytest.raises(documents.UserError, match=message):
    documents.read_questions(path)
