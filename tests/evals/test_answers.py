import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepjax.evals import answers


@pytest.mark.parametrize('prediction, gold, exact, contained, f1', [
    ('The Denver Broncos.', 'denver broncos', 1, 1, 1.0),
    ('It was the Denver Broncos who won', 'Denver Broncos', 0, 1, 4 / 8),
    ('party', 'art', 0, 0, 0.0),
    ('U.S.', 'US', 1, 1, 1.0),
    ('1,204 feet', '1204 feet', 1, 1, 1.0),
    ('red red blue', 'red blue blue', 0, 0, 2 * 2 / 6),
    ('blue and red', 'red and blue', 0, 0, 1.0),
    ('', 'red', 0, 0, 0.0),
    ('red', 'the', 0, 0, 0.0),
    ('an', 'the', 1, 1, 1.0),
])
def test_scores_of_hand_worked_pairs(prediction, gold, exact, contained, f1):
  assert answers.exact_match(prediction, gold) == exact
  assert answers.contains(prediction, gold) == contained
  assert answers.f1(prediction, gold) == pytest.approx(f1)


@pytest.mark.parametrize('text, units', [
    ('“O’Hara’s” 1914–1918—twice', ['oharas', '19141918', 'twice']),
    ('塔は1911年、建つ', ['塔', 'は', '1911', '年', '建', 'つ']),
    ('กำแพง', ['กํ', 'า', 'แ', 'พ', 'ง']),
    ('ผู้ดู', ['ผู้', 'ดู']),
    ('Ｔｅａ３ cafe\u0301', ['tea3', 'café']),
    ('한국 사람', ['한국', '사람']),
    ('。', []),
])
def test_units_of_scripts_with_and_without_spaces(text, units):
  assert answers.match_words(text) == units


@pytest.mark.parametrize('prediction, gold, contained', [
    ('“Ottilie Vance” did.', 'Ottilie Vance', 1),
    ('他在上海，没去北京。', '北京', 1),
    ('他在上海，没去北京。', '海没', 1),  # No word ends are written.
    ('他在1911年', '191', 0),
    ('ผู้ดู', 'ผ', 0),  # Half of a written character.
    ('한국사람', '한국', 0)])
def test_contains_in_other_scripts(prediction, gold, contained):
  assert answers.contains(prediction, gold) == contained


@given(st.text(), st.text())
def test_scores_are_ordered_and_f1_is_symmetric(prediction, gold):
  exact = answers.exact_match(prediction, gold)
  f1 = answers.f1(prediction, gold)
  assert 0 <= exact <= f1 <= 1
  assert exact <= answers.contains(prediction, gold)
  assert f1 == answers.f1(gold, prediction)
  assert answers.exact_match(gold, gold) == 1


def test_summarise_is_the_mean_of_each_score():
  summary = answers.summarise(['the red door', 'a red door'], ['red', 'door'])
  assert summary == {'exact': 0.0, 'contains': 1.0, 'f1': pytest.approx(2 / 3)}


@pytest.mark.parametrize('predictions, golds', [(['x'], []), ([], [])])
def test_summarise_refuses_unequal_and_empty_input(predictions, golds):
  with pytest.raises(ValueError, match='expected'):
    answers.summarise(predictions, golds)
