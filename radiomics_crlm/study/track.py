"""A finished study in MLflow: a parent run, a child run per model, figures, and registered bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.config import ExperimentConfig, parse_config
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table, table_digest
from radiomics_crlm.provenance.tracking import DatasetDigest, Tracker
from radiomics_crlm.study.prepare import Progress


def track_study(out: Path, *, mlflow_uri: str | None, progress: Progress) -> str:
    """Log a finished study and return the tracking URI. Nothing about single patients is logged.

    Raises
    ------
    InputError
        If the store cannot be opened or an artefact of the study is absent.
    """
    run = read_json(out / "run.json", what="the record of the run")
    experiment = parse_config(ExperimentConfig, run["experiment"], where="run.json: experiment")
    metrics = read_table(out / "tables" / "metrics.parquet", "metrics")
    tracker = Tracker(out, experiment.name, uri=mlflow_uri)
    tags = {"leak_admitted": str(any(run["leak"]["admitted"].values())).lower(), "lock": run["hashes"]["lock"]}
    parent = tracker.start(experiment.name, tags=tags)
    folder = out / "figures"
    tracker.log(
        parent,
        params={
            **experiment.design.model_dump(),
            "endpoints": ", ".join(experiment.endpoints),
            **{f"version.{k}": v for k, v in run["versions"].items()},
        },
        dataset=_dataset(run, out),
        files=[out / "card.html", out / "card.json", *(sorted(folder.glob("*.svg")) if folder.is_dir() else [])],
    )
    models = [(endpoint, model) for endpoint in run["models"] for model in run["models"][endpoint]]
    for number, (endpoint, model) in enumerate(models):
        progress("track", number, len(models))
        _child(tracker, parent, run, endpoint, model, metrics, out)
    progress("track", len(models), len(models))
    tracker.finish(parent)
    return tracker.uri


def _dataset(run: Mapping[str, Any], out: Path) -> DatasetDigest:
    clinical = read_table(out / "tables" / "clinical.parquet", "clinical")
    return DatasetDigest(run["cohort"]["name"], table_digest(clinical), len(clinical), len(clinical.columns))


def _child(
    tracker: Tracker, parent: str, run: Mapping[str, Any], endpoint: str, model: str, metrics: pd.DataFrame, out: Path
) -> None:
    feature_set, learner = model.split("/")
    record = run["models"][endpoint][model]
    child = tracker.start(f"{endpoint}: {model}", parent=parent, tags={"endpoint": endpoint, "model": model})
    rows = metrics[(metrics["endpoint"] == endpoint) & (metrics["model"] == model)]
    values: dict[str, float] = {}
    for row in rows.to_dict("records"):
        name = row["metric"]
        values |= {name: row["estimate"], f"{name}_lower": row["lower"], f"{name}_upper": row["upper"]}
    tracker.log(
        child,
        params={
            "endpoint": endpoint,
            "feature_set": feature_set,
            "learner": learner,
            "patients": record["n"],
            "events": record["events"],
            "columns": record["n_columns"],
        },
        metrics={name: float(value) for name, value in values.items() if pd.notna(value)},
        dataset=_dataset(run, out),
    )
    delivered = run["delivered"].get(endpoint)
    if delivered is not None and delivered["model"] == model:
        tracker.register(
            child,
            out / delivered["bundle"],
            model=f"{run['experiment']['name']}_{endpoint}",
            tags={"bundle_sha256": delivered["sha256"], "model": model},
        )
    tracker.finish(child)
