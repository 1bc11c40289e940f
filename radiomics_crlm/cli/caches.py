"""Where compiled loops and fonts are kept when neither the installation nor the user's home may be written."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable, MutableMapping
from pathlib import Path


def place_caches(environment: MutableMapping[str, str]) -> None:
    """Name a temporary folder for them in the environment if they have no other place.

    It is the program's own and goes with it: compiled code that others could write would run as the user.
    """
    if "NUMBA_CACHE_DIR" in environment or any(map(writable, usual_places(environment))):
        return
    folder = tempfile.mkdtemp(prefix="crlm-")
    environment["NUMBA_CACHE_DIR"] = folder
    environment.setdefault("MPLCONFIGDIR", folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def usual_places(environment: MutableMapping[str, str]) -> Iterable[Path]:
    """Beside the compiled modules, and the cache of the user."""
    yield Path(__file__).resolve().parents[1] / "features" / "__pycache__"
    cache = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(cache):  # "~" stays as it is for a user whom the system does not know
        yield Path(cache) / "numba"


def writable(folder: Path) -> bool:
    """Whether a folder can be written, or made.

    >>> writable(Path(__file__) / "below a file")
    False
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
