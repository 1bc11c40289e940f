"""Performance in subgroups that were named beforehand; cells with too little in them are suppressed, never computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.bench import Bench, Flags
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels
from radiomics_crlm.evaluation.ranking import within_folds
from radiomics_crlm.evaluation.resampling import NOTHING, Estimate, estimate_of
from radiomics_crlm.evaluation.survival_scores import brier_values, expected_values

FEWEST = 10
"""A cell needs so many patients with the event, and so many without."""
SUBGROUPS = [
    "endpoint", "model", "column", "level", "metric", "estimate", "lower", "upper", "n", "events", "nonevents",
    "horizon_months", "status", "reason",
]  # fmt: skip
UNKNOWN = "unknown"


def subgroup_levels(table: pd.DataFrame, columns: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Level of each patient (text) in each of the named columns.

    Parameters
    ----------
    table
        A row per patient.
    columns
        Column: cut points, increasing; a value at a cut belongs to the upper group. None for a category or a yes/no.

    Raises
    ------
    ConfigError
        For a column that the table lacks, a number without cut points, a category with some.

    Examples
    --------
    >>> table = pd.DataFrame({"age": [40.0, 70.0, None], "node": [True, False, True]})
    >>> subgroup_levels(table, {"age": [65], "node": []}).to_numpy().tolist()
    [['below 65', 'yes'], ['65 and more', 'no'], ['unknown', 'yes']]
    """
    if absent := sorted(set(columns) - set(table.columns)):
        raise ConfigError("the cohort lacks columns of its subgroups", where="subgroups", got=", ".join(absent))
    return pd.DataFrame({name: _levels(table[name], cuts) for name, cuts in columns.items()}, index=table.index)


def _levels(values: pd.Series, cuts: Sequence[float]) -> pd.Series:
    is_number = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
    if is_number != bool(cuts):
        raise ConfigError(
            "a subgroup needs cut points if, and only if, its column is a number",
            where=f"subgroups: {values.name}",
            expected="cut points" if is_number else "no cut points",
        )
    if (np.diff(np.asarray(cuts, dtype=float)) <= 0).any():
        raise ConfigError("cut points must increase", where=f"subgroups: {values.name}")
    if is_number:
        numbers = values.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        marks = [f"{cut:g}" for cut in cuts]
        names = [f"below {marks[0]}", *(f"{a} to below {b}" for a, b in pairwise(marks))]
        text = np.array([*names, f"{marks[-1]} and more"], dtype=object)
        levels = pd.Series(text[np.searchsorted(cuts, numbers, side="right")], index=values.index)
    elif pd.api.types.is_bool_dtype(values.dtype):
        levels = values.astype(object).map({True: "yes", False: "no"})
    else:
        levels = values.astype(object)
    return levels.astype(object).mask(values.isna(), UNKNOWN).astype("str")


def subgroup_table(bench: Bench, levels: pd.DataFrame) -> pd.DataFrame:
    """Performance of every model and rule in every level, in the columns of the table ``subgroups``.

    The statistic of the endpoint, and the Brier score and observed / expected of the models' probabilities.

    Parameters
    ----------
    bench
        n patients.
    levels
        n rows in the order of the bench, text, a column per question asked.
    """
    rows = []
    names = [name for name, score in bench.scores.items() if score.role != "rule_model"]
    for column in levels.columns:
        cells = levels[column].to_numpy(dtype=object)
        for level in sorted(set(cells)):
            inside = np.asarray(cells == level, dtype=bool)
            for name in names:
                rows += [(name, str(column), str(level), *row) for row in _cell(bench, name, inside)]
    table = pd.DataFrame(rows, columns=SUBGROUPS[1:])
    return table.assign(endpoint=bench.endpoint)[SUBGROUPS]


def _cell(bench: Bench, name: str, inside: Flags) -> list[tuple[object, ...]]:
    """Rows (metric to reason) of one score in one level."""
    found = [_judged(bench, name, bench.metric, inside & bench.assessed(name), bench.horizon)]
    if bench.judged_at in bench.scores[name].probability:
        rows = inside & bench.assessed(name, bench.judged_at)
        found += [_judged(bench, name, metric, rows, bench.judged_at) for metric in ("brier", "observed_expected")]
    return found


def _judged(bench: Bench, name: str, metric: str, rows: Flags, months: float | None) -> tuple[object, ...]:
    y = bench.y[rows]
    events, others = cell_counts(y, months)
    estimate, status, reason = NOTHING, "suppressed", small_cell(events, others)
    if not reason:
        estimate, status = _estimate(bench, name, metric, rows, months), "ok"
        if not np.isfinite(estimate.value):
            estimate, status, reason = NOTHING, "not_computable", "no comparable pair within a fold"
    numbers = (metric, estimate.value, estimate.lower, estimate.upper, y.size, events, others)
    return (*numbers, float("nan") if months is None else months, status, reason or None)


def _estimate(bench: Bench, name: str, metric: str, rows: Flags, months: float | None) -> Estimate:
    sample, score = bench.sample(rows), bench.scores[name]
    if metric == bench.metric:
        return estimate_of(within_folds(bench.statistic(metric, rows), score.risk[rows], bench.fold[rows], sample))
    at = bench.judged_at if months is None else months
    values = brier_values if metric == "brier" else expected_values
    return estimate_of(values(sample.at(at), score.probability[at][rows]))


def cell_counts(y: Outcome, horizon: float | None) -> tuple[int, int]:
    """Patients with and without the event: in the whole follow-up, or among those whose label at a horizon is known."""
    if horizon is None or y.size == 0:
        return int((y["event"] == 1).sum()), int((y["event"] != 1).sum())
    label, weight = horizon_labels(y, horizon)
    return int(label.sum()), int(((label == 0) & (weight > 0)).sum())


def small_cell(events: int, others: int) -> str:
    """Why a cell is suppressed; empty if it is not.

    >>> small_cell(30, 4)
    'fewer than 10 patients without the event'
    """
    lacking = [word for count, word in ((events, "with"), (others, "without")) if count < FEWEST]
    return f"fewer than {FEWEST} patients {' and '.join(lacking)} the event" if lacking else ""
