"""The chart of a simulated patient in the canonical vocabulary: measured on the masks where a reader would measure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.phantom.anatomy import LIVER, REMNANT, Anatomy, as_volume
from radiomics_crlm.phantom.outcomes import Outcome, Truth
from radiomics_crlm.phantom.patients import Plan
from radiomics_crlm.phantom.settings import SimulationConfig, Stream, generator

# Day 0 of the arbitrary era to which all dates are shifted.
ERA = dt.date(1950, 1, 1)

OPTIONAL_CELLS: tuple[tuple[str, ...], ...] = (
    ("bmi_kg_m2",),
    ("ecog_ps",),
    ("primary_pt",),
    ("primary_pn_category", "node_positive_primary", "primary_positive_nodes"),
    ("primary_differentiation",),
    ("cea_ng_ml",),
    ("ca19_9_u_ml",),
    ("kras_status", "nras_status", "ras_status"),
    ("braf_v600e",),
    ("msi_status",),
    ("extrahepatic_status", "extrahepatic_present"),
    ("liver_quality",),
    ("albumin_g_l",),
    ("bilirubin_mg_dl",),
    ("crp_mg_l",),
    ("nlr",),
)
"""Baseline columns that may be unknown; columns of one tuple say the same thing and are unknown together."""


_RESPONSE_COLUMNS = (
    "best_response",
    "progression_on_chemo",
    "baseline_sum_mm",
    "current_sum_mm",
    "new_lesions",
    "ttv_baseline_ml",
    "ttv_current_ml",
    "weeks_from_start",
)


@dataclass(frozen=True)
class Measured:
    """What a reader measures on the masks of one scan. Longest axial diameters by label; volumes in mL."""

    diameters_mm: Mapping[int, float]
    tumour_ml: float
    liver_ml: float
    remnant_ml: float
    bilobar: bool

    @property
    def sflr_pct(self) -> float:
        """Standardised remnant: 100 x remnant without tumour / (liver - tumour)."""
        return 100 * self.remnant_ml / (self.liver_ml - self.tumour_ml)


def measure(anatomy: Anatomy, labels: np.ndarray, organs: np.ndarray) -> Measured:
    """Measure a scan; ``labels`` and ``organs`` are the lesion and the anatomy label map, shape ``(z, y, x)``.

    Bilobar means voxels of metastases on both sides of the plane between the hemilivers.
    """
    voxel = anatomy.grid.voxel_ml
    sizes = measure_lesions(as_volume(labels, anatomy.grid))
    tumour = labels > 0
    x = np.broadcast_to(anatomy.grid.axes()[0], labels.shape)[tumour]
    return Measured(
        diameters_mm=dict(zip(sizes["lesion"].tolist(), sizes["longest_axial_mm"].tolist(), strict=True)),
        tumour_ml=float(tumour.sum()) * voxel,
        liver_ml=float((organs >= LIVER).sum()) * voxel,
        remnant_ml=float(((organs == REMNANT) & ~tumour).sum()) * voxel,
        bilobar=bool((x < anatomy.lobe_x).any() and (x >= anatomy.lobe_x).any()),
    )


def clinical_row(
    config: SimulationConfig, plan: Plan, truth: Truth, outcome: Outcome, first: Measured, restaging: Measured | None
) -> dict[str, object]:
    """One row of ``clinical.csv``; None is unknown. Cells of `OPTIONAL_CELLS` are blanked completely at random."""
    row = _baseline(plan, first) | _treatment(plan, first, restaging)
    row |= _postoperative(generator(config, plan.number, Stream.POSTOPERATIVE), plan, truth, outcome)
    row |= _outcomes(outcome)
    unknown = generator(config, plan.number, Stream.MISSING).random(len(OPTIONAL_CELLS)) < config.missing_fraction
    for columns, blank in zip(OPTIONAL_CELLS, unknown, strict=True):
        if blank:
            row |= dict.fromkeys(columns)
    return row


def response_category(before_mm: float, after_mm: float) -> str:
    """RECIST 1.1 category of target sums in mm (no new lesions; the first scan is the nadir).

    >>> response_category(100, 70), response_category(100, 119), response_category(100, 120), response_category(20, 24)
    ('PR', 'SD', 'PD', 'SD')
    """
    if after_mm == 0:
        return "CR"
    if after_mm - before_mm >= max(0.2 * before_mm, 5.0):
        return "PD"
    return "PR" if after_mm <= 0.7 * before_mm else "SD"


def _baseline(plan: Plan, first: Measured) -> dict[str, object]:
    chart_time = "baseline" if not plan.disease.resectable else "before_operation"
    diagnosis = ERA + dt.timedelta(days=plan.diagnosis_day)
    nodes = plan.primary_positive_nodes
    return {
        "patient_id": plan.patient_id,
        "assessed_at": chart_time,
        "age_years": plan.age_years,
        "sex": plan.sex,
        "bmi_kg_m2": plan.bmi_kg_m2,
        "ecog_ps": plan.ecog_ps,
        "primary_site": plan.primary_site,
        "primary_pt": plan.primary_pt,
        "primary_pn_category": "N0" if nodes == 0 else "N1" if nodes <= 3 else "N2",
        "primary_positive_nodes": nodes,
        "node_positive_primary": plan.node_positive,
        "primary_differentiation": plan.primary_differentiation,
        "primary_diagnosis_date": diagnosis.isoformat(),
        "crlm_diagnosis_date": (diagnosis + dt.timedelta(days=plan.dfi_days)).isoformat(),
        "dfi_months": plan.dfi_months,
        "synchronous_crlm": plan.dfi_days == 0,
        "n_liver_mets": len(first.diameters_mm),
        "largest_met_mm": round(max(first.diameters_mm.values()), 1),
        "bilobar": first.bilobar,
        "tumour_volume_ml": round(first.tumour_ml, 2),
        "cea_ng_ml": plan.cea_ng_ml,
        "ca19_9_u_ml": plan.ca19_9_u_ml,
        "kras_status": _mutation(plan.kras_mutant),
        "nras_status": _mutation(plan.nras_mutant),
        "ras_status": _mutation(plan.ras_mutant),
        "braf_v600e": _mutation(plan.braf_mutant),
        "msi_status": "MSI-H_dMMR" if plan.msi_high else "MSS_pMMR",
        "extrahepatic_status": plan.extrahepatic,
        "extrahepatic_present": plan.extrahepatic != "none",
        "initially_resectable": plan.disease.resectable,
        "flr_ml": round(first.remnant_ml, 1),
        "tlv_ml": round(first.liver_ml, 1),
        "sflr_pct": round(first.sflr_pct, 2),
        "liver_quality": plan.liver_quality,
        "albumin_g_l": plan.albumin_g_l,
        "bilirubin_mg_dl": plan.bilirubin_mg_dl,
        "crp_mg_l": plan.crp_mg_l,
        "nlr": plan.nlr,
    }


def _treatment(plan: Plan, first: Measured, restaging: Measured | None) -> dict[str, object]:
    """Chemotherapy and, where a restaging scan exists, the response on the two largest metastases of the first scan."""
    row: dict[str, object] = {
        "chemo_before_resection": plan.chemotherapy,
        "targeted_drug_used": plan.targeted_drug,
        "chemo_cycles": plan.chemo_cycles,
    }
    if restaging is None:
        return row | dict.fromkeys(_RESPONSE_COLUMNS)
    targets = sorted(first.diameters_mm, key=lambda k: -first.diameters_mm[k])[:2]
    before = round(sum(first.diameters_mm[k] for k in targets), 1)
    after = round(sum(restaging.diameters_mm.get(k, 0.0) for k in targets), 1)
    response = response_category(before, after)
    values = (
        response,
        response == "PD",
        before,
        after,
        False,
        round(first.tumour_ml, 2),
        round(restaging.tumour_ml, 2),
        round(plan.restaging_day / 7, 2),
    )
    return row | dict(zip(_RESPONSE_COLUMNS, values, strict=True))


def _postoperative(rng: np.random.Generator, plan: Plan, truth: Truth, outcome: Outcome) -> dict[str, object]:
    """Pathology of the resected. Vascular invasion follows the true hazard loosely, the rest is chance."""
    draws = rng.random(3)
    margin = round(float(-4.0 * np.log1p(-draws[0])), 1)
    invasion = 1 / (1 + np.exp(1.0 - 0.4 * truth.recurrence))
    viable = 100 * (1 - draws[2] * (0.7 if plan.chemotherapy else 0.2))
    row: dict[str, object] = {
        "complete_local_treatment": outcome.resected,
        "resection_margin_mm": margin,
        "margin_positive": margin < 1,
        "vascular_invasion": bool(draws[1] < invasion),
        "viable_tumour_pct": round(float(viable), 1),
    }
    return row if outcome.resected else dict.fromkeys(row) | {"complete_local_treatment": False}


def _outcomes(outcome: Outcome) -> dict[str, object]:
    return {
        "recurrence_any": outcome.recurrence,
        "rfs_months": outcome.rfs_months,
        "rfs_event": outcome.rfs_event,
        "recurrence_liver": outcome.liver_recurrence,
        "liver_rfs_months": outcome.liver_rfs_months,
        "liver_rfs_event": outcome.liver_rfs_event,
        "os_months": outcome.os_months,
        "os_event": outcome.os_event,
    }


def _mutation(mutant: bool) -> str:
    return "mutant" if mutant else "wild_type"
