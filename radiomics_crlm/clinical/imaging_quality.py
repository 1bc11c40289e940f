"""Imaging quality flags, the staging work-up and the probability of malignancy over several scans."""

from __future__ import annotations

from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule, clauses
from radiomics_crlm.clinical.facts import Facts, Method, RefusedInputError
from radiomics_crlm.clinical.result import OK, RuleResult


def flags(rule: Rule, facts: Facts) -> RuleResult:
    """Flags that hold; unknown optional inputs count as absent and are named as not stated."""
    held = [item["flag"] for item in rule.body["items"] if facts.state(clauses(item))]
    return RuleResult(OK, extra={"flags": held, "not_stated": list(facts.missing(rule.optional))})


def workup(rule: Rule, facts: Facts) -> RuleResult:
    """Staging examinations, with the limits of PET where it is listed."""
    options = list(rule.parameter("always"))
    local = facts["local_treatment_considered"]
    if local:
        options += rule.parameter("local_treatment")
    with_pet = local or bool(facts["rising_cea_ct_negative"])
    if with_pet:
        options.append(rule.parameter("pet"))
    cautions = [item["caution"] for item in rule.body["items"] if with_pet and facts.state(clauses(item))]
    extra = {"options": options, "cautions": cautions, "not_stated": list(facts.missing(rule.optional))}
    return RuleResult(OK, extra=extra)


def updated_probability(rule: Rule, facts: Facts) -> RuleResult:
    """Probability in per cent after each scan done; the scans are taken as independent."""
    prior = facts["prior_malignancy_pct"]
    if not 0 < prior < 100:
        raise RefusedInputError("prior_malignancy_pct must lie strictly between 0 and 100")
    odds, steps = prior / (100 - prior), []
    for name in rule.optional:
        if facts[name] is not None:
            odds *= facts[name]
            steps.append(100 * odds / (1 + odds))
    return RuleResult(OK, value=steps[-1] if steps else prior, extra={"steps": steps})


METHODS: Mapping[str, Method] = {"flags": flags, "workup": workup, "updated_probability": updated_probability}
