"""Specifications of tables and columns, as the files ``data_schemas/*.yaml`` give them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import shipped_yaml

AVAILABILITY = ("baseline", "restaging", "preoperative", "postoperative", "outcome")
"""Moments in the course of a patient, earliest first."""

_TYPES = ("string", "int", "float", "bool", "enum", "date")


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


@functools.cache
def load_schema(name: str) -> TableSchema:
    """Load ``data_schemas/{name}.yaml``.

    Raises
    ------
    ConfigError
        If there is no such schema, or it is malformed.
    """
    raw = shipped_yaml(f"data_schemas/{name}.yaml")
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
