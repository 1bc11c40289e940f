"""Read hostile inputs, measure each, and keep account; a finding is whatever is neither a value nor a clear refusal.

``try_one`` reads one input in this process; ``run`` reads many in worker processes, each with a bounded address space
and under a watchdog, so that an input that kills or hangs a worker costs itself alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import resource
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np

from radiomics_crlm.errors import CaseError, CrlmError

SEED = 20261122
NAMES = ("dicom", "nifti", "table", "yaml", "bundle")
MAX_SECONDS, MAX_MIB = 1.0, 200.0
_MAX_MESSAGE = 4000
_HUNG_AFTER = 300.0
_ADDRESS_SPACE = 3 << 30
# What would steer a terminal or change the order of a text.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SPECIFIC = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


@dataclass(frozen=True)
class Case:
    """One input: what was done to a sound one, how it is read, and texts that no refusal may hold."""

    kind: str
    read: Callable[[], object]
    secrets: tuple[str, ...] = ()


class Reader(Protocol):
    """Makes hostile inputs in a folder of its own."""

    def case(self, rng: np.random.Generator) -> Case:
        """The input that the generator leads to; it replaces the one before."""


@dataclass(frozen=True)
class Result:
    """What became of an input; ``fault`` is empty, or says what is wrong and how it shows."""

    reader: str
    number: int
    kind: str
    accepted: bool
    said: str
    seconds: float
    mib: float
    fault: str = ""


@dataclass
class Account:
    """Figures of one reader."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one input."""
        self.inputs += 1
        self.accepted += result.accepted
        if result.fault:
            self.faults.append(result)
        if not result.accepted and result.said:
            self.refused += 1
            self.reasons[result.said] += 1
            self.slowest = max(self.slowest, result.seconds)
            self.largest = max(self.largest, result.mib)


def make_reader(name: str, folder: Path) -> Reader:
    """The maker of inputs for one of ``NAMES``, with its sound inputs ready."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "dicom":
        from fuzz.images import Dicom as Made
    elif name == "nifti":
        from fuzz.images import Nifti as Made
    elif name == "table":
        from fuzz.tables import Tables as Made
    elif name == "yaml":
        from fuzz.configs import Configs as Made
    else:
        from fuzz.bundles import Bundles as Made
    made: Reader = Made(folder)
    return made


def case_of(reader: Reader, name: str, number: int) -> Case:
    """Input ``number`` of a reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that write the hostile file
        return reader.case(np.random.default_rng([SEED, NAMES.index(name), number]))


def try_one(reader: Reader, name: str, number: int, folder: Path) -> Result:
    """Make an input, read it, and judge what comes out."""
    case = case_of(reader, name, number)
    before, started = _reset_peak(), time.process_time()
    fault, said, accepted = "", "", False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            value = case.read()
        accepted = True
        fault = _indiscreet(_reasons(value), case, folder)
    except CrlmError as error:
        said = _code(error)
        fault = _indiscreet([str(error)], case, folder)
    except KeyboardInterrupt:
        raise
    # Whatever else comes out of a reader is what is looked for.
    except BaseException as error:  # noqa: BLE001
        fault = f"unhandled {type(error).__name__}: {_place(error)}"
    seconds, mib = time.process_time() - started, _peak() - before
    if not fault and seconds > MAX_SECONDS:
        fault = f"slow: {seconds:.2f} s"
    if not fault and mib > MAX_MIB:
        fault = f"large: {mib:.0f} MiB"
    return Result(name, number, case.kind, accepted, said, seconds, mib, fault)


def _reasons(value: object) -> list[str]:
    """Reasons in what was read: a table that is accepted may still cost some patients."""
    return [str(one.reason) for one in getattr(value, "exclusions", ())]


