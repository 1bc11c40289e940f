"""What every model of an experiment is before it is fitted: its inputs, its recipe, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.config import EndpointConfig, ExperimentConfig, FeatureSetConfig, LearnerName, load_endpoints
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import Predictors, build_predictors
from radiomics_crlm.modelling.glassbox import require_interpret
from radiomics_crlm.modelling.harmonisation import Harmonisation
from radiomics_crlm.modelling.lesion_learners import LesionLearner
from radiomics_crlm.modelling.operating import Operating, ThresholdRule
from radiomics_crlm.modelling.recipe import LESIONS, Recipe, not_deliverable, why_not
from radiomics_crlm.modelling.robustness import Robustness
from radiomics_crlm.modelling.tuning import Range, Search
from radiomics_crlm.schema import refuse_later
from radiomics_crlm.study.prepare import Prepared
from radiomics_crlm.study.sites import harmonisation_of
from radiomics_crlm.study.stable_features import robustness_for


@dataclass(frozen=True)
class Plan:
    """One model before it is fitted: what it sees and how it learns."""

    endpoint: str
    name: str
    predictors: Predictors
    recipe: Recipe


def plan_models(experiment: ExperimentConfig, prepared: Prepared, *, allow_leak: bool) -> tuple[Plan, ...]:
    """Decide, before anything is fitted, what every model of every endpoint sees.

    Raises
    ------
    LeakError
        If a feature set names a column that is known only after the endpoint's prediction time, unless ``allow_leak``.
    ConfigError, InputError
        If a feature set does not fit the cohort.
    """
    plans = []
    for name, endpoint in prepared.endpoints.items():
        refuse_late_rules(experiment, prepared, endpoint)
        clinical = _rows_of(prepared, name)
        harmonisation = harmonisation_of(
            experiment, clinical, prepared.available_at, speaks_at=endpoint.prediction_time
        )  # fmt: skip
        for set_name, feature_set in experiment.feature_sets.items():
            predictors = build_predictors(
                feature_set,
                clinical=clinical,
                features_patient=prepared.features_patient,
                available_at=prepared.available_at,
                speaks_at=endpoint.prediction_time,
                allow_leak=allow_leak,
                never={c for c in (endpoint.event, endpoint.months, endpoint.competing) if c is not None},
                features_lesion=None if prepared.extraction is None else prepared.extraction.features_lesion,
            )
            robustness = robustness_for(feature_set, predictors, endpoint, prepared.perturbed)
            sources = {spec.source for spec in predictors.inputs} | _level(feature_set)
            plans += [
                Plan(
                    name,
                    f"{set_name}/{learner}",
                    predictors,
                    _recipe(set_name, predictors, endpoint, learner, experiment, robustness, harmonisation),
                )
                for learner in experiment.learners
                if not why_not(learner, endpoint.kind, sources)
            ]
    return tuple(plans)


def check_learners(experiment: ExperimentConfig) -> None:
    """Refuse, before there are data, learners that fit nothing here and deliveries that cannot be made.

    A learner that fits some endpoints and feature sets is planned for those.

    Raises
    ------
    ConfigError
        If the package of a learner is absent, a learner fits no endpoint and feature set, an endpoint has no learner,
        or one that is to be delivered does not fit there or cannot be frozen.
    """
    if "ebm" in experiment.learners:
        require_interpret()
    kinds = {name: endpoint.kind for name, endpoint in load_endpoints().items() if name in experiment.endpoints}
    sources = {name: sources_of(feature_set) for name, feature_set in experiment.feature_sets.items()}
    for learner in experiment.learners:
        reasons = [why_not(learner, kind, blocks) for kind in kinds.values() for blocks in sources.values()]
        if all(reasons) and reasons:
            raise ConfigError("a learner fits no endpoint and feature set of the experiment", got=reasons[0])
    for endpoint, kind in kinds.items():
        if all(why_not(learner, kind, blocks) for learner in experiment.learners for blocks in sources.values()):
            raise ConfigError("no learner of the experiment fits an endpoint", where=endpoint, got=kind)
    for endpoint, model in experiment.deliver.items():
        feature_set, named = model.split("/")
        task = kinds.get(endpoint, "time_to_event")
        reason = why_not(named, task, sources[feature_set]) or not_deliverable(named, task)
        if reason := reason or _why_not_bundled(experiment, experiment.feature_sets[feature_set]):
            raise ConfigError(
                "this model cannot be delivered",
                where=f"{endpoint}, {model}",
                got=reason,
                remedy="remove it from deliver",
            )


def _why_not_bundled(experiment: ExperimentConfig, feature_set: FeatureSetConfig) -> str:
    """What a bundle cannot hold of a model of a feature set; empty if it can hold all."""
    if feature_set.level == "lesion":
        return LesionLearner.not_deliverable
    if experiment.harmonisation is not None and feature_set.selections:
        return "its inputs are harmonised between sites, which a bundle does not know"
    if experiment.operating is not None and experiment.operating.calibration != "none":
        return "its probabilities are recalibrated inside the fold, which a bundle cannot hold"
    return ""


def sources_of(feature_set: FeatureSetConfig) -> set[str]:
    """What a feature set holds: clinical columns, radiomics, or both; and whether it is about lesions."""
    wanted = (("clinical", feature_set.columns), ("radiomics", feature_set.radiomics))
    return {name for name, some in wanted if some} | _level(feature_set)


def _level(feature_set: FeatureSetConfig) -> set[str]:
    return {LESIONS} if feature_set.level == "lesion" else set()


def refuse_late_rules(experiment: ExperimentConfig, prepared: Prepared, endpoint: EndpointConfig) -> None:
    """Refuse comparators that need an input which is known only after the endpoint's prediction time."""
    inputs = {
        column
        for rule in experiment.comparators
        for column in rule_engine.inputs_of(rule)
        if column in prepared.cohort.clinical
    }
    refuse_later({c: prepared.available_at[c] for c in sorted(inputs)}, endpoint.prediction_time)


