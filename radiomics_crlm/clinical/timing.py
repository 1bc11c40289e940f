"""The disease-free interval; the conventions that classify it are tables in ``data/timing.yaml``."""

from __future__ import annotations

from collections.abc import Mapping

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.derivation import DAYS_PER_MONTH
from radiomics_crlm.clinical.facts import Facts, Method
from radiomics_crlm.clinical.result import OK, RuleResult


def disease_free_interval(_: Rule, facts: Facts) -> RuleResult:
    """Days and months from the diagnosis of the primary to the first detection of liver metastases, never negative."""
    days = max(0, (facts["crlm_diagnosis_date"] - facts["primary_diagnosis_date"]).days)
    months = days / DAYS_PER_MONTH
    extra = {"dfi_days": days, "dfi_months": months, "anchor": "primary_diagnosis_date"}
    return RuleResult(OK, value=months, extra=extra)


METHODS: Mapping[str, Method] = {"disease_free_interval": disease_free_interval}
