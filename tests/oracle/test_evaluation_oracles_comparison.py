"""Nadeau-Bengio, Holm and the permutation test against other computations of the same thing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from random_outcomes import CLOSED_FORM, SEEDS, deal, draw
from scipy.stats import rankdata, ttest_rel
from statsmodels.stats.multitest import multipletests

from radiomics_crlm.evaluation.discrimination import harrell_c
from radiomics_crlm.evaluation.fold_intervals import FoldScores, difference, fold_scores, nadeau_bengio
from radiomics_crlm.evaluation.outcome import horizon_labels
from radiomics_crlm.evaluation.permutation import holm, permutation_p, rank_gains, ranks_in_folds
from radiomics_crlm.evaluation.ranking import auc_at, competing_risks, harrell, whole_sample, within_folds
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.survival_scores import squared_losses


def test_holm_equals_statsmodels() -> None:
    for seed in range(20):
        p = _p_values(seed)
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=CLOSED_FORM)


def test_holm_decides_as_the_sequential_procedure() -> None:
    """Reject the smallest of m at level / m, the next at level / (m - 1), and stop at the first that is kept."""
    for seed in SEEDS:
        p = _p_values(seed)
        for level in (0.01, 0.033, 0.05, 0.2):
            rejected = np.zeros(p.size, dtype=bool)
            for step, position in enumerate(np.argsort(p, kind="stable")):
                if p[position] * (p.size - step) > level:
                    break
                rejected[position] = True
            np.testing.assert_array_equal(holm(p) <= level, rejected)


def _p_values(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.random(int(generator.integers(1, 12))).round(3) / 3


def test_fold_scores_are_those_of_each_fold() -> None:
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
        fold = deal(y.size, 2, 3, generator)
        risk = generator.normal(size=fold.shape).round(1)
        found = fold_scores(harrell(y), risk, fold, resamples(y, draws=0, seed=0))
        for repeat, number in product(range(2), range(3)):
            inside = fold[:, repeat] == number
            expected = harrell_c(y[inside], risk[inside, repeat])
            assert found.scores[repeat, number] == pytest.approx(expected, abs=CLOSED_FORM, nan_ok=True)
        sizes = np.array([[(fold[:, r] == k).sum() for k in range(3)] for r in range(2)])
        assert found.test_ratio == pytest.approx((sizes / (y.size - sizes)).mean())


def test_nadeau_bengio_is_the_t_test_with_a_corrected_error() -> None:
    """Without test patients it would be the paired t test; the correction enlarges t's error by a known factor."""
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        a, b = generator.normal(0.6, 0.1, size=(2, 4, 5))
        repeats, ratio = 20, 0.25
        plain, corrected = (difference(FoldScores(a, r), FoldScores(b, r)) for r in (0.0, ratio))
        oracle = ttest_rel(a.ravel(), b.ravel())
        limits = oracle.confidence_interval(0.95)
        estimate, p_value = nadeau_bengio(plain, lowest=-1, highest=1)
        np.testing.assert_allclose(
            [estimate.lower, estimate.upper, p_value], [limits.low, limits.high, oracle.pvalue], atol=CLOSED_FORM
        )
        wide, _ = nadeau_bengio(corrected, lowest=-1, highest=1)
        factor = np.sqrt(1 + repeats * ratio)
        assert wide.upper - wide.value == pytest.approx(factor * (estimate.upper - estimate.value), abs=CLOSED_FORM)


@pytest.mark.parametrize("statistic", [harrell, lambda y: auc_at(y, 6.0), lambda y: competing_risks(y, 9.0)])
def test_gains_give_the_difference_after_any_swap(statistic: object) -> None:
    """The linear form equals the statistics of the swapped ranks, computed anew."""
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, largest=30)
        fold = deal(y.size, 2, 2, generator)
        first, second = generator.normal(size=(2, *fold.shape)).round(1)
        alone = resamples(y, draws=0, seed=0)
        gains = rank_gains(statistic(y), first, second, fold, alone)
        a, b = ranks_in_folds(first, fold), ranks_in_folds(second, fold)
        signs = generator.choice([-1, 1], y.size)
        keep = (signs == 1)[:, None]
        values = [
            within_folds(statistic(y), score, fold, alone)[0] for score in (np.where(keep, a, b), np.where(keep, b, a))
        ]
        assert (signs * gains).sum() == pytest.approx(values[0] - values[1], abs=CLOSED_FORM, nan_ok=True)
        plain = [within_folds(statistic(y), score, fold, alone)[0] for score in (first, second)]
        assert gains.sum() == pytest.approx(plain[0] - plain[1], abs=CLOSED_FORM, nan_ok=True)


def test_ranks_equal_scipy() -> None:
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        fold = deal(23, 2, 3, generator)
        risk = generator.normal(size=fold.shape).round(1)
        found = ranks_in_folds(risk, fold)
        for repeat, number in product(range(2), range(3)):
            inside = fold[:, repeat] == number
            expected = (rankdata(risk[inside, repeat]) - 0.5) / inside.sum()
            np.testing.assert_allclose(found[inside, repeat], expected, atol=CLOSED_FORM)


def test_permutation_p_approaches_that_of_all_swaps() -> None:
    """Ten patients: all 1024 swaps can be listed."""
    worst = 0.0
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        gains = generator.normal(0.3, 1.0, 10)
        every = np.array(list(product([-1, 1], repeat=10)))
        exact = (np.abs(every @ gains) >= abs(gains.sum()) - 1e-12).mean()
        worst = max(worst, abs(permutation_p(gains, draws=4000, seed=seed) - exact))
    assert worst < 0.03  # four standard errors of a simulated share


def test_difference_in_brier_score_is_a_sum_of_gains() -> None:
    for seed in SEEDS:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True)
        p = 1 / (1 + np.exp(-np.stack((risk, generator.normal(size=y.size)))))
        label, weight = horizon_labels(y, 6.0)
        sample = resamples(y, draws=0, seed=0).at(6.0)
        losses = [squared_losses(sample, q[:, None]) for q in p]
        expected = [(weight * (label - q) ** 2).mean() for q in p]
        found = (sample.weights[0] * (losses[0] - losses[1])).sum() / y.size
        assert found == pytest.approx(expected[0] - expected[1], abs=CLOSED_FORM)


def test_whole_sample_needs_no_folds() -> None:
    y, risk, _ = draw(3, competing=True, mixed_ties=True)
    one = np.zeros((y.size, 1), dtype=int)
    folded = within_folds(harrell(y), risk[:, None], one, resamples(y, draws=0, seed=0))[0]
    assert whole_sample(harrell(y), y, risk) == folded
