"""Units at the door: other units become the canonical ones, explicitly and on record; nothing is guessed."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import shipped_yaml
from radiomics_crlm.schema import ColumnSpec, TableSchema

CONVERTED = "chart_converted_from_{}"
NEGATIVE = "chart_negative_set_to_0"
# Enough for any unit, and it removes the noise of binary fractions: 1.1 cm is 11 mm.
_DECIMALS = 9


@dataclass(frozen=True)
class Door:
    """A raw table in canonical names and units.

    ``origins`` has the rows of the table and a column per input that was converted; its cells say how.
    """

    table: pd.DataFrame
    origins: pd.DataFrame


@functools.cache
def _units() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    content: Mapping[str, Mapping[str, Mapping[str, float]]] = shipped_yaml("configs/units.yaml")
    return content


def canonical_units(raw: pd.DataFrame, schema: TableSchema, notes: CohortNotes) -> Door:
    """Convert columns whose header or ``cohort.yaml`` names another unit, declared forms of dates, and percent signs.

    A cell that is no number or date passes unchanged and fails the schema later; so does an unknown header.

    Raises
    ------
    ConfigError
        If ``notes`` declares a unit for a column that has no such unit.
    """
    columns: dict[Any, pd.Series] = {}
    origins: dict[str, pd.Series] = {}
    for header in raw.columns:
        name, unit = _meaning(str(header).strip(), schema, notes)
        spec = schema.columns.get(name)
        cells = raw[header]
        if spec is None:
            columns[header] = cells
            continue
        converted, origin = _column(cells, spec, unit, notes.date_format)
        columns[name if unit is not None else header] = converted
        if origin is not None:
            origins[name] = origin
    if len(columns) < raw.shape[1]:  # two headers of one meaning: the schema refuses them by name
        return Door(raw, pd.DataFrame(index=raw.index))
    return Door(pd.DataFrame(columns, index=raw.index), pd.DataFrame(origins, index=raw.index))


def _meaning(header: str, schema: TableSchema, notes: CohortNotes) -> tuple[str, str | None]:
    """Canonical name behind a header, and the unit if it is not the canonical one."""
    name = schema.canonical(header)
    if name is not None:
        unit = notes.units.get(name)
        if unit is not None and unit not in _other_units(name):
            expected = ", ".join(_other_units(name)) or "no other unit"
            raise ConfigError("cohort.yaml declares an unknown unit", where=name, expected=expected, got=unit)
        return name, unit
    for own, others in _units().items():
        for other in others:
            candidate = f"{header.removesuffix('_' + other)}_{own}"
            if header.endswith(f"_{other}") and candidate in schema.columns:
                return candidate, other
    return header, None


def _other_units(name: str) -> Mapping[str, Mapping[str, float]]:
    endings = [own for own in _units() if name.endswith(f"_{own}")]
    return _units()[max(endings, key=len)] if endings else {}


def _column(
    cells: pd.Series, spec: ColumnSpec, unit: str | None, date_format: str | None
) -> tuple[pd.Series, pd.Series | None]:
    origin: pd.Series | None = None
    if unit is not None:
        factor = _other_units(spec.name)[unit]
        cells = cells.map(lambda cell: _scaled(cell, factor)).astype(object)
        origin = pd.Series(CONVERTED.format(unit), index=cells.index, dtype="str")
    elif spec.unit == "%":
        cells = cells.map(_without_sign)
    elif spec.type == "date" and date_format is not None:
        cells = cells.map(lambda cell: _iso(cell, date_format))
    if spec.negative_is_zero:
        numbers = pd.to_numeric(cells, errors="coerce").astype(float)
        negative = (numbers < 0) & (numbers >= -float(spec.max or 0)) & (numbers != -999)
        if negative.any():
            cells = cells.astype(object).mask(negative, "0")
            before = origin if origin is not None else pd.Series(np.nan, index=cells.index).astype("str")
            origin = before.mask(negative, NEGATIVE)
    return cells, origin


def _scaled(cell: Any, factor: Mapping[str, float]) -> Any:
    percent = isinstance(cell, str) and cell.strip().endswith("%")
    try:
        number = float(cell.strip().rstrip("%") if isinstance(cell, str) else cell) / (100 if percent else 1)
    except (TypeError, ValueError):
        return cell
    if not np.isfinite(number) or number == -999:
        return cell
    return repr(round(number * factor.get("multiply", 1) / factor.get("divide", 1), _DECIMALS))


def _without_sign(cell: Any) -> Any:
    return cell.strip().removesuffix("%").strip() if isinstance(cell, str) else cell


def _iso(cell: Any, date_format: str) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return datetime.datetime.strptime(cell.strip(), date_format).date().isoformat()
    except ValueError:
        return cell
