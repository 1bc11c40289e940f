"""Additive scores over whole columns: points per item, bounds when something is missing, groups.

One patient is a column of length one, so that a row and a table cannot disagree.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from radiomics_crlm.clinical.catalogue import Rule, conditions, rule
from radiomics_crlm.clinical.conditions import TOLERANCE, Condition, is_on, parse, parse_bounds
from radiomics_crlm.clinical.derivation import Column, Columns, Prepared, months_between
from radiomics_crlm.clinical.result import INVALID, NOT_ASSESSABLE, OK, RuleResult
from radiomics_crlm.clinical.tumour_burden import BURDEN_INPUTS, tumour_burden
from radiomics_crlm.clinical.vocabulary import vocabulary

Names = np.ndarray


@dataclass(frozen=True)
class ScoreTable:
    """Results of one additive score, one entry per patient.

    ``score``, ``value``, ``lower`` and ``upper`` are float (NaN: not defined), ``status``, ``group``, ``certain`` and
    ``reason`` hold text or None, ``missing`` and ``boundary`` tuples of input names.
    """

    status: Names
    score: Column
    value: Column
    group: Names
    lower: Column
    upper: Column
    certain: Names
    missing: Names
    reason: Names
    boundary: Names

    def row(self, index: int, possible: Sequence[str], value_key: str | None) -> RuleResult:
        """The result of one patient; ``possible`` are the groups between the bounds."""
        extra: dict[str, Any] = {}
        if self.status[index] == NOT_ASSESSABLE and possible:
            extra["possible"] = sorted(possible)
        if value_key is not None and not np.isnan(self.value[index]):
            extra[value_key] = float(self.value[index])
        bounded = self.status[index] == NOT_ASSESSABLE
        return RuleResult(
            status=self.status[index],
            score=_number(self.score[index]),
            group=self.group[index],
            value=_number(self.value[index]),
            bounds=(_number(self.lower[index]), _number(self.upper[index])) if bounded else None,
            group_certain=self.certain[index],
            missing=self.missing[index],
            reason=self.reason[index],
            boundary=self.boundary[index],
            extra=extra,
        )


@dataclass(frozen=True)
class Item:
    """Points of one item: ``bins`` of a quantity, or points when any of several conditions holds."""

    bins: tuple[tuple[Condition, float], ...] = ()
    any_of: tuple[Condition, ...] = ()
    points: float = 0.0
    fallback: Condition | None = None
    of_burden: bool = False
    disputed: Mapping[str, float] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that the item needs."""
        if self.of_burden:
            return BURDEN_INPUTS
        return tuple(dict.fromkeys(test.name for test in (*self.any_of, *(test for test, _ in self.bins))))

    def span(self, columns: Columns) -> tuple[Column, Column]:
        """Smallest and largest possible points."""
        if self.of_burden:
            lower, upper = tumour_burden(columns)
            return self._binned(lower), self._binned(upper)
        if self.bins:
            number = columns[self.inputs[0]]
            scores = [points for _, points in self.bins]
            known, points = ~np.isnan(number), self._binned(number)
            return np.where(known, points, min(scores)), np.where(known, points, max(scores))
        state = self.state(columns)
        return self.points * (state == 1), self.points * (state != 0)

    def state(self, columns: Columns) -> Column:
        """Three-valued truth of a yes/no item (1, 0, NaN)."""
        state = any_state(self.any_of, columns)
        if self.fallback is not None:
            state = np.where(np.isnan(state), self.fallback.state(columns[self.fallback.name]), state)
        return state

    def unknown(self, columns: Columns) -> dict[str, Column]:
        """Per input, the patients in whom it is unknown and the item not settled."""
        blank = {name: np.isnan(columns[name]) for name in self.inputs}
        if self.any_of:
            open_item = np.isnan(self.state(columns))
            blank = {name: mask & open_item for name, mask in blank.items()}
        return blank

    def _binned(self, number: Column) -> Column:
        points = np.zeros(len(number))
        for test, worth in self.bins:
            points = np.where(test.holds(number), worth, points)
        return points


def any_state(tests: Iterable[Condition], columns: Columns) -> Column:
    """Three-valued OR of conditions: 1 when one holds, 0 when none does, NaN when that is open."""
    states = np.array([test.state(columns[test.name]) for test in tests])
    settled = np.where(np.isnan(states).any(axis=0), np.nan, 0.0)
    return np.where((states == 1).any(axis=0), 1.0, settled)


def item(raw: Mapping[str, Any]) -> Item:
    """An item from its form in a rule file."""
    if "bins" in raw:
        of_burden = raw.get("quantity") == "tumour_burden"
        return Item(bins=tuple((_bin(raw, test), float(points)) for test, points in raw["bins"]), of_burden=of_burden)
    fallback = conditions(raw.get("fallback", {}))
    return Item(
        any_of=conditions(raw.get("when") or raw["any"]),
        points=float(raw["points"]),
        fallback=fallback[0] if fallback else None,
        disputed=raw.get("disputed", {}),
    )


def _bin(raw: Mapping[str, Any], test: Any) -> Condition:
    if "input" in raw:
        return parse(vocabulary()[raw["input"]], test)
    return Condition(raw["quantity"], f"{raw['quantity']} {test}", bounds=parse_bounds(str(test)))


@functools.cache
def items(rule_id: str) -> tuple[Item, ...]:
    """Items of an additive rule, in the order of its points."""
    return tuple(item(entry) for entry in rule(rule_id).body["items"])


