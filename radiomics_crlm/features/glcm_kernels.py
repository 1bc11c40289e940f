"""Sums over grey level co-occurrence matrices, in the order in which numpy adds them for pyradiomics.

The engine makes an array as large as the matrix for every factor of every feature. Here one pass adds up everything
that needs no transcendental function; powers and logarithms stay with numpy, whose last bits differ from those of other
libraries. Matrices are ``(levels, levels, directions)`` with at least two directions, symmetric for each direction.
``across`` says that the engine's copy lies in memory with its second axis outermost, and is added in that order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Rows of the table of sums that both passes fill.
AUTOCORRELATION, CONTRAST, ENERGY, MAXIMUM, MEAN_ROW, MEAN_COLUMN = range(6)
PROMINENCE, SHADE, TENDENCY, SPREAD_ROW, SPREAD_COLUMN, PRODUCT = range(6)


@njit(cache=True, nogil=True)
def first_pass(
    share: np.ndarray, levels: np.ndarray, n_levels: int, across: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What depends on the matrix alone.

    Parameters
    ----------
    share
        The matrix as shares of each direction.
    levels
        Grey levels of its rows and columns.
    n_levels
        Highest grey level of the region.

    Returns
    -------
    sums
        ``(6, directions)`` in the order of the constants above.
    marginal, added, apart
        ``(levels, directions)`` sum of each row; ``(2 n_levels - 1, directions)`` sums over pairs with the same sum of
        levels, from 2; ``(n_levels, directions)`` over those with the same difference, from 0.
    """
    n, _, directions = share.shape
    sums, marginal = np.zeros((6, directions)), np.zeros((n, directions))
    added, apart = np.zeros((2 * n_levels - 1, directions)), np.zeros((n_levels, directions))
    for outer in range(n):
        for inner in range(n):
            row, column = (inner, outer) if across else (outer, inner)
            i, j = float(levels[row]), float(levels[column])
            product, gap = i * j, abs(i - j) * abs(i - j)
            together, difference = levels[outer] + levels[inner] - 2, abs(levels[outer] - levels[inner])
            for d in range(directions):
                p = share[outer, inner, d]
                sums[AUTOCORRELATION, d] += p * product
                sums[CONTRAST, d] += p * gap
                sums[ENERGY, d] += p * p
                sums[MAXIMUM, d] = max(sums[MAXIMUM, d], p)
                sums[MEAN_ROW, d] += i * p
                sums[MEAN_COLUMN, d] += j * p
                marginal[outer, d] += p
                added[together, d] += p
                apart[difference, d] += p
    return sums, marginal, added, apart


@njit(cache=True, nogil=True)
def second_pass(
    share: np.ndarray, levels: np.ndarray, means: np.ndarray, powers: np.ndarray, across: bool
) -> np.ndarray:
    """What depends on the mean level of each direction, too.

    Parameters
    ----------
    means
        ``(2, directions)``: mean level of rows and of columns.
    powers
        ``(3, 2 n_levels - 1, directions)``: sum of levels (from 2) less both means, to the powers 4, 3 and 2.

    Returns
    -------
    ndarray
        ``(6, directions)`` in the order of the constants above.
    """
    n, _, directions = share.shape
    sums = np.zeros((6, directions))
    for outer in range(n):
        for inner in range(n):
            row, column = (inner, outer) if across else (outer, inner)
            i, j, together = float(levels[row]), float(levels[column]), levels[outer] + levels[inner] - 2
            for d in range(directions):
                p = share[outer, inner, d]
                from_row, from_column = i - means[0, d], j - means[1, d]
                sums[PROMINENCE, d] += p * powers[0, together, d]
                sums[SHADE, d] += p * powers[1, together, d]
                sums[TENDENCY, d] += p * powers[2, together, d]
                sums[SPREAD_ROW, d] += p * (from_row * from_row)
                sums[SPREAD_COLUMN, d] += p * (from_column * from_column)
                sums[PRODUCT, d] += (p * from_row) * from_column
    return sums


@njit(cache=True, nogil=True)
def correlation_matrices(share: np.ndarray, marginal: np.ndarray, epsilon: float) -> np.ndarray:
    """The matrices ``(directions, levels, levels)`` whose second largest eigenvalue is the squared maximal correlation
    coefficient."""
    n, _, directions = share.shape
    found = np.zeros((directions, n, n))
    columns, per_row = np.empty(n), np.empty(n)
    for d in range(directions):
        for k in range(n):
            for i in range(n):
                columns[i] = share[i, k, d]
                per_row[i] = marginal[i, d] * marginal[k, d] + epsilon
            for i in range(n):
                for j in range(n):
                    found[d, i, j] += columns[i] * columns[j] / per_row[i]
    return found
