"""The paired permutation test: size under exchangeability, power, and what it ignores."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.evaluation.permutation import holm, permutation_p, rank_gains
from radiomics_crlm.evaluation.ranking import harrell
from radiomics_crlm.evaluation.resampling import resamples


def _scores(seed: int, n: int = 100) -> tuple[Outcome, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=(n, 1))
    event, censored = generator.exponential(20 * np.exp(-risk[:, 0])), generator.uniform(0, 60, n)
    fold = generator.permutation(np.arange(n) % 3)[:, None]
    return make_outcome(event < censored, np.minimum(event, censored)), risk, fold


def _p(y: Outcome, a: np.ndarray, b: np.ndarray, fold: np.ndarray, draws: int = 400) -> float:
    gains = rank_gains(harrell(y), a, b, fold, resamples(y, draws=0, seed=0))
    return permutation_p(gains, draws=draws, seed=1)


def test_exchangeable_scores_are_rejected_as_often_as_they_should() -> None:
    p = []
    for seed in range(300):
        generator = np.random.default_rng(10_000 + seed)
        y, risk, fold = _scores(seed, n=60)
        p.append(_p(y, *(risk + generator.normal(size=risk.shape) for _ in range(2)), fold, draws=200))
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09
    assert 0.4 <= np.mean(p) <= 0.6


def test_a_real_difference_is_found_whatever_the_scale() -> None:
    y, risk, fold = _scores(1)
    noise = np.random.default_rng(2).normal(size=risk.shape)
    assert _p(y, risk, noise, fold) < 0.02
    assert _p(y, np.exp(5 * risk), noise, fold) == _p(y, risk, noise, fold)
    assert _p(y, noise, risk, fold) == _p(y, risk, noise, fold)


def test_a_monotone_copy_is_no_difference() -> None:
    y, risk, fold = _scores(3)
    assert _p(y, risk, risk**3, fold) == 1.0


def test_nothing_to_compare_has_no_p_value() -> None:
    y = make_outcome([0, 0, 0], [1, 2, 3])
    one = np.arange(3.0)[:, None]
    gains = rank_gains(harrell(y), one, -one, np.zeros((3, 1), dtype=int), resamples(y, draws=0, seed=0))
    assert np.isnan(permutation_p(gains, draws=50, seed=0))


def test_holm_leaves_unknown_ones_out() -> None:
    found = holm([0.02, np.nan, 0.03])
    np.testing.assert_allclose(found, [0.04, np.nan, 0.04])
    assert holm([]).size == 0
