"""Put planes of voxels onto the grid of an image by their position in mm, or say why they do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import SAME_GRID_TOLERANCE_VOXELS, Volume

# Along the normal, single slices of an accepted series may lie off the even grid by this fraction of their distance
# (`radiomics_crlm.imaging.dicom.SPACING_TOLERANCE`), and a mask drawn on them does so too.
OFF_SLICE_TOLERANCE_VOXELS = 0.05


@dataclass(frozen=True)
class Plane:
    """Where a plane of voxels lies: centre of its first voxel and the steps along rows and columns, in mm (LPS)."""

    position: tuple[float, float, float]
    along_row: tuple[float, float, float]  # from one column to the next
    along_column: tuple[float, float, float]  # from one row to the next
    shape: tuple[int, int]  # rows, columns


@dataclass(frozen=True)
class Place:
    """A plane in index coordinates ``(x, y, z)`` of an image: its first voxel, two unit steps, and the misfit."""

    start: tuple[int, int, int]
    along_row: tuple[int, int, int]
    along_column: tuple[int, int, int]
    offset_mm: float
    offset_voxels: float


def place_plane(plane: Plane, image: Volume, *, case: str) -> Place:
    """Find the voxels of ``image`` that a plane covers.

    The plane may be cropped, mirrored or turned by right angles against the image and may reach beyond it; its corners
    must lie on voxel centres within ``SAME_GRID_TOLERANCE_VOXELS`` (0.01 voxel), across slices within
    ``OFF_SLICE_TOLERANCE_VOXELS`` (0.05 of the slice distance).

    Raises
    ------
    CaseError
        ``geometry_mismatch``, with the offset in mm and in voxels.
    """
    to_index = np.linalg.inv(image.index_to_mm)
    first = to_index @ (np.array(plane.position) - np.array(image.origin))
    steps = to_index @ np.array([plane.along_row, plane.along_column]).T
    start, whole = np.round(first), np.round(steps)
    rows, columns = plane.shape
    corners = np.array([[0, 0], [columns - 1, 0], [0, rows - 1], [columns - 1, rows - 1]], dtype=float).T
    misfit = (first - start)[:, None] + (steps - whole) @ corners
    offset_mm = float(np.linalg.norm(image.index_to_mm @ misfit, axis=0).max())
    worst = np.abs(misfit).max(axis=1)
    unit = sorted(np.abs(whole).sum(axis=0)) == [1, 1] and not (np.abs(whole).sum(axis=1) > 1).any()
    limits = np.full(3, SAME_GRID_TOLERANCE_VOXELS)
    limits[_normal(whole)] = OFF_SLICE_TOLERANCE_VOXELS
    if not unit or not np.isfinite(misfit).all() or (worst > limits).any():
        got = f"{offset_mm:.3f} mm = {worst.max():.3f} voxel" if unit else "another voxel size or orientation"
        raise CaseError(
            "geometry_mismatch",
            "mask and image lie on different grids",
            where=case,
            expected=f"voxel centres within {SAME_GRID_TOLERANCE_VOXELS} voxel in the plane and "
            f"{OFF_SLICE_TOLERANCE_VOXELS} across slices",
            got=got,
            remedy="export the mask on the grid of this image",
        )
    x, y, z = (int(v) for v in start)
    row, column = ([int(v) for v in step] for step in whole.T)
    return Place((x, y, z), (row[0], row[1], row[2]), (column[0], column[1], column[2]), offset_mm, float(worst.max()))


def _normal(steps: np.ndarray) -> int:
    """Index axis that two unit steps leave out."""
    return int(np.argmin(np.abs(steps).sum(axis=1)))


def paint(target: np.ndarray, inside: np.ndarray, place: Place) -> int:
    """Set the voxels of ``target`` (boolean, ``[z, y, x]``) where ``inside`` (rows, columns) is true.

    Returns
    -------
    int
        True voxels of the plane that lie outside the target.
    """
    kept = [_overlap(inside.shape[axis], step, place.start, target.shape) for axis, step in _axes(place)]
    rows, columns = kept
    normal = _normal(np.array([place.along_row, place.along_column]).T)
    level = place.start[normal]
    if rows.start >= rows.stop or columns.start >= columns.stop or not 0 <= level < target.shape[2 - normal]:
        return int(np.count_nonzero(inside))
    part = inside[rows, columns]
    where: list[slice | int] = [0, 0, 0]
    where[2 - normal] = level
    axes = []
    for (_, step), span in zip(_axes(place), kept, strict=True):
        axis = int(np.argmax(np.abs(step)))
        axes.append(2 - axis)
        at = place.start[axis] + step[axis] * np.array([span.start, span.stop - 1])
        where[2 - axis] = slice(int(at.min()), int(at.max()) + 1)
        if step[axis] < 0:
            part = np.flip(part, axis=len(axes) - 1)
    target[tuple(where)] |= part if axes[0] < axes[1] else part.T
    if part.shape == inside.shape:
        return 0
    return int(np.count_nonzero(inside)) - int(np.count_nonzero(part))


def _axes(place: Place) -> tuple[tuple[int, tuple[int, int, int]], tuple[int, tuple[int, int, int]]]:
    """Array axis of the plane and the index step that goes with it: rows first."""
    return (0, place.along_column), (1, place.along_row)


def _overlap(count: int, step: tuple[int, int, int], start: tuple[int, int, int], shape: tuple[int, ...]) -> slice:
    """Rows (or columns) of a plane that fall inside the target."""
    axis = int(np.argmax(np.abs(step)))
    size, at = shape[2 - axis], start[axis]
    low, high = (-at, size - at) if step[axis] > 0 else (at - size + 1, at + 1)
    return slice(max(0, low), max(0, min(count, high)))
