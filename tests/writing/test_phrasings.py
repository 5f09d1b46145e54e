import numpy as np
import pytest

from sleepjax.writing import phrasings
from sleepjax.writing.spans import Span

TOPIC = 'Skarrow Light'
SENTENCE = ('It was automated in 1986, and the cottages of the keepers were '
            'sold to a cooperative of weavers.')
YEAR = Span('1986', 'date', 0, 20)

class Lowest(np.random.Generator):
  """Always the first choice."""

  def __init__(self):
    super().__init__(np.random.PCG64(0))

  def integers(self, *_):
    return 0

  def random(self):
    return 0.0


@pytest.mark.parametrize('statement, span, want', [
    ('The light was automated in ___.', YEAR,
     'When was the light automated?'),
    ('___ was built by two brothers', Span('The mill', 'name', 0, 0),
     'Who was built by two brothers?'),
    ('The tower is ___ tall', Span('38 metres', 'number', 0, 13),
     'How many metres is the tower tall?'),
    ('The lamp burned ___', Span('whale oil', 'phrase', 0, 16), ''),
    ('The light was automated', YEAR, ''),  # Nothing is asked.
    ("The light was in ___'s garden", Span('Ida Roe', 'name', 0, 17), ''),
    ('The man of ___ was old', Span('Ur', 'name', 0, 11), '')])
def test_a_statement_is_turned_round(statement, span, want):
  assert phrasings.turned_round(statement, span, Lowest()) == want


def test_the_shortest_statement_is_the_clause_of_the_gap():
  assert phrasings.shortest_statement(SENTENCE, YEAR, TOPIC) == (
      f'{TOPIC} was automated in ___')
  one = 'Gone.'
  assert phrasings.shortest_statement(
      one, Span('Gone', 'phrase', 0, 0), TOPIC) == ''


def test_all_are_distinct_questions_and_none_says_its_answer():
  made = phrasings.phrasings(
      SENTENCE, YEAR, TOPIC, np.random.default_rng(0), 8)
  assert len(set(made)) == len(made) > 4
  assert made[:2] == [f'{TOPIC} was automated in what year?',
                      f'{made[1].split(TOPIC)[0]}{TOPIC} automated?']
  for question in made:
    assert question.endswith('?') and '1986' not in question
    assert '___' not in question
  again = phrasings.phrasings(
      SENTENCE, YEAR, TOPIC, np.random.default_rng(0), 8)
  assert made == again


def test_keywords_are_words_of_the_statement_in_order():
  for seed in range(20):
    words = phrasings.keywords(
        SENTENCE, YEAR, TOPIC, np.random.default_rng(seed)).lower()
    known = f'{SENTENCE} {TOPIC} when in what year on of at'.lower()
    assert all(w.strip('?,.') in known for w in words.split())
    assert 'automated' in words


def test_few_words_are_of_the_sentence_and_near_the_span():
  counts, rng = {}, np.random.default_rng(1)
  content = {'automated', 'cottages', 'keepers', 'sold', 'cooperative',
             'weavers'}
  for _ in range(400):
    question = phrasings.few_words(SENTENCE, YEAR, '', rng)
    assert question.endswith('?') and '1986' not in question
    words = question.rstrip('?').split()
    assert words[0] in ('When', 'In')
    said = [w for w in words if w in content]
    assert 2 <= len(said) <= 5 and len(set(said)) == len(said)
    for word in said:
      counts[word] = counts.get(word, 0) + 1
  # One word from the span, and fourteen.
  assert counts['automated'] > 1.5 * counts['weavers'] > 0
  assert phrasings.few_words('It was 1986.', Span('1986', 'date', 0, 7), '',
                             rng) == ''


def test_few_words_name_the_topic_in_half_of_the_questions():
  rng = np.random.default_rng(2)
  named = [TOPIC in phrasings.few_words(SENTENCE, YEAR, TOPIC, rng)
           for _ in range(400)]
  assert 0.4 < np.mean(named) < 0.6


@pytest.mark.parametrize('text, want', [
    ('1986', 'When'), ('mid-2000s', 'When'), ('after 1587', 'When'),
    ('12 May', 'When'), ('around 1831 to 1925', 'When')])
def test_dates_are_asked_for_by_when(text, want):
  assert phrasings.question_word(Span(text, 'date', 0, 0), Lowest()) == want
