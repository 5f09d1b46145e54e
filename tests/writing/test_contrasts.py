import numpy as np

from sleepjax.writing.contrasts import OTHER_TOPICS, contrasts

QUESTIONS = ['Who designed Skarrow Light?', 'How tall is the Skarrow Light?',
             'What does he do?']


def test_only_the_topic_is_another():
  made = contrasts(QUESTIONS, 'Skarrow Light', 10, np.random.default_rng(0))
  assert len(set(made)) == len(made) == 10
  assert not any('Skarrow' in q or ' he ' in q for q in made)
  for question in made:
    assert any(question in (f'Who designed {t}?', f'How tall is {t}?')
               for t in OTHER_TOPICS)


def test_there_are_no_more_than_topics_allow():
  one = contrasts(QUESTIONS[:1], 'Skarrow Light', 500, np.random.default_rng(0))
  assert len(one) == len(set(one)) <= len(OTHER_TOPICS)
  for topic, number in (('Another', 5), ('', 5), ('Skarrow Light', 0)):
    assert not contrasts(QUESTIONS, topic, number, np.random.default_rng(0))