def assess(chosen: Rule, prepared: Prepared) -> ScoreTable:
    """Score of every patient.

    Parameters
    ----------
    chosen
        A rule whose method is ``additive``.
    prepared
        Its columns.
    """
    columns, rows = prepared.columns, len(prepared.reasons)
    parts = items(chosen.id)
    spans = [part.span(columns) for part in parts]
    # Nine decimals remove the noise of adding weights such as 0.60034 and stay far below any of them.
    lower = np.round(np.sum([low for low, _ in spans], axis=0), 9)
    upper = np.round(np.sum([high for _, high in spans], axis=0), 9)
    bad = np.array([reason is not None for reason in prepared.reasons], dtype=bool)
    unknown = {name: mask & ~bad for name, mask in _unknown(chosen, parts, columns, rows).items()}
    waits = np.any(list(unknown.values()), axis=0)
    score = np.where(bad | waits, np.nan, lower)
    certain = waits & (_group_index(chosen, lower) == _group_index(chosen, upper))
    table = ScoreTable(
        status=np.where(bad, INVALID, np.where(waits, NOT_ASSESSABLE, OK)).astype(object),
        score=score,
        value=_polynomial(chosen, score),
        group=_group(chosen, score),
        lower=np.where(waits, lower, np.nan),
        upper=np.where(waits, upper, np.nan),
        certain=_group(chosen, np.where(certain, lower, np.nan)),
        missing=_names(unknown, rows),
        reason=prepared.reasons,
        boundary=_names({name: mask & ~bad for name, mask in _disputed(parts, columns).items()}, rows),
    )
    return _overridden(chosen, columns, table, (lower, upper)) if "override" in chosen.body else table


def _overridden(chosen: Rule, columns: Columns, table: ScoreTable, ends: tuple[Column, Column]) -> ScoreTable:
    """Grades: one input (extrahepatic disease) decides the worst grade whatever the score, or leaves it open."""
    override = chosen.body["override"]
    assumed = {name: np.nan_to_num(columns[name], nan=0.0) for name in override["unknown_counts_as_no"]}
    forced = any_state(conditions(override["any"]), {**columns, **assumed})
    valid = table.status != INVALID
    worst, undecided = valid & (forced == 1), valid & np.isnan(forced)
    waits = ((table.status == NOT_ASSESSABLE) & ~worst) | undecided
    lower, upper = (end + override["first"] for end in ends)
    decisive = tuple(name for name in override["any"] if name not in assumed)
    group, missing = table.group.copy(), np.empty(len(valid), dtype=object)
    group[worst], group[waits] = override["group"], None
    for index, names in enumerate(table.missing):
        missing[index] = () if worst[index] else names + (decisive if undecided[index] else ())
    return replace(
        table,
        status=np.where(worst, OK, np.where(waits, NOT_ASSESSABLE, table.status)).astype(object),
        score=np.where(worst | waits, np.nan, table.score),
        group=group,
        lower=np.where(waits, lower, np.nan),
        upper=np.where(waits, np.where(undecided, override["rank"], upper), np.nan),
        certain=np.full(len(valid), None),
        missing=missing,
    )


def possible_groups(chosen: Rule, lower: float, upper: float) -> tuple[str, ...]:
    """Groups between two scores."""
    names = [name for name, _ in chosen.body.get("groups", ())]
    if not names or "override" in chosen.body:
        return ()
    first, last = (int(_group_index(chosen, np.array([end]))[0]) for end in (lower, upper))
    return tuple(names[first : last + 1])


def _unknown(chosen: Rule, parts: Sequence[Item], columns: Columns, rows: int) -> dict[str, Column]:
    found = {name: np.zeros(rows, dtype=bool) for name in chosen.inputs}
    for part in parts:
        for name, mask in part.unknown(columns).items():
            found[name] |= mask
    return found


def _polynomial(chosen: Rule, score: Column) -> Column:
    if "polynomial" not in chosen.body:
        return np.full(len(score), np.nan)
    return np.clip(np.polyval(chosen.body["polynomial"]["coefficients"], score), 0.0, 1.0)


def _group_index(chosen: Rule, score: Column) -> Column:
    ends = np.array([upper for _, upper in chosen.body.get("groups", ())], dtype=float)
    index = np.searchsorted(ends + TOLERANCE, score, side="left").astype(float)
    return np.where(np.isnan(score) | (len(ends) == 0), np.nan, index)


def _group(chosen: Rule, score: Column) -> Names:
    names = np.array([name for name, _ in chosen.body.get("groups", ())] + [None], dtype=object)
    index = _group_index(chosen, score)
    return names[np.where(np.isnan(index), len(names) - 1, index).astype(int)]


def _disputed(parts: Sequence[Item], columns: Columns) -> dict[str, Column]:
    """Inputs exactly on a bound on which sources disagree, and intervals that the choice of their start decides."""
    found: dict[str, Column] = {}
    for part in parts:
        for name, bound in part.disputed.items():
            found[name] = is_on(columns[name], bound)
        name = part.inputs[0]
        if name == "dfi_months" and "primary_resection_date" in columns:
            from_resection = months_between(columns["primary_resection_date"], columns["crlm_diagnosis_date"])
            first, second = part.state(columns), any_state(part.any_of, {name: from_resection})
            found[name] = ~np.isnan(first) & ~np.isnan(second) & (first != second)
    return found


def _names(masks: Mapping[str, Column], rows: int) -> Names:
    """Per patient, the names whose mask is set; equal patterns share one tuple."""
    names = list(masks)
    pattern = np.zeros(rows, dtype=np.int64)
    for bit, name in enumerate(names):
        pattern |= masks[name].astype(np.int64) << bit
    distinct, position = np.unique(pattern, return_inverse=True)
    tuples = np.empty(len(distinct), dtype=object)
    for index, value in enumerate(distinct):
        tuples[index] = tuple(name for bit, name in enumerate(names) if int(value) >> bit & 1)
    return tuples[position]


def _number(code: float) -> float | None:
    return float(code) if np.isfinite(code) else None
