"""Words that say what a text is about, and those that do not."""

import re

import numpy as np

# English words that say little about what a text is about.
FUNCTION_WORDS = frozenset(
    'a an the of in on at to for from by with as and or but not is are was '
    'were be been being it its this that these those he she they his her '
    'their them i you we which who what when where how has have had do does '
    'did can could will would may there also'.split())


def content_words(text: str) -> set[str]:
  """Lower-case words and numbers of a text without function words."""
  return set(re.findall(r'\w+', text.lower())) - FUNCTION_WORDS


def content_free_tokens(tokenizer) -> np.ndarray:
  """[V] bool: punctuation, spaces and English function words."""
  texts = (tokenizer.decode([i]).strip().lower()
           for i in range(tokenizer.vocab_size))
  return np.array([not any(c.isalnum() for c in text)
                   or text in FUNCTION_WORDS for text in texts])
