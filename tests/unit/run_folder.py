"""Makes a run folder with consistent tables of invented patients, as the study runner leaves it; used by the card's tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import ExperimentConfig, load_endpoints
from radiomics_crlm.evaluation.calibration import observed_expected
from radiomics_crlm.evaluation.comparison import compare, count_events
from radiomics_crlm.evaluation.discrimination import endpoint_pairs
from radiomics_crlm.evaluation.outcome import outcome_of
from radiomics_crlm.evaluation.resampling import bootstrap_weights, percentile_estimate, stratified_concordance
from radiomics_crlm.provenance.tables import write_table

ENDPOINTS = ("recurrence", "os", "recurrence_24m")
CLINICAL = ("age_years", "cea_ng_ml", "n_liver_mets", "largest_met_mm", "node_positive_primary", "bilobar", "primary_site")
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
    return ExperimentConfig.model_validate(content | changes).model_dump(mode="json")


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
            pd.DataFrame({"patient_id": keys, "endpoint": endpoint, "event": event, "months": months.round(1)}).head(kept)
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
    metrics: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    for endpoint in ENDPOINTS:
        binary = endpoint == "recurrence_24m"
        kind, horizon = ("binary", 24.0) if binary else ("time_to_event", None)
        keys = outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"].tolist()
        y = outcome_of(outcomes, endpoint, keys)
        fold = folds.pivot(index="patient_id", columns="repeat", values="fold").loc[keys].to_numpy()
        risks: dict[str, np.ndarray] = {}
        for model in MODELS:
            own = predictions[(predictions["endpoint"] == endpoint) & (predictions["model"] == model)]
            risks[model] = own.pivot(index="patient_id", columns="repeat", values="risk").loc[keys].to_numpy()
            p = own.pivot(index="patient_id", columns="repeat", values="probability_24m").loc[keys].to_numpy()
            found = observed_expected(y, p, 24.0, bootstrap_weights(len(keys), DRAWS, 1))
            metrics.append(_metric(endpoint, model, "observed_expected", found, len(keys), count_events(y, 24.0), 24.0, "out_of_fold"))
        for rule in RULES:
            values = scores[scores["rule"] == rule].set_index("patient_id").loc[keys, "score"].to_numpy(dtype=float)
            risks[rule] = np.repeat(values[:, None], REPEATS, axis=1)
        metric = "auc" if binary else "c_index"
        for name, risk in risks.items():
            inside = np.isfinite(risk).all(axis=1)
            pairs = endpoint_pairs(y[inside], kind, horizon)
            c = stratified_concordance(pairs, risk[inside], fold[inside])
            draws = c.replicates(bootstrap_weights(int(inside.sum()), DRAWS, 1))
            found = percentile_estimate(c.estimate(), draws)
            metrics.append(_metric(endpoint, name, metric, found, int(inside.sum()), count_events(y[inside], horizon), horizon, "within_fold"))
        for model, reference in (("combined/ridge", "clinical/ridge"), *((m, r) for m in MODELS for r in RULES)):
            d = compare(y, risks[model], risks[reference], fold, kind=kind, horizon=horizon, seed=1, draws=DRAWS)
            comparisons.append({
                "endpoint": endpoint, "model": model, "reference": reference, "metric": metric, "n": d.n, "events": d.events,
                "difference": d.difference.value, "lower": d.difference.lower, "upper": d.difference.upper,
                "p_value": d.p_value, "method": "within_fold",
            })  # fmt: skip
    return pd.DataFrame(metrics), pd.DataFrame(comparisons)


def _metric(
    endpoint: str, model: str, metric: str, found: Any, n: int, events: int, horizon: float | None, method: str
) -> dict[str, Any]:
    return {
        "endpoint": endpoint, "model": model, "metric": metric, "estimate": found.value, "lower": found.lower,
        "upper": found.upper, "n": n, "events": events, "horizon_months": horizon, "method": method,
    }  # fmt: skip


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
        rows += [(key, None, endpoint, "endpoint", "outcome_missing", "the outcome is unknown") for key in keys if key not in kept]
    rows += [("QX-0001-ZW", None, None, "ingest", "out_of_range", "a value is out of range")]
    return pd.DataFrame(rows, columns=["patient_id", "timepoint", "endpoint", "stage", "code", "reason"])


def _run(config: dict[str, Any], tables: dict[str, pd.DataFrame], keys: list[str]) -> dict[str, Any]:
    outcomes, n = tables["outcomes"], len(keys)
    endpoints = {}
    for name in config["endpoints"]:
        own = outcomes[outcomes["endpoint"] == name]
        excluded = [{"stage": "endpoint", "code": "outcome_missing", "reason": "the outcome is unknown", "n": n - len(own)}]
        codes = own["event"].value_counts()
        endpoints[name] = {
            "in": n, "excluded": excluded if n > len(own) else [], "out": len(own), "events": int(codes.get(1, 0)),
            "competing": int(codes.get(2, 0)), "censored": int(codes.get(0, 0)),
        }  # fmt: skip
    columns = {"clinical": CLINICAL, "radiomics": RADIOMICS, "combined": CLINICAL + RADIOMICS}
    definitions = load_endpoints()
    return {
        "experiment": config,
        "endpoints": {name: definitions[name].model_dump(mode="json") for name in config["endpoints"]},
        "cohort": {"name": "Invented cohort", "citation": "Nobody et al.", "simulated": False, "patients_in": n + 1},
        "flow": {
            "cohort": {
                "in": n + 1,
                "excluded": [{"stage": "ingest", "code": "out_of_range", "reason": "QX-0001-ZW: a value is out of range", "n": 1}],
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
