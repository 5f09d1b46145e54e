"""Whether a greedy answer shows that a model knows what a text says.

A passage's vocabulary is learnt long before its facts, and an answer that
lists every name of a text contains the right one. So an answer is right only
if its first sentence, or the first fifteen words of it, contains the gold
answer as whole words (`answers.match_words`) and none of the text's other gold
answers.

What counts as another gold answer: one with other words than the question's
own (two questions may have one answer) that does not stand in the question,
which an answer may repeat. Of gold answers that contain one another the longest
at its place is what is said: `Denver Broncos` answers its own question and not
the one about Denver, however often `Denver` stands in it.
"""

from collections.abc import Sequence

from sleepjax.data.documents import split_sentences
from sleepjax.evals import answers

MAX_WORDS = 15
_CHARACTERS_A_WORD = 2  # Of scripts without spaces: the most of Chinese words.


def first_words(answer: str) -> list[str]:
  """The units (`answers.match_words`) of an answer's first sentence.

  It ends where the line does, too, and after 15 words; two characters of a
  script without spaces count as one word, and articles do not.
  """
  line = next((line for line in answer.splitlines() if line.strip()), '')
  sentence = next(iter(split_sentences(line, shortest=1)), '')
  units, left = answers.match_words(sentence), MAX_WORDS
  for end, unit in enumerate(units):
    left -= 1 / _CHARACTERS_A_WORD if answers.is_unspaced(unit) else 1
    if left < 0:
      return units[:end]
  return units


def other_golds(gold: str, golds: Sequence[str], question: str = ''
                ) -> list[str]:
  """The gold answers of other words, each once, that the question lacks."""
  seen = [answers.match_words(gold), []]
  others = []
  for other in golds:
    words = answers.match_words(other)
    if words in seen or answers.runs(answers.match_words(question), words):
      continue
    seen.append(words)
    others.append(other)
  return others


def is_right(answer: str, gold: str, golds: Sequence[str],
             question: str = '') -> bool:
  """Whether an answer names its gold answer and no other.

  Args:
    answer: what the model wrote.
    gold: the question's own answer.
    golds: all gold answers of the text; its own may be among them.
    question: what was asked.

  Raises:
    ValueError: the gold answer has no words that could be found.
  """
  wanted, words = answers.match_words(gold), first_words(answer)
  if not wanted:
    raise ValueError(f'the gold answer {gold!r} has no words.')
  own = answers.runs(words, wanted)
  others = [span for other in other_golds(gold, golds, question)
            for span in answers.runs(words, answers.match_words(other))]
  return bool(_outermost(own, others)) and not _outermost(others, own)


def _outermost(spans, others):
  """The spans that do not lie inside a longer one of the others."""
  return [(a, b) for a, b in spans if not any(
      c <= a and b <= d and d - c > b - a for c, d in others)]
