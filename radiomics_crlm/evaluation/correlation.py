"""Rank correlation of many features with one quantity, with intervals that allow for several rows per patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.agreement import Names
from radiomics_crlm.evaluation.outcome import Floats

FEWEST_PATIENTS = 4
"""The standard error divides by the number of patients less three."""
_Z95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Correlation:
    """Spearman correlation of p features.

    Parameters
    ----------
    estimate, lower, upper
        Length p, with 95 % limits. NaN only where the flag says ``too_few_patients``.
    rows, patients
        Length p; rows with both values, and patients they come from.
    flag
        Length p: empty; ``constant`` (one of the two does not vary: 0 with the interval 0 to 0 by convention);
        ``too_few_patients``.
    """

    estimate: Floats
    lower: Floats
    upper: Floats
    rows: npt.NDArray[np.int64]
    patients: npt.NDArray[np.int64]
    flag: Names


def spearman(features: Floats, reference: Floats, patients: npt.ArrayLike | None = None) -> Correlation:
    """Spearman correlation of each feature with a reference.

    The interval is that of Bonett and Wright 2000 (doi:10.1007/BF02294183) for as many observations as there are
    *patients*: lesions of one patient resemble each other, and counting each of them would make it too narrow. It is
    on the safe side where they do not.

    Parameters
    ----------
    features
        n x p; NaN is missing and costs that feature the row.
    reference
        n values, or n x p where every feature has a reference of its own.
    patients
        Patient of each row; without it, every row counts as a patient.

    Raises
    ------
    InputError
        For lengths that differ.

    Examples
    --------
    >>> found = spearman(np.arange(10.0)[:, None] ** 3, np.arange(10.0))
    >>> float(found.estimate[0]), found.flag[0] == ""
    (1.0, True)
    """
    features = np.asarray(features, dtype=float)
    n, count = features.shape
    wide = np.broadcast_to(np.asarray(reference, dtype=float).reshape(n, -1) if n else 0.0, (n, count))
    groups = np.unique(np.arange(n) if patients is None else np.asarray(patients), return_inverse=True)[1].ravel()
    if groups.size != n:
        raise InputError("features and patients have different lengths", expected=str(n), got=str(groups.size))
    numbers = np.full((3, count), np.nan)
    sizes = np.zeros((2, count), dtype=np.int64)
    flag = np.full(count, "too_few_patients", dtype="<U20")
    usable = np.isfinite(features) & np.isfinite(wide)
    patterns, which = np.unique(usable, axis=1, return_inverse=True) if count else (usable, np.empty(0, dtype=int))
    which = which.ravel()
    for number in range(patterns.shape[1]):
        rows, columns = np.flatnonzero(patterns[:, number]), np.flatnonzero(which == number)
        sizes[:, columns] = np.array([[rows.size], [np.unique(groups[rows]).size]])
        if sizes[1, columns[0]] >= FEWEST_PATIENTS:
            block = np.ix_(rows, columns)
            numbers[:, columns], flag[columns] = _of_block(features[block], wide[block], int(sizes[1, columns[0]]))
    return Correlation(numbers[0], numbers[1], numbers[2], sizes[0], sizes[1], flag)


def _of_block(features: Floats, reference: Floats, independent: int) -> tuple[Floats, Names]:
    """Estimate and limits (3 x features) and flags, without missing values."""
    ranked = [stats.rankdata(part, axis=0) for part in (features, reference)]
    left, right = (part - part.mean(axis=0) for part in ranked)
    scale = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
    varies = scale > 0
    estimate = np.divide((left * right).sum(axis=0), scale, out=np.zeros_like(scale), where=varies)
    estimate = np.clip(estimate, -1.0, 1.0)
    error = np.sqrt((1 + estimate**2 / 2) / (independent - 3))
    with np.errstate(divide="ignore"):  # a perfect correlation has the limits 1 and 1
        centre = np.arctanh(estimate)
    limits = [np.tanh(centre - _Z95 * error), np.tanh(centre + _Z95 * error)]
    flag = np.where(varies, "", "constant").astype("<U20")
    return np.where(varies, np.stack([estimate, *limits]), 0.0), flag
