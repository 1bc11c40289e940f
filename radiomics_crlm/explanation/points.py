"""A linear model as a table of points: the same prediction with a pencil.

Every column gets points, 0 at the end of its scale that lowers the risk most; the scale of the strongest column is 100
points long. The sum of the points is the linear predictor in another unit, so nothing is lost but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.columns import ColumnSpec, encode, input_names
from radiomics_crlm.modelling.frozen import MISSING_SUFFIX, FrozenModel
from radiomics_crlm.modelling.risk import cumulative_incidence, probability_at_horizon

DECIMALS = 1
"""Points are rounded to these."""
_TAIL, _TICKS, _TOTALS = 0.05, 7, 80
POINT_COLUMNS = [
    "endpoint", "model", "column", "kind", "position", "value", "level", "points", "slope", "offset", "filled",
    "points_filled",
]  # fmt: skip
TOTAL_COLUMNS = ["endpoint", "model", "months", "total", "probability", "rounding"]


@dataclass(frozen=True)
class Nomogram:
    """Tables ``nomogram_points`` and ``nomogram_totals`` of one model."""

    points: pd.DataFrame
    totals: pd.DataFrame


@dataclass(frozen=True)
class _Scale:
    """One column: the share of the linear predictor at its ticks, at the value that stands for a missing one, and for
    a number the line ``slope * encoded + offset``."""

    name: str
    kind: str
    values: tuple[float, ...]
    levels: tuple[str, ...]
    shares: Floats
    slope: float = float("nan")
    offset: float = float("nan")
    filled: float = float("nan")
    share_filled: float = float("nan")


def nomogram(model: FrozenModel, X: pd.DataFrame, *, endpoint: str, name: str, months: Sequence[float]) -> Nomogram:
    """Points of every column of a linear model, and the probability that a sum of points stands for.

    The scale of a number is drawn from the 5th to the 95th centile of the training patients, rounded to its ticks.
    Beyond it points go on along the same line and may be negative. A value that is missing gets the points of the value
    that the model fills in, and those of its missingness indicator where the model has one: these are columns of their
    own, ``... (missing)``.

    Parameters
    ----------
    model
        Frozen, linear.
    X
        Its training patients.
    endpoint, name
        For the tables.
    months
        Times of the probabilities; those at which the model is silent are left out.

    Raises
    ------
    ConfigError
        If the model is not linear, or no input moves its prediction.
    """
    if model.coefficients is None:
        raise ConfigError("only a linear model has points", where=name, got=model.learner)
    scales = _scales(model, X)
    longest = max((float(np.ptp(scale.shares)) for scale in scales), default=0.0)
    if longest <= 0:
        raise ConfigError("no input moves the prediction", where=name)
    unit = longest / 100.0
    parts = [_rows_of(scale, unit, place) for place, scale in enumerate(scales)]
    points = pd.concat(parts, ignore_index=True).assign(endpoint=endpoint, model=name)[POINT_COLUMNS]
    lowest = float(model.intercept + _unscaled(model) + sum(scale.shares.min() for scale in scales))
    most = sum(float(np.ptp(scale.shares)) for scale in scales) / unit
    totals = _totals(model, lowest, unit, most, len(scales), months)
    return Nomogram(points, totals.assign(endpoint=endpoint, model=name)[TOTAL_COLUMNS])


def total_points(points: pd.DataFrame, columns: Sequence[ColumnSpec], X: pd.DataFrame) -> Floats:
    """Sum of the rounded points of n patients, by the table alone.

    Parameters
    ----------
    points
        Table ``nomogram_points`` of one model.
    columns
        What the model reads.
    X
        Predictors.
    """
    encoded, names = encode(X, columns), input_names(columns)
    total = np.zeros(len(X))
    for name, rows in points.groupby("column", sort=False):
        column = str(name)
        own = next(spec for spec in columns if column.removesuffix(MISSING_SUFFIX) in (spec.name, *spec.inputs()))
        first = rows.iloc[0]
        if first["kind"] == "missing":
            flagged = np.isnan(encoded[:, names.index(column.removesuffix(MISSING_SUFFIX))])
            total += np.where(flagged, *rows.sort_values("value", ascending=False)["points"])
            continue
        inputs = encoded[:, [names.index(one) for one in own.inputs()]]
        missing = np.asarray(np.isnan(inputs).any(axis=1))
        if own.kind == "number":
            given = np.round(first["slope"] * inputs[:, 0] + first["offset"], DECIMALS)
        else:
            level = inputs[:, 0] if inputs.shape[1] == 1 else np.argmax(inputs, axis=1)
            level = np.where(missing, 0, level).astype(int)
            given = rows.sort_values("position")["points"].to_numpy(dtype=float)[level]
        total += np.where(missing, first["points_filled"], given)
    return total


def probability_of_points(totals: pd.DataFrame, total: Floats, months: float) -> Floats:
    """Probabilities that sums of points stand for, read between the lines of the table; NaN beyond its ends."""
    rows = totals.loc[totals["months"] == months].sort_values("total")
    return np.interp(total, rows["total"], rows["probability"], left=np.nan, right=np.nan)


def _scales(model: FrozenModel, X: pd.DataFrame) -> list[_Scale]:
    """Columns of the model that move its prediction, strongest first."""
    assert model.coefficients is not None  # noqa: S101 - checked by the caller
    names = model.input_names()
    slope = dict(zip(names, model.coefficients / model.scale, strict=True))
    fill = dict(zip(input_names(model.columns), model.fill, strict=True))
    found = []
    for spec in model.columns:
        if any(slope.get(name) for name in spec.inputs()):
            found.append(_scale_of(spec, slope, fill, X))
    for name in names:
        if name.endswith(MISSING_SUFFIX) and slope[name]:
            found.append(_Scale(name, "missing", (0.0, 1.0), ("no", "yes"), np.array([0.0, slope[name]])))
    return sorted(found, key=lambda scale: (-float(np.ptp(scale.shares)), scale.name))


def _scale_of(spec: ColumnSpec, slope: dict[str, float], fill: dict[str, float], X: pd.DataFrame) -> _Scale:
    inputs = spec.inputs()
    slopes, filled = (np.array([source.get(name, 0.0) for name in inputs]) for source in (slope, fill))
    share = float(slopes @ filled)
    if spec.kind == "number":
        raw = np.asarray(encode(X, [spec], logs=False)[:, 0])
        ticks = _ticks(raw[~np.isnan(raw)], logged=spec.log)
        encoded = np.log1p(ticks) if spec.log else ticks
        shown = float(np.expm1(filled[0]) if spec.log else filled[0])
        kind = "logarithm" if spec.log else "number"
        return _Scale(
            spec.name, kind, tuple(ticks.tolist()), (), slopes[0] * encoded, float(slopes[0]), 0.0, shown, share
        )
    levels = spec.categories if spec.kind == "category" else ("no", "yes")
    shares = slopes if len(levels) == len(inputs) else np.array([0.0, slopes[0]])
    values = tuple(float(k) for k in range(len(levels)))
    return _Scale(spec.name, spec.kind, values, tuple(levels), shares, share_filled=share)


def _ticks(known: Floats, *, logged: bool) -> Floats:
    """Round values that reach over the middle 90 % of the patients."""
    low, high = np.quantile(known, [_TAIL, 1.0 - _TAIL])
    if logged and high > 10 * max(low, 0.5):
        series = np.array([m * 10.0**p for p in range(9) for m in (1, 2, 5)])
        first = int(np.searchsorted(series, low, side="right")) - 1
        reached = series[max(first, 0) : int(np.searchsorted(series, high)) + 1]
        return reached if first >= 0 else np.concatenate(([0.0], reached))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** np.floor(np.log10((high - low) / _TICKS))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if (high - low) / (m * power) <= _TICKS)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    if known.min() >= 0:
        first = max(first, 0)
    # Through text, so that 3 * 0.1 is 0.3.
    return np.array([float(f"{k * step:.10g}") for k in range(first, last + 1)])


def _rows_of(scale: _Scale, unit: float, place: int) -> pd.DataFrame:
    lowest = float(scale.shares.min())
    count = len(scale.values)
    return pd.DataFrame(
        {
            "column": scale.name,
            "kind": scale.kind,
            "position": np.arange(count),
            "value": np.array(scale.values),
            "level": np.array(scale.levels or [None] * count, dtype=object),
            "points": np.round((scale.shares - lowest) / unit, DECIMALS) + 0.0,
            "slope": scale.slope / unit,
            "offset": (scale.offset - lowest) / unit,
            "filled": scale.filled,
            "points_filled": np.round((scale.share_filled - lowest) / unit, DECIMALS) + 0.0,
            "order": place,
        }
    ).drop(columns="order")


def _unscaled(model: FrozenModel) -> float:
    """What the mean of the inputs takes off the linear predictor: shares are of encoded inputs, not of standardised."""
    assert model.coefficients is not None  # noqa: S101 - as above
    return -float((model.coefficients * model.mean / model.scale).sum())


def _totals(
    model: FrozenModel, lowest: float, unit: float, most: float, columns: int, months: Sequence[float]
) -> pd.DataFrame:
    step = next(s for s in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if most / s <= _TOTALS)
    total = np.arange(0.0, np.ceil(most / step) * step + step / 2, step)

    def probability(at: Floats) -> Floats:
        risk = lowest + unit * at
        if model.horizon is not None:
            return probability_at_horizon(risk, model.horizon, months)
        if model.baseline is None:
            raise InputError("a linear model without a baseline has no probabilities", where="nomogram")
        return cumulative_incidence(model.baseline, risk, months)

    exact, apart = probability(total), columns * 0.5 * 10.0**-DECIMALS
    # The largest error of reading: half a last decimal for each column, and a straight line between two totals.
    between = (total[:-1] + total[1:]) / 2
    bent = np.abs(probability(between) - (exact[:-1] + exact[1:]) / 2).max(axis=0, initial=0.0)
    moved = np.maximum(np.abs(probability(total + apart) - exact), np.abs(exact - probability(total - apart)))
    parts = [
        pd.DataFrame(
            {
                "months": float(month),
                "total": total,
                "probability": exact[:, k],
                "rounding": 1.1 * float(bent[k] + moved[:, k].max()),
            }
        )
        for k, month in enumerate(months)
        if np.isfinite(exact[:, k]).all()
    ]
    if not parts:
        raise InputError("the model is silent at all times that were asked for", where="nomogram")
    return pd.concat(parts, ignore_index=True)
