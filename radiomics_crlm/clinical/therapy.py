"""Therapy information: options and cautions, never a prescription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.clinical.catalogue import Rule, clauses
from radiomics_crlm.clinical.decisions import item_states, steps
from radiomics_crlm.clinical.facts import Facts, Method, any_of
from radiomics_crlm.clinical.result import OK, PARTIAL, RuleResult, unknown


def biomarkers(rule: Rule, facts: Facts) -> RuleResult:
    """Statements for the known markers; a missing CEA is not listed among the unknown tests."""
    statements: dict[str, str] = {}
    for key, name in (("ras", "ras_status"), ("braf_v600e", "braf_v600e"), ("msi", "msi_status")):
        if facts[name] is not None:
            statements[key] = rule.parameter(key)[facts[name]]
    if facts["cea_ng_ml"] is not None:
        statements["cea"] = rule.parameter("cea")
    if facts["kras_g12c"]:
        statements["kras_g12c"] = rule.parameter("kras_g12c")
    unknown_tests = list(facts.missing(("ras_status", "braf_v600e", "msi_status")))
    return RuleResult(OK, extra={"statements": statements, "unknown": unknown_tests})


def first_line(rule: Rule, facts: Facts) -> RuleResult:
    """Options in initially unresectable disease; ``partial`` while a test is unknown."""
    tests = list(facts.missing(rule.parameter("tests")))
    contraindicated = facts["immunotherapy_contraindicated"]
    if facts["msi_status"] == "MSI-H_dMMR" and contraindicated is not True:
        note = "ici_contraindication_not_stated" if contraindicated is None else ""
        return _first_line(rule.parameter("immunotherapy"), [], tests, note)
    triplet = facts["fit_for_triplet"] is not False
    options = [*rule.parameter("always"), *(rule.parameter("fit") if triplet else ())]
    highlighted: list[str] = []
    resistant = _anti_egfr_resistant(facts)
    if resistant is False:
        options.append(rule.parameter("anti_egfr"))
        highlighted = [rule.parameter("anti_egfr"), rule.parameter("less_intensive")]
    elif resistant:
        highlighted = [rule.parameter("intensive" if triplet else "less_intensive")]
    excluded = [] if resistant is False else [rule.parameter("anti_egfr")]
    return _first_line(sorted(options), highlighted, tests, "", excluded)


def _anti_egfr_resistant(facts: Facts) -> bool | None:
    site = facts["primary_site"]
    mutated = (facts["ras_status"], facts["braf_v600e"])
    return any_of(
        [None if site is None else site == "right_colon", *(None if m is None else m == "mutant" for m in mutated)]
    )


def _first_line(
    options: list[str], highlighted: list[str], tests: list[str], note: str, excluded: list[str] | None = None
) -> RuleResult:
    extra = {
        "options": list(options),
        "highlighted": highlighted,
        "excluded": excluded or [],
        "tests_needed": tests,
        "note": note,
    }
    return RuleResult(PARTIAL if tests else OK, extra=extra)


def perioperative(rule: Rule, facts: Facts) -> RuleResult:
    """Any adverse item speaks for perioperative chemotherapy; without one all of them must be known."""
    if facts["initially_resectable"] is None:
        return unknown(("initially_resectable",))
    if not facts["initially_resectable"]:
        return RuleResult(OK, group="conversion_pathway", extra={"reasons": []})
    states = item_states(rule, facts)
    reasons = [key for key, state in states.items() if state]
    if reasons:
        group = "consider_perioperative_chemotherapy_6_months_total"
        return RuleResult(OK, group=group, extra={"reasons": reasons})
    waiting: set[str] = set()
    for item in rule.body["items"]:
        if states[item["key"]] is None:
            waiting |= set(facts.result(item["rule"]).missing)
    if waiting:
        return unknown(name for name in rule.inputs if name in waiting)
    return RuleResult(OK, group="surgery_first_then_adjuvant", extra={"reasons": []})


def sequence(rule: Rule, facts: Facts) -> RuleResult:
    """Order of the operations; unknown details of the procedures fulfil no class."""
    primary_first = any_of(facts[name] for name in rule.inputs)
    if primary_first:
        return RuleResult(OK, extra={"options": ["PRIMARY_FIRST"]})
    if primary_first is None:
        return unknown(facts.missing(rule.inputs))
    options = [key for key, state in item_states(rule, facts).items() if state]
    extra: dict[str, Any] = {"options": options or ["MDT_INDIVIDUAL"], "not_stated": list(facts.missing(rule.optional))}
    return RuleResult(OK, extra=extra)


def lung_metastases(rule: Rule, facts: Facts) -> RuleResult:
    """Strategy by a sequence of questions, with the adverse features that are known to hold."""
    result = steps(rule, facts)
    adverse = [key for key, state in item_states(rule, facts).items() if state]
    if result.group == "not_applicable":
        adverse = []
    return RuleResult(result.status, group=result.group, missing=result.missing, extra={"adverse": adverse})


def options_and_cautions(rule: Rule, facts: Facts) -> RuleResult:
    """Options and cautions of one lesion; unknown places count as absent and are named as not stated."""
    holding = [item for item in rule.body["items"] if not clauses(item) or facts.state(clauses(item))]
    extra = {
        "options": [item["option"] for item in holding if "option" in item],
        "cautions": [item["caution"] for item in holding if "caution" in item],
        "not_stated": list(facts.missing(rule.optional)),
    }
    return RuleResult(OK, extra=extra)


def ablation_recurrence(rule: Rule, facts: Facts) -> RuleResult:
    """Two-year local recurrence in per cent by size, with the hazard ratio of a subcapsular lesion beside it."""
    result = steps(rule, facts)
    if result.status != OK:
        return result
    ratio = rule.parameter("subcapsular_hr") if facts["subcapsular"] else 1.0
    extra = {"subcapsular_hr": ratio, "not_stated": list(facts.missing(rule.optional))}
    return RuleResult(OK, group=result.group, value=result.value, extra=extra)


METHODS: Mapping[str, Method] = {
    "biomarkers": biomarkers,
    "first_line": first_line,
    "perioperative": perioperative,
    "sequence": sequence,
    "lung_metastases": lung_metastases,
    "options_and_cautions": options_and_cautions,
    "ablation_recurrence": ablation_recurrence,
}
