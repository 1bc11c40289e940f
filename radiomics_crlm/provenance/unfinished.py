"""Where files and folders are written before they take their names, and what becomes of them when nobody goes on.

An atomic write happens beside its place under a hidden name, which says which process of which machine writes. A killed
process leaves it behind: whoever works there next sees that nobody writes it any more.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path

_NAME = re.compile(r"\..+\.([0-9a-f]{8})-([1-9][0-9]*)-[0-9a-f]{8}")
_LONGEST = 40
# What tells one count of processes from another: the start of a Linux machine, and the container.
_BOOT, _CONTAINER = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def unfinished(path: Path) -> Path:
    """A new name beside ``path``, for what will be renamed to it when it is complete.

    Examples
    --------
    >>> unfinished(Path("scores.parquet")).name.startswith(".scores.parquet.")
    True
    """
    name = f".{path.name[:_LONGEST]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(name)


def remove_leftovers(folder: Path, *, idle_s: float = 0, depth: int | None = None, of: str = "") -> None:
    """Remove what killed processes left unfinished in a folder and so many levels below it (None: all).

    Of a process of this machine that is known: at once if it has ended, never while it lives, however long it pauses.
    Else what was idle for so many seconds (0: all of it, for whoever has locked the folder). ``of`` names the one file
    or folder whose unfinished versions are meant. Links are removed, not followed; what this user may not remove stays.
    """
    before = time.time() - idle_s
    start = f".{glob.escape(of[:_LONGEST])}.*" if of else ".*"
    patterns = [f"**/{start}"] if depth is None else ["*/" * level + start for level in range(depth + 1)]
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        with contextlib.suppress(OSError):  # gone with the folder that held it, or somebody else's
            if not (name := _NAME.fullmatch(path.name)):
                continue
            lives = _lives(name[1], int(name[2])) if idle_s else False
            if lives or (lives is None and path.lstat().st_mtime > before):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _lives(machine: str, process: int) -> bool | None:
    """Whether a process goes on, None if nobody can tell; another one may have its number by now."""
    if machine != _machine() or os.name != "posix":  # elsewhere the question would stop the process
        return None
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
        return state not in (b"Z", b"X")  # nobody has asked yet how it ended
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


@functools.cache
def _machine() -> str:
    """Stands for all that processes are counted together with, as eight hexadecimal digits."""
    parts = [platform.node().encode(errors="backslashreplace")]
    with contextlib.suppress(OSError):
        parts += [_BOOT.read_bytes(), str(_CONTAINER.stat().st_ino).encode()]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:8]
