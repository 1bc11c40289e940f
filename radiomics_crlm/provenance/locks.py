"""One process at a time in a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from radiomics_crlm.errors import InputError

LOCK = "lock"
"""File in the folder that says that a process works there."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in a folder, made if it is missing, as the only process.

    Raises
    ------
    InputError
        If another process works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            "another process works in the output folder", remedy="wait for it, or name another folder"
        ) from None
    except NotImplementedError:  # some file systems of clusters know no locks
        logging.getLogger(__name__).warning("the output folder cannot be locked; let no two processes work in it")
    try:
        yield
    finally:
        lock.release()
