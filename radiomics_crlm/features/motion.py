"""Image and mask shifted by parts of a voxel or rotated, and sampled again on the same grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import label_boxes

# What the extraction sees around a region: its margin, and the spline of its resampling (0.27 per voxel, 1e-6 at 10).
_SURROUNDINGS_MM, _SURROUNDINGS_VOXELS = 10.0, 10
_SPLINE_VOXELS = 12
# Breaks the tie of a shift by half a voxel: the voxel keeps its own label.
_TIE = 1e-6
_ROUNDING = 1e-9

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Translation:
    """The scan sampled a fraction of a voxel away: image by cubic B-spline, mask linearly and cut at one half.

    Parameters
    ----------
    x, y, z
        Fractions of a voxel along the index axes, above -1 and below 1; not all 0.

    Raises
    ------
    ConfigError
        For fractions out of range.
    """

    x: float
    y: float
    z: float

    def __post_init__(self) -> None:
        if not all(-1 < f < 1 for f in (self.x, self.y, self.z)) or not any((self.x, self.y, self.z)):
            raise ConfigError(
                "a translation is out of range", expected="fractions of a voxel above -1 and below 1, not all 0",
                got=f"{self.x:g}, {self.y:g}, {self.z:g}",
            )  # fmt: skip

    @property
    def name(self) -> str:
        """``translate:0.25`` (all three axes) or ``translate:0.25/0/0.5``."""
        parts = (f"{self.x:g}", f"{self.y:g}", f"{self.z:g}")
        return f"translate:{parts[0] if len(set(parts)) == 1 else '/'.join(parts)}"

    @property
    def random(self) -> bool:
        """Whether repeating it makes sense."""
        return False

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """Shifted image and mask."""
        del generator
        shift = np.array([self.z, self.y, self.x])
        return _moved(image, mask, np.eye(3), -shift, -shift * (1 - _TIE))


@dataclass(frozen=True)
class Rotation:
    """Image and mask rotated about an axis parallel to the body axis through the middle of the box of all lesions.

    Parameters
    ----------
    degrees
        From the patient's left towards the back; not 0, at most 180 either way.

    Raises
    ------
    ConfigError
        For an angle out of range.
    """

    degrees: float

    def __post_init__(self) -> None:
        if not 0 < abs(self.degrees) <= 180:
            raise ConfigError(
                "an angle is out of range", expected="degrees from -180 to 180, not 0", got=f"{self.degrees:g}"
            )

    @property
    def name(self) -> str:
        """``rotate:-6``."""
        return f"rotate:{self.degrees:g}"

    @property
    def random(self) -> bool:
        """Whether repeating it makes sense."""
        return False

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """Rotated image and mask."""
        del generator
        angle = np.deg2rad(self.degrees)
        cos, sin = np.cos(angle), np.sin(angle)
        back = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])  # where a point came from
        to_mm = mask.index_to_mm
        matrix = (np.linalg.inv(to_mm) @ back @ to_mm)[::-1, ::-1]
        box = hull(boxes_of(mask))
        centre = np.array([(s.start + s.stop - 1) / 2 for s in box])
        offset = centre - matrix @ centre
        return _moved(image, mask, matrix, offset, offset)


def boxes_of(mask: Volume) -> Mapping[int, Box]:
    """Box of each label.

    Raises
    ------
    InputError
        If the mask holds no label.
    """
    found = label_boxes(mask.array)
    if not found:
        raise InputError("the mask holds no lesion to perturb")
    return found


def hull(boxes: Mapping[int, Box]) -> Box:
    """Smallest box around all of them."""
    every = list(zip(*boxes.values(), strict=True))
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in every)


def widened(box: Box, volume: Volume, reach_mm: float, voxels: int) -> Box:
    """The box with room on all sides, within the image."""
    room = [int(np.ceil(reach_mm / step)) + voxels for step in reversed(volume.spacing)]
    return tuple(
        slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in zip(box, room, volume.array.shape, strict=True)
    )


def _moved(
    image: Volume, mask: Volume, matrix: np.ndarray, offset: np.ndarray, mask_offset: np.ndarray
) -> tuple[Volume, Volume]:
    """Image and mask sampled at ``matrix @ index + offset`` (indices ``z, y, x``).

    The image changes around the lesions only, as far as an extraction looks.
    """
    labels = _moved_mask(mask, matrix, mask_offset)
    moved = replace(mask, array=labels)
    array = image.array.copy()
    if labels.any():
        boxes = {n: widened(b, image, _SURROUNDINGS_MM, _SURROUNDINGS_VOXELS) for n, b in boxes_of(moved).items()}
        whole = hull(boxes)
        apart = sum(_size(box) for box in boxes.values()) < _size(whole)
        for box in boxes.values() if apart else (whole,):
            array[box] = as_type(_sampled(image.array, box, matrix, offset), array.dtype)
    return replace(image, array=array), moved


def _size(box: Box) -> int:
    return int(np.prod([s.stop - s.start for s in box]))


def _moved_mask(mask: Volume, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Each region by linear interpolation, cut at one half: no voxel can belong to two."""
    labels = np.zeros_like(mask.array)
    forward = np.linalg.inv(matrix)
    for label, box in boxes_of(mask).items():
        corners = np.array(list(itertools.product(*((s.start, s.stop - 1) for s in box)))) - offset
        reached = corners @ forward.T
        low = np.maximum(np.floor(reached.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(reached.max(axis=0)).astype(int) + 2, mask.array.shape)
        if (high <= low).any():
            continue
        start = np.array([s.start for s in box]) - 1
        share = ndimage.affine_transform(
            np.pad((mask.array[box] == label).astype(np.float64), 1), matrix, matrix @ low + offset - start,
            output_shape=tuple(high - low), order=1, mode="constant",
        )  # fmt: skip
        labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][share > 0.5] = label
    return labels


def _sampled(array: np.ndarray, box: Box, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Cubic B-spline values for the voxels of a box; beyond the image, its border goes on."""
    low = np.array([s.start for s in box])
    shape = tuple(s.stop - s.start for s in box)
    corners = np.array(list(itertools.product(*((s.start, s.stop - 1) for s in box)))) @ matrix.T + offset
    start = np.clip(np.floor(corners.min(axis=0)).astype(int) - _SPLINE_VOXELS, 0, np.array(array.shape) - 1)
    stop = np.clip(np.ceil(corners.max(axis=0)).astype(int) + _SPLINE_VOXELS, start + 1, array.shape)
    part = array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].astype(np.float64)
    origin = matrix @ low + offset - start
    first = round(float(origin[0]))
    off_slice = np.abs([matrix[0] - (1, 0, 0), matrix[:, 0] - (1, 0, 0)]).max()
    if off_slice < _ROUNDING and abs(origin[0] - first) < _ROUNDING:
        planes = part[first : first + shape[0]]  # slices stay slices: two dimensions are four times as fast
        return np.stack([_spline(plane, matrix[1:, 1:], origin[1:], shape[1:]) for plane in planes])
    return _spline(part, matrix, origin, shape)


def _spline(part: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(ndimage.affine_transform(part, matrix, offset, output_shape=shape, order=3, mode="nearest"))


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in the type of the image; whole numbers are rounded, and kept within the type."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
