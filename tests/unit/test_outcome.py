"""Outcome arrays, their checker, and horizon labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import OUTCOME_DTYPE, check_outcome, horizon_labels, make_outcome, outcome_of


def test_accepts_nullable_and_boolean_columns() -> None:
    y = make_outcome(pd.array([True, False], dtype="boolean"), pd.array([1, 2], dtype="Int64"))
    assert y.dtype == OUTCOME_DTYPE
    assert y["event"].tolist() == [1, 0]
    assert y["months"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("event", "months", "match"),
    [
        ([1, 0], [1.0], "different lengths"),
        ([1, 3], [1.0, 2.0], "1 event codes are unknown"),
        ([1, 0.5], [1.0, 2.0], "1 event codes are unknown"),
        ([1, None], [1.0, 2.0], "1 event codes are unknown"),
        ([1, 0], [1.0, -2.0], "1 times are missing, infinite or negative"),
        ([1, 0], [1.0, np.nan], "1 times are missing, infinite or negative"),
        ([1, 0], [1.0, np.inf], "1 times are missing, infinite or negative"),
        ([1, 0], ["a", "b"], "not numbers"),
        ([], [], "no patients"),
    ],
)
def test_refuses_to_make(event: list, months: list, match: str) -> None:
    with pytest.raises(InputError, match=match):
        make_outcome(event, months)


@pytest.mark.parametrize("y", [np.zeros(3), [1, 2], np.zeros((2, 2), dtype=OUTCOME_DTYPE), None])
def test_refuses_other_types(y: object) -> None:
    with pytest.raises(InputError, match="no outcome array"):
        check_outcome(y)


@pytest.mark.parametrize(
    ("event", "months", "match"),
    [
        ([1, 3, -1], [5.0, 6.0, 7.0], "2 event codes are unknown; expected 0 censored, 1 event, 2 competing"),
        ([1, 0, 0], [5.0, -1.0, np.nan], "2 times are missing, infinite or negative; expected months >= 0"),
        ([], [], "there are no patients"),
    ],
)
def test_refuses_arrays_that_were_not_made_by_make_outcome(event: list, months: list, match: str) -> None:
    y = np.empty(len(event), dtype=OUTCOME_DTYPE)
    y["event"], y["months"] = event, months
    with pytest.raises(InputError, match=match):
        check_outcome(y)


@pytest.mark.parametrize(
    ("event", "months", "horizon", "minimum", "match"),
    [
        ([0, 0], [5, 9], None, 1, "target is constant"),
        ([1, 1], [5, 5], None, 1, "target is constant"),
        ([1, 1], [5, 6], 12, 1, "target is constant.*2 with, 0 without"),
        ([1, 0], [15, 20], 12, 1, "target is constant.*0 with, 2 without"),
        ([1, 0], [5, 6], 12, 1, "1 with, 0 without"),
        ([1, 0, 0], [5, 20, 20], None, 2, "too few events; expected at least 2; got 1"),
        ([1, 0, 0], [5, 20, 20], 12, 2, "too few events"),
        ([1, 0], [5, 20], -1, 0, "horizon is not usable"),
        ([1, 0], [5, 20], float("nan"), 0, "horizon is not usable"),
    ],
)
def test_refuses_what_cannot_be_learned(event: list, months: list, horizon: float, minimum: int, match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_outcome(make_outcome(event, months), horizon=horizon, min_events=minimum)


def test_all_events_at_different_times_can_be_ordered() -> None:
    y = make_outcome([1, 1, 1], [1, 2, 3])
    assert check_outcome(y, min_events=3) is y


def test_label_of_each_kind_of_follow_up() -> None:
    """Event by, at and after the horizon; censored before, at, after; competing before and after."""
    y = make_outcome([1, 1, 1, 0, 0, 0, 2, 2], [5, 12, 13, 11, 12, 40, 3, 20])
    label, weight = horizon_labels(y, 12)
    assert label.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert (weight > 0).tolist() == [True, True, True, False, True, True, True, True]
    # Censored at 11 with 6 others still followed (times 12, 13, 12, 40, 20): G drops to 5/6 after it.
    expected = np.array([1, 6 / 5, 6 / 5, 0, 6 / 5, 6 / 5, 1, 6 / 5])
    np.testing.assert_allclose(weight, expected, rtol=1e-12)


def test_event_and_censoring_at_the_same_time() -> None:
    """Events come first, so a censoring at the same time does not weigh them up."""
    label, weight = horizon_labels(make_outcome([1, 0, 0, 0], [5, 5, 30, 30]), 12)
    np.testing.assert_allclose(weight, [1, 0, 1.5, 1.5])
    assert label.tolist() == [1, 0, 0, 0]


def test_censoring_at_the_horizon_changes_nothing() -> None:
    _, weight = horizon_labels(make_outcome([1, 0, 0, 2], [5, 12, 12, 12]), 12)
    assert weight.tolist() == [1.0] * 4


def test_outcomes_are_joined_by_key() -> None:
    table = pd.DataFrame(
        {"patient_id": ["b", "a", "a"], "endpoint": ["os", "os", "dfs"], "event": [1, 0, 1], "months": [1.0, 2.0, 3.0]}
    )
    assert outcome_of(table, "os", ["a", "b"])["months"].tolist() == [2.0, 1.0]
    with pytest.raises(InputError, match="1 patients have no outcome"):
        outcome_of(table, "dfs", ["a", "b"])
    with pytest.raises(InputError, match="more than one outcome"):
        outcome_of(pd.concat([table, table]), "os", ["a"])
