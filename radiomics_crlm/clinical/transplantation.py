"""Transplantation rules that are more than a list of criteria."""

from __future__ import annotations

from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import compare, meets
from radiomics_crlm.clinical.decisions import criteria, item_states
from radiomics_crlm.clinical.facts import Facts, Method
from radiomics_crlm.clinical.result import OK, RuleResult


def favourable_predictors(rule: Rule, facts: Facts) -> RuleResult:
    """Each predictor as favourable, unfavourable or unknown; they are never added up."""
    states = item_states(rule, facts)
    named = {"favourable": True, "unfavourable": False, "unknown": None}
    extra = {name: [key for key, state in states.items() if state is wanted] for name, wanted in named.items()}
    return RuleResult(OK, extra=extra)


def transmet(rule: Rule, facts: Facts) -> RuleResult:
    """TransMet eligibility; a raised CEA passes when it is at most half of its maximum."""
    return criteria(rule, facts, {"cea_ng_ml": cea_state(rule, facts)})


def cea_state(rule: Rule, facts: Facts) -> bool | None:
    """Whether CEA is below the limit or at most the stated share of its maximum."""
    now, highest = facts["cea_ng_ml"], facts["cea_max_ng_ml"]
    if now is None:
        return None
    if meets(now, rule.parameter("cea")):
        return True
    return None if highest is None else bool(compare(now, "<=", rule.parameter("share_of_maximum") * highest))


METHODS: Mapping[str, Method] = {"favourable_predictors": favourable_predictors, "transmet": transmet}
