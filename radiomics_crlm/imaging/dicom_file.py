"""Open one DICOM file without trusting it: quiet, bounded, and every failure a reason.

pydicom meets damaged files with many kinds of exceptions, prints odd values (patient data) through its logger and
inflates a deflated data set without a limit. All of that ends here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGLossless, JPEGLosslessSV1

from radiomics_crlm.errors import CaseError

PARSER_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    RuntimeError,  # RecursionError (deeply nested sequences) is one
    StopIteration,  # compressed pixel data without a frame
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    BytesLengthException,
)
"""What pydicom and the decoders raise for damaged files."""

# One image of a series, or a segmentation, in deflated form; anything larger is not worth the risk.
MAX_INFLATED_BYTES = 128 * 1024 * 1024
_CHUNK = 1 << 16
_ENDINGS = (".dcm", ".dicom", ".ima")
# Values beyond this size (pixel data) are read when they are asked for.
_DEFER_BYTES = 4096
_LEFT_TO_ITK = (JPEGLossless, JPEGLosslessSV1)
_JPEG_LS_AND_JPEG_FRAMES = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@contextlib.contextmanager
def quiet_parser() -> Iterator[None]:
    """Keep pydicom's warnings and log lines, which quote values of the file, off the screen."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Keep what the C++ libraries write to standard error (with source paths in it) off the screen."""
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(sink)
        os.close(saved)


def open_dicom(path: Path, *, case: str) -> pydicom.FileDataset | None:
    """The data set of a DICOM file, or None if the file is something else; pixel data are read on access.

    Raises
    ------
    CaseError
        ``unreadable_image`` (damaged, truncated, empty, or no DICOM in spite of its ending), ``decompression_bomb``.
    """
    try:
        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            _refuse_bomb(path, case)
        dataset = pydicom.dcmread(path, defer_size=_DEFER_BYTES)
        str(dataset.SOPClassUID)  # absent only where the file ends early
    except InvalidDicomError:
        if path.suffix.lower() in _ENDINGS or path.stat().st_size == 0:  # an emptied slice must not go unnoticed
            raise damaged(case) from None
        return None
    except PARSER_ERRORS:
        raise damaged(case) from None
    return dataset


def damaged(case: str) -> CaseError:
    """The reason for a file that cannot be parsed."""
    return CaseError("unreadable_image", "a DICOM file is damaged, truncated or empty", where=case)


def text_of(dataset: pydicom.Dataset, keyword: str) -> str:
    """An element as text; empty where it is absent or cannot be parsed."""
    try:
        return str(dataset.get(keyword) or "").strip()
    except PARSER_ERRORS:
        return ""


def stored_pixels(dataset: pydicom.Dataset, shape: tuple[int, ...], *, case: str) -> np.ndarray:
    """Decoded pixel data of the given shape, before any rescale.

    Raises
    ------
    CaseError
        ``missing_pixel_data``, ``missing_decoder`` (a transfer syntax without an installed decoder, named),
        ``multi_frame`` (another shape), ``unreadable_image``.
    """
    try:
        if "PixelData" not in dataset:
            raise CaseError("missing_pixel_data", "an image has no pixel data", where=case)
        _check_decoder(dataset, case)
        _check_codestreams(dataset, shape)
        stored = dataset.pixel_array
    except PARSER_ERRORS:
        what = "the pixel data of an image are truncated, damaged or compressed in an unsupported way"
        raise CaseError("unreadable_image", what, where=case) from None
    if stored.shape != shape:
        raise CaseError("multi_frame", "a slice holds more than one frame or channel", where=case)
    return stored


def rescaled_by_itk(
    dataset: pydicom.FileDataset, path: Path, shape: tuple[int, int], *, case: str
) -> np.ndarray | None:
    """Pixels of a slice in lossless JPEG, which ITK decodes and pydicom does not; None for other slices.

    ITK applies slope and intercept itself.

    Raises
    ------
    CaseError
        ``unreadable_image``.
    """
    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax not in _LEFT_TO_ITK or _has_decoder(syntax):
            return None
        _check_codestreams(dataset, shape)
        with silent_stderr():
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except PARSER_ERRORS:
        raise damaged(case) from None
    if pixels.shape != (1, *shape):
        raise damaged(case)
    return pixels[0]


def _has_decoder(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _check_decoder(dataset: pydicom.Dataset, case: str) -> None:
    """Refuse a compressed transfer syntax that nothing installed can decode."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and not _has_decoder(syntax):
        raise CaseError(
            "missing_decoder",
            "the pixel data are compressed and no installed decoder reads them",
            where=case,
            got=syntax.name if syntax.is_transfer_syntax else "an unknown transfer syntax",
            remedy="export the series uncompressed, or install a decoder for pydicom",
        )


def _check_codestreams(dataset: pydicom.Dataset, shape: tuple[int, ...]) -> None:
    """Compare the size inside compressed frames with the header, before a decoder allocates what they claim.

    Raises
    ------
    ValueError
        If a frame claims another size, or is longer than any encoding of it.
    """
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    raw = int(np.prod(shape[-2:])) * 8
    for frame in generate_frames(dataset.PixelData, number_of_frames=shape[0] if len(shape) == 3 else 1):
        claimed = _codestream_size(frame)
        if claimed not in (None, shape[-2:]) or len(frame) > 2 * raw + _CHUNK:
            raise ValueError("a compressed frame is not what its header says")


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame claims; None for other codings."""
    if frame[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SIZ follows the start
        width, height, left, top = struct.unpack_from(">4I", frame, 8)
        return height - top, width - left
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        if frame[at + 1] in _JPEG_LS_AND_JPEG_FRAMES:
            rows, columns = struct.unpack_from(">2H", frame, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None


def _refuse_bomb(path: Path, case: str) -> None:
    """Inflate a deflated data set without keeping it, to see how large it is."""
    unpack, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        stream.seek(_end_of_meta(path))
        while (chunk := stream.read(_CHUNK)) and not unpack.eof:
            while chunk:
                total += len(unpack.decompress(chunk, _CHUNK * 16))
                chunk = unpack.unconsumed_tail
                if total > MAX_INFLATED_BYTES:
                    raise CaseError(
                        "decompression_bomb",
                        "a deflated DICOM file unpacks to far more than an image",
                        where=case,
                        expected=f"at most {MAX_INFLATED_BYTES} bytes",
                    )


def _end_of_meta(path: Path) -> int:
    """Where the deflated part of a file begins."""
    with path.open("rb") as stream:
        head = stream.read(144)
    return 144 + int(struct.unpack_from("<I", head, 140)[0]) if len(head) == 144 else 0
