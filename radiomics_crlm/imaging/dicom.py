"""Read one DICOM CT or MR series from a folder: one series, one patient, evenly stacked slices, or a reason why not."""

from __future__ import annotations

import datetime
import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom_file import PARSER_ERRORS, open_dicom, quiet_parser, rescaled_by_itk, stored_pixels
from radiomics_crlm.imaging.dicom_file import text_of as _text
from radiomics_crlm.imaging.geometry import SeriesSource, Volume, clip_hu_padding
from radiomics_crlm.imaging.phase import delay_between
from radiomics_crlm.imaging.series_choice import Header, SeriesChoice, choose_series

# Slice positions are decimal strings rounded to a few hundredths of a mm; a missing slice is a gap of 100 %.
SPACING_TOLERANCE = 0.05
# Sideways drift of the slice origins (gantry tilt), as a fraction of a pixel over the whole stack.
SHEAR_TOLERANCE = 0.05
_ORIENTATION_TOLERANCE = 1e-3
_CLASSES = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR"}
_MULTI_FRAME = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"}
# The moment of the scan itself first; derived series may carry the day on which they were computed.
_DATES = ("AcquisitionDate", "StudyDate", "SeriesDate", "ContentDate")


@dataclass(frozen=True)
class _Slice:
    """What the header of one slice says about its place and its values."""

    path: Path
    header: pydicom.FileDataset
    position: np.ndarray
    orientation: np.ndarray
    pixel_spacing: tuple[float, float]  # distance between rows, between columns
    shape: tuple[int, int]  # rows, columns
    rescale: tuple[float, float]  # slope, intercept


def read_series(folder: Path, *, case: str, max_voxels: int, choice: SeriesChoice | None = None) -> Volume:
    """Read one CT or MR series of a folder (not of its sub-folders).

    Files that are no DICOM, other object types (SEG, RTSTRUCT, reports) and localizers are passed over. Slices are
    sorted by their position along the normal of the image plane, whatever they are called; each is rescaled with its
    own slope and intercept, so that CT comes out in HU (16- or 32-bit integer where all values are integers, else
    32-bit float). CT values below -1024 HU are set to -1024 (`clip_hu_padding`). A second copy of a slice, equal byte
    for byte, is left out (flag ``duplicate_files_dropped``).

    Parameters
    ----------
    folder
        Folder with the files of the series.
    case
        Key of the case for messages.
    max_voxels
        Refuse larger series before a pixel is read.
    choice
        What decides between several series; without it several are ``ambiguous_series``.

    Raises
    ------
    CaseError
        ``no_series``, ``ambiguous_series`` and ``no_such_series`` (both list the candidates), ``mixed_patients``,
        ``multi_frame``, ``missing_geometry``, ``mixed_geometry``, ``duplicate_positions``, ``missing_slices``,
        ``uneven_spacing``, ``sheared_stack`` (gantry tilt, in degrees), ``too_many_voxels``, ``missing_rescale``,
        ``missing_pixel_data``, ``missing_decoder``, ``unreadable_image``, ``decompression_bomb``.
    """
    with quiet_parser():
        headers = choose_series(_headers(folder, case), choice or SeriesChoice(), case=case)
        headers, flags = _without_copies(headers, case)
        slices = [_placed(path, header, case) for path, header in headers]
        shape, matrix = _common_plane(slices, case)
        if shape[0] * shape[1] * len(slices) > max_voxels:
            raise CaseError("too_many_voxels", "the series is too large", where=case, expected=f"at most {max_voxels}")
        slices, distance = _stack(slices, matrix, case)
        array = _voxels(slices, case)
        source = _source(slices[0].header)
    rows_mm, columns_mm = slices[0].pixel_spacing
    x, y, z = (float(v) for v in slices[0].position)
    direction = tuple(float(v) for v in matrix.ravel())
    volume = Volume(array, (columns_mm, rows_mm, distance), (x, y, z), direction, flags, source)
    return clip_hu_padding(volume) if _modality(slices[0].header) == "CT" else volume


def is_image(header: pydicom.Dataset) -> bool:
    """Whether a header belongs to a slice of a CT or MR series (localizers do not)."""
    return _modality(header) != "" and "LOCALIZER" not in _text(header, "ImageType")


def _modality(header: pydicom.Dataset) -> str:
    return _CLASSES.get(_text(header, "SOPClassUID"), "")


