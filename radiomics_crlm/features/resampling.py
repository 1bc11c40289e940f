"""A region on the grid on which its features are computed.

pyradiomics lays its new grid into the corner of the mask and computes the surroundings of the region only, but ITK
derives the B-spline coefficients of the whole image each time. Here they are derived around the region; the index space
stays that of the whole image, so that ties and rounding fall as in the engine. Whether every bit agrees on the machine
at hand is tried once per process; if not, ITK itself resamples a part that keeps the origin of the image.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import SimpleITK as sitk

from radiomics_crlm.features import bspline
from radiomics_crlm.features.ibsi_grid import resample as resample_ibsi
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.imaging.geometry import Volume, to_itk

Box = tuple[slice, ...]
Need = Literal["surroundings", "region", "mask"]
# Most bytes at a time for each voxel of the grid of a region, measured and rounded up: to resample and to compute the
# original image; with filters, which hold copies of it; for each voxel of the region, in a 3-D binary pattern.
_BYTES_PLAIN, _BYTES_FILTERED, _BYTES_PATTERN = 48, 80, 9000
_PATTERN_VOXELS = 100_000  # at a time
# The influence of a voxel on cubic B-spline coefficients falls by 0.27 per voxel: below double precision after 28, and
# what rounding keeps of it dies out over the voxels after that.
_CROP_MARGIN = 48
# Voxels: closer to the border than this, rounding decides what ITK takes for inside.
_TIE = 1e-9


@dataclass(frozen=True)
class LabelPart:
    """Labels of a part of an image, 0 elsewhere: small unsigned integers, ``(z, y, x)``, and where their box starts."""

    array: np.ndarray
    start: tuple[int, int, int]

    def inside(self, label: int, box: Box) -> np.ndarray:
        """Whether each voxel of a box of the image has a label."""
        found = np.zeros([s.stop - s.start for s in box], dtype=bool)
        low = [max(s.start, a) for s, a in zip(box, self.start, strict=True)]
        high = [min(s.stop, a + n) for s, a, n in zip(box, self.start, self.array.shape, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            here = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, box, strict=True))
            there = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, self.start, strict=True))
            found[here] = self.array[there] == label
        return found


@dataclass(frozen=True)
class OnGrid:
    """A region and the image around it: boolean array and image on one grid."""

    image: Volume
    inside: np.ndarray


@dataclass(frozen=True)
class Grid:
    """A new grid in the space of an image; all ``(x, y, z)``, lengths in mm."""

    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    size: tuple[int, int, int]


def region_on_grid(
    image: Volume, labels: LabelPart, label: int, box: Box, profile: Profile, need: Need = "surroundings"
) -> OnGrid:
    """A region, and the part of the image that its features need, on the grid of a profile.

    Parameters
    ----------
    image
        Grey levels, prepared and normalised.
    labels, label, box
        Labels, value of the region among them, and box of the region in the image.
    need
        Grey levels that are used: ``surroundings`` of the region, for filters; those in the ``region``; or none but the
        ``mask``. Others may be anything.

    Notes
    -----
    Without resampling, filters see the whole image, as in pyradiomics. With it, they see ``profile.pad_voxels`` around
    the region.
    """
    whole = tuple(slice(0, n) for n in image.array.shape)
    if profile.resample_mm is None:
        part = whole if need == "surroundings" else box
        return OnGrid(_part(image, part), labels.inside(label, part))
    if profile.grid == "ibsi":
        return _ibsi(image, labels.inside(label, whole), profile)
    grid = new_grid(image, box, profile.resample_mm, profile.pad_voxels)
    if grid is None:
        part = _padded(box, profile.pad_voxels, image.array.shape)
        return OnGrid(_part(image, part), labels.inside(label, part))
    inside = _region(image, labels, label, grid)
    array = _grey_levels(image, grid, inside, str(profile.interpolator), need)
    return OnGrid(Volume(array, grid.spacing, grid.origin, image.direction), inside)


def needed_bytes(image: Volume, box: Box, profile: Profile) -> int:
    """Upper estimate of the memory that the features of a region need beyond the prepared scan."""
    size = np.array(image.array.shape[::-1])
    ratio = np.array(image.spacing) / np.array(profile.resample_mm or image.spacing)
    margin = 2 * profile.pad_voxels + 2 if profile.filtered else 2
    extent = np.array([s.stop - s.start for s in reversed(box)])
    grid = np.minimum(np.ceil(extent * ratio) + margin, np.ceil(size * ratio))
    if profile.resample_mm is None and profile.filtered:
        grid = size
    need = float(np.prod(grid)) * (_BYTES_FILTERED if profile.filtered else _BYTES_PLAIN)
    if profile.resample_mm is not None:  # coefficients of the spline
        need += 8.0 * float(np.prod(np.minimum(extent + np.ceil(margin / ratio) + 2 * _CROP_MARGIN, size)))
    if profile.lbp_3d:
        need += _BYTES_PATTERN * min(float(np.prod(np.ceil(extent * ratio))), _PATTERN_VOXELS)
    return int(need)


def new_grid(image: Volume, box: Box, spacing_mm: tuple[float, ...], pad: int) -> Grid | None:
    """The grid that ``radiomics.imageoperations.resampleImage`` makes for a region; none if the spacing stays.

    An axis along which the region is one voxel thick keeps its spacing.
    """
    old = np.array(image.spacing)
    low = np.array([s.start for s in reversed(box)])
    extent = np.array([s.stop - s.start for s in reversed(box)])
    new = np.where(extent != 1, np.array(spacing_mm), old)
    if np.allclose(old, new):
        return None
    ratio = old / new
    first = np.maximum(np.floor((low - 0.5) * ratio - pad), 0)
    last = np.minimum(
        np.ceil((low + extent - 0.5) * ratio + pad), np.ceil(np.array(image.array.shape[::-1]) * ratio) - 1
    )
    corner = np.array(0.5 * (new - old) / old) + first / ratio
    origin = _frame(image.spacing, image.origin, image.direction).TransformContinuousIndexToPhysicalPoint(
        corner.tolist()
    )
    x, y, z = (int(n) for n in last - first + 1)
    dx, dy, dz = (float(s) for s in new)
    return Grid((dx, dy, dz), origin, (x, y, z))


def _region(image: Volume, labels: LabelPart, label: int, grid: Grid) -> np.ndarray:
    """The region on a new grid, by the nearest voxel."""
    if same_as_itk():
        return _nearest(labels, label, image.array.shape, row_ends(image, grid), grid)
    whole = labels.inside(label, tuple(slice(0, n) for n in image.array.shape))
    return np.asarray(_by_itk(replace(image, array=whole), grid, "sitkNearestNeighbor") == 1)


def _grey_levels(image: Volume, grid: Grid, inside: np.ndarray, interpolator: str, need: Need) -> np.ndarray:
    """The image on a new grid, as far as needed."""
    if need == "mask":
        return np.zeros(inside.shape, dtype=image.array.dtype)
    ends = row_ends(image, grid)
    if same_as_itk() and interpolator == "sitkBSpline" and not _on_border(ends, grid.size[0], image.array.shape):
        wanted = inside if need == "region" else np.ones_like(inside)
        return _spline_values(image.array, ends, wanted)
    return _by_itk(image, grid, interpolator)


def _on_border(ends: np.ndarray, width: int, shape: tuple[int, ...]) -> bool:
    """Whether a voxel of a grid lies on the border of the image but for rounding, which decides if it is inside.

    Never said of an image of two voxels along an axis, where ITK must not be asked: it reads beyond its memory.
    """
    if 2 in shape:
        return False
    first, step = ends[0], (ends[1] - ends[0]) / width
    for axis, size in enumerate(reversed(shape)):
        for border in (-0.5, size - 0.5):
            away, each = border - first[..., axis], step[..., axis]
            with np.errstate(divide="ignore", invalid="ignore"):
                nearest = np.clip(np.nan_to_num(np.rint(away / each)), 0, width - 1)
            if (np.abs(away - nearest * each) < _TIE).any():
                return True
    return False


def _nearest(labels: LabelPart, label: int, shape: tuple[int, ...], ends: np.ndarray, grid: Grid) -> np.ndarray:
    """Whether the voxel of an image nearest to each voxel of a grid has a label."""
    inside = np.empty(grid.size[::-1], dtype=np.bool_)
    start, size = (np.array(n[::-1], dtype=np.int64) for n in (labels.start, shape))
    bspline.nearest(labels.array, start, size, label, ends, inside)
    return inside


def _spline_values(array: np.ndarray, ends: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Interpolated grey levels in the type of the image, clamped to its range and truncated as ITK does.

    Rows are computed between their first and last wanted voxel; the rest is zero.
    """
    size = np.array(array.shape[::-1])
    low = np.clip(np.floor(ends.min(axis=(0, 1, 2))).astype(int) - _CROP_MARGIN, 0, size - 1)
    high = np.clip(np.ceil(ends.max(axis=(0, 1, 2))).astype(int) + _CROP_MARGIN, low + 1, size)
    part = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
    spline = bspline.coefficients(np.array(array[part], dtype=np.float64, order="C"))
    reach = np.zeros((*wanted.shape[:2], 2), dtype=np.int64)
    reach[..., 0] = wanted.argmax(axis=2)
    reach[..., 1] = np.where(wanted.any(axis=2), wanted.shape[2] - wanted[..., ::-1].argmax(axis=2), 0)
    values = np.zeros(wanted.shape)
    bspline.interpolate(spline, low, size, ends, reach, values)
    if array.dtype.kind in "iu":
        bounds = np.iinfo(array.dtype)
        values = np.clip(values, bounds.min, bounds.max, out=values)
    return values.astype(array.dtype, copy=False)


