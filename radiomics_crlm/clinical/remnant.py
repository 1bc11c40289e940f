"""Volume of the future liver remnant, its adequacy and its enlargement (volumes in mL, shares in per cent)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.catalogue import rule as rule_of
from radiomics_crlm.clinical.conditions import compare, is_on
from radiomics_crlm.clinical.decisions import item_states
from radiomics_crlm.clinical.facts import Facts, Method, RefusedInputError
from radiomics_crlm.clinical.result import OK, RuleResult, unknown

_CLASSES = ("inadequate", "grey_zone", "adequate")


def standardised_remnant(_: Rule, facts: Facts) -> RuleResult:
    """Remnant in per cent of the tumour-free liver."""
    healthy = facts["tlv_ml"] - facts["tumour_volume_ml"]
    if compare(facts["flr_ml"], ">", healthy):
        raise RefusedInputError("flr_ml must not exceed tlv_ml - tumour_volume_ml")
    if compare(healthy, "<=", 0):
        raise RefusedInputError("tumour_volume_ml must be below tlv_ml")
    return RuleResult(OK, value=100 * facts["flr_ml"] / healthy)


def remnant_class(rule: Rule, share: float, quality: str) -> str:
    """Adequacy of a remnant (per cent) in a liver of a given quality; both bounds are inclusive."""
    minimum, conservative = rule.parameter("bounds")[quality]
    return _CLASSES[int(compare(share, ">=", minimum)) + int(compare(share, ">=", conservative))]


def remnant_adequacy(rule: Rule, facts: Facts) -> RuleResult:
    """Adequacy by liver quality; an unknown quality still gives a class where all qualities agree."""
    share, quality = facts["sflr_pct"], facts["liver_quality"]
    if share is None:
        return unknown(facts.missing(rule.inputs))
    bounds = rule.parameter("bounds")
    possible = {remnant_class(rule, share, name) for name in ([quality] if quality else bounds)}
    if len(possible) > 1:
        return unknown(("liver_quality",), possible=sorted(possible))
    on_bound = quality is not None and any(is_on(share, bound) for bound in bounds[quality])
    return RuleResult(OK, group=possible.pop(), boundary=("sflr_pct",) if on_bound else ())


def remnant_to_weight(rule: Rule, facts: Facts) -> RuleResult:
    """Remnant in per cent of body weight (1 mL taken as 1 g)."""
    value = 100 * facts["flr_ml"] / (facts["weight_kg"] * 1000)
    return RuleResult(OK, value=value, extra={"met": bool(compare(value, ">=", rule.parameter("minimum_pct")))})


def hypertrophy_rate(rule: Rule, facts: Facts) -> RuleResult:
    """Gain of the remnant in percentage points, and per week."""
    if facts["weeks_after_pve"] <= 0:
        raise RefusedInputError("weeks_after_pve must be above 0")
    gain = facts["flr_pct_post"] - facts["sflr_pct"]
    rate = gain / facts["weeks_after_pve"]
    extra = {
        "degree_of_hypertrophy_pct": gain,
        "kgr_pct_per_week": rate,
        "dh_ok": bool(compare(gain, ">=", rule.parameter("minimum_gain"))),
        "kgr_ok": bool(compare(rate, ">=", rule.parameter("minimum_gain_per_week"))),
    }
    return RuleResult(OK, value=gain, extra=extra)


def hypertrophy(rule: Rule, facts: Facts) -> RuleResult:
    """Ways to enlarge the remnant; a measurement after embolisation or a first stage is looked at first."""
    after = facts["flr_pct_post"] is not None
    adequacy = facts.result("flr_adequacy", sflr_pct="flr_pct_post") if after else facts.result("flr_adequacy")
    inadequate = _is_inadequate(adequacy)
    if after and inadequate is not None:
        return _strategy(rule, "insufficient_hypertrophy" if inadequate else "hypertrophy_reached")
    if adequacy.status != OK:
        return unknown(adequacy.missing)
    if not inadequate:
        return _strategy(rule, "none_needed" if adequacy.group == "adequate" else "test_function_first")
    if facts["bilobar"] is None:
        return unknown(("bilobar",))
    options = rule.parameter("options")["bilobar" if facts["bilobar"] else "unilobar"]
    return RuleResult(OK, group="induce_hypertrophy", extra={"options": list(options)})


def _is_inadequate(adequacy: RuleResult) -> bool | None:
    possible = {adequacy.group} if adequacy.status == OK else set(adequacy.extra.get("possible", _CLASSES))
    return None if "inadequate" in possible and len(possible) > 1 else "inadequate" in possible


def _strategy(rule: Rule, group: str) -> RuleResult:
    return RuleResult(OK, group=group, extra={"options": list(rule.parameter("options")[group])})


def chemotherapy_injury(rule: Rule, facts: Facts) -> RuleResult:
    """Liver injury to expect from oxaliplatin and irinotecan, with the bounds of the remnant to ask for."""
    names = {(False, False): "none_expected", (True, False): "sos", (False, True): "cash", (True, True): "both"}
    drugs = [facts[name] for name in rule.inputs]
    possible = {names[pair] for pair in itertools.product(*((False, True) if d is None else (d,) for d in drugs))}
    if missing := facts.missing(rule.inputs):
        return unknown(missing, possible=sorted(possible))
    group = possible.pop()
    expected = rule.parameter(group)
    minimum, conservative = rule_of("flr_adequacy").parameter("bounds")[expected["quality"]]
    extra = {"risks": list(expected["risks"]), "sflr_minimum_pct": minimum, "sflr_conservative_pct": conservative}
    return RuleResult(OK, group=group, extra=extra)


def remnant_risk(rule: Rule, facts: Facts) -> RuleResult:
    """Quantity and function of the remnant: either one that fails decides."""
    states = item_states(rule, facts)
    reasons = [key for key, state in states.items() if state is False]
    waiting = [key for key, state in states.items() if state is None]
    if waiting and not reasons:
        return unknown(waiting)
    group = "too_high_risk_consider_hypertrophy" if reasons else "within_thresholds"
    return RuleResult(OK, group=group, extra={"reasons": reasons})


def _mosteller(facts: Facts) -> float:
    return math.sqrt(facts["height_cm"] * facts["weight_kg"] / 3600)


def body_surface(_: Rule, facts: Facts) -> RuleResult:
    """Body surface area in m2 after Mosteller, with Du Bois beside it."""
    dubois = 0.007184 * facts["height_cm"] ** 0.725 * facts["weight_kg"] ** 0.425
    return RuleResult(OK, value=_mosteller(facts), extra={"dubois": dubois})


def estimated_liver_volume(rule: Rule, facts: Facts) -> RuleResult:
    """Total liver volume in mL estimated from the body surface; the tumour is not subtracted."""
    value = rule.parameter("intercept_ml") + rule.parameter("slope_ml_per_m2") * _mosteller(facts)
    return RuleResult(OK, value=value, extra={"label": "estimated"})


METHODS: Mapping[str, Method] = {
    "standardised_remnant": standardised_remnant,
    "remnant_adequacy": remnant_adequacy,
    "remnant_to_weight": remnant_to_weight,
    "hypertrophy_rate": hypertrophy_rate,
    "hypertrophy": hypertrophy,
    "chemotherapy_injury": chemotherapy_injury,
    "remnant_risk": remnant_risk,
    "body_surface": body_surface,
    "estimated_liver_volume": estimated_liver_volume,
}
