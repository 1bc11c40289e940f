"""Partial dependence, out of fold: the prediction at other values of one column, and where the data support it.

Each patient's curve is that of the model that did not see the patient; all other inputs stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.explanation.explainers import months_spoken
from radiomics_crlm.explanation.learner_inputs import column_of, readable_table, standardisation
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.frozen import MISSING_SUFFIX
from radiomics_crlm.modelling.lesions import feature_of
from radiomics_crlm.modelling.outer import CvResult

TOP = 6
POINTS = 21
FEWEST = 20
"""Patients of whom a column must be known for a curve."""
SMALL = 5
"""Fewer patients than this support nothing."""
_MONTH, _BINS, _BEYOND, _LEVELS = 24.0, 10, 0.15, 12
DEPENDENCE_COLUMNS = [
    "endpoint", "model", "column", "part", "position", "value", "until", "level", "mean", "low", "high", "supported",
    "n", "months",
]  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """Values or levels of a column at which the prediction is asked for, what supports them, and bins of the data."""

    spec: ColumnSpec
    values: Floats
    levels: tuple[str, ...]
    supported: tuple[bool, ...]
    counts: tuple[float, ...]
    edges: Floats


def partial_dependence(result: CvResult, X: pd.DataFrame, attributions: pd.DataFrame) -> pd.DataFrame:
    """Curves of the strongest columns of one model.

    Parameters
    ----------
    result
        Of a nested cross-validation, with the models of its first repeat.
    X
        Predictors, indexed by patient.
    attributions
        Table ``attributions`` of the model: decides which columns are strongest.

    Returns
    -------
    DataFrame
        Table ``dependence``. Rows ``curve``: mean prediction and its 10th and 90th centile over the patients of whom
        the column is known, at values between and a little beyond the centiles within which five patients lie at
        either end; ``supported`` is false beyond. Rows ``bin``: patients between ``value`` and ``until``, none with
        fewer than five. The prediction is the probability within ``months`` (of a binary model at its horizon, else
        at 24 months if the model speaks there), or the risk where ``months`` is NaN.
    """
    shown = readable_table(X, result.recipe.columns)
    grids = [
        grid
        for name in _strongest(attributions)
        if (grid := _grid(_spec(result.recipe.columns, name), shown)) is not None
    ][:TOP]
    month = _month(result, X)
    parts = [_rows(grid, _curves(result, X, shown, grid, month), month) for grid in grids]
    if not parts:
        return pd.DataFrame(columns=DEPENDENCE_COLUMNS)
    table = pd.concat(parts, ignore_index=True)
    return table.assign(endpoint=result.endpoint, model=result.recipe.name)[DEPENDENCE_COLUMNS]


def _strongest(attributions: pd.DataFrame) -> list[str]:
    """Columns that move the prediction, strongest first; whether a value is missing is no column of its own."""
    rows = attributions.loc[~attributions["feature"].str.endswith(MISSING_SUFFIX)]
    size = rows["attribution"].abs().groupby([rows["feature"].map(column_of), rows["patient_id"]]).sum()
    mean = size.groupby(level=0).mean()
    return sorted(mean.index[mean > 0], key=lambda name: (-mean[name], name))


def _spec(columns: Sequence[ColumnSpec], name: str) -> ColumnSpec:
    return next(spec for spec in columns if feature_of(spec.name) == name)


def _grid(spec: ColumnSpec, shown: pd.DataFrame) -> _Grid | None:
    """None where too few patients are known, or all are alike."""
    name = feature_of(spec.name)
    if spec.kind == "number":
        return _grid_of_numbers(spec, shown[name].dropna().to_numpy(dtype=float))
    levels = spec.categories if spec.kind == "category" else ("no", "yes")
    inputs = shown[list(spec.inputs())].dropna().to_numpy(dtype=float)
    if len(inputs) < FEWEST or len(levels) > _LEVELS:
        return None
    coded = inputs if len(levels) > 2 else np.hstack((1.0 - inputs, inputs))
    counts = coded.sum(axis=0)
    if (counts > 0).sum() < 2:
        return None
    supported = tuple(bool(n >= SMALL) for n in counts)
    told = np.where(counts >= SMALL, counts, np.nan)
    if np.isnan(told).sum() == 1:  # or the total would tell it
        told[np.nanargmin(told)] = np.nan
    return _Grid(spec, np.arange(len(levels), dtype=float), levels, supported, tuple(told.tolist()), np.empty(0))


def _grid_of_numbers(spec: ColumnSpec, known: Floats) -> _Grid | None:
    if known.size < FEWEST or np.unique(known).size < 3:
        return None
    tail = max(0.05, SMALL / known.size)
    bins = int(np.clip(known.size // (2 * SMALL), 2, _BINS))
    edges = np.unique(_rounded(np.quantile(known, np.linspace(tail, 1.0 - tail, bins + 1))))
    if edges.size < 2:
        return None
    counts = np.histogram(known, edges)[0]
    while edges.size > 2 and counts.min() < SMALL:  # join the smallest bin with its smaller neighbour
        k = int(np.argmin(counts))
        drop = k if k == counts.size - 1 or (k > 0 and counts[k - 1] <= counts[k + 1]) else k + 1
        edges = np.delete(edges, drop)
        counts = np.histogram(known, edges)[0]
    low, high = float(edges[0]), float(edges[-1])
    beyond = _BEYOND * (high - low)
    first = max(low - beyond, 0.0) if known.min() >= 0 else low - beyond
    values = np.unique(_rounded(np.concatenate((np.linspace(low, high, POINTS - 4), [first, high + beyond]))))
    supported = tuple(bool(low <= v <= high) for v in values)
    told = tuple(float(n) if n >= SMALL else float("nan") for n in counts)
    return _Grid(spec, values, (), supported, told, edges)


def _rounded(values: Floats) -> Floats:
    """To three significant digits: an exact value may be that of one patient."""
    return np.array([float(f"{value:.3g}") for value in values])


def _month(result: CvResult, X: pd.DataFrame) -> float:
    """Time of the probability that is shown; NaN where the risk is."""
    horizon = getattr(next(iter(result.models.values()))[-1], "horizon", None)
    predicted = result.predictions
    own = [float(n[12:-1]) for n in predicted.columns if n.startswith("probability_") and predicted[n].notna().any()]
    wanted = sorted(own, key=lambda month: (month != (horizon or _MONTH), month))
    for pipeline in result.models.values():
        wanted = list(months_spoken(pipeline, X.iloc[:1], wanted))
    return wanted[0] if wanted else float("nan")


def _curves(result: CvResult, X: pd.DataFrame, shown: pd.DataFrame, grid: _Grid, month: float) -> Floats:
    """Prediction of each tested patient of whom the column is known, patients x points."""
    known = shown[list(_inputs(grid.spec))].notna().all(axis=1)
    curves = []
    for (repeat, fold), pipeline in result.models.items():
        tested = result.folds.index[result.folds[repeat] == fold]
        tested = tested[known.loc[tested].to_numpy()]
        if len(tested):
            curves.append(_asked(pipeline, X.loc[tested], grid, month))
    return np.vstack(curves)


def _inputs(spec: ColumnSpec) -> tuple[str, ...]:
    return (feature_of(spec.name),) if spec.kind == "number" else spec.inputs()


def _asked(pipeline: Pipeline, X: pd.DataFrame, grid: _Grid, month: float) -> Floats:
    given, places = np.asarray(pipeline[:-1].transform(X), dtype=float), standardisation(pipeline)
    starts = [0]
    if "lesions" in pipeline.named_steps:  # packed: the number of lesions, then as many inputs for each
        starts = list(range(1, given.shape[1], len(places)))
    out = np.empty((len(X), grid.values.size))
    for k, value in enumerate(grid.values):
        changed = given.copy()
        for name, encoded in _encoded(grid.spec, value).items():
            if name in places:
                place, mean, scale = places[name]
                changed[:, [start + place for start in starts]] = (encoded - mean) / scale
        learner: Any = pipeline[-1]
        out[:, k] = learner.risk(changed) if np.isnan(month) else learner.probability(changed, (month,))[:, 0]
    return out


def _encoded(spec: ColumnSpec, value: float) -> dict[str, float]:
    """Inputs of a column at a value, or at the number of a level."""
    if spec.kind == "number":
        return {feature_of(spec.name): float(np.log1p(value)) if spec.log else value}
    if spec.kind == "boolean" or len(spec.categories) == 2:
        return {spec.inputs()[0]: value}
    return {name: float(k == value) for k, name in enumerate(spec.inputs())}


def _rows(grid: _Grid, curves: Floats, month: float) -> pd.DataFrame:
    low, high = np.quantile(curves, [0.1, 0.9], axis=0)
    count = grid.values.size
    curve = pd.DataFrame(
        {
            "part": "curve",
            "position": np.arange(count),
            "value": grid.values if not grid.levels else np.nan,
            "until": np.nan,
            "level": np.array(grid.levels or [None] * count, dtype=object),
            "mean": curves.mean(axis=0),
            "low": low,
            "high": high,
            "supported": np.array(grid.supported, dtype=float),
            "n": np.array(grid.counts if grid.levels else [np.nan] * count),
        }
    )
    parts = [curve]
    if grid.edges.size:
        kept = [k for k, n in enumerate(grid.counts) if not np.isnan(n)]
        parts.append(
            pd.DataFrame(
                {
                    "part": "bin",
                    "position": np.arange(len(kept)),
                    "value": grid.edges[:-1][kept],
                    "until": grid.edges[1:][kept],
                    "level": np.array([None] * len(kept), dtype=object),
                    "mean": np.nan,
                    "low": np.nan,
                    "high": np.nan,
                    "supported": np.nan,
                    "n": np.array(grid.counts)[kept],
                }
            )
        )
    return pd.concat(parts, ignore_index=True).assign(column=feature_of(grid.spec.name), months=month)
