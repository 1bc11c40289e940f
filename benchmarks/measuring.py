"""What a benchmark is, how it is timed, and how the table of them is written.

A comparison has two sides that do the same work: ours and that of a peer. The sides take turns in one run, so that a
busy machine hits both; medians and the range are kept. A comparison whose values differ by more than it says is
refused.
"""

from __future__ import annotations

import json
import math
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np

from radiomics_crlm.parallel import peak_memory

Side = Callable[[], object]


@dataclass(frozen=True)
class Given:
    """What the cases are made from: a folder for their files, that of the real data, a peer by name, and how much."""

    folder: Path
    data: Path
    peers: Path
    quick: bool
    jobs: int = 2


@dataclass(frozen=True)
class Timed:
    """Seconds that a side took by its own clock, what it found, and its peak memory (bytes) if it tells."""

    seconds: float
    values: Any
    peak: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Two ways to the same values.

    Parameters
    ----------
    area, case, peer, note
        Words of the row; ``peer`` with its version.
    ours, theirs
        Work to be timed; the result is its values, or a :class:`Timed` where the work has a clock of its own.
    apart
        Largest relative difference of the values of both, or what is said instead, where they are not compared.
    tolerance
        Largest difference at which the values count as equal.
    repeats, least, patience
        Rounds at most, rounds at least, and the seconds after which no further one is begun.
    memory
        Whether each side is also run in a process of its own for its peak memory; both can then be pickled.
    warm
        Whether a round that does not count comes first.
    """

    area: str
    case: str
    peer: str
    ours: Side
    theirs: Side
    apart: Callable[[Any, Any], float] | str
    tolerance: float = 0.0
    note: str = ""
    repeats: int = 5
    least: int = 2
    patience: float = 40.0
    memory: bool = False
    warm: bool = True


@dataclass(frozen=True)
class Figure:
    """A measurement that has no peer, beside what was aimed at."""

    area: str
    what: str
    value: str
    target: str = ""


@dataclass(frozen=True)
class Absent:
    """A case or peer that is not in the table, and why."""

    area: str
    what: str
    reason: str


Entry = Comparison | Absent | Callable[[], Figure]


class UnequalError(Exception):
    """The sides do not compute the same."""


@dataclass(frozen=True)
class Row:
    """Seconds of both sides round by round, and how far the values are apart (text: not compared, as it says)."""

    comparison: Comparison
    ours: Sequence[float]
    theirs: Sequence[float]
    apart: float | str
    peaks: tuple[int | None, int | None] = (None, None)

    @property
    def ratio(self) -> float:
        """Median of the peer over our median: above 1 we are faster."""
        return statistics.median(self.theirs) / statistics.median(self.ours)

    @property
    def ratios(self) -> list[float]:
        """The same round by round."""
        return [peer / own for own, peer in zip(self.ours, self.theirs, strict=True)]


def apart(first: object, second: object) -> float:
    """Largest relative difference of two values of the same build: numbers, arrays, mappings and sequences of them.

    NaN equals NaN alone; texts, keys and shapes must be the same, otherwise the difference is infinite.

    >>> apart({"a": [1.0, 2.0]}, {"a": [1.0, 2.2]}).__round__(3)
    0.091
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if set(first) != set(second):
            return math.inf
        return max((apart(first[key], second[key]) for key in first), default=0.0)
    if isinstance(first, str) or isinstance(second, str) or first is None or second is None:
        return 0.0 if first == second else math.inf
    if isinstance(first, (list, tuple)) and any(not np.isscalar(one) for one in first):
        if not isinstance(second, (list, tuple)) or len(first) != len(second):
            return math.inf
        return max((apart(a, b) for a, b in zip(first, second, strict=True)), default=0.0)
    return _numbers_apart(first, second)


def _numbers_apart(first: Any, second: Any) -> float:
    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape or one.dtype.kind not in "biuf" or two.dtype.kind not in "biuf":
        return 0.0 if one.shape == two.shape and bool((one == two).all()) else math.inf
    a, b = one.astype(float).ravel(), two.astype(float).ravel()
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    a, b = a[~same], b[~same]
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = float((np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))).max())
    return math.inf if math.isnan(largest) else largest


def timed(side: Side) -> Timed:
    """Run a side once."""
    start = time.perf_counter()
    found = side()
    taken = time.perf_counter() - start
    return found if isinstance(found, Timed) else Timed(taken, found)


