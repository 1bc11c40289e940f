"""Cubic B-spline and nearest-neighbour interpolation with the arithmetic of ITK, operation by operation.

ITK computes the spline coefficients of the whole image each time it resamples; here they are computed for the
surroundings of a region only. Everything else (poles, gain, start of the recursions, the sequence of the 64 products,
the path from an output voxel over mm to a continuous index) is done in the order in which ITK 5 does it, so that the
values are the same bits. Arrays are ``(z, y, x)``; points and indices are ``(x, y, z)``.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# The pole of the cubic B-spline and what follows from it (M. Unser, doi:10.1109/79.799930, Box 2).
_POLE = math.sqrt(3.0) - 2.0
_GAIN = 1.0 * (1.0 - _POLE) * (1.0 - 1.0 / _POLE)
_LAST = _POLE / (_POLE * _POLE - 1.0)
# ITK sums so many terms for the first coefficient (tolerance 1e-10).
_HORIZON = math.ceil(math.log(1e-10) / math.log(abs(_POLE)))
_ROWS = 16  # rows that pass through the recursion side by side


@njit(cache=True, nogil=True)
def coefficients(values: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic B-spline through the voxels, mirrored at the borders.

    Parameters
    ----------
    values
        C-contiguous array ``(z, y, x)`` of float64; becomes the result.
    """
    depth, height, width = values.shape
    flat, columns = values.reshape(-1), np.zeros(width * _ROWS)
    for row in range(0, depth * height, _ROWS):
        rows = min(_ROWS, depth * height - row)
        for j in range(rows):
            for i in range(width):
                columns[i * _ROWS + j] = flat[(row + j) * width + i]
        _recursion(columns, 0, _ROWS, width, _ROWS)
        for j in range(rows):
            for i in range(width):
                flat[(row + j) * width + i] = columns[i * _ROWS + j]
    for k in range(depth):
        _recursion(flat, k * height * width, width, height, width)
    for j in range(height):
        _recursion(flat, j * width, height * width, depth, width)
    return values


@njit(cache=True, nogil=True)
def _recursion(flat: np.ndarray, start: int, step: int, n: int, width: int) -> None:
    """Filter ``width`` neighbouring lines of ``n`` values each, whose values lie ``step`` apart."""
    if n == 1:
        return
    _first(flat, start, step, n, width)
    for k in range(1, n):
        here = start + k * step
        for i in range(here, here + width):
            flat[i] = flat[i] * _GAIN + _POLE * flat[i - step]
    last = start + (n - 1) * step
    for i in range(last, last + width):
        flat[i] = _LAST * (_POLE * flat[i - step] + flat[i])
    for k in range(n - 2, -1, -1):
        here = start + k * step
        for i in range(here, here + width):
            flat[i] = _POLE * (flat[i + step] - flat[i])


@njit(cache=True, nogil=True)
def _first(flat: np.ndarray, start: int, step: int, n: int, width: int) -> None:
    """Replace the first value of each line by the first coefficient of the causal recursion."""
    power = _POLE
    if n > _HORIZON:
        for i in range(start, start + width):
            flat[i] *= _GAIN
        for k in range(1, _HORIZON):
            for i in range(start, start + width):
                flat[i] += power * (flat[i + k * step] * _GAIN)
            power *= _POLE
        return
    back, far = _POLE ** float(n - 1), (n - 1) * step
    for i in range(start, start + width):
        flat[i] = flat[i] * _GAIN + back * (flat[i + far] * _GAIN)
    back *= back * (1.0 / _POLE)
    for k in range(1, n - 1):
        for i in range(start, start + width):
            flat[i] += (power + back) * (flat[i + k * step] * _GAIN)
        power *= _POLE
        back *= 1.0 / _POLE
    for i in range(start, start + width):
        flat[i] /= 1.0 - power * power


@njit(cache=True, nogil=True)
def interpolate(
    spline: np.ndarray, offset: np.ndarray, size: np.ndarray, ends: np.ndarray, wanted: np.ndarray, out: np.ndarray
) -> None:
    """Values of a spline on a grid; 0 outside the image.

    Parameters
    ----------
    spline, offset
        Coefficients of a part of the image, and the index ``(x, y, z)`` of its first voxel in the image.
    size
        Voxels of the whole image along x, y, z.
    ends
        ``(2, z, y, 3)``: continuous index of the first voxel of each output row, and of the one after its last.
    wanted
        ``(z, y, 2)``: output voxels of each row to compute, from and to; the others are left alone.
    out
        Array ``(z, y, x)`` of float64.
    """
    depth, height, width = out.shape
    # unsigned, because a signed index costs a test for negative values each time
    weights, places = np.empty((3, 4, width)), np.empty((3, 4, width), dtype=np.uint64)
    inside, flat = np.empty(width, dtype=np.bool_), spline.reshape(-1)
    apart = (1, spline.shape[2], spline.shape[2] * spline.shape[1])
    for k in range(depth):
        for j in range(height):
            low, high = wanted[k, j]
            if low >= high:
                continue
            inside[low:high] = True
            for n in range(3):
                first, step = ends[0, k, j, n], ends[1, k, j, n] - ends[0, k, j, n]
                _support(first, step, low, high, size[n], offset[n], apart[n], weights[n], places[n], inside)
            _row(flat, weights, places, inside, low, high, out[k, j])


