"""The question, answered: controls that a study plans itself, permuted outcomes, and the table of all arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import (
    CONTROL_SETS,
    AnswerConfig,
    EndpointConfig,
    ExperimentConfig,
    FeatureSetConfig,
    RadiomicsSelection,
    SelectionConfig,
)
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.answer import ANSWERS, ARMS, PERMUTED, Arm, answer_table, discrimination
from radiomics_crlm.modelling.outer import CvDesign
from radiomics_crlm.modelling.recipe import why_not
from radiomics_crlm.study.checkpoints import Checkpoints
from radiomics_crlm.study.cross_validation import cross_validate
from radiomics_crlm.study.models import design_of
from radiomics_crlm.study.plans import Plan, plan_models, sources_of
from radiomics_crlm.study.prepare import Prepared, Progress

VOLUME, EXCHANGED = CONTROL_SETS
# Streams of random numbers that nothing else uses.
_EXCHANGE, _PERMUTE = 20_001, 20_002


def plan_controls(
    experiment: ExperimentConfig, prepared: Prepared, plans: Sequence[Plan], *, allow_leak: bool
) -> tuple[Plan, ...]:
    """Models that a study plans to answer its question: of the volume alone, and of radiomics of other patients.

    Parameters
    ----------
    experiment, prepared
        The experiment and its tables.
    plans
        Models that the experiment names.
    allow_leak
        As for these.

    Returns
    -------
    tuple of Plan
        None unless the experiment asks for controls and has the arms that they belong to.
    """
    asked = experiment.answer
    if asked is None or not asked.controls:
        return ()
    return (*_volume_plans(experiment, asked, prepared, allow_leak), *_exchanged_plans(experiment, asked, plans))


def learner_of(experiment: ExperimentConfig, asked: AnswerConfig) -> str:
    """The learner of all arms."""
    return asked.learner or experiment.learners[0]


def _volume_plans(
    experiment: ExperimentConfig, asked: AnswerConfig, prepared: Prepared, allow_leak: bool
) -> tuple[Plan, ...]:
    """A model of the columns of volume alone, from the scans of the arm with radiomics; none without such columns.

    Where that arm has several kinds of scans and not all have the columns, those of the first that has.
    """
    name = asked.combined or asked.radiomics
    selections = [] if name is None else [
        selection.model_copy(update={"columns": asked.volume, "robustness": None})
        for selection in experiment.feature_sets[name].selections
    ]  # fmt: skip
    choices: list[RadiomicsSelection | tuple[RadiomicsSelection, ...]] = list(selections)
    for radiomics in [tuple(selections), *choices] if len(selections) > 1 else choices:
        alone = experiment.model_copy(
            update={
                "feature_sets": {VOLUME: FeatureSetConfig(title="volume", radiomics=radiomics)},
                "learners": (learner_of(experiment, asked),),
                # A volume is what it is: nothing to choose from, and the same in all centres.
                "selection": SelectionConfig(method="none"),
                "harmonisation": None,
            }
        )
        try:
            return plan_models(alone, prepared, allow_leak=allow_leak)
        except ConfigError:  # no column matches; the models of the experiment itself have been planned before
            continue
    return ()


def _exchanged_plans(experiment: ExperimentConfig, asked: AnswerConfig, plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The combined model of each endpoint, its radiomics exchanged between patients."""
    name = f"{asked.combined}/{learner_of(experiment, asked)}"
    found = []
    for plan in plans:
        if plan.name == name:
            columns = [spec.name for spec in plan.predictors.inputs if spec.source == "radiomics"]
            table = exchanged(plan.predictors.table, columns, seed=experiment.design.seed)
            recipe = replace(plan.recipe, feature_set=EXCHANGED)
            found.append(Plan(plan.endpoint, recipe.name, replace(plan.predictors, table=table), recipe))
    return tuple(found)


def exchanged(table: pd.DataFrame, columns: Sequence[str], *, seed: int) -> pd.DataFrame:
    """A table in which the cells of some columns went to another patient, whole rows at once; nobody keeps the own.

    Parameters
    ----------
    table
        One row per patient, at least two.
    columns
        What is exchanged.
    seed
        Decides who gets whose.

    Examples
    --------
    >>> table = pd.DataFrame({"a": [1, 2, 3], "b": [10, 20, 30], "c": [0, 1, 2]})
    >>> given = exchanged(table, ["a", "b"], seed=1)
    >>> (given["a"] * 10).equals(given["b"]), (given["a"] != table["a"]).tolist(), given["c"].tolist()
    (True, [True, True, True], [0, 1, 2])
    """
    ring = np.random.default_rng([seed, _EXCHANGE]).permutation(len(table))
    giver = np.empty(len(table), dtype=np.int64)
    giver[ring] = np.roll(ring, 1)
    given = table[list(columns)].iloc[giver].set_axis(table.index)
    return pd.concat([table.drop(columns=list(columns)), given], axis=1)[list(table.columns)]


