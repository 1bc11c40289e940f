"""Is all of an image file there, and no more? Checked before ITK reads it.

ITK's NIfTI reader returns a truncated ``.nii`` or ``.nii.gz`` without an error (the missing part is zero), and neither
it nor the MetaImage reader compares the checksum of a compressed stream. ITK also allocates what a header announces
before it looks at the data. The checks here read the whole file once, in pieces, and stop as soon as the data cannot be
what the header announces.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

_CHUNK = 1 << 22
# A real header ends within the first kilobytes; more means this is not the format it claims to be.
_MAX_TEXT_HEADER = 1 << 16
# Real fields are far shorter, and the buffers of the libraries hold not much more.
_MAX_LINE = 500
_MAX_AXES = 10
# NIfTI-1 and -2, by the size of the header: form and place of the code and rows of the affine that positions voxels.
_AFFINES, _CODE_AT, _ROWS_AT = {348: ("h", "12f"), 540: ("i", "12d")}, {348: 254, 540: 348}, {348: 280, 540: 400}
# Fields of a MetaImage with a number for each axis, or for each pair of axes.
_METAIMAGE_NUMBERS = {
    "dimsize": 1, "elementspacing": 1, "elementsize": 1, "offset": 1, "position": 1, "origin": 1, "centerofrotation": 1,
    "transformmatrix": 2, "orientation": 2, "rotation": 2,
}  # fmt: skip
# Deflate cannot pack tighter; a header that announces more than this times the size of the file is a lie.
_MAX_DEFLATE_RATIO = 1032
# Extensions of a NIfTI header are small texts.
_MAX_OFFSET = 1 << 30
# What writers append (padding, trailing comments).
_SLACK = 1 << 20


class IncompleteFileError(Exception):
    """The file is not a complete, undamaged file of its format; the text is safe to show."""


def check_header(path: Path) -> None:
    """Refuse a header over which ITK would end the whole process, or never end, before ITK reads it.

    Those are fields of NRRD and MetaImage that are longer than its buffers or have other axes than they announce, and
    positions of NIfTI that are no numbers.

    Raises
    ------
    IncompleteFileError
        With a sentence that holds no path.
    """
    name = path.name.lower()
    if name.endswith((".mha", ".nrrd")):
        _check_text_header(path, "=" if name.endswith(".mha") else ":")
        return
    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as stream:
            header = stream.read(540)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise IncompleteFileError("the compressed stream is truncated or damaged") from None
    for order in "<>":
        size = struct.unpack_from(order + "i", header, 0)[0] if len(header) >= 348 else 0
        code, rows = _AFFINES.get(size, ("", ""))
        if not code or len(header) < size or not struct.unpack_from(order + code, header, _CODE_AT[size])[0]:
            continue
        if not all(map(math.isfinite, struct.unpack_from(order + rows, header, _ROWS_AT[size]))):
            raise IncompleteFileError("the position of the image holds something that is no number")


def _check_text_header(path: Path, mark: str) -> None:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for line in _header_lines(stream):
            if len(line) > _MAX_LINE:
                raise IncompleteFileError("a line of the header is too long")
            if b"\0" in line:
                raise IncompleteFileError("the header is no text")
            key, _, value = line.decode("latin-1").partition(mark)
            fields.setdefault(key.strip().lower(), value.strip())
    if mark == "=":
        _check_axes(fields)


def _header_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines up to the empty one, or to the field after which the voxels begin."""
    while line := stream.readline(_MAX_LINE + 2).rstrip(b"\r\n"):
        yield line
        if stream.tell() > _MAX_TEXT_HEADER:
            raise IncompleteFileError("the header has no end")
        if line.partition(b"=")[0].strip().lower() == b"elementdatafile":
            return


