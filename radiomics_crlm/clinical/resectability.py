"""Definitions of resectability that are more than a list of criteria."""

from __future__ import annotations

from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule, clauses, conditions
from radiomics_crlm.clinical.decisions import criteria, disputed_inputs, item_states
from radiomics_crlm.clinical.facts import Facts, Method
from radiomics_crlm.clinical.result import OK, RuleResult, unknown


def criteria_with_relative_contraindication(rule: Rule, facts: Facts) -> RuleResult:
    """Criteria, and a flag for resectable extrahepatic disease (unknown counts as absent and is named)."""
    result = criteria(rule, facts)
    flag = {"relative_contraindication": facts["extrahepatic_status"] == "resectable"}
    extra = {**result.extra, **flag, "not_stated": list(facts.missing(rule.optional))}
    return RuleResult(result.status, missing=result.missing, boundary=result.boundary, extra=extra)


def criteria_of_many(rule: Rule, facts: Facts) -> RuleResult:
    """Criteria that apply only from a number of metastases on, which must be known first."""
    applies = facts.state((conditions(rule.parameter("applies")),))
    if applies is None:
        return unknown(facts.missing(rule.parameter("applies")))
    return criteria(rule, facts) if applies else RuleResult(OK, group="not_applicable")


def technical_and_biological(rule: Rule, facts: Facts) -> RuleResult:
    """Two three-valued branches; one that holds is reported as ``at_least`` while the other is open."""
    states = item_states(rule, facts)
    holding = [key for key, state in states.items() if state]
    open_inputs = {
        test.name
        for item in rule.body["items"]
        if states[item["key"]] is None
        for tests in clauses(item)
        for test in tests
    }
    if open_inputs:
        waiting = facts.missing(name for name in rule.inputs if name in open_inputs)
        return unknown(waiting, at_least=holding[0] if holding else None)
    return RuleResult(OK, group="both" if len(holding) == 2 else (holding[0] if holding else "neither"))


def clearly_or_borderline(rule: Rule, facts: Facts) -> RuleResult:
    """Any adverse item makes the disease borderline; unresectable extrahepatic disease leaves the definition."""
    if facts["extrahepatic_status"] == "unresectable":
        return RuleResult(OK, group="outside_definition", extra={"reasons": ["extrahepatic_status"]})
    states = item_states(rule, facts)
    reasons = [key for key, state in states.items() if state]
    waiting = [key for key, state in states.items() if state is None]
    if waiting and not reasons:
        return unknown(waiting)
    group = "borderline_resectable" if reasons else "clearly_resectable"
    boundary = disputed_inputs(rule.body["items"], facts)
    return RuleResult(OK, group=group, boundary=boundary, extra={"reasons": reasons})


def easily_or_difficultly(rule: Rule, facts: Facts) -> RuleResult:
    """Any difficult item decides; a hepatic vein alone is neither easy nor difficult."""
    states = item_states(rule, facts)
    vein = "hepatic_veins_involved"
    difficult = [key for key, state in states.items() if state and key != vein]
    if difficult:
        return RuleResult(OK, group="difficult", extra={"reasons": difficult})
    if waiting := [key for key, state in states.items() if state is None]:
        return unknown(waiting)
    if states[vein]:
        return RuleResult(OK, group="indeterminate", extra={"reasons": [vein]})
    return RuleResult(OK, group="easy", extra={"reasons": []})


def judgement(rule: Rule, facts: Facts) -> RuleResult:
    """The human judgement, unchanged."""
    return RuleResult(OK, extra={"met": facts[rule.inputs[0]]})


METHODS: Mapping[str, Method] = {
    "criteria_with_relative_contraindication": criteria_with_relative_contraindication,
    "criteria_of_many": criteria_of_many,
    "technical_and_biological": technical_and_biological,
    "clearly_or_borderline": clearly_or_borderline,
    "easily_or_difficultly": easily_or_difficultly,
    "judgement": judgement,
}
