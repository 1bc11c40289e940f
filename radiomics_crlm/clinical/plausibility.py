"""Warnings about values that are allowed but look wrong; they change no result.

A warning reads ``input:code`` and stands beside every rule that uses the input. What it means is in
:func:`warning_texts`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np

from radiomics_crlm.clinical.conditions import Condition, compare, parse
from radiomics_crlm.clinical.derivation import Column, Encoded
from radiomics_crlm.clinical.vocabulary import vocabulary
from radiomics_crlm.resources import shipped_yaml

_PAIRS = {
    "dfi_months:negative_set_to_0": "a negative interval counts as 0: metastases were found before the primary",
    "crlm_diagnosis_date:before_primary": "the metastases are dated before the primary; the interval counts as 0",
    "primary_resection_date:before_diagnosis": "the primary was resected before its diagnosis",
    "synchronous_crlm:beside_positive_interval": "synchronous beside a positive interval; the interval is used",
    "margin_positive:disagrees_with_margin": "the margin in mm and the R status disagree under the 1-mm rule",
    "sflr_pct:disagrees_with_volumes": "the remnant in per cent differs from its volumes by more than 5 points",
}
_MOST_DIFFERENT_POINTS = 5.0


@functools.cache
def _single() -> tuple[tuple[str, Condition, str], ...]:
    """Warning, condition and text of each check of one input."""
    content = shipped_yaml("clinical/data/plausibility.yaml")
    checks = [
        (f"{entry['input']}:{entry['code']}", parse(vocabulary()[entry["input"]], entry["when"]), str(entry["text"]))
        for entry in content["single"]
    ]
    for name, spec in vocabulary().items():
        if spec.unit == "%" and spec.type == "float":
            text = f"{name} between 0 and 1 per cent: a fraction entered?"
            checks.append((f"{name}:{content['fractions']}", parse(spec, "(0, 1)"), text))
    return tuple(checks)


def warning_texts() -> Mapping[str, str]:
    """What each warning means."""
    return {code: text for code, _, text in _single()} | _PAIRS


def warnings_of(encoded: Encoded) -> Mapping[str, Column]:
    """Warnings that any patient has, each with those who have it."""
    found = {}
    for code, test, _ in _single():
        if test.name in encoded.columns:
            column = encoded.columns[test.name]
            found[code] = ~np.isnan(column) & test.holds(column)
    found |= {f"{name}:negative_set_to_0": mask for name, mask in encoded.clipped.items()}
    found |= dict(_pairs(encoded))
    return {code: mask for code, mask in found.items() if mask.any()}


def _pairs(encoded: Encoded) -> Iterator[tuple[str, Column]]:
    """Comparisons with an unknown are False in numpy, so that only known pairs are marked."""
    primary, resected, liver = (
        encoded.column(f"{name}_date") for name in ("primary_diagnosis", "primary_resection", "crlm_diagnosis")
    )
    yield "crlm_diagnosis_date:before_primary", liver < primary
    yield "primary_resection_date:before_diagnosis", resected < primary
    interval = (encoded.column("synchronous_crlm") == 1) & (encoded.column("dfi_months") > 0)
    yield "synchronous_crlm:beside_positive_interval", interval
    positive, margin = encoded.column("margin_positive"), encoded.column("resection_margin_mm")
    disagree = ((positive == 1) & compare(margin, ">=", 1)) | ((positive == 0) & compare(margin, "<=", 0))
    yield "margin_positive:disagrees_with_margin", disagree
    healthy = encoded.column("tlv_ml") - encoded.column("tumour_volume_ml")
    share = 100 * np.divide(encoded.column("flr_ml"), healthy, out=np.full(encoded.rows, np.nan), where=healthy > 0)
    yield "sflr_pct:disagrees_with_volumes", np.abs(share - encoded.column("sflr_pct")) > _MOST_DIFFERENT_POINTS
