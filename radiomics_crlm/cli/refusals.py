"""What the operating system refuses - a full disk, a folder that may not be written - as an error of the program."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from radiomics_crlm.errors import CrlmError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.EILSEQ)


def refused(error: OSError, arguments: Sequence[str]) -> CrlmError:
    """The error to show for one of the operating system, which names the option whose folder it is about, no path.

    Examples
    --------
    >>> print(refused(OSError(errno.ENOSPC, "No space left on device", "res/.a.parquet.1"), ["ingest", "--out", "res"]))
    --out: a file cannot be written; expected room on the disk; got No space left on device. Make room, or choose \
another folder, and give the same command again: nothing half-written counts as finished.
    """
    # Not the text of the error: libraries put their own words there, and paths.
    got = os.strerror(error.errno) if error.errno else type(error).__name__
    where = " ".join(["crlm", *arguments[:1]])
    with contextlib.suppress(OSError):  # the working folder itself may be gone
        where = _option(error.filename, arguments) or where
    if error.errno in _FULL:
        what, expected, remedy = "a file cannot be written", "room on the disk", "make room, or choose another folder,"
    elif error.errno in _FORBIDDEN:
        what, expected = "a file or folder cannot be used", "the right to read inputs and to write outputs"
        remedy = "change the rights, or choose another folder,"
    elif error.errno == errno.ENOENT:
        what, expected, remedy = "a file or folder is missing", "all files of the folder", "check the paths,"
    elif error.errno in _NO_PATH:
        what, expected = "a path cannot be used", "short names, and folders where folders are meant"
        remedy = "choose another folder,"
    else:
        what, expected = "a file or folder cannot be used", "a file system that works"
        remedy = "check the disk and the connection to it,"
    remedy += " and give the same command again: nothing half-written counts as finished"
    return CrlmError(what, where=where, expected=expected, got=got, remedy=remedy)


def _option(filename: object, arguments: Sequence[str]) -> str:
    """The option or position whose folder holds a file, or nothing."""
    if not isinstance(filename, (str, bytes)):
        return ""
    path = Path(os.fsdecode(filename)).absolute()
    found, length = "", 0
    for number, (before, value) in enumerate(zip(("", *arguments), arguments, strict=False)):
        option, _, given = value.partition("=") if value.startswith("--") and "=" in value else ("", "", value)
        folder = Path(given).absolute()
        if number and path.is_relative_to(folder) and len(folder.parts) >= length:
            found = option or (before if before.startswith("--") else f"argument {number}")
            length = len(folder.parts)
    return found
