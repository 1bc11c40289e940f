"""Paired permutation test: could the labels of two models be swapped, patient by patient?

Both scores are put on the same scale - ranks within each fold - and swapped for a random half of the patients, in all
repeats at once. With s the swaps (+1 or -1), the difference of two rank statistics of the swapped scores is linear in s
although the statistics are quadratic in the patients, so a permutation costs one dot product: the value is the sum of s
times a gain per patient. Losses are averages over patients, so the same holds for their differences.

References
----------
Venkatraman and Begg 1996, doi:10.1093/biomet/83.4.835.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.evaluation.ranking import RankStatistic, fold_agreement, fold_mates, side_weights
from radiomics_crlm.evaluation.resampling import Ints, Resamples

# Differences of sums in another order are not larger in truth.
_ROUNDING = 1e-10


def rank_gains(statistic: RankStatistic, first: Floats, second: Floats, fold: Ints, sample: Resamples) -> Floats:
    """What each patient adds to the difference of a rank statistic, first minus second; the sum is the difference.

    Parameters
    ----------
    statistic
        What is compared.
    first, second
        n x repeats, higher = event more likely.
    fold
        n x repeats, outer test fold.
    sample
        The n patients (the first row of the counts is used).
    """
    a, b = ranks_in_folds(first, fold), ranks_in_folds(second, fold)
    mates = fold_mates(fold)
    # Agreement of the row under one score with the column under the other.
    aa, bb, ab, ba = (fold_agreement(x, z, fold) for x, z in ((a, a), (b, b), (a, b), (b, a)))
    itself = Resamples(sample.y, sample.counts[:1])
    gains, total = np.zeros(len(fold)), 0.0
    for term in statistic.terms:
        left = side_weights(itself, statistic.weigh_at, term.row_power)[0]
        right = side_weights(itself, statistic.weigh_at, term.column_power)[0]
        weighted = term.pairs * np.outer(left, right)
        rows = (weighted * (aa - bb + ab - ba)).sum(axis=1)
        columns = (weighted * (aa - bb - ab + ba)).sum(axis=0)
        gains += 0.5 * (rows + columns)
        total += float((weighted * mates).sum())
    return gains / total if total > 0 else np.full(len(fold), np.nan)


def ranks_in_folds(risk: Floats, fold: Ints) -> Floats:
    """Mean ranks within each fold of each repeat, as shares of the fold, 0 to 1.

    >>> ranks_in_folds(np.array([[5.0], [7.0], [1.0], [1.0]]), np.array([[0], [0], [1], [1]])).ravel().tolist()
    [0.25, 0.75, 0.5, 0.5]
    """
    ranks = np.empty(risk.shape)
    for column, (values, folds) in enumerate(zip(risk.T, fold.T, strict=True)):
        together = folds[:, None] == folds[None, :]
        below = np.where(together, 0.5 * (1.0 + np.sign(values[:, None] - values[None, :])), 0.0)
        ranks[:, column] = below.sum(axis=1) / together.sum(axis=1)
    return ranks


def permutation_p(gains: Floats, *, draws: int, seed: int) -> float:
    """Two-sided p-value of the sum of the gains under random signs: (larger or equal in size + 1) / (draws + 1).

    NaN if a gain is not known.

    >>> permutation_p(np.zeros(5), draws=99, seed=1)
    1.0
    """
    if not np.isfinite(gains).all():
        return float("nan")
    signs = np.random.default_rng(seed).integers(0, 2, size=(draws, gains.size), dtype=np.int8) * 2.0 - 1.0
    reached = np.abs(signs @ gains) >= abs(float(gains.sum())) - _ROUNDING
    return float((reached.sum() + 1) / (draws + 1))


def holm(p_values: npt.ArrayLike) -> Floats:
    """p-values corrected for their number by Holm's method; unknown ones stay unknown and do not count.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(p.shape, np.nan)
    steps = p[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if order.size else steps
    return corrected
