"""A finished study in MLflow: a parent run, below it a run per model, below that a run per outer fold; tables, figures,
and registered bundles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.config import EndpointConfig, ExperimentConfig, parse_config
from radiomics_crlm.errors import CrlmError
from radiomics_crlm.provenance.files import canonical_json, read_json
from radiomics_crlm.provenance.tables import read_table, table_digest
from radiomics_crlm.provenance.tracking import DatasetDigest, Step, Tracker
from radiomics_crlm.scoring.mlflow_model import write_mlflow_model
from radiomics_crlm.study.acceptance import ALIAS, FILE, NOT_DECLARED, accept_study
from radiomics_crlm.study.fold_records import FoldRecord, fold_records
from radiomics_crlm.study.prepare import Progress

_DATASETS = ("clinical", "features_patient", "folds")
# Tables of the evaluation that have no row of a single patient.
_TABLES = ("metrics", "comparisons", "answers", "horizon_metrics", "sample_size", "subgroups")


@dataclass(frozen=True)
class _Study:
    """What the runs of a study are made from."""

    out: Path
    run: Mapping[str, Any]
    experiment: ExperimentConfig
    metrics: pd.DataFrame
    datasets: Sequence[DatasetDigest]
    acceptance: Mapping[str, Any]
    folds: Mapping[tuple[str, str], list[FoldRecord]]


def track_study(out: Path, *, mlflow_uri: str | None, progress: Progress) -> str:
    """Log a finished study and return the tracking URI. Nothing about single patients is logged.

    A delivered model is registered; its version gets the alias ``accepted`` only if the criteria declared in the
    experiment hold, otherwise a tag says why not. With ``track_folds`` each model has a run per outer fold, in which
    the repeats are the steps.

    Raises
    ------
    InputError
        If the store cannot be opened or an artefact of the study is absent.
    """
    study = _gather(out)
    tracker = Tracker(out, study.experiment.name, uri=mlflow_uri)
    parent = tracker.start(study.experiment.name, tags=_parent_tags(study))
    _log_parent(tracker, parent, study)
    models = [(endpoint, model) for endpoint in study.run["models"] for model in study.run["models"][endpoint]]
    for number, (endpoint, model) in enumerate(models):
        progress("track", number, len(models))
        _log_model(tracker, parent, study, endpoint, model)
    progress("track", len(models), len(models))
    tracker.finish(parent)
    return tracker.uri


def _gather(out: Path) -> _Study:
    run = read_json(out / "run.json", what="the record of the run")
    experiment = parse_config(ExperimentConfig, run["experiment"], where="run.json: experiment")
    definitions = {
        name: parse_config(EndpointConfig, run["endpoints"][name], where=f"run.json: {name}")
        for name in experiment.endpoints
    }
    return _Study(
        out,
        run,
        experiment,
        read_table(out / "tables" / "metrics.parquet", "metrics"),
        _datasets(out, run),
        accept_study(out),
        fold_records(out / "tables", experiment, definitions) if experiment.track_folds else {},
    )


def _datasets(out: Path, run: Mapping[str, Any]) -> list[DatasetDigest]:
    found, cohort = [], run["cohort"]["name"] or "cohort"
    for name in _DATASETS:
        path = out / "tables" / f"{name}.parquet"
        if path.is_file():
            table = read_table(path, name)
            digest = run["hashes"].get(name) or table_digest(table)
            found.append(DatasetDigest(f"{cohort}: {name}", digest, len(table), len(table.columns)))
    return found


def _parent_tags(study: _Study) -> dict[str, str]:
    tags = {f"hash.{name}": digest for name, digest in study.run["hashes"].items()}
    tags |= {f"acceptance.{name}": _verdict(study, name)["acceptance"] for name in study.run["delivered"]}
    leaked = any(study.run["leak"]["admitted"].values())
    return tags | {"leak_admitted": str(leaked).lower(), "lock": study.run["hashes"]["lock"]}


def _log_parent(tracker: Tracker, parent: str, study: _Study) -> None:
    out, folder = study.out, study.out / "figures"
    figures = sorted(folder.glob("*.svg")) if folder.is_dir() else []
    tracker.log(
        parent,
        params={
            **study.experiment.design.model_dump(),
            "endpoints": ", ".join(study.experiment.endpoints),
            **{f"version.{k}": v for k, v in study.run["versions"].items()},
        },
        datasets=study.datasets,
        files=[*(out / name for name in ("card.html", "card.json", FILE)), *sorted(out.glob("checklists.*")), *figures],
    )
    environment = {"versions": study.run["versions"], "engine": study.run["engine"], "hashes": study.run["hashes"]}
    tracker.log_text(parent, "environment.json", canonical_json(environment) + "\n")
    tracker.log_text(parent, "experiment.json", canonical_json(study.run["experiment"]) + "\n")
    tracker.log_tables(parent, _tables(out))


def _tables(out: Path) -> dict[str, pd.DataFrame]:
    found = {}
    for name in _TABLES:
        path = out / "tables" / f"{name}.parquet"
        if path.is_file():
            found[name] = read_table(path, name)
    if private := [name for name, table in found.items() if "patient_id" in table]:
        raise CrlmError("tables of single patients are never tracked", where=", ".join(private))
    return found


def _log_model(tracker: Tracker, parent: str, study: _Study, endpoint: str, model: str) -> None:
    feature_set, learner = model.split("/")
    record = study.run["models"][endpoint][model]
    child = tracker.start(f"{endpoint}: {model}", parent=parent, tags={"endpoint": endpoint, "model": model})
    rows = study.metrics[(study.metrics["endpoint"] == endpoint) & (study.metrics["model"] == model)]
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
        datasets=study.datasets,
    )
    _log_folds(tracker, child, study, endpoint, model)
    delivered = study.run["delivered"].get(endpoint)
    if delivered is not None and delivered["model"] == model:
        _register(tracker, child, study, endpoint)
    tracker.finish(child)


def _log_folds(tracker: Tracker, child: str, study: _Study, endpoint: str, model: str) -> None:
    """A run per outer fold; its metrics and numeric settings have one step per repeat, for each repeat splits anew."""
    records = study.folds.get((endpoint, model), [])
    for fold in sorted({record.fold for record in records}):
        own = [record for record in records if record.fold == fold]
        tags = {"endpoint": endpoint, "model": model, "fold": str(fold)}
        tags |= {f"chosen.repeat_{record.repeat}": canonical_json(dict(record.chosen), indent=None) for record in own}
        run = tracker.start(f"{endpoint}: {model}, fold {fold}", parent=child, tags=tags)
        tracker.log(run, steps=[step for record in own for step in _steps(record)])
        tracker.finish(run)


def _steps(record: FoldRecord) -> list[Step]:
    settings = {f"chosen_{name}": float(text) for name, text in record.chosen.items() if _is_number(text)}
    return [Step(name, value, record.repeat) for name, value in {**record.metrics, **settings}.items()]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _verdict(study: _Study, endpoint: str) -> dict[str, str]:
    """Tags that say whether the delivered model of an endpoint was accepted, and why."""
    judged = study.acceptance.get(endpoint)
    if judged is None:
        return {"acceptance": "not declared", "acceptance_reason": NOT_DECLARED}
    return {"acceptance": "passed" if judged["accepted"] else "failed", "acceptance_reason": judged["reason"]}


def _register(tracker: Tracker, child: str, study: _Study, endpoint: str) -> None:
    """Register the bundle of an endpoint as a model that MLflow serves; the alias moves only if it was accepted."""
    delivered = study.run["delivered"][endpoint]
    name = f"{study.run['experiment']['name']}_{endpoint}"
    verdict = _verdict(study, endpoint)
    tags = {"bundle_sha256": delivered["sha256"], "model": delivered["model"], **verdict}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        write_mlflow_model(study.out / delivered["bundle"], folder)
        version = tracker.register(child, folder, model=name, tags=tags)
    if verdict["acceptance"] == "passed":
        tracker.alias(name, version, ALIAS)
