"""Nadeau-Bengio, Holm, bootstrap and permutation against other computations of the same thing."""

from __future__ import annotations

from itertools import product

import numpy as np
import plain_statistics as plain
import pytest
from lifelines.utils import concordance_index
from oracle_comparison import Compare, oracle
from random_outcomes import deal, draw
from scipy.stats import permutation_test, rankdata, ttest_rel
from statsmodels.stats.multitest import multipletests

from radiomics_crlm.evaluation.comparison import compare as compare_scores
from radiomics_crlm.evaluation.comparison import paired_difference
from radiomics_crlm.evaluation.fold_intervals import FoldScores, difference, fold_scores, nadeau_bengio
from radiomics_crlm.evaluation.instability import bootstrap_samples, instability_of, prediction_instability
from radiomics_crlm.evaluation.permutation import holm, permutation_p, rank_gains, ranks_in_folds
from radiomics_crlm.evaluation.ranking import auc_at, competing_risks, harrell, whole_sample, within_folds
from radiomics_crlm.evaluation.resampling import estimate_of, percentile_estimate, ratio, resamples
from radiomics_crlm.evaluation.survival_scores import squared_losses

_HOLM = "Holm 1979, A simple sequentially rejective multiple test procedure, doi:10.2307/4615733"


def _p_values(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.random(int(generator.integers(1, 12))).round(3) / 3


# statsmodels collects garbage in every call, which takes long in a process that has much of it.
@oracle("Holm's correction", against="statsmodels", covers=("permutation.holm",), fast=20)
def test_holm_equals_statsmodels(compare: Compare) -> None:
    for seed in compare:
        p = _p_values(seed)
        compare(seed, holm(p), multipletests(p, method="holm")[1])


@oracle("Holm's decisions", against=f"written plainly ({_HOLM})", covers=("permutation.holm",))
def test_holm_decides_as_the_sequential_procedure(compare: Compare) -> None:
    """Reject the smallest of m at level / m, the next at level / (m - 1), and stop at the first that is kept."""
    for seed in compare:
        p = _p_values(seed)
        for level in (0.01, 0.033, 0.05, 0.2):
            rejected = np.zeros(p.size, dtype=bool)
            for step, position in enumerate(np.argsort(p, kind="stable")):
                if p[position] * (p.size - step) > level:
                    break
                rejected[position] = True
            compare(seed, holm(p) <= level, rejected)


@oracle("Scores of single folds", against="lifelines fold by fold", covers=("fold_intervals.fold_scores",))
def test_fold_scores_are_those_of_each_fold(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
        fold = deal(y.size, 2, 3, generator)
        risk = generator.normal(size=fold.shape).round(1)
        found = fold_scores(harrell(y), risk, fold, resamples(y, draws=0, seed=0))
        for repeat, number in product(range(2), range(3)):
            inside = fold[:, repeat] == number
            first = y["months"][inside][y["event"][inside] == 1].min(initial=np.inf)
            if first < y["months"][inside].max():
                event = y["event"][inside] == 1
                expected = concordance_index(y["months"][inside], -risk[inside, repeat], event)
                compare(seed, found.scores[repeat, number], expected)
        sizes = np.array([[(fold[:, r] == k).sum() for k in range(3)] for r in range(2)])
        compare(seed, found.test_ratio, (sizes / (y.size - sizes)).mean())


@oracle(
    "Nadeau-Bengio interval and p-value",
    against="SciPy's paired t test, corrected by the factor of doi:10.1023/A:1024068626366",
    covers=("fold_intervals.nadeau_bengio", "fold_intervals.difference"),
)
def test_nadeau_bengio_is_the_t_test_with_a_corrected_error(compare: Compare) -> None:
    """Without test patients it would be the paired t test; the correction enlarges t's error by a known factor."""
    for seed in compare:
        generator = np.random.default_rng(seed)
        repeats, folds = int(generator.integers(1, 6)), int(generator.integers(2, 8))
        a, b = generator.normal(0.6, 0.1, size=(2, repeats, folds))
        test_ratio = 1 / (folds - 1)
        plain_scores, corrected = (difference(FoldScores(a, r), FoldScores(b, r)) for r in (0.0, test_ratio))
        test = ttest_rel(a.ravel(), b.ravel())
        limits = test.confidence_interval(0.95)
        estimate, p_value = nadeau_bengio(plain_scores, lowest=-9, highest=9)
        compare(seed, [estimate.lower, estimate.upper, p_value], [limits.low, limits.high, test.pvalue])
        wide, _ = nadeau_bengio(corrected, lowest=-9, highest=9)
        factor = np.sqrt(1 + repeats * folds * test_ratio)
        compare(seed, wide.upper - wide.value, factor * (limits.high - estimate.value))


# --- permutation -----------------------------------------------------------------------------------------------------


@oracle(
    "Permutation test: difference after any swap",
    against="written plainly, statistics computed anew (Venkatraman and Begg 1996, doi:10.1093/biomet/83.4.835)",
    covers=("permutation.rank_gains",),
)
@pytest.mark.parametrize("statistic", [harrell, lambda y: auc_at(y, 6.0), lambda y: competing_risks(y, 9.0)])
def test_gains_give_the_difference_after_any_swap(compare: Compare, statistic: object) -> None:
    """The linear form equals the statistics of the swapped ranks, computed anew."""
    for seed in compare:
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
        compare(seed, (signs * gains).sum(), values[0] - values[1], nan_ok=True)
        unswapped = [within_folds(statistic(y), score, fold, alone)[0] for score in (first, second)]
        compare(seed, gains.sum(), unswapped[0] - unswapped[1], nan_ok=True)


@oracle("Ranks within folds", against="SciPy", covers=("permutation.ranks_in_folds",))
def test_ranks_equal_scipy(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        fold = deal(int(generator.integers(6, 40)), 2, 3, generator)
        risk = generator.normal(size=fold.shape).round(1)
        found = ranks_in_folds(risk, fold)
        for repeat, number in product(range(2), range(3)):
            inside = fold[:, repeat] == number
            compare(seed, found[inside, repeat], (rankdata(risk[inside, repeat]) - 0.5) / inside.sum())


@oracle(
    "Permutation test: p-value",
    against="lifelines, C of the scores swapped patient by patient with the same signs",
    covers=("permutation.permutation_p", "permutation.rank_gains"),
)
def test_permutation_p_equals_swapping_patient_by_patient(compare: Compare) -> None:
    for seed in compare:
        y, first, generator = draw(seed, competing=False, smallest=12, largest=18)
        if not y["months"][y["event"] == 1].min() < y["months"].max():
            continue
        second = generator.normal(size=y.size).round(1)
        a, b = rankdata(first), rankdata(second)

        def gap(x: np.ndarray, z: np.ndarray, y: np.ndarray = y) -> float:
            one, other = (concordance_index(y["months"], -score, y["event"] == 1) for score in (x, z))
            return abs(one - other)

        signs = np.random.default_rng(seed).integers(0, 2, size=(19, y.size), dtype=np.int8) * 2.0 - 1.0
        reached = sum(gap(np.where(s > 0, a, b), np.where(s > 0, b, a)) >= gap(a, b) - 1e-10 for s in signs)
        one, alone = np.zeros((y.size, 1), dtype=int), resamples(y, draws=0, seed=0)
        gains = rank_gains(harrell(y), first[:, None], second[:, None], one, alone)
        compare(seed, permutation_p(gains, draws=19, seed=seed), (reached + 1) / 20)


@oracle(
    "Permutation test: p-value of many draws",
    against="SciPy's exact permutation test (all 1024 swaps; six standard errors of a simulated share)",
    covers=("permutation.permutation_p",),
    tolerance=0.03,
)
def test_permutation_p_approaches_that_of_all_swaps(compare: Compare) -> None:
    """Ten patients: all swaps can be listed."""
    for seed in compare:
        gains = np.random.default_rng(seed).normal(0.3, 1.0, 10)
        exact = permutation_test((gains,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False)
        compare(seed, permutation_p(gains, draws=10_000, seed=seed), exact.pvalue)


@oracle(
    "Permutation test: difference in Brier score",
    against="written plainly (Graf et al. 1999)",
    covers=("survival_scores.squared_losses",),
)
def test_difference_in_brier_score_is_a_sum_of_gains(compare: Compare) -> None:
    for seed in compare:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True)
        p = 1 / (1 + np.exp(-np.stack((risk, generator.normal(size=y.size)))))
        label, weight = plain.labels(y, 6.0)
        sample = resamples(y, draws=0, seed=0).at(6.0)
        losses = [squared_losses(sample, q[:, None]) for q in p]
        expected = [(weight * (label - q) ** 2).mean() for q in p]
        found = (sample.weights[0] * (losses[0] - losses[1])).sum() / y.size
        compare(seed, found, expected[0] - expected[1])


# --- bootstrap -------------------------------------------------------------------------------------------------------


@oracle(
    "Percentile interval",
    against="written plainly (Efron and Tibshirani 1993, chapter 13; quantiles doi:10.2307/2684934)",
    covers=("resampling.percentile_estimate", "resampling.estimate_of", "resampling.ratio", "resampling.Estimate"),
)
def test_percentile_interval_equals_sorting(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        values = generator.normal(size=int(generator.integers(2, 400)))
        found = [percentile_estimate(0.5, values), estimate_of(np.r_[0.5, values])]
        expected = [0.5, *plain.percentile_limits(values)]
        compare(seed, [[e.value, e.lower, e.upper] for e in found], [expected, expected])
        over = generator.integers(0, 3, values.size).astype(float)
        quotients = [v / o if o > 0 else np.nan for v, o in zip(values, over, strict=True)]
        compare(seed, ratio(values, over), quotients, nan_ok=True)


@oracle(
    "Paired difference: bootstrap interval and p-value",
    against="written plainly, C and AUC pair by pair in tables that repeat the patients drawn",
    covers=("comparison.compare", "comparison.paired_difference", "comparison.Comparison"),
    fast=60,
)
@pytest.mark.parametrize("horizon", [None, 6.0])
def test_paired_difference_equals_the_loop(compare: Compare, horizon: float | None) -> None:
    for seed in compare:
        y, first, generator = draw(seed, competing=True, mixed_ties=True, smallest=14, largest=18)
        second, fold = generator.normal(size=y.size).round(1), deal(y.size, 1, 2, generator)
        kind, draws = ("time_to_event" if horizon is None else "binary"), 12
        found = compare_scores(
            y, first[:, None], second[:, None], fold, kind=kind, horizon=horizon, seed=seed, draws=draws
        )
        values = []
        for counts in resamples(y, draws=draws, seed=seed).counts:
            rows = plain.drawn_rows(counts)
            parts = [
                plain.concordance(y[rows], score[rows], fold[rows, 0])
                if horizon is None
                else plain.auc_by_horizon(y[rows], score[rows], horizon, fold[rows, 0])
                for score in (first, second)
            ]
            values.append(parts[0] - parts[1])
        drawn = np.array(values[1:])
        if not np.isfinite(values).all() or (np.abs(drawn) < 1e-12).any():  # the sign of 0 is rounding
            continue
        below, above = (drawn <= 0).sum(), (drawn >= 0).sum()
        p_value = min(1.0, 2 * (min(below, above) + 1) / (draws + 1))
        e = found.difference
        compare(seed, [e.value, e.lower, e.upper, found.p_value], [values[0], *plain.percentile_limits(drawn), p_value])
        again, p_again = paired_difference(values[0], drawn, np.zeros(draws))
        compare(seed, [again.lower, p_again], [plain.quantile(drawn, 0.025), p_value])


@oracle(
    "Prediction instability",
    against="written plainly (Riley and Collins 2023, doi:10.1002/bimj.202200302)",
    covers=(
        "instability.prediction_instability",
        "instability.instability_of",
        "instability.bootstrap_samples",
        "instability.Instability",
    ),
)
def test_instability_equals_the_loop(compare: Compare) -> None:
    """The model is the share of events among the patients on one's own side of a cut."""
    for seed in compare:
        generator = np.random.default_rng(seed)
        n, draws = int(generator.integers(10, 40)), int(generator.integers(2, 9))
        x, event = generator.normal(size=n), generator.integers(0, 2, n).astype(float)

        def share(rows: np.ndarray, x: np.ndarray = x, event: np.ndarray = event) -> np.ndarray:
            both = [(event[rows][side[rows]].sum() + 1) / (side[rows].sum() + 2) for side in (x < 0, x >= 0)]
            return np.where(x < 0, both[0], both[1])

        seen: list[np.ndarray] = []

        def fit_predict(rows: np.ndarray, share: object = share, seen: list[np.ndarray] = seen) -> np.ndarray:
            seen.append(share(rows))
            return seen[-1]

        original = share(np.arange(n))
        found = prediction_instability(fit_predict, original, draws=draws, seed=seed, threshold=0.45)
        distance = [np.mean([abs(made[i] - original[i]) for made in seen]) for i in range(n)]
        moved = [np.mean([(made[i] >= 0.45) != (original[i] >= 0.45) for made in seen]) for i in range(n)]
        limits = [plain.percentile_limits([made[i] for made in seen]) for i in range(n)]
        table = found.table
        compare(seed, table[["mape", "reclassified"]], np.column_stack((distance, moved)))
        compare(seed, table[["lower", "upper"]], limits)
        compare(seed, found.mape, np.mean(distance))
        drawn = bootstrap_samples(n, draws=draws, seed=seed)
        compare(seed, [share(rows) for rows in drawn], seen)
        assert all((rows == sorted(rows)).all() and set(rows) <= set(range(n)) for rows in drawn)
        again = instability_of(np.array(seen), original, threshold=0.45)
        compare(seed, again.table[["mape", "reclassified"]], np.column_stack((distance, moved)))


def test_whole_sample_needs_no_folds() -> None:
    y, risk, _ = draw(3, competing=True, mixed_ties=True)
    one = np.zeros((y.size, 1), dtype=int)
    folded = within_folds(harrell(y), risk[:, None], one, resamples(y, draws=0, seed=0))[0]
    assert whole_sample(harrell(y), y, risk) == folded
