"""Conventions and refusals of AUC and C; oracles are in tests/oracle."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import auc, concordance, endpoint_pairs, harrell_c, survival_pairs
from radiomics_crlm.evaluation.outcome import make_outcome


@pytest.mark.parametrize(
    ("event", "months", "comparable"),
    [
        ([1, 0], [1, 2], True),
        ([0, 1], [1, 2], False),
        ([2, 1], [1, 2], False),  # the competing event leaves as if censored
        ([1, 2], [1, 2], True),
        ([1, 0], [2, 2], True),  # still under observation when the event happened
        ([1, 2], [2, 2], True),
        ([1, 1], [2, 2], False),
        ([0, 0], [1, 2], False),
    ],
)
def test_which_pairs_are_comparable(event: list[int], months: list[float], comparable: bool) -> None:
    pairs = survival_pairs(make_outcome(event, months))
    assert bool(pairs.sum()) is comparable
    assert np.trace(pairs) == 0


def test_perfect_reversed_and_constant_risk() -> None:
    y = make_outcome([1, 1, 0, 0], [1, 2, 3, 4])
    assert harrell_c(y, [4, 3, 2, 1]) == 1.0
    assert harrell_c(y, [1, 2, 3, 4]) == 0.0
    assert harrell_c(y, [0, 0, 0, 0]) == 0.5


def test_nothing_to_compare_is_not_a_number() -> None:
    assert np.isnan(harrell_c(make_outcome([0, 0], [1, 2]), [1, 2]))
    assert np.isnan(auc([1, 1], [1, 2]))
    assert np.isnan(concordance(np.zeros((2, 2)), [1, 2]))


@pytest.mark.parametrize(
    ("risk", "match"),
    [
        ([1, 2, 3], "different lengths"),
        ([1, np.nan], "1 risks are not finite"),
        ([np.inf, 1], "1 risks are not finite"),
    ],
)
def test_refuses_risks(risk: list[float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        harrell_c(make_outcome([1, 0], [1, 2]), risk)
    with pytest.raises(InputError, match=match):
        auc([1, 0], risk)


def test_refuses_labels_and_missing_horizon() -> None:
    with pytest.raises(InputError, match="labels are not binary"):
        auc([1, 2], [0, 1])
    with pytest.raises(InputError, match="needs a horizon"):
        endpoint_pairs(make_outcome([1, 0], [1, 2]), "binary", None)
