"""Brier score, log loss and their integrals: simple cases, resamples, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.survival_scores import (
    brier_values,
    expected_values,
    integrated_brier_values,
    integrated_values,
    log_loss_values,
    scaled_brier_values,
)

SCORES = [brier_values, scaled_brier_values, log_loss_values, expected_values]


def _censored(n: int, seed: int) -> Outcome:
    generator = np.random.default_rng(seed)
    return make_outcome(generator.integers(0, 3, n), generator.exponential(15, n).round())


def test_without_censoring_they_are_the_ordinary_ones() -> None:
    generator = np.random.default_rng(0)
    p = generator.random((200, 1))
    event = generator.random(200) < p[:, 0]
    sample = resamples(make_outcome(event, np.where(event, 6.0, 24.0)), draws=0, seed=0).at(12.0)
    brier, mean = brier_values(sample, p)[0], event.mean()
    assert brier == pytest.approx(brier_score_loss(event, p[:, 0]), abs=1e-12)
    assert scaled_brier_values(sample, p)[0] == pytest.approx(1 - brier / (mean * (1 - mean)), abs=1e-12)


def test_constant_prediction_of_the_incidence_scores_zero_when_scaled() -> None:
    y = _censored(150, 1)
    incidence = aalen_johansen(y["event"], y["months"]).at([12])[0]
    found = scaled_brier_values(resamples(y, draws=0, seed=0).at(12.0), np.full((150, 1), incidence))
    assert found[0] == pytest.approx(0.0, abs=1e-12)


def test_observed_is_aalen_johansen_and_expected_counts_everybody() -> None:
    """Patients censored early stay in the expected mean."""
    y = _censored(150, 2)
    p = np.random.default_rng(2).random((150, 3))
    ratio = expected_values(resamples(y, draws=0, seed=0).at(12.0), p)[0]
    assert ratio == pytest.approx(aalen_johansen(y["event"], y["months"]).at([12])[0] / p.mean(), abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_resamples_equal_a_literal_resample(score: object) -> None:
    y, p = _censored(40, 3), np.random.default_rng(3).random((40, 2))
    sample = resamples(y, draws=10, seed=3)
    for counts, value in zip(sample.counts, score(sample.at(12.0), p), strict=True):
        rows = np.repeat(np.arange(40), counts.astype(int))
        again = score(resamples(y[rows], draws=0, seed=0).at(12.0), p[rows])[0]
        assert value == pytest.approx(again, abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_repeats_of_the_same_prediction_change_nothing(score: object) -> None:
    y, p = _censored(60, 4), np.random.default_rng(4).random((60, 1))
    sample = resamples(y, draws=5, seed=4).at(12.0)
    np.testing.assert_allclose(score(sample, p), score(sample, np.repeat(p, 3, axis=1)), atol=1e-12)


def test_a_wrong_certainty_costs_much_but_not_everything() -> None:
    sample = resamples(make_outcome([1, 0], [3, 30]), draws=0, seed=0).at(12.0)
    found = log_loss_values(sample, np.array([[0.0], [0.5]]))[0]
    assert 15 < found < 20


def test_integral_is_a_mean_over_time() -> None:
    y = _censored(60, 5)
    sample = resamples(y, draws=0, seed=0)
    p = np.random.default_rng(5).random((60, 1))
    score, scaled = integrated_brier_values([sample.at(6.0), sample.at(12.0)], [p, p], [6.0, 12.0])
    each = [brier_values(sample.at(m), p)[0] for m in (6.0, 12.0)]
    assert score[0] == pytest.approx(np.mean(each))
    assert scaled[0] < 1


@pytest.mark.parametrize("horizons", [[12.0], [12.0, 12.0], [24.0, 12.0]])
def test_refuses_horizons(horizons: list[float]) -> None:
    with pytest.raises(InputError, match="increasing horizons"):
        integrated_values([np.ones(1)] * len(horizons), horizons)
