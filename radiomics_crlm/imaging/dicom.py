"""Read one DICOM CT or MR series from a folder: one series, one patient, evenly stacked slices, or a reason why not."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume, clip_hu_padding

# Slice positions are decimal strings rounded to a few hundredths of a mm; a missing slice is a gap of 100 %.
SPACING_TOLERANCE = 0.05
# Sideways drift of the slice origins (gantry tilt), as a fraction of a pixel over the whole stack.
SHEAR_TOLERANCE = 0.05
_ORIENTATION_TOLERANCE = 1e-3
_ENDINGS = (".dcm", ".dicom", ".ima")
_CLASSES = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR"}
_MULTI_FRAME = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"}


@dataclass(frozen=True)
class _Slice:
    """What the header of one slice says about its place."""

    path: Path
    header: pydicom.Dataset
    position: np.ndarray
    orientation: np.ndarray
    pixel_spacing: tuple[float, float]  # distance between rows, between columns
    shape: tuple[int, int]  # rows, columns


def read_series(folder: Path, *, case: str, max_voxels: int) -> Volume:
    """Read the one CT or MR series of a folder (not of its sub-folders).

    Files that are no DICOM, other object types (SEG, RTSTRUCT, reports) and localizers are passed over. Slices are
    sorted by their position along the normal of the image plane, whatever they are called; each is rescaled with its
    own slope and intercept, so that CT comes out in HU (16- or 32-bit integer where all values are integers, else
    32-bit float). CT values below -1024 HU are set to -1024 (`clip_hu_padding`).

    Raises
    ------
    CaseError
        ``no_series``, ``ambiguous_series``, ``mixed_patients``, ``multi_frame``, ``missing_geometry``,
        ``mixed_geometry``, ``duplicate_positions``, ``missing_slices``, ``uneven_spacing``, ``sheared_stack``,
        ``too_many_voxels``, ``missing_rescale``, ``missing_pixel_data``, ``unreadable_image``.
    """
    with warnings.catch_warnings():
        # pydicom warns about odd values and prints them; patient data must not reach the screen.
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        headers = _one_series(_headers(folder, case), case)
        slices = [_placed(path, header, case) for path, header in headers]
        shape, matrix = _common_plane(slices, case)
        if shape[0] * shape[1] * len(slices) > max_voxels:
            raise CaseError("too_many_voxels", "the series is too large", where=case, expected=f"at most {max_voxels}")
        slices, distance = _stack(slices, matrix, case)
        array = _as_small_integer(np.stack([_pixels(s, case) for s in slices]))
    rows_mm, columns_mm = slices[0].pixel_spacing
    x, y, z = (float(v) for v in slices[0].position)
    volume = Volume(array, (columns_mm, rows_mm, distance), (x, y, z), tuple(float(v) for v in matrix.ravel()))
    return clip_hu_padding(volume) if slices[0].header.SOPClassUID in _class_uids("CT") else volume


def _class_uids(modality: str) -> set[str]:
    return {uid for uid, name in _CLASSES.items() if name == modality}


def _headers(folder: Path, case: str) -> list[tuple[Path, pydicom.Dataset]]:
    """Headers of the CT and MR images of a folder, in the order of the file names."""
    found: list[tuple[Path, pydicom.Dataset]] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            uid = str(header.SOPClassUID)  # absent only where the file ends early
        except InvalidDicomError:
            if path.suffix.lower() in _ENDINGS or path.stat().st_size == 0:  # an emptied slice must not go unnoticed
                raise _damaged(case) from None
            continue
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError):
            raise _damaged(case) from None
        if uid in _MULTI_FRAME:
            raise CaseError("multi_frame", "enhanced multi-frame objects are not supported", where=case)
        if uid in _CLASSES and "LOCALIZER" not in header.get("ImageType", []):
            found.append((path, header))
    return found


def _damaged(case: str) -> CaseError:
    return CaseError("unreadable_image", "a DICOM file of the folder is damaged", where=case)


def _one_series(headers: list[tuple[Path, pydicom.Dataset]], case: str) -> list[tuple[Path, pydicom.Dataset]]:
    """The headers, if they are one series of one patient."""
    if not headers:
        raise CaseError("no_series", "the folder holds no CT or MR image", where=case)
    series = Counter(str(header.get("SeriesInstanceUID", "")) for _, header in headers)
    if len(series) > 1:
        counts = ", ".join(str(n) for n in sorted(series.values(), reverse=True))
        raise CaseError(
            "ambiguous_series",
            "the folder holds more than one image series",
            where=case,
            expected="one series",
            got=f"{len(series)} series of {counts} images",
            remedy="keep each series in a folder of its own",
        )
    if len({str(header.get("PatientID", "")) for _, header in headers}) > 1:
        raise CaseError("mixed_patients", "the images of the series name more than one patient", where=case)
    return headers


def _placed(path: Path, header: pydicom.Dataset, case: str) -> _Slice:
    """Parse the place of one slice."""
    try:
        position = np.array([float(v) for v in header.ImagePositionPatient])
        orientation = np.array([float(v) for v in header.ImageOrientationPatient])
        rows_mm, columns_mm = (float(v) for v in header.PixelSpacing)
        shape = (int(header.Rows), int(header.Columns))
    except (AttributeError, TypeError, ValueError):
        what = "a slice lacks position, orientation, pixel spacing or size"
        raise CaseError("missing_geometry", what, where=case) from None
    finite = np.isfinite([*position, *orientation, rows_mm, columns_mm]).all()
    if len(position) != 3 or len(orientation) != 6 or not finite or min(rows_mm, columns_mm, *shape) <= 0:
        raise CaseError("missing_geometry", "a slice has an invalid position, orientation or spacing", where=case)
    return _Slice(path, header, position, orientation, (rows_mm, columns_mm), shape)


def _common_plane(slices: Sequence[_Slice], case: str) -> tuple[tuple[int, int], np.ndarray]:
    """Rows and columns, and the direction matrix, if all slices share them."""
    first = slices[0]
    same = all(
        s.shape == first.shape
        and np.allclose(s.orientation, first.orientation, rtol=0, atol=_ORIENTATION_TOLERANCE)
        and np.allclose(s.pixel_spacing, first.pixel_spacing, rtol=1e-4, atol=0)
        for s in slices
    )
    frames = {str(s.header.get("FrameOfReferenceUID", "")) for s in slices}
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
    if (gaps <= max(1e-3, SPACING_TOLERANCE * usual)).any():
        raise CaseError(
            "duplicate_positions",
            "several slices lie at the same position",
            where=case,
            got=f"{int((gaps <= max(1e-3, SPACING_TOLERANCE * usual)).sum()) + 1} slices or more",
            remedy="keep one phase, echo or diffusion weighting per folder",
        )
    off = np.abs(gaps / usual - 1) > SPACING_TOLERANCE
    if off.any():
        whole = np.abs(gaps / usual - np.round(gaps / usual)) <= SPACING_TOLERANCE
        code, what = ("missing_slices", "slices are missing") if whole.all() else ("uneven_spacing", "gaps differ")
        raise CaseError(
            code, what, where=case, expected="even spacing", got=f"{int(off.sum())} of {len(gaps)} gaps differ"
        )
    drift = np.array([s.position - ordered[0].position for s in ordered]) @ matrix[:, :2]
    if np.abs(drift).max() > SHEAR_TOLERANCE * min(ordered[0].pixel_spacing):
        raise CaseError("sheared_stack", "slice origins drift sideways (gantry tilt)", where=case)
    return ordered, float(gaps.mean())


def _thickness(header: pydicom.Dataset, case: str) -> float:
    """Slice distance of a single slice, from its header."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = header.get(keyword)
        if value is not None and float(value) > 0:
            return float(value)
    raise CaseError("missing_geometry", "a single slice without a thickness", where=case)


