"""Which lesion of one scan is which lesion of the next: rigid alignment of the livers, overlap, then distance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from radiomics_crlm.imaging.geometry import Volume, from_itk, to_itk
from radiomics_crlm.imaging.regions import bounding_box, label_boxes

# A lesion is the same if this share of the smaller of the two lies in the other. Alignment of livers leaves a few mm.
MIN_OVERLAP = 0.25
# What does not overlap is the same within this distance of the centres: the residual of the alignment of a liver that
# breathes and deforms, plus the radii of both (a choice of this project).
MAX_DISTANCE_MM = 10.0
# Below this agreement of the aligned livers the pairs of lesions are not to be trusted.
MIN_LIVER_DICE = 0.75
_REGISTRATION_MM = 4.0
_MARGIN_MM = 24.0


@dataclass(frozen=True)
class Alignment:
    """Rigid map from the second scan to the first: ``x_first = rotation @ x_second + shift`` (LPS, mm).

    ``dice`` is the agreement of the livers after it; None if there was nothing to align by. ``method`` is ``livers`` or
    ``scanner`` (coordinates taken as they are).
    """

    rotation: np.ndarray
    shift: np.ndarray
    method: str
    dice: float | None = None

    @property
    def moved_mm(self) -> float:
        """Length of the shift."""
        return float(np.linalg.norm(self.shift))

    @property
    def turned_deg(self) -> float:
        """Angle of the rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1, 1))))

    @property
    def doubtful(self) -> bool:
        """Whether pairs of lesions found with it need a look."""
        return self.dice is None or self.dice < MIN_LIVER_DICE


