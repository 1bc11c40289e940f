"""Evaluation of rules for one patient; ``table`` does it for many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from radiomics_crlm.clinical import (
    additive,
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
from radiomics_crlm.clinical.result import NOT_ASSESSABLE, RuleResult, invalid, unknown
from radiomics_crlm.clinical.vocabulary import encode, negative_intervals, vocabulary

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
    return results(chosen, prepare(chosen, encode_cells(cells, 1)))[0]


def encode_cells(cells: Mapping[str, Any], rows: int) -> Encoded:
    """Inputs as columns of codes; cells that do not fit their input are marked as refused, negative intervals too."""
    return replace(encode_columns(cells, rows), clipped=negative_intervals(cells))


def encode_columns(cells: Mapping[str, Any], rows: int) -> Encoded:
    """The same without looking for negative intervals, which change no result."""
    encoded = {name: encode(vocabulary()[name], column) for name, column in cells.items()}
    codes = {name: code for name, (code, _) in encoded.items()}
    refused = {name: bad for name, (_, bad) in encoded.items() if bad.any()}
    return Encoded(rows, codes, refused)


def results(chosen: Rule, prepared: Prepared) -> list[RuleResult]:
    """Result of every patient, one by one."""
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


def facts_of(prepared: Prepared) -> Facts:
    """What is known of the first patient."""
    return Facts({name: float(column[0]) for name, column in prepared.columns.items()}, _judge)


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
