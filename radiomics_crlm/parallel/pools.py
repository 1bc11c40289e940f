"""Who does the tasks: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import logging
import multiprocessing.resource_tracker
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any, Protocol

from joblib.executor import get_memmapping_executor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from radiomics_crlm.errors import ConfigError, CrlmError
from radiomics_crlm.parallel.memory import machine_memory

_CONNECT_S = 5.0
_WORKERS_S = 10.0
_MOST_ON_CLUSTER = 1000
_IDLE_S = 300
_HANDED_OVER_S = 5.0
# Read by libraries when they are loaded, hence set before a worker starts.
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


@dataclass(frozen=True)
class Workers:
    """How many tasks are done at a time, and the memory in bytes that all of them (``total``) or the smallest one
    (``each``) may use; None where the system does not tell."""

    count: int
    total: int | None
    each: int | None


def workers(jobs: int, dask: str | None = None) -> Workers:
    """The workers that `radiomics_crlm.parallel.run` would use.

    Raises
    ------
    ConfigError
        As `radiomics_crlm.parallel.run`.
    """
    if dask is None:
        total = machine_memory()
        return Workers(jobs, total, None if total is None else total // max(1, jobs))
    found = _knock(_distributed(), dask)["workers"].values()
    limits = [int(w["memory_limit"]) for w in found if w["memory_limit"]]
    return Workers(max(1, len(found)), sum(limits) or None, min(limits, default=None))


class WorkerDiedError(Exception):
    """The worker of a task died; ``final`` says that the task is given up."""

    def __init__(self, *, final: bool = False) -> None:
        self.final = final
        super().__init__()


class Pool(Protocol):
    """What runs tasks elsewhere. ``width`` tasks are handed over at a time."""

    width: int

    def submit(self, function: Callable[..., Any], *arguments: object) -> Any:
        """A handle of the task."""

    def wait(self, handles: Iterable[Any]) -> Iterable[Any]:
        """Block until some are done, and return these."""

    def result(self, handle: Any) -> Any:
        """The result of a done task, its exception, or `WorkerDiedError`."""

    def close(self, *, finished: bool) -> None:
        """Let go of the workers; unless all is finished, stop what they do."""


class Processes:
    """Processes of this machine, kept a while for the next run: starting one takes seconds. Not more tasks are handed
    over than there are processes, so that those in doubt after a death are few."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._handed: list[Any] = []

    def submit(self, function: Callable[..., Any], *arguments: object) -> Any:
        with _uninterrupted(), _deaf_children():  # `close` has to know of everything that was handed over
            try:
                handle = self._executor().submit(function, *arguments)
            except TerminatedWorkerError:  # an idle worker died just now
                handle = self._executor().submit(function, *arguments)
            self._handed = [one for one in self._handed if not one.done()] + [handle]
        return handle

    def wait(self, handles: Iterable[Any]) -> Iterable[Any]:
        return concurrent.futures.wait(handles, return_when=concurrent.futures.FIRST_COMPLETED).done

    def result(self, handle: Any) -> Any:
        try:
            return handle.result()
        except TerminatedWorkerError:
            raise WorkerDiedError from None

    def close(self, *, finished: bool) -> None:
        if not finished:
            # Loky's thread stumbles over a task that is withdrawn between its queue and a worker.
            deadline = time.monotonic() + _HANDED_OVER_S
            while any(not (one.running() or one.done()) for one in self._handed) and time.monotonic() < deadline:
                time.sleep(0.005)
            self._executor().shutdown(wait=True, kill_workers=True)

    def _executor(self) -> Any:
        # Of joblib's own class, because joblib.Parallel takes over the executor that it finds. Nothing is put into
        # shared memory, where it would stay until the program ends. Processes of another environment are let go: those
        # that started in another folder would not find files by relative paths.
        environment = {**_ONE_THREAD, "PWD": os.getcwd()}
        return get_memmapping_executor(self.width, timeout=_IDLE_S, env=environment, max_nbytes=None)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C takes effect afterwards. Blocking the signal would not do: another thread may receive it."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    said: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: said.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if said:
            before(*said[-1])


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that start meanwhile do not notice Ctrl-C, which a terminal sends to all: it is for this process, which
    stops them. Else each would say in its own words where it was.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    for tracker in (resource_tracker, multiprocessing.resource_tracker):  # they unblock the signal when they start
        tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Cluster:
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
            raise WorkerDiedError(final=True) from None
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


def _knock(library: ModuleType, address: str) -> dict[str, Any]:
    """Make sure that a scheduler answers, before a client is made, which would go on trying in the background."""

    async def ask() -> Any:
        async with library.rpc(address, timeout=_CONNECT_S) as remote:
            met = await asyncio.wait_for(remote.identity(), _CONNECT_S)
            scheduler = met["type"] == "Scheduler"
            return await asyncio.wait_for(remote.identity(n_workers=-1), _CONNECT_S) if scheduler else met

    met = ""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # the caller may run in an event loop itself
        try:
            answer = thread.submit(asyncio.run, ask()).result()
            if answer["type"] == "Scheduler":
                return dict(answer)
            met = str(answer["type"])
        except _NO_SCHEDULER as error:
            met = type(error).__name__
    raise ConfigError(
        "no Dask scheduler answers at the address",
        expected="tcp://HOST:PORT of a running 'dask scheduler'",
        got=f"{address!r}: {met}",
        remedy="check the address, and that the scheduler can be reached from here",
    )
