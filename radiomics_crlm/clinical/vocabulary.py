"""Canonical inputs of the rules and how cells become numbers.

Every input becomes one float column, whatever its type: yes/no as 1/0, a category as its position in the list of
allowed values, a date as its proleptic ordinal day, unknown as NaN. One code path thus serves a patient and a table.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from radiomics_crlm.resources import resource

_YES_NO = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


class _RefusedError(ValueError):
    """A cell that does not fit its input."""


@dataclass(frozen=True)
class InputSpec:
    """Type, unit and allowed values of one canonical input."""

    name: str
    type: str
    available_at: str
    text: str
    unit: str = ""
    range: tuple[float, float] | None = None
    allowed: tuple[str, ...] = ()
    clip_from: float | None = None

    @property
    def requirement(self) -> str:
        """What a cell must be, without saying what it was."""
        if self.type == "bool":
            return f"{self.name} must be yes or no"
        if self.type == "enum":
            return f"{self.name} must be one of {', '.join(self.allowed)}"
        if self.type == "date":
            return f"{self.name} must be an ISO 8601 date"
        lower, upper = self.range or (-np.inf, np.inf)
        kind = "a whole number" if self.type == "int" else "a number"
        return f"{self.name} must be {kind} within {lower:g} to {upper:g}"


@functools.cache
def vocabulary() -> Mapping[str, InputSpec]:
    """All canonical inputs, by name."""
    raw = yaml.safe_load(resource("clinical/data/inputs.yaml").read_text(encoding="utf-8"))
    return {name: _spec(name, entry) for name, entry in raw.items()}


def _spec(name: str, entry: dict[str, Any]) -> InputSpec:
    span = entry.pop("range", None)
    allowed = tuple(entry.pop("allowed", ()))
    return InputSpec(name=name, range=None if span is None else (span[0], span[1]), allowed=allowed, **entry)


def encode(spec: InputSpec, cells: Sequence[Any] | pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Cells of one input as floats, and which of them are refused.

    Parameters
    ----------
    spec
        The input.
    cells
        One cell per patient; None, NaN, NA and NaT are unknown.

    Returns
    -------
    codes, refused
        Float array (NaN unknown or refused) and boolean array, one entry per patient.
    """
    if isinstance(cells, pd.Series):
        if pd.api.types.is_numeric_dtype(cells.dtype) or pd.api.types.is_bool_dtype(cells.dtype):
            return _checked(spec, cells.to_numpy(dtype=float, na_value=np.nan))
        if pd.api.types.is_hashable(next(iter(cells), None)) and spec.type in ("enum", "bool", "date"):
            return _encode_distinct(spec, cells)
    return _encode_each(spec, list(cells))


def _encode_distinct(spec: InputSpec, cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    try:
        position, distinct = pd.factorize(cells)
    except TypeError:  # an unhashable cell further down
        return _encode_each(spec, list(cells))
    codes, refused = _encode_each(spec, list(distinct))
    return np.append(codes, np.nan)[position], np.append(refused, False)[position]


def _encode_each(spec: InputSpec, cells: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    codes = np.full(len(cells), np.nan)
    unreadable = np.zeros(len(cells), dtype=bool)
    for row, cell in enumerate(cells):
        try:
            codes[row] = _READERS[spec.type](spec, cell)
        except _RefusedError:
            unreadable[row] = True
    codes, refused = _checked(spec, codes)
    return codes, refused | unreadable


def _checked(spec: InputSpec, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = ~np.isnan(codes)
    fits = np.ones(len(codes), dtype=bool)
    if spec.type == "bool":
        fits = np.isin(codes, (0.0, 1.0))
    elif spec.type == "enum":
        fits = np.isin(codes, range(len(spec.allowed)))
    elif spec.range is not None:
        lower, upper = spec.range
        fits = (codes >= (lower if spec.clip_from is None else spec.clip_from)) & (codes <= upper)
        codes = np.maximum(codes, lower) if spec.clip_from is not None else codes
    if spec.type == "int":
        fits &= codes == np.round(codes)
    refused = known & ~fits
    return np.where(refused, np.nan, codes), refused


def _is_null(cell: Any) -> bool:
    return cell is None or (pd.api.types.is_scalar(cell) and bool(pd.isna(cell)))


def _read_number(spec: InputSpec, cell: Any) -> float:
    if _is_null(cell):
        return np.nan
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, np.number, str)):
        raise _RefusedError(spec.name)
    try:
        number = float(cell)
    except ValueError as error:
        raise _RefusedError(spec.name) from error
    if not np.isfinite(number):
        raise _RefusedError(spec.name)
    return number


def _read_yes_no(spec: InputSpec, cell: Any) -> float:
    if isinstance(cell, str):
        if cell.strip().casefold() not in _YES_NO:
            raise _RefusedError(spec.name)
        return _YES_NO[cell.strip().casefold()]
    return float(cell) if isinstance(cell, (bool, np.bool_)) else _read_number(spec, cell)


def _read_category(spec: InputSpec, cell: Any) -> float:
    if _is_null(cell):
        return np.nan
    if not isinstance(cell, str) or cell.strip() not in spec.allowed:
        raise _RefusedError(spec.name)
    return float(spec.allowed.index(cell.strip()))


def _read_date(spec: InputSpec, cell: Any) -> float:
    if _is_null(cell):
        return np.nan
    if isinstance(cell, str):
        try:
            return float(datetime.datetime.fromisoformat(cell.strip()).toordinal())
        except ValueError as error:
            raise _RefusedError(spec.name) from error
    if isinstance(cell, np.datetime64):
        cell = pd.Timestamp(cell)
    if not isinstance(cell, datetime.date):
        raise _RefusedError(spec.name)
    return float(cell.toordinal())


_READERS = {
    "bool": _read_yes_no,
    "enum": _read_category,
    "date": _read_date,
    "int": _read_number,
    "float": _read_number,
}


def decode(spec: InputSpec, code: float) -> Any:
    """The value behind a code: bool, category name, date or number; None if unknown."""
    if np.isnan(code):
        return None
    if spec.type == "bool":
        return bool(code)
    if spec.type == "enum":
        return spec.allowed[int(code)]
    if spec.type == "date":
        return datetime.date.fromordinal(int(code))
    return float(code)
