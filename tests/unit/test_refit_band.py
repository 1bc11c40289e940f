"""The band of refitted models: groups of ten patients, always around the prediction."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.refit_band import Band, log_odds, refit_band


def test_limits_are_means_of_groups_of_similar_patients() -> None:
    rng = np.random.default_rng(0)
    prediction = rng.uniform(0.1, 0.9, 47)
    odds = log_odds(prediction)
    lower, upper = (1 / (1 + np.exp(-(odds + shift))) for shift in (-0.5, 0.8))
    band = refit_band(prediction, lower, upper)
    assert band is not None
    assert len(band.centre) == 4
    np.testing.assert_allclose(band.lower, -0.5)
    np.testing.assert_allclose(band.upper, 0.8)
    groups = np.array_split(np.sort(odds), 4)
    np.testing.assert_allclose(band.centre, [group.mean() for group in groups])


def test_the_band_holds_the_prediction() -> None:
    prediction = np.linspace(0.0, 1.0, 40)
    away = np.clip(prediction + 0.2, 0, 1)  # all refits predict more
    band = refit_band(prediction, away, away)
    assert band is not None
    low, high = band.around(prediction)
    assert (low <= prediction).all()
    assert (high >= prediction).all()
    assert ((low >= 0) & (high <= 1)).all()


def test_between_centres_it_is_linear_and_beyond_constant() -> None:
    band = Band(np.array([-1.0, 1.0]), np.array([-0.2, -0.4]), np.array([0.1, 0.3]))
    at = np.array([-3.0, 0.0, 2.0])
    low, high = band.around(1 / (1 + np.exp(-at)))
    np.testing.assert_allclose(log_odds(low) - at, [-0.2, -0.3, -0.4])
    np.testing.assert_allclose(log_odds(high) - at, [0.1, 0.2, 0.3])


def test_nine_patients_have_no_band() -> None:
    assert refit_band(np.full(9, 0.5), np.full(9, 0.4), np.full(9, 0.6)) is None


def test_equal_predictions_are_one_group() -> None:
    band = refit_band(np.full(60, 0.5), np.full(60, 0.4), np.full(60, 0.6))
    assert band is not None
    assert len(band.centre) == 1


def test_no_probability_is_refused() -> None:
    with pytest.raises(InputError, match="missing or outside 0 to 1"):
        refit_band(np.full(20, 0.5), np.full(20, np.nan), np.full(20, 0.6))
