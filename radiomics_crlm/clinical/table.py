"""Evaluation of rules for tables of patients: a long table, a wide one, and blocks for tables of any length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.clinical import additive, catalogue
from radiomics_crlm.clinical.catalogue import Rule, rule
from radiomics_crlm.clinical.classes import classes, first_rows
from radiomics_crlm.clinical.derivation import Encoded, Prepared, prepare
from radiomics_crlm.clinical.engine import encode_cells, results
from radiomics_crlm.clinical.origin import origins
from radiomics_crlm.clinical.plausibility import warnings_of
from radiomics_crlm.clinical.result import INVALID, OK, RuleResult
from radiomics_crlm.cohort.units import NEGATIVE
from radiomics_crlm.errors import InputError

COLUMNS = (
    "patient_id",
    "rule",
    "status",
    "score",
    "value",
    "group",
    "lower",
    "upper",
    "group_certain",
    "missing",
    "reason",
    "boundary",
    "details",
    "warnings",
    "sources",
    "assessed_at",
)
BLOCK = 5000
"""Patients that are evaluated at a time."""

# Rows are numbered as a spreadsheet shows them below the header.
_FIRST_ROW = 2
_NUMBERS = ("score", "value", "lower", "upper")
_TEXTS = ("status", "group", "group_certain", "missing", "reason", "boundary", "details")
# Shown in columns of their own.
_NOT_DETAILS = frozenset({"failed", "reasons", "met"})


@dataclass(frozen=True)
class Shared:
    """Values that several patients share: ``values[name][index]`` belongs to each patient."""

    index: np.ndarray
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """Results of some patients: one ``Shared`` per rule."""

    patients: np.ndarray
    rules: tuple[Rule, ...]
    parts: tuple[Shared, ...]
    assessed_at: np.ndarray

    def long(self) -> pd.DataFrame:
        """One row per patient and rule, patients in their order, rules in theirs."""
        rows, width = len(self.patients), len(self.rules)
        ends = np.cumsum([0, *(len(part.values["status"]) for part in self.parts)])
        places = [part.index + start for part, start in zip(self.parts, ends[:-1], strict=True)]
        place = np.stack(places, axis=1).ravel() if places else np.zeros(0, dtype=np.int64)
        names = np.array([one.id for one in self.rules], dtype=object)
        out: dict[str, Any] = {
            "patient_id": _texts(self.patients, np.repeat(np.arange(rows), width)),
            "rule": _texts(names, np.tile(np.arange(width), rows)),
        }
        for column in COLUMNS[2:-1]:
            kind = float if column in _NUMBERS else object
            stacked = np.concatenate([np.zeros(0, kind), *(part.values[column] for part in self.parts)])
            out[column] = stacked[place] if kind is float else _texts(stacked, place)
        out["assessed_at"] = _texts(self.assessed_at, np.repeat(np.arange(rows), width))
        return pd.DataFrame(out, columns=list(COLUMNS))

    def wide(self) -> pd.DataFrame:
        """One row per patient, columns ``rule__field``; the columns depend on the rules alone."""
        out: dict[str, Any] = {
            "patient_id": _texts(self.patients, np.arange(len(self.patients))),
            "assessed_at": _texts(self.assessed_at, np.arange(len(self.patients))),
        }
        for one, part in zip(self.rules, self.parts, strict=True):
            for field in wide_fields(one):
                values = part.values[field]
                shown = values[part.index] if field in _NUMBERS else _texts(values, part.index)
                out[f"{one.id}__{field}"] = shown
        return pd.DataFrame(out)


def wide_fields(chosen: Rule) -> tuple[str, ...]:
    """Fields of a rule in the wide table."""
    if chosen.method == "additive":
        value = ("value",) if "polynomial" in chosen.body else ()
        return ("status", "score", *value, "group", "lower", "upper")
    if chosen.method == "tumour_burden_zone":
        return ("status", "score", "group", "lower", "upper")
    return ("status", "value", "group")


def evaluate_table(
    table: pd.DataFrame, rules: Sequence[str] | None = None, *, sources: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Evaluate rules for every patient of a table.

    Parameters
    ----------
    table
        One row per patient with ``patient_id`` and canonical input columns; an absent column is unknown for all.
        ``assessed_at`` is carried through.
    rules
        Rules in the wanted order; all but the optional ones by default.
    sources
        Where values come from: rows as in ``table``, a column per input that needs one, cells such as ``masks``
        (empty or absent: ``chart``).

    Returns
    -------
    pandas.DataFrame
        Long table, one row per patient and rule, patients in the order of ``table``; the columns are those of the
        ``rules`` schema. Criteria show ``met`` or ``not_met`` as group and the failed items as reason.

    Raises
    ------
    ConfigError
        If there is no such rule.
    InputError
        If ``patient_id`` is absent, empty or not unique, or ``sources`` has other rows. A bad value costs its
        patient's result (``invalid``) only.
    """
    blocks = [block.long() for block in evaluate_blocks(table, rules, sources=sources, size=max(len(table), 1))]
    return blocks[0]