def row_ends(image: Volume, grid: Grid) -> np.ndarray:
    """Continuous index in the image of the first voxel of each row of a grid, and of the one after its last.

    ITK interpolates between these two along a row. Shape ``(2, z, y, 3)``, the last axis x, y, z. The additions are
    those of ITK in its order, with its own matrices.
    """
    corner = (0.0, 0.0, 0.0)
    new, old = (_frame(s, corner, image.direction) for s in (grid.spacing, image.spacing))
    to_mm = np.array([new.TransformIndexToPhysicalPoint(step) for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]).T
    to_index = np.array([old.TransformPhysicalPointToContinuousIndex(p) for p in np.eye(3).tolist()]).T
    width, height, depth = grid.size
    z, y = (n.astype(float) for n in np.indices((depth, height)))
    ends = np.empty((2, depth, height, 3))
    for end, x in zip(ends, (0.0, float(width)), strict=True):
        away = [
            grid.origin[r] + to_mm[r, 0] * x + to_mm[r, 1] * y + to_mm[r, 2] * z - image.origin[r] for r in range(3)
        ]
        for r in range(3):
            end[..., r] = to_index[r, 0] * away[0] + to_index[r, 1] * away[1] + to_index[r, 2] * away[2]
    return ends


@functools.cache
def same_as_itk() -> bool:
    """Whether our interpolation gives the bits of SimpleITK on this machine.

    It may not where ITK was compiled to round a product and a sum at once. The image of the trial is small and oblique,
    its grid reaches beyond it and has points half-way between two voxels.
    """
    rng = np.random.default_rng(0)
    direction = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
    image = Volume(rng.normal(60, 400, (23, 21, 24)), (0.7, 0.8, 2.5), (-31.7, 12.25, -400.5), direction)
    labels = replace(image, array=rng.integers(0, 2, image.array.shape).astype(np.uint8))
    spacing, size = (1.0, 1.0, 1.0), (17, 17, 58)
    origin = _frame(image.spacing, image.origin, direction).TransformContinuousIndexToPhysicalPoint((0.2, 0.1, -0.3))
    for grid in (Grid(spacing, origin, size), Grid((0.5, 0.5, 0.5), image.origin, (9, 11, 13))):
        ends = row_ends(image, grid)
        inside = _nearest(LabelPart(labels.array, (0, 0, 0)), 1, labels.array.shape, ends, grid)
        if not np.array_equal(inside, _by_itk(labels, grid, "sitkNearestNeighbor") == 1):
            return False
        values = _spline_values(image.array, ends, np.ones_like(inside))
        if not np.array_equal(values, _by_itk(image, grid, "sitkBSpline")):
            return False
    return True


