"""Which task is done when, what happens when workers die, and the order of the results."""

from __future__ import annotations

import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import radiomics_crlm
from radiomics_crlm.errors import ConfigError, CrlmError
from radiomics_crlm.parallel.pools import Cluster, Pool, Processes, WorkerDiedError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Dask gives a task up after as many deaths (`distributed.scheduler.allowed-failures`), so local workers do the same.
MAX_DEATHS = 3
# Numbers of threads, log levels and warning filters belong to a process: two tasks in two threads would mix them up.
_PROCESS = threading.RLock()


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
    on_done: Callable[[int, Result | Lost], None] | None = None,
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
        Called in this process with the number of a task (from 0) and its result as soon as it is done, in whatever
        order that happens.

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
    return _spread(function, tasks, (lambda: Processes(wanted)) if dask is None else (lambda: Cluster(dask)), on_done)


def run_all(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], *, jobs: int
) -> Generator[Result, None, None]:
    """Call a function with each of several sets of arguments, as `run`, where no result can be done without.

    Raises
    ------
    CrlmError
        If the worker of a task died each time.

    Examples
    --------
    >>> list(run_all(pow, [(2, 3), (3, 2)], jobs=1))
    [8, 9]
    """
    for result in run(functools.partial(_applied, function), tasks, jobs=jobs):
        if isinstance(result, Lost):
            raise CrlmError(
                "a task was given up: the process that did it died each time",
                remedy="give it more memory, or fewer --jobs, and repeat the command",
            )
        yield result


def _applied(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    return function(*arguments)


def _here(
    function: Callable[[Task], Result], tasks: Iterable[Task], on_done: Callable[[int, Result | Lost], None] | None
) -> Iterator[Result | Lost]:
    """One task after the other, in this process."""
    for number, task in enumerate(tasks):
        result = guarded(function, task, radiomics_crlm.__version__)
        if on_done is not None:
            on_done(number, result)
        yield result


def guarded(function: Callable[[Task], Result], task: Task, version: str) -> Result:
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


def _spread(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    make: Callable[[], Pool],
    on_done: Callable[[int, Result | Lost], None] | None,
) -> Iterator[Result | Lost]:
    """Keep a pool busy, and yield in order."""
    pool, finished = make(), False
    try:
        done: dict[int, Result | Lost] = {}
        upcoming = itertools.count()
        awaited = next(upcoming)
        for number, result in _Schedule(function, tasks, pool).completed():
            if on_done is not None:
                on_done(number, result)
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

    def __init__(self, function: Callable[[Task], Result], tasks: Iterable[Task], pool: Pool) -> None:
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
                except WorkerDiedError as died:
                    # Dask also blames what only waited on the worker that died: final is what it says of a task alone.
                    again = number in self._deaths
                    self._deaths[number] = MAX_DEATHS if died.final and again else self._deaths.get(number, 0) + 1
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
            handle = self._pool.submit(guarded, self._function, task, radiomics_crlm.__version__)
            self._flying[handle] = (number, task)
