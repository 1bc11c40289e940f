"""Average precision: what is refused, and what weights and folds do; the oracle is in tests/oracle."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.average_precision import precision_values
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.resampling import resamples

Y = make_outcome([1, 0, 1, 0], [3, 24, 6, 24])


def found(risk: np.ndarray, fold: np.ndarray) -> float:
    return float(precision_values(resamples(Y, draws=0, seed=0).at(12.0), risk, fold)[0])


def test_a_case_is_compared_within_its_fold_alone() -> None:
    risk = np.array([[0.2], [0.9], [0.1], [0.05]])
    assert found(risk, np.zeros((4, 1), dtype=int)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found(risk, np.array([[0], [1], [0], [1]])) == 1.0


@pytest.mark.parametrize(
    ("risk", "fold", "match"),
    [
        (np.zeros((4, 2)), np.zeros((4, 1), dtype=int), "risk and fold have different shapes"),
        (np.zeros((3, 1)), np.zeros((3, 1), dtype=int), "risk and fold have different shapes"),
        (np.array([[0.1], [np.nan], [np.inf], [0.2]]), np.zeros((4, 1), dtype=int), "risk: 2 risks are not finite"),
    ],
)
def test_refuses_risks(risk: np.ndarray, fold: np.ndarray, match: str) -> None:
    with pytest.raises(InputError, match=match):
        found(risk, fold)
