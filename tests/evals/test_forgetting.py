import pytest

from sleepjax.evals import forgetting

MATRIX = [[0.8, 0.1, 0.0],
          [0.9, 0.6, 0.2],
          [0.4, 0.5, 1.0]]


@pytest.mark.parametrize('measure, expected', [
    (forgetting.average_accuracy, (0.4 + 0.5 + 1.0) / 3),
    (forgetting.learnt, (0.8 + 0.6 + 1.0) / 3),
    (forgetting.backward_transfer, ((0.4 - 0.8) + (0.5 - 0.6)) / 2),
    (forgetting.forgetting, ((0.9 - 0.4) + (0.6 - 0.5)) / 2),
    (forgetting.forward_transfer, (0.1 + 0.2) / 2)])
def test_measures_by_hand(measure, expected):
  assert measure(MATRIX) == pytest.approx(expected)


def test_one_day_has_nothing_to_forget():
  assert forgetting.average_accuracy([[0.5]]) == 0.5
  for measure in (forgetting.backward_transfer, forgetting.forgetting,
                  forgetting.forward_transfer):
    assert measure([[0.5]]) == 0


@pytest.mark.parametrize('matrix', [[], [[0.1, 0.2]], [0.1]])
def test_a_matrix_of_another_shape_is_refused(matrix):
  with pytest.raises(ValueError, match='row and a column for each'):
    forgetting.learnt(matrix)
