"""Training: every model of every endpoint on the shared folds, its explanation, and the bundles that are delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.config import EndpointConfig, ExperimentConfig, FeatureSetConfig
from radiomics_crlm.explanation import TABLES, explanation_tables
from radiomics_crlm.modelling.checks import check_design
from radiomics_crlm.modelling.outer import CvDesign, CvResult
from radiomics_crlm.modelling.recipe import why_not
from radiomics_crlm.modelling.train import cv_design, fit_final
from radiomics_crlm.study.checkpoints import Checkpoints
from radiomics_crlm.study.cross_validation import cross_validate, explanation_of, keep_explanation
from radiomics_crlm.study.plans import Plan, sources_of
from radiomics_crlm.study.prepare import Prepared, Progress


@dataclass(frozen=True)
class Trained:
    """What training leaves: tables, and what the run record says of each model."""

    plans: tuple[Plan, ...]
    predictions: pd.DataFrame
    tuning: pd.DataFrame
    explanations: Mapping[str, pd.DataFrame]
    thresholds: pd.DataFrame
    delivered: Mapping[str, tuple[Plan, Pipeline]]


def train_models(
    experiment: ExperimentConfig,
    prepared: Prepared,
    plans: Sequence[Plan],
    *,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> Trained:
    """Cross-validate every plan on the shared folds, explain and refit the models that are delivered.

    Outer folds and explanations that ``checkpoints`` hold are not done again. ``jobs`` and ``dask`` (address of a
    scheduler) are for the outer folds of all models, in one queue; the result does not depend on them.

    Raises
    ------
    InputError
        Before the first fit: too few events, a constant target, a fold without events.
    """
    results, explanations = fold_results(
        experiment, prepared, plans, jobs=jobs, progress=progress, dask=dask, checkpoints=checkpoints
    )
    delivered = _delivered(experiment, plans)
    return Trained(
        tuple(plans),
        pd.concat([r.predictions for r in results], ignore_index=True),
        pd.concat([r.tuning for r in results], ignore_index=True),
        _joined(explanations),
        pd.concat([r.thresholds for r in results], ignore_index=True),
        {plans[n].endpoint: (plans[n], final_model(experiment, prepared, plans[n])) for n in delivered},
    )


def fold_results(
    experiment: ExperimentConfig,
    prepared: Prepared,
    plans: Sequence[Plan],
    *,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[list[CvResult], list[dict[str, pd.DataFrame]]]:
    """Outer folds of every plan, and the tables that explain those that are explained (parameters of `train_models`).

    Explained are the models that are delivered; where an endpoint delivers none, the one that its card shows.
    """
    designs = [design_of(experiment, prepared, plan) for plan in plans]
    explained = {n: explanation_of(designs[n], checkpoints) for n in _explained(experiment, plans)}
    results = cross_validate(
        designs,
        models=[n for n, tables in explained.items() if tables is None],
        checkpoints=checkpoints,
        jobs=jobs,
        dask=dask,
        on_progress=lambda done, total: progress("train", done, total),
    )
    explanations = []
    for n, tables in explained.items():
        if tables is None:
            tables = explanation_tables(results[n], data_of(prepared, plans[n]).predictors)
            keep_explanation(designs[n], tables, checkpoints)
        explanations.append(tables)
    return results, explanations


def _joined(explanations: Sequence[Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Tables of all explained models; those that none has are left out."""
    parts = {name: [tables[name] for tables in explanations if name in tables] for name in TABLES}
    return {name: pd.concat(found, ignore_index=True) for name, found in parts.items() if found}


def _delivered(experiment: ExperimentConfig, plans: Sequence[Plan]) -> list[int]:
    """Positions of the plans whose model is delivered."""
    return [n for n, plan in enumerate(plans) if experiment.deliver.get(plan.endpoint) == plan.name]


def _explained(experiment: ExperimentConfig, plans: Sequence[Plan]) -> list[int]:
    """Positions of the plans whose model is explained: one per endpoint."""
    shown = {plan.endpoint: experiment.deliver.get(plan.endpoint) or _richest(experiment, plan) for plan in plans}
    return [n for n, plan in enumerate(plans) if shown[plan.endpoint] == plan.name]


def _richest(experiment: ExperimentConfig, plan: Plan) -> str:
    """Where nothing is delivered the card shows the first model of the feature set that holds most."""
    fitting = {
        name: [n for n in experiment.learners if not why_not(n, plan.recipe.kind, sources_of(feature_set))]
        for name, feature_set in experiment.feature_sets.items()
    }
    able = [name for name, learners in fitting.items() if learners]
    richest = max(able, key=lambda name: _breadth(experiment.feature_sets[name]))
    return f"{richest}/{fitting[richest][0]}"


def _breadth(feature_set: FeatureSetConfig) -> int:
    return (feature_set.radiomics is not None) + bool(feature_set.columns)


def design_of(experiment: ExperimentConfig, prepared: Prepared, plan: Plan) -> CvDesign:
    """A model and its outer folds, checked (refusals as in :func:`check_designs`)."""
    data = data_of(prepared, plan)
    return cv_design(
        data.predictors,
        data.outcome,
        data.folds,
        plan.recipe,
        endpoint=plan.endpoint,
        horizon=data.endpoint.horizon_months,
        inner_folds=experiment.design.inner_folds,
        seed=experiment.design.seed,
        min_events=data.endpoint.min_events,
        forward=experiment.design.kind == "temporal",
    )


def final_model(experiment: ExperimentConfig, prepared: Prepared, plan: Plan) -> Pipeline:
    """The model of the whole cohort: tuned by inner cross-validation, then fitted on all."""
    data = data_of(prepared, plan)
    return fit_final(
        data.predictors,
        data.outcome,
        plan.recipe,
        endpoint=plan.endpoint,
        horizon=data.endpoint.horizon_months,
        inner_folds=experiment.design.inner_folds,
        seed=experiment.design.seed,
        min_events=data.endpoint.min_events,
    )


def check_designs(experiment: ExperimentConfig, prepared: Prepared, plans: Sequence[Plan]) -> None:
    """Refuse a study of which any model could not be fitted, before the first one is.

    Raises
    ------
    InputError
        Naming the endpoint, the fold and the numbers: too few events, a constant target, a fold without events.
    """
    for plan in plans:
        data = data_of(prepared, plan)
        check_design(
            data.predictors,
            data.outcome,
            data.folds,
            plan.recipe,
            endpoint=plan.endpoint,
            horizon=data.endpoint.horizon_months,
            min_events=data.endpoint.min_events,
            forward=experiment.design.kind == "temporal",
        )


@dataclass(frozen=True)
class ModelData:
    """Predictors, outcomes and folds of one model, its patients alone."""

    endpoint: EndpointConfig
    predictors: pd.DataFrame
    outcome: pd.DataFrame
    folds: pd.DataFrame


def data_of(prepared: Prepared, plan: Plan) -> ModelData:
    """Predictors, outcomes and folds of the patients of a plan."""
    table = plan.predictors.table
    outcome = prepared.outcomes[plan.endpoint].set_index("patient_id")[["event", "months"]].loc[table.index]
    folds = prepared.folds[prepared.folds["patient_id"].isin(table.index)]
    return ModelData(prepared.endpoints[plan.endpoint], table, outcome, folds)
