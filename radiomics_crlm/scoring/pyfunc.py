"""A bundle behind MLflow's generic interface: one table in, one row of scores per row out.

MLflow imports this module by name and hands it the folder of a bundle, so an MLflow model has neither a pickle nor code
in it. The rows are what the model reads; nobody looks at images or rules here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.design import assemble
from radiomics_crlm.modelling.scans import by_block
from radiomics_crlm.schema import MISSING_CODES, load_schema, parse_table
from radiomics_crlm.scoring.bundle import Bundle, BundleContent, load_bundle
from radiomics_crlm.scoring.flags import row_flags
from radiomics_crlm.scoring.intervals import interval_columns, interval_names
from radiomics_crlm.scoring.novelty import FLAG, out_of_distribution
from radiomics_crlm.scoring.rows import numbers_of

ColumnKind = Literal["number", "boolean", "category", "text"]
_FRONT = ("status", "code", "reason", "flags", "risk")
_ROW_OF = "patient_id"
_FIRST_ROW = 2  # as `schema.parse_table` counts


@dataclass
class _Verdicts:
    """Why rows are not scored; the first reason of a row stands."""

    codes: list[str | None]
    reasons: list[str | None]

    def abstain(self, where: np.ndarray, code: str, reason: str) -> None:
        for row in np.flatnonzero(where):
            if self.codes[row] is None:
                self.codes[row], self.reasons[row] = code, reason

    @property
    def open(self) -> np.ndarray:
        return np.array([code is None for code in self.codes], dtype=bool)


class ServedBundle:
    """What MLflow calls: :meth:`predict` of a loaded bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Scores of n rows, each by itself.

        Parameters
        ----------
        model_input
            Table with the columns :func:`input_columns`; unknown cells are null. Others are ignored.
        params
            Without influence.

        Returns
        -------
        n rows in the same order: ``status`` (``scored`` or ``abstained``), ``code`` and ``reason`` of an abstention,
        ``flags``, ``risk`` (higher = event more likely or sooner), ``probability_{m}m``, what the bundle knows of the
        uncertainty (`intervals.interval_names`), ``bundle_sha256``. Cells are objects, null is None.

        Raises
        ------
        InputError
            For faults of the whole table: no table, no rows, repeated or missing columns. A bad row costs itself.
        """
        content = self.bundle.content
        table = _checked(model_input, content)
        rows = len(table)
        verdicts = _Verdicts([None] * rows, [None] * rows)
        predictors = _predictors(table, content, verdicts)
        return self._scores(predictors, verdicts)

    def _scores(self, predictors: pd.DataFrame, verdicts: _Verdicts) -> pd.DataFrame:
        content, model = self.bundle.content, self.bundle.model
        readable = predictors[verdicts.open]
        found = numbers_of(self.bundle, readable)
        scored = np.isin(np.arange(len(predictors)), found.places)
        verdicts.abstain(~scored, "no_result", "the model gives no finite number for these inputs")
        strange = np.zeros(len(readable), dtype=bool)
        strange[readable.index.isin(found.places)] = out_of_distribution(content, model, found.table)
        flags = row_flags(readable, content.inputs, content.training, more={FLAG: strange})
        columns = {"risk": found.risk}
        columns |= {f"probability_{month}m": found.probability[:, i] for i, month in enumerate(found.spoken)}
        columns |= interval_columns(content, model, found.table, found.risk, found.probability, found.spoken)
        cells = {name: np.full(len(predictors), None, dtype=object) for name in output_columns(content)}
        cells["status"] = np.where(scored, "scored", "abstained").astype(object)
        cells["code"], cells["reason"] = np.array(verdicts.codes, object), np.array(verdicts.reasons, object)
        cells["flags"][readable.index] = [";".join(words) or None for words in flags]
        cells["bundle_sha256"][:] = self.bundle.sha256
        for name, values in columns.items():
            cells[name][found.places] = [_plain(value) for value in values]
        return pd.DataFrame(cells, dtype="object")


def _load_pyfunc(path: str) -> ServedBundle:
    """What MLflow calls with the folder of the data of its model (`load_bundle`, which executes nothing).

    Raises
    ------
    InputError, LeakError
        If the bundle is refused.
    """
    return ServedBundle(load_bundle(Path(path)))


def input_columns(content: BundleContent) -> dict[str, ColumnKind]:
    """Columns that a request must have, with the kind of their cells.

    The inputs of the model; what decides whether a patient belongs to its population; and for each kind of scan
    ``settings_hash`` and ``engine`` of the extraction (preceded by the kind, ``MR/hbp:engine``, if there are several).

    >>> from radiomics_crlm.modelling.scans import ScanSelection
    >>> made_columns((ScanSelection("CT", "portal_venous"),))
    {'CT/portal_venous': ('settings_hash', 'engine')}
    """
    found: dict[str, ColumnKind] = {spec.name: spec.kind for spec in content.inputs}
    found |= {name: "text" for name in content.definition.population if name not in found}
    if content.needs_radiomics:
        kinds = tuple(block.scans for block in content.sources)
        found |= {name: "text" for pair in made_columns(kinds).values() for name in pair}
    return found


def made_columns(kinds: tuple[object, ...]) -> dict[str, tuple[str, str]]:
    """Columns of a request that say how features were made, by kind of scan."""
    names = list(dict.fromkeys(map(str, kinds)))
    prefix = {name: f"{name}:" if len(names) > 1 else "" for name in names}
    return {name: (f"{prefix[name]}settings_hash", f"{prefix[name]}engine") for name in names}


def output_columns(content: BundleContent) -> list[str]:
    """Columns of the answer, in order."""
    probabilities = [f"probability_{month}m" for month in content.horizons]
    return [*_FRONT, *probabilities, *interval_names(content), "bundle_sha256"]


def _checked(model_input: Any, content: BundleContent) -> pd.DataFrame:
    if not isinstance(model_input, pd.DataFrame):
        raise InputError("the request is no table", expected="columns with names, such as dataframe_split")
    if model_input.empty:
        raise InputError("the request has no rows", expected="one row per patient")
    wanted = list(input_columns(content))
    absent = [name for name in wanted if name not in model_input.columns]
    if absent:
        raise InputError(
            f"{len(absent)} columns that the model reads are missing",
            where=", ".join(absent[:10]),
            remedy="add them; unknown values may be null",
        )
    if model_input.columns.has_duplicates:
        raise InputError("a column occurs twice", expected="unique names")
    return model_input[wanted].reset_index(drop=True)


def _predictors(table: pd.DataFrame, content: BundleContent, verdicts: _Verdicts) -> pd.DataFrame:
    """Table of the inputs by position, null where a row cannot be used."""
    clinical = _clinical(table, content, verdicts)
    _check_population(clinical, content, verdicts)
    predictors = assemble(clinical, None, content.inputs, content.sources, speaks_at=content.speaks_at)
    predictors = predictors.reset_index(drop=True)
    for spec in content.inputs:
        if spec.source == "radiomics":
            values, bad = _numbers(table[spec.name])
            predictors[spec.name] = values
            verdicts.abstain(bad, "wrong_type", f"column {spec.name}: wrong type, expected a number")
    _check_make(table, predictors, content, verdicts)
    _check_known(predictors, content, verdicts)
    return predictors


def _clinical(table: pd.DataFrame, content: BundleContent, verdicts: _Verdicts) -> pd.DataFrame:
    names = [spec.name for spec in content.inputs if spec.source == "clinical"]
    names += [name for name in content.definition.population if name not in names]
    raw: dict[str, Any] = {_ROW_OF: [str(row) for row in range(len(table))]}
    for name in names:
        nested = np.array([isinstance(cell, (list, dict, np.ndarray)) for cell in table[name]], dtype=bool)
        verdicts.abstain(nested, "wrong_type", f"column {name}: wrong type, expected one value")
        raw[name] = table[name].astype("object").mask(nested, None)
    parsed = parse_table(pd.DataFrame(raw), load_schema("clinical"))
    for problem in parsed.problems:
        here = np.arange(len(table)) == problem.row - _FIRST_ROW
        text = f"column {problem.column}: {problem.code.replace('_', ' ')}, expected {problem.expected}"
        verdicts.abstain(here, problem.code, text)
    return parsed.table


def _check_population(clinical: pd.DataFrame, content: BundleContent, verdicts: _Verdicts) -> None:
    for column, value in content.definition.population.items():
        unknown = clinical[column].isna().to_numpy(dtype=bool)
        other = ~unknown & (clinical[column] != value).fillna(True).to_numpy(dtype=bool)
        verdicts.abstain(unknown, "population_unknown", f"column {column}: must be known for this endpoint")
        text = f"column {column}: the model is for {content.definition.population_title}"
        verdicts.abstain(other, "not_in_population", text)


def _check_make(table: pd.DataFrame, predictors: pd.DataFrame, content: BundleContent, verdicts: _Verdicts) -> None:
    """Features made in another way than those of the training are not scored; scans that are absent were not made."""
    radiomic = by_block((s.name for s in content.inputs if s.source == "radiomics"), content.sources)
    columns = made_columns(tuple(block.scans for block in content.sources)) if radiomic else {}
    made = {b.scans: e for b in content.sources if (e := content.extraction_of(b.scans)) is not None}
    for block, names in radiomic.items():
        wanted = made[block.scans]
        there = predictors[names].notna().any(axis=1).to_numpy()
        settings, engine = (table[name] for name in columns[str(block.scans)])
        unknown = (settings.isna() | engine.isna()).to_numpy(dtype=bool)
        verdicts.abstain(there & unknown, "unknown_extraction", "the extraction settings of the scan are not known")
        other = (settings != wanted.settings_hash).to_numpy(dtype=bool)
        newer = (engine != wanted.engine).to_numpy(dtype=bool)
        verdicts.abstain(there & newer, "other_engine", "the features were made with another engine")
        verdicts.abstain(there & other, "other_settings", "the features were made with other settings")


def _check_known(predictors: pd.DataFrame, content: BundleContent, verdicts: _Verdicts) -> None:
    """Something must be known, of each scan that the model requires, and in range."""
    nothing = predictors.isna().all(axis=1).to_numpy()
    verdicts.abstain(nothing, "no_input", "none of the model's inputs is known")
    radiomic = by_block((s.name for s in content.inputs if s.source == "radiomics"), content.sources)
    for block, names in radiomic.items():
        # As in `scoring.admission`: burden is known even where no feature could be extracted.
        texture = [name for name in names if not name.removeprefix(block.prefix).startswith("burden__")] or names
        if block.required:
            empty = predictors[texture].isna().all(axis=1).to_numpy()
            verdicts.abstain(empty, "no_features", "the scan has no feature that the model reads")
    for spec in content.inputs:
        if spec.kind == "number":
            values = predictors[spec.name].to_numpy(dtype=float)
            rule = "a finite number >= 0" if spec.log else "a finite number"
            bad = np.isinf(values) | (spec.log & (values < 0))
            verdicts.abstain(bad, "out_of_range", f"column {spec.name}: out of range, expected {rule}")


def _numbers(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a column (NaN: unknown), and which cells are none."""
    found = [_number(cell) for cell in cells.astype("object")]
    return np.array([np.nan if n is None else n for n in found], dtype=float), np.array([n is None for n in found])


def _number(cell: object) -> float | None:
    """A number, NaN for an unknown one, None for anything else.

    >>> _number(3), _number("0.5"), _number(True), _number("x"), _number(None)
    (3.0, 0.5, None, None, nan)
    """
    if cell is None or cell is pd.NA or (isinstance(cell, str) and cell.strip().casefold() in MISSING_CODES):
        return math.nan
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (str, int, float, np.number)):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


def _plain(cell: Any) -> Any:
    """A text, a number of Python, or None.

    >>> _plain(np.float64(0.5)), _plain(np.nan), _plain("event")
    (0.5, None, 'event')
    """
    if isinstance(cell, (float, np.floating)):
        return None if math.isnan(cell) else float(cell)
    return cell
