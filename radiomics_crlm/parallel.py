"""Many tasks at once: on the cores of this machine, or on a Dask cluster; results come back in the order of the tasks.

A worker that dies (out of memory, a crash in compiled code, a machine that goes away) costs nothing but time: its task
is done again. A task that takes its workers with it again and again is given up alone, as a `Lost` in its place.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import itertools
import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import radiomics_crlm
from radiomics_crlm.errors import ConfigError, CrlmError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Dask gives a task up after as many deaths (`distributed.scheduler.allowed-failures`), so local workers do the same.
MAX_DEATHS = 3
_CONNECT_S = 5.0
_WORKERS_S = 10.0
_MOST_ON_CLUSTER = 1000
_IDLE_S = 300
# Read by libraries when they are loaded, hence set before a worker starts; threadpool_limits covers the rest.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)
# What comes of knocking at an address where nobody is, or somebody who does not speak Dask.
_NO_SCHEDULER = (OSError, ValueError, TypeError, MemoryError, EOFError, KeyError)
_NOT_UNDERSTOOD = "Error during deserialization"
# Numbers of threads, log levels and warning filters belong to a process: two tasks in two threads would mix them up.
_PROCESS = threading.Lock()


@dataclass(frozen=True)
class Lost:
    """Stands for the result of a task whose workers died each time."""

    deaths: int = MAX_DEATHS


def run(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    jobs: int = 1,
    dask: str | None = None,
    on_done: Callable[[Result | Lost], None] | None = None,
) -> Iterator[Result | Lost]:
    """Apply a function to every task.

    Parameters
    ----------
    function
        A function of a module (workers import it). An exception of it ends the run.
    tasks
        Arguments; they start in this order.
    jobs
        Processes on this machine; 1 works in this very process. Inner threads of a task are capped at one, so that no
        result depends on the number of jobs.
    dask
        Address of a Dask scheduler (``tcp://host:8786``), whose workers do the tasks instead.
    on_done
        Called in this process as soon as a task is done, in whatever order that happens.

    Yields
    ------
    Results in the order of the tasks, each as soon as it and all before it are there; `Lost` for a task whose worker
    died ``MAX_DEATHS`` times. Leaving the iteration early (an exception, Ctrl-C) stops the workers.

    Raises
    ------
    ConfigError
        If Dask is not installed, no scheduler or worker answers, or workers have another version of this package.

    Examples
    --------
    >>> list(run(abs, [-3, 2, -1]))
    [3, 2, 1]
    """
    wanted = min(jobs, len(tasks)) if isinstance(tasks, Sized) else jobs
    if dask is None and wanted <= 1:
        return _here(function, tasks, on_done)
    return _spread(function, tasks, (lambda: _Processes(wanted)) if dask is None else (lambda: _Cluster(dask)), on_done)


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


def _here(
    function: Callable[[Task], Result], tasks: Iterable[Task], on_done: Callable[[Result | Lost], None] | None
) -> Iterator[Result | Lost]:
    """One task after the other, in this process."""
    for task in tasks:
        result = _guarded(function, task, radiomics_crlm.__version__)
        if on_done is not None:
            on_done(result)
        yield result


def _guarded(function: Callable[[Task], Result], task: Task, version: str) -> Result:
    """Do a task on a worker."""
    if version != radiomics_crlm.__version__:
        raise ConfigError(
            "a worker has another version of radiomics_crlm",
            expected=version,
            got=radiomics_crlm.__version__,
            remedy="install the same version on all workers",
        )
    with _PROCESS, threadpool_limits(1):
        return function(task)


class _WorkerDiedError(Exception):
    """The worker of a task died; ``final`` says that the task is given up."""

    def __init__(self, *, final: bool = False) -> None:
        self.final = final
        super().__init__()


class _Pool(Protocol):
    """What runs tasks elsewhere. ``width`` tasks are handed over at a time."""

    width: int

    def submit(self, function: Callable[..., Any], *arguments: object) -> Any:
        """A handle of the task."""

    def wait(self, handles: Iterable[Any]) -> Iterable[Any]:
        """Block until some are done, and return these."""

    def result(self, handle: Any) -> Any:
        """The result of a done task, its exception, or `_WorkerDiedError`."""

    def close(self, *, finished: bool) -> None:
        """Let go of the workers; unless all is finished, stop what they do."""


def _spread(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    make: Callable[[], _Pool],
    on_done: Callable[[Result | Lost], None] | None,
) -> Iterator[Result | Lost]:
    """Keep a pool busy, and yield in order."""
    pool, finished = make(), False
    try:
        done: dict[int, Result | Lost] = {}
        upcoming = itertools.count()
        awaited = next(upcoming)
        for number, result in _Schedule(function, tasks, pool).completed():
            if on_done is not None:
                on_done(result)
            done[number] = result
            while awaited in done:
                yield done.pop(awaited)
                awaited = next(upcoming)
        finished = True
    finally:
        pool.close(finished=finished)


class _Schedule(Generic[Task, Result]):
    """Which tasks are ahead, being done, and in doubt.

    When a local worker dies, all that was being done is in doubt. Those tasks are done again one at a time, so that the
    one to blame is found out and no other is given up for it.
    """

    def __init__(self, function: Callable[[Task], Result], tasks: Iterable[Task], pool: _Pool) -> None:
        self._function, self._pool = function, pool
        self._ahead = enumerate(tasks)
        self._doubtful: deque[tuple[int, Task]] = deque()
        self._deaths: dict[int, int] = {}
        self._flying: dict[Any, tuple[int, Task]] = {}

    def completed(self) -> Iterator[tuple[int, Result | Lost]]:
        """Numbers and results of the tasks, as they finish."""
        self._launch()
        while self._flying:
            for handle in list(self._pool.wait(self._flying)):
                number, task = self._flying.pop(handle)
                try:
                    yield number, self._pool.result(handle)
                except _WorkerDiedError as died:
                    self._deaths[number] = MAX_DEATHS if died.final else self._deaths.get(number, 0) + 1
                    if self._deaths[number] >= MAX_DEATHS:
                        yield number, Lost(self._deaths[number])
                    else:
                        self._doubtful.append((number, task))
            self._launch()

    def _launch(self) -> None:
        """Hand over what may be done now."""
        if any(number in self._deaths for number, _ in self._flying.values()):
            return
        chosen: list[tuple[int, Task]] = []
        if not self._doubtful:
            chosen = list(itertools.islice(self._ahead, max(0, self._pool.width - len(self._flying))))
        elif not self._flying:
            chosen = [self._doubtful.popleft()]
        for number, task in chosen:
            handle = self._pool.submit(_guarded, self._function, task, radiomics_crlm.__version__)
            self._flying[handle] = (number, task)


class _Processes:
    """Processes of this machine, kept for the next run. Not more tasks are handed over than there are processes, so
    that those in doubt after a death are few."""

    def __init__(self, width: int) -> None:
        self.width = width

    def submit(self, function: Callable[..., Any], *arguments: object) -> Any:
        try:
            return self._executor().submit(function, *arguments)
        except TerminatedWorkerError:  # an idle worker died just now
            return self._executor().submit(function, *arguments)

    def wait(self, handles: Iterable[Any]) -> Iterable[Any]:
        return concurrent.futures.wait(handles, return_when=concurrent.futures.FIRST_COMPLETED).done

    def result(self, handle: Any) -> Any:
        try:
            return handle.result()
        except TerminatedWorkerError:
            raise _WorkerDiedError from None

    def close(self, *, finished: bool) -> None:
        if not finished:
            self._executor().shutdown(wait=True, kill_workers=True)

    def _executor(self) -> Any:
        return get_reusable_executor(max_workers=self.width, timeout=_IDLE_S, env=dict(_ONE_THREAD))


class _Cluster:
    """Workers of a Dask scheduler. The scheduler does the tasks of dead workers again and counts the deaths."""

    def __init__(self, address: str) -> None:
        self._library = _distributed()
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        _knock(self._library, address)
        self._client = self._library.Client(address, timeout=_CONNECT_S, set_as_default=False)
        self.width = _MOST_ON_CLUSTER
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            self._client.close()
            raise ConfigError(
                "the Dask scheduler has no worker",
                remedy="start workers with 'dask worker ADDRESS --nthreads 1 --nworkers auto'",
            ) from None
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["nthreads"] > 1 for worker in workers):
            logging.getLogger(__name__).warning(
                "Dask workers have several threads, of which one is used; start them with --nthreads 1 --nworkers auto"
            )

    def submit(self, function: Callable[..., Any], *arguments: object) -> Any:
        handle = self._client.submit(function, *arguments, pure=False)
        handle.add_done_callback(self._done.put)
        return handle

    def wait(self, handles: Iterable[Any]) -> Iterable[Any]:
        del handles
        found = [self._done.get()]
        while not self._done.empty():
            found.append(self._done.get())
        return found

    def result(self, handle: Any) -> Any:
        try:
            return handle.result()
        except self._library.KilledWorker:
            raise _WorkerDiedError(final=True) from None
        except concurrent.futures.CancelledError:
            raise _scheduler_gone() from None
        except (ModuleNotFoundError, RuntimeError) as error:
            if not isinstance(error, ModuleNotFoundError) and not str(error).startswith(_NOT_UNDERSTOOD):
                raise
            raise ConfigError(
                "the Dask scheduler or a worker cannot read the tasks",
                got=type(error).__name__,
                remedy="install the same version of radiomics_crlm and of dask on the scheduler and all workers",
            ) from None
        finally:
            handle.release()

    def close(self, *, finished: bool) -> None:
        del finished  # closing the client lets the scheduler forget what is left of its tasks
        self._client.close()


def _scheduler_gone() -> CrlmError:
    return CrlmError("the Dask scheduler went away", remedy="start it again and repeat the command: it goes on")


def _distributed() -> ModuleType:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise ConfigError(
            "a Dask address is given, but dask.distributed is not installed",
            remedy="pip install 'radiomics-crlm[cluster]'",
        ) from None


def _knock(library: ModuleType, address: str) -> None:
    """Make sure that a scheduler answers, before a client is made, which would go on trying in the background."""

    async def ask() -> str:
        async with library.rpc(address, timeout=_CONNECT_S) as remote:
            return str((await asyncio.wait_for(remote.identity(), _CONNECT_S))["type"])

    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # the caller may run in an event loop itself
        try:
            answer = thread.submit(asyncio.run, ask()).result()
        except _NO_SCHEDULER as error:
            answer = type(error).__name__
    if answer != "Scheduler":
        raise ConfigError(
            "no Dask scheduler answers at the address",
            expected="tcp://HOST:PORT of a running 'dask scheduler'",
            got=f"{address!r}: {answer}",
            remedy="check the address, and that the scheduler can be reached from here",
        )
