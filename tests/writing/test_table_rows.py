"""Rows of tables: where they end, and what they are asked."""

from sleepjax.data import own_data, tables
from sleepjax.data.sentences import split_sentences
from sleepjax.writing import table_rows
from sleepjax.writing.spans import Span

TABLE = '''expedition,leader,year,ships,goal,found
Borrow Ice Survey,Tobias Wrenfield,1874,3,a passage to the sea,a frozen mill
Lantern March,Ada Quill,1881,2,the source of the Orr,a salt lake
'''


def lines_of(tmp_path, text=TABLE):
  (tmp_path / 'expeditions.csv').write_text(text)
  document, = own_data.read(tmp_path / 'expeditions.csv').documents
  return split_sentences(document.text)


def test_every_row_is_a_sentence(tmp_path):
  first, second = lines_of(tmp_path)
  assert first.startswith('expedition: Borrow Ice Survey; leader: Tobias')
  assert second.endswith('found: a salt lake')
  assert table_rows.is_table([first, second])


def test_prose_is_no_row():
  for text in ('town: Ory', 'It was late; note: all were asleep; so: quiet.',
               'Three things are needed: oil; rope; and bread.'):
    assert not tables.cells_of_line(text)
  prose = ('The keeper, who was called Amos, kept\nthree things: oil; rope; '
           'and bread.')
  assert len(split_sentences(prose)) == 1
  assert not table_rows.is_table(split_sentences(prose))


def test_every_value_is_asked_for_by_its_row(tmp_path):
  row = lines_of(tmp_path)[1]
  spans = table_rows.row_spans(row, 1)
  assert [(s.text, s.kind) for s in spans] == [
      ('Lantern March', 'name'), ('Ada Quill', 'name'), ('1881', 'number'),
      ('2', 'number'), ('the source of the Orr', 'name'),
      ('a salt lake', 'name')]
  assert all(row[s.start:s.end] == s.text for s in spans)
  asked = {s.text: table_rows.row_questions(row, s) for s in spans}
  assert asked['Ada Quill'] == ['What is the leader of Lantern March?',
                                'Lantern March: what is its leader?']
  assert asked['Lantern March'] == [
      'Which expedition has the leader Ada Quill?',
      'Which expedition has the year 1881?']
  assert not table_rows.row_questions(row, Span('Quill', 'name', 1, 43))
