"""Cells of a column: from whatever was written in a file to typed values, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.schema.specs import ColumnSpec

MISSING_CODES = frozenset({"", "-999", "-999.0", "na", "n/a", "nan", "none", "null", "unknown", "<na>"})
"""Cell texts (lower case) that mean unknown."""

_TRUE, _FALSE = frozenset({"true", "1", "yes", "1.0"}), frozenset({"false", "0", "no", "0.0"})
# Beyond it a float no longer tells whole numbers apart.
_LARGEST_WHOLE = 2.0**53


def parse_column(
    cells: pd.Series, spec: ColumnSpec, missing_codes: frozenset[str]
) -> tuple[pd.Series, list[tuple[int, str]]]:
    """Typed column and the positions of bad cells with a code; equal texts are read once."""
    if not isinstance(cells.dtype, pd.StringDtype):
        return _parse_cells(cells, spec, missing_codes)
    codes, distinct = pd.factorize(cells)
    last = len(distinct)
    codes = np.where(codes < 0, last, codes)
    texts = pd.Series([*distinct.to_numpy(dtype=object), None], dtype="object")
    values, bad = _parse_cells(texts, spec, missing_codes)
    taken = values.take(codes).set_axis(cells.index)
    if not bad:
        return taken, []
    suspects = np.zeros(last + 1, dtype=bool)
    suspects[[position for position, _ in bad]] = True
    rows: dict[int, list[int]] = {}
    for row in np.flatnonzero(suspects[codes]).tolist():
        rows.setdefault(int(codes[row]), []).append(row)
    return taken, [(row, code) for position, code in bad for row in rows.get(position, ())]


def _parse_cells(
    cells: pd.Series, spec: ColumnSpec, missing_codes: frozenset[str]
) -> tuple[pd.Series, list[tuple[int, str]]]:
    numbers = _plain_numbers(cells) if spec.type in ("int", "float") else None
    if numbers is not None:
        null = np.isnan(numbers) | ((numbers == -999) & ("-999" in missing_codes))
        values, wrong = _typed_numbers(np.where(null, np.nan, numbers), ~null, spec)
    else:
        texts = _texts(cells, missing_codes - {level.casefold() for level in spec.allowed})
        null = texts.null
        values, wrong = _CONVERTERS[spec.type](texts, spec)
    bad = [(int(i), "wrong_type" if spec.type != "enum" else "not_allowed") for i in np.flatnonzero(wrong & ~null)]
    series = pd.Series(values, index=cells.index)
    if spec.type in ("int", "float"):
        low = -np.inf if spec.min is None else spec.min
        high = np.inf if spec.max is None else spec.max
        typed = series.to_numpy(dtype=float, na_value=np.nan)
        outside = (typed < low) | (typed > high)
        bad += [(int(i), "out_of_range") for i in np.flatnonzero(outside)]
        series = series.mask(outside) if outside.any() else series
    if spec.required:
        bad += [(int(i), "missing_value") for i in np.flatnonzero(null)]
    return series, bad


@dataclass(frozen=True)
class _Texts:
    """Cells as stripped texts, the same without case, and which are unknown."""

    words: list[str]
    folded: list[str]
    null: np.ndarray

    def known(self) -> list[str | None]:
        """The texts; None where unknown."""
        if not self.null.any():
            return list(self.words)
        return [None if null else word for word, null in zip(self.words, self.null.tolist(), strict=True)]


def _texts(cells: pd.Series, unknown: frozenset[str]) -> _Texts:
    """A level of an enumeration, such as "none" for extrahepatic disease, is a value and not among the ``unknown``."""
    words = [cell.strip() if type(cell) is str else _cell_text(cell) for cell in cells.tolist()]
    folded = [word.casefold() for word in words]
    return _Texts(words, folded, np.array([word in unknown for word in folded], dtype=bool))


def _plain_numbers(cells: pd.Series) -> np.ndarray | None:
    """Cells that are numbers already, as floats."""
    if pd.api.types.is_float_dtype(cells.dtype):
        return cells.to_numpy(dtype=float, na_value=np.nan)
    if isinstance(cells.dtype, np.dtype) and cells.dtype.kind in "iu":
        return cells.to_numpy(dtype=float)
    return None


def _cell_text(cell: object) -> str:
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    if isinstance(cell, pd.Timestamp):
        return cell.date().isoformat() if cell == cell.normalize() else cell.isoformat()
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)):
        return repr(float(cell))
    return str(cell).strip()


def _to_number(texts: _Texts, spec: ColumnSpec) -> tuple[Any, np.ndarray]:
    cells = np.array([*texts.known(), None], dtype=object)[:-1]
    return _typed_numbers(np.asarray(pd.to_numeric(cells, errors="coerce"), dtype=float), ~texts.null, spec)


def _typed_numbers(numbers: np.ndarray, known: np.ndarray, spec: ColumnSpec) -> tuple[Any, np.ndarray]:
    """Finite numbers, whole where they must be, and which known cells are none."""
    wrong = known & ~np.isfinite(numbers)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    if spec.type != "int":
        return numbers, wrong
    unfit = (numbers != np.round(numbers)) | (np.abs(numbers) > _LARGEST_WHOLE)
    unfit &= ~np.isnan(numbers)
    return pd.array(np.where(unfit, np.nan, numbers), dtype="Int64"), wrong | unfit


def _to_bool(texts: _Texts, _: ColumnSpec) -> tuple[Any, np.ndarray]:
    rows = len(texts.folded)
    true = np.fromiter((word in _TRUE for word in texts.folded), dtype=bool, count=rows) & ~texts.null
    false = np.fromiter((word in _FALSE for word in texts.folded), dtype=bool, count=rows) & ~texts.null
    return pd.arrays.BooleanArray(true, ~(true | false)), ~(true | false)


def _to_enum(texts: _Texts, spec: ColumnSpec) -> tuple[Any, np.ndarray]:
    levels = {level.casefold(): level for level in spec.allowed}
    values = [None if null else levels.get(word) for word, null in zip(texts.folded, texts.null.tolist(), strict=True)]
    return pd.array(values, dtype="str"), np.array([value is None for value in values], dtype=bool)


def _to_date(texts: _Texts, _: ColumnSpec) -> tuple[Any, np.ndarray]:
    text = pd.Series(texts.known(), dtype="str")
    dates = pd.to_datetime(text, format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")
    return dates.array, dates.isna().to_numpy()


def _to_string(texts: _Texts, _: ColumnSpec) -> tuple[Any, np.ndarray]:
    return pd.array(texts.known(), dtype="str"), np.zeros(len(texts.words), dtype=bool)


_CONVERTERS = {
    "string": _to_string,
    "int": _to_number,
    "float": _to_number,
    "bool": _to_bool,
    "enum": _to_enum,
    "date": _to_date,
}
