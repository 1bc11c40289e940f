"""Read a DICOM segmentation (SEG): binary or label map, any set of frames, placed by position.

Frames are unpacked one by one and only for the segments that are asked for, so that a file of many segments costs what
its wanted frames cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom_file import PARSER_ERRORS, damaged, open_dicom, quiet_parser, stored_pixels, text_of
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.mask_source import MaskSource, Segment, reference_of
from radiomics_crlm.imaging.placement import Place, Plane, paint, place_plane

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
MAX_FRAME_VOXELS = 1 << 34
_MAX_FRAMES = 1 << 20


@dataclass(frozen=True)
class _Frame:
    """One frame: its position in the pixel data, its segment (0 in a label map) and its place in space."""

    number: int
    segment: int
    plane: Plane


@dataclass(frozen=True)
class Segmentation:
    """An opened SEG object. Nothing of its pixel data is read before `mask` is called."""

    segments: tuple[Segment, ...]
    source: MaskSource
    kind: str  # BINARY or LABELMAP
    shape: tuple[int, int]
    _frames: tuple[_Frame, ...]
    _one_bit: bool  # eight voxels in a byte
    _dataset: pydicom.FileDataset

    def masks(self, numbers: Iterable[int], image: Volume, *, case: str) -> tuple[dict[int, np.ndarray], float, float]:
        """Voxels of segments on the grid of an image.

        Returns
        -------
        masks, offset_mm, offset_voxels
            Segment number to boolean array of the shape of the image, and the largest misfit of a frame.

        Raises
        ------
        CaseError
            ``geometry_mismatch``, ``mask_outside_image``, ``unreadable_image``, ``missing_decoder``.
        """
        wanted = {int(n): np.zeros(image.array.shape, dtype=bool) for n in numbers}
        places: dict[Plane, Place] = {}
        outside = 0
        with quiet_parser():
            for frame, stored in self._unpacked(set(wanted), case):
                if frame.plane not in places:
                    places[frame.plane] = place_plane(frame.plane, image, case=case)
                for number in [frame.segment] if frame.segment else sorted(set(wanted) & set(_values(stored))):
                    inside = stored.view(bool) if frame.segment else stored == number
                    outside += paint(wanted[number], inside, places[frame.plane])
        if outside:
            raise CaseError(
                "mask_outside_image",
                "the mask reaches beyond the image",
                where=case,
                expected="all labelled voxels inside the image",
                got=f"{outside} voxels outside",
            )
        worst_mm = max((p.offset_mm for p in places.values()), default=0.0)
        return wanted, worst_mm, max((p.offset_voxels for p in places.values()), default=0.0)

    def _unpacked(self, wanted: set[int], case: str) -> Iterable[tuple[_Frame, np.ndarray]]:
        """Frames of the wanted segments with their stored values (bytes 0 and 1 for a binary segmentation)."""
        chosen = [f for f in self._frames if f.segment in wanted or f.segment == 0]
        if not chosen:
            return
        count = len(self._frames)
        if self._one_bit:
            packed = _packed_bytes(self._dataset, count * self.shape[0] * self.shape[1], case)
            for frame in chosen:
                yield frame, _unpack(packed, frame.number, self.shape)
            return
        shape = self.shape if count == 1 else (count, *self.shape)
        stored = stored_pixels(self._dataset, shape, case=case).reshape(count, *self.shape)
        for frame in chosen:
            yield frame, np.ascontiguousarray(stored[frame.number])


def _values(stored: np.ndarray) -> list[int]:
    return [int(v) for v in np.unique(stored)]


def _packed_bytes(dataset: pydicom.Dataset, bits: int, case: str) -> np.ndarray:
    try:
        packed = np.frombuffer(dataset.PixelData, dtype=np.uint8)
    except PARSER_ERRORS:
        raise damaged(case) from None
    if packed.size * 8 < bits:
        raise CaseError("unreadable_image", "the pixel data of the segmentation are truncated", where=case)
    return packed


def _unpack(packed: np.ndarray, number: int, shape: tuple[int, int]) -> np.ndarray:
    """One frame of a one-bit image; frames follow each other without padding, also inside a byte."""
    size = shape[0] * shape[1]
    first = number * size
    part = packed[first // 8 : -(-(first + size) // 8)]
    bits = np.unpackbits(part, bitorder="little")
    return bits[first % 8 : first % 8 + size].reshape(shape)


def open_segmentation(path: Path, *, case: str) -> Segmentation:
    """Parse the header and the frame list of a SEG object.

    Raises
    ------
    CaseError
        ``unreadable_image``, ``fractional_segmentation``, ``too_many_voxels``, ``missing_geometry``.
    """
    with quiet_parser():
        dataset = open_dicom(path, case=case)
        if dataset is None or text_of(dataset, "SOPClassUID") not in SEGMENTATION_CLASSES:
            raise CaseError("unsupported_format", "the file is no DICOM segmentation", where=case)
        kind = text_of(dataset, "SegmentationType")
        if kind not in ("BINARY", "LABELMAP", "FRACTIONAL"):
            raise CaseError("unreadable_image", "the segmentation does not say of which type it is", where=case)
        if kind == "FRACTIONAL":
            raise CaseError(
                "fractional_segmentation",
                "the segmentation holds probabilities or occupancies",
                where=case,
                expected="type BINARY or LABELMAP",
                got="type FRACTIONAL",
                remedy="export it as binary; where to cut is a decision of its author",
            )
        try:
            shape = (int(dataset.Rows), int(dataset.Columns))
            count = int(dataset.NumberOfFrames)
            if min(*shape, count) < 1 or count > _MAX_FRAMES or shape[0] * shape[1] * count > MAX_FRAME_VOXELS:
                raise CaseError("too_many_voxels", "the segmentation declares an impossible size", where=case)
            segments = _segments(dataset, kind)
            frames = _frames(dataset, shape, count, kind)
            one_bit = dataset.BitsAllocated == 1 and not dataset.file_meta.TransferSyntaxUID.is_encapsulated
        except PARSER_ERRORS:
            what = "the segmentation lacks its segments, or a frame its position, orientation or spacing"
            raise CaseError("missing_geometry", what, where=case) from None
        return Segmentation(segments, reference_of(dataset), kind, shape, frames, one_bit, dataset)


def _segments(dataset: pydicom.Dataset, kind: str) -> tuple[Segment, ...]:
    """The segments; number 0 of a label map is the background."""
    found = tuple(Segment(int(s.SegmentNumber), text_of(s, "SegmentLabel")) for s in dataset.SegmentSequence)
    numbers = [s.number for s in found]
    if len(set(numbers)) < len(numbers):
        raise ValueError("segment numbers repeat")
    return tuple(s for s in found if s.number > 0 or kind == "BINARY")


def _frames(dataset: pydicom.Dataset, shape: tuple[int, int], count: int, kind: str) -> tuple[_Frame, ...]:
    shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    groups = dataset.PerFrameFunctionalGroupsSequence
    if len(groups) != count:
        raise ValueError("frames and functional groups differ in number")
    steps: dict[tuple[Any, ...], tuple[Any, Any]] = {}
    found = []
    for number, group in enumerate(groups):
        position = _numbers(_item(group, shared[0], "PlanePositionSequence").ImagePositionPatient, 3)
        cosines = _numbers(_item(group, shared[0], "PlaneOrientationSequence").ImageOrientationPatient, 6)
        spacing = _numbers(_item(group, shared[0], "PixelMeasuresSequence").PixelSpacing, 2)
        key = (*cosines, *spacing)
        if key not in steps:
            row, column = np.array(cosines[:3]) * spacing[1], np.array(cosines[3:]) * spacing[0]
            steps[key] = (tuple(row.tolist()), tuple(column.tolist()))
        segment = 0
        if kind == "BINARY":
            segment = int(_item(group, shared[0], "SegmentIdentificationSequence").ReferencedSegmentNumber)
            if segment < 1:
                raise ValueError("a frame without a segment")
        found.append(_Frame(number, segment, Plane((position[0], position[1], position[2]), *steps[key], shape)))
    return tuple(found)


def _item(group: pydicom.Dataset, shared: pydicom.Dataset, keyword: str) -> pydicom.Dataset:
    """A functional group of a frame, else the one shared by all."""
    sequence = group.get(keyword) or shared[keyword].value
    return sequence[0]


def _numbers(values: Iterable[Any], count: int) -> tuple[float, ...]:
    found = tuple(float(v) for v in values)
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError("a position, orientation or spacing is incomplete")
    return found
