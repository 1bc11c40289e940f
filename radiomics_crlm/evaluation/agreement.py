"""Agreement of repeated measurements: intraclass correlation with F-based intervals, for many features at once.

Two-way model: each of n subjects is measured by the same k raters (readers, perturbations, repeats). ICC(2,1) asks
whether raters give the same values, ICC(3,1) whether they differ by no more than a shift that is common to all
subjects. Definitions: Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420; intervals: McGraw and Wong 1996,
doi:10.1037/1082-989X.1.1.30.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats

AgreementKind = Literal["agreement", "consistency"]
Names = npt.NDArray[np.str_]

FEWEST_SUBJECTS = 3
"""With two subjects the denominator of ICC(2,1) can vanish although the values vary."""
# Differences of this size relative to the values are rounding of the computation that made them.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Agreement:
    """ICC of p features with interval.

    Parameters
    ----------
    estimate, lower, upper
        Length p; at most 1. NaN only where the flag says ``too_few_subjects``.
    subjects
        Length p; subjects without a missing rating, on which the numbers rest.
    flag
        Length p: empty; ``identical`` (raters agree to the last digit: 1 with the interval 1 to 1); ``constant`` (all
        values are the same) and ``no_subject_variance`` (raters differ, subjects do not): there is nothing to tell
        subjects apart by, so 0 with the interval 0 to 0 by convention; ``too_few_subjects``.
    """

    estimate: Floats
    lower: Floats
    upper: Floats
    subjects: npt.NDArray[np.int64]
    flag: Names


@dataclass(frozen=True)
class _MeanSquares:
    """Two-way analysis of variance without replication: between subjects, between raters, residual; each length p."""

    subjects: Floats
    raters: Floats
    residual: Floats
    n: int
    k: int


def icc(values: Floats, kind: AgreementKind, *, confidence: float = 0.95) -> Agreement:
    """Intraclass correlation of a single rating.

    Parameters
    ----------
    values
        Ratings, shape ``(subjects, raters, features)``; NaN is missing. A subject with a missing rating is left out
        of that feature.
    kind
        ``agreement`` is ICC(2,1): two-way random effects, absolute agreement (``ICC(A,1)``). ``consistency`` is
        ICC(3,1): two-way mixed effects, consistency (``ICC(C,1)``).
    confidence
        Coverage of the two-sided interval.

    Returns
    -------
    Agreement
        One entry per feature.

    Raises
    ------
    InputError
        For an array without three axes, fewer than two raters, infinite values or a coverage outside 0 to 1.

    Examples
    --------
    The worked example of Shrout and Fleiss 1979, table 2: six targets, four judges.

    >>> judges = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
    >>> [round(float(icc(judges[:, :, None], k).estimate[0]), 2) for k in ("agreement", "consistency")]
    [0.29, 0.71]
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 3 or values.shape[1] < 2:
        raise InputError("agreement needs subjects x at least two raters x features", got=f"shape {values.shape}")
    if np.isinf(values).any():
        raise InputError(f"{int(np.isinf(values).sum())} ratings are infinite", expected="finite or missing")
    if not 0 < confidence < 1:
        raise InputError(
            "the coverage of an interval is out of range", expected="above 0, below 1", got=f"{confidence}"
        )
    count = values.shape[2]
    numbers = np.full((3, count), np.nan)
    subjects = np.zeros(count, dtype=np.int64)
    flag = np.full(count, "too_few_subjects", dtype="<U20")
    for rows, columns in _complete_blocks(values):
        subjects[columns] = rows.size
        if rows.size >= FEWEST_SUBJECTS:
            block = values[np.ix_(rows, np.arange(values.shape[1]), columns)]
            numbers[:, columns], flag[columns] = _of_block(block, kind, confidence)
    return Agreement(numbers[0], numbers[1], numbers[2], subjects, flag)


def _complete_blocks(values: Floats) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Subjects without a missing rating, and the features that share just these subjects."""
    if values.shape[2] == 0:
        return []
    complete = ~np.isnan(values).any(axis=1)
    patterns, which = np.unique(complete, axis=1, return_inverse=True)
    which = which.ravel()
    return [(np.flatnonzero(patterns[:, k]), np.flatnonzero(which == k)) for k in range(patterns.shape[1])]


def _of_block(block: Floats, kind: AgreementKind, confidence: float) -> tuple[Floats, Names]:
    """Estimate and limits (3 x features) and flags of a block without missing values."""
    squares = _mean_squares(block)
    silent = (squares.subjects == 0) & (squares.residual == 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # where it matters, the convention below replaces the result
        numbers = (_agreement if kind == "agreement" else _consistency)(squares, confidence)
    flag = np.full(silent.size, "", dtype="<U20")
    same = (squares.residual == 0) & (squares.raters == 0)
    flag[same], flag[silent] = "identical", "no_subject_variance"
    flag[silent & same] = "constant"
    numbers[:, silent] = 0.0
    numbers[:, same & ~silent] = 1.0
    return numbers, flag


def _mean_squares(block: Floats) -> _MeanSquares:
    n, k, _ = block.shape
    centred = block - block.mean(axis=(0, 1))
    rows, columns = centred.mean(axis=1, keepdims=True), centred.mean(axis=0, keepdims=True)
    residual = centred - rows - columns
    noise = (_ROUNDING * np.abs(block).max(axis=(0, 1))) ** 2

    def mean(total: Floats, degrees: int) -> Floats:
        found = total / degrees
        return np.where(found <= noise, 0.0, found)

    return _MeanSquares(
        subjects=mean(k * (rows**2).sum(axis=(0, 1)), n - 1),
        raters=mean(n * (columns**2).sum(axis=(0, 1)), k - 1),
        residual=mean((residual**2).sum(axis=(0, 1)), (n - 1) * (k - 1)),
        n=n,
        k=k,
    )


def _consistency(squares: _MeanSquares, confidence: float) -> Floats:
    """ICC(3,1): estimate, lower, upper."""
    msb, mse, n, k = squares.subjects, squares.residual, squares.n, squares.k
    tail, df1, df2 = (1 + confidence) / 2, n - 1, (n - 1) * (k - 1)
    low, high = 1 / stats.f.ppf(tail, df1, df2), stats.f.ppf(tail, df2, df1)
    return np.stack([(factor * msb - mse) / (factor * msb + (k - 1) * mse) for factor in (1.0, low, high)])


def _agreement(squares: _MeanSquares, confidence: float) -> Floats:
    """ICC(2,1): estimate, lower, upper; the degrees of freedom follow Satterthwaite."""
    msb, msj, mse, n, k = squares.subjects, squares.raters, squares.residual, squares.n, squares.k
    estimate = (msb - mse) / (msb + (k - 1) * mse + k * (msj - mse) / n)
    # Written with both parts multiplied by the residual mean square, so that it may vanish.
    raters, residual = k * estimate * msj, (n * (1 + (k - 1) * estimate) - k * estimate) * mse
    freedom = (n - 1) * (k - 1) * (raters + residual) ** 2 / ((n - 1) * raters**2 + residual**2)
    tail = (1 + confidence) / 2
    low, high = stats.f.ppf(tail, n - 1, freedom), stats.f.ppf(tail, freedom, n - 1)
    spread = k * msj + (k * n - k - n) * mse
    # The lower limit divided by its quantile, which grows beyond all bounds as the degrees of freedom vanish.
    lower = n * (msb / low - mse) / (spread + n * msb / low)
    return np.stack([estimate, lower, n * (high * msb - mse) / (spread + n * high * msb)])
