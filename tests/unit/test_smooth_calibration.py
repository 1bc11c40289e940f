"""Smooth calibration: known curves, resamples, what is not fitted."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.smooth_calibration import smooth_calibration, spline_basis


def _binary(n: int, seed: int) -> tuple[Outcome, np.ndarray]:
    """Fully observed labels at 12 months, drawn from the probabilities."""
    generator = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-generator.normal(size=n)))
    event = generator.random(n) < p
    return make_outcome(event, np.where(event, 6.0, 24.0)), p[:, None]


def test_true_probabilities_lie_on_the_diagonal() -> None:
    y, p = _binary(20000, 0)
    found = smooth_calibration(resamples(y, draws=0, seed=0).at(12.0), p)
    assert found.ici.value < 0.01
    inner = (found.predicted > 0.1) & (found.predicted < 0.9)
    np.testing.assert_allclose(found.observed[inner], found.predicted[inner], atol=0.02)


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_known_distortion_is_the_distance(power: float) -> None:
    """Predictions 1 - (1 - p)^power shift the complementary log-log by a constant: the curve is exact in its form."""
    y, p = _binary(20000, 1)
    wrong = 1 - (1 - p) ** power
    found = smooth_calibration(resamples(y, draws=0, seed=0).at(12.0), wrong)
    assert found.ici.value == pytest.approx(np.abs(wrong - p).mean(), abs=0.01)
    assert found.e50.value == pytest.approx(np.median(np.abs(wrong - p)), abs=0.012)
    assert found.e50.value <= found.e90.value


def test_repeats_of_the_same_prediction_change_nothing() -> None:
    y, p = _binary(150, 2)
    sample = resamples(y, draws=40, seed=1).at(12.0)
    once, thrice = (smooth_calibration(sample, np.repeat(p, k, axis=1)) for k in (1, 3))
    np.testing.assert_allclose(once.observed, thrice.observed, atol=1e-7)
    np.testing.assert_allclose(once.lower, thrice.lower, atol=1e-6)
    assert once.ici.upper == pytest.approx(thrice.ici.upper, abs=1e-7)


def test_limits_enclose_the_curve_and_use_the_first_draws() -> None:
    y, p = _binary(200, 3)
    sample = resamples(y, draws=300, seed=1).at(12.0)
    found = smooth_calibration(sample, p, draws=200)
    assert (found.lower <= found.observed + 1e-9).all()
    assert (found.observed <= found.upper + 1e-9).all()
    fewer = smooth_calibration(resamples(y, draws=200, seed=1).at(12.0), p)
    assert fewer.predicted.shape == (51,)
    assert np.isfinite([fewer.ici.lower, fewer.ici.upper]).all()


def test_few_values_leave_a_straight_line_and_one_value_a_constant() -> None:
    y, p = _binary(200, 4)
    two = np.where(p > 0.5, 0.7, 0.3)
    found = smooth_calibration(resamples(y, draws=0, seed=0).at(12.0), two)
    # A line through two predictions meets the shares of both groups.
    low = two[:, 0] == 0.3
    np.testing.assert_allclose(
        found.observed[[0, -1]], [y["event"][low].mean(), y["event"][~low].mean()], atol=1e-7
    )  # fmt: skip
    constant = smooth_calibration(resamples(y, draws=0, seed=0).at(12.0), np.full((200, 1), 0.4))
    np.testing.assert_allclose(constant.observed, y["event"].mean(), atol=1e-7)
    assert constant.ici.value == pytest.approx(abs(y["event"].mean() - 0.4), abs=1e-7)


def test_too_few_events_have_no_curve() -> None:
    y, p = _binary(30, 5)
    y["event"][9:] = 0
    found = smooth_calibration(resamples(y, draws=20, seed=0).at(12.0), p)
    assert np.isnan([found.ici.value, found.e50.lower]).all()
    assert np.isnan(found.observed).all()


def test_separation_has_no_curve() -> None:
    y = make_outcome([1] * 20 + [0] * 20, [6.0] * 20 + [24.0] * 20)
    p = np.r_[np.linspace(0.8, 0.9, 20), np.linspace(0.1, 0.2, 20)][:, None]
    found = smooth_calibration(resamples(y, draws=0, seed=0).at(12.0), p)
    assert np.isnan(found.ici.value)


def test_probabilities_of_zero_and_one_are_endured() -> None:
    y, p = _binary(100, 6)
    p[:2, 0] = 0.0, 1.0
    assert np.isfinite(smooth_calibration(resamples(y, draws=0, seed=0).at(12.0), p).ici.value)


def test_spline_is_straight_outside_its_knots() -> None:
    knots = np.array([-1.0, 0.0, 1.5])
    for ends in (np.array([-9.0, -5.0, -1.0]), np.array([1.5, 4.0, 6.5])):
        slopes = np.diff(spline_basis(ends, knots), axis=0) / np.diff(ends)[:, None]
        np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-12)
