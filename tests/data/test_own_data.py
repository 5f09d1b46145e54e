"""Files as people have them, each written by hand."""

import codecs
import gzip
import json
import os

import pytest

import sleepjax as sj
from sleepjax.data import own_data
from sleepjax.data.corpus import Skipped, skipped_lines
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError

ANN = Question('Who lit it?', 'Ann')
SQUAD = {'version': '1.1', 'data': [{'title': 'Old_Mill', 'paragraphs': [
    {'context': ' The mill stood. ', 'qas': [
        {'id': '1', 'question': 'What stood?', 'answers': [
            {'text': 'The mill', 'answer_start': 0},
            {'text': 'mill', 'answer_start': 4}]},
        {'id': '2', 'question': 'Why?', 'answers': [], 'is_impossible': True}]},
    {'context': 'It fell.', 'qas': []}]}]}


def put(folder, **files):
  """Writes files; `_` in a name stands for its dot."""
  for name, content in files.items():
    path = folder / name.replace('_', '.')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes | str):
      content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else
                     content.encode())
  return folder


def read(folder):
  """(documents, questions, {what in the folder was skipped: why})."""
  found = own_data.read(folder)
  return list(found.documents), list(found.questions), {
      os.path.relpath(what, folder): why for what, why in found.skipped}


def test_texts(tmp_path):
  assert read(put(
      tmp_path, a_txt=codecs.BOM_UTF8 + b'Title\r\n\r\nOne.\r\nTwo.\r\n',
      b_TXT='Three. \u202b\u05d0\u202c\n'.encode('utf-16'),
      c_md='# Four\r\n\r\n[Five](x).\r\n', d_markdown='Six',
      e_html='<title>Seven</title><p>Eight',
      f_htm='<meta charset="iso-8859-1"><p>caf\xe9 \x80'.encode('latin-1'),
      g_text='Nine.')) == ([
          Document('Title', 'One.\nTwo.'),
          Document('', 'Three. \u202b\u05d0\u202c'), Document('Four', 'Five.'),
          Document('', 'Six'), Document('Seven', 'Eight'),
          Document('', 'café €'), Document('', 'Nine.')], [], {})


def test_compressed(tmp_path):
  (tmp_path / 'a.md.gz').write_bytes(gzip.compress(b'# T\n\n*Text*.'))
  (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress(b'{"text": "Row."}'))
  assert read(tmp_path)[0] == [Document('T', 'Text.'), Document('', 'Row.')]


def test_json_lines(tmp_path):
  lines = [
      {'text': ' One.\n', 'title': ' A\n title ', 'more': 1}, '', {'text': ''},
      {'prompt': 'Who lit it?', 'privileged_context': 'Ann did.'},
      {'prompt': 'And then?', 'privileged_context': 'Ann did.'},
      {'question': ' Who lit it? ', 'answer': 'Ann'}, [1], {'id': 3}, {},
      {'text': 'One.'}, {'prompt': 'Alone'}, {'question': 'Alone?'},
      {'text': 5}, {'question': 'Who lit it?', 'answer': 'Ann'},
      {'text': 'Two.', 'question': 'Which?', 'answer': 'The second'},
      {'text': 'Three.', 'question': 'Which?', 'answers': []}]
  text = '\r\n'.join(
      '' if line == '' else json.dumps(line) for line in lines) + '\n{"te'
  no_text = ('no text; expected "text", "prompt" with "privileged_context", or '
             '"question" with "answer", got ')
  documents, questions, skipped = read(put(
      tmp_path, a_jsonl=codecs.BOM_UTF8 + text.encode()))
  assert documents == [
      Document('A title', 'One.'),
      Document('', 'Ann did.', ('Who lit it?', 'And then?')),
      Document('', 'Two.'), Document('', 'Three.')]
  assert questions == [ANN, Question('Which?', 'The second')]
  assert skipped.pop('a.jsonl, line 17').startswith('not JSON (Unterminated')
  assert skipped == {
      'a.jsonl, line 3': '"text" is empty: it has no character that can be '
                         'seen',
      'a.jsonl, line 7': 'expected "text", "prompt" with "privileged_context", '
                         'or "question" with "answer", got [1]',
      'a.jsonl, line 8': no_text + 'id', 'a.jsonl, line 9': no_text + 'nothing',
      'a.jsonl, line 10': f'the same text as {tmp_path}/a.jsonl, line 1',
      'a.jsonl, line 11': 'a prompt without a "privileged_context", from which '
                          'it could be answered',
      'a.jsonl, line 12': '"answer" is missing, found "question"',
      'a.jsonl, line 13': '"text" should be a string, got 5',
      'a.jsonl, line 14': f'the same question as {tmp_path}/a.jsonl, line 6',
      'a.jsonl, line 16': 'a question without an answer'}


