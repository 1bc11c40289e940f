"""Calibration: known distortions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.calibration import calibration_groups, calibration_line
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome


def _binary(n: int, seed: int) -> tuple[Outcome, np.ndarray, np.ndarray]:
    """Fully observed labels at 12 months, drawn from true probabilities."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(size=n)
    p = 1 / (1 + np.exp(-logit))
    event = generator.random(n) < p
    return make_outcome(event, np.where(event, 6.0, 24.0)), p, logit


def _censored(n: int, seed: int) -> Outcome:
    generator = np.random.default_rng(seed)
    return make_outcome(generator.integers(0, 3, n), generator.exponential(15, n).round())


def test_repeats_of_the_same_prediction_change_nothing() -> None:
    y = _censored(120, 3)
    p = np.clip(np.random.default_rng(3).random(120), 0.01, 0.99)
    once, thrice = calibration_line(y, p, 12), calibration_line(y, np.repeat(p[:, None], 3, axis=1), 12)
    for first, second in zip(once, thrice, strict=True):
        np.testing.assert_allclose(
            [first.value, first.lower, first.upper], [second.value, second.lower, second.upper], atol=1e-8
        )


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5])
def test_known_distortion_is_recovered(slope: float, shift: float) -> None:
    """Predictions with logit (true logit - shift) / slope have calibration slope ``slope``."""
    y, _, logit = _binary(20000, 4)
    found, _ = calibration_line(y, 1 / (1 + np.exp(-(logit - shift) / slope)), 12)
    assert found.value == pytest.approx(slope, abs=0.06)
    _, intercept = calibration_line(y, 1 / (1 + np.exp(-(logit - shift))), 12)
    assert intercept.value == pytest.approx(shift, abs=0.06)


def test_sandwich_limits_cover() -> None:
    inside = 0
    for seed in range(200):
        y, p, _ = _binary(150, 1000 + seed)
        slope, _ = calibration_line(y, p, 12)
        inside += slope.lower <= 1.0 <= slope.upper
    assert 0.90 <= inside / 200 <= 0.99


def test_separation_gives_no_slope() -> None:
    y = make_outcome([1] * 5 + [0] * 5, [6.0] * 5 + [24.0] * 5)
    slope, _ = calibration_line(y, np.r_[np.full(5, 0.9), np.full(5, 0.1)], 12)
    assert np.isnan(slope.value)


@pytest.mark.parametrize("shift", [-6.0, -2.6, -2.4, 2.3, 2.5, 2.7, 6.0])
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_risks_far_too_high_or_low_have_their_line(shift: float, spread: float) -> None:
    """Full Newton steps circle the maximum here; the line is that of scipy's minimiser."""
    generator = np.random.default_rng(7)
    truth = generator.normal(0.0, spread, 400)
    label = (generator.random(400) < expit(truth)).astype(int)
    logit = truth + shift
    slope, intercept = calibration_line(make_outcome(label, np.where(label, 6.0, 24.0)), expit(logit), 12)

    def loss(line: np.ndarray, fixed: bool) -> float:
        linear = line[0] + (logit if fixed else line[1] * logit)
        return float((np.logaddexp(0.0, linear) - label * linear).sum())

    exact = {"method": "Nelder-Mead", "options": {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 10_000}}
    assert intercept.value == pytest.approx(minimize(loss, [-shift], args=(True,), **exact).x[0], abs=1e-4)
    assert slope.value == pytest.approx(minimize(loss, [-shift, 1.0], args=(False,), **exact).x[1], abs=1e-3)
    assert intercept.lower < intercept.value < intercept.upper


def test_probabilities_of_zero_and_one_are_endured() -> None:
    y, p, _ = _binary(100, 5)
    p[0], p[1] = 0.0, 1.0
    assert all(np.isfinite(part.value) for part in calibration_line(y, p, 12))


def test_groups_partition_and_agree_with_the_incidence() -> None:
    y, p, _ = _binary(203, 6)
    groups = calibration_groups(y, p, 12, groups=5)
    assert groups["n"].sum() == 203
    assert groups["predicted"].is_monotonic_increasing
    assert (groups["observed"] * groups["n"]).sum() == pytest.approx(y["event"].sum())
    assert ((groups["lower"] <= groups["observed"]) & (groups["observed"] <= groups["upper"])).all()


def test_equal_predictions_stay_in_one_group() -> None:
    y, _, _ = _binary(50, 7)
    assert len(calibration_groups(y, np.full(50, 0.3), 12)) == 1


def test_group_without_anything_before_the_horizon() -> None:
    y = make_outcome([0] * 10, [30.0] * 10)
    row = calibration_groups(y, np.full(10, 0.2), 12).iloc[0]
    assert row["observed"] == row["lower"] == 0
    assert row["upper"] == pytest.approx(1 - 0.025**0.1)


@pytest.mark.parametrize(
    ("probability", "match"),
    [
        (np.full(9, 0.5), "different lengths"),
        (np.full(10, 1.2), "10 probabilities are missing or outside"),
        (np.r_[np.nan, np.full(9, 0.5)], "1 probabilities are missing"),
    ],
)
def test_refuses_probabilities(probability: np.ndarray, match: str) -> None:
    y, _, _ = _binary(10, 0)
    with pytest.raises(InputError, match=match):
        calibration_line(y, probability, 12)
