"""Many tasks at once: on the cores of this machine, or on a Dask cluster; results come back in the order of the tasks.

A worker that dies (out of memory, a crash in compiled code, a machine that goes away) costs nothing but time: its task
is done again. A task that takes its workers with it again and again is given up alone, as a `Lost` in its place.
"""

from __future__ import annotations

from radiomics_crlm.parallel.memory import machine_memory, peak_memory
from radiomics_crlm.parallel.pools import Workers, workers
from radiomics_crlm.parallel.schedule import MAX_DEATHS, Lost, run, run_all

__all__ = ["MAX_DEATHS", "Lost", "Workers", "machine_memory", "peak_memory", "run", "run_all", "workers"]
