"""Probabilities from baseline hazards."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.evaluation.incidence import aalen_johansen, nelson_aalen
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.risk import (
    breslow_baseline,
    by_whole_months,
    cumulative_incidence,
    linear_risk,
    probability_at_horizon,
)

MONTHS = (3.0, 12.0, 24.0, 40.0)


def _outcome(n: int, seed: int, codes: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return make_outcome(generator.choice(codes, n), generator.exponential(20, n).round(1))


def test_without_covariates_it_is_the_aalen_johansen_incidence() -> None:
    """Up to the spreading of each jump, which vanishes with n."""
    y = _outcome(3000, 0)
    found = cumulative_incidence(breslow_baseline(y, np.zeros(3000)), np.zeros(1), MONTHS)[0]
    np.testing.assert_allclose(found, aalen_johansen(y["event"], y["months"]).at(MONTHS), atol=2e-3)


def test_without_competing_event_it_is_one_minus_exp_of_the_hazard() -> None:
    y = _outcome(80, 1, (0, 1))
    risk = np.array([-1.0, 0.0, 2.0])
    hazard = nelson_aalen(y["event"], y["months"]).at(MONTHS)
    found = cumulative_incidence(breslow_baseline(y, np.zeros(80)), risk, MONTHS)
    np.testing.assert_allclose(found, 1 - np.exp(-np.exp(risk)[:, None] * hazard), atol=1e-12)


def test_death_in_the_way_lowers_the_probability() -> None:
    y = _outcome(200, 2)
    blind = y.copy()
    blind["event"][y["event"] == 2] = 0
    risk = np.array([0.5])
    with_death = cumulative_incidence(breslow_baseline(y, np.zeros(200)), risk, MONTHS)
    without = cumulative_incidence(breslow_baseline(blind, np.zeros(200)), risk, MONTHS)
    assert (with_death < without).all()


def test_baseline_absorbs_a_shift_of_risk() -> None:
    y = _outcome(100, 3)
    risk = np.random.default_rng(3).normal(size=100)
    a = cumulative_incidence(breslow_baseline(y, risk), risk, MONTHS)
    b = cumulative_incidence(breslow_baseline(y, risk + 7), risk + 7, MONTHS)
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_is_a_probability_rising_with_time_and_risk() -> None:
    y = _outcome(50, 4)
    risk = np.sort(np.random.default_rng(4).normal(size=20) * 5)
    found = cumulative_incidence(breslow_baseline(y, np.zeros(50)), risk, [1.0, 5.0, 10.0, 20.0, 40.0])
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found, axis=1) >= 0).all()
    assert (np.diff(found, axis=0) >= -1e-12).all()


def test_extreme_risks_do_not_overflow() -> None:
    found = cumulative_incidence(breslow_baseline(_outcome(50, 5), np.zeros(50)), np.array([-900.0, 900.0]), [12.0])
    assert found[0, 0] == 0.0
    assert found[1, 0] == pytest.approx(1.0, abs=0.1)


def test_silent_beyond_follow_up_and_zero_before_anything_happened() -> None:
    y = make_outcome([1, 2, 0], [5, 6, 10])
    found = cumulative_incidence(breslow_baseline(y, np.zeros(3)), np.zeros(1), [4.0, 10.0, 10.5])[0]
    assert found[0] == 0.0
    assert found[1] > 0.0
    assert np.isnan(found[2])


def test_probability_speaks_at_the_horizon_only() -> None:
    found = probability_at_horizon(np.array([0.0, 800.0, -800.0]), 24, (12.0, 24.0))
    assert np.isnan(found[:, 0]).all()
    assert found[:, 1].tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("p", [1, 7, 129, 600])
def test_linear_risk_of_a_row_ignores_the_table_around_it(p: int) -> None:
    generator = np.random.default_rng(p)
    X, beta = generator.normal(size=(40, p)), generator.normal(size=p)
    whole = linear_risk(X, beta, 0.3)
    np.testing.assert_allclose(whole, X @ beta + 0.3, atol=1e-10)
    assert (whole == linear_risk(np.asfortranarray(X), beta, 0.3)).all()
    for row in (0, 17, 39):
        assert linear_risk(X[[row]], beta, 0.3)[0] == whole[row]


@pytest.mark.parametrize("seed", range(20))
def test_whole_months_keep_cumulative_hazards_and_hide_exact_times(seed: int) -> None:
    y = _outcome(150, seed)
    risk = np.random.default_rng(seed).normal(size=150)
    exact = breslow_baseline(y, risk)
    coarse = by_whole_months(exact)
    assert (coarse.months == np.round(coarse.months)).all()
    assert coarse.last_month == np.floor(exact.last_month)
    for month in range(1, int(coarse.last_month) + 1):
        for kind in ("event", "competing"):
            before = getattr(exact, kind)[exact.months <= month].sum()
            after = getattr(coarse, kind)[coarse.months <= month].sum()
            assert after == pytest.approx(before, abs=1e-12)
    months = [m for m in (6.0, 12.0, 24.0) if m <= coarse.last_month]
    difference = cumulative_incidence(exact, risk, months) - cumulative_incidence(coarse, risk, months)
    assert np.abs(difference).max() < 0.02
