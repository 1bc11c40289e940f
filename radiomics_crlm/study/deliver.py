"""The models that are delivered: frozen into plain numbers and sealed as bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.config import EndpointConfig, ExperimentConfig
from radiomics_crlm.features.extract import engine
from radiomics_crlm.features.profiles import load_profiles, profile_for, settings_hash
from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.scans import ScanBlock, ScanSelection
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.provenance.versions import versions
from radiomics_crlm.schema import later_than
from radiomics_crlm.scoring.bundle import BundleContent, Extraction, describe_training, write_bundle
from radiomics_crlm.scoring.novelty import describe_novelty
from radiomics_crlm.scoring.shape import describe_shift
from radiomics_crlm.study.evaluate import count_outcomes, subgroups_of
from radiomics_crlm.study.plans import Plan
from radiomics_crlm.study.prepare import Prepared
from radiomics_crlm.study.uncertainty import COVERAGE, uncertainty_of

# Months at which probabilities are given; a binary model has its own horizon only.
_HORIZONS = (12, 24, 36)
_COVERAGE = "conformal_coverage.parquet"


@dataclass(frozen=True)
class Delivered:
    """One delivered model: which it is, where its bundle lies (relative to the study) and the bundle's SHA-256."""

    model: str
    bundle: str
    sha256: str


def deliver(
    experiment: ExperimentConfig,
    prepared: Prepared,
    finals: Mapping[str, tuple[Plan, Pipeline]],
    out: Path,
    *,
    predictions: pd.DataFrame,
    refits: pd.DataFrame,
) -> dict[str, Delivered]:
    """Write a bundle per endpoint that delivers a model; a model that was let leak is never bundled.

    Parameters
    ----------
    experiment, prepared
        The experiment and its tables.
    finals
        Plan and final model of each endpoint.
    out
        Folder of the study; gets ``bundles/ENDPOINT`` and the table ``conformal_coverage``.
    predictions, refits
        Tables ``predictions`` (out of fold) and ``instability`` of all models, from which the uncertainty of the
        delivered ones is judged.
    """
    delivered, coverage = {}, []
    levels = subgroups_of(prepared.cohort.clinical, experiment)
    for name, (plan, pipeline) in finals.items():
        endpoint = prepared.endpoints[name]
        if plan.predictors.admitted:
            continue
        model = freeze(pipeline)
        own, refitted = (_rows_of(table, name, plan.name) for table in (predictions, refits))
        months = [month for month in _horizons(endpoint) if model.speaks_at(month)]
        known, rows = uncertainty_of(own, prepared.outcomes[name], refitted, endpoint, months, levels=levels)
        coverage.append(rows.assign(endpoint=name, model=plan.name)[COVERAGE])
        judging = {"uncertainty": known, **_reference(prepared, plan, model)}
        content = _describe(experiment, prepared, plan, endpoint, judging)
        relative = f"bundles/{name}"
        delivered[name] = Delivered(plan.name, relative, write_bundle(out / relative, content, model))
    if coverage:
        write_table(pd.concat(coverage, ignore_index=True), out / "tables" / _COVERAGE, "conformal_coverage")
    return delivered


def _rows_of(table: pd.DataFrame, endpoint: str, model: str) -> pd.DataFrame:
    return table[(table["endpoint"] == endpoint) & (table["model"] == model)] if len(table) else table


def _reference(prepared: Prepared, plan: Plan, model: FrozenModel) -> dict[str, Any]:
    """Where the training patients lie, and how their inputs are distributed."""
    table = plan.predictors.table
    scans = prepared.cohort.clinical.set_index("patient_id").loc[table.index]
    return {
        "novelty": describe_novelty(model, table, seed=plan.recipe.seed),
        "shift": describe_shift(table, plan.predictors.inputs, scans),
    }


def _horizons(endpoint: EndpointConfig) -> tuple[int, ...]:
    return _HORIZONS if endpoint.horizon_months is None else (round(endpoint.horizon_months),)


def _describe(
    experiment: ExperimentConfig, prepared: Prepared, plan: Plan, endpoint: EndpointConfig, judging: Mapping[str, Any]
) -> BundleContent:
    predictors = plan.predictors
    events = count_outcomes(prepared.outcomes[plan.endpoint], endpoint)["events"]
    return BundleContent(
        name=f"{experiment.name}_{plan.endpoint}",
        title=f"{endpoint.title}: {experiment.feature_sets[plan.name.split('/')[0]].title}",
        endpoint=plan.endpoint,
        definition=endpoint,
        model=plan.name,
        speaks_at=endpoint.prediction_time,
        inputs=predictors.inputs,
        **_radiomics(experiment, prepared, predictors.blocks),
        training=describe_training(predictors.table, predictors.inputs, events=events),
        horizons=_horizons(endpoint),
        rules=_rules_in_time(experiment, prepared, endpoint),
        cautions=tuple(" ".join(c.split()) for c in experiment.cautions),
        performance_claim=experiment.performance_claim,
        versions=versions(),
        **judging,
    )


def _rules_in_time(experiment: ExperimentConfig, prepared: Prepared, endpoint: EndpointConfig) -> tuple[str, ...]:
    """Rules that can be shown beside the model: none that needs what is known only later."""
    return tuple(
        rule
        for rule in experiment.rules
        if not later_than(
            {c: prepared.available_at[c] for c in rule_engine.inputs_of(rule) if c in prepared.available_at},
            endpoint.prediction_time,
        )
    )


def _radiomics(experiment: ExperimentConfig, prepared: Prepared, blocks: Sequence[ScanBlock]) -> dict[str, Any]:
    """What a bundle says of the scans of its model: one kind that every patient needs, or blocks."""
    if not blocks or prepared.extraction is None:
        return {}
    made = {str(block.scans): _extraction(experiment, block.scans) for block in blocks}
    if all(block.plain and block.required for block in blocks):
        return {"scans": blocks[0].scans, "extraction": made[str(blocks[0].scans)]}
    # Inputs are named one by one, so patterns have nothing left to choose.
    return {"blocks": tuple(replace(block, patterns=()) for block in blocks), "extractions": made}


def _extraction(experiment: ExperimentConfig, scans: ScanSelection) -> Extraction | None:
    profile = profile_for(load_profiles().for_scans(experiment.profiles), scans.modality, scans.sequence)
    if profile is None:
        return None
    return Extraction(
        profile=profile.name,
        settings=profile.model_dump(mode="json", exclude={"name", "description"}),
        settings_hash=settings_hash(profile, engine()),
        engine=engine(),
    )