def evaluate_blocks(
    table: pd.DataFrame,
    rules: Sequence[str] | None = None,
    *,
    sources: pd.DataFrame | None = None,
    size: int = BLOCK,
) -> Iterator[Block]:
    """The same in blocks of ``size`` patients, so that memory does not grow with the table; at least one block.

    Parameters and refusals are those of :func:`evaluate_table`; all refusals come before the first block.
    """
    chosen = tuple(rule(name) for name in (default_rules() if rules is None else rules))
    patients = _patients(table)
    if sources is not None and len(sources) != len(table):
        raise InputError("the table of sources has other rows than the clinical table", expected="the same rows")

    def blocks() -> Iterator[Block]:
        for start in range(0, max(len(table), 1), size):
            part = slice(start, start + size)
            origin = None if sources is None else sources.iloc[part]
            yield _block(table.iloc[part], patients[part], chosen, origin)

    return blocks()


def default_rules() -> list[str]:
    """All rules but the optional ones."""
    return [one.id for one in catalogue.rules().values() if one.by_default]


def _patients(table: pd.DataFrame) -> np.ndarray:
    if "patient_id" not in table.columns:
        raise InputError("the table has no column patient_id", remedy="name the column of patient keys patient_id")
    keys = table["patient_id"]
    if keys.isna().any():
        raise InputError("patient_id is empty", where=f"row {int(np.flatnonzero(keys.isna())[0]) + _FIRST_ROW}")
    if keys.duplicated().any():
        row = int(np.flatnonzero(keys.duplicated())[0]) + _FIRST_ROW
        raise InputError("patient_id is not unique", where=f"row {row}", expected="one row per patient")
    return keys.astype("str").to_numpy(dtype=object)


def _block(table: pd.DataFrame, patients: np.ndarray, chosen: tuple[Rule, ...], sources: pd.DataFrame | None) -> Block:
    used = dict.fromkeys(name for one in chosen for name in one.all_inputs)
    encoded = encode_cells({name: table[name] for name in used if name in table.columns}, len(table))
    warned = {**warnings_of(encoded), **_negative_at_the_door(sources)}
    assessed = np.full(len(table), None, dtype=object)
    if "assessed_at" in table.columns:
        assessed = table["assessed_at"].astype(object).where(table["assessed_at"].notna(), None).to_numpy(dtype=object)
    parts = tuple(_part(one, encoded, warned, sources) for one in chosen)
    return Block(patients, chosen, parts, assessed)


def _negative_at_the_door(sources: pd.DataFrame | None) -> dict[str, np.ndarray]:
    if sources is None:
        return {}
    found = {f"{name}:negative_set_to_0": (sources[name] == NEGATIVE).to_numpy(dtype=bool) for name in sources.columns}
    return {code: mask for code, mask in found.items() if mask.any()}


def _part(chosen: Rule, encoded: Encoded, warned: Mapping[str, np.ndarray], sources: pd.DataFrame | None) -> Shared:
    """Results of one rule, with warnings and origins; each distinct combination is kept once."""
    prepared = prepare(chosen, encoded)
    found = judged(chosen, prepared)
    codes, texts = origins(chosen, encoded, prepared, sources)
    own = {code: mask for code, mask in warned.items() if code.split(":")[0] in chosen.all_inputs}
    warning_codes, warning_names = _named(own, encoded.rows)
    if len(texts) == 1 and len(warning_names) == 1:
        count = len(found.values["status"])
        extra = {"sources": np.repeat(texts, count), "warnings": np.repeat(warning_names, count)}
        return Shared(found.index, {**found.values, **extra})
    joint = (found.index * len(texts) + codes) * len(warning_names) + warning_codes
    index = pd.factorize(joint)[0].astype(np.int64)
    first = first_rows(index)
    values = {name: column[found.index[first]] for name, column in found.values.items()}
    values |= {"sources": texts[codes[first]], "warnings": warning_names[warning_codes[first]]}
    return Shared(index, values)