@dataclass(frozen=True)
class Group:
    """Lesions of the first scan that became lesions of the second.

    ``fate`` is ``matched`` (one to one), ``merged`` (several to one), ``split`` (one to several), ``regrouped``
    (several to several), ``disappeared`` (one to none) or ``new`` (none to one). ``by`` says how they were found:
    ``overlap``, ``distance``, or nothing.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    fate: str
    by: str = ""


def align(first: Volume, second: Volume, liver_first: np.ndarray | None, liver_second: np.ndarray | None) -> Alignment:
    """Rigid alignment of two scans by their livers.

    The signed distance maps of the livers are registered on a 4 mm grid, starting from their centres; of the result,
    the mere shift of the centres and no movement at all, the one with the best agreement (Dice) is taken. One thread
    and all voxels: the result is always the same.

    Parameters
    ----------
    first, second
        Volumes whose grids the livers lie on.
    liver_first, liver_second
        Boolean ``(z, y, x)``, lesions included; without both the scanner coordinates are taken as they are.
    """
    still = Alignment(np.eye(3), np.zeros(3), "scanner")
    if liver_first is None or liver_second is None or not liver_first.any() or not liver_second.any():
        return still
    one = _coarse(replace(first, array=liver_first))
    other = _coarse(replace(second, array=liver_second))
    by_centre = _centre(one) - _centre(other)
    candidates = [
        _registered(one, other, by_centre),
        Alignment(np.eye(3), by_centre, "livers"),
        replace(still, method="livers"),
    ]
    scored = [replace(c, dice=_dice(one, other, c)) for c in candidates]
    return max(scored, key=lambda c: c.dice or 0.0)


def match_lesions(before: Volume, after: Volume, alignment: Alignment) -> list[Group]:
    """Match the lesions of two scans.

    Two lesions belong together if ``MIN_OVERLAP`` of the smaller one lies in the other after alignment; lesions linked
    in this way form a group, however many. Those left over are paired by the distance of their centres, best pairs
    first overall, as long as it is at most ``MAX_DISTANCE_MM`` plus both radii (of spheres of the same volume).

    Parameters
    ----------
    before, after
        Label masks, each positive label one lesion; the grids may differ.
    alignment
        From the second scan to the first.

    Returns
    -------
    list of Group
        Every lesion of both scans stands in exactly one group; sorted by the labels before, then after.
    """
    old, new = _labels(before), _labels(after)
    linked = _overlap(before, after, alignment, old, new) >= MIN_OVERLAP
    groups = [g for g in _groups(linked, old, new) if g.before and g.after]
    left = [n for n in old if not any(n in g.before for g in groups)]
    right = [n for n in new if not any(n in g.after for g in groups)]
    for one, other in _nearest(before, after, alignment, left, right):
        groups.append(Group((one,), (other,), "matched", "distance"))
        left.remove(one)
        right.remove(other)
    groups += [Group((n,), (), "disappeared") for n in left] + [Group((), (n,), "new") for n in right]
    return sorted(groups, key=lambda g: (not g.before, g.before, g.after))


def _labels(mask: Volume) -> list[int]:
    return [int(n) for n in np.unique(mask.array) if n > 0]


def _groups(linked: np.ndarray, old: Sequence[int], new: Sequence[int]) -> list[Group]:
    """Connected parts of the graph of links."""
    rows, columns = np.nonzero(linked)
    count = len(old) + len(new)
    graph = coo_array((np.ones(len(rows)), (rows, columns + len(old))), shape=(count, count))
    parts, part = connected_components(graph, directed=False)
    found = []
    for k in range(parts):
        members = np.flatnonzero(part == k).tolist()
        before = tuple(old[i] for i in members if i < len(old))
        later = tuple(new[i - len(old)] for i in members if i >= len(old))
        fate = {(False, False): "matched", (True, False): "merged", (False, True): "split", (True, True): "regrouped"}
        found.append(Group(before, later, fate[len(before) > 1, len(later) > 1], "overlap"))
    return found


def _overlap(before: Volume, after: Volume, alignment: Alignment, old: Sequence[int], new: Sequence[int]) -> np.ndarray:
    """Share of the smaller lesion of each pair that lies in the other, shape ``(before, after)``.

    Looked up in both directions, so that no lesion is lost between the voxels of a coarser grid.
    """
    inverse = Alignment(alignment.rotation.T, -alignment.rotation.T @ alignment.shift, alignment.method)
    forth = _shares(after, before, alignment, new, old).T
    back = _shares(before, after, inverse, old, new)
    return np.maximum(forth, back)


def _shares(source: Volume, target: Volume, move: Alignment, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    """Share of each lesion of ``source`` whose voxel centres fall into each lesion of ``target``."""
    shares = np.zeros((len(rows), len(columns)))
    for i, label in enumerate(rows):
        places = _places(source, label) @ move.rotation.T + move.shift
        index = np.rint(np.linalg.solve(target.index_to_mm, (places - np.array(target.origin)).T)).astype(int)[::-1]
        shape = np.array(target.array.shape)[:, None]
        valid = ((index >= 0) & (index < shape)).all(axis=0)
        hit = target.array[tuple(index[:, valid])]
        for j, other in enumerate(columns):
            shares[i, j] = (hit == other).sum() / len(places)
    return shares


def _places(mask: Volume, label: int) -> np.ndarray:
    """Centres of the voxels of a lesion, mm, LPS."""
    box = label_boxes(mask.array)[label]
    index = np.argwhere(mask.array[box] == label) + [s.start for s in box]
    return np.asarray(index[:, ::-1] @ mask.index_to_mm.T + np.array(mask.origin))


def _nearest(
    before: Volume, after: Volume, alignment: Alignment, left: Iterable[int], right: Iterable[int]
) -> list[tuple[int, int]]:
    """Pairs of leftover lesions with the smallest sum of distances, each within its limit."""
    left, right = list(left), list(right)
    if not left or not right:
        return []
    old, new = ([_places(mask, n) for n in labels] for mask, labels in ((before, left), (after, right)))
    here = np.array([p.mean(axis=0) for p in old])
    there = np.array([alignment.rotation @ p.mean(axis=0) + alignment.shift for p in new])
    distance = np.linalg.norm(here[:, None] - there[None], axis=2)
    radii = [
        np.array([np.cbrt(3 * len(p) * mask.voxel_volume_ml * 1000 / (4 * np.pi)) for p in points])
        for mask, points in ((before, old), (after, new))
    ]
    allowed = distance <= MAX_DISTANCE_MM + radii[0][:, None] + radii[1][None]
    # A pair that is not allowed costs more than all allowed ones together, so it is chosen only where nothing is left.
    cost = np.where(allowed, distance, 1 + distance[allowed].sum())
    rows, columns = linear_sum_assignment(cost)
    return [(left[i], right[j]) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if allowed[i, j]]


def _coarse(liver: Volume) -> Volume:
    """Signed distance to the surface of a liver (negative inside) on a grid of 4 mm around it, axes of the patient."""
    liver = _cropped(liver)
    ends = np.array(np.meshgrid(*([0, n - 1] for n in reversed(liver.array.shape)))).reshape(3, -1)
    places = liver.index_to_mm @ ends + np.array(liver.origin)[:, None]
    low, high = places.min(axis=1) - _MARGIN_MM, places.max(axis=1) + _MARGIN_MM
    size = [int(n) for n in np.ceil((high - low) / _REGISTRATION_MM).astype(int) + 1]
    # The share of liver in a voxel, so that a fine mask loses nothing.
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(to_itk(liver), sitk.sitkFloat32), _REGISTRATION_MM / 2)
    grid = [size, sitk.Transform(), sitk.sitkLinear, low.tolist(), [_REGISTRATION_MM] * 3]
    coarse = sitk.Resample(smooth, *grid)
    inside = sitk.GetArrayFromImage(coarse) >= 0.5
    step = [_REGISTRATION_MM] * 3
    signed = ndimage.distance_transform_edt(~inside, step) - ndimage.distance_transform_edt(inside, step)
    return replace(from_itk(coarse), array=signed.astype(np.float32))


def _cropped(liver: Volume) -> Volume:
    """The part of a mask that is not empty, with a border of zeros."""
    box = bounding_box(liver.array)
    if box is None:
        return liver
    origin = np.array(liver.origin) + liver.index_to_mm @ np.array([s.start - 1 for s in reversed(box)])
    x, y, z = (float(v) for v in origin)
    return replace(liver, array=np.pad(liver.array[box], 1), origin=(x, y, z))


def _centre(signed: Volume) -> np.ndarray:
    """Centre of a liver in mm."""
    index = np.argwhere(signed.array < 0)[:, ::-1]
    if not len(index):  # thinner than the coarse grid
        index = np.argwhere(signed.array == signed.array.min())[:, ::-1]
    return np.asarray(index.mean(axis=0) @ signed.index_to_mm.T + np.array(signed.origin))


def _registered(first: Volume, second: Volume, start: np.ndarray) -> Alignment:
    """Rotation and shift that bring the distance maps together."""
    fixed, moving = to_itk(first), to_itk(second)
    # SimpleITK maps points of the fixed image to the moving one: the inverse of what an alignment does.
    transform = sitk.Euler3DTransform(_centre(first).tolist(), 0.0, 0.0, 0.0, (-start).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.01, 100, 0.5, 1e-5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=False)
    try:
        found = sitk.Transform(method.Execute(fixed, moving))
    except RuntimeError:  # livers that do not overlap at all: the other candidates decide
        return Alignment(np.eye(3), start, "livers")
    inverse = found.GetInverse()
    zero = np.array(inverse.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.array(inverse.TransformPoint(tuple(e))) - zero for e in np.eye(3).tolist()]
    return Alignment(np.column_stack(axes), zero, "livers")


def _dice(first: Volume, second: Volume, move: Alignment) -> float:
    """Agreement of two livers on the grid of the first, voxels of the second looked up there."""
    shape = np.indices(first.array.shape).reshape(3, -1)[::-1]
    places = first.index_to_mm @ shape + np.array(first.origin)[:, None]
    source = move.rotation.T @ (places - move.shift[:, None])
    index = np.linalg.solve(second.index_to_mm, source - np.array(second.origin)[:, None])[::-1]
    found = ndimage.map_coordinates(second.array, index, order=1, mode="nearest") < 0
    here = first.array.ravel() < 0
    total = int(here.sum()) + int(found.sum())
    return 2 * int((here & found).sum()) / total if total else 0.0
