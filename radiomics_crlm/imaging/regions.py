"""Regions of a mask: which labels play which role, and the size of each lesion.

Length convention
-----------------
A voxel is represented by the centres of its six faces. The longest diameter is the largest distance between two such
points: a single voxel measures its longest side, a straight row of *n* cubic voxels exactly *n* voxels, and a digitised
sphere about half a voxel more than its true diameter. These are the points that the surface mesh of pyradiomics has,
so ``longest_3d_mm`` equals its ``Maximum3DDiameter`` on the same grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume

ROLES = (
    "lesion",
    "liver",
    "remnant",
    "hepatic_veins",
    "portal_vein",
    "left_liver",
    "right_liver",
    "aorta",
    "spleen",
    "muscle",
)
# A mask that does not tell lesions apart: its connected parts are the lesions.
COMPONENTS = "components"
# A scan that shows no lesion (any more): has to be said, because an empty mask may also be a lost one.
NO_LESION = "none"
# More labels than any patient has lesions: the file is an image or a multi-organ map.
MAX_LABELS = 200
# Looking for boxes makes room for every number up to the largest label; above this, labels are renumbered first.
_LARGEST_COUNTED = 65_535


@dataclass(frozen=True)
class LesionSize:
    """Size and place of one lesion; ``flags`` are words separated by ``;``."""

    lesion: int
    n_voxels: int
    volume_ml: float
    longest_axial_mm: float
    longest_3d_mm: float
    centroid_x_mm: float
    centroid_y_mm: float
    centroid_z_mm: float
    n_slices_x: int
    n_slices_y: int
    n_slices_z: int
    n_components: int
    flags: str


def body_axis(mask: Volume) -> int:
    """Array axis (0, 1 or 2) that runs along the body: slices across it are axial."""
    return 2 - int(np.argmax(np.abs(np.array(mask.direction).reshape(3, 3)[2])))


def as_label_mask(mask: Volume, *, case: str, may_be_empty: bool = False) -> Volume:
    """The mask with integer labels, of 8 bits where they suffice: masks are as large as scans and nearly empty.

    ``may_be_empty``: the manifest says that the scan shows no lesion.

    Raises
    ------
    CaseError
        ``mask_not_integer`` (fractional, negative or huge values), ``empty_mask``, ``too_many_labels``.
    """
    array = mask.array
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise CaseError("mask_not_integer", "the mask holds fractions", where=case, expected="integer labels")
    low, high = array.min(), array.max()
    if low < 0 or high > np.iinfo(np.int32).max:
        what = "the mask holds negative or huge labels"
        raise CaseError("mask_not_integer", what, where=case, expected="labels from 0 to 2147483647")
    if high == 0 and not may_be_empty:
        raise CaseError("empty_mask", "the mask holds no labelled voxel", where=case)
    labels = array.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.int32, copy=False)
    if high > MAX_LABELS and len(np.unique(labels)) - 1 > MAX_LABELS:
        what = "the mask has more labels than a patient has regions; is it an image?"
        raise CaseError("too_many_labels", what, where=case, expected=f"at most {MAX_LABELS}")
    return replace(mask, array=labels)


def bounding_box(region: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Smallest box that holds the voxels of a region (those that are not 0), or None if it is empty."""
    box = [slice(None)] * 3
    for axis in range(3):  # each axis only within what the ones before have left
        hit = np.flatnonzero(region[tuple(box)].any(axis=tuple(k for k in range(3) if k != axis)))
        if not len(hit):
            return None
        box[axis] = slice(int(hit[0]), int(hit[-1]) + 1)
    return box[0], box[1], box[2]


def label_boxes(labels: np.ndarray) -> dict[int, tuple[slice, slice, slice]]:
    """Smallest box of each label that an array of integers holds, by rising label."""
    around = bounding_box(labels)
    if around is None:
        return {}
    part, start = labels[around], [s.start for s in around]
    names = range(1, int(part.max()) + 1)
    if len(names) > _LARGEST_COUNTED:
        names = np.unique(part[part > 0]).tolist()
        part = np.where(part > 0, np.searchsorted(names, part) + 1, 0)
    boxes = zip(names, ndimage.find_objects(part), strict=True)
    return {name: _shifted(box, start) for name, box in boxes if box is not None}


def _shifted(box: tuple[slice, ...], start: list[int]) -> tuple[slice, slice, slice]:
    z, y, x = (slice(s.start + n, s.stop + n) for s, n in zip(box, start, strict=True))
    return z, y, x


def peeled(region: np.ndarray) -> np.ndarray:
    """A region without the voxels at its border in the plane (the last two axes of ``(z, y, x)``).

    Examples
    --------
    >>> int(peeled(np.ones((2, 5, 5), dtype=bool)).sum())
    18
    """
    result, box = np.zeros(region.shape, dtype=bool), bounding_box(region)
    if box is not None:  # beyond its box, nothing can be left
        result[box] = ndimage.binary_erosion(region[box], np.ones((1, 3, 3), dtype=bool))
    return result


