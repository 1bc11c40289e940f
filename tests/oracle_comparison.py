"""Comparison of a function with an independent implementation, on many random data sets.

A test of ``tests/oracle`` says what it compares with the decorator :func:`oracle` and gives every pair of numbers to
the fixture ``compare``, which also deals the seeds. What was compared, on how many data sets and how far apart the
numbers were at most is written down in docs/oracles.md by benchmarks/oracle_table.py, which runs the same tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from random_outcomes import CLOSED_FORM

DATA_SETS = 200
"""Data sets of every comparison; of some, the fast form of the test has fewer and the slow form all."""
_MOST_TRIES = 5

_Test = TypeVar("_Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Case:
    """What a test compares.

    Parameters
    ----------
    metric
        In words.
    against
        Packages, or where the formulas stand that the test writes out.
    covers
        Functions and classes that are compared, ``module.name`` without the package.
    tolerance
        Largest admissible absolute difference.
    """

    metric: str
    against: str
    covers: tuple[str, ...]
    tolerance: float


@dataclass(frozen=True)
class Record:
    """What a run of a test measured."""

    test: str
    case: Case
    data_sets: int
    largest: float


RECORDS = pytest.StashKey[list[Record]]()


def oracle(
    metric: str, *, against: str, covers: tuple[str, ...], tolerance: float = CLOSED_FORM, fast: int = DATA_SETS
) -> Callable[[_Test], _Test]:
    """Mark a test as a comparison (see :class:`Case`); with fewer ``fast`` data sets it has a slow form with all."""
    case = Case(metric, against, covers, tolerance)
    counts = [pytest.param((case, fast), id=str(fast))]
    if fast < DATA_SETS:
        counts.append(pytest.param((case, DATA_SETS), id=str(DATA_SETS), marks=pytest.mark.slow))

    def decorate(test: _Test) -> _Test:
        marked: _Test = pytest.mark.parametrize("compare", counts, indirect=True)(test)
        return marked

    return decorate


def case_of(test: Callable[..., Any]) -> Case | None:
    """What a test function compares; None if it is no comparison."""
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize" and mark.args[0] == "compare":
            case: Case = mark.args[1][0].values[0][0]
            return case
    return None


@dataclass
class Compare:
    """Deals seeds until enough data sets were compared, and keeps the largest difference."""

    case: Case
    wanted: int
    compared: set[int] = field(default_factory=set)
    largest: float = 0.0

    def __iter__(self) -> Iterator[int]:
        """Seeds of data sets. Those that the test passes over are replaced by others."""
        for seed in range(_MOST_TRIES * self.wanted):
            if len(self.compared) == self.wanted:
                return
            yield seed
        assert len(self.compared) == self.wanted, f"{len(self.compared)} of {self.wanted} data sets could be compared"

    def __call__(self, seed: int, found: npt.ArrayLike, expected: npt.ArrayLike, *, nan_ok: bool = False) -> None:
        """Two sets of numbers from one data set. Numbers that are unknown to both count only if that is allowed."""
        ours, theirs = (np.asarray(values, dtype=float) for values in (found, expected))
        assert ours.shape == theirs.shape, f"seed {seed}: shapes {ours.shape} and {theirs.shape}"
        if nan_ok:
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=f"seed {seed}")
        same = (np.isnan(ours) & np.isnan(theirs)) if nan_ok else np.zeros(ours.shape, dtype=bool)
        difference = np.abs(ours - theirs)[~same]
        far = float(difference.max(initial=0.0))
        assert far <= self.case.tolerance, f"seed {seed}: {far:.3g} apart\nours {ours}\ntheirs {theirs}"
        if difference.size:
            self.compared.add(seed)
            self.largest = max(self.largest, far)
