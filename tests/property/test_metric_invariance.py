"""What must not matter to a metric: the order of patients, the unit of time, the scale of the risk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiomics_crlm.evaluation.calibration import calibration_groups
from radiomics_crlm.evaluation.discrimination import auc, harrell_c
from radiomics_crlm.evaluation.incidence import aalen_johansen, kaplan_meier
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome

PATIENT = st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(-5, 5))
PATIENTS = st.lists(PATIENT, min_size=2, max_size=40)


def _unpack(patients: list[tuple[int, int, int]]) -> tuple[Outcome, np.ndarray]:
    event, months, risk = (np.array(column, dtype=float) for column in zip(*patients, strict=True))
    return make_outcome(event, months), risk


@settings(max_examples=100, deadline=None)
@given(PATIENTS, st.randoms(use_true_random=False))
def test_order_of_patients(patients: list, random: object) -> None:
    y, risk = _unpack(patients)
    random.shuffle(patients)
    other_y, other_risk = _unpack(patients)
    np.testing.assert_allclose(harrell_c(y, risk), harrell_c(other_y, other_risk))
    for curve in (aalen_johansen, kaplan_meier):
        np.testing.assert_array_equal(
            curve(y["event"], y["months"]).value, curve(other_y["event"], other_y["months"]).value
        )


@settings(max_examples=100, deadline=None)
@given(PATIENTS)
def test_unit_of_time_and_scale_of_risk(patients: list) -> None:
    y, risk = _unpack(patients)
    days = make_outcome(y["event"], y["months"] * 32)
    assert harrell_c(y, risk) == pytest.approx(harrell_c(days, 3 * risk**3 + 5), nan_ok=True)
    for mine, theirs in zip(horizon_labels(y, 12), horizon_labels(days, 12 * 32), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=100, deadline=None)
@given(PATIENTS)
def test_reversing_the_risk_reflects_the_statistic(patients: list) -> None:
    y, risk = _unpack(patients)
    label, weight = horizon_labels(y, 12)
    for forward, backward in (
        (harrell_c(y, risk), harrell_c(y, -risk)),
        (auc(label, risk, weight), auc(label, -risk, weight)),
    ):
        # Without a comparable pair there is no statistic, in either direction.
        assert np.isnan(forward) == np.isnan(backward)
        assert np.isnan(forward) or forward + backward == pytest.approx(1.0)


@settings(max_examples=100, deadline=None)
@given(PATIENTS)
def test_incidences_and_weights_are_sound(patients: list) -> None:
    y, _ = _unpack(patients)
    ours, swapped = aalen_johansen(y["event"], y["months"]), y.copy()
    swapped["event"] = np.array([0, 2, 1])[y["event"]]
    rival = aalen_johansen(swapped["event"], swapped["months"])
    assert (np.diff(ours.value) >= 0).all()
    either = kaplan_meier((y["event"] > 0).astype(int), y["months"]).value
    np.testing.assert_allclose(ours.value + rival.value + either, 1.0)
    label, weight = horizon_labels(y, 12)
    known = weight > 0
    assert (weight[known] >= 1 - 1e-12).all()
    assert (label[~known] == 0).all()
    assert (known | ((y["event"] == 0) & (y["months"] < 12))).all()


@settings(max_examples=50, deadline=None)
@given(PATIENTS, st.integers(1, 8))
def test_calibration_groups_partition(patients: list, groups: int) -> None:
    y, risk = _unpack(patients)
    table = calibration_groups(y, 1 / (1 + np.exp(-risk)), 12.0, groups=groups)
    assert table["n"].sum() == y.size
    assert 1 <= len(table) <= groups
    assert table["predicted"].is_monotonic_increasing
    assert table[["observed", "lower", "upper"]].apply(lambda c: c.between(0, 1)).all(axis=None)
    assert ((table["lower"] <= table["observed"]) & (table["observed"] <= table["upper"])).all()
