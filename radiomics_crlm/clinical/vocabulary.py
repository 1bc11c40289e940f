"""Canonical inputs of the rules and how cells become numbers.

Every input becomes one float column, whatever its type: yes/no as 1/0, a category as its position in the list of
allowed values, a date as its proleptic ordinal day, unknown as NaN. One code path thus serves a patient and a table.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.schema import ColumnSpec, load_schema

_DAY_0 = datetime.date(1970, 1, 1).toordinal()
_YES_NO = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


class _RefusedError(ValueError):
    """A cell that does not fit its input."""


def vocabulary() -> Mapping[str, ColumnSpec]:
    """All canonical inputs by name: the columns of the ``clinical`` table."""
    return load_schema("clinical").columns


def requirement(spec: ColumnSpec) -> str:
    """What a cell of an input must be, without saying what it was."""
    return f"{spec.name} must be {spec.rule()}"


def encode(spec: ColumnSpec, cells: Sequence[Any] | pd.Series) -> tuple[np.ndarray, np.ndarray]:
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
    if not isinstance(cells, pd.Series):
        return _encode_each(spec, cells)
    if spec.type == "date" and pd.api.types.is_datetime64_dtype(cells.dtype):
        return _days(cells), np.zeros(len(cells), dtype=bool)
    is_bool = pd.api.types.is_bool_dtype(cells.dtype)
    if spec.type == "bool" if is_bool else spec.type in ("float", "int", "bool") and _is_numeric(cells):
        return _finite(spec, cells.to_numpy(dtype=float, na_value=np.nan))
    # Equal cells of another kind (1 and true) are one cell to factorize, which a number must not accept.
    return _encode_each(spec, list(cells)) if spec.type in ("float", "int") else _encode_distinct(spec, cells)


def negative_intervals(cells: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Patients in whom a negative interval was read as 0, by input; nothing if there is none."""
    found = {}
    for name, column in cells.items():
        spec = vocabulary()[name]
        if spec.negative_is_zero:
            numbers = pd.to_numeric(pd.Series(list(column), dtype=object), errors="coerce").to_numpy(dtype=float)
            found[name] = (numbers < 0) & (numbers >= -float(spec.max or 0))
    return {name: negative for name, negative in found.items() if negative.any()}


def _is_numeric(cells: pd.Series) -> bool:
    return pd.api.types.is_any_real_numeric_dtype(cells.dtype)


def _finite(spec: ColumnSpec, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    infinite = np.isinf(codes)
    codes, refused = _checked(spec, np.where(infinite, np.nan, codes))
    return codes, refused | infinite


def _days(cells: pd.Series) -> np.ndarray:
    days = cells.to_numpy().astype("datetime64[D]")
    since = (days - np.datetime64(0, "D")).astype(float) + _DAY_0
    return np.where(np.isnat(days), np.nan, since)


def _encode_distinct(spec: ColumnSpec, cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    try:
        position, distinct = pd.factorize(cells)
    except TypeError:  # a cell that cannot be hashed, such as a list
        return _encode_each(spec, list(cells))
    codes, refused = _encode_each(spec, list(distinct))
    return np.append(codes, np.nan)[position], np.append(refused, False)[position]


def _encode_each(spec: ColumnSpec, cells: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    codes = np.full(len(cells), np.nan)
    unreadable = np.zeros(len(cells), dtype=bool)
    for row, cell in enumerate(cells):
        try:
            codes[row] = _READERS[spec.type](spec, cell)
        except _RefusedError:
            unreadable[row] = True
    codes, refused = _checked(spec, codes)
    return codes, refused | unreadable


def _checked(spec: ColumnSpec, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = ~np.isnan(codes)
    fits = np.ones(len(codes), dtype=bool)
    if spec.type == "bool":
        fits = np.isin(codes, (0.0, 1.0))
    elif spec.type == "enum":
        fits = np.isin(codes, range(len(spec.allowed)))
    elif spec.min is not None and spec.max is not None:
        # Metastases may be found before the primary. The missing code -999 is out of range instead.
        if spec.negative_is_zero:
            codes = np.where((codes < spec.min) & (codes >= -spec.max), spec.min, codes)
        fits = (codes >= spec.min) & (codes <= spec.max)
    if spec.type == "int":
        fits &= codes == np.round(codes)
    refused = known & ~fits
    return np.where(refused, np.nan, codes), refused


def _is_null(cell: Any) -> bool:
    return cell is None or (pd.api.types.is_scalar(cell) and bool(pd.isna(cell)))


def _read_number(spec: ColumnSpec, cell: Any) -> float:
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


def _read_yes_no(spec: ColumnSpec, cell: Any) -> float:
    if isinstance(cell, str):
        if cell.strip().casefold() not in _YES_NO:
            raise _RefusedError(spec.name)
        return _YES_NO[cell.strip().casefold()]
    return float(cell) if isinstance(cell, (bool, np.bool_)) else _read_number(spec, cell)


def _read_category(spec: ColumnSpec, cell: Any) -> float:
    if _is_null(cell):
        return np.nan
    if not isinstance(cell, str) or cell.strip() not in spec.allowed:
        raise _RefusedError(spec.name)
    return float(spec.allowed.index(cell.strip()))


def _read_date(spec: ColumnSpec, cell: Any) -> float:
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


def decode(spec: ColumnSpec, code: float) -> Any:
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
