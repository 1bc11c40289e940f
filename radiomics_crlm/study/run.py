"""Runs an experiment from its file to the card: every stage in order, every artefact in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.cohort.clinical import summarise, without_dates
from radiomics_crlm.cohort.exclusions import exclusion_table, flow
from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.errors import ConfigError, CrlmError
from radiomics_crlm.features.extract import engine
from radiomics_crlm.modelling.lesions import feature_of
from radiomics_crlm.parallel import workers
from radiomics_crlm.provenance.files import canonical_json, read_json, sha256_bytes, write_json, write_text
from radiomics_crlm.provenance.tables import read_table, table_digest, write_table
from radiomics_crlm.provenance.versions import lock_fingerprint, versions
from radiomics_crlm.report.card import write_card
from radiomics_crlm.report.checklists import write_checklists
from radiomics_crlm.schema import Refusal, check_table, load_schema
from radiomics_crlm.study.acceptance import accept_study
from radiomics_crlm.study.answer import permute_outcomes, plan_controls
from radiomics_crlm.study.crosscheck import cross_check_cohort
from radiomics_crlm.study.deliver import deliver
from radiomics_crlm.study.evaluate import count_outcomes, evaluate_study, rule_scores, subgroups_of
from radiomics_crlm.study.external import predict_external, prepare_external
from radiomics_crlm.study.models import Trained, check_designs, train_models
from radiomics_crlm.study.nomograms import write_nomograms
from radiomics_crlm.study.parts import find_parts
from radiomics_crlm.study.plans import Plan, check_deliverable, check_learners, plan_models
from radiomics_crlm.study.prepare import Prepared, Progress, prepare
from radiomics_crlm.study.refits import refit_models
from radiomics_crlm.study.resume import Unfinished, identity, unfinished_run
from radiomics_crlm.study.sample_sizes import sample_sizes
from radiomics_crlm.study.stability_table import write_stability
from radiomics_crlm.study.stages import write_extraction
from radiomics_crlm.study.track import track_study

# Not belonging to the population of an endpoint is no fault of the data.
_NO_FAULT = frozenset({"not_in_population"})


@dataclass(frozen=True)
class StudyResult:
    """Where the results of a study are, and who was left out of it."""

    out: Path
    card: Path
    tracking_uri: str
    bundles: Mapping[str, Path]
    flow: Mapping[str, Any]
    left_out: int
    failed_lesions: int
    leak_admitted: bool
    performance_claim: bool


def run_experiment(
    path: Path,
    *,
    out: Path,
    data: Path | None = None,
    jobs: int = 1,
    allow_leak: bool = False,
    mlflow_uri: str | None = None,
    dask: str | None = None,
    parts: Sequence[Path] = (),
    progress: Progress,
) -> StudyResult:
    """Run all stages of an experiment file and write everything to ``out``.

    A run that was stopped at any moment goes on when it is asked for again: outer folds, explanations and extracted
    regions that are finished are not done again, and what comes out is the same to the byte.

    Parameters
    ----------
    path
        Experiment file (YAML, ``config.ExperimentConfig``).
    out
        Folder for the results; must be new or empty, or hold the unfinished run of this very experiment.
    data
        Folder with the data of a real cohort.
    jobs
        Processes; no result depends on it.
    allow_leak
        Admit predictors that are known only after the model speaks, in every feature set; the card warns.
    mlflow_uri
        Tracking store; by default sqlite in ``out``.
    dask
        Address of a Dask scheduler whose workers extract (they need to see the same files) and do the outer folds.
    parts
        Folders of :mod:`radiomics_crlm.study.parts`; what they hold is not done again.
    progress
        Callback ``(stage, done, total)``.

    Raises
    ------
    ConfigError, LeakError, InputError
        For an unusable experiment, a leak, a foreign part, or data that are unusable as a whole; all before the first
        model is fitted.
    """
    experiment = load_experiment(path, jobs=jobs, dask=dask)
    finished = find_parts(parts, experiment)
    with unfinished_run(out, identity(experiment, allow_leak=allow_leak)) as run:
        run.take(extraction=finished.extraction, folds=finished.folds)
        train_study(
            experiment, out=out, data=data, jobs=jobs, allow_leak=allow_leak, dask=dask, made=finished.cohort, run=run,
            progress=progress,
        )  # fmt: skip
        evaluate_study(out, progress=progress)
        if run.resumed:
            run.clear_tracking()
        result = finish_study(out, mlflow_uri=mlflow_uri, progress=progress)
        run.finish()
    return result


def start_study(
    path: Path,
    *,
    out: Path,
    data: Path | None,
    jobs: int,
    allow_leak: bool,
    dask: str | None = None,
    progress: Progress,
) -> None:
    """Check the experiment and the out folder, then train (parameters and refusals as in :func:`run_experiment`)."""
    experiment = load_experiment(path, jobs=jobs, dask=dask)
    with unfinished_run(out, identity(experiment, allow_leak=allow_leak)) as run:
        train_study(
            experiment, out=out, data=data, jobs=jobs, allow_leak=allow_leak, dask=dask, run=run, progress=progress
        )
        run.finish()


def load_experiment(path: Path, *, jobs: int, dask: str | None) -> ExperimentConfig:
    """Read an experiment and check what can be checked without data, the Dask scheduler included.

    Raises
    ------
    ConfigError
        As :func:`check_experiment`, or if no scheduler answers.
    """
    experiment = load_config(ExperimentConfig, path)
    check_experiment(experiment)
    if dask is not None:
        workers(jobs, dask)
    return experiment


def check_experiment(experiment: ExperimentConfig) -> None:
    """Check what can be checked without data: rules and delivered score columns exist, learners fit their task.

    Raises
    ------
    ConfigError
        Naming the unknown rule, the column that is no delivered score, or the learner and what it does not fit.
    """
    check_learners(experiment)
    for rule in experiment.rules:
        rule_engine.describe(rule)
    numbers = {n for n, s in load_schema("clinical").columns.items() if s.type in ("int", "float")}
    if unknown := sorted(set(experiment.reported_scores) - numbers):
        raise ConfigError("reported_scores must be numeric clinical columns", got=", ".join(unknown))


def train_study(
    experiment: ExperimentConfig,
    *,
    out: Path,
    data: Path | None,
    jobs: int,
    allow_leak: bool,
    dask: str | None,
    made: Path | None = None,
    run: Unfinished,
    progress: Progress,
) -> None:
    """All stages up to the bundles; writes the tables and ``run.json``, from which everything later is made."""
    prepared = prepare(
        experiment, data=data, out=out, jobs=jobs, progress=progress, dask=dask, cache=run.cache, made=made
    )
    subgroups_of(prepared.cohort.clinical, experiment)  # refused before the first fit
    named = plan_models(experiment, prepared, allow_leak=allow_leak)
    plans = (*named, *plan_controls(experiment, prepared, named, allow_leak=allow_leak))
    others = prepare_external(experiment, prepared, data=data, jobs=jobs, progress=progress, dask=dask, cache=run.cache)
    check_designs(experiment, prepared, plans)
    check_deliverable(experiment, prepared, plans)
    run.claim(_hashes(experiment, prepared) | {f"external cohort {o.name}": o.digest() for o in others})
    sizes = sample_sizes(experiment, prepared, named)
    panel = write_table(sizes, out / "tables" / "sample_size.parquet", "sample_size")
    trained = train_models(
        experiment, prepared, plans, jobs=jobs, progress=progress, dask=dask, checkpoints=run.checkpoints
    )
    permuted = permute_outcomes(
        experiment, prepared, named, trained.predictions, jobs=jobs, progress=progress, dask=dask,
        checkpoints=run.checkpoints,
    )  # fmt: skip
    refitted = refit_models(
        experiment, prepared, trained.delivered, jobs=jobs, progress=progress, dask=dask, checkpoints=run.checkpoints
    )
    delivered = deliver(experiment, prepared, trained.delivered, out, predictions=trained.predictions, refits=refitted)
    _write_tables(prepared, trained, out / "tables")
    write_nomograms(trained.delivered, out)
    write_stability(experiment, data, out / "tables")
    if len(refitted):
        write_table(refitted, out / "tables" / "instability.parquet", "instability")
    if len(permuted):
        write_table(permuted, out / "tables" / "permuted_outcomes.parquet", "permuted_outcomes")
    predict_external(experiment, prepared, plans, trained.delivered, others, out / "tables", progress=progress)
    record = {
        "experiment": experiment.model_dump(mode="json"),
        "endpoints": {name: endpoint.model_dump(mode="json") for name, endpoint in prepared.endpoints.items()},
        "cohort": {
            "name": prepared.cohort.name,
            "citation": " ".join(prepared.cohort.notes.citation.split()),
            "simulated": prepared.cohort.simulated,
            "patients_in": prepared.cohort.patients_in,
        },
        "external": {other.name: other.record(plans) for other in others},
        "flow": _flows(prepared),
        "sample_size": panel.to_dict("records"),
        "leak": _leak(plans, allow_leak),
        "models": _models(prepared, plans),
        "rule_scores": _rule_scores(experiment, prepared),
        "population": summarise(prepared.cohort.clinical, prepared.available_at),
        "delivered": {n: {"model": d.model, "bundle": d.bundle, "sha256": d.sha256} for n, d in delivered.items()},
        "versions": versions(),
        "engine": engine() if prepared.extraction is not None else "no images in this study",
        "hashes": _hashes(experiment, prepared),
        "seed": experiment.design.seed,
    }
    write_json(out / "run.json", record)


def finish_study(out: Path, *, mlflow_uri: str | None, progress: Progress) -> StudyResult:
    """Card and tracking of an evaluated study."""
    accept_study(out)
    write_checklists(out)
    card = write_card(out)
    return result_of(out, card=card, tracking_uri=track_study(out, mlflow_uri=mlflow_uri, progress=progress))


def result_of(out: Path, *, card: Path, tracking_uri: str) -> StudyResult:
    """What a finished study left."""
    run = read_json(out / "run.json", what="the record of the run")
    exclusions = read_table(out / "tables" / "exclusions.parquet", "exclusions")
    return StudyResult(
        out=out,
        card=card,
        tracking_uri=tracking_uri,
        bundles={name: out / d["bundle"] for name, d in run["delivered"].items()},
        flow=run["flow"],
        left_out=int((~exclusions["code"].isin(_NO_FAULT)).sum()),
        failed_lesions=_failed_lesions(out / "tables" / "features_lesion.parquet"),
        leak_admitted=any(run["leak"]["admitted"].values()),
        performance_claim=run["experiment"]["performance_claim"],
    )


def _failed_lesions(path: Path) -> int:
    return int((read_table(path, "features_lesion")["status"] == "failed").sum()) if path.is_file() else 0


def _write_tables(prepared: Prepared, trained: Trained, tables: Path) -> None:
    write_table(without_dates(prepared.cohort.clinical), tables / "clinical.parquet", "clinical")
    if prepared.extraction is not None:
        write_extraction(prepared.extraction, tables)
        checked = cross_check_cohort(prepared.extraction.measured, prepared.cohort.clinical)
        write_table(checked, tables / "crosscheck.parquet", "crosscheck")
    elif prepared.features_patient is not None:
        write_table(prepared.features_patient, tables / "features_patient.parquet", "features_patient")
    write_table(prepared.rules, tables / "rules.parquet", "rules")
    write_table(pd.concat(prepared.outcomes.values(), ignore_index=True), tables / "outcomes.parquet", "outcomes")
    write_table(prepared.folds, tables / "folds.parquet", "folds")
    write_table(exclusion_table(prepared.exclusions), tables / "exclusions.parquet", "exclusions")
    write_table(trained.predictions, tables / "predictions.parquet", "predictions")
    for name, table in trained.explanations.items():
        write_table(table, tables / f"{name}.parquet", name)
    if "rule" in trained.thresholds:
        write_table(trained.thresholds, tables / "thresholds.parquet", "thresholds")
    write_text(tables / "tuning.csv", trained.tuning.to_csv(index=False, lineterminator="\n"))


def _flows(prepared: Prepared) -> dict[str, Any]:
    cohort = [e for e in prepared.exclusions if e.endpoint is None]
    account = flow(prepared.cohort.patients_in, cohort)
    endpoints = {}
    for name, endpoint in prepared.endpoints.items():
        here = [e for e in prepared.exclusions if e.endpoint == name]
        outcome = prepared.outcomes[name]
        endpoints[name] = {**flow(account["out"], here), **count_outcomes(outcome, endpoint)}
        if endpoints[name]["out"] != len(outcome) or account["out"] != len(prepared.cohort.clinical):
            raise CrlmError("the participant flow does not add up", where=name)
    return {"cohort": account, "endpoints": endpoints}


def _leak(plans: Sequence[Plan], allowed: bool) -> dict[str, Any]:
    def collect(kind: str) -> dict[str, list[dict[str, str]]]:
        found: dict[str, dict[str, Refusal]] = {}
        for plan in plans:
            for refusal in getattr(plan.predictors, kind):
                found.setdefault(plan.endpoint, {})[refusal.column] = refusal
        return {name: [asdict(r) for r in refusals.values()] for name, refusals in found.items()}

    return {"allowed": allowed, "refused": collect("refused"), "admitted": collect("admitted")}


def _models(prepared: Prepared, plans: Sequence[Plan]) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for plan in plans:
        counts = count_outcomes(prepared.outcomes[plan.endpoint], prepared.endpoints[plan.endpoint])
        columns = list(dict.fromkeys(feature_of(spec.name) for spec in plan.predictors.inputs))
        models.setdefault(plan.endpoint, {})[plan.name] = {
            "n": len(plan.predictors.table),
            "events": counts["events"],
            "columns": columns,
            "n_columns": len(columns),
            "patients_without": plan.predictors.lacking(),
        }
    return models


def _rule_scores(experiment: ExperimentConfig, prepared: Prepared) -> dict[str, Any]:
    scores = rule_scores(prepared.rules, prepared.cohort.clinical, experiment)
    titles = {rule: rule_engine.describe(rule).title for rule in experiment.comparators}
    titles |= {c: load_schema("clinical").columns[c].description for c in experiment.reported_scores}
    found: dict[str, Any] = {}
    for name, outcome in prepared.outcomes.items():
        here = scores.reindex(outcome["patient_id"])
        found[name] = {
            column: {
                "title": titles[column],
                "n_assessable": int(here[column].notna().sum()),
                "n_not_assessable": int(here[column].isna().sum()),
            }
            for column in scores.columns
        }
    return found


def _hashes(experiment: ExperimentConfig, prepared: Prepared) -> dict[str, str]:
    hashes = {
        "experiment": sha256_bytes(canonical_json(experiment.model_dump(mode="json")).encode()),
        "clinical": table_digest(prepared.cohort.clinical),
        "folds": table_digest(check_table(prepared.folds, "folds")),
        "lock": lock_fingerprint(),
    }
    if prepared.features_patient is not None:
        hashes["features_patient"] = table_digest(check_table(prepared.features_patient, "features_patient"))
    for number, table in enumerate(prepared.perturbed.values(), start=1):
        hashes[f"perturbed_patients_{number}"] = table_digest(table)
    return hashes
