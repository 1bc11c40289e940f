"""Texture features from their matrices: pyradiomics' arithmetic with fewer and smaller arrays.

Every function returns the features of one class by name, the same bits as the engine's own methods. For that, sums run
in the engine's order: it cuts levels and sizes that do not occur out of its arrays with ``numpy.delete``, which leaves
the last axis cut outermost in memory unless exactly one entry goes, and numpy adds in the order of memory. Functions
give none where they do not know that order (directions without any pair or run); the engine's methods do it then.

Matrices have the leading axis of one that the engine uses for something else.
"""

from __future__ import annotations

import numpy as np

from radiomics_crlm.features import glcm_kernels as kernels

_sum = np.add.reduce
_EPSILON = np.spacing(1)

Features = dict[str, float]


def _across(n_cut: int) -> bool:
    """Whether an array lies with the last axis that was cut outermost in memory."""
    return n_cut != 1


def _mean(values: np.ndarray) -> float:
    """Mean over the directions, of those that have a value."""
    total = _sum(values)
    if total == total:  # not NaN
        return float(total / len(values))
    known = values == values
    return float(_sum(np.where(known, values, 0.0)) / np.count_nonzero(known)) if known.any() else float("nan")


def _entropy(share: np.ndarray, axis: int | tuple[int, ...] | None) -> np.ndarray:
    """Entropy in bit along axes."""
    return np.asarray(-1 * _sum(share * np.log2(share + _EPSILON), axis=axis))


def glcm_features(matrix: np.ndarray, levels: np.ndarray, n_levels: int) -> Features | None:
    """Features of co-occurrences.

    Parameters
    ----------
    matrix
        ``(1, n_levels, n_levels, directions)``, not symmetric yet.
    levels
        Grey levels that occur, ascending.
    """
    counts = matrix[0]
    if len(levels) < n_levels:
        counts = counts[levels - 1][:, levels - 1]
    counts = counts + counts.transpose(1, 0, 2)
    totals = _sum(counts, axis=(0, 1))
    if len(totals) < 2 or not totals.all():
        return None
    share, across = counts / totals, _across(n_levels - len(levels))
    sums, marginal, added, apart = kernels.first_pass(share, levels, n_levels, across)
    means = sums[kernels.MEAN_ROW :]
    step, total = np.arange(n_levels, dtype=float)[:, None], np.arange(2, n_levels * 2 + 1, dtype=float)[:, None]
    away = total - means[0] - means[1]
    more = kernels.second_pass(share, levels, means, np.stack([away**4, away**3, away**2]), across)
    difference = _sum(step * apart, axis=0)
    return {
        "Autocorrelation": _mean(sums[kernels.AUTOCORRELATION]),
        "JointAverage": float(_sum(means[0]) / len(totals)),
        "ClusterProminence": _mean(more[kernels.PROMINENCE]),
        "ClusterShade": _mean(more[kernels.SHADE]),
        "ClusterTendency": _mean(more[kernels.TENDENCY]),
        "Contrast": _mean(sums[kernels.CONTRAST]),
        "Correlation": _mean(_correlation(more)),
        "DifferenceAverage": _mean(difference),
        "DifferenceEntropy": _mean(_entropy(apart, 0)),
        "DifferenceVariance": _mean(_sum(apart * (step - difference) ** 2, axis=0)),
        "JointEnergy": _mean(sums[kernels.ENERGY]),
        "MaximumProbability": _mean(sums[kernels.MAXIMUM]),
        "SumAverage": _mean(_sum(total * added, axis=0)),
        "SumEntropy": _mean(_entropy(added, 0)),
        "SumSquares": _mean(more[kernels.SPREAD_ROW]),
        "MCC": _maximal_correlation(share, marginal),
        **_inverse_differences(apart, step, n_levels),
        **_information(share, marginal),
    }


def _correlation(sums: np.ndarray) -> np.ndarray:
    """Correlation of each direction; 1 where a level does not vary."""
    spread = sums[kernels.SPREAD_ROW] ** 0.5 * sums[kernels.SPREAD_COLUMN] ** 0.5
    result = sums[kernels.PRODUCT] / (spread + _EPSILON)
    result[spread == 0] = 1
    return np.asarray(result)


def _inverse_differences(apart: np.ndarray, step: np.ndarray, n_levels: int) -> Features:
    """Features that weigh pairs by the inverse of their difference."""
    square = step**2
    return {
        "Idm": _mean(_sum(apart / (1 + square), axis=0)),
        "Idmn": _mean(_sum(apart / (1 + square / n_levels**2), axis=0)),
        "Id": _mean(_sum(apart / (1 + step), axis=0)),
        "Idn": _mean(_sum(apart / (1 + step / n_levels), axis=0)),
        "InverseVariance": _mean(_sum(apart[1:] / square[1:], axis=0)),
    }