def _indiscreet(texts: Iterable[str], case: Case, folder: Path) -> str:
    """What a text holds that no message may hold."""
    for text in texts:
        if str(folder) in text or any(secret in text for secret in case.secrets):
            return f"indiscreet: {text[:300]!a}"
        if _UNPRINTABLE.search(text):
            return f"unprintable: {text[:300]!a}"
        if len(text) > _MAX_MESSAGE:
            return f"endless: {len(text)} characters, {text[:200]!a}"
    return ""


def _code(error: CrlmError) -> str:
    if isinstance(error, CaseError):
        return error.code
    return _SPECIFIC.sub("..", error.what)[:100]


def _place(error: BaseException) -> str:
    """Where an exception comes from: the last frame of the product, and the message."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "radiomics_crlm" in f.filename]
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{at}: {str(error)[:160]!a}"


def _status(field_name: str) -> float:
    """A memory figure of this process in MiB."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
        for line in stream:
            if line.startswith(field_name):
                return int(line.split()[1]) / 1024
    return 0.0


def _reset_peak() -> float:
    """Forget the peak of the memory of this process; its present memory in MiB."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
        stream.write("5")
    return _status("VmRSS:")


def _peak() -> float:
    return _status("VmHWM:")


Message = tuple[str, Result | int]


def _work(name: str, numbers: range, folder: Path, pipe: Connection) -> None:
    """In a worker: all inputs of a range, announced before and reported after; what is printed is a finding."""
    os.environ["OMP_NUM_THREADS"] = "1"
    reader = make_reader(name, folder)
    sink = os.open(folder / ".printed", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    limit = int(_status("VmSize:") * (1 << 20)) + _ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        pipe.send(("begins", number))
        result = try_one(reader, name, number, folder)
        if printed := os.fstat(sink).st_size:
            os.ftruncate(sink, 0)
            result = result if result.fault else Result(
                *(getattr(result, n) for n in ("reader", "number", "kind", "accepted", "said", "seconds", "mib")),
                fault=f"noisy: {printed} bytes",
            )  # fmt: skip
        pipe.send(("ends", result))
    pipe.send(("done", 0))


class _Worker:
    """A process at work on a range of inputs, and what it is at."""

    def __init__(self, name: str, numbers: range, folder: Path) -> None:
        self.name, self.numbers, self.folder = name, numbers, folder
        self.at: int | None = None
        self.since = time.monotonic()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(name, numbers, folder, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def results(self) -> Iterator[Result]:
        """All results of the range; an input that kills or hangs the process is one of them."""
        while True:
            try:
                if not self.pipe.poll(_HUNG_AFTER if self.at is not None else 3 * _HUNG_AFTER):
                    self.process.kill()
                    yield self._lost(f"hung for {_HUNG_AFTER:.0f} s")
                    return
                kind, what = self.pipe.recv()
            except (EOFError, ConnectionError):
                self.process.join()
                yield self._lost(f"died with {self.process.exitcode}")
                return
            if kind == "done":
                self.process.join()
                return
            if isinstance(what, Result):
                self.at = None
                yield what
            else:
                self.at = what

    def _lost(self, fault: str) -> Result:
        return Result(self.name, self.at if self.at is not None else -1, "", False, "", 0.0, 0.0, fault)


def run(name: str, numbers: range, folder: Path) -> Iterator[Result]:
    """Results of a range of inputs of one reader, from worker processes that are replaced when they are lost."""
    while len(numbers):
        lost = False
        for result in _Worker(name, numbers, folder).results():
            yield result
            if result.fault.startswith(("hung", "died")):
                if result.number < 0:
                    raise RuntimeError(f"the worker for {name} does not start: {result.fault}")
                numbers, lost = range(result.number + 1, numbers.stop), True
        if not lost:
            return


def here(name: str, numbers: Iterable[int]) -> Account:
    """The account of some inputs that are read in this process."""
    account = Account()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        reader = make_reader(name, Path(folder))
        for number in numbers:
            account.add(try_one(reader, name, number, Path(folder)))
    return account
