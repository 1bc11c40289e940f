"""Read an RT structure set (RTSTRUCT): planar contours to voxels of the image that they were drawn on.

A voxel belongs to a region if its centre lies inside an odd number of the contours of its slice (even-odd rule), so
that a contour inside another one is a hole. Edges are not rounded to voxels: a boundary is as exact as the points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom_file import PARSER_ERRORS, open_dicom, quiet_parser, text_of
from radiomics_crlm.imaging.geometry import SAME_GRID_TOLERANCE_VOXELS, Volume
from radiomics_crlm.imaging.mask_source import MaskSource, Segment, reference_of
from radiomics_crlm.imaging.placement import OFF_SLICE_TOLERANCE_VOXELS

STRUCTURE_SET_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
MAX_POINTS = 20_000_000
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "INTERPOLATED_PLANAR")


@dataclass(frozen=True)
class StructureSet:
    """An opened RTSTRUCT object."""

    segments: tuple[Segment, ...]
    source: MaskSource
    _dataset: pydicom.FileDataset

    def masks(self, numbers: Iterable[int], image: Volume, *, case: str) -> tuple[dict[int, np.ndarray], float, float]:
        """Voxels of regions on the grid of an image.

        Returns
        -------
        masks, offset_mm, offset_voxels
            ROI number to boolean array of the shape of the image, and the largest distance of a contour from the
            slice that it was drawn on.

        Raises
        ------
        CaseError
            ``open_contour`` (a region of points or lines), ``contour_off_slices``, ``contour_not_planar``,
            ``contour_gaps`` (drawn on every second slice or fewer), ``mask_outside_image``,
            ``missing_geometry``, ``too_many_voxels``.
        """
        found, worst = {}, 0.0
        with quiet_parser():
            for number in numbers:
                contours = _contours(self._dataset, number, case)
                found[number], off = _voxelise(contours, image, case)
                worst = max(worst, off)
        return found, worst * image.spacing[2], worst


def open_structure_set(path: Path, *, case: str) -> StructureSet:
    """Parse an RTSTRUCT object.

    Raises
    ------
    CaseError
        ``unreadable_image``, ``unsupported_format``, ``missing_geometry``.
    """
    with quiet_parser():
        dataset = open_dicom(path, case=case)
        if dataset is None or text_of(dataset, "SOPClassUID") != STRUCTURE_SET_CLASS:
            raise CaseError("unsupported_format", "the file is no RT structure set", where=case)
        try:
            named = dataset.get("StructureSetROISequence") or []
            segments = tuple(Segment(int(roi.ROINumber), text_of(roi, "ROIName")) for roi in named)
            frames = {text_of(roi, "ReferencedFrameOfReferenceUID") for roi in named} - {""}
        except PARSER_ERRORS:
            raise CaseError("missing_geometry", "the structure set lists its regions badly", where=case) from None
        if len(frames) > 1 or len({s.number for s in segments}) < len(segments):
            what = "the regions of the structure set repeat a number or lie in different frames of reference"
            raise CaseError("missing_geometry", what, where=case)
        return StructureSet(segments, reference_of(dataset), dataset)


def _contours(dataset: pydicom.Dataset, number: int, case: str) -> list[np.ndarray]:
    """Closed contours of a region in mm, arrays ``(n, 3)``."""
    found: list[np.ndarray] = []
    try:
        for region in dataset.get("ROIContourSequence") or []:
            if int(region.ReferencedROINumber) != number:
                continue
            for contour in region.get("ContourSequence") or []:
                if text_of(contour, "ContourGeometricType") not in _CLOSED:
                    raise CaseError(
                        "open_contour",
                        "a region has contours that enclose nothing",
                        where=case,
                        expected="closed planar contours",
                        remedy="export the region as closed contours",
                    )
                found.append(np.array(contour.ContourData, dtype=float).reshape(-1, 3))
    except PARSER_ERRORS:
        raise CaseError("missing_geometry", "the contours of a region cannot be parsed", where=case) from None
    if sum(len(c) for c in found) > MAX_POINTS:
        raise CaseError("too_many_voxels", "a region has too many contour points", where=case)
    if not all(np.isfinite(c).all() for c in found):
        raise CaseError("missing_geometry", "a contour point is no number", where=case)
    return [c for c in found if len(c) >= 3]  # single points and pairs enclose nothing: traces of a click


def _voxelise(contours: Sequence[np.ndarray], image: Volume, case: str) -> tuple[np.ndarray, float]:
    """Even-odd filling of all contours; the largest distance from a slice, as a fraction of the slice distance."""
    to_index = np.linalg.inv(image.index_to_mm)
    inside = np.zeros(image.array.shape, dtype=bool)
    depth, rows, columns = (int(n) for n in image.array.shape)
    slices: dict[int, list[np.ndarray]] = {}
    worst, beyond = 0.0, 0
    for points in contours:
        index = (points - np.array(image.origin)) @ to_index.T
        x, y, z = index[:, 0], index[:, 1], index[:, 2]
        if np.ptp(z) > OFF_SLICE_TOLERANCE_VOXELS:
            raise CaseError("contour_not_planar", "a contour is not parallel to the slices", where=case)
        level = round(float(z.mean()))
        worst = max(worst, float(np.abs(z - level).max()))
        corners = np.array([x.min(), y.min(), columns - 1 - x.max(), rows - 1 - y.max()])
        if not 0 <= level < depth or corners.min() < -0.5 - SAME_GRID_TOLERANCE_VOXELS:
            beyond += 1
        else:
            slices.setdefault(level, []).append(index[:, :2])
    if worst > OFF_SLICE_TOLERANCE_VOXELS:
        raise CaseError(
            "contour_off_slices",
            "contours lie between the slices of the image",
            where=case,
            expected=f"within {OFF_SLICE_TOLERANCE_VOXELS} of the slice distance",
            got=f"{worst * image.spacing[2]:.3f} mm = {worst:.3f} slice",
            remedy="pair the structure set with the series that it was drawn on",
        )
    if beyond:
        raise CaseError(
            "mask_outside_image",
            "contours reach beyond the image",
            where=case,
            expected="all contours inside the image",
            got=f"{beyond} of {len(contours)} contours outside",
        )
    levels = np.diff(sorted(slices))
    if len(levels) >= 2 and levels.min() == levels.max() > 1:
        raise CaseError(
            "contour_gaps",
            "the region was drawn on every second slice or fewer, which would lose the volume between",
            where=case,
            expected="contours on neighbouring slices",
            got=f"{len(slices)} slices with contours, {levels[0]} apart",
            remedy="interpolate the contours, or pair the structure set with the series that it was drawn on",
        )
    for level, polygons in slices.items():
        inside[level] = fill_even_odd(polygons, (rows, columns))
    return inside, worst


def fill_even_odd(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies inside an odd number of closed polygons.

    Parameters
    ----------
    polygons
        Arrays ``(n, 2)`` of points ``(x, y)`` in pixels; the centre of pixel ``[row, column]`` is ``(column, row)``.
        The last point is joined to the first.
    shape
        Rows and columns.

    Returns
    -------
    ndarray of bool
        A centre on a left or upper edge is inside, on a right or lower edge outside, so that polygons that share an
        edge never share a pixel.

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [3.5, 0.5], [3.5, 2.5], [0.5, 2.5]])
    >>> fill_even_odd([square, np.array([[1.5, 0.5], [2.5, 0.5], [2.5, 2.5], [1.5, 2.5]])], (4, 5)).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 0, 1, 0],
           [0, 1, 0, 1, 0],
           [0, 0, 0, 0, 0]])
    """
    rows, columns = shape
    crossings = np.zeros((rows, columns + 1), dtype=np.int32)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        first = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1])), 0, rows).astype(int)
        last = np.clip(np.ceil(np.maximum(start[:, 1], end[:, 1])), 0, rows).astype(int)
        count = last - first
        edge = np.repeat(np.arange(len(polygon)), count)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        part = (row - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
        x = start[edge, 0] + part * (end[edge, 0] - start[edge, 0])
        np.add.at(crossings, (row, np.clip(np.ceil(x), 0, columns).astype(int)), 1)
    return np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1
