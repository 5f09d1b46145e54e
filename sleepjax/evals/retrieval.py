"""The rival of a memory in the weights: look the text up, then read it."""

from collections.abc import Sequence

import numpy as np

from sleepjax.evals.answers import match_words


class Retriever:
  """Finds the texts whose words a question shares, by BM25.

  Robertson and Zaragoza 2009, as Lucene computes it (bm25s), k1 = 1.5 and
  b = 0.75, over the units of `answers.match_words`.
  """

  def __init__(self, texts: Sequence[str]):
    """Indexes texts: passages, or the chunks of a document.

    Raises:
      ValueError: no text has a word.
    """
    # It starts JAX's backend, which launchers must do themselves first.
    import bm25s

    words = [match_words(text) for text in texts]
    if not any(words):
      raise ValueError(f'{len(texts)} texts without a word: expected at least '
                       'one text to look up.')
    self._known = set().union(*words)
    self._index = bm25s.BM25(backend='numpy')
    self._index.index(words, show_progress=False)
    self._number = len(texts)

  def best(self, question: str, number: int = 1) -> list[int]:
    """Numbers of the best texts, best first; of equals the earlier one."""
    words = [word for word in match_words(question) if word in self._known]
    scores = self._index.get_scores(words) if words else np.zeros(self._number)
    return np.argsort(-scores, kind='stable')[:number].tolist()
