"""Conformal thresholds against sums written out, and what the bound of the event time means."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.modelling.conformal import bound_threshold, event_free, in_sets, set_threshold

MONTHS = (12.0, 24.0, 36.0)


def cohort(seed: int, n: int = 60, repeats: int = 3) -> tuple[np.ndarray, Outcome]:
    """Outcomes with censoring and competing events; rising probabilities by 12, 24 and 36 months."""
    rng = np.random.default_rng(seed)
    y = make_outcome(rng.choice([0, 1, 2], n, p=[0.3, 0.5, 0.2]), rng.exponential(25, n).round(1))
    steps = rng.uniform(0, 0.3, (n, repeats, 3))
    return np.cumsum(steps, axis=2), y


@pytest.mark.parametrize("seed", range(8))
def test_set_threshold_is_the_smallest_that_covers_enough(seed: int) -> None:
    incidence, y = cohort(seed)
    probability = incidence[:, :, 1]
    found = set_threshold(probability, y, 24.0)
    label, weight = horizon_labels(y, 24.0)

    def enough(threshold: float) -> bool:
        total = 0.0
        for i in range(len(y)):
            for r in range(3):
                p = probability[i, r]
                total += weight[i] / 3 * ((1 - p if label[i] else p) <= threshold)
        return total >= 0.9 * (weight.sum() + 1) - 1e-9

    assert enough(found.value)
    assert not enough(found.value - 2e-4)
    assert found.patients == (weight > 0).sum()
    assert 0.9 <= found.coverage() <= 1


@pytest.mark.parametrize("seed", range(8))
def test_bound_threshold_is_the_largest_that_misses_few(seed: int) -> None:
    incidence, y = cohort(seed, n=150)
    found = bound_threshold(incidence, y, MONTHS)
    _, weight = horizon_labels(y, 36.0)

    def missed(threshold: float) -> float:
        total = 0.0
        for r in range(3):
            bound = event_free(incidence[:, r], MONTHS, threshold)
            total += float(weight @ ((y["event"] == 1) & (y["months"] < bound))) / 3
        return total

    allowed = 0.1 * (weight.sum() + 1)
    assert missed(found.value) + 1 <= allowed + 1e-9
    assert missed(found.value + 2e-4) + 1 > allowed
    np.testing.assert_allclose(1 - missed(found.value) / weight.sum(), found.coverage())


def test_bound_is_where_the_incidence_reaches_the_threshold() -> None:
    rng = np.random.default_rng(0)
    curves = np.cumsum(rng.uniform(0, 0.2, (50, 3)), axis=1)
    curves[:10, 1] = curves[:10, 0]  # flat for a year
    bounds = event_free(curves, MONTHS, 0.25)
    assert ((bounds >= 0) & (bounds <= 36)).all()
    for curve, bound in zip(curves, bounds, strict=True):
        here = np.interp(bound, [0, *MONTHS], [0, *curve])
        assert here == pytest.approx(0.25) or (bound == 36 and here <= 0.25)
        assert np.interp(bound - 1e-6, [0, *MONTHS], [0, *curve]) < 0.25 + 1e-12
    np.testing.assert_array_equal(event_free(curves, MONTHS, 0.0), 0)
    np.testing.assert_array_equal(event_free(curves, MONTHS, 1.0), 36)


def test_a_patient_counts_once_however_often_predicted() -> None:
    incidence, y = cohort(1, repeats=1)
    many = np.repeat(incidence, 4, axis=1)
    assert set_threshold(many[:, :, 0], y, 12.0).value == set_threshold(incidence[:, :, 0], y, 12.0).value
    assert bound_threshold(many, y, MONTHS).value == bound_threshold(incidence, y, MONTHS).value


def test_few_patients_leave_everything_open() -> None:
    incidence, y = cohort(2, n=8)
    assert set_threshold(incidence[:, :, 0], y, 12.0).value == 1.0
    event, none = in_sets(np.array([0.0, 0.5, 1.0]), 1.0)
    assert event.all()
    assert none.all()
    assert bound_threshold(incidence, y, MONTHS).value == 0.0


def test_rare_events_are_never_expected_before_the_last_month() -> None:
    y = make_outcome([1] * 5 + [0] * 95, [10.0] * 5 + [40.0] * 95)
    found = bound_threshold(np.full((100, 1, 3), 0.05), y, MONTHS)
    assert found.value == 1.0
    assert found.coverage() == pytest.approx(0.95)


def test_competing_events_are_covered_by_any_bound() -> None:
    incidence, _ = cohort(3, n=100)
    y = make_outcome([2] * 100, np.linspace(1, 30, 100))
    assert bound_threshold(incidence, y, MONTHS).value == 1.0


def test_groups_have_a_coverage_of_their_own() -> None:
    incidence, y = cohort(4)
    found = set_threshold(incidence[:, :, 0], y, 12.0)
    rows = np.arange(len(y)) < 30
    whole = found.weight.sum() * found.coverage()
    parts = [found.weight[part].sum() * found.coverage(part) for part in (rows, ~rows)]
    assert sum(parts) == pytest.approx(whole)
    assert np.isnan(found.coverage(np.zeros(len(y), dtype=bool)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:-1], "predictions and outcomes differ in number"),
        (lambda p: np.where(p == p.max(), np.nan, p), "missing or outside 0 to 1"),
        (lambda p: p + 0.8, "missing or outside 0 to 1"),
    ],
)
def test_unusable_probabilities_are_refused(change, message) -> None:
    incidence, y = cohort(5)
    with pytest.raises(InputError, match=message):
        set_threshold(change(incidence[:, :, 0]), y, 12.0)


@pytest.mark.parametrize("months", [(24.0, 12.0, 36.0), (0.0, 12.0, 24.0), ()])
def test_months_must_ascend(months) -> None:
    incidence, y = cohort(6)
    with pytest.raises(InputError, match="months must be positive and ascend"):
        bound_threshold(incidence, y, months)
