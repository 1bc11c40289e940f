"""The folder a command writes to, looked at before it begins: hours of work should not end at a door that is shut."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import typer

from radiomics_crlm.provenance.unfinished import remove_leftovers

_IDLE_S, _DEPTH = 60, 2


def output_folder(context: typer.Context, folder: Path | None) -> Path | None:
    """A folder, or page, for results, not made yet. What killed processes left unfinished is removed now, and when the
    command ends, which may have had to stop its own workers.

    Raises
    ------
    OSError
        If it, or the folder in which it would be made, cannot be written.
    """
    if folder is None:
        return None
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if nearest.is_dir() and not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY if hasattr(os, "statvfs") else 0
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code), str(folder))
    _sweep(folder)
    context.call_on_close(lambda: _sweep(folder))
    return folder


def _sweep(folder: Path) -> None:
    remove_leftovers(folder, idle_s=_IDLE_S, depth=_DEPTH)
    remove_leftovers(folder.absolute().parent, idle_s=_IDLE_S, depth=0, of=folder.absolute().name)
