"""Named external cohorts: models of the whole development cohort, tried once on patients of elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.cohort.clinical import Cohort, read_cohort_folder, without_dates
from radiomics_crlm.cohort.endpoints import build_outcome
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table, flow
from radiomics_crlm.cohort.splits import refuse_duplicates
from radiomics_crlm.config import EndpointConfig, ExperimentConfig
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import check_outcome, make_outcome
from radiomics_crlm.features.profiles import load_profiles
from radiomics_crlm.modelling.design import assemble
from radiomics_crlm.modelling.train import pipeline_probability, pipeline_risk, report_months
from radiomics_crlm.provenance.tables import table_digest, write_table
from radiomics_crlm.study.checkpoints import digest
from radiomics_crlm.study.evaluate import EXTERNAL, count_outcomes
from radiomics_crlm.study.models import final_model
from radiomics_crlm.study.plans import Plan
from radiomics_crlm.study.prepare import Prepared, Progress, extract_features, extraction_exclusions, need_scans
from radiomics_crlm.study.sites import site_table


@dataclass(frozen=True)
class External:
    """One external cohort, ready to be predicted."""

    name: str
    cohort: Cohort
    features_patient: pd.DataFrame | None
    rules: pd.DataFrame
    outcomes: Mapping[str, pd.DataFrame]
    definitions: Mapping[str, EndpointConfig]
    exclusions: tuple[Exclusion, ...]

    def record(self, plans: Sequence[Plan]) -> dict[str, Any]:
        """What the run record says of the cohort; ``lacking`` are clinical columns of a model that it has not."""
        cohort_wide = [e for e in self.exclusions if e.endpoint is None]
        return {
            "cohort": self.cohort.name,
            "clinical": table_digest(self.cohort.clinical),
            "flow": flow(self.cohort.patients_in, cohort_wide),
            "endpoints": {name: count_outcomes(table, self.definitions[name]) for name, table in self.outcomes.items()},
            "lacking": {f"{plan.endpoint}, {plan.name}": lack for plan in plans if (lack := self.lacking(plan))},
        }

    def digest(self) -> str:
        """SHA-256 of its charts and features."""
        return digest([self.cohort.clinical, self.features_patient])

    def lacking(self, plan: Plan) -> list[str]:
        """Clinical columns of a model that the cohort does not have; its patients get the value of the missing."""
        wanted = [spec.name for spec in plan.predictors.inputs if spec.source == "clinical"]
        return [name for name in wanted if name not in self.cohort.clinical]


def prepare_external(
    experiment: ExperimentConfig,
    prepared: Prepared,
    *,
    data: Path | None,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    cache: Path | None = None,
) -> tuple[External, ...]:
    """Read every external cohort of the design, before anything is fitted; ``dask`` and ``cache`` are for extraction.

    Raises
    ------
    ConfigError
        If a cohort lacks a column by which an endpoint is defined, or the folder cannot be found without ``--data``.
    InputError
        If a cohort is unusable, shares patients with another, or has no event (or nothing but events).
    """
    folders = {name: _folder(name, text, data) for name, text in experiment.design.external.items()}
    cohorts = {name: read_cohort_folder(folder) for name, folder in folders.items()}
    _refuse_unseen_sites(experiment, prepared, cohorts)
    refuse_duplicates(
        prepared.cohort.clinical["patient_id"].tolist(),
        {name: cohort.clinical["patient_id"].tolist() for name, cohort in cohorts.items()},
    )
    return tuple(
        _prepare(name, cohort, experiment, prepared, jobs=jobs, progress=progress, dask=dask, cache=cache)
        for name, cohort in cohorts.items()
    )


def _folder(name: str, text: str, data: Path | None) -> Path:
    folder = Path(text)
    if not folder.is_absolute() and data is None:
        raise ConfigError(
            "an external cohort is named from the folder of the data", where=f"design: external: {name}",
            remedy="pass --data DIR, or give an absolute path",
        )  # fmt: skip
    return folder if data is None else data / folder


def _refuse_unseen_sites(experiment: ExperimentConfig, prepared: Prepared, cohorts: Mapping[str, Cohort]) -> None:
    """Under the policy to refuse, no external patient may be of a site that the development cohort lacks."""
    asked = experiment.harmonisation
    if asked is None or asked.unseen != "refuse" or not any(s.radiomics for s in experiment.feature_sets.values()):
        return
    known = set(prepared.cohort.clinical.get(asked.column, pd.Series(dtype=object)).dropna())
    for name, cohort in cohorts.items():
        column = cohort.clinical.get(asked.column, pd.Series(index=cohort.clinical.index, dtype=object))
        if strange := int((~column.isin(known)).sum()):
            raise InputError(
                f"{strange} patients are of sites that the development cohort lacks", where=f"external cohort {name}",
                expected="sites that harmonisation can learn", remedy="choose the policy reference or flag",
            )  # fmt: skip


def _prepare(
    name: str, cohort: Cohort, experiment: ExperimentConfig, prepared: Prepared, *,
    jobs: int, progress: Progress, dask: str | None, cache: Path | None,
) -> External:  # fmt: skip
    features, exclusions = cohort.features_patient, list(cohort.exclusions)
    if features is None and cohort.imaging is not None:
        profiles = load_profiles().for_scans(experiment.profiles)
        extraction, features = extract_features(
            cohort, profiles=profiles, jobs=jobs, progress=progress, dask=dask, cache=cache
        )
        exclusions += extraction_exclusions(extraction.exclusions)
    outcomes = {}
    for endpoint_name, endpoint in prepared.endpoints.items():
        outcome = build_outcome(cohort.clinical, endpoint, endpoint_name)
        table, scanless = need_scans(outcome.table, experiment.feature_sets, features, endpoint, endpoint_name)
        where = f"external cohort {name}, {endpoint_name}"
        at = endpoint.horizon_months if endpoint.kind == "binary" else None
        check_outcome(make_outcome(table["event"], table["months"]), horizon=at, min_events=1, where=where)
        outcomes[endpoint_name] = table
        exclusions += [*outcome.exclusions, *scanless]
    rules = rule_engine.evaluate_table(cohort.clinical, experiment.rules, sources=cohort.origins)
    return External(name, cohort, features, rules, outcomes, prepared.endpoints, tuple(exclusions))


def predict_external(
    experiment: ExperimentConfig,
    prepared: Prepared,
    plans: Sequence[Plan],
    delivered: Mapping[str, tuple[Plan, Pipeline]],
    others: Sequence[External],
    tables: Path,
    *,
    progress: Progress,
) -> None:
    """Fit every model on the whole development cohort, predict the external cohorts, and write their tables."""
    predictions: dict[str, list[pd.DataFrame]] = {other.name: [] for other in others}
    for number, plan in enumerate(plans if others else ()):
        progress("external", number, len(plans))
        chosen = delivered.get(plan.endpoint)
        made = chosen is not None and chosen[0].name == plan.name
        pipeline = chosen[1] if chosen is not None and made else final_model(experiment, prepared, plan)
        for other in others:
            predictions[other.name].append(_predict(experiment, plan, pipeline, prepared, other))
    for other in others:
        folder = tables / EXTERNAL / other.name
        write_table(
            pd.concat(predictions[other.name], ignore_index=True), folder / "predictions.parquet", "predictions"
        )
        write_table(pd.concat(other.outcomes.values(), ignore_index=True), folder / "outcomes.parquet", "outcomes")
        patients = other.cohort.clinical["patient_id"]
        folds = pd.DataFrame({"patient_id": patients, "repeat": 0, "fold": 0})
        write_table(folds, folder / "folds.parquet", "folds")
        write_table(other.rules, folder / "rules.parquet", "rules")
        write_table(without_dates(other.cohort.clinical), folder / "clinical.parquet", "clinical")
        write_table(exclusion_table(other.exclusions), folder / "exclusions.parquet", "exclusions")


def _predict(
    experiment: ExperimentConfig, plan: Plan, pipeline: Pipeline, prepared: Prepared, other: External
) -> pd.DataFrame:
    """Rows of ``predictions``: all patients of the cohort are one fold, for they meet one and the same model."""
    endpoint = prepared.endpoints[plan.endpoint]
    keys = set(other.outcomes[plan.endpoint]["patient_id"])
    clinical = other.cohort.clinical
    rows = clinical[clinical["patient_id"].isin(keys)].reset_index(drop=True)
    inputs, blocks = plan.predictors.inputs, plan.predictors.blocks
    X = assemble(rows, other.features_patient, inputs, blocks, speaks_at=endpoint.prediction_time)
    months = report_months(endpoint.horizon_months if endpoint.kind == "binary" else None)
    table = pd.DataFrame({"endpoint": plan.endpoint, "model": plan.name, "patient_id": X.index, "repeat": 0, "fold": 0})
    if "harmonise" in pipeline.named_steps:
        moment = endpoint.prediction_time
        sites = site_table(experiment, rows, prepared.available_at, speaks_at=moment)
        pipeline.set_params(harmonise__sites=sites)
        table["site_unseen"] = pipeline.named_steps["harmonise"].of_unseen_site(X)
    table["risk"] = pipeline_risk(pipeline, X)
    probability = pipeline_probability(pipeline, X, months)
    for column, month in enumerate(months):
        table[f"probability_{month:.0f}m"] = probability[:, column]
    return table
