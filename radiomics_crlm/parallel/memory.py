"""Memory of the machine and of this process."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any


def machine_memory() -> int | None:
    """Memory of this machine or of the container that the program runs in, in bytes."""
    limits = []
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            limits.append(int(Path(name).read_text(encoding="ascii")))
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def peak_memory() -> int | None:
    """Peak resident memory of this process in bytes, or None where the system does not tell.

    Linux hands the peak of a parent on to the programs it starts, so the figure of the program itself is preferred.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return _peak_by_rusage()


def _peak_by_rusage() -> int | None:
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:  # not on Windows
        return None
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024
