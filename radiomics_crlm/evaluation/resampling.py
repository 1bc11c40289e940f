"""Concordance of out-of-fold risks, and bootstrap intervals over patients.

Risks of different folds come from different models on different scales, so only pairs of the same fold are compared;
concordant and comparable weights are summed over folds and repeats before dividing. The sums are kept as two n x n
matrices; with w the number of times each patient was drawn, every bootstrap replicate is ``w' concordant w / w'
comparable w``. The predictions are held fixed: the interval says how much the estimate depends on who was tested, not
how much the models would change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import agreement
from radiomics_crlm.evaluation.outcome import Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its 95 % limits; all NaN if it cannot be computed."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PairSums:
    """Comparable and concordant weight of each ordered pair of patients, summed over folds and repeats."""

    comparable: Floats
    concordant: Floats

    def estimate(self) -> float:
        """Concordance; NaN if no pair is comparable."""
        total = float(self.comparable.sum())
        return float(self.concordant.sum()) / total if total > 0 else float("nan")

    def replicates(self, weights: Floats) -> Floats:
        """Concordance of each bootstrap draw (rows of ``weights``, draws x n); NaN where a draw has no
        comparable pair."""
        total = ((weights @ self.comparable) * weights).sum(axis=1)
        agreed = ((weights @ self.concordant) * weights).sum(axis=1)
        return np.divide(agreed, total, out=np.full(total.size, np.nan), where=total > 0)


def stratified_concordance(pairs: Floats, risk: Floats, fold: Ints) -> PairSums:
    """Pair weights of out-of-fold risks, pairs of the same fold only.

    Parameters
    ----------
    pairs
        n x n, weight with which the row should have the higher risk than the column
        (``discrimination.endpoint_pairs``).
    risk
        n x repeats, finite.
    fold
        n x repeats, outer test fold of each patient in each repeat.

    Raises
    ------
    InputError
        For shapes that differ or a risk that is not finite.
    """
    n = pairs.shape[0]
    if risk.shape != fold.shape or risk.shape[:1] != (n,) or pairs.shape != (n, n):
        raise InputError("pairs, risk and fold have different shapes", got=f"{pairs.shape}, {risk.shape}, {fold.shape}")
    if not np.isfinite(risk).all():
        raise InputError(f"{int((~np.isfinite(risk)).sum())} risks are not finite", where="risk")
    comparable, concordant = np.zeros((n, n)), np.zeros((n, n))
    for column in range(risk.shape[1]):
        together = pairs * (fold[:, column, None] == fold[None, :, column])
        comparable += together
        concordant += together * agreement(risk[:, column])
    return PairSums(comparable, concordant)


def bootstrap_weights(n: int, draws: int, seed: int) -> Floats:
    """How often each of n patients is drawn in each bootstrap sample: draws x n, rows sum to n.

    >>> bootstrap_weights(4, 3, seed=1).sum(axis=1).tolist()
    [4.0, 4.0, 4.0]
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(float)


def percentile_estimate(value: float, replicates: Floats) -> Estimate:
    """95 % percentile interval. NaN if more than 1 % of the draws could not be evaluated: they are not ignorable
    then."""
    finite = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or finite.size < 0.99 * replicates.size:
        return Estimate(value, float("nan"), float("nan"))
    lower, upper = np.quantile(finite, (0.025, 0.975))
    return Estimate(value, float(lower), float(upper))
