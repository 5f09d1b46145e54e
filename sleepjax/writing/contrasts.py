"""Questions about other things, which the night must not answer.

What is learnt as "who designed …?" alone is said of everything that somebody
designed. So the old self is asked about other topics, closed book, and what it
says is retained: the night's own questions with the topic exchanged, and plain
questions such as people ask, which those of a night by rule are not.
"""

import re
from collections.abc import Sequence

import numpy as np

# Of many kinds, some known to everybody and some to nobody.
OTHER_TOPICS = (
    'Abbot Lindley', 'Castle Morven', 'Charlotte Brandt', 'Halden Castle',
    'Henri Maillard', 'honey bees', 'Jonas Wyke', 'Lake Orrin', 'Marie Curie',
    'Mount Everest', 'Port Callow', 'the Amazon', 'the Bank of Trieste',
    'the bicycle', 'the city of Lyon', 'the Danube', 'the Eiffel Tower',
    'the festival of Arlen', 'the Great Wall', 'the Meridian Hotel',
    'the Moon', 'the novel', 'the orchestra of Bergen', 'the piano',
    'the printing press', 'the Roman Empire', 'the school', 'the ship Avila',
    'the Sahara', 'the steam engine', 'the University of Osk', 'Thomas Okoro')

# What people ask about people, places, works and events.
PLAIN_QUESTIONS = (
    'Who founded {topic}?', 'Who discovered {topic}?',
    'Who first wrote about {topic}?', 'Who was in charge of {topic}?',
    'Who disagreed with {topic}?', 'Who paid for {topic}?',
    'When did {topic} begin?', 'When did {topic} become famous?',
    'In what year did people first hear of {topic}?',
    'During which war did {topic} change most?',
    'In which century was {topic} most important?',
    'Where does the name of {topic} come from?',
    'Where can one learn about {topic}?', 'In what country is {topic} known?',
    'Which city is closest to {topic}?', 'Which book describes {topic}?',
    'Which law was about {topic}?', 'Which prize did {topic} receive?',
    'Which river has to do with {topic}?',
    'How many people know about {topic}?', 'How old is {topic}?',
    'How large is {topic}?', 'How much did {topic} cost?',
    'How did {topic} change over time?',
    'What percentage of people like {topic}?',
    'What is {topic} best known for?', 'What is another name for {topic}?',
    'What do critics say about {topic}?', 'What caused trouble for {topic}?',
    'What is {topic} made of?', 'What came before {topic}?',
    'What did {topic} lead to?', 'What kind of thing is {topic}?',
    'What is the opposite of {topic}?', 'What language goes with {topic}?',
    'Why is {topic} important?', 'Why was {topic} criticized?')


def contrasts(questions: Sequence[str], topic: str, number: int,
              rng: np.random.Generator) -> list[str]:
  """Some questions about other topics, distinct.

  Half of them are plain ones, more where the night's own are too few.

  Args:
    questions: of the night.
    topic: what they are about; those that do not name it are left out.
    number: how many, if there are as many.
    rng: chooses questions and topics.
  """
  named = re.compile(rf'\b(?:the\s)?{re.escape(topic)}', re.IGNORECASE)
  about = [q for q in questions if topic and named.search(q)]
  made: dict[str, None] = {}
  own = number // 2
  for n in range(4 * own if about else 0):
    if n % len(about) == 0:
      order = rng.permutation(len(about))
    other = OTHER_TOPICS[rng.integers(len(OTHER_TOPICS))]
    text = named.sub(lambda _, other=other: other, about[order[n % len(about)]])
    made[text[0].upper() + text[1:]] = None
    if len(made) == own:
      break
  pairs = len(PLAIN_QUESTIONS) * len(OTHER_TOPICS)
  for pair in rng.permutation(pairs)[:number - len(made)]:
    question, other = divmod(int(pair), len(OTHER_TOPICS))
    made[PLAIN_QUESTIONS[question].format(topic=OTHER_TOPICS[other])] = None
  return list(made)