def _by_itk(image: Volume, grid: Grid, interpolator: str) -> np.ndarray:
    """Values on a grid by ITK, from a part of the image that keeps its origin: cropped at the far ends alone."""
    far = row_ends(image, grid).max(axis=(0, 1, 2))
    stop = np.clip(np.ceil(far).astype(int) + _CROP_MARGIN, 1, image.array.shape[::-1])
    part = replace(image, array=image.array[tuple(slice(0, n) for n in stop[::-1])])
    resample = sitk.ResampleImageFilter()
    resample.SetOutputSpacing(grid.spacing)
    resample.SetOutputDirection(image.direction)
    resample.SetOutputOrigin(grid.origin)
    resample.SetSize(grid.size)
    resample.SetInterpolator(getattr(sitk, interpolator))
    return np.asarray(sitk.GetArrayFromImage(resample.Execute(to_itk(part))))


def _ibsi(image: Volume, inside: np.ndarray, profile: Profile) -> OnGrid:
    """Image and region on the grid of the Image Biomarker Standardisation Initiative."""
    values, mask = resample_ibsi(
        image,
        replace(image, array=inside.astype(np.uint8)),
        profile.resample_mm or image.spacing,
        str(profile.interpolator),
        round_to_integers=profile.modality == "CT",
        pad_voxels=profile.pad_voxels,
    )
    return OnGrid(values, mask.array == 1)


def _frame(spacing: tuple[float, ...], origin: tuple[float, ...], direction: tuple[float, ...]) -> sitk.Image:
    """An image of one voxel, for ITK's way from indices to mm and back."""
    frame = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    frame.SetSpacing(spacing)
    frame.SetOrigin(origin)
    frame.SetDirection(direction)
    return frame


def _padded(box: Box, pad: int, shape: tuple[int, ...]) -> Box:
    """A box with a margin, at most to the border of the image."""
    return tuple(slice(max(s.start - pad, 0), min(s.stop + pad, n)) for s, n in zip(box, shape, strict=True))


def _part(image: Volume, box: Box) -> Volume:
    """A part of an image; its voxels keep their places in mm."""
    if all(s.start == 0 and s.stop == n for s, n in zip(box, image.array.shape, strict=True)):
        return image
    start = np.array([s.start for s in reversed(box)])
    x, y, z = (np.array(image.origin) + image.index_to_mm @ start).tolist()
    return replace(image, array=image.array[box], origin=(x, y, z))
