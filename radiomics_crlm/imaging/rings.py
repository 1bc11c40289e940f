"""Regions derived from masks: lesions of an unlabelled mask, rings around lesions, their core and rim, healthy liver.

Distance convention
-------------------
Distances are mm from the surface of a lesion to the centre of a voxel. The surface is where the signed distance of the
voxel centres, interpolated linearly, crosses zero; the distances are then measured on a grid that is subdivided to
about ``FINE_STEP_MM``. On anisotropic voxels a plain distance transform would start at the centres of the outermost
lesion voxels and so make every ring half a slice too thin; this one is unbiased to a fraction of a voxel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import bounding_box, label_boxes, labels_of

FINE_STEP_MM = 0.5
# About 200 MiB of working memory and a second of time; larger regions are subdivided less.
MAX_FINE_VOXELS = 4_000_000
# A ring of which less than half is left describes one side of the lesion, not its surroundings (a project choice).
MIN_ACHIEVED = 0.5
_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Ring:
    """Surroundings of one lesion.

    Parameters
    ----------
    inside
        Boolean array ``(z, y, x)`` of the whole scan.
    volume_ml, unclipped_ml
        Volume of the ring, and of the ring before anything was taken away (within the image).
    """

    inside: np.ndarray
    volume_ml: float
    unclipped_ml: float

    @property
    def achieved(self) -> float:
        """Fraction of the unclipped ring that is left; 0 where there was no ring at all."""
        return self.volume_ml / self.unclipped_ml if self.unclipped_ml > 0 else 0.0

    @property
    def too_clipped(self) -> bool:
        """Whether less than ``MIN_ACHIEVED`` of the ring is left."""
        return self.achieved < MIN_ACHIEVED


def split_components(mask: Volume) -> Volume:
    """Label the 26-connected parts of a mask 1, 2, ... from the largest to the smallest (ties: first in the array).

    Examples
    --------
    >>> identity = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    >>> split_components(Volume(np.array([[[7, 0, 7, 7]]]), (1, 1, 1), (0, 0, 0), identity)).array.tolist()
    [[[2, 0, 1, 1]]]
    """
    parts, count = ndimage.label(mask.array > 0, structure=_TOUCHING)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    new = np.zeros(count + 1, dtype=np.int32)
    new[np.argsort(-sizes, kind="stable") + 1] = np.arange(1, count + 1)
    return replace(mask, array=new[parts])


def largest_lesion(mask: Volume) -> int:
    """Label with the most voxels (ties: smallest label).

    Raises
    ------
    InputError
        If the mask holds no lesion.
    """
    sizes = np.bincount(mask.array.ravel())
    if len(sizes) < 2 or not sizes[1:].any():
        raise InputError("the mask holds no lesion")
    return int(np.argmax(sizes[1:])) + 1


def all_lesions(mask: Volume) -> np.ndarray:
    """Union of the lesions, boolean ``(z, y, x)``."""
    return np.asarray(mask.array > 0)


def healthy_liver(liver: np.ndarray, lesions: Volume) -> np.ndarray:
    """Liver without tumour, boolean ``(z, y, x)``."""
    return np.asarray(liver & ~all_lesions(lesions))


def planned_remnant(remnant: np.ndarray, lesions: Volume) -> np.ndarray:
    """Future liver remnant without the tumour in it, boolean ``(z, y, x)``."""
    return np.asarray(remnant & ~all_lesions(lesions))


def peritumoural_ring(
    lesions: Volume,
    label: int,
    width_mm: float,
    *,
    liver: np.ndarray | None = None,
    vessels: Iterable[np.ndarray] = (),
) -> Ring:
    """Voxels whose centre lies outside a lesion and at most ``width_mm`` from its surface.

    Parameters
    ----------
    lesions
        Label mask of all lesions; voxels of the other lesions never belong to the ring.
    liver
        Where given, the ring is clipped to it (a liver mask that leaves vessels or lesions out is fine).
    vessels
        Masks that are taken away.

    Returns
    -------
    Ring
        On the grid of the mask; ``achieved`` tells how much of the full ring is left.

    Raises
    ------
    ConfigError
        If the width is not positive.
    InputError
        If the mask does not hold the label.
    """
    _check(lesions, label, width_mm)
    box = _grown_box(lesions, label, width_mm)
    part = lesions.array[box]
    inside = part == label
    full = ~inside & (distance_outside(inside, lesions.spacing) <= width_mm)
    kept = full & ((part == 0) | inside)
    if liver is not None:
        kept &= liver[box]
    for vessel in vessels:
        kept &= ~vessel[box]
    whole = np.zeros(lesions.array.shape, dtype=bool)
    whole[box] = kept
    voxel = lesions.voxel_volume_ml
    return Ring(whole, int(kept.sum()) * voxel, int(full.sum()) * voxel)


def tumour_surroundings(
    lesions: Volume, width_mm: float, *, liver: np.ndarray, vessels: Iterable[np.ndarray] = ()
) -> np.ndarray:
    """Liver tissue within ``width_mm`` of the surface of any lesion, boolean ``(z, y, x)``: one ring for all lesions.

    Parameters
    ----------
    lesions
        Label mask of all lesions; none of their voxels belongs to the rings.
    liver
        Boolean; voxels outside are left out.
    vessels
        Masks that are taken away.

    Raises
    ------
    ConfigError
        If the width is not positive.
    """
    if not width_mm > 0:
        raise ConfigError("the width of a ring or rim must be positive", expected="mm above 0", got=str(width_mm))
    whole, box = np.zeros(lesions.array.shape, dtype=bool), bounding_box(lesions.array)
    if box is None:
        return whole
    grown = _with_room(box, lesions, width_mm)
    tumour = lesions.array[grown] > 0
    kept = ~tumour & liver[grown] & (distance_outside(tumour, lesions.spacing) <= width_mm)
    for vessel in vessels:
        kept &= ~vessel[grown]
    whole[grown] = kept
    return whole


def core_and_rim(lesions: Volume, label: int, rim_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """A lesion cut in two: voxels deeper than ``rim_mm`` below its surface, and the others.

    Returns
    -------
    core, rim
        Boolean ``(z, y, x)``; they share no voxel and add up to the lesion. The core of a small lesion is empty.

    Raises
    ------
    ConfigError
        If the width is not positive.
    InputError
        If the mask does not hold the label.
    """
    _check(lesions, label, rim_mm)
    box = _grown_box(lesions, label, 0.0)
    inside = lesions.array[box] == label
    deep = inside & (distance_inside(inside, lesions.spacing) > rim_mm)
    core = np.zeros(lesions.array.shape, dtype=bool)
    core[box] = deep
    return core, (lesions.array == label) & ~core


def distance_outside(inside: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance in mm of every voxel centre to the surface of a region; 0 inside.

    Parameters
    ----------
    inside
        Boolean ``(z, y, x)`` with at least one true voxel.
    spacing
        Voxel size in mm, ``(x, y, z)``.
    """
    return _fine_distance(inside, spacing, outside=True)