def _headers(folder: Path, case: str) -> list[Header]:
    """Headers of the CT and MR images of a folder, in the order of the file names."""
    found: list[Header] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        header = open_dicom(path, case=case)
        if header is None:
            continue
        if _text(header, "SOPClassUID") in _MULTI_FRAME:
            raise CaseError("multi_frame", "enhanced multi-frame objects are not supported", where=case)
        if is_image(header):
            found.append((path, header))
    if not found:
        raise CaseError(
            "no_series",
            "the folder holds no CT or MR image",
            where=case,
            remedy="name the folder of the files themselves; its sub-folders are not searched",
        )
    return found


def _without_copies(headers: list[Header], case: str) -> tuple[list[Header], tuple[str, ...]]:
    """Leave out second copies of a file; two different files of one instance are an error."""
    first: dict[str, Header] = {}
    for path, header in headers:
        uid = _text(header, "SOPInstanceUID") or str(path)
        if uid in first and not filecmp.cmp(first[uid][0], path, shallow=False):
            raise CaseError("duplicate_positions", "two different files claim to be the same slice", where=case)
        first.setdefault(uid, (path, header))
    dropped = len(headers) - len(first)
    return list(first.values()), (f"duplicate_files_dropped:{dropped}",) if dropped else ()


def _placed(path: Path, header: pydicom.FileDataset, case: str) -> _Slice:
    """Parse the place and the rescale of one slice."""
    try:
        position = np.array([float(v) for v in header.ImagePositionPatient])
        orientation = np.array([float(v) for v in header.ImageOrientationPatient])
        rows_mm, columns_mm = (float(v) for v in header.PixelSpacing)
        shape = (int(header.Rows), int(header.Columns))
    except PARSER_ERRORS:
        what = "a slice lacks position, orientation, pixel spacing or size"
        raise CaseError("missing_geometry", what, where=case) from None
    finite = np.isfinite([*position, *orientation, rows_mm, columns_mm]).all()
    if len(position) != 3 or len(orientation) != 6 or not finite or min(rows_mm, columns_mm, *shape) <= 0:
        raise CaseError("missing_geometry", "a slice has an invalid position, orientation or spacing", where=case)
    return _Slice(path, header, position, orientation, (rows_mm, columns_mm), shape, _rescale(header, case))


def _rescale(header: pydicom.Dataset, case: str) -> tuple[float, float]:
    try:
        slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
        if _modality(header) == "CT" and (slope is None or intercept is None):
            raise CaseError("missing_rescale", "a CT slice lacks rescale slope or intercept", where=case)
        return float(1 if slope is None else slope), float(intercept or 0)
    except PARSER_ERRORS:
        raise CaseError("missing_rescale", "rescale slope or intercept is no number", where=case) from None


def _common_plane(slices: Sequence[_Slice], case: str) -> tuple[tuple[int, int], np.ndarray]:
    """Rows and columns, and the direction matrix, if all slices share them."""
    first = slices[0]
    same = all(
        s.shape == first.shape
        and np.abs(s.orientation - first.orientation).max() <= _ORIENTATION_TOLERANCE
        and abs(s.pixel_spacing[0] / first.pixel_spacing[0] - 1) <= 1e-4
        and abs(s.pixel_spacing[1] / first.pixel_spacing[1] - 1) <= 1e-4
        for s in slices
    )
    frames = {_text(s.header, "FrameOfReferenceUID") for s in slices}
    if not same or len(frames) > 1:
        what = "the slices differ in size, orientation, pixel spacing or frame of reference"
        raise CaseError("mixed_geometry", what, where=case)
    row, column = first.orientation[:3], first.orientation[3:]
    lengths = np.array([row @ row, column @ column, 1 + row @ column])
    if np.abs(lengths - 1).max() > _ORIENTATION_TOLERANCE:
        raise CaseError("missing_geometry", "row and column directions are not orthonormal", where=case)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column /= np.linalg.norm(column)
    return first.shape, np.column_stack([row, column, np.cross(row, column)])


def _stack(slices: Sequence[_Slice], matrix: np.ndarray, case: str) -> tuple[list[_Slice], float]:
    """Slices in the order of the normal, and their distance in mm."""
    heights = np.array([s.position @ matrix[:, 2] for s in slices])
    order = np.argsort(heights, kind="stable")
    ordered = [slices[i] for i in order]
    if len(ordered) == 1:
        return ordered, _thickness(ordered[0].header, case)
    gaps = np.diff(heights[order])
    usual = float(np.median(gaps[gaps > 1e-3])) if (gaps > 1e-3).any() else 0.0
    _check_gaps(gaps, usual, case)
    drift = np.array([s.position - ordered[0].position for s in ordered]) @ matrix[:, :2]
    if np.abs(drift).max() > SHEAR_TOLERANCE * min(ordered[0].pixel_spacing):
        degrees = np.degrees(np.arctan2(np.linalg.norm(drift[-1]), np.ptp(heights)))
        raise CaseError(
            "sheared_stack",
            "slice origins drift sideways (gantry tilt)",
            where=case,
            expected="slices stacked along their normal",
            got=f"a tilt of {degrees:.1f} degrees",
            remedy="resample the series to an upright grid, with its mask",
        )
    return ordered, float(gaps.mean())


