"""What the report of a document says of how much was asked."""

import pytest

from sleepjax.tasks import document
from sleepjax.writing.dreams import Coverage


def test_coverage_is_of_the_sentences_of_all_sleeps():
  sleeps = [Coverage(8, 1, 2, 3, verified=4)._asdict(),
            Coverage(2, 0, 0)._asdict(), {}]
  assert document._coverage(sleeps) == {
      'sentences': 10, 'coverage': pytest.approx(0.7),
      'verified': pytest.approx(0.4), 'sentences_without_question': {
          'too_long': 1, 'no_usable_question': 2},
      'recollections_left_out': 3}
  assert document._coverage([{}]) == {}
