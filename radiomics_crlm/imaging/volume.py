"""Read and write volumes: NIfTI, NRRD and MetaImage files, and folders that hold one DICOM series."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import SimpleITK as sitk

from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.imaging.dicom import read_series
from radiomics_crlm.imaging.dicom_file import silent_stderr
from radiomics_crlm.imaging.geometry import Volume, check_same_geometry, from_itk, to_itk
from radiomics_crlm.imaging.payload import IncompleteFileError, check_complete, check_header
from radiomics_crlm.imaging.series_choice import SeriesChoice
from radiomics_crlm.provenance.unfinished import unfinished

__all__ = [
    "FORMATS",
    "MAX_VOXELS",
    "Volume",
    "check_same_geometry",
    "from_itk",
    "read_volume",
    "to_itk",
    "write_volume",
]

FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha")
_BYTES = {
    sitk.sitkInt8: 1,
    sitk.sitkUInt8: 1,
    sitk.sitkInt16: 2,
    sitk.sitkUInt16: 2,
    sitk.sitkInt32: 4,
    sitk.sitkUInt32: 4,
    sitk.sitkInt64: 8,
    sitk.sitkUInt64: 8,
    sitk.sitkFloat32: 4,
    sitk.sitkFloat64: 8,
}
# 512 x 512 x 1024: beyond any abdominal scan, and at 8 bytes a voxel 2 GiB of memory.
MAX_VOXELS = 512 * 512 * 1024


def path_inside(root: Path, relative: str, *, case: str) -> Path:
    """A path that a manifest names, which must lie below the folder of the manifest.

    Raises
    ------
    CaseError
        ``path_outside`` for an absolute path, a drive, or one that climbs out.
    """
    parts = PurePosixPath(relative.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0] or "\0" in relative:
        raise CaseError(
            "path_outside", "a path leads out of the folder of the manifest", where=case, expected="a relative path"
        )
    return root / parts


def read_volume(path: Path, *, case: str, max_voxels: int = MAX_VOXELS, choice: SeriesChoice | None = None) -> Volume:
    """Read one three-dimensional scalar image; its size is checked before any voxel is loaded.

    Parameters
    ----------
    path
        A file with one of the endings ``FORMATS``, or a folder that holds one DICOM CT or MR series.
    case
        Key of the case for messages; messages never hold the path.
    max_voxels
        Refuse larger images.
    choice
        What decides between several DICOM series of a folder.

    Raises
    ------
    CaseError
        ``missing_file``, ``unsupported_format``, ``unreadable_image`` (damaged, truncated, not an image),
        ``not_scalar_3d``, ``too_many_voxels``, ``invalid_geometry``, ``non_finite_voxels``; for
        folders also the codes of `radiomics_crlm.imaging.dicom.read_series`.
    """
    if path.is_dir():
        series = read_series(path, case=case, max_voxels=max_voxels, choice=choice)
        check_finite(series, case)
        return series
    if not path.is_file():
        raise CaseError("missing_file", "the image file does not exist", where=case)
    if not path.name.lower().endswith(FORMATS):
        raise CaseError(
            "unsupported_format", "the file ending is not supported", where=case, expected=", ".join(FORMATS)
        )
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        check_header(path)
        announced = _check_header(reader, case, max_voxels)
        check_complete(path, announced)
        with silent_stderr():
            image = reader.Execute()
    except IncompleteFileError as error:
        raise CaseError("unreadable_image", str(error), where=case, remedy="export the image again") from None
    except (RuntimeError, OSError, MemoryError):
        raise _unreadable(case) from None
    try:
        volume = from_itk(_three_dimensional(image))
    except InputError as error:
        raise CaseError("invalid_geometry", error.what, where=case) from None
    check_finite(volume, case)
    return volume


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume; the same volume gives the same bytes, and a broken run leaves no half-written file.

    Gzip members carry neither a time stamp nor a file name. NIfTI keeps spacing and position in single precision.

    Raises
    ------
    ConfigError
        If the ending is not one of ``FORMATS``.
    OSError
        If the disk is full or refuses the file.
    """
    ending = next((e for e in FORMATS if path.name.lower().endswith(e)), None)
    if ending is None:
        raise ConfigError("the file ending of an image is not supported", expected=", ".join(FORMATS))
    folder = unfinished(path)
    folder.mkdir()
    try:
        plain = folder / ("image" + ending.removesuffix(".gz"))
        _write_plain(volume, plain)
        if ending.endswith(".gz"):
            packed = folder / "image.gz"
            packed.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=6, mtime=0))
            plain = packed
        os.replace(plain, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_plain(volume: Volume, path: Path) -> None:
    """Write an image, and look whether all of it is there: on a full disk ITK writes half a NIfTI and calls it done."""
    try:
        with silent_stderr():
            sitk.WriteImage(to_itk(volume), str(path), useCompression=False)
        check_complete(path, volume.array.nbytes)
    except (RuntimeError, IncompleteFileError):
        raise OSError(errno.ENOSPC, "the image could not be written whole", str(path)) from None


def check_finite(volume: Volume, case: str) -> None:
    """Raise ``CaseError`` ``non_finite_voxels`` if a voxel is NaN or infinite."""
    if volume.array.dtype.kind == "f":
        bad = int(volume.array.size - np.isfinite(volume.array).sum())
        if bad:
            raise CaseError(
                "non_finite_voxels", "the image holds NaN or infinite voxels", where=case, got=f"{bad} voxels"
            )


def _check_header(reader: sitk.ImageFileReader, case: str, max_voxels: int) -> int:
    """Refuse by the header alone what is not an image, not scalar, not 3-D or too large; the bytes of its voxels."""
    try:
        with silent_stderr():
            reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise CaseError("invalid_geometry", "the direction cosines are not orthonormal", where=case) from None
        raise _unreadable(case) from None
    size = reader.GetSize()
    if len(size) < 3 or any(n != 1 for n in size[3:]) or reader.GetNumberOfComponents() != 1:
        raise CaseError(
            "not_scalar_3d",
            "the image is not a three-dimensional scalar image",
            where=case,
            got=f"{len(size)} axes, {reader.GetNumberOfComponents()} components",
        )
    voxels = int(np.prod([int(n) for n in size], dtype=object))
    if voxels > max_voxels:
        raise CaseError(
            "too_many_voxels", "the image is too large", where=case, expected=f"at most {max_voxels}", got=str(voxels)
        )
    return voxels * _BYTES.get(reader.GetPixelID(), 1)


def _unreadable(case: str) -> CaseError:
    return CaseError(
        "unreadable_image",
        "the file cannot be read as an image: damaged, truncated or not an image",
        where=case,
        remedy="export the image again",
    )


def _three_dimensional(image: sitk.Image) -> sitk.Image:
    """Drop trailing axes of length one."""
    while image.GetDimension() > 3:
        image = sitk.Extract(image, [*image.GetSize()[:-1], 0])
    return image
