"""Function of the liver: indocyanine green and ALBI."""

from __future__ import annotations

import math
from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import compare
from radiomics_crlm.clinical.facts import Facts, Method, RefusedInputError
from radiomics_crlm.clinical.result import OK, RuleResult, unknown

_MINUTES = 15


def _disappearance(facts: Facts) -> float:
    """Disappearance constant per minute of a mono-exponential decay, from the retention at 15 minutes in per cent."""
    retention = facts["icg_r15_pct"]
    if not 0 < retention < 100:
        raise RefusedInputError("icg_r15_pct must lie strictly between 0 and 100")
    return -math.log(retention / 100) / _MINUTES


def icg_constant(_: Rule, facts: Facts) -> RuleResult:
    """Preoperative disappearance constant per minute."""
    return RuleResult(OK, value=_disappearance(facts))


def icg_of_remnant(rule: Rule, facts: Facts) -> RuleResult:
    """Predicted constant of the remnant; the remnant needed is given even when the remnant is unknown."""
    if facts["icg_r15_pct"] is None:
        return unknown(facts.missing(rule.inputs))
    constant, threshold = _disappearance(facts), rule.parameter("minimum_per_min")
    required = {"required_sflr_pct": 100 * threshold / constant}
    if missing := facts.missing(rule.inputs):
        return unknown(missing, **required)
    value = constant * facts["sflr_pct"] / 100
    return RuleResult(OK, value=value, extra={"met": bool(compare(value, ">=", threshold)), **required})


def albumin_bilirubin(rule: Rule, facts: Facts) -> RuleResult:
    """ALBI score and grade; bilirubin in mg/dL, albumin in g/L."""
    if facts["bilirubin_mg_dl"] <= 0:
        raise RefusedInputError("bilirubin_mg_dl must be above 0")
    bilirubin = facts["bilirubin_mg_dl"] * rule.parameter("umol_l_per_mg_dl")
    value = 0.66 * math.log10(bilirubin) - 0.085 * facts["albumin_g_l"]
    ends = (rule.parameter("grade_1_up_to"), rule.parameter("grade_2_up_to"))
    grade = 1 + sum(int(compare(value, ">", end)) for end in ends)
    return RuleResult(OK, value=value, group=str(grade))


METHODS: Mapping[str, Method] = {
    "icg_constant": icg_constant,
    "icg_of_remnant": icg_of_remnant,
    "albumin_bilirubin": albumin_bilirubin,
}
