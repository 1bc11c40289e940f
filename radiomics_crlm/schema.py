"""Table schemas: what each column is, in which unit and range, and when it is known.

The schemas are the files ``data_schemas/*.yaml``. Tables are checked at the door and on every write and read; inside,
code trusts them. The order of ``AVAILABILITY`` and ``refuse_later`` are the leak guard: one mechanism for clinical
columns, scans, derived features and rules.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import yaml

from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.resources import resource

AVAILABILITY = ("baseline", "restaging", "preoperative", "postoperative", "outcome")
"""Moments in the course of a patient, earliest first."""

MISSING_CODES = frozenset({"", "-999", "-999.0", "na", "n/a", "nan", "none", "null", "unknown", "<na>"})
"""Cell texts (lower case) that mean unknown."""

_TRUE, _FALSE = frozenset({"true", "1", "yes", "1.0"}), frozenset({"false", "0", "no", "0.0"})
_TYPES = ("string", "int", "float", "bool", "enum", "date")
_MAX_REPORTED = 10
# Beyond it a float no longer tells whole numbers apart.
_LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True)
class ColumnSpec:
    """One column: its type, unit, range, and the moment at which its values become known."""

    name: str
    type: str
    description: str = ""
    unit: str = ""
    required: bool = False
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] = ()
    available_at: str = "baseline"
    predictor: bool = True
    negative_is_zero: bool = False
    synonyms: tuple[str, ...] = ()

    def rule(self) -> str:
        """The rule that a cell must obey, in words."""
        if self.type == "enum":
            return "one of " + ", ".join(self.allowed)
        text = {"bool": "true or false", "date": "an ISO 8601 date", "int": "a whole number", "float": "a number"}.get(
            self.type, "text"
        )
        if self.min is not None or self.max is not None:
            low = "-inf" if self.min is None else f"{self.min:g}"
            high = "inf" if self.max is None else f"{self.max:g}"
            text += f" from {low} to {high}"
        return f"{text} {self.unit}".strip()


@dataclass(frozen=True)
class TableSchema:
    """A table: its key, its columns and families of columns that share a pattern."""

    table: str
    description: str
    key: tuple[str, ...]
    columns: Mapping[str, ColumnSpec]
    patterns: tuple[tuple[re.Pattern[str], ColumnSpec], ...] = ()

    def spec(self, column: str) -> ColumnSpec | None:
        """Specification of a column, or None if the schema does not know it."""
        if column in self.columns:
            return self.columns[column]
        return next((spec for pattern, spec in self.patterns if pattern.search(column)), None)

    def canonical(self, header: str) -> str | None:
        """Canonical name for a header: itself, or the column that lists it as a synonym (case and blanks ignored).

        >>> load_schema("clinical").canonical("CEA")
        'cea_ng_ml'
        """
        text = header.strip()
        if self.spec(text) is not None:
            return text
        folded = text.casefold()
        for name, spec in self.columns.items():
            if folded == name.casefold() or folded in (s.casefold() for s in spec.synonyms):
                return name
        return None


@dataclass(frozen=True)
class Problem:
    """A cell that breaks the rule of its column. It never holds the value itself."""

    row: int
    key: str
    column: str
    code: str
    expected: str

    def sentence(self) -> str:
        """One line for a reason column or an error message."""
        return f"row {self.row}, column {self.column}: {self.code.replace('_', ' ')}, expected {self.expected}"


@dataclass
class ParsedTable:
    """A table read at the door: typed rows that are fine, and the problems of the others."""

    table: pd.DataFrame
    problems: list[Problem] = field(default_factory=list)


@functools.cache
def load_schema(name: str) -> TableSchema:
    """Load ``data_schemas/{name}.yaml``.

    Raises
    ------
    ConfigError
        If there is no such schema, or it is malformed.
    """
    raw = yaml.safe_load(resource(f"data_schemas/{name}.yaml").read_text(encoding="utf-8"))
    columns = {column: _column_spec(column, body) for column, body in raw["columns"].items()}
    patterns = tuple(
        (re.compile(body["match"]), _column_spec(body["match"], {k: v for k, v in body.items() if k != "match"}))
        for body in raw.get("patterns", [])
    )
    unknown = set(raw) - {"table", "description", "key", "columns", "patterns"}
    if unknown or raw["table"] != name or not set(raw["key"]) <= set(columns):
        raise ConfigError("malformed table schema", where=f"data_schemas/{name}.yaml", got=", ".join(sorted(unknown)))
    return TableSchema(name, raw["description"], tuple(raw["key"]), columns, patterns)


def _column_spec(name: str, body: Mapping[str, Any]) -> ColumnSpec:
    known = {f for f in ColumnSpec.__dataclass_fields__ if f != "name"}
    unknown = set(body) - known
    if unknown or body.get("type") not in _TYPES or body.get("available_at", "baseline") not in AVAILABILITY:
        raise ConfigError("malformed column in a table schema", where=name, got=", ".join(sorted(unknown)))
    values: dict[str, Any] = {k: tuple(map(str, v)) if k in ("allowed", "synonyms") else v for k, v in body.items()}
    return ColumnSpec(name=name, **values)


def parse_table(
    raw: pd.DataFrame, schema: TableSchema, *, ignore: Iterable[str] = (), missing_codes: bool = True
) -> ParsedTable:
    """Turn a raw table (any dtypes, missing codes, synonyms) into typed canonical columns.

    ``missing_codes`` says whether texts such as ``-999`` and ``unknown`` mean unknown (at the door) or stand for
    themselves (in tables of the program, where -999 may be a true feature value).

    A cell that breaks its rule becomes null and is reported as a :class:`Problem`; the caller decides what that costs
    (one case, or the run). Rows are numbered from 2, as a spreadsheet shows them below the header.

    Raises
    ------
    InputError
        For a column that is unknown, given twice or required and absent: those are faults of the table, not of a row.
    """
    ignored = set(ignore)
    raw = raw[[c for c in raw.columns if str(c).strip() not in ignored]]
    raw = _rename(raw, schema)
    missing = [n for n, s in schema.columns.items() if s.required and n not in raw.columns]
    if missing:
        raise InputError(
            f"table {schema.table!r} lacks required columns",
            expected=", ".join(missing),
            got=f"{len(raw.columns)} columns without them",
            remedy="add or rename the columns",
        )
    found: list[tuple[int, str, str, str]] = []
    columns: dict[str, pd.Series] = {}
    for name in raw.columns:
        spec = schema.spec(name)
        if spec is None:  # _rename has refused unknown columns
            continue
        columns[name], bad = _parse_column(raw[name], spec, MISSING_CODES if missing_codes else frozenset({""}))
        found += [(position, name, code, spec.rule()) for position, code in bad]
    return ParsedTable(pd.DataFrame(columns, index=raw.index).reset_index(drop=True), _problems(found, raw, schema))


def _problems(found: list[tuple[int, str, str, str]], raw: pd.DataFrame, schema: TableSchema) -> list[Problem]:
    """Bad cells (position, column, code, rule) in the order of their rows, with the keys of these rows."""
    if not found:
        return []
    places = sorted({position for position, *_ in found})
    keys = [""] * len(places)
    if schema.key[0] in raw:
        keys = raw[schema.key[0]].iloc[places].astype(str).str.strip().tolist()
    key_of = dict(zip(places, keys, strict=True))
    problems = [Problem(position + 2, key_of[position], *rest) for position, *rest in found]
    return sorted(problems, key=lambda p: (p.row, p.column))


def _rename(raw: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    names: dict[Any, str] = {}
    for header in raw.columns:
        name = schema.canonical(str(header))
        if name is None:
            near = difflib.get_close_matches(str(header), list(schema.columns), n=1)
            raise InputError(
                f"table {schema.table!r} has an unknown column {str(header)[:60]!r}",
                expected=f"a name of data_schemas/{schema.table}.yaml" + (f", perhaps {near[0]!r}" if near else ""),
                remedy="rename it, or list it under ignore_columns in cohort.yaml",
            )
        if name in names.values():
            raise InputError(
                f"table {schema.table!r} gives the column {name!r} twice", remedy="keep one of the two columns"
            )
        names[header] = name
    return raw.rename(columns=names)


def _parse_column(
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


def check_table(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Strict check of a table that the program itself wrote or is about to write; returns it typed.

    Raises
    ------
    InputError
        On the first faults: column, rows and rule, never a value.
    """
    schema = load_schema(name)
    parsed = parse_table(table, schema, missing_codes=False)
    if parsed.problems:
        shown = "; ".join(p.sentence() for p in parsed.problems[:_MAX_REPORTED])
        raise InputError(
            f"table {name!r} breaks its schema in {len(parsed.problems)} cells", got=shown, where=f"data_schemas/{name}"
        )
    duplicated = parsed.table.duplicated(list(schema.key)).to_numpy()
    if duplicated.any():
        raise InputError(
            f"table {name!r} holds a key twice",
            expected="unique " + ", ".join(schema.key),
            got=f"{int(duplicated.sum())} repeated rows, first at row {int(np.flatnonzero(duplicated)[0]) + 2}",
        )
    return parsed.table