def _information(share: np.ndarray, marginal: np.ndarray) -> Features:
    """Joint entropy and the two informational measures of correlation."""
    joint = _entropy(share, (0, 1))
    alone = _entropy(marginal, 0)
    independent = marginal[:, None] * marginal[None]
    log = np.log2(independent + _EPSILON)
    first = joint - -1 * _sum(share * log, axis=(0, 1))
    first[alone != 0] /= alone[alone != 0]
    first[alone == 0] = 0
    both = -1 * _sum(independent * log, axis=(0, 1))
    with np.errstate(invalid="ignore"):  # rounding may leave less than nothing; the mean leaves it out
        second = (1 - np.e ** (-2 * (both - joint))) ** 0.5
    second[both == joint] = 0
    return {"JointEntropy": _mean(joint), "Imc1": _mean(first), "Imc2": _mean(second)}


def _maximal_correlation(share: np.ndarray, marginal: np.ndarray) -> float:
    """Maximal correlation coefficient; 1 for a single level."""
    if len(share) < 2:
        return 1.0
    found = np.linalg.eigvals(kernels.correlation_matrices(share, marginal, _EPSILON))
    found.sort()
    with np.errstate(invalid="ignore"):
        root = np.sqrt(found[:, -2])
    if np.iscomplexobj(root):
        return float(np.nanmean(root).real)
    return _mean(root)


def glrlm_features(matrix: np.ndarray, levels: np.ndarray) -> Features | None:
    """Features of runs; ``matrix`` is ``(1, n_levels, run lengths, directions)``."""
    counts = matrix[0] if len(levels) == matrix.shape[1] else matrix[0, levels - 1]
    by_level, by_run = _sum(counts, axis=1), _sum(counts, axis=0)
    number = _sum(by_level, axis=0)
    if len(number) < 2 or not number.all():
        return None
    occurs = by_run.any(axis=1)
    across = _across(int(np.count_nonzero(~occurs)))
    counts, by_run = counts[:, occurs], by_run[occurs]
    i, j = levels.astype(float)[:, None], np.flatnonzero(occurs).astype(float)[:, None] + 1
    i2, j2 = i**2, j**2
    lain = np.ascontiguousarray(counts.transpose(1, 0, 2) if across else counts)
    level2, run2 = (i2, j2[:, None]) if across else (i2[:, None], j2)
    share = lain / number

    def averaged(values: np.ndarray) -> float:
        return _mean(values / number)

    return {
        "ShortRunEmphasis": averaged(_sum(by_run / j2, axis=0)),
        "LongRunEmphasis": averaged(_sum(by_run * j2, axis=0)),
        "GrayLevelNonUniformity": averaged(_sum(by_level**2, axis=0)),
        "GrayLevelNonUniformityNormalized": _mean(_sum(by_level**2, axis=0) / number**2),
        "RunLengthNonUniformity": averaged(_sum(by_run**2, axis=0)),
        "RunLengthNonUniformityNormalized": _mean(_sum(by_run**2, axis=0) / number**2),
        "RunPercentage": _mean(number / _sum(by_run * j, axis=0)),
        "GrayLevelVariance": _mean(_variance(by_level / number, i)),
        "RunVariance": _mean(_variance(by_run / number, j)),
        "RunEntropy": _mean(-_sum(share * np.log2(share + _EPSILON), axis=(0, 1))),
        "LowGrayLevelRunEmphasis": averaged(_sum(by_level / i2, axis=0)),
        "HighGrayLevelRunEmphasis": averaged(_sum(by_level * i2, axis=0)),
        "ShortRunLowGrayLevelEmphasis": averaged(_sum(np.divide(counts, i2[:, None] * j2, order="C"), axis=(0, 1))),
        "ShortRunHighGrayLevelEmphasis": averaged(_sum(lain * level2 / run2, axis=(0, 1))),
        "LongRunLowGrayLevelEmphasis": averaged(_sum(lain * run2 / level2, axis=(0, 1))),
        "LongRunHighGrayLevelEmphasis": averaged(_sum(lain * (run2 * level2), axis=(0, 1))),
    }


