"""What happened in every outer fold of every model: its rank statistic among its test patients, and what was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.cohort.splits import of_tested
from radiomics_crlm.config import EndpointConfig, ExperimentConfig
from radiomics_crlm.evaluation.bench import Bench, set_up_bench
from radiomics_crlm.evaluation.fold_intervals import fold_scores
from radiomics_crlm.provenance.tables import read_table

_FEWEST_DRAWS = 1


@dataclass(frozen=True)
class FoldRecord:
    """One outer fold of one model: numbers about its test patients, and the settings that the inner folds chose."""

    repeat: int
    fold: int
    metrics: Mapping[str, float]
    chosen: Mapping[str, str]


def fold_records(
    tables: Path, experiment: ExperimentConfig, definitions: Mapping[str, EndpointConfig]
) -> dict[tuple[str, str], list[FoldRecord]]:
    """Records of all outer folds, by endpoint and model, in the order of repeats and folds.

    A record has the rank statistic of the endpoint (``auc`` or ``c_index``; left out where a fold has no comparable
    pair), the numbers of test patients, ``inner_concordance`` of the chosen settings, and these settings.

    Raises
    ------
    InputError
        If a table is absent or breaks its schema.
    """
    predictions, outcomes, folds = (
        read_table(tables / f"{n}.parquet", n) for n in ("predictions", "outcomes", "folds")
    )
    tested = of_tested(outcomes, folds, experiment.design)
    chosen = _chosen(tables / "tuning.csv")
    found = {}
    for endpoint in experiment.endpoints:
        bench = set_up_bench(
            predictions, tested, folds, endpoint=endpoint, horizon=definitions[endpoint].horizon_months,
            kind=definitions[endpoint].kind, seed=experiment.design.seed, draws=_FEWEST_DRAWS, rules=None,
            rule_models=None, random_folds=experiment.design.kind == "repeated_cv",
        )  # fmt: skip
        for model in bench.scores:
            found[endpoint, model] = _of_model(bench, model, chosen.get((endpoint, model), {}))
    return found


def _of_model(bench: Bench, model: str, chosen: Mapping[tuple[int, int], Mapping[str, Any]]) -> list[FoldRecord]:
    rows = bench.assessed(model)
    fold = bench.fold[rows]
    scores = fold_scores(bench.statistic(bench.metric, rows), bench.scores[model].risk[rows], fold, bench.sample(rows))
    numbers = sorted({int(number) for number in fold.ravel()})
    records = []
    for repeat in range(fold.shape[1]):
        for position, number in enumerate(numbers):
            settings = dict(chosen.get((repeat, number), {}))
            inner = settings.pop("concordance", None)
            metrics = {
                bench.metric: float(scores.scores[repeat, position]),
                "test_patients": float((fold[:, repeat] == number).sum()),
                "inner_concordance": float("nan") if inner is None else float(inner),
            }
            known = {name: value for name, value in metrics.items() if pd.notna(value)}
            records.append(FoldRecord(repeat, number, known, {k: str(v) for k, v in settings.items()}))
    return records


def _chosen(path: Path) -> dict[tuple[str, str], dict[tuple[int, int], dict[str, Any]]]:
    """Settings that were chosen in each outer fold, by endpoint and model; empty if tuning left no table."""
    if not path.is_file():
        return {}
    tuning = pd.read_csv(path)
    found: dict[tuple[str, str], dict[tuple[int, int], dict[str, Any]]] = {}
    for row in tuning.loc[tuning["selected"]].to_dict("records"):
        settings = {**json.loads(row["parameters"]), "concordance": row["concordance"]}
        found.setdefault((row["endpoint"], row["model"]), {})[int(row["repeat"]), int(row["fold"])] = settings
    return found
