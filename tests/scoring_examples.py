"""Small models, bundles and cohorts for the tests of scoring; the numbers of the models are chosen by hand."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.modelling.boosting import BoosterSettings, booster_to_json, train_booster
from radiomics_crlm.modelling.columns import ColumnSpec, encode
from radiomics_crlm.modelling.design import InputSpec, ScanSelection, assemble
from radiomics_crlm.modelling.frozen import FrozenModel
from radiomics_crlm.modelling.risk import Baseline
from radiomics_crlm.schema import load_schema, parse_table
from radiomics_crlm.scoring.bundle import Bundle, BundleContent, Extraction, describe_training

CLINICAL = (
    InputSpec("cea_ng_ml", "clinical", "number", (), True, "baseline"),
    InputSpec("largest_met_mm", "clinical", "number", (), False, "baseline"),
    InputSpec("n_liver_mets", "clinical", "number", (), False, "baseline"),
    InputSpec("bilobar", "clinical", "boolean", (), False, "baseline"),
    InputSpec("primary_site", "clinical", "category", ("right_colon", "left_colon", "rectum"), False, "baseline"),
)
RADIOMICS = (
    InputSpec("burden__total_volume_ml", "radiomics", "number", (), True, "preoperative"),
    InputSpec("largest__original_glcm_Contrast", "radiomics", "number", (), False, "preoperative"),
    InputSpec("largest__original_shape_Sphericity", "radiomics", "number", (), False, "preoperative"),
)
RULES = ("fong_crs", "tbs2018")
HOW_MADE = {"settings_hash": "0123456789abcdef", "engine": "pyradiomics-bhklab 3.1.4"}
SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]


def clinical_raw(rows: int, *, seed: int = 0) -> pd.DataFrame:
    """A clinical table as it comes from a CSV file: all text, some cells empty."""
    rng = np.random.default_rng(seed)

    def some(cells: Sequence[Any]) -> list[str]:
        return [str(cell) if keep else "" for cell, keep in zip(cells, rng.random(rows) > 0.15, strict=True)]

    return pd.DataFrame(
        {
            "patient_id": [f"P{i:04d}" for i in range(rows)],
            "cea_ng_ml": some(np.exp(rng.normal(3, 1.2, rows)).round(2)),
            "largest_met_mm": some(rng.uniform(8, 90, rows).round(1)),
            "n_liver_mets": some(rng.integers(1, 9, rows)),
            "bilobar": some(rng.choice(["yes", "no"], rows)),
            "primary_site": some(rng.choice(["right_colon", "left_colon", "rectum"], rows)),
            "node_positive_primary": some(rng.choice(["yes", "no"], rows)),
            "dfi_months": some(rng.choice(["0", "8", "30"], rows)),
        }
    )


def features(raw: pd.DataFrame, *, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``features_patient`` and ``features_lesion`` (bookkeeping only) of one preoperative CT per patient."""
    rng = np.random.default_rng(seed)
    patient = pd.DataFrame({"patient_id": raw["patient_id"].tolist()}).assign(
        timepoint="preoperative", modality="CT", sequence="portal_venous"
    )
    lesion = patient[SCAN_KEY].assign(lesion=1, **HOW_MADE)
    patient["burden__total_volume_ml"] = np.exp(rng.normal(3, 1, len(raw)))
    patient["largest__original_glcm_Contrast"] = rng.normal(20, 5, len(raw))
    patient["largest__original_shape_Sphericity"] = rng.uniform(0.4, 0.9, len(raw))
    return patient, lesion


def columns_of(inputs: Sequence[InputSpec]) -> tuple[ColumnSpec, ...]:
    return tuple(ColumnSpec(s.name, s.kind, s.categories, s.log) for s in inputs)


def training_table(inputs: Sequence[InputSpec], *, rows: int = 150, seed: int = 2) -> pd.DataFrame:
    raw = clinical_raw(rows, seed=seed)
    typed = parse_table(raw, load_schema("clinical")).table
    patient, _ = features(raw, seed=seed)
    return assemble(typed, patient, inputs, ScanSelection("CT", "portal_venous"), speaks_at="preoperative")


def model(
    inputs: Sequence[InputSpec] = CLINICAL, *, learner: str = "ridge", horizon: float | None = None
) -> FrozenModel:
    """A frozen model with hand-made numbers (trees: fitted to noise)."""
    columns = columns_of(inputs)
    encoded = encode(training_table(inputs), columns)
    width = encoded.shape[1]
    rng = np.random.default_rng(width)
    fill = np.nanmedian(encoded, axis=0)
    size = width + 1  # and the missingness indicator of the first input
    booster = None
    if learner == "xgboost":
        X = rng.normal(size=(200, size))
        label = (X[:, 0] + X[:, 1] + rng.normal(size=200) > 0).astype(float)
        settings = BoosterSettings(rounds=12, depth=2, min_child_weight=1.0)
        objective = "survival:cox" if horizon is None else "binary:logistic"
        label = np.where(label == 1, 1.0, -1.0) * (1 + np.arange(200)) if horizon is None else label
        booster = booster_to_json(train_booster(X, label, np.ones(200), objective=objective, settings=settings, seed=0))
    months = np.array([2.0, 7.5, 13.0, 21.0, 30.0, 41.0])
    return FrozenModel(
        columns=columns,
        horizon=horizon,
        fill=fill,
        indicators=np.array([0]),
        selected=np.arange(size),
        mean=np.append(fill, 0.15),
        scale=np.linspace(0.7, 3.1, size),
        coefficients=None if booster else np.linspace(-0.4, 0.9, size),
        intercept=-0.3 if horizon is not None and booster is None else 0.0,
        input_mean=None if booster else np.zeros(size),
        baseline=None if horizon is not None else Baseline(months, np.full(6, 0.06), np.full(6, 0.02), 60.0),
        booster=booster,
    )


def content(inputs: Sequence[InputSpec] = CLINICAL, *, horizon: float | None = None, **changes: Any) -> BundleContent:
    endpoint = "recurrence" if horizon is None else f"recurrence_{horizon:.0f}m"
    radiomics = any(spec.source == "radiomics" for spec in inputs)
    made = Extraction(profile="ct-portal-venous", settings={"bin_width": 25.0}, **HOW_MADE)
    known: dict[str, Any] = {
        "name": "example",
        "title": "An example",
        "endpoint": endpoint,
        "definition": load_endpoints()[endpoint],
        "model": "clinical/ridge",
        "speaks_at": "preoperative",
        "inputs": tuple(inputs),
        "scans": ScanSelection("CT", "portal_venous") if radiomics else None,
        "extraction": made if radiomics else None,
        "training": describe_training(training_table(inputs), inputs, events=60),
        "horizons": (12, 24, 36) if horizon is None else (int(horizon),),
        "rules": RULES,
        "versions": {"radiomics_crlm": "0.0.1"},
    }
    return BundleContent(**(known | changes))


@functools.cache
def bundle(inputs: tuple[InputSpec, ...] = CLINICAL, *, learner: str = "ridge", horizon: float | None = None) -> Bundle:
    """A bundle that was never on disk."""
    return Bundle(content(inputs, horizon=horizon), model(inputs, learner=learner, horizon=horizon), "0" * 64)
