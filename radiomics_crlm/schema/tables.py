"""Whole tables: read at the door row by row, or checked strictly between stages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.schema.cells import MISSING_CODES, parse_column
from radiomics_crlm.schema.specs import TableSchema, load_schema

_MAX_REPORTED = 10


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
        columns[name], bad = parse_column(raw[name], spec, MISSING_CODES if missing_codes else frozenset({""}))
        found += [(position, name, code, spec.rule()) for position, code in bad]
    return ParsedTable(pd.DataFrame(columns, index=raw.index).reset_index(drop=True), _problems(found, raw, schema))


def _problems(found: list[tuple[int, str, str, str]], raw: pd.DataFrame, schema: TableSchema) -> list[Problem]:
    """Bad cells (position, column, code, rule) in the order of their rows, with the keys of these rows."""
    if not found:
        return []
    places = sorted({position for position, *_ in found})
    keys = [""] * len(places)
    if schema.key[0] in raw:
        keys = [str(cell).strip() for cell in raw[schema.key[0]].iloc[places].tolist()]  # bytes, too
    key_of = dict(zip(places, keys, strict=True))
    problems = [Problem(position + 2, key_of[position], *rest) for position, *rest in found]
    return sorted(problems, key=lambda p: (p.row, p.column))


def _rename(raw: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    names: dict[Any, str] = {}
    seen: set[str] = set()
    for header in raw.columns:
        name = schema.canonical(str(header))
        if name is None:
            near = difflib.get_close_matches(str(header), list(schema.columns), n=1)
            raise InputError(
                f"table {schema.table!r} has an unknown column {str(header)[:60]!r}",
                expected=f"a name of data_schemas/{schema.table}.yaml" + (f", perhaps {near[0]!r}" if near else ""),
                remedy="rename it, or list it under ignore_columns in cohort.yaml",
            )
        if name in seen:
            raise InputError(
                f"table {schema.table!r} gives the column {name!r} twice", remedy="keep one of the two columns"
            )
        names[header] = name
        seen.add(name)
    return raw.rename(columns=names)


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
    keys = [name for name in schema.key if name in parsed.table]  # others may be absent where they are not required
    duplicated = parsed.table.duplicated(keys).to_numpy()
    if duplicated.any():
        raise InputError(
            f"table {name!r} holds a key twice",
            expected="unique " + ", ".join(schema.key),
            got=f"{int(duplicated.sum())} repeated rows, first at row {int(np.flatnonzero(duplicated)[0]) + 2}",
        )
    return parsed.table