@dataclass(frozen=True)
class Refusal:
    """A column that a model may not use, and why."""

    column: str
    available_at: str
    speaks_at: str

    def sentence(self) -> str:
        """The reason in words."""
        return f"{self.column} is known only at {self.available_at}, but the model speaks at {self.speaks_at}"


def is_later(available_at: str, speaks_at: str) -> bool:
    """Whether something becomes known only after the moment at which a model speaks.

    >>> is_later("postoperative", "preoperative"), is_later("baseline", "baseline")
    (True, False)
    """
    for moment in (available_at, speaks_at):
        if moment not in AVAILABILITY:
            raise ConfigError("unknown moment", expected=", ".join(AVAILABILITY), got=repr(moment))
    return AVAILABILITY.index(available_at) > AVAILABILITY.index(speaks_at)


def later_than(available_at: Mapping[str, str], speaks_at: str) -> list[Refusal]:
    """All columns of ``available_at`` that a model speaking at ``speaks_at`` must not see."""
    return [Refusal(c, when, speaks_at) for c, when in available_at.items() if is_later(when, speaks_at)]


def refuse_later(available_at: Mapping[str, str], speaks_at: str, *, allow: bool = False) -> list[Refusal]:
    """Refuse what becomes known later than the model speaks.

    Parameters
    ----------
    available_at
        Moment at which each wanted column becomes known.
    speaks_at
        Moment at which the model speaks.
    allow
        Let the leak in; the caller must then say so on the card.

    Returns
    -------
    list of Refusal
        Empty, or the leaking columns if ``allow`` is set.

    Raises
    ------
    LeakError
        Naming each column and when it is known, unless ``allow`` is set.
    """
    refusals = later_than(available_at, speaks_at)
    if refusals and not allow:
        raise LeakError(
            "predictors that are known only later are refused: " + "; ".join(r.sentence() for r in refusals),
            remedy="remove them, or pass --allow-leak to study the leak (the card will say so)",
        )
    return refusals