def judged(chosen: Rule, prepared: Prepared, alike: Callable[..., np.ndarray] = classes) -> Shared:
    """Results of a rule, each distinct one once; ``alike`` tells patients apart, from the rule and its columns."""
    rows = len(prepared.reasons)
    reason_codes, reasons = pd.factorize(prepared.reasons)
    bad = reason_codes >= 0
    valid = np.flatnonzero(~bad)
    codes = alike(chosen, {name: column[valid] for name, column in prepared.columns.items()})
    first = valid[first_rows(codes)]
    bad_first = np.array([np.argmax(reason_codes == code) for code in range(len(reasons))], dtype=np.int64)
    index = np.empty(rows, dtype=np.int64)
    index[valid], index[bad] = codes, len(first) + reason_codes[bad]
    chosen_rows = np.concatenate([first, bad_first])
    columns = {name: column[chosen_rows] for name, column in prepared.columns.items()}
    return Shared(index, result_columns(chosen, Prepared(columns, prepared.reasons[chosen_rows])))


def result_columns(chosen: Rule, prepared: Prepared) -> dict[str, np.ndarray]:
    """Results of a rule, one array per field (``COLUMNS`` but for the patient, the rule, warnings and sources)."""
    if chosen.method == "additive":
        scores = additive.assess(chosen, prepared)
        plain = {
            name: getattr(scores, name) for name in ("status", "score", "value", "group", "lower", "upper", "reason")
        }
        joined = {"missing": _joined(scores.missing), "boundary": _joined(scores.boundary)}
        nothing = np.full(len(prepared.reasons), None, dtype=object)
        return {**plain, **joined, "group_certain": scores.certain, "details": nothing}
    shown = [_shown(result) for result in results(chosen, prepared)]
    return {
        name: np.array([row[name] for row in shown], dtype=float if name in _NUMBERS else object)
        for name in (*_NUMBERS, *_TEXTS)
    }


def _joined(names: np.ndarray) -> np.ndarray:
    joined = np.empty(len(names), dtype=object)
    joined[:] = [";".join(entry) or None for entry in names]
    return joined


def _named(masks: Mapping[str, np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Per patient, a code and its text: the names whose mask is set, joined."""
    pattern = np.zeros(rows, dtype=np.int64)
    for bit, mask in enumerate(masks.values()):
        pattern |= mask.astype(np.int64) << bit
    codes, distinct = pd.factorize(pattern)
    names = list(masks)
    texts = np.empty(len(distinct), dtype=object)
    texts[:] = [";".join(n for bit, n in enumerate(names) if int(value) >> bit & 1) or None for value in distinct]
    return codes.astype(np.int64), texts


def _shown(result: RuleResult) -> dict[str, Any]:
    group, reason = result.group, result.reason
    if result.status == OK and group is None and "met" in result.extra:
        group = "met" if result.extra["met"] else "not_met"
    if result.status != INVALID:
        reason = ";".join(result.extra.get("failed") or result.extra.get("reasons") or ()) or None
    lower, upper = result.bounds or (None, None)
    return {
        "status": result.status,
        "score": np.nan if result.score is None else result.score,
        "value": np.nan if result.value is None else result.value,
        "group": group,
        "lower": np.nan if lower is None else lower,
        "upper": np.nan if upper is None else upper,
        "group_certain": result.group_certain,
        "missing": ";".join(result.missing) or None,
        "reason": reason,
        "boundary": ";".join(result.boundary) or None,
        "details": _details(result.extra),
    }


def _details(extra: Mapping[str, Any]) -> str | None:
    """Further keys of a result as JSON, in the order of the rule."""
    kept = {key: list(entry) if isinstance(entry, tuple) else entry for key, entry in extra.items()}
    kept = {key: entry for key, entry in kept.items() if key not in _NOT_DETAILS}
    return json.dumps(kept, ensure_ascii=False, allow_nan=False) if kept else None


def _texts(values: np.ndarray, index: np.ndarray) -> pd.Series:
    """``values[index]`` as a text column, without a Python object per row."""
    codes, distinct = pd.factorize(values)
    words = pd.Series([*distinct.tolist(), None], dtype="str")
    return words.take(np.where(codes < 0, len(distinct), codes)[index]).reset_index(drop=True)
