"""Evaluation of rules for one patient and for tables of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.clinical import (
    additive,
    catalogue,
    decisions,
    imaging_quality,
    liver_function,
    recalibrated,
    remnant,
    resectability,
    response,
    stages,
    therapy,
    timing,
    transplantation,
)
from radiomics_crlm.clinical.catalogue import Rule, rule
from radiomics_crlm.clinical.derivation import Encoded, Prepared, prepare
from radiomics_crlm.clinical.facts import Facts, Method, RefusedInputError
from radiomics_crlm.clinical.result import INVALID, NOT_ASSESSABLE, OK, RuleResult, invalid, unknown
from radiomics_crlm.clinical.vocabulary import encode, vocabulary
from radiomics_crlm.errors import InputError

_METHODS: Mapping[str, Method] = {
    "steps": decisions.steps,
    "criteria": decisions.criteria,
    **timing.METHODS,
    **stages.METHODS,
    **recalibrated.METHODS,
    **transplantation.METHODS,
    **resectability.METHODS,
    **remnant.METHODS,
    **liver_function.METHODS,
    **response.METHODS,
    **therapy.METHODS,
    **imaging_quality.METHODS,
}

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
)
# Rows are numbered as a spreadsheet shows them below the header.
_FIRST_ROW = 2
_NUMBERS = ("score", "value", "lower", "upper")


def evaluate(rule_id: str, inputs: Mapping[str, object]) -> RuleResult:
    """Evaluate one rule for one patient.

    Parameters
    ----------
    rule_id
        One of :func:`rule_ids`.
    inputs
        Canonical input names and values; absent, None, NaN, NA and NaT are unknown, and inputs that the rule does not
        use are ignored. Lengths in mm, volumes in mL, CEA in ng/mL, intervals in months, dates as ISO text or dates.

    Raises
    ------
    ConfigError
        If there is no such rule (near matches are named). A bad input is a result with status ``invalid`` instead.

    Examples
    --------
    >>> evaluate("mcs2019", {"ras_status": "mutant", "node_positive_primary": True, "largest_met_mm": 50}).group
    'moderate'
    >>> evaluate("mcs2019", {"ras_status": "mutant", "node_positive_primary": True}).bounds
    (2.0, 3.0)
    """
    chosen = rule(rule_id)
    cells = {name: [inputs.get(name)] for name in chosen.all_inputs}
    return _results(chosen, prepare(chosen, _encode(cells, 1)))[0]


def evaluate_table(table: pd.DataFrame, rules: Sequence[str] | None = None) -> pd.DataFrame:
    """Evaluate rules for every patient of a table.

    Parameters
    ----------
    table
        One row per patient with ``patient_id`` and canonical input columns; an absent column is unknown for all.
    rules
        Rules in the wanted order; all but the optional ones by default.

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
        If ``patient_id`` is absent, empty or not unique. A bad value costs its patient's result (``invalid``) only.
    """
    chosen = [rule(name) for name in (_default_rules() if rules is None else rules)]
    patients = _patients(table)
    used = dict.fromkeys(name for one in chosen for name in one.all_inputs)
    encoded = _encode({name: table[name] for name in used if name in table.columns}, len(table))
    parts = [_columns(one, prepare(one, encoded)) for one in chosen]
    order = np.arange(len(chosen) * len(table)).reshape(len(chosen), len(table)).T.ravel()
    names = np.repeat(np.array([one.id for one in chosen], dtype=object), len(table))
    out: dict[str, Any] = {
        "patient_id": np.repeat(patients, len(chosen)),
        "rule": pd.Series(names[order], dtype="str"),
    }
    for column in COLUMNS[2:]:
        stacked = np.concatenate([part[column] for part in parts]) if parts else np.array([], dtype=object)
        out[column] = pd.Series(stacked[order], dtype="float64" if column in _NUMBERS else "str")
    return pd.DataFrame(out, columns=list(COLUMNS))


def _default_rules() -> list[str]:
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


def _encode(cells: Mapping[str, Any], rows: int) -> Encoded:
    encoded = {name: encode(vocabulary()[name], column) for name, column in cells.items()}
    codes = {name: code for name, (code, _) in encoded.items()}
    return Encoded(rows, codes, {name: bad for name, (_, bad) in encoded.items() if bad.any()})


def _results(chosen: Rule, prepared: Prepared) -> list[RuleResult]:
    if chosen.method == "additive":
        return _additive_results(chosen, prepared)
    names = list(prepared.columns)
    rows = zip(*(prepared.columns[name].tolist() for name in names), strict=True)
    return [
        invalid(reason) if reason is not None else _apply(chosen, dict(zip(names, codes, strict=True)))
        for reason, codes in zip(prepared.reasons, rows, strict=True)
    ]


def _additive_results(chosen: Rule, prepared: Prepared) -> list[RuleResult]:
    scores = additive.assess(chosen, prepared)
    key = chosen.body["polynomial"]["key"] if "polynomial" in chosen.body else None
    found = []
    for index in range(len(prepared.reasons)):
        is_open = scores.status[index] == NOT_ASSESSABLE
        ends = (float(scores.lower[index]), float(scores.upper[index]))
        found.append(scores.row(index, additive.possible_groups(chosen, *ends) if is_open else (), key))
    return found


def _apply(chosen: Rule, codes: Mapping[str, float]) -> RuleResult:
    try:
        return _decide(chosen, Facts(codes, _judge))
    except RefusedInputError as refusal:
        return invalid(refusal.reason)


def _decide(chosen: Rule, facts: Facts) -> RuleResult:
    if chosen.needs_all and (missing := facts.missing(chosen.inputs)):
        return unknown(missing)
    return _METHODS[chosen.method](chosen, facts)


def _judge(rule_id: str, codes: Mapping[str, float]) -> RuleResult:
    """Another rule on inputs that are already checked and completed."""
    chosen = rule(rule_id)
    if chosen.method != "additive":
        return _decide(chosen, Facts(codes, _judge))
    columns = {name: np.array([codes.get(name, np.nan)]) for name in chosen.all_inputs}
    return _additive_results(chosen, Prepared(columns, np.array([None], dtype=object)))[0]


def _columns(chosen: Rule, prepared: Prepared) -> dict[str, np.ndarray]:
    if chosen.method == "additive":
        scores = additive.assess(chosen, prepared)
        plain = {
            name: getattr(scores, name) for name in ("status", "score", "value", "group", "lower", "upper", "reason")
        }
        joined = {"missing": _joined(scores.missing), "boundary": _joined(scores.boundary)}
        return {**plain, **joined, "group_certain": scores.certain}
    shown = [_shown(result) for result in _results(chosen, prepared)]
    return {
        name: np.array([row[name] for row in shown], dtype=float if name in _NUMBERS else object)
        for name in COLUMNS[2:]
    }


def _joined(names: np.ndarray) -> np.ndarray:
    return np.array([";".join(entry) or None for entry in names], dtype=object)


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
    }