def _check_gaps(gaps: np.ndarray, usual: float, case: str) -> None:
    """Refuse duplicate, missing and unevenly spaced slices."""
    repeated = gaps <= max(1e-3, SPACING_TOLERANCE * usual)
    if repeated.any():
        raise CaseError(
            "duplicate_positions",
            "several slices lie at the same position",
            where=case,
            got=f"{int(repeated.sum()) + 1} slices or more",
            remedy="keep one phase, echo or diffusion weighting per folder",
        )
    off = np.abs(gaps / usual - 1) > SPACING_TOLERANCE
    if off.any():
        whole = np.abs(gaps / usual - np.round(gaps / usual)) <= SPACING_TOLERANCE
        code, what = ("missing_slices", "slices are missing") if whole.all() else ("uneven_spacing", "gaps differ")
        raise CaseError(
            code, what, where=case, expected="even spacing", got=f"{int(off.sum())} of {len(gaps)} gaps differ"
        )


def _thickness(header: pydicom.Dataset, case: str) -> float:
    """Slice distance of a single slice, from its header."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            value = float(header.get(keyword) or 0)
        except PARSER_ERRORS:
            continue
        if 0 < value < np.inf:
            return value
    raise CaseError("missing_geometry", "a single slice without a thickness", where=case)


def _voxels(slices: Sequence[_Slice], case: str) -> np.ndarray:
    """Rescaled voxels: 16- or 32-bit integers where all values are integers, else 32-bit floats."""
    bound = 1 << 31
    if all(_is_whole(s.rescale) for s in slices):
        array = np.empty((len(slices), *slices[0].shape), dtype=np.int16)
        for k, one in enumerate(slices):
            values = _pixels(one, case)
            if array.dtype != np.int32 and (values.min() < -(1 << 15) or values.max() >= 1 << 15):
                array = array.astype(np.int32)
            if max(-int(values.min()), int(values.max())) >= bound:
                break
            array[k] = values
        else:
            return array
    return _as_small_integer(np.stack([_pixels(s, case).astype(np.float64) for s in slices]))


def _is_whole(rescale: tuple[float, float]) -> bool:
    """Whether slope and intercept are integers that keep 16-bit pixels within 32-bit integers."""
    slope, intercept = rescale
    return slope % 1 == 0 == intercept % 1 and abs(slope) * (1 << 16) + abs(intercept) < 1 << 31


def _pixels(one: _Slice, case: str) -> np.ndarray:
    """Rescaled pixels of a slice: integers where slope and intercept are integers, else 64-bit floats."""
    rescaled = rescaled_by_itk(one.header, one.path, one.shape, case=case)
    if rescaled is not None:
        return rescaled
    stored = stored_pixels(one.header, one.shape, case=case)
    slope, intercept = one.rescale
    if stored.dtype.kind in "iu" and _is_whole(one.rescale):
        small = stored.astype(np.int32 if stored.dtype.itemsize <= 2 else np.int64)
        return small * int(slope) + int(intercept)
    return stored.astype(np.float64) * slope + intercept


def _as_small_integer(array: np.ndarray) -> np.ndarray:
    """16- or 32-bit integers if all values are integers, else 32-bit floats."""
    if np.array_equal(array, np.round(array)):
        for dtype in (np.int16, np.int32):
            limits = np.iinfo(dtype)
            if limits.min <= array.min() and array.max() <= limits.max:
                return array.astype(dtype)
    return array.astype(np.float32)


def _source(header: pydicom.Dataset) -> SeriesSource:
    """Identity, day and contrast delay of a series; what is absent or no date is empty."""
    day = None
    for text in (_text(header, keyword) for keyword in _DATES):
        try:
            day = datetime.datetime.strptime(text, "%Y%m%d").date().toordinal()
        except ValueError:
            continue
        break
    uids = [_text(header, k) for k in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")]
    delay = delay_between(_text(header, "ContrastBolusStartTime"), _text(header, "AcquisitionTime"))
    return SeriesSource(uids[0], uids[1], uids[2], uids[3], day, delay)