def test_squad(tmp_path):
  assert read(put(tmp_path, dev_json=SQUAD)) == (
      [Document('Old Mill', 'The mill stood.'), Document('Old Mill', 'It fell.')
       ], [Question('What stood?', 'The mill')], {
           'dev.json, article 0, paragraph 0, question 1':
               'a question without an answer'})


def test_damaged_squad(tmp_path):
  content = json.loads(json.dumps(SQUAD))
  content['data'] += [{'title': 'x'}, 7]
  content['data'][0]['paragraphs'] += [{'context': ' ', 'qas': []}, {}]
  documents, _, skipped = read(put(tmp_path, dev_json=content))
  assert len(documents) == 2
  why = 'no SQuAD v1: expected an object with a list '
  del skipped['dev.json, article 0, paragraph 0, question 1']
  assert skipped == {
      'dev.json, article 0, paragraph 2':
          '"context" is empty: it has no character that can be seen',
      'dev.json, article 0, paragraph 3': why + '"qas"',
      'dev.json, article 1': why + '"paragraphs"',
      'dev.json, article 2': why + '"paragraphs"'}


def test_lists_of_json(tmp_path):
  passage = {'title': 'Mill', 'context': 'It fell.', 'questions': [
      {'question': 'What did it do?', 'answer': 'fell'}, {'question': 'Q'}]}
  assert read(put(
      tmp_path, a_json=[passage, {'text': 'One.'}],
      b_json={'text': 'Two.', 'title': 'T'}, c_json='[1', d_json=[],
      e_json={'data': 3})) == (
          [Document('Mill', 'It fell.'), Document('', 'One.'),
           Document('T', 'Two.')], [Question('What did it do?', 'fell')], {
               'a.json, item 0, question 1':
                   '"answer" is missing, found "question"',
               'c.json': "not JSON (Expecting ',' delimiter: line 1 column 3 "
                         '(char 2)); expected a list of rows, or an object '
                         'with "data" as SQuAD v1 has it',
               'e.json': 'no SQuAD v1: expected an object with a list "data"',
               'd.json': 'an empty list; expected a list of rows, or an object '
                     'with "data" as SQuAD v1 has it'})


def test_tables(tmp_path):
  assert read(put(
      tmp_path,
      prices_csv=codecs.BOM_UTF8 + b'item;price;note\r\nlamp;3,50;\r\n;;\r\n'
                 b'\r\n"oil; fine";2,00;"of ""Ory"""\r\nextra;1;a;b\r\n',
      rows_tsv='Text\tTitle\nOne "x".\tT\n\tno text\n',
      zz_csv='question,answer,id\nWho lit it?,Ann,1\nWhy?,,2\n',
      empty_csv='a,b\n')) == ([
          Document('prices', 'item: lamp; price: 3,50\n'
                   'item: oil; fine; price: 2,00; note: of "Ory"\n'
                   'item: extra; price: 1; note: a; b'),
          Document('T', 'One "x".')], [ANN], {
              'prices.csv, line 3': 'no cell has anything in it',
              'rows.tsv, line 3':
                  'no text; expected "text", "prompt" with '
                  '"privileged_context", or "question" with "answer", got '
                  'title',
              'zz.csv, line 3': '"answer" is missing, found "question", "id"',
              'empty.csv': 'a table without rows; expected some below the '
                           'names of its columns'})