def labels_of(mask: Volume, wanted: tuple[int, ...] | None) -> tuple[list[int], list[int]]:
    """Labels of a role that the mask holds, and those that it lacks."""
    box = bounding_box(mask.array)
    present = set() if box is None else {int(n) for n in np.unique(mask.array[box]) if n > 0}
    if wanted is None:
        return sorted(present), []
    return [n for n in wanted if n in present], [n for n in wanted if n not in present]


def keep_labels(mask: Volume, labels: Iterable[int]) -> Volume:
    """The mask with every other label set to 0."""
    box = bounding_box(mask.array)
    if box is None:
        return mask
    part = mask.array[box]
    wanted = np.isin(part, [0, *labels])
    if wanted.all():
        return mask
    kept = np.zeros_like(mask.array)
    kept[box] = np.where(wanted, part, 0)
    return replace(mask, array=kept)


def measure_lesions(mask: Volume, labels: Iterable[int] | None = None) -> pd.DataFrame:
    """Size of each lesion of a label mask, one row per label, sorted by label.

    Returns
    -------
    DataFrame
        Columns of `LesionSize`: ``volume_ml`` (voxel count times voxel volume), ``longest_axial_mm`` (largest in-plane
        diameter over the axial slices, as in RECIST; the slice axis is the one closest to the body axis),
        ``longest_3d_mm``, centroid in mm (LPS), extent in voxels along each index axis, number of 26-connected
        components and flags: ``one_voxel``, ``one_slice`` (one voxel thick along an axis), ``touches_border``,
        ``several_components``.
    """
    boxes = label_boxes(mask.array)
    chosen = list(boxes) if labels is None else sorted(labels)
    rows = [asdict(_measure(mask, n, boxes[n])) for n in chosen]
    return pd.DataFrame(rows, columns=list(LesionSize.__dataclass_fields__))


def volume_ml(mask: Volume, labels: Iterable[int]) -> float:
    """Volume in mL of the union of labels."""
    return int(np.isin(mask.array, list(labels)).sum()) * mask.voxel_volume_ml


def _measure(mask: Volume, label: int, box: tuple[slice, ...]) -> LesionSize:
    """Measure one lesion inside its bounding box."""
    inside = mask.array[box] == label
    start = np.array([s.start for s in reversed(box)])
    n_voxels = int(inside.sum())
    centre = np.argwhere(inside)[:, ::-1].mean(axis=0) + start
    n_components = int(ndimage.label(inside, structure=np.ones((3, 3, 3)))[1])
    border = any(s.start == 0 or s.stop == n for s, n in zip(box, mask.array.shape, strict=True))
    flags = {
        "one_voxel": n_voxels == 1,
        "one_slice": min(inside.shape) == 1,
        "touches_border": border,
        "several_components": n_components > 1,
    }
    axial = body_axis(mask)
    slices = np.moveaxis(inside, axial, 0)
    in_plane = np.array([s for k, s in enumerate(reversed(mask.spacing)) if k != axial])
    x_mm, y_mm, z_mm = (float(c) for c in mask.index_to_mm @ centre + np.array(mask.origin))
    n_x, n_y, n_z = reversed(inside.shape)
    return LesionSize(
        lesion=label,
        n_voxels=n_voxels,
        volume_ml=n_voxels * mask.voxel_volume_ml,
        longest_axial_mm=max(longest_diameter(s, in_plane) for s in slices if s.any()),
        longest_3d_mm=longest_diameter(inside, np.array(mask.spacing)[::-1]),
        centroid_x_mm=x_mm,
        centroid_y_mm=y_mm,
        centroid_z_mm=z_mm,
        n_slices_x=n_x,
        n_slices_y=n_y,
        n_slices_z=n_z,
        n_components=n_components,
        flags=";".join(name for name, raised in flags.items() if raised),
    )


def longest_diameter(inside: np.ndarray, spacing: np.ndarray) -> float:
    """Largest distance in mm between face centres of the voxels of a region, in two or three dimensions.

    Parameters
    ----------
    inside
        Boolean array with at least one true voxel.
    spacing
        Voxel size in mm, one per array axis in the order of the array.

    Examples
    --------
    >>> longest_diameter(np.ones((1, 4), dtype=bool), np.array([0.5, 0.5]))
    2.0
    """
    points = np.concatenate([_face_centres(inside, axis) for axis in range(inside.ndim)]) * spacing
    corners = points[ConvexHull(points).vertices]
    return float(pdist(corners).max())


def _face_centres(inside: np.ndarray, axis: int) -> np.ndarray:
    """First and last face along one axis of every row of voxels (inner faces cannot be extreme), in voxel units."""
    moved = np.moveaxis(inside, axis, -1)
    rows = np.argwhere(moved.any(axis=-1)).astype(float)
    hit = moved[moved.any(axis=-1)]
    first = hit.argmax(axis=1) - 0.5
    last = hit.shape[1] - 1 - hit[:, ::-1].argmax(axis=1) + 0.5
    return np.concatenate([np.insert(rows, axis, end, axis=1) for end in (first, last)])
