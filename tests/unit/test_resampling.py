"""Bootstrap resamples and percentile intervals."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.evaluation.incidence import aalen_johansen, censoring_survival, resampled_incidence
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.evaluation.resampling import (
    Resamples,
    bootstrap_weights,
    estimate_of,
    percentile_estimate,
    resamples,
)


def _outcome(n: int, seed: int) -> Outcome:
    generator = np.random.default_rng(seed)
    return make_outcome(generator.integers(0, 3, n), generator.exponential(20, n).round())


def literal(y: Outcome, counts: np.ndarray) -> np.ndarray:
    """Rows of the table in which patients are repeated as often as drawn."""
    return np.repeat(np.arange(y.size), counts.astype(int))


@pytest.mark.parametrize("seed", range(20))
def test_weights_equal_those_of_a_literal_resample(seed: int) -> None:
    y = _outcome(30, seed)
    sample = resamples(y, draws=5, seed=seed)
    at = sample.at(12.0)
    for counts, weights in zip(sample.counts, at.weights, strict=True):
        rows = literal(y, counts)
        label, expected = horizon_labels(y[rows], 12.0)
        np.testing.assert_allclose(weights[rows] / counts[rows], expected, atol=1e-12)
        np.testing.assert_array_equal(at.label[rows], label)
    for counts, weights in zip(sample.counts, sample.censoring_weights(y["months"]), strict=True):
        rows = literal(y, counts)
        again = y[rows]
        np.testing.assert_allclose(
            weights[rows], 1 / censoring_survival(again["event"], again["months"], again["months"]), rtol=1e-12
        )
        assert (weights[counts == 0] == 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_incidence_equals_that_of_a_literal_resample(seed: int) -> None:
    y = _outcome(30, seed)
    sample = resamples(y, draws=5, seed=seed)
    for month in (0.0, 7.0, 12.5, 25.0):
        for counts, value in zip(sample.counts, resampled_incidence(y, month, sample.counts), strict=True):
            again = y[literal(y, counts)]
            if (again["months"] >= month).any():
                expected = aalen_johansen(again["event"], again["months"]).at([month])[0]
                assert value == pytest.approx(expected, abs=1e-12)


def test_incidence_is_not_guessed() -> None:
    """Beyond the end of follow-up it is known only if nobody is left."""
    counts = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    y = make_outcome([1, 2, 0], [3, 5, 9])
    np.testing.assert_allclose(resampled_incidence(y, 12.0, counts), [np.nan, 0.5, np.nan])
    np.testing.assert_allclose(resampled_incidence(y, 9.0, counts), [1 / 3, 0.5, np.nan])
    np.testing.assert_allclose(resampled_incidence(y, 1.0, counts), [0.0, 0.0, np.nan])


def test_incidence_is_the_weighted_mean_label() -> None:
    sample = resamples(_outcome(60, 3), draws=20, seed=1)
    np.testing.assert_allclose(sample.at(12.0).incidence, resampled_incidence(sample.y, 12.0, sample.counts))


def test_the_first_row_is_the_sample() -> None:
    sample = resamples(_outcome(10, 0), draws=3, seed=1)
    assert sample.counts.shape == (4, 10)
    assert (sample.counts[0] == 1).all()
    assert resamples(_outcome(10, 0), draws=0, seed=1).counts.shape == (1, 10)


def test_bootstrap_is_seeded() -> None:
    assert (bootstrap_weights(10, 5, 1) == bootstrap_weights(10, 5, 1)).all()
    assert (bootstrap_weights(10, 5, 1) != bootstrap_weights(10, 5, 2)).any()


def test_interval_is_withheld_when_draws_fail() -> None:
    replicates = np.linspace(0, 1, 1000)
    few, many = replicates.copy(), replicates.copy()
    few[:5], many[:50] = np.nan, np.nan
    assert np.isfinite(percentile_estimate(0.5, few).lower)
    assert np.isnan(percentile_estimate(0.5, many).lower)
    assert np.isnan(percentile_estimate(float("nan"), replicates).upper)
    assert np.isnan(estimate_of(np.array([0.5])).lower)


def test_weights_are_computed_once() -> None:
    sample = Resamples(_outcome(10, 0), np.ones((1, 10)))
    first = sample.censoring_weights(np.full(10, 3.0))
    assert sample.censoring_weights(np.full(10, 3.0)) is first
