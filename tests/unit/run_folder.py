"""Makes a run folder with consistent tables of invented patients, as the study runner leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import ExperimentConfig, load_endpoints
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.provenance.tables import write_table

ENDPOINTS = ("recurrence", "os", "recurrence_24m")
CLINICAL = (
    "age_years",
    "cea_ng_ml",
    "n_liver_mets",
    "largest_met_mm",
    "node_positive_primary",
    "bilobar",
    "primary_site",
)
RADIOMICS = tuple(
    f"{aggregate}__{image}_{feature}"
    for aggregate in ("largest", "weighted")
    for image in ("original", "log-sigma-2-0-mm-3D")
    for feature in ("firstorder_Entropy", "firstorder_Mean", "glcm_Contrast", "glcm_JointEntropy")
)
MODELS = {"clinical/ridge": 0.9, "radiomics/ridge": 0.25, "combined/ridge": 1.0, "combined/xgboost": 0.7}
RULES = {"fong_crs": "Fong clinical risk score", "tbs2018": "Tumour burden score"}
REPEATS, FOLDS, DRAWS = 2, 5, 200


def experiment(**changes: Any) -> dict[str, Any]:
    """A valid experiment."""
    content: dict[str, Any] = {
        "name": "invented",
        "title": "Recurrence and survival after resection of colorectal liver metastases",
        "question": "Does a radiomics model known before the operation do better than the Fong score?",
        "cohort": {"kind": "folder"},
        "endpoints": list(ENDPOINTS),
        "feature_sets": {
            "clinical": {"title": "Clinical", "columns": list(CLINICAL)},
            "radiomics": {"title": "Radiomics", "radiomics": {}},
            "combined": {"title": "Combined", "columns": list(CLINICAL), "radiomics": {}},
        },
        "learners": ["ridge", "xgboost"],
        "design": {"outer_folds": FOLDS, "repeats": REPEATS, "seed": 20},
        "rules": list(RULES),
        "comparators": ["fong_crs"],
        "reported_scores": [],
        "deliver": {"recurrence": "combined/ridge", "os": "combined/ridge"},
        "cautions": ["The cohort comes from one hospital."],
    }
    content |= changes
    content["deliver"] = {name: model for name, model in content["deliver"].items() if name in content["endpoints"]}
    return ExperimentConfig.model_validate(content).model_dump(mode="json")


def make_run_folder(out: Path, *, n: int = 180, seed: int = 7, **changes: Any) -> Path:
    """Write ``run.json`` and all tables; ``changes`` replace keys of the experiment."""
    rng = np.random.default_rng(seed)
    keys = [f"QX-{k:04d}-ZW" for k in rng.permutation(9000)[:n] + 1000]
    signal = rng.normal(size=n)
    outcomes = _outcomes(rng, keys, signal)
    folds = _folds(rng, keys)
    scores = _rules(rng, keys, signal)
    predictions = _predictions(rng, outcomes, folds, dict(zip(keys, signal, strict=True)))
    metrics, comparisons = _performance(outcomes, predictions, folds, scores)
    tables = {
        "outcomes": outcomes,
        "folds": folds,
        "predictions": predictions,
        "metrics": metrics,
        "comparisons": comparisons,
        "attributions": _attributions(rng, outcomes),
        "rules": scores,
        "exclusions": _exclusions(outcomes, keys),
    }
    for name, table in tables.items():
        write_table(table, out / "tables" / f"{name}.parquet", name)
    run = _run(experiment(**changes), tables, keys)
    (out / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return out


def edit_run(out: Path, **parts: Any) -> None:
    """Replace parts of ``run.json``."""
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (out / "run.json").write_text(json.dumps(run | parts), encoding="utf-8")


def _outcomes(rng: np.random.Generator, keys: list[str], signal: np.ndarray) -> pd.DataFrame:
    n = len(keys)
    recurrence, death = rng.exponential(32 * np.exp(-0.6 * signal)), rng.exponential(70 * np.exp(-0.4 * signal))
    leaving = rng.uniform(10, 110, size=n)
    first = np.minimum(recurrence, np.minimum(death, leaving))
    code = np.where(first == recurrence, 1, np.where(first == death, 2, 0))
    parts = []
    for endpoint in ENDPOINTS:
        event = (death <= leaving).astype(int) if endpoint == "os" else code
        months = np.minimum(death, leaving) if endpoint == "os" else first
        kept = n if endpoint == "os" else n - 3
        parts.append(
            pd.DataFrame({"patient_id": keys, "endpoint": endpoint, "event": event, "months": months.round(1)}).head(
                kept
            )
        )
    return pd.concat(parts, ignore_index=True)


def _folds(rng: np.random.Generator, keys: list[str]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"patient_id": keys, "repeat": r, "fold": rng.permutation(np.arange(len(keys)) % FOLDS)})
        for r in range(REPEATS)
    ]
    return pd.concat(parts, ignore_index=True)


def _predictions(
    rng: np.random.Generator, outcomes: pd.DataFrame, folds: pd.DataFrame, signal: dict[str, float]
) -> pd.DataFrame:
    parts = []
    for endpoint in ENDPOINTS:
        patients = outcomes.loc[outcomes["endpoint"] == endpoint, ["patient_id"]]
        for model, share in MODELS.items():
            rows = patients.merge(folds, on="patient_id")
            truth = rows["patient_id"].map(signal).to_numpy()
            risk = 0.6 * share * truth + rng.normal(scale=0.35, size=len(rows))
            base = {"recurrence_24m": {24: 0.0}, "os": {12: -2.0, 24: -1.2, 36: -0.6}}.get(
                endpoint, {12: -1.0, 24: -0.2, 36: 0.2}
            )
            columns = {
                f"probability_{m}m": 1 / (1 + np.exp(-(base[m] + risk))) if m in base else np.nan for m in (12, 24, 36)
            }
            parts.append(rows.assign(endpoint=endpoint, model=model, risk=risk, **columns))
    return pd.concat(parts, ignore_index=True)


def _rules(rng: np.random.Generator, keys: list[str], signal: np.ndarray) -> pd.DataFrame:
    parts = []
    for rule in RULES:
        score = np.clip(np.round(2 + signal * 0.6 + rng.normal(scale=1.0, size=len(keys))), 0, 5)
        unknown = rng.random(len(keys)) < (0.15 if rule == "fong_crs" else 0.0)
        parts.append(
            pd.DataFrame(
                {
                    "patient_id": keys,
                    "rule": rule,
                    "status": np.where(unknown, "not_assessable", "ok"),
                    "score": np.where(unknown, np.nan, score),
                    "value": np.nan,
                    "group": np.where(unknown, None, np.where(score >= 3, "high", "low")),
                    "lower": np.where(unknown, np.maximum(score - 1, 0), np.nan),
                    "upper": np.where(unknown, np.minimum(score + 1, 5), np.nan),
                    "missing": np.where(unknown, "dfi_months", None),
                    "reason": None,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _performance(
    outcomes: pd.DataFrame, predictions: pd.DataFrame, folds: pd.DataFrame, scores: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    wide = scores.pivot(index="patient_id", columns="rule", values="score")
    parts = [
        evaluate_predictions(
            predictions,
            outcomes,
            folds,
            endpoint=endpoint,
            horizon=definition.horizon_months,
            kind=definition.kind,
            seed=1,
            draws=DRAWS,
            rules=wide,
        )
        for endpoint, definition in load_endpoints().items()
        if endpoint in ENDPOINTS
    ]
    return pd.concat([m for m, _ in parts], ignore_index=True), pd.concat([c for _, c in parts], ignore_index=True)


def _attributions(rng: np.random.Generator, outcomes: pd.DataFrame) -> pd.DataFrame:
    parts = []
    features = [*CLINICAL[:6], "primary_site=rectum", "cea_ng_ml (missing)", *RADIOMICS]
    for endpoint in ("recurrence", "os"):
        keys = outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"]
        for rank, feature in enumerate(features):
            flag = "=" in feature or "missing" in feature or feature in ("bilobar", "node_positive_primary")
            value = rng.integers(0, 2, len(keys)).astype(float) if flag else rng.lognormal(size=len(keys))
            if feature == "cea_ng_ml":
                value[rng.random(len(keys)) < 0.2] = np.nan
            filled = np.where(np.isnan(value), 1.0, value)
            shift = (filled - filled.mean()) * 0.3 / (1 + rank) * (-1) ** rank
            parts.append(
                pd.DataFrame(
                    {
                        "endpoint": endpoint,
                        "model": "combined/ridge",
                        "patient_id": keys,
                        "feature": feature,
                        "input": value,
                        "attribution": shift + rng.normal(scale=0.01, size=len(keys)),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _exclusions(outcomes: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    rows = []
    for endpoint in ENDPOINTS:
        kept = set(outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"])
        rows += [
            (key, None, endpoint, "endpoint", "outcome_missing", "the outcome is unknown")
            for key in keys
            if key not in kept
        ]
    rows += [("QX-0001-ZW", None, None, "ingest", "out_of_range", "a value is out of range")]
    return pd.DataFrame(rows, columns=["patient_id", "timepoint", "endpoint", "stage", "code", "reason"])


def _run(config: dict[str, Any], tables: dict[str, pd.DataFrame], keys: list[str]) -> dict[str, Any]:
    outcomes, n = tables["outcomes"], len(keys)
    definitions = load_endpoints()
    endpoints = {}
    for name in config["endpoints"]:
        own = outcomes[outcomes["endpoint"] == name]
        excluded = [
            {"stage": "endpoint", "code": "outcome_missing", "reason": "the outcome is unknown", "n": n - len(own)}
        ]
        horizon = definitions[name].horizon_months or float("inf")
        within = own["months"] <= horizon
        endpoints[name] = {
            "in": n,
            "excluded": excluded if n > len(own) else [],
            "out": len(own),
            "events": int(((own["event"] == 1) & within).sum()),
            "competing": int(((own["event"] == 2) & within).sum()),
            "censored": int(((own["event"] == 0) & (own["months"] < horizon)).sum()),
        }
    columns = {"clinical": CLINICAL, "radiomics": RADIOMICS, "combined": CLINICAL + RADIOMICS}
    return {
        "experiment": config,
        "endpoints": {name: definitions[name].model_dump(mode="json") for name in config["endpoints"]},
        "cohort": {"name": "Invented cohort", "citation": "Nobody et al.", "simulated": False, "patients_in": n + 1},
        "flow": {
            "cohort": {
                "in": n + 1,
                "excluded": [
                    {"stage": "ingest", "code": "out_of_range", "reason": "QX-0001-ZW: a value is out of range", "n": 1}
                ],
                "out": n,
            },
            "endpoints": endpoints,
        },
        "leak": {
            "allowed": False,
            "admitted": {},
            "refused": {
                name: [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]
                for name in config["endpoints"]
            },
        },
        "models": {
            name: {
                model: {
                    "n": endpoints[name]["out"],
                    "events": endpoints[name]["events"],
                    "columns": list(columns[model.partition("/")[0]]),
                    "n_columns": len(columns[model.partition("/")[0]]),
                }
                for model in MODELS
            }
            for name in config["endpoints"]
        },
        "rule_scores": {name: _assessed(tables, name) for name in config["endpoints"]},
        "population": _population(n),
        "delivered": {
            name: {"model": model, "bundle": f"/srv/secret/bundles/{name}.crlm", "sha256": "ab" * 32}
            for name, model in config["deliver"].items()
        },
        "timings": {"total_s": 12.5},
        "versions": {"radiomics_crlm": "0.0.1", "numpy": "2.4.6"},
        "engine": "pyradiomics 3.1.4",
        "hashes": {f"tables/{name}.parquet": "cd" * 32 for name in tables},
        "seed": 20,
    }


def _assessed(tables: dict[str, pd.DataFrame], endpoint: str) -> dict[str, Any]:
    keys = tables["outcomes"].loc[tables["outcomes"]["endpoint"] == endpoint, "patient_id"]
    scores = tables["rules"][tables["rules"]["patient_id"].isin(keys)]
    found = {}
    for rule, title in RULES.items():
        ok = int(scores.loc[scores["rule"] == rule, "score"].notna().sum())
        found[rule] = {"title": title, "n_assessable": ok, "n_not_assessable": len(keys) - ok}
    return found


def _population(n: int) -> list[dict[str, Any]]:
    def entry(variable: str, unit: str, missing: int, summary: Any) -> dict[str, Any]:
        return {"variable": variable, "unit": unit, "known": n - missing, "missing": missing, "summary": summary,
                "available_at": "baseline"}  # fmt: skip

    return [
        entry("age_years", "years", 0, {"median": 61.0, "lower": 53.0, "upper": 69.5}),
        entry("cea_ng_ml", "ng/mL", 60, {"median": 9.2, "lower": 3.4, "upper": 31.0}),
        entry("n_liver_mets", "lesions", 0, {"median": 2.0, "lower": 1.0, "upper": 3.0}),
        entry("largest_met_mm", "mm", 2, {"median": 32.0, "lower": 21.0, "upper": 48.5}),
        entry("node_positive_primary", "", 0, {"counts": {"yes": 112, "no": n - 112}}),
        entry("bilobar", "", 0, {"counts": {"yes": 3, "no": n - 3}}),
        entry("primary_site", "", 5, {"counts": {"right_colon": 4, "left_colon": 2, "rectum": n - 11}}),
    ]
