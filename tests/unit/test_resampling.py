"""Within-fold concordance and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import harrell_c, survival_pairs
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.resampling import bootstrap_weights, percentile_estimate, stratified_concordance


def _data(n: int, seed: int, repeats: int = 1) -> tuple:
    generator = np.random.default_rng(seed)
    y = make_outcome(generator.integers(0, 3, n), generator.exponential(20, n).round())
    fold = np.stack([generator.permutation(np.arange(n) % 3) for _ in range(repeats)], axis=1)
    return y, generator.normal(size=(n, repeats)).round(1), fold


def test_scores_of_different_folds_are_never_compared() -> None:
    """Shifting one fold's risks changes nothing; pooled concordance would change."""
    y, risk, fold = _data(60, 1, 2)
    shifted = risk + 100.0 * fold
    before = stratified_concordance(survival_pairs(y), risk, fold).estimate()
    assert stratified_concordance(survival_pairs(y), shifted, fold).estimate() == before
    assert harrell_c(y, shifted[:, 0]) != harrell_c(y, risk[:, 0])


def test_one_fold_is_the_ordinary_index() -> None:
    y, risk, _ = _data(60, 2)
    sums = stratified_concordance(survival_pairs(y), risk, np.zeros((60, 1), dtype=int))
    assert sums.estimate() == pytest.approx(harrell_c(y, risk[:, 0]), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_replicates_equal_a_literal_resample(seed: int) -> None:
    """Each replicate is the statistic of the table in which patients are repeated as often as drawn."""
    y, risk, fold = _data(30, seed, 3)
    sums = stratified_concordance(survival_pairs(y), risk, fold)
    weights = bootstrap_weights(30, 5, seed)
    for weight, replicate in zip(weights, sums.replicates(weights), strict=True):
        rows = np.repeat(np.arange(30), weight.astype(int))
        again = stratified_concordance(survival_pairs(y[rows]), risk[rows], fold[rows]).estimate()
        assert replicate == pytest.approx(again, abs=1e-12)


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


def test_no_comparable_pair() -> None:
    y = make_outcome([0, 0], [1, 2])
    sums = stratified_concordance(survival_pairs(y), np.ones((2, 1)), np.zeros((2, 1), dtype=int))
    assert np.isnan(sums.estimate())
    assert np.isnan(sums.replicates(bootstrap_weights(2, 3, 0))).all()


def test_refusals() -> None:
    y, risk, fold = _data(10, 0)
    with pytest.raises(InputError, match="different shapes"):
        stratified_concordance(survival_pairs(y), risk[:5], fold[:5])
    risk[0] = np.nan
    with pytest.raises(InputError, match="1 risks are not finite"):
        stratified_concordance(survival_pairs(y), risk, fold)


@pytest.mark.slow
def test_interval_covers_the_truth() -> None:
    """Nominal 95 % for a fixed risk: the true C is found by a very large sample."""
    generator = np.random.default_rng(0)

    def sample(n: int) -> tuple:
        risk = generator.normal(size=n)
        event, censored = generator.exponential(np.exp(-0.7 * risk)), generator.exponential(2.0, n)
        return make_outcome(event < censored, np.minimum(event, censored)), risk

    truth = harrell_c(*sample(6000))
    hits = 0
    for seed in range(400):
        y, risk = sample(120)
        sums = stratified_concordance(survival_pairs(y), risk[:, None], np.zeros((120, 1), dtype=int))
        interval = percentile_estimate(sums.estimate(), sums.replicates(bootstrap_weights(120, 500, seed)))
        hits += interval.lower <= truth <= interval.upper
    assert 0.915 <= hits / 400 <= 0.98
