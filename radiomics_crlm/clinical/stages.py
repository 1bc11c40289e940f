"""Stages built on the number and size of the metastases."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import meets
from radiomics_crlm.clinical.facts import Facts, Method
from radiomics_crlm.clinical.result import NOT_ASSESSABLE, OK, RuleResult, unknown
from radiomics_crlm.clinical.tumour_burden import BURDEN_INPUTS, tumour_burden


def tumour_burden_zone(rule: Rule, facts: Facts) -> RuleResult:
    """Tumour burden score and its zone, or its lower bound and the zones that remain."""
    names = (*BURDEN_INPUTS, "multiple_metastases")
    lower, upper = tumour_burden({name: np.array([facts.codes.get(name, np.nan)]) for name in names})
    least = float(lower[0])
    zones = rule.parameter("zones")
    first = next(index for index, (_, test) in enumerate(zones) if meets(least, test))
    if np.isfinite(upper[0]):
        return RuleResult(OK, score=least, group=zones[first][0])
    possible = sorted(zone for zone, _ in zones[first:])
    certain = possible[0] if len(possible) == 1 else None
    return RuleResult(
        NOT_ASSESSABLE,
        bounds=(least, None),
        group_certain=certain,
        missing=facts.missing(rule.inputs),
        extra={"possible": possible},
    )


def _count_is(facts: Facts, test: str) -> bool | None:
    """Three-valued test of the number of metastases; a known solitary metastasis settles it."""
    count = facts["n_liver_mets"]
    if count is None and facts["multiple_metastases"] is False:
        count = 1
    return None if count is None else meets(count, test)


def _size_is(facts: Facts, test: str) -> bool | None:
    size = facts["largest_met_mm"]
    return None if size is None else meets(size, test)


def _both(state: bool | None) -> tuple[bool, ...]:
    return (False, True) if state is None else (state,)


def _waiting(rule: Rule, facts: Facts) -> tuple[str, ...]:
    settled = "n_liver_mets" if facts["multiple_metastases"] is False else None
    return tuple(name for name in facts.missing(rule.inputs) if name != settled)


def _class_of(possible: set[str], rule: Rule, facts: Facts) -> RuleResult:
    if len(possible) == 1:
        return RuleResult(OK, group=next(iter(possible)))
    return unknown(_waiting(rule, facts), possible=sorted(possible))


def h_stage(rule: Rule, facts: Facts) -> RuleResult:
    """H stage, or the stages that remain possible."""
    many = _both(_count_is(facts, rule.parameter("many")))
    large = _both(_size_is(facts, rule.parameter("large")))
    return _class_of({f"H{1 + a + b}" for a, b in itertools.product(many, large)}, rule, facts)


def novel_h_category(rule: Rule, facts: Facts) -> RuleResult:
    """Novel H category, or the categories that remain possible."""
    large = _both(_size_is(facts, rule.parameter("large")))
    several = facts["multiple_metastases"] is True and facts["n_liver_mets"] is None
    numbers: tuple[str, ...] = ("few", "many") if several else ("one", "few", "many")
    if (many := _count_is(facts, rule.parameter("many"))) is not None:
        numbers = ("many",) if many else (("few",) if _count_is(facts, "> 1") else ("one",))
    small = {"one": ("nH1", "nH2"), "few": ("nH2", "nH2"), "many": ("nH3", "nH3")}
    return _class_of({small[number][b] for number, b in itertools.product(numbers, large)}, rule, facts)


def jsccr_grade(rule: Rule, facts: Facts) -> RuleResult:
    """Grade with its subgroup, or the grades that remain possible; extrahepatic disease gives C alone."""
    h_result = facts.result("h_stage")
    stages = [h_result.group] if h_result.status == OK else h_result.extra["possible"]
    grades = set()
    for stage, outside in itertools.product(stages, _both(facts["extrahepatic_present"])):
        if outside:
            grades.add(rule.parameter("with_extrahepatic")[stage])
        else:
            by_nodes = rule.parameter("without_extrahepatic")[stage]
            grades |= {by_nodes["pN2" if advanced else "pN0_1"] for advanced in _both(_is_pn2(facts))}
    possible = {grade[0] for grade in grades}
    if len(possible) > 1:
        return unknown(facts.missing(rule.inputs), possible=sorted(possible))
    subgroup = next(iter(grades)) if len(grades) == 1 and possible == {"C"} else None
    return RuleResult(OK, group=possible.pop(), extra={"subgroup": subgroup})


def _is_pn2(facts: Facts) -> bool | None:
    category = facts["primary_pn_category"]
    return None if category is None else category == "N2"


METHODS: Mapping[str, Method] = {
    "tumour_burden_zone": tumour_burden_zone,
    "h_stage": h_stage,
    "novel_h_category": novel_h_category,
    "jsccr_grade": jsccr_grade,
}
