"""Resampling as the Image Biomarker Standardisation Initiative (IBSI) defines it.

pyradiomics puts its resampled grid into a corner of the image, resamples masks by their nearest voxel and truncates
interpolated Hounsfield units. Here the centres of both grids coincide, the share of a region in a voxel decides at one
half, and Hounsfield units are rounded (reference manual, chapter "Image processing", doi:10.1148/radiol.2020191145).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from radiomics_crlm.imaging.geometry import Volume

_INTERPOLATORS = {
    "sitkBSpline": sitk.sitkBSpline,
    "sitkLinear": sitk.sitkLinear,
    "sitkNearestNeighbor": sitk.sitkNearestNeighbor,
}
# Interpolated values carry rounding noise of about 1e-12. Decisions that hang on it (a half rounds up, a share of one
# half belongs to the region, an image that is a whole number of voxels long) are taken this much to one side.
_NOISE = 1e-6
# The influence of a voxel on cubic B-spline coefficients falls by 0.27 per voxel: below double precision after 28.
_MARGIN = 32

Box = tuple[slice, ...]


@dataclass(frozen=True)
class _Grid:
    """Voxel centres along x, y, z in units of the voxels of the image: ``start + step * (0 .. size - 1)``."""

    start: np.ndarray
    step: np.ndarray
    size: np.ndarray

    def part(self, low: np.ndarray, high: np.ndarray) -> _Grid:
        """The part that covers image indices ``low`` to ``high``, with at least one voxel."""
        first = np.clip(np.floor((low - self.start) / self.step), 0, self.size - 1).astype(int)
        last = np.clip(np.ceil((high - self.start) / self.step), first, self.size - 1).astype(int)
        return _Grid(self.start + first * self.step, self.step, last - first + 1)

    def within(self, other: _Grid) -> Box:
        """Where this part lies in the array of another one."""
        first = np.rint((self.start - other.start) / self.step).astype(int)
        return tuple(slice(int(f), int(f + n)) for f, n in zip(first[::-1], self.size[::-1], strict=True))


def grid_size(size: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]) -> tuple[int, ...]:
    """Voxels per axis of the resampled grid: enough to cover the extent of the image, rounded up.

    Examples
    --------
    >>> grid_size((4, 4, 60), (3.0, 3.0, 3.0), (2.0, 1.0, 2.0))
    (6, 12, 90)
    """
    pairs = zip(size, spacing, new_spacing, strict=True)
    return tuple(max(1, int(np.ceil(n * old / new - _NOISE))) for n, old, new in pairs)


def resample(
    image: Volume,
    mask: Volume,
    spacing_mm: Sequence[float],
    interpolator: str,
    *,
    round_to_integers: bool,
    pad_voxels: int | None = None,
) -> tuple[Volume, Volume]:
    """Image and mask on a grid whose centre is that of the image.

    Parameters
    ----------
    image, mask
        On one grid. Each positive label of the mask is a region, each is resampled on its own.
    spacing_mm
        New distance between voxel centres, ``(x, y, z)``, mm.
    interpolator
        ``sitkBSpline``, ``sitkLinear`` or ``sitkNearestNeighbor``, for the image.
    round_to_integers
        Round the image to the nearest integer, halves upwards, and return it as int32: for Hounsfield units.
    pad_voxels
        Return only the part of the grid around the regions and so many voxels more, at most to its border; None: all
        of it. Values are the same up to rounding noise, which does not show where they are rounded to integers.

    Returns
    -------
    image, mask
        The image in double precision unless rounded; the mask in its own type. A voxel belongs to a region if trilinear
        interpolation gives the region a share of at least one half; where two regions have exactly one half each, to
        the smaller label. A region with no such voxel (thin ones) is absent from the mask. Voxel centres beyond the
        outermost ones of the image take the values at the border. Flags and source of the image are kept.
    """
    size = np.array(image.array.shape[::-1])
    step = np.array(spacing_mm, dtype=float) / np.array(image.spacing)
    new_size = np.array(grid_size(size.tolist(), image.spacing, spacing_mm))
    grid = _Grid(0.5 * (size - 1 - step * (new_size - 1)), step, new_size)
    if pad_voxels is not None and (mask.array > 0).any():
        low, high = _ends(mask.array > 0)
        grid = grid.part(low - (pad_voxels + 1) * step, high + (pad_voxels + 1) * step)
    values = _interpolate(image.array, grid, _INTERPOLATORS[interpolator])
    if round_to_integers:
        values = np.floor(values + (0.5 + _NOISE)).astype(np.int32)
    found = np.zeros(values.shape, dtype=mask.array.dtype)
    for label in sorted(np.unique(mask.array[mask.array > 0]).tolist(), reverse=True):
        inside = mask.array == label
        low, high = _ends(inside)
        part = grid.part(low - 1, high + 1)
        share = _interpolate(inside, part, sitk.sitkLinear)
        found[part.within(grid)][share >= 0.5 - _NOISE] = label
    return _volume(values, grid, image), _volume(found, grid, image)


def _volume(array: np.ndarray, grid: _Grid, image: Volume) -> Volume:
    """An array on a grid in the space of the image."""
    x, y, z = (np.array(image.origin) + image.index_to_mm @ grid.start).tolist()
    dx, dy, dz = (np.array(image.spacing) * grid.step).tolist()
    return Volume(array, (dx, dy, dz), (x, y, z), image.direction, image.flags, image.source)


def _ends(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest index ``(x, y, z)`` of the true voxels."""
    index = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in (2, 1, 0)]
    return np.array([i[0] for i in index]), np.array([i[-1] for i in index])


def _interpolate(array: np.ndarray, grid: _Grid, interpolator: int) -> np.ndarray:
    """Values in double precision on a grid, shape ``(z, y, x)``; beyond the image, those of the nearest voxel."""
    size = np.array(array.shape[::-1])
    low = np.clip(np.floor(grid.start) - _MARGIN, 0, size - 1).astype(int)
    high = np.clip(np.ceil(grid.start + grid.step * (grid.size - 1)) + _MARGIN, low, size - 1).astype(int)
    near = array[tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))]
    itk = sitk.GetImageFromArray(near.astype(np.float64))
    # Centres of new voxels are never further out than the border of the image; rounding noise alone puts them there.
    filtered = sitk.Resample(
        itk,
        grid.size.tolist(),
        sitk.Transform(),
        interpolator,
        (grid.start - low).tolist(),
        grid.step.tolist(),
        np.eye(3).ravel().tolist(),
        0.0,
        sitk.sitkFloat64,
        True,  # beyond: the nearest voxel
    )
    return sitk.GetArrayFromImage(filtered)