def _pixels(one: _Slice, case: str) -> np.ndarray:
    """Rescaled pixels of a slice, 64-bit float; integers stay exact."""
    try:
        dataset = pydicom.dcmread(one.path)
        if "PixelData" not in dataset:
            raise CaseError("missing_pixel_data", "a slice has no pixel data", where=case)
        stored = dataset.pixel_array
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, RuntimeError):
        what = "the pixel data of a slice are truncated, damaged or compressed in an unsupported way"
        raise CaseError("unreadable_image", what, where=case) from None
    if stored.shape != one.shape:
        raise CaseError("multi_frame", "a slice holds more than one frame or channel", where=case)
    slope, intercept = one.header.get("RescaleSlope"), one.header.get("RescaleIntercept")
    if one.header.SOPClassUID in _class_uids("CT") and (slope is None or intercept is None):
        raise CaseError("missing_rescale", "a CT slice lacks rescale slope or intercept", where=case)
    return stored.astype(np.float64) * float(1 if slope is None else slope) + float(intercept or 0)


def _as_small_integer(array: np.ndarray) -> np.ndarray:
    """16- or 32-bit integers if all values are integers, else 32-bit floats."""
    if np.array_equal(array, np.round(array)):
        for dtype in (np.int16, np.int32):
            limits = np.iinfo(dtype)
            if limits.min <= array.min() and array.max() <= limits.max:
                return array.astype(dtype)
    return array.astype(np.float32)
