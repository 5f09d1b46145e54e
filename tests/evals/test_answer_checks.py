import sys

import pytest

from sleepjax.errors import UserError
from sleepjax.evals import answer_checks, judges


def test_same_number():
  check = answer_checks.make_check('same_number')
  assert judges.asked(check, [
      '4 + 5 = 9. The answer is 9.', 'The answer is 1 9.', '9', '', 'It is 9.'],
                      ['The answer is 9.'] * 5).tolist() == [1, 0, 0, 0, 0]


def test_two_replies_without_an_answer_are_not_the_same():
  assert answer_checks.SameNumber()(['no'], ['no']).tolist() == [0]


def test_math_verify():
  pytest.importorskip('math_verify')
  check = answer_checks.make_check('math_verify')
  right = r'So it is \boxed{\frac{1}{2}}.'
  assert judges.asked(
      check, [r'\boxed{0.5}', r'\boxed{\frac{2}{4}}', r'\boxed{2}', 'nothing'],
      [right] * 4).tolist() == [1, 1, 0, 0]
  assert judges.asked(
      check, [r'Then \boxed{73}.', r'\boxed{37}'], ['73', '73']
  ).tolist() == [1, 0]


def test_what_is_missing_is_said(monkeypatch):
  monkeypatch.setitem(sys.modules, 'math_verify', None)
  with pytest.raises(UserError, match=r'pip install .sleepjax\[math\]'):
    answer_checks.make_check('math_verify')
  with pytest.raises(UserError, match="check='eyes': expected one of same_nu"):
    answer_checks.make_check('eyes')
