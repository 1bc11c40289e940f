"""First-order features of the voxels of a region: pyradiomics' arithmetic, without its detours.

The engine asks numpy's NaN-aware functions one by one, which copy, mask and partition the same voxels again and again.
Without a NaN these do plain sums in the same order, and all percentiles come from one partition: the same bits (of
organs, skewness and kurtosis to 1e-12).
"""

from __future__ import annotations

import math

import numpy as np

_sum = np.add.reduce
_EPSILON = np.spacing(1)
_PERCENTILES = (10, 25, 75, 90)
# numpy takes 0.1 µs to raise a negative number to a power. Up to so many voxels it is asked, for the sake of its last
# bit; beyond, products give skewness and kurtosis to 1e-12.
_EXACT_POWERS = 20_000


def first_order(voxels: np.ndarray, counts: np.ndarray, voxel_volume: float, shift: int) -> dict[str, float]:
    """The first-order features of pyradiomics.

    Parameters
    ----------
    voxels
        Finite grey levels of the region, float64, in raster order.
    counts
        Voxels of each bin that occurs, in ascending order of the bins.
    voxel_volume
        In mm³.
    shift
        Added before squaring.

    Examples
    --------
    >>> found = first_order(np.array([1.0, 2.0, 4.0, 9.0]), np.array([3, 1]), 2.0, 0)
    >>> [float(found[name]) for name in ("Mean", "Median", "10Percentile", "TotalEnergy", "Uniformity")]
    [4.0, 3.0, 1.3, 204.0, 0.625]
    """
    n = len(voxels)
    places = [min(math.floor((n - 1) * (q / 100.0)) + k, n - 1) for q in _PERCENTILES for k in (0, 1)]
    ordered = np.partition(voxels, [*places, (n - 1) // 2, n // 2])
    low, high = float(np.minimum.reduce(voxels)), float(np.maximum.reduce(voxels))
    p10, p25, p75, p90 = (_percentile(ordered, q) for q in _PERCENTILES)
    mean = _sum(voxels) / n
    squares = _sum((voxels + shift) ** 2)
    away = voxels - mean
    share = counts.astype(float) / float(_sum(counts))
    return {
        "Energy": squares,
        "TotalEnergy": squares * voxel_volume,
        "Entropy": -1.0 * _sum(share * np.log2(share + _EPSILON)),
        "Minimum": low,
        "10Percentile": p10,
        "90Percentile": p90,
        "Maximum": high,
        "Mean": mean,
        "Median": (float(ordered[(n - 1) // 2]) + float(ordered[n // 2])) / 2.0,
        "InterquartileRange": p75 - p25,
        "Range": high - low,
        "MeanAbsoluteDeviation": _sum(np.absolute(away)) / n,
        "RobustMeanAbsoluteDeviation": _robust_deviation(voxels, p10, p90),
        "RootMeanSquared": math.sqrt(squares / float(n)),
        **_moments(away),
        "Uniformity": _sum(share**2),
    }


def _percentile(ordered: np.ndarray, percent: int) -> float:
    """Linear interpolation as ``numpy.percentile`` does it, in values that are in order at the places it needs."""
    place = (len(ordered) - 1) * (percent / 100.0)
    before = math.floor(place)
    below, above = float(ordered[before]), float(ordered[min(before + 1, len(ordered) - 1)])
    share = place - before
    return above - (above - below) * (1 - share) if share >= 0.5 else below + (above - below) * share


def _robust_deviation(voxels: np.ndarray, low: float, high: float) -> float:
    """Mean absolute deviation of the voxels between two percentiles; the others stay in the sums, as zeros."""
    inside = (voxels >= low) & (voxels <= high)
    n = np.count_nonzero(inside)
    if n == 0:  # two voxels: both lie outside
        return math.nan
    mean = _sum(np.where(inside, voxels, 0.0)) / n
    return float(_sum(np.where(inside, np.absolute(voxels - mean), 0.0)) / n)


def _moments(away: np.ndarray) -> dict[str, float]:
    """Variance, skewness and kurtosis from the differences to the mean."""
    n = len(away)
    if n <= _EXACT_POWERS:
        powers = [np.power(away, k) for k in (2, 3, 4)]
    else:
        square = away * away
        powers = [square, square * away, square * square]
    # arrays of one value: numpy's power of a lone number is another routine
    second, third, fourth = (np.array([_sum(values) / n]) for values in powers)
    deviation = math.sqrt(second[0])
    second[second == 0] = 1
    return {
        "Variance": deviation * deviation,
        "Skewness": (third / second**1.5)[0],
        "Kurtosis": (fourth / second**2.0)[0],
    }
