"""Response to systemic therapy and its schedule (sums in mm, volumes in mL, changes in per cent)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import compare, meets
from radiomics_crlm.clinical.facts import Facts, Method, RefusedInputError
from radiomics_crlm.clinical.result import OK, RuleResult, unknown


def _change(name: str, start: float, now: float) -> float:
    """Change in per cent of the start."""
    if start <= 0:
        raise RefusedInputError(f"{name} must be above 0")
    return 100 * (now - start) / start


def recist(rule: Rule, facts: Facts) -> RuleResult:
    """RECIST 1.1 category; progression is judged from the nadir and tested first."""
    missing = facts.missing(rule.inputs)
    sums_known = not any(name in missing for name in ("baseline_sum_mm", "current_sum_mm"))
    baseline, now = facts["baseline_sum_mm"], facts["current_sum_mm"]
    if facts["new_lesions"]:
        change = _change("baseline_sum_mm", baseline, now) if sums_known and baseline else None
        return RuleResult(OK, group="PD", value=change, extra={"change_pct": change})
    if missing:
        return unknown(missing)
    change = _change("baseline_sum_mm", baseline, now)
    # The nadir includes the baseline.
    nadir = baseline if facts["nadir_sum_mm"] is None else min(baseline, facts["nadir_sum_mm"])
    grown = compare(100 * (now - nadir), ">=", rule.parameter("increase_pct") * nadir)
    if grown and compare(now - nadir, ">=", rule.parameter("increase_mm")):
        group = "PD"
    elif now == 0:
        group = "CR"
    else:
        group = "PR" if compare(change, "<=", -rule.parameter("decrease_pct")) else "SD"
    return RuleResult(OK, group=group, value=change, extra={"change_pct": change})


def early_shrinkage(rule: Rule, facts: Facts) -> RuleResult:
    """Early shrinkage, positive when the sum decreases; not assessable outside the accepted weeks."""
    if not meets(facts["weeks_from_start"], rule.parameter("accepted_weeks")):
        return unknown((rule.parameter("window"),))
    value = -_change("baseline_sum_mm", facts["baseline_sum_mm"], facts["current_sum_mm"])
    extra = {
        "met": bool(compare(value, ">=", rule.parameter("minimum_pct"))),
        "nominal_window": meets(facts["weeks_from_start"], rule.parameter("nominal_weeks")),
    }
    return RuleResult(OK, value=value, extra=extra)


def depth_of_response(_: Rule, facts: Facts) -> RuleResult:
    """Largest shrinkage, positive when the sum decreases."""
    return RuleResult(OK, value=-_change("baseline_sum_mm", facts["baseline_sum_mm"], facts["nadir_sum_mm"]))


def volume_response(rule: Rule, facts: Facts) -> RuleResult:
    """Change of the total tumour volume, classified at several thresholds."""
    change = _change("ttv_baseline_ml", facts["ttv_baseline_ml"], facts["ttv_current_ml"])
    extra: dict[str, object] = {"change_pct": change}
    for threshold in rule.parameter("thresholds_pct"):
        grown = "progression" if compare(change, ">=", threshold) else "stable"
        extra[f"at{threshold}"] = "response" if compare(change, "<=", -threshold) else grown
    return RuleResult(OK, value=change, extra=extra)


def schedule(rule: Rule, facts: Facts) -> RuleResult:
    """Dates of the reassessments and of the operation, as ISO text."""
    start, last = facts["therapy_start_date"], facts["last_chemo_date"]
    if last is not None and last < start:
        raise RefusedInputError("last_chemo_date must not precede therapy_start_date")
    soonest, latest = (datetime.timedelta(days=days) for days in rule.parameter("then_days"))
    first = start + datetime.timedelta(days=rule.parameter("first_days"))
    second = (first + soonest, first + latest)
    third = (second[0] + soonest, second[1] + latest)
    extra: dict[str, object] = {
        "first_due": first.isoformat(),
        "second_window": [day.isoformat() for day in second],
        "third_window": [day.isoformat() for day in third],
    }
    if last is not None:
        extra["surgery_target"] = (last + datetime.timedelta(days=rule.parameter("surgery_days"))).isoformat()
    return RuleResult(OK, extra=extra)


def chemotherapy_duration(rule: Rule, facts: Facts) -> RuleResult:
    """Short or long for the line in which the cycles were given, and their place beside the cycles for conversion."""
    cycles, line = facts["chemo_cycles"], int(facts["chemo_line"])
    fewest, most = rule.parameter("conversion_cycles")
    target = "below" if cycles < fewest else ("above" if cycles > most else "within")
    long_from = rule.parameter("long_from").get(line)
    group = "not_applicable" if long_from is None else ("long" if cycles >= long_from else "short")
    return RuleResult(OK, group=group, extra={"conversion_target": target})


def oligoprogression(_: Rule, facts: Facts) -> RuleResult:
    """Share of controlled lesions, and whether a single one grows."""
    followed, growing = facts["n_lesions_followed"], facts["n_lesions_progressing"]
    if growing > followed:
        raise RefusedInputError("n_lesions_progressing must not exceed n_lesions_followed")
    group = "local_therapy_to_one_lesion_option" if growing == 1 else "several_progressing"
    if growing == followed:
        group = "systemic_progression"
    if growing == 0:
        group = "no_progression"
    controlled = 100 * (followed - growing) / followed
    return RuleResult(OK, group=group, value=controlled, extra={"controlled_pct": controlled})


def disappearance_odds(rule: Rule, facts: Facts) -> RuleResult:
    """Relative odds that metastases disappear, against three or fewer and six cycles."""
    many = meets(facts["n_liver_mets"], rule.parameter("many"))
    cycles = facts["chemo_cycles"] - rule.parameter("reference_cycles")
    odds = (rule.parameter("odds_of_many") if many else 1.0) * rule.parameter("odds_per_cycle") ** cycles
    return RuleResult(OK, value=odds, extra={"relative_odds": odds, "high_number": many})


def disappearance_status(rule: Rule, facts: Facts) -> RuleResult:
    """Status of one metastasis after chemotherapy; an unknown examination never counts as negative."""
    on_ct, on_mri, on_ultrasound = (facts[name] for name in ("seen_on_ct", "seen_on_mri", "seen_on_ceious"))
    if on_ct or on_mri or on_ultrasound:
        group = "visible"
    elif on_mri is False:
        group = "disappeared_all_negative" if on_ultrasound is False else "disappeared_on_mri"
    elif on_ct is False:
        group = "candidate_mri_needed"
    else:
        return unknown(facts.missing(rule.inputs))
    return RuleResult(OK, group=group, extra={"options": list(rule.parameter("options")[group])})


METHODS: Mapping[str, Method] = {
    "recist": recist,
    "early_shrinkage": early_shrinkage,
    "depth_of_response": depth_of_response,
    "volume_response": volume_response,
    "schedule": schedule,
    "chemotherapy_duration": chemotherapy_duration,
    "oligoprogression": oligoprogression,
    "disappearance_odds": disappearance_odds,
    "disappearance_status": disappearance_status,
}
