"""Surface area, volume and diameters of the triangle mesh around a region, in one pass over its voxels.

The mesh is pyradiomics' own: the triangles inside a cube of 2 x 2 x 2 voxels depend only on which of its eight corners
are inside, so area and volume follow from how often each of the 256 configurations occurs and where. What one
configuration contributes is asked of the compiled extension of pyradiomics itself, once for each voxel spacing; only
its comparison of all pairs of vertices, which takes seconds for a liver, is replaced.

A largest distance is attained between corners of a convex hull. Vertices lie half-way between two voxels, so in units
of half a voxel their coordinates are integers and the hulls are exact.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import njit
from radiomics import cShape

from radiomics_crlm.errors import InputError

Diameters = tuple[float, float, float, float]
_CONFIGURATIONS = 256
# Corners of triangles lie at halves of a voxel, and a tetrahedron is a sixth of a determinant.
_PARTS = 48
# Larger than any coordinate, so that an untouched line has lowest > highest.
_NOWHERE = np.int32(2**30)


def mesh_coefficients(
    mask: np.ndarray, spacing: tuple[float, float, float], *, exact_up_to: int = 0
) -> tuple[float, float, Diameters]:
    """Surface area, volume and the four largest diameters of the mesh around a region.

    Parameters
    ----------
    mask
        Boolean array in the order z, y, x. Voxels outside the array count as outside the region; it needs no margin.
        The mesh of a region whose voxels meet only at edges may be open, and its volume then depends on the place of
        the region in the array, as it does in pyradiomics: give the region cropped to its box.
    spacing
        Distance of the voxel centres in mm along z, y, x.
    exact_up_to
        Regions with at most this many mesh vertices are handed to pyradiomics itself, whose time grows with the
        square of that number (about 10 ms for 2000), so that its order of additions, and thereby every bit, is kept.

    Returns
    -------
    surface
        In mm².
    volume
        In mm³.
    diameters
        Largest distance in mm of two vertices with the same z (slice), the same y (column), the same x (row), and of
        any two. All are those of ``radiomics.cShape.calculate_coefficients`` for the region with a margin of one
        voxel: diameters to the last bit, area and volume up to the rounding of its running sums, which is about 1e-14
        of the value for a lesion and reaches 1e-12 for a liver. Zeros for an empty region.

    Raises
    ------
    InputError
        If the mask is not a three-dimensional boolean array or a spacing is not a positive number.

    Notes
    -----
    Marching cubes: Lorensen and Cline 1987, doi:10.1145/37402.37422.

    Examples
    --------
    >>> import numpy as np
    >>> mesh_coefficients(np.ones((1, 1, 1), dtype=bool), (1.0, 2.0, 3.0))
    (7.0, 1.0, (3.0, 3.0, 2.0, 3.0))
    """
    z, y, x = _checked(mask, spacing)
    padded = np.zeros([n + 2 for n in mask.shape], dtype=np.int8)
    padded[1:-1, 1:-1, 1:-1] = mask
    counts, places, along_x, along_y = _scan(padded)
    table = _contributions((z, y, x))
    if counts @ table.vertices <= exact_up_to:
        surface, volume, found = cShape.calculate_coefficients(padded.view(np.bool_), np.array([z, y, x]))
        by_slice, by_column, by_row, overall = (float(d) for d in found)
        return float(surface), float(volume), (by_slice, by_column, by_row, overall)
    surface = math.fsum(counts * table.area)
    parts = int(counts @ table.volume + (places * table.slope).sum())
    volume = parts / _PARTS * (z * y * x)
    return surface, volume, _diameters(along_x, along_y, (z, y, x))


def axis_eigenvalues(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Eigenvalues of the covariance of the voxel centres, from which the axis lengths of a region follow.

    The arithmetic, and thereby every bit, is that of ``radiomics.shape``; the coordinates are made in one pass.

    Parameters
    ----------
    mask
        Boolean array in the order z, y, x, cropped to the box of the region.
    spacing
        Distance of the voxel centres in mm along z, y, x.

    Returns
    -------
    ndarray of shape (3,)
        In mm², ascending. Negative ones within 1e-10 of zero, which are rounding, are zero.

    Raises
    ------
    InputError
        As `mesh_coefficients`, and if the region is empty.

    Examples
    --------
    >>> import numpy as np
    >>> axis_eigenvalues(np.ones((1, 1, 4), dtype=bool), (1.0, 1.0, 2.0)).tolist()
    [0.0, 0.0, 5.0]
    """
    z, y, x = _checked(mask, spacing)
    count = int(np.count_nonzero(mask))
    if count == 0:
        raise InputError("an empty region has no axes")
    # one row per axis: the engine's array has this layout, and with it the order of its sums
    centres = _centres(np.ascontiguousarray(mask), count, z, y, x).T
    centres -= np.mean(centres, axis=0)
    centres /= np.sqrt(count)
    eigenvalues = np.linalg.eigvals(np.dot(centres.T.copy(), centres))
    eigenvalues[(eigenvalues < 0) & (eigenvalues > -1e-10)] = 0
    eigenvalues.sort()
    # the solver is the one for matrices without symmetry: equal eigenvalues may come as a pair with imaginary rounding
    return eigenvalues.real