def _variance(share: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Variance of values under shares, along the first axis."""
    return np.asarray(_sum(share * (values - _sum(share * values, axis=0)) ** 2, axis=0))


def glszm_features(matrix: np.ndarray, sizes: np.ndarray, levels: np.ndarray) -> Features:
    """Features of zones; column k of ``matrix`` ``(1, n_levels, sizes)`` holds those of ``sizes[k]`` voxels."""
    counts = matrix[0] if len(levels) == matrix.shape[1] else matrix[0, levels - 1]
    across = _across(int(sizes[-1]) - len(sizes))
    found = _by_size(counts, sizes, levels, across, ("Area", "SizeZone", "Zone", "GrayLevelZone"))
    number, by_level = _sum(counts, axis=None), _sum(counts, axis=1)
    found["GrayLevelNonUniformityNormalized"] = _sum(by_level**2) / number**2
    found["ZonePercentage"] = number / _sum(_sum(counts, axis=0) * sizes)
    return found


def gldm_features(matrix: np.ndarray, levels: np.ndarray) -> Features:
    """Features of dependences; column k of ``matrix`` ``(1, n_levels, columns)`` holds those of k others."""
    occurs = np.flatnonzero(matrix[0].any(axis=0))
    counts = matrix[0, :, occurs].T if len(levels) == matrix.shape[1] else matrix[0, levels - 1][:, occurs]
    across = _across(matrix.shape[2] - len(occurs))
    return _by_size(counts, occurs + 1, levels, across, ("Dependence", "Dependence", "Dependence", "GrayLevel"))


def _by_size(
    counts: np.ndarray, sizes: np.ndarray, levels: np.ndarray, across: bool, words: tuple[str, str, str, str]
) -> Features:
    """What zones and dependences have in common; ``words`` are the parts of names that differ."""
    extent, uniform, thing, grey = words
    by_level, by_size = _sum(counts, axis=1), _sum(counts, axis=0)
    number = _sum(by_size)
    i, j = levels.astype(float), sizes.astype(float)
    i2, j2 = i**2, j**2
    lain = np.ascontiguousarray(counts.T if across else counts)
    level2, size2 = (i2, j2[:, None]) if across else (i2[:, None], j2)
    share = lain / number

    def emphasis(weighted: np.ndarray) -> float:
        return float(_sum(weighted.ravel()) / number)

    return {
        f"Small{extent}Emphasis": emphasis(by_size / j2),
        f"Large{extent}Emphasis": emphasis(by_size * j2),
        "GrayLevelNonUniformity": emphasis(by_level**2),
        f"{uniform}NonUniformity": emphasis(by_size**2),
        f"{uniform}NonUniformityNormalized": _sum(by_size**2) / number**2,
        "GrayLevelVariance": float(_variance(by_level / number, i)),
        f"{thing}Variance": float(_variance(by_size / number, j)),
        f"{thing}Entropy": -_sum((share * np.log2(share + _EPSILON)).ravel()),
        f"Low{grey}Emphasis": emphasis(by_level / i2),
        f"High{grey}Emphasis": emphasis(by_level * i2),
        f"Small{extent}LowGrayLevelEmphasis": emphasis(np.divide(counts, i2[:, None] * j2, order="C")),
        f"Small{extent}HighGrayLevelEmphasis": emphasis(lain * level2 / size2),
        f"Large{extent}LowGrayLevelEmphasis": emphasis(lain * size2 / level2),
        f"Large{extent}HighGrayLevelEmphasis": emphasis(lain * level2 * size2),
    }


def ngtdm_features(matrix: np.ndarray) -> Features:
    """Features of tone differences; ``matrix`` is ``(1, n_levels, [voxels, summed difference, level])``."""
    rows = matrix[0][matrix[0, :, 0] != 0]
    number, n_levels = _sum(rows[:, 0]), len(rows)
    share, difference, level = rows[:, 0] / number, rows[:, 1], rows[:, 2]
    apart = level[:, None] - level
    weighted, total = _sum(share * difference), _sum(difference)
    contrast = _sum((share[:, None] * share * apart**2).ravel()) * total / number
    product, both = level * share, share * difference
    gap = _sum(np.abs(product[:, None] - product).ravel())
    shares = share[:, None] + share
    complexity = _sum((np.abs(apart) * (both[:, None] + both) / shares).ravel()) / number
    strength = _sum((shares * apart**2).ravel())
    return {
        "Coarseness": 1 / weighted if weighted != 0 else 1e6,
        "Contrast": contrast / (n_levels * (n_levels - 1)) if n_levels > 1 else 0.0,
        "Busyness": weighted / gap if gap != 0 else 0.0,
        "Complexity": complexity,
        "Strength": strength / total if total != 0 else 0.0,
    }