@njit(cache=True, nogil=True)
def _support(
    first: float,
    step: float,
    low: int,
    high: int,
    size: int,
    offset: int,
    apart: int,
    weights: np.ndarray,
    places: np.ndarray,
    inside: np.ndarray,
) -> None:
    """The four coefficients around each voxel of a row along one axis of the image, and their weights."""
    width = weights.shape[1]
    for i in range(low, high):
        if step == 0.0 and i > low:  # the row runs along another axis
            for q in range(4):
                weights[q, i] = weights[q, low]
                places[q, i] = places[q, low]
            inside[i] = inside[i] and inside[low]
            continue
        x = first + (i / float(width)) * step
        inside[i] = inside[i] and x >= -0.5 and x < size - 0.5
        middle = math.floor(np.float32(x))
        t = x - middle
        weights[3, i] = (1.0 / 6.0) * t * t * t
        weights[0, i] = (1.0 / 6.0) + 0.5 * t * (t - 1.0) - weights[3, i]
        weights[2, i] = t + weights[0, i] - 2.0 * weights[3, i]
        weights[1, i] = 1.0 - weights[0, i] - weights[2, i] - weights[3, i]
        for q in range(4):
            place = abs(middle - 1 + q)
            if place >= size:  # ITK does not reflect twice, and reads beyond an image of two voxels
                place = abs(2 * (size - 1) - place)
            places[q, i] = 0 if size == 1 else (place - offset) * apart


@njit(cache=True, nogil=True)
def _row(
    flat: np.ndarray,
    weights: np.ndarray,
    places: np.ndarray,
    inside: np.ndarray,
    low: int,
    high: int,
    out: np.ndarray,
) -> None:
    """Sum of the 64 products for each voxel of a row: x fastest, as ITK adds them."""
    for i in range(low, high):
        total = 0.0
        if inside[i]:
            x0, x1, x2, x3 = places[0, 0, i], places[0, 1, i], places[0, 2, i], places[0, 3, i]
            w0, w1, w2, w3 = weights[0, 0, i], weights[0, 1, i], weights[0, 2, i], weights[0, 3, i]
            for c in range(4):
                wz = weights[2, c, i]
                for b in range(4):
                    wy, row = weights[1, b, i], places[2, c, i] + places[1, b, i]
                    total += ((w0 * wy) * wz) * flat[row + x0]
                    total += ((w1 * wy) * wz) * flat[row + x1]
                    total += ((w2 * wy) * wz) * flat[row + x2]
                    total += ((w3 * wy) * wz) * flat[row + x3]
        out[i] = total


@njit(cache=True, nogil=True)
def nearest(
    labels: np.ndarray, offset: np.ndarray, size: np.ndarray, label: int, ends: np.ndarray, out: np.ndarray
) -> None:
    """Which voxels of a grid lie nearest to a voxel with a label (halves go up, as ITK rounds).

    Parameters
    ----------
    labels, offset, size
        Array ``(z, y, x)`` of the part of the image that holds the label; the index ``(x, y, z)`` of its first voxel in
        the image; voxels of the whole image along x, y, z.
    ends
        As for `interpolate`.
    out
        Boolean array ``(z, y, x)``.
    """
    depth, height, width = out.shape
    extent = labels.shape[::-1]
    place = np.empty((3, width), dtype=np.int64)
    for k in range(depth):
        for j in range(height):
            for n in range(3):
                first, step = ends[0, k, j, n], ends[1, k, j, n] - ends[0, k, j, n]
                for i in range(width):
                    x = first + (i / float(width)) * step
                    there = (int(np.rint(2.0 * x + 0.5)) >> 1) - offset[n]
                    known = x >= -0.5 and x < size[n] - 0.5 and there >= 0 and there < extent[n]
                    place[n, i] = there if known else -1
            for i in range(width):
                x, y, z = place[0, i], place[1, i], place[2, i]
                out[k, j, i] = x >= 0 and y >= 0 and z >= 0 and labels[z, y, x] == label
