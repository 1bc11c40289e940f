"""Stages built on the number and size of the metastases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import compare, parse_bounds
from radiomics_crlm.clinical.facts import Facts, Method
from radiomics_crlm.clinical.result import NOT_ASSESSABLE, OK, RuleResult
from radiomics_crlm.clinical.tumour_burden import BURDEN_INPUTS, tumour_burden


def tumour_burden_zone(rule: Rule, facts: Facts) -> RuleResult:
    """Tumour burden score and its zone, or its lower bound and the zones that remain."""
    names = (*BURDEN_INPUTS, "multiple_metastases")
    lower, upper = tumour_burden({name: np.array([facts.codes.get(name, np.nan)]) for name in names})
    least = float(lower[0])
    zones = [(zone, parse_bounds(test)) for zone, test in rule.parameter("zones")]
    first = next(i for i, (_, tests) in enumerate(zones) if all(compare(least, sign, end) for sign, end in tests))
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


METHODS: Mapping[str, Method] = {"tumour_burden_zone": tumour_burden_zone}
