"""A run folder with everything that a run can leave behind: the tables of ``run_folder`` and all that are optional."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from explained_tables import write_explanations
from run_folder import MODELS, RADIOMICS, RULES, edit_run, make_run_folder

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.evaluation.subgroups import subgroup_levels
from radiomics_crlm.evaluation.summary import evaluate_endpoint
from radiomics_crlm.features.ibsi import write_statement
from radiomics_crlm.features.profiles import load_profiles
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.study.uncertainty import COVERAGE, uncertainty_of

DRAWS = 100
CATEGORIES = (0.3, 0.6)
OPERATING = {"thresholds": [{"sensitivity": 0.9}, {"net_benefit": [0.2, 0.4]}]}
SUBGROUPS = {"sex": [], "age_years": [65.0], "bilobar": []}


def make_full_run_folder(out: Path, *, n: int = 130, seed: int = 3, **changes: Any) -> Path:
    """As ``make_run_folder``, with curves, subgroups, thresholds, refits, stability, a statement and answers."""
    full = {"subgroups": SUBGROUPS, "risk_categories": list(CATEGORIES), "operating": OPERATING}
    full |= {"endpoints": ["recurrence", "os"], "answer": {"clinical": "clinical", "combined": "combined"}}
    make_run_folder(out, n=n, seed=seed, **(full | changes))
    rng = np.random.default_rng(seed)
    endpoints = json.loads((out / "run.json").read_text(encoding="utf-8"))["experiment"]["endpoints"]
    outcomes = _saved(out, "outcomes")
    keys = list(dict.fromkeys(outcomes["patient_id"]))
    levels = subgroup_levels(_clinical(rng, keys).set_index("patient_id"), SUBGROUPS)
    evaluated = _evaluated(out, endpoints, levels)
    for name, table in evaluated.items():
        write_table(table, out / "tables" / f"{name}.parquet", name)
    made = {
        "sample_size": _sample_size(endpoints, n),
        "thresholds": _thresholds(rng, endpoints),
        "instability": _instability(rng, outcomes, endpoints),
        "features_patient": _features(rng, keys),
        "feature_stability": stability_table(rng),
        "answers": _answers(evaluated, endpoints),
        "conformal_coverage": _coverage(out, endpoints, levels),
    }
    for name, table in made.items():
        write_table(table, out / "tables" / f"{name}.parquet", name)
    write_explanations(out, rng)
    write_statement([load_profiles().for_scans()["CT/portal_venous"]], out / "tables")
    edit_run(out, versions={"radiomics_crlm": "0.0.1", "numpy": "2.4.6", "python": "3.11.7"})
    return out


def _saved(out: Path, name: str) -> pd.DataFrame:
    return read_table(out / "tables" / f"{name}.parquet", name)


def _clinical(rng: np.random.Generator, keys: list[str]) -> pd.DataFrame:
    n = len(keys)
    few = np.zeros(n, dtype=bool)
    few[:3] = True
    return pd.DataFrame(
        {
            "patient_id": keys,
            "sex": rng.choice(["female", "male"], n),
            "age_years": rng.normal(62, 9, n).round(),
            "bilobar": few,
        }
    )


def _evaluated(out: Path, endpoints: list[str], levels: pd.DataFrame) -> dict[str, pd.DataFrame]:
    definitions = load_endpoints()
    rules = _saved(out, "rules").pivot(index="patient_id", columns="rule", values="score")
    parts = [
        evaluate_endpoint(
            _saved(out, "predictions"), _saved(out, "outcomes"), _saved(out, "folds"), endpoint=name,
            horizon=definitions[name].horizon_months, kind=definitions[name].kind, seed=1, draws=DRAWS,
            rules=rules, levels=levels, categories=CATEGORIES,
        )
        for name in endpoints
    ]  # fmt: skip
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def _sample_size(endpoints: list[str], n: int) -> pd.DataFrame:
    rows = [
        {
            "endpoint": endpoint, "feature_set": name, "n": n, "events": 80, "parameters": inputs,
            "events_per_parameter": 80 / inputs, "overall_risk": 0.46, "timepoint_months": 24.0, "r2_max": 0.75,
            "r2_anticipated": 0.1125, "shrinkage_wanted": 0.9, "n_shrinkage": needed, "n_optimism": needed // 3,
            "n_precision": 385, "n_required": max(needed, 385), "shrinkage_expected": 0.61, "sufficient": False,
        }
        for endpoint in endpoints
        for name, inputs, needed in (("clinical", 7, 540), ("radiomics", 16, 1204), ("combined", 23, 1731))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _thresholds(rng: np.random.Generator, endpoints: list[str]) -> pd.DataFrame:
    rows = [
        {
            "endpoint": endpoint, "model": model, "repeat": repeat, "fold": fold, "rule": rule, "months": 24.0,
            "threshold": np.nan if fold == 4 and rule.startswith("net") else rng.uniform(0.2, 0.4),
            "sensitivity_inner": rng.uniform(0.88, 0.95), "specificity_inner": rng.uniform(0.3, 0.5),
            "sensitivity": rng.uniform(0.7, 0.95), "specificity": rng.uniform(0.2, 0.5),
            "flagged": rng.uniform(0.5, 0.8), "n": int(rng.integers(28, 36)),
        }
        for endpoint in endpoints
        for model in MODELS
        for repeat in range(2)
        for fold in range(5)
        for rule in ("sensitivity of at least 0.9", "net benefit from 0.2 to 0.4")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _instability(rng: np.random.Generator, outcomes: pd.DataFrame, endpoints: list[str]) -> pd.DataFrame:
    parts = []
    for endpoint in endpoints:
        keys = outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"]
        prediction = rng.beta(2, 3, len(keys))
        spread = rng.uniform(0.03, 0.2, len(keys))
        mean = np.clip(prediction + rng.normal(scale=0.01, size=len(keys)), 0, 1)
        parts.append(
            pd.DataFrame(
                {
                    "endpoint": endpoint, "model": "combined/ridge", "horizon_months": 24.0, "patient_id": keys,
                    "prediction": prediction, "mean": mean,
                    "lower": np.clip(prediction - spread, 0, 1), "upper": np.clip(prediction + spread, 0, 1),
                    "mape": spread / 2.5, "reclassified": rng.uniform(0, 0.3, len(keys)), "draws": 200,
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _coverage(out: Path, endpoints: list[str], levels: pd.DataFrame) -> pd.DataFrame:
    predictions, outcomes = _saved(out, "predictions"), _saved(out, "outcomes")
    parts = []
    for endpoint in endpoints:
        own = predictions[(predictions["endpoint"] == endpoint) & (predictions["model"] == "combined/ridge")]
        known = outcomes[outcomes["endpoint"] == endpoint]
        _, rows = uncertainty_of(
            own, known, pd.DataFrame(), load_endpoints()[endpoint], (12, 24, 36), levels=levels
        )  # fmt: skip
        parts.append(rows.assign(endpoint=endpoint, model="combined/ridge")[COVERAGE])
    return pd.concat(parts, ignore_index=True)


def _features(rng: np.random.Generator, keys: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(
        {"patient_id": keys, "timepoint": "preoperative", "modality": "CT", "sequence": "portal_venous"}
    )
    table["burden__total_volume_ml"] = rng.lognormal(2, 1, len(keys))
    return table.assign(**{name: rng.normal(size=len(keys)) for name in RADIOMICS})


def stability_table(rng: np.random.Generator) -> pd.DataFrame:
    names = [f"lesion__{name.partition('__')[2]}" for name in RADIOMICS[: len(RADIOMICS) // 2]]
    names += [f"lesion__original_glszm_{name}" for name in ("ZoneEntropy", "SmallAreaEmphasis", "GrayLevelVariance")]
    rows = []
    for k, name in enumerate(names):
        icc = float(rng.uniform(0.6, 0.99) ** 0.5)
        rows.append(
            {
                "modality": "CT", "sequence": "portal_venous", "raters": "perturbations", "feature": name, "icc2": icc,
                "icc2_lower": icc - 0.08, "icc2_upper": min(icc + 0.05, 1.0), "icc3": icc, "icc3_lower": icc - 0.08,
                "icc3_upper": min(icc + 0.05, 1.0), "lesions": 90, "n_raters": 8, "flag": None,
                "stable": icc - 0.08 >= 0.75, "bound": 0.75, "volume_spearman": float(rng.uniform(-1, 1)),
                "volume_lower": -1.0, "volume_upper": 1.0, "shuffled_spearman": float(rng.uniform(0.3, 1)),
                "elsewhere_spearman": None if k == 0 else float(rng.uniform(-0.2, 0.9)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _answers(evaluated: dict[str, pd.DataFrame], endpoints: list[str]) -> pd.DataFrame:
    metrics = evaluated["metrics"].set_index(["endpoint", "model", "metric"])
    arms = {"rules": "fong_crs", "clinical": "clinical/ridge", "radiomics": None, "combined": "combined/ridge"}
    arms |= {"volume_only": None, "negative_control": None, "permuted_outcome": None}
    rows = []
    for endpoint in endpoints:
        for arm, model in arms.items():
            row: dict[str, Any] = {"endpoint": endpoint, "arm": arm, "model": model, "verdict": "absent"}
            if model is None:
                rows.append(row | {"reason": "the experiment names no feature set for it"})
                continue
            found = metrics.loc[(endpoint, model, "c_index")]
            row |= {"metric": "c_index", "verdict": "no_evidence", "method": "invented", "difference": 0.012}
            row |= {k: found[k] for k in ("estimate", "lower", "upper", "n", "events")}
            row |= {"difference_lower": -0.031, "difference_upper": 0.055, "p_value": 0.58}
            rows.append(row | {"reference": "clinical/ridge" if arm == "combined" else next(iter(RULES))})
    return pd.DataFrame(rows)