def _checked(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """The spacing, if mask and spacing are of the right kind."""
    if mask.ndim != 3 or mask.dtype != np.bool_:
        got = f"{mask.dtype} with {mask.ndim} dimensions"
        raise InputError("a region needs a three-dimensional mask", expected="bool", got=got)
    z, y, x = (float(s) for s in spacing)
    if not all(math.isfinite(s) and s > 0 for s in (z, y, x)):
        raise InputError("a voxel has no size", expected="three positive spacings in mm", got=f"{(z, y, x)}")
    return z, y, x


@njit(cache=True, nogil=True)
def _centres(mask: np.ndarray, count: int, z: float, y: float, x: float) -> np.ndarray:
    """Coordinates (3 x voxels) in mm, counted as in an array with a margin of one voxel."""
    centres = np.empty((3, count))
    done = 0
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            for k in range(mask.shape[2]):
                if mask[i, j, k]:
                    centres[0, done] = (i + 1) * z
                    centres[1, done] = (j + 1) * y
                    centres[2, done] = (k + 1) * x
                    done += 1
    return centres


class _Contributions(NamedTuple):
    """What a cube of each configuration adds: mm² of area, 1/48 voxels (at the origin, per step away), vertices."""

    area: np.ndarray
    volume: np.ndarray
    slope: np.ndarray
    vertices: np.ndarray


@functools.lru_cache(maxsize=64)
def _contributions(spacing: tuple[float, float, float]) -> _Contributions:
    """Ask pyradiomics for the mesh of each single cube, and for each cube moved by one voxel.

    The volume under a triangle is linear in its place. A cube is moved along an axis by repeating its first layer, and
    the cube that this inserts is subtracted.
    """
    mm, unit = np.array(spacing), np.ones(3)
    corners = (np.arange(_CONFIGURATIONS)[:, None] >> _BIT.ravel() & 1).astype(bool).reshape(-1, 2, 2, 2)
    area = np.array([cShape.calculate_coefficients(cube, mm)[0] for cube in corners])
    volume = np.array([_volume(cube, unit) for cube in corners])
    slope = np.zeros((_CONFIGURATIONS, 3))
    for axis in range(3):
        for index, cube in enumerate(corners):
            layers = np.concatenate([cube.take([0], axis), cube], axis=axis)
            inserted = layers.take([0, 1], axis)
            slope[index, axis] = _volume(layers, unit) - _volume(inserted, unit) - volume[index]
    crossed = sum(np.abs(np.diff(corners.astype(np.int64), axis=a)).sum(axis=(1, 2, 3)) for a in (1, 2, 3))
    whole_volume, whole_slope = (np.rint(v * _PARTS).astype(np.int64) for v in (volume, slope))
    # an edge, and the vertex on it, belongs to four cubes
    return _Contributions(area, whole_volume, whole_slope, crossed / 4)


def _volume(cubes: np.ndarray, spacing: np.ndarray) -> float:
    """Signed volume of the mesh of a small mask."""
    return float(cShape.calculate_coefficients(np.ascontiguousarray(cubes), spacing)[1])


# Place of each corner (z, y, x) in the number of a configuration: one side in x fills four bits, as in `_scan`.
_BIT = np.array([[[0, 4], [1, 5]], [[2, 6], [3, 7]]])


@njit(cache=True, nogil=True)
def _scan(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count the configurations of cubes, sum their places, and find the outermost vertices of each line of the grid.

    ``mask`` has a margin of zeros. Returns counts (256), sums of the indices z, y, x (256 x 3), and the lowest and
    highest vertex on lines along x (2 x half z x half y) and along y (2 x half z x half x), in half voxels.
    """
    nz, ny, nx = mask.shape
    counts = np.zeros(_CONFIGURATIONS, dtype=np.int64)
    places = np.zeros((_CONFIGURATIONS, 3), dtype=np.int64)
    along_x = _lines(2 * nz, 2 * ny)
    along_y = _lines(2 * nz, 2 * nx)
    for z in range(nz - 1):
        for y in range(ny - 1):
            a, b, c, d = mask[z, y], mask[z, y + 1], mask[z + 1, y], mask[z + 1, y + 1]
            right = 0
            for x in range(nx - 1):
                left = right
                right = a[x + 1] | b[x + 1] << 1 | c[x + 1] << 2 | d[x + 1] << 3
                index = left | right << 4
                if index in (0, _CONFIGURATIONS - 1):
                    continue
                counts[index] += 1
                places[index, 0] += z
                places[index, 1] += y
                places[index, 2] += x
                here = a[x]
                if here != c[x]:
                    _stretch(along_x, along_y, 2 * z + 1, 2 * y, 2 * x)
                if here != b[x]:
                    _stretch(along_x, along_y, 2 * z, 2 * y + 1, 2 * x)
                if here != a[x + 1]:
                    _stretch(along_x, along_y, 2 * z, 2 * y, 2 * x + 1)
    return counts, places, along_x, along_y


@njit(cache=True, nogil=True)
def _lines(rows: int, columns: int) -> np.ndarray:
    """Lines without a vertex."""
    lines = np.empty((2, rows, columns), dtype=np.int32)
    lines[0] = _NOWHERE
    lines[1] = -_NOWHERE
    return lines


@njit(cache=True, nogil=True)
def _stretch(along_x: np.ndarray, along_y: np.ndarray, z: int, y: int, x: int) -> None:
    """Make the two lines through a vertex reach it."""
    along_x[0, z, y] = min(along_x[0, z, y], x)
    along_x[1, z, y] = max(along_x[1, z, y], x)
    along_y[0, z, x] = min(along_y[0, z, x], y)
    along_y[1, z, x] = max(along_y[1, z, x], y)


def _diameters(along_x: np.ndarray, along_y: np.ndarray, spacing: tuple[float, float, float]) -> Diameters:
    """Largest distances within planes of equal z, y, x and in space.

    A farthest pair in space consists of points that are corners of the hulls of both their planes of equal z and of
    equal y.
    """
    z, y, x = (s / 2 for s in spacing)
    by_slice, corners_z = _within_planes(along_x, y, x)
    by_column, corners_y = _within_planes(np.ascontiguousarray(along_x.transpose(0, 2, 1)), z, x)
    by_row, _ = _within_planes(np.ascontiguousarray(along_y.transpose(0, 2, 1)), z, y)
    side, at_z, at_y = np.nonzero(corners_z & corners_y.transpose(0, 2, 1))
    points = np.stack([at_z * z, at_y * y, along_x[side, at_z, at_y] * x], axis=1)
    radius = ((points - points.mean(axis=0)) ** 2).sum(axis=1) if len(points) else np.zeros(0)
    order = np.argsort(-radius, kind="stable")
    overall = _farthest(points[order], np.sqrt(radius[order]), max(by_slice, by_column, by_row))
    return math.sqrt(by_slice), math.sqrt(by_column), math.sqrt(by_row), math.sqrt(overall)


@njit(cache=True, nogil=True)
def _within_planes(lines: np.ndarray, across: float, along: float) -> tuple[float, np.ndarray]:
    """Largest squared distance of two vertices in the same plane, and which ends of lines are corners of hulls.

    ``lines`` holds the lowest and highest vertex of each line (2 x planes x lines), ``across`` and ``along`` are the
    steps in mm from line to line and along a line.
    """
    planes, count = lines.shape[1:]
    corners = np.zeros(lines.shape, dtype=np.bool_)
    chain = np.empty(count, dtype=np.int64)
    hull = np.empty((2 * count, 2))
    largest = 0.0
    for plane in range(planes):
        size = 0
        for side in range(2):
            values = lines[side, plane]
            length = _chain(values, 1 - 2 * side, chain)
            for line in chain[:length]:
                corners[side, plane, line] = True
                hull[size, 0] = line * across
                hull[size, 1] = values[line] * along
                size += 1
        for i in range(size):
            for j in range(i):
                u, v = hull[i, 0] - hull[j, 0], hull[i, 1] - hull[j, 1]
                largest = max(largest, u * u + v * v)
    return largest, corners


@njit(cache=True, nogil=True)
def _chain(values: np.ndarray, sign: int, chain: np.ndarray) -> int:
    """Lower (sign 1) or upper (sign -1) chain of the convex hull of (line, value); returns its length."""
    size = 0
    for line in range(len(values)):
        if abs(values[line]) == _NOWHERE:
            continue
        while size > 1:
            first, last = chain[size - 2], chain[size - 1]
            rise = np.int64(values[last] - values[first]) * (line - first)
            if sign * (np.int64(values[line] - values[first]) * (last - first) - rise) > 0:
                break
            size -= 1
        chain[size] = line
        size += 1
    return size


@njit(cache=True, nogil=True)
def _farthest(points: np.ndarray, radius: np.ndarray, known: float) -> float:
    """Largest squared distance of two points, sorted by falling distance from a centre; ``known`` is a lower bound."""
    largest = known
    for i in range(len(points)):
        # by the triangle inequality the others are no farther apart; the margin covers rounding
        reach = math.sqrt(largest) * (1 - 1e-9) - radius[i]
        if radius[0] < reach:
            break
        for j in range(i):
            if radius[j] < reach:
                break
            u, v, w = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1], points[i, 2] - points[j, 2]
            largest = max(largest, u * u + v * v + w * w)
    return largest
