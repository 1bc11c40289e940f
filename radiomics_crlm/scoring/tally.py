"""Counts of a cohort, block by block, from which its shift is judged: whole numbers only, so that sums are exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.scoring.bundle import BundleContent
from radiomics_crlm.scoring.reference import InputShape
from radiomics_crlm.scoring.shape import SCAN_COLUMNS, coded, count, numbers

PER_DECADE = 20
"""Bins of the scale per power of ten."""
SUM_UNIT = 2**32
"""Probabilities are added as whole multiples of 1 / SUM_UNIT."""


@dataclass(frozen=True)
class Column:
    """One input: ``counts`` per bin or category, ``missing``, and ``scale``: positive numbers by the power of ten
    (times ``PER_DECADE``, rounded down).
    """

    counts: tuple[int, ...]
    missing: int
    scale: Mapping[int, int] = field(default_factory=dict)

    def __add__(self, other: Column) -> Column:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Column(counts, self.missing + other.missing, _added(self.scale, other.scale))


@dataclass(frozen=True)
class Tally:
    """Counts of a cohort; ``+`` joins blocks, in any order, to the same result.

    Parameters
    ----------
    rows
        Patients.
    inputs, scans
        Counts per input, and per column that says how patients were scanned.
    predicted
        By months: patients with a probability, and its sum in units of 1 / ``SUM_UNIT``.
    expected
        The same for patients whose outcome was given.
    followed
        Patients whose outcome was given, by ``{code}:{month}``; a month that has begun counts as a whole one.
    """

    rows: int = 0
    inputs: Mapping[str, Column] = field(default_factory=dict)
    scans: Mapping[str, Column] = field(default_factory=dict)
    predicted: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    expected: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    followed: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        content: BundleContent,
        table: pd.DataFrame,
        scans: pd.DataFrame | None = None,
        probability: np.ndarray | None = None,
        *,
        spoken: Sequence[int] | None = None,
        outcome: Outcome | None = None,
    ) -> Tally:
        """Counts of a block of rows.

        Parameters
        ----------
        content
            The bundle; one without the shape of its training counts rows and probabilities only.
        table
            Predictors of n rows, one column per input.
        scans
            Clinical table of the same rows, of which the columns that the bundle knows (scanner, centre, slice
            thickness, delay) are counted; others are not looked at.
        probability, spoken
            n x months: probabilities by each of the months ``spoken`` (by default the horizons of the bundle); NaN for
            rows without.
        outcome
            n outcomes, where they are known.
        """
        known = content.shift
        inputs: dict[str, Column] = {}
        taken: dict[str, Column] = {}
        if known is not None:
            inputs = {name: _column(table[name], shape) for name, shape in known.inputs.items()}
            for name, shape in known.scans.items():
                cells = pd.Series(np.nan, index=table.index) if scans is None or name not in scans else scans[name]
                taken[name] = _column(cells if SCAN_COLUMNS.get(name) == "number" else coded(cells), shape)
        months = content.horizons if spoken is None else tuple(spoken)
        predicted: dict[int, tuple[int, int]] = {}
        expected: dict[int, tuple[int, int]] = {}
        followed: dict[str, int] = {}
        if probability is not None:
            predicted = _sums(probability, months)
            if outcome is not None and probability.shape[1]:
                have = np.isfinite(probability).all(axis=1)
                expected = _sums(probability[have], months)
                followed = _followed(outcome[have])
        return cls(len(table), inputs, taken, predicted, expected, followed)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.rows + other.rows,
            _joined(self.inputs, other.inputs),
            _joined(self.scans, other.scans),
            _joined_sums(self.predicted, other.predicted),
            _joined_sums(self.expected, other.expected),
            _added(self.followed, other.followed),
        )

    def to_json(self) -> dict[str, Any]:
        """The counts as plain JSON; :meth:`from_json` gives the same tally."""
        return {
            "rows": self.rows,
            "inputs": {name: _to_json(column) for name, column in self.inputs.items()},
            "scans": {name: _to_json(column) for name, column in self.scans.items()},
            "predicted": {str(month): list(pair) for month, pair in self.predicted.items()},
            "expected": {str(month): list(pair) for month, pair in self.expected.items()},
            "followed": dict(sorted(self.followed.items())),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Tally:
        """A tally from :meth:`to_json`."""
        return cls(
            int(state["rows"]),
            {name: _from_json(column) for name, column in state["inputs"].items()},
            {name: _from_json(column) for name, column in state["scans"].items()},
            {int(month): (int(pair[0]), int(pair[1])) for month, pair in state["predicted"].items()},
            {int(month): (int(pair[0]), int(pair[1])) for month, pair in state["expected"].items()},
            {name: int(n) for name, n in state["followed"].items()},
        )


def _column(cells: pd.Series, shape: InputShape) -> Column:
    if not shape.edges:
        return Column(count(cells, shape), int(cells.isna().sum()))
    values = numbers(cells)
    with np.errstate(divide="ignore"):
        decades = np.floor(PER_DECADE * np.log10(values[values > 0])).astype(int)
    found, times = np.unique(decades, return_counts=True)
    scale = dict(zip(found.tolist(), times.tolist(), strict=True))
    return Column(count(cells, shape), len(cells) - values.size, scale)


def _sums(probability: np.ndarray, months: Sequence[int]) -> dict[int, tuple[int, int]]:
    sums = {}
    for month, column in zip(months, probability.T, strict=True):
        units = np.rint(column[np.isfinite(column)] * SUM_UNIT).astype("int64")
        sums[int(month)] = (units.size, int(units.sum()))
    return sums


def _followed(outcome: Outcome) -> dict[str, int]:
    found = Counter(zip(outcome["event"].tolist(), np.ceil(outcome["months"]).astype(int).tolist(), strict=True))
    return {f"{code}:{month}": n for (code, month), n in found.items()}


def _joined(one: Mapping[str, Column], other: Mapping[str, Column]) -> dict[str, Column]:
    both = dict(one)
    for name, column in other.items():
        both[name] = both[name] + column if name in both else column
    return both


def _joined_sums(
    one: Mapping[int, tuple[int, int]], other: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    both = dict(one)
    for month, (n, total) in other.items():
        before = both.get(month, (0, 0))
        both[month] = (before[0] + n, before[1] + total)
    return both


def _added(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    both = Counter(one)
    both.update(other)
    return dict(sorted(both.items()))


def _to_json(column: Column) -> dict[str, Any]:
    scale = {str(key): n for key, n in column.scale.items()}
    return {"counts": list(column.counts), "missing": column.missing, "scale": scale}


def _from_json(state: Mapping[str, Any]) -> Column:
    scale = {int(key): int(n) for key, n in state["scale"].items()}
    return Column(tuple(int(n) for n in state["counts"]), int(state["missing"]), scale)