def distance_inside(inside: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Depth in mm of every voxel centre below the surface of a region; 0 outside.

    Where the region reaches the end of the array, the end is not its surface. Parameters as `distance_outside`.
    """
    if inside.all():
        return np.full(inside.shape, np.inf)
    return _fine_distance(inside, spacing, outside=False)


def fine_steps(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> np.ndarray:
    """Steps in mm ``(z, y, x)`` of the grid on which the distances of an array are measured.

    Distances end at the first point of that grid beyond the surface, so they are too long: by half a step for a flat
    surface on average, by less for a curved one, which comes near to some point of the grid.
    """
    sampling = np.array(spacing[::-1], dtype=float)
    return np.asarray(sampling / _subdivision(shape, sampling))


def _check(lesions: Volume, label: int, width_mm: float) -> None:
    if not (np.isfinite(width_mm) and width_mm > 0):
        raise ConfigError("the width of a ring or rim must be positive", expected="mm above 0", got=str(width_mm))
    if label not in labels_of(lesions, None)[0]:
        raise InputError("the mask does not hold this lesion", got=f"label {label}")


def _grown_box(lesions: Volume, label: int, width_mm: float) -> tuple[slice, slice, slice]:
    """Bounding box of a lesion with room for a ring and two voxels, within the array."""
    return _with_room(label_boxes(lesions.array)[label], lesions, width_mm)


def _with_room(box: tuple[slice, slice, slice], lesions: Volume, width_mm: float) -> tuple[slice, slice, slice]:
    room = [int(np.ceil(width_mm / step)) + 2 for step in reversed(lesions.spacing)]
    z, y, x = (
        slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in zip(box, room, lesions.array.shape, strict=True)
    )
    return z, y, x


def _fine_distance(inside: np.ndarray, spacing: tuple[float, float, float], *, outside: bool) -> np.ndarray:
    """Distance to the interpolated surface at the voxel centres, on one side of it."""
    sampling = np.array(spacing[::-1], dtype=float)
    factors = _subdivision(inside.shape, sampling)
    signed = ndimage.distance_transform_edt(~inside, sampling=sampling)
    if not inside.all():
        signed -= ndimage.distance_transform_edt(inside, sampling=sampling)
    fine = _interpolated(signed.astype(np.float32), factors)
    other_side = fine > _ROUNDING if outside else fine < -_ROUNDING
    distance = ndimage.distance_transform_edt(other_side, sampling=sampling / factors)
    z, y, x = (slice(int(f) // 2, None, int(f)) for f in factors)
    return np.asarray(np.where(inside != outside, distance[z, y, x], 0.0))


def _subdivision(shape: tuple[int, ...], sampling: np.ndarray) -> np.ndarray:
    """Odd number of parts of a voxel along each axis, so that voxel centres are points of the fine grid."""
    step = FINE_STEP_MM
    while True:
        parts = np.maximum(np.ceil(sampling / step - _ROUNDING).astype(int), 1)
        parts += parts % 2 == 0
        if float(np.prod(np.array(shape) * parts, dtype=float)) <= MAX_FINE_VOXELS or (parts == 1).all():
            return parts
        step *= 1.5


def _interpolated(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Linear interpolation at the centres of subdivided voxels; constant beyond the outermost centres."""
    for axis, parts in enumerate(factors.tolist()):
        count = values.shape[axis]
        if parts == 1 or count == 1:
            values = np.repeat(values, parts, axis=axis)
            continue
        at = np.clip((np.arange(count * parts) - (parts - 1) / 2) / parts, 0, count - 1)
        low = np.minimum(at.astype(int), count - 2)
        weight = (at - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
        values = np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight
    return values
