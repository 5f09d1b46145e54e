import numpy as np

from sleepjax.writing.contrasts import OTHER_TOPICS, PLAIN_QUESTIONS, contrasts

QUESTIONS = ['Who designed Skarrow Light?', 'How tall is the Skarrow Light?',
             'What does he do?']


PLAIN = {q.format(topic=t) for q in PLAIN_QUESTIONS for t in OTHER_TOPICS}


def made_of(questions, topic, number):
  """(the night's own, plain ones) of contrasts, which are distinct."""
  made = contrasts(questions, topic, number, np.random.default_rng(0))
  assert len(set(made)) == len(made)
  plain = [q for q in made if q in PLAIN]
  return [q for q in made if q not in PLAIN], plain


def test_of_the_night_s_own_only_the_topic_is_another():
  own, plain = made_of(QUESTIONS, 'Skarrow Light', 20)
  assert len(own) == len(plain) == 10
  assert not any('Skarrow' in q or ' he ' in q for q in own)
  for question in own:
    assert any(question in (f'Who designed {t}?', f'How tall is {t}?')
               for t in OTHER_TOPICS)


def test_plain_questions_stand_in_where_the_night_asks_too_few():
  own, plain = made_of(QUESTIONS[:1], 'Skarrow Light', 500)
  assert 0 < len(own) <= len(OTHER_TOPICS) and len(own) + len(plain) == 500
  for topic in 'Another', '':
    own, plain = made_of(QUESTIONS, topic, 7)
    assert not own and len(plain) == 7
  assert made_of(QUESTIONS, 'Skarrow Light', 0) == ([], [])
  assert [len(q) for q in made_of(QUESTIONS, 'Skarrow Light', 1)] == [0, 1]
  assert [len(q) for q in made_of(QUESTIONS, 'Skarrow Light', 3)] == [1, 2]
  assert len(made_of([], '', 10**6)[1]) == len(PLAIN)


def test_plain_questions_are_about_many_things():
  _, plain = made_of([], '', 64)
  assert len({t for t in OTHER_TOPICS for q in plain if t in q}) > 20
