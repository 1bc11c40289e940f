"""Evaluation of a trained study from its tables: metrics of models and rule scores on the same folds, paired
differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from radiomics_crlm.cohort.endpoints import CENSORED
from radiomics_crlm.cohort.splits import of_tested
from radiomics_crlm.config import EndpointConfig, ExperimentConfig, parse_config
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.study.prepare import Progress
from radiomics_crlm.study.rule_models import assessments, rule_predictions

EXTERNAL = "external"
"""Folder below the tables of a study that holds those of its external cohorts, each in a folder of its name."""


def rule_scores(rules: pd.DataFrame, clinical: pd.DataFrame, experiment: ExperimentConfig) -> pd.DataFrame:
    """One row per patient (index), one column per comparator; empty where a rule cannot be assessed.

    A rule contributes its score, its value if it is a formula, or the place of its stage. Delivered scores are taken
    as they stand in the chart.
    """
    return pd.DataFrame({one.name: one.score for one in assessments(rules, clinical, experiment)})


def evaluate_study(out: Path, *, progress: Progress) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute ``metrics`` and ``comparisons`` from the tables of a trained study and write them beside.

    Raises
    ------
    InputError
        If a table of the study is absent or breaks its schema.
    """
    run = read_json(out / "run.json", what="the record of the run")
    experiment = parse_config(ExperimentConfig, run["experiment"], where="run.json: experiment")
    definitions = {
        name: parse_config(EndpointConfig, run["endpoints"][name], where=f"run.json: {name}")
        for name in experiment.endpoints
    }
    # One fold is nothing to recalibrate in: in another cohort rules stand as they are.
    plain = experiment.model_copy(update={"rule_forms": ("rank",), "rule_policy": "complete_case"})
    for cohort in experiment.design.external:
        evaluate_tables(out / "tables" / EXTERNAL / cohort, plain, definitions, progress=progress)
    return evaluate_tables(out / "tables", experiment, definitions, progress=progress)


def evaluate_tables(
    tables: Path, experiment: ExperimentConfig, definitions: Mapping[str, EndpointConfig], *, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute ``metrics`` and ``comparisons`` from the tables of one cohort and write them beside.

    Parameters
    ----------
    tables
        Folder with ``predictions``, ``outcomes``, ``folds``, ``rules`` and ``clinical``.
    experiment, definitions
        The experiment and its endpoints.

    Raises
    ------
    InputError
        If a table is absent or breaks its schema.
    """
    predictions = read_table(tables / "predictions.parquet", "predictions")
    outcomes = read_table(tables / "outcomes.parquet", "outcomes")
    folds = read_table(tables / "folds.parquet", "folds")
    if tables.parent.name != EXTERNAL:
        outcomes = of_tested(outcomes, folds, experiment.design)
    rules, clinical = (read_table(tables / f"{name}.parquet", name) for name in ("rules", "clinical"))
    scores = rule_scores(rules, clinical, experiment)
    parts, as_models = [], []
    for number, name in enumerate(experiment.endpoints):
        progress("evaluate", number, len(experiment.endpoints))
        endpoint = definitions[name]
        parts.append(
            evaluate_predictions(
                predictions,
                outcomes,
                folds,
                endpoint=name,
                horizon=endpoint.horizon_months,
                kind=endpoint.kind,
                seed=experiment.design.seed,
                draws=experiment.design.bootstrap_draws,
                rules=_oriented(scores, endpoint, outcomes, name),
            )
        )
        outcome = outcomes[outcomes["endpoint"] == name]
        judged = rule_predictions(rules, clinical, outcome, folds, experiment, endpoint, name)
        if len(judged):
            as_models.append(judged)
            parts.append((_metrics_of_rules(judged, outcomes, folds, experiment, endpoint, name), parts[-1][1].head(0)))
    if as_models:
        write_table(pd.concat(as_models, ignore_index=True), tables / "rule_predictions.parquet", "rule_predictions")
    progress("evaluate", len(experiment.endpoints), len(experiment.endpoints))
    metrics = pd.concat([m for m, _ in parts], ignore_index=True)
    comparisons = pd.concat([c for _, c in parts], ignore_index=True)
    return (
        write_table(metrics, tables / "metrics.parquet", "metrics"),
        write_table(comparisons, tables / "comparisons.parquet", "comparisons"),
    )


def _metrics_of_rules(
    judged: pd.DataFrame,
    outcomes: pd.DataFrame,
    folds: pd.DataFrame,
    experiment: ExperimentConfig,
    endpoint: EndpointConfig,
    name: str,
) -> pd.DataFrame:
    """Metrics of rules that stand as models; their paired differences are those of the plain scores."""
    metrics, _ = evaluate_predictions(
        judged,
        outcomes,
        folds,
        endpoint=name,
        horizon=endpoint.horizon_months,
        kind=endpoint.kind,
        seed=experiment.design.seed,
        draws=experiment.design.bootstrap_draws,
    )
    return metrics


def _oriented(scores: pd.DataFrame, endpoint: EndpointConfig, outcomes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Scores with higher = event more likely, without those that nobody of the endpoint has or that are all alike.

    All rule scores grow with a worse prognosis, so for a good event such as conversion their sign turns.
    """
    patients = outcomes.loc[outcomes["endpoint"] == name, "patient_id"]
    here = scores.reindex(patients)
    usable = [column for column in scores.columns if here[column].nunique() > 1]
    return here[usable] if endpoint.higher_is_worse else -here[usable]


def count_outcomes(outcome: pd.DataFrame, endpoint: EndpointConfig) -> dict[str, int]:
    """Events, competing events and censored patients; by the horizon where the endpoint has one."""
    event, months = outcome["event"], outcome["months"]
    if endpoint.horizon_months is None:
        return {
            "events": int((event == 1).sum()),
            "competing": int((event == 2).sum()),
            "censored": int((event == 0).sum()),
        }
    within = months <= endpoint.horizon_months
    return {
        "events": int(((event == 1) & within).sum()),
        "competing": int(((event == 2) & within).sum()),
        "censored": int(((event == CENSORED) & (months < endpoint.horizon_months)).sum()),
    }
