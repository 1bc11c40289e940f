"""Worked examples: a file of inputs and expected results, compared with what the rules say."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiomics_crlm.clinical.catalogue import rules
from radiomics_crlm.clinical.engine import evaluate
from radiomics_crlm.errors import InputError

_COLUMNS = ("vector_id", "rule_id", "inputs", "expected", "tolerance")


@dataclass(frozen=True)
class Disagreement:
    """One key of one worked example that was not reproduced."""

    vector_id: str
    key: str
    expected: Any
    got: Any


@dataclass(frozen=True)
class VectorReport:
    """How many worked examples agree, and each disagreement."""

    total: int
    agreeing: int
    disagreements: tuple[Disagreement, ...]


def check_vectors(path: Path | str) -> VectorReport:
    """Compare the rules with a CSV of worked examples.

    Parameters
    ----------
    path
        Columns ``vector_id, rule_id, inputs, expected, tolerance``; ``inputs`` and ``expected`` are JSON objects. An
        example agrees when each key of ``expected`` is reproduced, numbers within ``tolerance``; further keys of the
        result are allowed.

    Raises
    ------
    InputError
        If the file cannot be read, a column is absent or a row is not readable (the row number is named).
    """
    rows = _rows(Path(path))
    found: list[Disagreement] = []
    failing = 0
    for number, row in enumerate(rows, start=1):
        differing = _compare_row(number, row)
        failing += bool(differing)
        found += differing
    return VectorReport(len(rows), len(rows) - failing, tuple(found))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            absent = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("the worked examples cannot be read", where=path.name, got=type(error).__name__) from None
    if absent:
        raise InputError("columns are absent from the worked examples", got=f"no {', '.join(absent)}")
    return rows


def _compare_row(number: int, row: Mapping[str, str]) -> list[Disagreement]:
    try:
        inputs, expected = json.loads(row["inputs"]), json.loads(row["expected"])
        tolerance = float(row["tolerance"])
    except (ValueError, TypeError, RecursionError):  # a cell that is absent is a TypeError
        raise _unreadable(number) from None
    if not isinstance(inputs, dict) or not isinstance(expected, dict):
        raise _unreadable(number)
    if row["rule_id"] not in rules():
        return [Disagreement(row["vector_id"], "rule_id", row["rule_id"], None)]
    got = evaluate(row["rule_id"], inputs).as_dict()
    return [
        Disagreement(row["vector_id"], key, wanted, got.get(key))
        for key, wanted in expected.items()
        if not _agrees(wanted, got.get(key), tolerance)
    ]


def _unreadable(number: int) -> InputError:
    return InputError("a worked example is not readable", where=f"row {number}", expected="JSON objects and a number")


def _agrees(wanted: Any, got: Any, tolerance: float) -> bool:
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, (int, float)) and isinstance(got, (int, float)):
        return abs(wanted - got) <= tolerance
    if isinstance(wanted, list) and isinstance(got, (list, tuple)):
        same = len(wanted) == len(got)
        return same and all(_agrees(left, right, tolerance) for left, right in zip(wanted, got, strict=True))
    if isinstance(wanted, dict) and isinstance(got, Mapping):
        return wanted.keys() == got.keys() and all(_agrees(entry, got[key], tolerance) for key, entry in wanted.items())
    return bool(wanted == got)
