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
from radiomics_crlm.evaluation.subgroups import subgroup_levels
from radiomics_crlm.evaluation.summary import evaluate_endpoint
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.study.answer import answers_of
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
    """Compute the tables of the evaluation from those of a trained study and write them beside.

    Returns
    -------
    metrics, comparisons
        The two tables that every reader starts from; the others are described in :mod:`evaluation.summary`.

    Raises
    ------
    InputError
        If a table of the study is absent or breaks its schema.
    ConfigError
        If the experiment names subgroups that do not fit the cohort.
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
    """Compute the tables of the evaluation from those of one cohort and write them beside.

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
    ConfigError
        If the experiment names subgroups that do not fit the cohort.
    """
    predictions = read_table(tables / "predictions.parquet", "predictions")
    outcomes = read_table(tables / "outcomes.parquet", "outcomes")
    folds = read_table(tables / "folds.parquet", "folds")
    external = tables.parent.name == EXTERNAL
    if not external:
        outcomes = of_tested(outcomes, folds, experiment.design)
    rules, clinical = (read_table(tables / f"{name}.parquet", name) for name in ("rules", "clinical"))
    scores = rule_scores(rules, clinical, experiment)
    levels = subgroups_of(clinical, experiment, external=external)
    permuted = tables / "permuted_outcomes.parquet"
    shuffled = read_table(permuted, "permuted_outcomes") if permuted.is_file() else None
    parts: list[dict[str, pd.DataFrame]] = []
    as_models = []
    for number, name in enumerate(experiment.endpoints):
        progress("evaluate", number, len(experiment.endpoints))
        endpoint = definitions[name]
        outcome = outcomes[outcomes["endpoint"] == name]
        judged = rule_predictions(rules, clinical, outcome, folds, experiment, endpoint, name)
        as_models += [judged] if len(judged) else []
        found = evaluate_endpoint(
            predictions,
            outcomes,
            folds,
            endpoint=name,
            horizon=endpoint.horizon_months,
            kind=endpoint.kind,
            seed=experiment.design.seed,
            draws=experiment.design.bootstrap_draws,
            rules=_oriented(scores, endpoint, outcomes, name),
            rule_models=judged if len(judged) else None,
            levels=levels,
            categories=experiment.risk_categories,
            random_folds=experiment.design.kind == "repeated_cv" and not external,
        )
        if experiment.answer is not None:
            found["answers"] = answers_of(experiment, endpoint, name, found["metrics"], found["comparisons"], shuffled)
        parts.append(found)
    if as_models:
        write_table(pd.concat(as_models, ignore_index=True), tables / "rule_predictions.parquet", "rule_predictions")
    progress("evaluate", len(experiment.endpoints), len(experiment.endpoints))
    written = {name: _write(parts, name, tables) for name in parts[0]}
    return written["metrics"], written["comparisons"]


def subgroups_of(
    clinical: pd.DataFrame, experiment: ExperimentConfig, *, external: bool = False
) -> pd.DataFrame | None:
    """Levels of the subgroups that the experiment names, by patient; None if it names none.

    An external cohort is judged in those of its columns; the cohort itself needs all of them.

    Raises
    ------
    ConfigError
        For columns that are absent, or cut points that do not fit.
    """
    columns = {c: cuts for c, cuts in experiment.subgroups.items() if not external or c in clinical}
    return subgroup_levels(clinical.set_index("patient_id"), columns) if columns else None


def _write(parts: list[dict[str, pd.DataFrame]], name: str, tables: Path) -> pd.DataFrame:
    """Write the rows of all endpoints as one table."""
    filled = [part[name] for part in parts if len(part[name])]
    table = pd.concat(filled, ignore_index=True) if filled else parts[0][name]
    return write_table(table, tables / f"{name}.parquet", name)


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
