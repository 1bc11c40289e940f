"""What is true of a simulated patient before any image is made: latent texture, disease, chart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.phantom.settings import SimulationConfig, Stream, generator

MAX_LESIONS = 12
SMALLEST_MM, LARGEST_MM = 8.0, 70.0


@dataclass(frozen=True)
class Disease:
    """The liver metastases as planned: the images realise them, the chart then measures the images.

    ``diameters_mm`` are the longest axial diameters, largest first; ``sflr_pct`` is the planned standardised remnant in
    per cent; ``remnant_left`` says on which side of the cut the remnant lies.
    """

    diameters_mm: tuple[float, ...]
    resectable: bool
    sflr_pct: float
    remnant_left: bool

    @property
    def count(self) -> int:
        """Number of metastases."""
        return len(self.diameters_mm)

    @property
    def volume_ml(self) -> float:
        """Volume in mL, were all metastases spheres."""
        return float(sum(np.pi / 6 * d**3 for d in self.diameters_mm) / 1000)


@dataclass(frozen=True)
class Plan:
    """One patient before imaging, outcome and missing values. ``texture`` is the latent variable, standard normal."""

    number: int
    texture: float
    disease: Disease
    age_years: float
    sex: str
    bmi_kg_m2: float
    ecog_ps: int
    primary_site: str
    primary_pt: int
    primary_positive_nodes: int
    primary_differentiation: str
    dfi_days: int
    diagnosis_day: int
    cea_ng_ml: float
    ca19_9_u_ml: float
    kras_mutant: bool
    nras_mutant: bool
    braf_mutant: bool
    msi_high: bool
    extrahepatic: str
    chemotherapy: bool
    targeted_drug: bool
    chemo_cycles: int
    liver_quality: str
    albumin_g_l: float
    bilirubin_mg_dl: float
    crp_mg_l: float
    nlr: float
    has_mr: bool
    mr_study_day: int
    restaging_day: int
    operation_delay_days: int

    @property
    def patient_id(self) -> str:
        """Key of the patient."""
        return f"SIM-{self.number + 1:04d}"

    @property
    def ras_mutant(self) -> bool:
        """KRAS or NRAS mutant."""
        return self.kras_mutant or self.nras_mutant

    @property
    def node_positive(self) -> bool:
        """Any positive regional node of the primary."""
        return self.primary_positive_nodes > 0

    @property
    def dfi_months(self) -> float:
        """Disease-free interval in months of 30.4375 days, as the chart gives it (two decimals)."""
        return round(self.dfi_days / 30.4375, 2)


def draw_plan(config: SimulationConfig, number: int) -> Plan:
    """Draw patient ``number`` (from 0). The latent texture is independent of everything else in the plan."""
    texture = float(generator(config, number, Stream.TEXTURE).standard_normal())
    rng = generator(config, number, Stream.CHART)
    disease = _draw_disease(rng, config)
    chart: dict[str, object] = {}
    for part in (_draw_person, _draw_primary, _draw_molecular):
        chart |= part(rng)
    chart |= _draw_blood(rng, disease)
    chart |= _draw_therapy(rng, disease)
    chart |= {
        "has_mr": bool(rng.random() < config.mr_fraction),
        "mr_study_day": int(rng.integers(0, 8)),
        "restaging_day": int(rng.integers(50, 64)),
        "operation_delay_days": int(rng.integers(14, 43)),
    }
    return Plan(number=number, texture=texture, disease=disease, **chart)  # type: ignore[arg-type]


def _draw_disease(rng: np.random.Generator, config: SimulationConfig) -> Disease:
    """Heavy-tailed number (log-normal, rounded down), log-normal size; more and larger disease when unresectable."""
    resectable = bool(rng.random() >= config.unresectable_fraction)
    count = int(np.clip(np.floor(np.exp(rng.normal(0.55 if resectable else 1.35, 0.75))), 1, MAX_LESIONS))
    largest = float(np.clip(np.exp(rng.normal(np.log(27 if resectable else 36), 0.42)), 10.0, LARGEST_MM))
    others = np.maximum(SMALLEST_MM, largest * rng.uniform(0.25, 0.92, size=count - 1))
    diameters = (largest, *sorted((float(d) for d in others), reverse=True))
    remnant = float(rng.uniform(35, 65) if resectable else rng.uniform(20, 45))
    return Disease(diameters, resectable, remnant, bool(rng.random() < 0.65))


def _draw_person(rng: np.random.Generator) -> dict[str, object]:
    return {
        "age_years": float(np.clip(np.round(rng.normal(63, 11)), 30, 88)),
        "sex": _pick(rng, {"male": 0.6, "female": 0.4}),
        "bmi_kg_m2": float(np.clip(np.round(rng.normal(26.5, 4.2), 1), 17, 44)),
        "ecog_ps": int(_pick(rng, {"0": 0.62, "1": 0.32, "2": 0.06})),
        "liver_quality": _pick(
            rng, {"normal": 0.55, "steatosis": 0.25, "sos": 0.1, "cash": 0.05, "prolonged_chemo": 0.05}
        ),
    }


def _draw_primary(rng: np.random.Generator) -> dict[str, object]:
    synchronous = rng.random() < 0.55
    later = max(20, int(rng.gamma(1.4, 15.0) * 30.4375))
    return {
        "primary_site": _pick(rng, {"right_colon": 0.28, "left_colon": 0.42, "rectum": 0.3}),
        "primary_pt": int(_pick(rng, {"1": 0.04, "2": 0.13, "3": 0.61, "4": 0.22})),
        "primary_positive_nodes": int(rng.negative_binomial(1, 0.28)) if rng.random() < 0.78 else 0,
        "primary_differentiation": _pick(rng, {"well": 0.12, "moderate": 0.73, "poor": 0.15}),
        "dfi_days": 0 if synchronous else min(later, 3000),
        # Day of an arbitrary era: dates are shifted, only their differences mean anything.
        "diagnosis_day": int(rng.integers(0, 3650)),
    }


def _draw_molecular(rng: np.random.Generator) -> dict[str, object]:
    """KRAS 40 %, NRAS 4 %, BRAF V600E only without RAS mutation; microsatellite instability is rare."""
    kras = rng.random() < 0.40
    nras = not kras and rng.random() < 0.07
    braf = not kras and not nras and rng.random() < 0.09
    return {
        "kras_mutant": bool(kras),
        "nras_mutant": bool(nras),
        "braf_mutant": bool(braf),
        "msi_high": bool(rng.random() < (0.2 if braf else 0.03)),
    }


def _draw_blood(rng: np.random.Generator, disease: Disease) -> dict[str, object]:
    burden = np.log(disease.volume_ml / 15)
    crp = float(np.round(np.exp(rng.normal(1.2 + 0.15 * burden, 0.9)), 1))
    return {
        "cea_ng_ml": float(np.clip(np.round(np.exp(rng.normal(2.6 + 0.35 * burden, 1.15)), 1), 0.3, 20000)),
        "ca19_9_u_ml": float(np.clip(np.round(np.exp(rng.normal(3.0 + 0.2 * burden, 1.2)), 1), 0.6, 50000)),
        "albumin_g_l": float(np.clip(np.round(rng.normal(41 - 0.6 * burden, 3.5), 1), 22, 52)),
        "bilirubin_mg_dl": float(np.clip(np.round(np.exp(rng.normal(-0.6, 0.35)), 2), 0.2, 5)),
        "crp_mg_l": min(max(crp, 0.2), 200.0),
        "nlr": float(np.clip(np.round(np.exp(rng.normal(1.0, 0.45)), 2), 0.5, 25)),
    }


def _draw_therapy(rng: np.random.Generator, disease: Disease) -> dict[str, object]:
    chemotherapy = bool(not disease.resectable or rng.random() < 0.4)
    targeted = bool(rng.random() < (0.2 if disease.resectable else 0.6))
    cycles = int(rng.integers(3, 7) if disease.resectable else rng.integers(4, 7))
    extra = {"none": 0.9, "resectable": 0.1} if disease.resectable else {"none": 0.8, "resectable": 0.2}
    return {
        "extrahepatic": _pick(rng, extra),
        "chemotherapy": chemotherapy,
        "targeted_drug": chemotherapy and targeted,
        "chemo_cycles": cycles if chemotherapy else 0,
    }


def _pick(rng: np.random.Generator, chances: dict[str, float]) -> str:
    return str(rng.choice(list(chances), p=list(chances.values())))
