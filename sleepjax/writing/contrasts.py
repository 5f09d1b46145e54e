"""The same questions about other things, which the night must not answer.

What is learnt as "who designed …?" alone is said of everything that somebody
designed. So the old self is asked the night's own questions with the topic
exchanged for another, closed book, and what it says is retained.
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


def contrasts(questions: Sequence[str], topic: str, number: int,
              rng: np.random.Generator) -> list[str]:
  """Some questions about other topics, distinct.

  Args:
    questions: of the night.
    topic: what they are about; those that do not name it are left out.
    number: how many, if there are as many.
    rng: chooses questions and topics.
  """
  named = re.compile(rf'\b(?:the\s)?{re.escape(topic)}', re.IGNORECASE)
  about = [q for q in questions if topic and named.search(q)]
  made: dict[str, None] = {}
  for n in range(4 * number if about else 0):
    if n % len(about) == 0:
      order = rng.permutation(len(about))
    other = OTHER_TOPICS[rng.integers(len(OTHER_TOPICS))]
    text = named.sub(lambda _, other=other: other, about[order[n % len(about)]])
    made[text[0].upper() + text[1:]] = None
    if len(made) == number:
      break
  return list(made)
