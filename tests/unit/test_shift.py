"""The report of a cohort: what it says of a shift, of units, of few patients and of outcomes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scoring_examples import CLINICAL, content, training_table
from shift_studies import NAMED, SHIFTS, compared

from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.scoring.shape import describe_shift
from radiomics_crlm.scoring.shift import Tally, chi_squared_p, psi, shift_report, two_shares

INSIDE = content(shift=describe_shift(training_table(CLINICAL), CLINICAL))


@pytest.mark.parametrize("shift", SHIFTS)
def test_each_shift_is_named(shift: str) -> None:
    found = compared(200, 100, 1, **SHIFTS[shift])
    assert found.verdict.startswith("shifted: ")
    assert NAMED[shift] in found.verdict
    assert found.remark == ""


def test_a_cohort_of_the_same_kind() -> None:
    found = compared(200, 40, 1)
    assert found.verdict == "no shift found"
    assert found.remark == "40 patients: only large shifts would show"
    assert found.shifted == ()
    assert [one.input for one in found.scans] == ["scanner", "slice_thickness_mm"]


def test_the_report_is_json() -> None:
    written = json.loads(json.dumps(compared(200, 60, 2, albumin=0.1).to_json(), allow_nan=False))
    albumin = next(one for one in written["inputs"] if one["input"] == "albumin_g_l")
    assert albumin["shifted"]
    assert albumin["unit_suspicion"]
    assert albumin["factor"] == pytest.approx(0.1, rel=0.15)


def test_texture_has_no_unit_to_be_suspected() -> None:
    found = compared(200, 100, 3, texture=10.0)
    texture = next(one for one in found.inputs if one.input.startswith("largest__"))
    assert texture.shifted
    assert not texture.unit_suspicion


def test_few_patients_are_not_judged() -> None:
    assert compared(200, 9, 0, albumin=0.1).verdict == "not compared: fewer than 10 patients with values"
    assert compared(200, 10, 0).verdict in ("no shift found", "not compared: fewer than 10 patients with values")


def test_a_bundle_of_before_is_not_compared() -> None:
    inside = content()
    found = shift_report(inside, Tally.of(inside, training_table(CLINICAL)))
    assert found.verdict == "not compared: the bundle keeps no distribution of its training data"


def test_no_rows_are_not_compared() -> None:
    assert shift_report(INSIDE, Tally()).verdict.startswith("not compared")


def test_observed_over_expected_is_that_of_aalen_and_johansen() -> None:
    rng = np.random.default_rng(0)
    n = 400
    months = np.ceil(rng.exponential(30, n))
    y = make_outcome(rng.choice([0, 1, 2], n, p=[0.3, 0.5, 0.2]), months)
    table = training_table(CLINICAL, rows=n)
    probability = np.tile([0.1, 0.9, 0.5], (n, 1))
    found = shift_report(INSIDE, Tally.of(INSIDE, table, None, probability, outcome=y))
    curve = aalen_johansen(y["event"], y["months"])
    for one, expected in zip(found.calibration, (0.1, 0.9, 0.5), strict=True):
        lower, upper = (float(limit) for limit in curve.limits_at(one.months))
        assert one.n == n
        assert one.expected == pytest.approx(expected, abs=1e-6)
        assert one.observed == pytest.approx(float(curve.at(one.months)), abs=1e-6)
        assert (one.ratio_lower, one.ratio_upper) == pytest.approx((lower / expected, upper / expected), abs=1e-3)
    assert [one.reading for one in found.calibration[:2]] == ["predictions too low", "predictions too high"]


def test_outcomes_that_end_before_the_horizon_judge_nothing() -> None:
    y = make_outcome([0, 1] * 30, [5.0] * 60)
    found = shift_report(
        INSIDE, Tally.of(INSIDE, training_table(CLINICAL, rows=60), None, np.full((60, 3), 0.5), outcome=y)
    )
    assert found.calibration == ()


@pytest.mark.parametrize("counts", [(3, 7, 0, 90), (0, 12, 8, 40), (5, 5, 20, 80), (30, 0, 1, 150)])
def test_few_patients_are_compared_exactly(counts: tuple[int, int, int, int]) -> None:
    a, b, c, d = counts
    tails = [stats.fisher_exact([[a, b], [c, d]], alternative=side)[1] for side in ("less", "greater")]
    assert two_shares(*counts) == pytest.approx(min(1.0, 2 * min(tails)))


def test_many_patients_are_compared_by_chi_squared() -> None:
    expected = stats.chi2_contingency([[300, 700], [250, 750]], correction=False)[1]
    assert two_shares(300, 700, 250, 750) == pytest.approx(expected)


def test_the_test_of_bins_is_that_of_two_samples() -> None:
    """Both samples large: the Pearson test of a table of two rows."""
    old, new = np.array([1000.0, 1010, 990, 1000]), np.array([1050.0, 960, 1000, 1100])
    assert chi_squared_p(old, new) == pytest.approx(stats.chi2_contingency([old, new])[1], rel=0.15)


def test_psi_is_symmetric_and_grows() -> None:
    old, near, far = np.array([50.0, 50]), np.array([55.0, 45]), np.array([80.0, 20])
    assert psi(old, near) == pytest.approx(psi(near, old))
    assert 0 < psi(old, near) < psi(old, far)


def test_columns_that_the_cohort_lacks_are_missing() -> None:
    table = training_table(CLINICAL, rows=60, seed=8)
    table["cea_ng_ml"] = pd.Series(np.nan, index=table.index)
    found = shift_report(INSIDE, Tally.of(INSIDE, table))
    assert "cea_ng_ml (missing in 100 %" in found.verdict
