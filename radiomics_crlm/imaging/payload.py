"""Is all of an image file there? Checked before ITK reads it, because ITK fills what is missing with zeros.

ITK's NIfTI reader returns a truncated ``.nii`` or ``.nii.gz`` without an error (the missing part is zero), and neither
it nor the MetaImage reader compares the checksum of a compressed stream. The checks here read the whole file once.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO

_CHUNK = 1 << 22
# A real header ends within the first kilobytes; more means this is not the format it claims to be.
_MAX_TEXT_HEADER = 1 << 16


class IncompleteFileError(Exception):
    """The file is not a complete, undamaged file of its format; the text is safe to show."""


def check_complete(path: Path) -> None:
    """Refuse a truncated, damaged or foreign file, and one that keeps its voxels elsewhere.

    Raises
    ------
    IncompleteFileError
        With a sentence that holds no path.
    """
    name = path.name.lower()
    try:
        if name.endswith(".nii.gz"):
            with gzip.open(path) as stream:
                _check_nifti(stream)
        elif name.endswith(".nii"):
            with path.open("rb") as stream:
                _check_nifti(stream)
        elif name.endswith(".mha"):
            _check_metaimage(path)
        else:
            _check_nrrd(path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise IncompleteFileError("the compressed stream is truncated or damaged") from error


def _check_nifti(stream: IO[bytes] | gzip.GzipFile) -> None:
    """NIfTI-1 and -2, single file: as many bytes as the header announces, and an intact gzip trailer."""
    header = stream.read(540)
    if len(header) < 348:
        raise IncompleteFileError("the file is too short for a NIfTI header")
    needed = _nifti_bytes(header)
    seen = len(header)
    while chunk := stream.read(_CHUNK):  # to the very end, so that gzip compares its checksum
        seen += len(chunk)
        if seen > needed + (1 << 30):
            raise IncompleteFileError("the file holds far more data than its header announces")
    if seen < needed:
        raise IncompleteFileError(f"voxel data end after {seen} of {needed} bytes")


def _nifti_bytes(header: bytes) -> int:
    """Bytes that a single NIfTI file needs, from its header (either byte order)."""
    for order in "<>":
        size = struct.unpack_from(order + "i", header, 0)[0]
        if size == 348:
            dims = struct.unpack_from(order + "8h", header, 40)
            bits = struct.unpack_from(order + "h", header, 72)[0]
            offset = int(struct.unpack_from(order + "f", header, 108)[0])
            magic = header[344:348]
        elif size == 540 and len(header) >= 540:
            dims = struct.unpack_from(order + "8q", header, 16)
            bits = struct.unpack_from(order + "h", header, 14)[0]
            offset = struct.unpack_from(order + "q", header, 168)[0]
            magic = header[4:8]
        else:
            continue
        if magic[:2] != b"n+" or not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or bits < 1:
            break
        voxels = 1
        for n in dims[1 : dims[0] + 1]:
            voxels *= n
        return int(offset + (voxels * bits + 7) // 8)
    raise IncompleteFileError("this is not a single-file NIfTI image")


def _check_metaimage(path: Path) -> None:
    """MetaImage: the voxels lie in the file itself and an own zlib stream is intact."""
    with path.open("rb") as stream:
        fields: dict[str, str] = {}
        while "ElementDataFile" not in fields:
            line = stream.readline(_MAX_TEXT_HEADER)
            key, found, value = line.decode("latin-1").partition("=")
            if not found or stream.tell() > _MAX_TEXT_HEADER:
                raise IncompleteFileError("this is not a MetaImage file")
            fields[key.strip()] = value.strip()
        if fields["ElementDataFile"].upper() != "LOCAL":
            raise IncompleteFileError("the header keeps its voxels in another file, which is not allowed")
        if fields.get("CompressedData", "False").lower() == "true":
            unpack = zlib.decompressobj()
            while chunk := stream.read(_CHUNK):
                while chunk:
                    unpack.decompress(chunk, _CHUNK)
                    chunk = unpack.unconsumed_tail
            if not unpack.eof:
                raise IncompleteFileError("the compressed stream is truncated or damaged")


def _check_nrrd(path: Path) -> None:
    """NRRD: the voxels lie in the file itself (ITK checks their number and the gzip trailer)."""
    with path.open("rb") as stream:
        if not stream.readline(16).startswith(b"NRRD"):
            raise IncompleteFileError("this is not a NRRD file")
        while (line := stream.readline(_MAX_TEXT_HEADER).strip()) and stream.tell() <= _MAX_TEXT_HEADER:
            field = line.split(b":", 1)[0].strip().lower().replace(b" ", b"")
            if field == b"datafile":
                raise IncompleteFileError("the header keeps its voxels in another file, which is not allowed")