def test_folders(tmp_path):
  put(tmp_path, ch10_txt='Ten.', ch2_txt='Two.', Ch1_txt='One.',
      _hidden_txt='No.', x_pdf='%PDF', README='No.', empty_txt='  \n',
      nul_txt='a\0b', latin_txt=b'caf\xe9 cr\xe8me d\xe9j\xe0 vu, na\xefve',
      bare_html='<script>x</script>')
  put(tmp_path / 'sub' / 'deeper', a_md='Deep.')
  put(tmp_path / 'sub', same_txt='Two.\n')
  put(tmp_path / '.git', config_txt='No.')
  (tmp_path / 'link').symlink_to(tmp_path, target_is_directory=True)
  (tmp_path / 'linked.txt').symlink_to(tmp_path / 'sub/deeper/a.md')
  (tmp_path / 'gone.txt').symlink_to(tmp_path / 'nowhere')
  documents, _, skipped = read(tmp_path)
  # By name, numbers by their size.
  assert [d.text for d in documents] == ['One.', 'Two.', 'Ten.', 'Deep.']
  assert skipped.pop('latin.txt').startswith(
      'line 1: not UTF-8 text (byte 3); expected a text file with a document')
  assert skipped == {
      '.hidden.txt': 'hidden', '.git': 'hidden',
      'x.pdf': "unknown ending '.pdf'", 'README': 'a name without an ending',
      'empty.txt': 'the file is empty; expected a text file with a document',
      'nul.txt': 'a binary file (it has a NUL), or UTF-16 without a byte order '
                 'mark; expected a text file with a document',
      'bare.html': 'what is shown of the page is empty: it has no character '
                   'that can be seen',
      'link': 'a link to a folder', 'gone.txt': 'no file',
      'sub/deeper/a.md': f'the same text as {tmp_path}/linked.txt',
      'sub/same.txt': f'the same text as {tmp_path}/ch2.txt'}


def test_named_files_have_to_be_readable(tmp_path):
  put(tmp_path, a_txt='One.', notes_rst='Named.\n\nRead.', empty_txt='')
  found = own_data.read(tmp_path / 'notes.rst', str(tmp_path / 'a.txt'))
  assert found == ((Document('', 'Named.\n\nRead.'), Document('', 'One.')),
                   (), ())
  for name, message in (('empty.txt', 'the file is empty'),
                        ('nowhere.txt', 'no such file')):
    with pytest.raises(UserError, match=f'{name}: {message}'):
      own_data.read(tmp_path / 'a.txt', tmp_path / name)


def test_nothing_is_left(tmp_path):
  with pytest.raises(UserError, match=r'nothing to read \(no files\); expected '
                     r'files that end in \.txt'):
    own_data.read(tmp_path)
  put(tmp_path, a_pdf='x', b_pdf='x', c_pdf='x', d_pdf='x')
  with pytest.raises(UserError, match=r"a.pdf: unknown ending '.pdf'; .*; "
                     r'\.\.\.\)'):
    own_data.read(tmp_path)


def test_one_document_of_a_file(tmp_path):
  put(tmp_path, a_jsonl={'text': 'One.'}, b_csv='a,b\n1,2\n',
      c_jsonl='{"text": "One."}\n{"text": "Two."}', d_json=[dict(
          question='Who lit it?', answer='Ann')])
  assert sj.Document.read(tmp_path / 'a.jsonl') == Document('', 'One.')
  assert sj.Document.read(tmp_path / 'b.csv') == Document('b', 'a: 1; b: 2')
  for name, number in ('c.jsonl', 2), ('d.json', 0):
    with pytest.raises(UserError, match=f'{name}: holds {number} texts'):
      sj.Document.read(tmp_path / name)
  with pytest.raises(UserError, match='is a folder'):
    sj.Document.read(tmp_path)


def test_what_is_skipped_is_told_in_few_lines():
  skipped = [Skipped(f'{n}.pdf', 'unknown') for n in range(23)]
  assert skipped_lines(skipped[:1]) == ['skipped 0.pdf: unknown']
  lines = skipped_lines(skipped)
  assert len(lines) == 21 and lines[19] == 'skipped 19.pdf: unknown'
  assert lines[20] == 'skipped 3 more; report.json has them all'
  assert skipped_lines([]) == []
