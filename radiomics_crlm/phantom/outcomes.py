"""The data-generating model of the outcomes, and a fast simulation of charts and outcomes without images.

``docs/simulation.md`` states the model in words and gives its measured properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from radiomics_crlm.phantom.patients import Plan, draw_plan
from radiomics_crlm.phantom.settings import SimulationConfig, Stream, generator

DAYS_PER_MONTH = 30.4375
HORIZON_MONTHS = 24.0
# Log ratio of diameters at restaging.
RESPONSE_MEAN, RESPONSE_PER_CONVERSION_LOGIT, RESPONSE_SD = -0.25, -0.07, 0.2

RECURRENCE_COEFFICIENTS: Mapping[str, float] = MappingProxyType(
    {
        "node_positive": 0.8,
        "dfi_below_12": 0.7,
        "log2_count": 0.45,
        "log2_size": 0.55,
        "log_cea": 0.3,
        "ras_mutant": 0.7,
    }
)
"""Log hazard ratios of recurrence (times ``clinical_effect``)."""

CONVERSION_COEFFICIENTS: Mapping[str, float] = MappingProxyType(
    {
        "log2_count": -0.5,
        "log2_size": -0.5,
        "ras_mutant": -0.6,
        "braf_mutant": -1.0,
        "targeted_drug": 0.7,
        "sflr_per_10": 0.5,
    }
)
"""Log odds ratios of conversion (times ``clinical_effect``)."""

CENTRES: Mapping[str, float] = MappingProxyType(
    {
        "node_positive": 0.55,
        "dfi_below_12": 0.70,
        "log2_count": 1.0,
        "log2_size": 0.0,
        "log_cea": 0.0,
        "ras_mutant": 0.45,
        "braf_mutant": 0.05,
        "targeted_drug": 0.6,
        "sflr_per_10": 3.25,
    }
)
"""Subtracted from each covariate, so that switching an effect off moves the average risk little."""


@dataclass(frozen=True)
class Hazards:
    """Baseline rates per month and censoring of the outcome model (exponential times)."""

    recurrence: float = 0.056
    conversion_intercept: float = 0.5
    death_without_recurrence: float = 0.0034
    death_per_year_of_age: float = 0.05
    death_after_recurrence: float = 0.027
    death_unresected: float = 0.043
    death_unresected_per_conversion_logit: float = -0.25
    administrative_months: tuple[float, float] = (30.0, 72.0)
    loss_to_follow_up: float = 0.00214


HAZARDS = Hazards()


@dataclass(frozen=True)
class Outcome:
    """What happens to a patient. Times are months of 30.4375 days; None means that the question does not arise.

    ``rfs_months`` counts from the operation, ``os_months`` from the first scan (day 0) for everybody.
    """

    resected: bool
    operation_day: int | None
    os_months: float
    os_event: bool
    recurrence: bool | None = None
    rfs_months: float | None = None
    rfs_event: bool | None = None
    liver_recurrence: bool | None = None
    liver_rfs_months: float | None = None
    liver_rfs_event: bool | None = None


@dataclass(frozen=True)
class Truth:
    """Linear predictors and true risks of a patient; never an input of the pipeline."""

    recurrence_texture: float
    recurrence_clinical: float
    conversion_texture: float
    conversion_clinical: float
    conversion_probability: float | None
    recurrence_24m_risk: float

    @property
    def recurrence(self) -> float:
        """Log hazard ratio of recurrence against the baseline hazard."""
        return self.recurrence_texture + self.recurrence_clinical

    @property
    def conversion(self) -> float:
        """Log odds of conversion without the intercept."""
        return self.conversion_texture + self.conversion_clinical


def covariates(plan: Plan) -> dict[str, float]:
    """Covariates of the outcome model, from the planned disease and the complete chart (uncentred)."""
    return {
        "node_positive": float(plan.node_positive),
        "dfi_below_12": float(plan.dfi_months < 12),
        "log2_count": float(np.log2(plan.disease.count)),
        "log2_size": float(np.log2(plan.disease.diameters_mm[0] / 30)),
        "log_cea": float(np.log(plan.cea_ng_ml / 15)),
        "ras_mutant": float(plan.ras_mutant),
        "braf_mutant": float(plan.braf_mutant),
        "targeted_drug": float(plan.targeted_drug),
        "sflr_per_10": plan.disease.sflr_pct / 10,
    }


def true_risks(config: SimulationConfig, plan: Plan) -> Truth:
    """Linear predictors, probability of conversion and cumulative incidence of recurrence 24 months after resection."""
    x = covariates(plan)
    clinical = {
        name: config.clinical_effect * sum(b * (x[k] - CENTRES[k]) for k, b in coefficients.items())
        for name, coefficients in (("recurrence", RECURRENCE_COEFFICIENTS), ("conversion", CONVERSION_COEFFICIENTS))
    }
    texture = config.texture_effect * plan.texture
    logit = HAZARDS.conversion_intercept - texture + clinical["conversion"]
    recur = HAZARDS.recurrence * np.exp(texture + clinical["recurrence"])
    total = recur + death_rate(plan)
    return Truth(
        recurrence_texture=texture,
        recurrence_clinical=clinical["recurrence"],
        conversion_texture=-texture,
        conversion_clinical=clinical["conversion"],
        conversion_probability=None if plan.disease.resectable else float(1 / (1 + np.exp(-logit))),
        recurrence_24m_risk=float(recur / total * -np.expm1(-total * HORIZON_MONTHS)),
    )


def log_diameter_ratio(rng: np.random.Generator, truth: Truth) -> float:
    """Log of the ratio of lesion diameters at restaging to the first scan: better odds, more shrinkage."""
    return float(RESPONSE_MEAN + RESPONSE_PER_CONVERSION_LOGIT * truth.conversion + RESPONSE_SD * rng.standard_normal())


def death_rate(plan: Plan) -> float:
    """Hazard per month of death without recurrence after resection."""
    return float(HAZARDS.death_without_recurrence * np.exp(HAZARDS.death_per_year_of_age * (plan.age_years - 63)))


def draw_outcome(config: SimulationConfig, plan: Plan, truth: Truth) -> Outcome:
    """Draw conversion, follow-up and events of one patient. Censoring is independent of all covariates."""
    rng = generator(config, plan.number, Stream.OUTCOME)
    draws = rng.random(8)
    follow_up = min(
        HAZARDS.administrative_months[0] + draws[0] * np.subtract(*HAZARDS.administrative_months[::-1]),
        _exponential(draws[1], HAZARDS.loss_to_follow_up),
    )
    resected = plan.disease.resectable or bool(draws[2] < (truth.conversion_probability or 0.0))
    if not resected:
        rate = HAZARDS.death_unresected * np.exp(HAZARDS.death_unresected_per_conversion_logit * truth.conversion)
        death = _exponential(draws[3], rate)
        return Outcome(False, None, _months(min(death, follow_up)), bool(death <= follow_up))
    day = plan.operation_delay_days + (0 if plan.disease.resectable else plan.restaging_day)
    recurrence = _exponential(draws[4], HAZARDS.recurrence * np.exp(truth.recurrence))
    death = _exponential(draws[5], death_rate(plan))
    if recurrence < death:
        death = recurrence + _exponential(draws[6], HAZARDS.death_after_recurrence)
    return _resected_outcome(day, recurrence, death, follow_up, in_liver=bool(draws[7] < 0.65))


def _resected_outcome(day: int, recurrence: float, death: float, follow_up: float, *, in_liver: bool) -> Outcome:
    """Observed quantities from the latent times after the operation."""
    recurred = recurrence < death and recurrence <= follow_up
    died = death <= follow_up
    last = min(death, follow_up)
    in_liver = recurred and in_liver
    return Outcome(
        resected=True,
        operation_day=day,
        os_months=round(_months(last) + _months(day / DAYS_PER_MONTH), 2),
        os_event=bool(died),
        recurrence=bool(recurred),
        rfs_months=_months(recurrence if recurred else last),
        rfs_event=bool(recurred or died),
        liver_recurrence=in_liver,
        liver_rfs_months=_months(recurrence if in_liver else last),
        liver_rfs_event=bool(in_liver or died),
    )


def _months(value: float) -> float:
    """Two decimals, and at least one day: an interval of zero length has no meaning in a survival analysis."""
    return max(round(float(value), 2), 0.03)


def _exponential(uniform: float, rate: float) -> float:
    return float(-np.log1p(-uniform) / rate)


def simulate_outcomes(config: SimulationConfig) -> pd.DataFrame:
    """Charts' covariates, true risks and outcomes of a whole cohort, without images (some thousand patients a second).

    The rows are those of ``truth_patients.csv`` of the same configuration.

    Returns
    -------
    pandas.DataFrame
        One row per patient: ``patient_id``, ``texture``, the covariates of the outcome model, linear predictors, true
        risks (``recurrence_24m_risk`` is given resection), and the outcome columns of `Outcome`.
    """
    return pd.DataFrame([truth_row(config, draw_plan(config, number)) for number in range(config.patients)])


def truth_row(config: SimulationConfig, plan: Plan) -> dict[str, object]:
    """One row of `simulate_outcomes`."""
    truth = true_risks(config, plan)
    outcome = draw_outcome(config, plan, truth)
    return {
        "patient_id": plan.patient_id,
        "texture": plan.texture,
        "initially_resectable": plan.disease.resectable,
        "age_years": plan.age_years,
        **covariates(plan),
        "recurrence_lp": truth.recurrence,
        "recurrence_lp_texture": truth.recurrence_texture,
        "recurrence_lp_clinical": truth.recurrence_clinical,
        "conversion_lp": truth.conversion,
        "conversion_lp_texture": truth.conversion_texture,
        "conversion_lp_clinical": truth.conversion_clinical,
        "conversion_probability": truth.conversion_probability,
        "recurrence_24m_risk": truth.recurrence_24m_risk,
        **vars(outcome),
    }