def _rows_of(prepared: Prepared, endpoint: str) -> pd.DataFrame:
    keys = set(prepared.outcomes[endpoint]["patient_id"])
    clinical = prepared.cohort.clinical
    return clinical[clinical["patient_id"].isin(keys)].reset_index(drop=True)


def _recipe(
    feature_set: str,
    predictors: Predictors,
    endpoint: EndpointConfig,
    learner: LearnerName,
    experiment: ExperimentConfig,
    robustness: Robustness | None,
    harmonisation: Harmonisation | None,
) -> Recipe:
    has_radiomics = any(spec.source == "radiomics" for spec in predictors.inputs)
    selection, scans = experiment.selection, predictors.block_names()
    columns = tuple(
        ColumnSpec(
            spec.name,
            spec.kind,
            categories=spec.categories,
            log=spec.log,
            # Beside many radiomic columns the few clinical ones always stay: the question is what radiomics adds to
            # them.
            keep=has_radiomics and spec.source == "clinical",
            block=spec.source,
            scan=scans.get(spec.name, ""),
        )
        for spec in predictors.inputs
    )
    return Recipe(
        feature_set=feature_set,
        columns=columns,
        learner=learner,
        kind=endpoint.kind,
        select_k=selection.k if has_radiomics and selection.method != "none" else None,
        selection="univariate" if selection.method == "none" else selection.method,
        seed=experiment.design.seed,
        robustness=robustness,
        search=_search_of(experiment, learner),
        operating=_operating_of(experiment, endpoint),
        harmonisation=harmonisation if has_radiomics else None,
        aggregate=predictors.aggregate,
    )


def _search_of(experiment: ExperimentConfig, learner: LearnerName) -> Search | None:
    tuning = experiment.tuning
    if tuning.method == "grid":
        return None
    ranges = {name: Range(r.low, r.high, r.log) for name, r in tuning.space.get(learner, {}).items()}
    return Search(tuning.trials, ranges)


def _operating_of(experiment: ExperimentConfig, endpoint: EndpointConfig) -> Operating | None:
    asked = experiment.operating
    if asked is None:
        return None
    rules = [
        ThresholdRule("sensitivity", t.sensitivity)
        if t.sensitivity is not None
        else ThresholdRule("net_benefit", *(t.net_benefit or ()))
        for t in asked.thresholds
    ]
    at = endpoint.horizon_months if endpoint.kind == "binary" else None
    return Operating(
        None if asked.calibration == "none" else asked.calibration, tuple(rules), float(at or asked.months)
    )


def check_deliverable(experiment: ExperimentConfig, prepared: Prepared, plans: Sequence[Plan]) -> None:
    """Refuse to deliver a model whose features nobody could make again.

    Raises
    ------
    ConfigError
        If a delivered model uses radiomics that came as a table from outside.
    """
    for plan in plans:
        delivered = experiment.deliver.get(plan.endpoint) == plan.name
        if delivered and plan.predictors.blocks and prepared.extraction is None:
            raise ConfigError(
                "a model on features from outside cannot be delivered: nobody could extract them again",
                where=f"{plan.endpoint}, {plan.name}",
                remedy="remove it from deliver",
            )