def measure(one: Comparison, *, clock: Callable[[], float] = time.monotonic) -> Row:
    """Time both sides in turn.

    Raises
    ------
    UnequalError
        If the values differ by more than the comparison allows.
    """
    if one.warm:
        timed(one.ours)
        timed(one.theirs)
    pairs: list[tuple[Timed, Timed]] = []
    began = clock()
    while len(pairs) < one.repeats and (len(pairs) < one.least or clock() - began < one.patience):
        pairs.append((timed(one.ours), timed(one.theirs)))
    found: float | str = one.apart if isinstance(one.apart, str) else 0.0
    if not isinstance(one.apart, str):
        found = max(one.apart(own.values, peer.values) for own, peer in pairs)
        if not found <= one.tolerance:
            raise UnequalError(f"{one.area}, {one.case}, {one.peer}: values differ by {found:.1e}")
    peaks = peaks_of(one) if one.memory else (None, pairs[-1][1].peak)
    return Row(one, [own.seconds for own, _ in pairs], [peer.seconds for _, peer in pairs], found, peaks)


_ALONE = "import pickle, sys; sys.path[:0] = {path!r}; import measuring; measuring.tell_peak(sys.stdin.buffer)"


def peaks_of(one: Comparison) -> tuple[int | None, int | None]:
    """Peak memory in bytes of each side in a fresh process, with only the libraries that the side imports.

    None where the process fails, as one may that runs out of memory.
    """
    code = _ALONE.format(path=sys.path)
    found: list[int | None] = []
    for side in (one.ours, one.theirs):
        done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(side), capture_output=True, check=False)
        found.append(None if done.returncode else json.loads(done.stdout.splitlines()[-1]))
    return found[0], found[1]


def tell_peak(pickled: IO[bytes]) -> None:
    """Run a pickled side and print the peak memory of this process."""
    found = pickle.load(pickled)()  # noqa: S301, from the process that started this one
    print("\n" + json.dumps(found.peak if isinstance(found, Timed) else peak_memory()))


def named(*distributions: str) -> str:
    """Distributions with their versions."""
    return ", ".join(f"{name} {version(name)}" for name in distributions)


@dataclass
class Results:
    """Everything that one run of the benchmarks found."""

    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)

    def add(self, entries: Iterator[Entry], say: Callable[[str], None]) -> None:
        """Measure entries one after the other; ``say`` gets a line about each."""
        for entry in entries:
            if isinstance(entry, Absent):
                self.absent.append(entry)
                say(f"{entry.area}: {entry.what} left out, {entry.reason}")
            elif isinstance(entry, Comparison):
                self._compare(entry, say)
            else:
                figure = entry()
                self.figures.append(figure)
                say(f"{figure.area}: {figure.what}: {figure.value}")

    def _compare(self, entry: Comparison, say: Callable[[str], None]) -> None:
        try:
            row = measure(entry)
        except UnequalError as error:
            self.unequal.append(str(error))
            say(f"REFUSED {error}")
            return
        self.rows.append(row)
        say(" | ".join(cells(row)))


HEAD = ("area", "case", "peer", "ours", "peer takes", "peer / ours", "values", "peak memory, ours : peer", "note")


def seconds_text(seconds: float) -> str:
    """Three significant digits, in s or ms."""
    return f"{_digits(seconds)} s" if seconds >= 0.1 else f"{_digits(1000 * seconds)} ms"


def ratio_text(row: Row) -> str:
    """Ratio of the medians and the range of the rounds; a peer that is faster is said so."""
    found = row.ratios
    span = f" ({_digits(min(found), 2)}–{_digits(max(found), 2)})" if len(found) > 1 else " (one round)"
    text = f"{_digits(row.ratio, 2)} ×{span}"
    return text if row.ratio >= 1 else f"**slower:** {text}"


def values_text(found: float | str) -> str:
    """How far the values are apart."""
    if isinstance(found, str):
        return found
    return "identical" if found == 0 else f"equal to {found:.0e}"


def cells(row: Row) -> list[str]:
    """A row of the table."""
    one = row.comparison
    medians = [seconds_text(statistics.median(taken)) for taken in (row.ours, row.theirs)]
    peaks = ["–" if peak is None else f"{peak / 2**20:.0f}" for peak in row.peaks]
    memory = "" if peaks == ["–", "–"] else f"{peaks[0]} : {peaks[1]} MiB"
    return [one.area, one.case, one.peer, *medians, ratio_text(row), values_text(row.apart), memory, one.note]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def _digits(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
