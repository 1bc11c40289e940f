"""Axial slices of a scan as a reader sees them: patient's right on the left of the picture, front at the top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import bounding_box
from radiomics_crlm.imaging.scan import LoadedScan

_MARGIN_MM = 12.0


@dataclass(frozen=True)
class AxialSlice:
    """One slice, cropped to the liver (or the lesions).

    Parameters
    ----------
    pixels, lesions, liver
        Grey values, lesion labels and liver (None without a mask), shape ``(rows, columns)``; rows run to the back,
        columns to the patient's left.
    step_mm
        Distance between rows and between columns.
    number
        Slice counted from the feet, starting at 1.
    shown
        Lesions whose largest cross-section this is.
    """

    pixels: np.ndarray
    lesions: np.ndarray
    liver: np.ndarray | None
    step_mm: tuple[float, float]
    number: int
    shown: tuple[int, ...]


def upright(array: np.ndarray, volume: Volume) -> np.ndarray:
    """An array on the grid of a volume with axes ``(feet to head, front to back, right to left)``, as close as whole
    turns and flips allow."""
    axes, signs = _axes(volume)
    turned = array.transpose(axes)
    return np.asarray(np.flip(turned, tuple(k for k in range(3) if signs[k] < 0)))


def key_slices(scan: LoadedScan, *, most: int) -> list[AxialSlice]:
    """Slices that show the lesions at their largest cross-section, largest lesions first, from head to feet.

    A slice serves every lesion whose cross-section in it is at least nine tenths of its largest one. Of a scan without
    lesions the largest slice of the liver is shown.
    """
    lesions = upright(scan.lesions.array, scan.lesions)
    chosen = _cover(lesions, most) or {_middle(scan): []}
    box = _crop(scan, lesions)
    axes, _ = _axes(scan.image)
    spacing = scan.image.spacing[::-1]
    step = float(spacing[axes[1]]), float(spacing[axes[2]])
    pixels = upright(scan.image.array, scan.image)
    liver = upright(scan.anatomy["liver"], scan.image) if "liver" in scan.anatomy else None
    return [
        AxialSlice(
            pixels=pixels[z][box],
            lesions=lesions[z][box],
            liver=None if liver is None else liver[z][box],
            step_mm=step,
            number=z + 1,
            shown=tuple(shown),
        )
        for z, shown in sorted(chosen.items(), reverse=True)
    ]


def _axes(volume: Volume) -> tuple[list[int], list[float]]:
    """Array axis nearest to the body, back and left axis of the patient, and whether it runs that way."""
    direction = np.array(volume.direction).reshape(3, 3)
    free, axes, signs = [0, 1, 2], [], []
    for patient_axis in (2, 1, 0):
        k = max(free, key=lambda i: abs(direction[patient_axis, i]))
        free.remove(k)
        axes.append(2 - k)
        signs.append(float(np.sign(direction[patient_axis, k])))
    return axes, signs


def _cover(lesions: np.ndarray, most: int) -> dict[int, list[int]]:
    """Slice to the lesions it shows; every chosen slice is the best one of some lesion."""
    sizes = np.bincount(lesions.ravel())
    order = [n for n in np.argsort(-sizes, kind="stable").tolist() if n > 0 and sizes[n]]
    chosen: dict[int, list[int]] = {}
    for label in order:
        area = (lesions == label).sum(axis=(1, 2))
        good = [z for z in chosen if area[z] >= 0.9 * area.max()]
        if good:
            chosen[good[0]].append(label)
        elif len(chosen) < most:
            chosen[int(area.argmax())] = [label]
    return chosen


def _middle(scan: LoadedScan) -> int:
    """Slice with the most liver, or the middle one."""
    if "liver" not in scan.anatomy:
        return int(upright(scan.image.array, scan.image).shape[0]) // 2
    return int(upright(scan.anatomy["liver"], scan.image).sum(axis=(1, 2)).argmax())


def _crop(scan: LoadedScan, lesions: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the liver and the lesions, with a margin; the same for all slices of a scan."""
    axes, _ = _axes(scan.image)
    region = lesions > 0
    if "liver" in scan.anatomy:
        region = region | upright(scan.anatomy["liver"], scan.image)
        margin = _MARGIN_MM
    else:
        margin = 5 * _MARGIN_MM
    found = bounding_box(region)
    if found is None:
        return slice(None), slice(None)
    spacing = scan.image.spacing[::-1]
    room = [int(np.ceil(margin / spacing[axis])) for axis in axes[1:]]
    rows, columns = (slice(max(s.start - r, 0), s.stop + r) for s, r in zip(found[1:], room, strict=True))
    return rows, columns
