"""The folder a command writes to, looked at before it begins: hours of work should not end at a door that is shut."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from radiomics_crlm.provenance.files import remove_leftovers

_IDLE_S, _DEPTH = 60, 2


def output_folder(folder: Path) -> Path:
    """A folder for results, in which what killed processes left half-written long ago is removed; not made yet.

    Raises
    ------
    OSError
        If it, or the folder in which it would be made, cannot be written.
    """
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if nearest.is_dir() and not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY if hasattr(os, "statvfs") else 0
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code), str(folder))
    if folder.is_dir():
        remove_leftovers(folder, idle_s=_IDLE_S, depth=_DEPTH)
    return folder