def _check_axes(fields: Mapping[str, str]) -> None:
    """Numbers of a MetaImage header: as many as there are axes."""
    text = fields.get("ndims", "")
    axes = int(text) if text.isascii() and text.isdecimal() and len(text) <= 2 else 0
    if not 1 <= axes <= _MAX_AXES:
        raise IncompleteFileError("the header does not say how many axes the image has")
    for name, count in _METAIMAGE_NUMBERS.items():
        if name in fields and len(fields[name].split()) != axes**count:
            raise IncompleteFileError("a field of the header has another length than the image has axes")


def check_complete(path: Path, announced: int) -> None:
    """Refuse a truncated, damaged or foreign file, one that keeps its voxels elsewhere, and a decompression bomb.

    Parameters
    ----------
    path
        The file; its ending tells the format.
    announced
        Bytes of voxels that the header announces.

    Raises
    ------
    IncompleteFileError
        With a sentence that holds no path.
    """
    name = path.name.lower()
    if announced > _MAX_DEFLATE_RATIO * path.stat().st_size:
        raise IncompleteFileError("the header announces more data than the file can hold")
    try:
        if name.endswith(".nii.gz"):
            with gzip.open(path) as stream:
                _check_nifti(stream)
        elif name.endswith(".nii"):
            with path.open("rb") as stream:
                _check_nifti(stream)
        elif name.endswith(".mha"):
            _check_metaimage(path, announced)
        else:
            _check_nrrd(path, announced)
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
        if seen > needed + _SLACK:
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
            offset = struct.unpack_from(order + "f", header, 108)[0]
            magic = header[344:348]
        elif size == 540 and len(header) >= 540:
            dims = struct.unpack_from(order + "8q", header, 16)
            bits = struct.unpack_from(order + "h", header, 14)[0]
            offset = struct.unpack_from(order + "q", header, 168)[0]
            magic = header[4:8]
        else:
            continue
        dimensions = 1 <= dims[0] <= 7 and min(dims[1 : dims[0] + 1]) >= 1
        if magic[:2] != b"n+" or not dimensions or bits < 1 or not 0 <= offset < _MAX_OFFSET:  # NaN is refused, too
            break
        voxels = 1
        for n in dims[1 : dims[0] + 1]:
            voxels *= n
        return int(offset) + (voxels * bits + 7) // 8
    raise IncompleteFileError("this is not a single-file NIfTI image")


def _check_metaimage(path: Path, announced: int) -> None:
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
        _check_data(stream, announced, packed=fields.get("CompressedData", "False").lower() == "true")


def _check_nrrd(path: Path, announced: int) -> None:
    """NRRD: the voxels lie in the file itself, and a gzip stream is intact."""
    with path.open("rb") as stream:
        if not stream.readline(16).startswith(b"NRRD"):
            raise IncompleteFileError("this is not a NRRD file")
        encoding = b""
        while (line := stream.readline(_MAX_TEXT_HEADER).strip()) and stream.tell() <= _MAX_TEXT_HEADER:
            field, _, value = line.partition(b":")
            field = field.strip().lower().replace(b" ", b"")
            if field == b"datafile":
                raise IncompleteFileError("the header keeps its voxels in another file, which is not allowed")
            if field == b"encoding":
                encoding = value.strip().lower()
        if encoding in (b"raw", b"gzip", b"gz"):
            _check_data(stream, announced, packed=encoding != b"raw")
        elif encoding not in (b"ascii", b"text", b"txt", b"hex"):
            raise IncompleteFileError("the encoding of the NRRD file is not supported")


def _check_data(stream: IO[bytes], announced: int, *, packed: bool) -> None:
    """As many bytes as announced follow, and a zlib or gzip stream is intact to its checksum."""
    unpack, seen = zlib.decompressobj(zlib.MAX_WBITS | 32), 0
    while chunk := stream.read(_CHUNK):
        if not packed:
            seen += len(chunk)
            continue
        while chunk and not unpack.eof:
            seen += len(unpack.decompress(chunk, _CHUNK))
            chunk = unpack.unconsumed_tail
            if seen > announced + _SLACK:
                raise IncompleteFileError("the file holds far more data than its header announces")
    if seen < announced or (packed and not unpack.eof):
        raise IncompleteFileError("the voxel data are truncated or damaged")