def permute_outcomes(
    experiment: ExperimentConfig,
    prepared: Prepared,
    plans: Sequence[Plan],
    predictions: pd.DataFrame,
    *,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> pd.DataFrame:
    """Refit the combined (else the clinical) model of every endpoint on permuted outcomes.

    Outcomes go to another patient of the same outer fold of the first repeat, so every fold keeps its events, its
    centre and its time, and each model is tested on the folds of all the others.

    Parameters
    ----------
    experiment, prepared, plans
        The experiment, its tables and its models.
    predictions
        Table ``predictions`` of the models with the true outcome.
    jobs, dask, checkpoints
        As in :func:`study.models.train_models`; the result depends on none of them.
    progress
        Callback ``(stage, done, total)``.

    Returns
    -------
    DataFrame
        Table ``permuted_outcomes``; no rows unless the experiment asks for permutations.
    """
    asked = experiment.answer
    model = "" if asked is None or not asked.permutations else _permuted_model(experiment, asked)
    true = [first_repeat(design_of(experiment, prepared, plan)) for plan in plans if plan.name == model]
    count = asked.permutations if asked is not None and true else 0
    designs = [permuted(design, number) for design in true for number in range(1, count + 1)]
    results = cross_validate(
        designs,
        checkpoints=checkpoints,
        jobs=jobs,
        dask=dask,
        on_progress=lambda done, total: progress("permute", done, total),
    )
    rows = [_permuted_row(prepared, design, 0, _first_of(design, model, predictions)) for design in true]
    rows += [
        _permuted_row(prepared, design, 1 + position % count, result.predictions)
        for position, (design, result) in enumerate(zip(designs, results, strict=True))
    ]
    return pd.DataFrame(rows, columns=PERMUTED)


def metric_of(endpoint: EndpointConfig) -> str:
    """Name of the rank statistic of an endpoint."""
    return "auc" if endpoint.kind == "binary" else "c_index"


def _permuted_model(experiment: ExperimentConfig, asked: AnswerConfig) -> str:
    """The combined model, else the clinical one, else the radiomic one."""
    return f"{asked.combined or asked.clinical or asked.radiomics}/{learner_of(experiment, asked)}"


def first_repeat(design: CvDesign) -> CvDesign:
    """The same model on the folds of the first repeat alone."""
    return replace(design, folds=design.folds[design.folds.columns[:1]])


def permuted(design: CvDesign, number: int) -> CvDesign:
    """A design of one repeat in which outcomes are permuted among the patients of each fold.

    Parameters
    ----------
    design
        With the true outcomes.
    number
        Of the permutation; it and the seed of the design decide.
    """
    fold = design.folds.to_numpy()[:, 0]
    generator = np.random.default_rng([design.seed, _PERMUTE, number])
    giver = np.arange(fold.size)
    for one in np.unique(fold):
        members = np.flatnonzero(fold == one)
        giver[members] = generator.permutation(members)
    return replace(design, y=design.y[giver])


def _first_of(design: CvDesign, model: str, predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions of the model itself, in the first repeat."""
    own = predictions[(predictions["endpoint"] == design.endpoint) & (predictions["model"] == model)]
    return own[own["repeat"] == design.folds.columns[0]]


def _permuted_row(prepared: Prepared, design: CvDesign, number: int, predictions: pd.DataFrame) -> tuple[Any, ...]:
    endpoint = prepared.endpoints[design.endpoint]
    outcome = pd.DataFrame({"patient_id": design.X.index, "endpoint": design.endpoint})
    outcome = outcome.assign(event=design.y["event"], months=design.y["months"])
    value = discrimination(
        predictions, outcome, endpoint=design.endpoint, kind=endpoint.kind, horizon=endpoint.horizon_months
    )
    return design.endpoint, design.recipe.name, number, metric_of(endpoint), value


def answers_of(
    experiment: ExperimentConfig,
    endpoint: EndpointConfig,
    name: str,
    metrics: pd.DataFrame,
    comparisons: pd.DataFrame,
    permuted: pd.DataFrame | None,
) -> pd.DataFrame:
    """Rows of the table ``answers`` of one endpoint; none if the experiment names no arms.

    Parameters
    ----------
    experiment, endpoint, name
        The experiment, the endpoint and its name.
    metrics, comparisons, permuted
        Tables of the evaluation, and ``permuted_outcomes`` (None where nothing was permuted).
    """
    asked = experiment.answer
    if asked is None:
        return pd.DataFrame(columns=ANSWERS)
    arms = _arms(experiment, asked, endpoint, external=permuted is None)
    return answer_table(metrics, comparisons, permuted, endpoint=name, metric=metric_of(endpoint), arms=arms)


def _arms(
    experiment: ExperimentConfig, asked: AnswerConfig, endpoint: EndpointConfig, *, external: bool
) -> dict[str, Arm]:
    learner = learner_of(experiment, asked)
    arms = {"rules": _rule_arm(experiment, asked)}
    for arm in ("clinical", "radiomics", "combined"):
        name = asked.named().get(arm)
        reason = f"the experiment names no {arm} feature set"
        if name is not None:
            blocks = sources_of(experiment.feature_sets[name])
            reason = why_not(learner, endpoint.kind, blocks) or "the model was not fitted"
        arms[arm] = Arm("" if name is None else f"{name}/{learner}", reason)
    radiomics = asked.combined or asked.radiomics
    columns = f"no column of the features matches {', '.join(asked.volume)}"
    arms[VOLUME] = _control_arm(asked, VOLUME, learner, columns if radiomics else "the experiment has no radiomics")
    unnamed = "the model was not fitted" if asked.combined else arms["combined"].reason
    arms[EXCHANGED] = _control_arm(asked, EXCHANGED, learner, unnamed)
    why = "no outcome was permuted in this cohort" if external else "the model was not fitted"
    why = why if asked.permutations else "no permutations were asked for"
    arms[ARMS[-1]] = Arm(_permuted_model(experiment, asked), why)
    return arms


def _rule_arm(experiment: ExperimentConfig, asked: AnswerConfig) -> Arm:
    rule = asked.rule or next(iter((*experiment.comparators, *experiment.reported_scores)), None)
    if rule is None:
        return Arm("", "the experiment names no rule or score to compare with")
    return Arm(rule, "it can be assessed in no patient, or is the same for all")


def _control_arm(asked: AnswerConfig, feature_set: str, learner: str, reason: str) -> Arm:
    return Arm(f"{feature_set}/{learner}", reason if asked.controls else "controls are switched off")
