"""Scores fold by fold, and intervals that allow for training sets that overlap.

The bootstrap of pooled predictions holds the models fixed. Scores of single folds vary with the models too, but they
are not independent: training sets share most of their patients, and repeats share all. Nadeau and Bengio enlarge the
variance of their mean by the ratio of test to training size.

References
----------
Nadeau and Bengio 2003, doi:10.1023/A:1024068626366; for repeated cross-validation Bouckaert and Frank 2004,
doi:10.1007/978-3-540-24775-3_3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.evaluation.ranking import RankStatistic, side_weights
from radiomics_crlm.evaluation.resampling import Estimate, Ints, Resamples, ratio


@dataclass(frozen=True)
class FoldScores:
    """A score in each fold (repeats x folds, NaN where a fold has no comparable pair) and mean test / training size."""

    scores: Floats
    test_ratio: float

    @property
    def skipped(self) -> int:
        """Folds without a score."""
        return int(np.isnan(self.scores).sum())


def fold_scores(statistic: RankStatistic, risk: Floats, fold: Ints, sample: Resamples) -> FoldScores:
    """A rank statistic in each outer test fold.

    Parameters
    ----------
    statistic
        What is compared; censoring weights are those of all patients.
    risk, fold
        n x repeats.
    sample
        The n patients (the first row of the counts is used).
    """
    itself = Resamples(sample.y, sample.counts[:1])
    numbers = np.unique(fold)
    scores = np.empty((fold.shape[1], numbers.size))
    weighted = np.zeros((len(fold), len(fold)))
    for term in statistic.terms:
        left = side_weights(itself, statistic.weigh_at, term.row_power)[0]
        weighted += term.pairs * np.outer(left, side_weights(itself, statistic.weigh_at, term.column_power)[0])
    for repeat in range(fold.shape[1]):
        column = risk[:, repeat]
        agreed = weighted * (0.5 * (1.0 + np.sign(column[:, None] - column[None, :])))
        member = (fold[:, repeat, None] == numbers[None, :]).astype(float)
        scores[repeat] = ratio(((agreed @ member) * member).sum(axis=0), ((weighted @ member) * member).sum(axis=0))
    sizes = (fold[:, :, None] == numbers).sum(axis=0)
    return FoldScores(scores, float(ratio(sizes, len(fold) - sizes).mean()))


def nadeau_bengio(found: FoldScores, *, lowest: float, highest: float, null: float = 0.0) -> tuple[Estimate, float]:
    """Mean of fold-wise scores with the corrected resampled t interval, and the p-value of the mean being ``null``.

    Variance (1/J + test/training) s^2 with J - 1 degrees of freedom, J being the number of folds of all repeats that
    have a score. Limits are cut to the range of the score. NaN for fewer than two scores.

    >>> estimate, p = nadeau_bengio(FoldScores(np.array([[0.6, 0.7, 0.5, 0.6]]), 1 / 3), lowest=0, highest=1, null=0.5)
    >>> [round(number, 3) for number in (estimate.value, estimate.lower, estimate.upper, p)]
    [0.6, 0.402, 0.798, 0.207]
    """
    scores = found.scores[np.isfinite(found.scores)]
    if scores.size < 2 or not np.isfinite(found.test_ratio):
        value = float(scores.mean()) if scores.size else float("nan")
        return Estimate(value, float("nan"), float("nan")), float("nan")
    mean = float(scores.mean())
    error = float(np.sqrt((1.0 / scores.size + found.test_ratio) * scores.var(ddof=1)))
    reach = error * float(stats.t.ppf(0.975, scores.size - 1))
    if error == 0.0:
        p_value = 1.0 if mean == null else 0.0
    else:
        p_value = float(2 * stats.t.sf(abs(mean - null) / error, scores.size - 1))
    return Estimate(mean, max(mean - reach, lowest), min(mean + reach, highest)), p_value


def difference(first: FoldScores, second: FoldScores) -> FoldScores:
    """Scores of the first minus those of the second, fold by fold."""
    return FoldScores(first.scores - second.scores, first.test_ratio)
