"""Patients whom a rule cannot tell apart: they are evaluated once, and the result is shared.

Most rules read a number only through bounds, so that two sizes on the same side of every bound are one size to them.
What a rule reads is taken from its data; a method that computes with a number keeps every distinct value apart, and so
does any method that is not named here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.clinical.catalogue import Rule, clauses, conditions, rule
from radiomics_crlm.clinical.conditions import TOLERANCE, parse_bounds
from radiomics_crlm.clinical.derivation import Column, Columns, months_between
from radiomics_crlm.clinical.tumour_burden import BURDEN_INPUTS, tumour_burden
from radiomics_crlm.clinical.vocabulary import vocabulary

# Methods that see their numbers through the bounds of the rule's data and through other rules alone.
_THROUGH_BOUNDS = frozenset(
    {
        "additive",
        "recalibrated",
        "recalibrated_spline",
        "steps",
        "criteria",
        "criteria_with_relative_contraindication",
        "criteria_of_many",
        "technical_and_biological",
        "clearly_or_borderline",
        "easily_or_difficultly",
        "judgement",
        "favourable_predictors",
        "perioperative",
        "sequence",
        "first_line",
        "biomarkers",
        "lung_metastases",
        "options_and_cautions",
        "ablation_recurrence",
        "flags",
        "workup",
        "h_stage",
        "novel_h_category",
        "jsccr_grade",
        "remnant_adequacy",
        "hypertrophy",
        "chemotherapy_injury",
        "disappearance_status",
    }
)
_OF_THE_METHOD: Mapping[str, tuple[str, ...]] = {
    "jsccr_grade": ("h_stage",),
    "hypertrophy": ("flr_adequacy",),
}
_LARGEST_CODE = 2**40


@dataclass(frozen=True)
class Reading:
    """How a rule reads its numbers: through ``bounds``, as they are (``exact``), or by being known at all.

    ``burden`` holds bounds of the tumour burden score, which joins number and size.
    """

    bounds: Mapping[str, frozenset[float]] = field(default_factory=dict)
    burden: frozenset[float] = frozenset()
    exact: frozenset[str] = frozenset()

    def joined(self, other: Reading) -> Reading:
        """What is needed for both."""
        names = {*self.bounds, *other.bounds}
        bounds = {n: self.bounds.get(n, frozenset()) | other.bounds.get(n, frozenset()) for n in names}
        return Reading(bounds, self.burden | other.burden, self.exact | other.exact)


@functools.cache
def reading(rule_id: str, computed: frozenset[str] = frozenset()) -> Reading:
    """How a rule and the rules on which it rests read their numbers, but for those of the methods ``computed``."""
    chosen = rule(rule_id)
    if chosen.method not in _THROUGH_BOUNDS | computed:
        return Reading(exact=frozenset(chosen.all_inputs))
    found = _own_reading(chosen)
    for other in rests_on(chosen):
        found = found.joined(_reading_through(rule(other), computed))
    return found


def _reading_through(other: Rule, computed: frozenset[str]) -> Reading:
    if other.method == "tumour_burden_zone":  # its zone is asked for, never its number
        tests = (test for _, test in other.parameter("zones"))
        return Reading(burden=frozenset(bound for test in tests for _, bound in parse_bounds(test)))
    return reading(other.id, computed)


def rests_on(chosen: Rule) -> Iterator[str]:
    """Rules that a rule asks."""
    yield from (item["rule"] for item in chosen.body.get("items", ()) if "rule" in item)
    yield from _OF_THE_METHOD.get(chosen.method, ())
    if "score" in chosen.body:
        yield chosen.body["score"]


def _own_reading(chosen: Rule) -> Reading:
    found: dict[str, set[float]] = {}
    burden: set[float] = set()
    for entry in (*chosen.body.get("items", ()), *chosen.body.get("rows", ())):
        for name, bound in _bounds_of(entry):
            found.setdefault(name, set()).add(bound)
        if "quantity" in entry:
            burden |= {bound for test, _ in entry["bins"] for _, bound in parse_bounds(test)}
    for name, bound in _bounds_of_method(chosen):
        found.setdefault(name, set()).add(bound)
    return Reading({name: frozenset(bounds) for name, bounds in found.items()}, frozenset(burden))


def _bounds_of(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    tests = [test for alternative in clauses(entry) for test in alternative]
    tests += conditions(entry.get("fallback", {}))
    for test in tests:
        yield from ((test.name, bound) for _, bound in test.bounds)
    yield from entry.get("disputed", {}).items()
    if "input" in entry and vocabulary()[entry["input"]].type in ("int", "float"):
        for test, _ in entry["bins"]:
            yield from ((entry["input"], bound) for _, bound in parse_bounds(test))


def _bounds_of_method(chosen: Rule) -> Iterator[tuple[str, float]]:
    if chosen.method in ("h_stage", "novel_h_category"):
        for name, test in (("n_liver_mets", chosen.parameter("many")), ("largest_met_mm", chosen.parameter("large"))):
            yield from ((name, bound) for _, bound in parse_bounds(test))
        yield "n_liver_mets", 1.0
    if chosen.method == "criteria_of_many":
        for test in conditions(chosen.parameter("applies")):
            yield from ((test.name, bound) for _, bound in test.bounds)
    if chosen.method in ("remnant_adequacy", "hypertrophy"):
        ends = rule("flr_adequacy").parameter("bounds").values()
        for name in ("sflr_pct", "flr_pct_post"):
            yield from ((name, float(bound)) for pair in ends for bound in pair)


def classes(
    chosen: Rule,
    columns: Columns,
    computed: frozenset[str] = frozenset(),
    marks: Iterable[np.ndarray] = (),
    *,
    marks_alone: bool = False,
) -> np.ndarray:
    """Class of every patient: patients of one class get the same result from a rule.

    Parameters
    ----------
    chosen
        The rule.
    columns
        Its columns after its fallbacks (float codes, NaN unknown), all of one length.
    computed, marks
        Methods whose numbers are computed apart and do not tell patients apart here, and what they tell instead:
        integers from 0, one array per distinction.
    marks_alone
        Whether the marks say all there is to say.

    Returns
    -------
    numpy.ndarray
        Integers from 0, in the order of first appearance.
    """
    if marks_alone:
        return _combined(marks)
    read = reading(chosen.id, computed)
    parts = [_codes(name, columns[name], read) for name in chosen.all_inputs]
    if read.burden and all(name in columns for name in BURDEN_INPUTS):
        parts += [_side(end, read.burden) for end in tumour_burden(columns)]
    if chosen.method == "additive" and "primary_resection_date" in columns:
        other_start = months_between(columns["primary_resection_date"], columns["crlm_diagnosis_date"])
        parts.append(_side(other_start, read.bounds["dfi_months"]))
    return _combined([*parts, *marks])


def first_rows(codes: np.ndarray) -> np.ndarray:
    """Position of the first patient of every class."""
    first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return first


def _codes(name: str, column: Column, read: Reading) -> np.ndarray:
    kind = vocabulary()[name].type
    if kind in ("bool", "enum"):
        return np.nan_to_num(column + 1, nan=0.0).astype(np.int64)
    if name in read.exact:
        return pd.factorize(column)[0] + 1
    if name in read.bounds:
        return _side(column, read.bounds[name])
    return (~np.isnan(column)).astype(np.int64)


def _side(column: Column, bounds: Iterable[float]) -> np.ndarray:
    """On which side of each bound, or on it, with the tolerance of the comparisons; 0 is unknown."""
    code = np.ones(len(column), dtype=np.int64)
    for bound in bounds:
        # Bounds are ordered on the line, so that the count of ends passed names the interval.
        code += (column >= bound - TOLERANCE).astype(np.int64) + (column > bound + TOLERANCE)
    return np.where(np.isnan(column), 0, code)


def _combined(parts: Iterable[np.ndarray]) -> np.ndarray:
    code: np.ndarray | None = None
    for part in parts:
        width = int(part.max(initial=0)) + 1
        if code is not None and int(code.max(initial=0)) * width > _LARGEST_CODE:
            code = pd.factorize(code)[0]
        code = part if code is None else code * width + part
    return np.zeros(0, dtype=np.int64) if code is None else pd.factorize(code)[0].astype(np.int64)
