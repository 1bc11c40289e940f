"""Calibration and observed incidence by predicted risk, from the out-of-fold predictions and the outcomes.

Only group summaries leave this module: incidence on whole months, and counts at risk with small ones hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.config import EndpointConfig
from radiomics_crlm.errors import CrlmError
from radiomics_crlm.evaluation.calibration import calibration_groups
from radiomics_crlm.evaluation.incidence import Curve, aalen_johansen, kaplan_meier
from radiomics_crlm.evaluation.outcome import Outcome, outcome_of
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.wording import SMALL_CELL, interval, months_text, percent, small

Part = dict[str, Any]

HORIZONS = (24, 12, 36)
"""Horizons of the table ``predictions``, in order of preference where the endpoint has none of its own."""

GROUP_TITLES = ("lowest third", "middle third", "highest third")
_MIN_GROUP = 20
_MAX_GROUPS = 5
_MIN_AT_RISK = 10
_LAST_MONTH = 60
_BINS = 20


def calibration(artefacts: Artefacts, endpoint: str, model: str | None) -> Part:
    """Predicted and observed incidence in groups of similar prediction, at one horizon, for one model."""
    part: Part = {"endpoint": endpoint, "title": artefacts.endpoints[endpoint].title, "model": model}
    if model is None:
        return part | {"absent": "there is no model to show"}
    part["model_title"] = artefacts.model_title(model)
    predictions = _predictions(artefacts, endpoint, model)
    if predictions is None or "outcomes" not in artefacts.tables:
        lacking = "outcomes" if predictions is not None else "predictions"
        return part | {"absent": artefacts.why_absent(lacking)}
    horizon = _horizon(artefacts.endpoints[endpoint], predictions)
    if horizon is None:
        return part | {"absent": "the model gives no probability at 12, 24 or 36 months"}
    wide = predictions.pivot(index="patient_id", columns="repeat", values=f"probability_{horizon}m").dropna()
    part |= {"horizon": horizon, "horizon_text": months_text(horizon), "repeats": int(wide.shape[1]), "n": len(wide)}
    try:
        y = outcome_of(artefacts.tables["outcomes"], endpoint, list(wide.index))
        if reason := _too_little(y, horizon):
            return part | {"absent": reason}
        groups = max(2, min(_MAX_GROUPS, len(wide) // _MIN_GROUP))
        table = calibration_groups(y, wide.to_numpy(dtype=float), float(horizon), groups=groups)
    except CrlmError as error:
        return part | {"absent": error.what}
    return part | {
        "groups": [_calibration_group(row) for row in table.to_dict("records")],
        "histogram": _histogram(wide.mean(axis=1).to_numpy(dtype=float)),
    }


def _histogram(predicted: npt.NDArray[np.float64]) -> Part:
    """Patients per bin of prediction; a bin with few of them is joined to its neighbour, so that none tells of few.

    >>> _histogram(np.repeat([0.12, 0.17, 0.32], [3, 9, 6]))
    {'counts': [12, 0, 0, 6], 'edges': [0.1, 0.2, 0.25, 0.3, 0.35], 'bin': 0.05}
    """
    counts, edges = np.histogram(predicted, bins=_BINS, range=(0.0, 1.0))
    occupied = np.flatnonzero(counts)
    first, last = int(occupied[0]), int(occupied[-1])
    bins: list[tuple[int, float]] = []  # patients, and the upper end
    for count, end in zip(counts[first : last + 1], edges[first + 1 : last + 2], strict=True):
        waiting = bins.pop()[0] if bins and 0 < bins[-1][0] < SMALL_CELL else 0
        bins.append((waiting + int(count), float(end)))
    while len(bins) > 1 and bins[-1][0] < SMALL_CELL:
        count, end = bins.pop()
        bins[-1] = (bins[-1][0] + count, end)
    ends = [float(edges[first]), *(end for _, end in bins)]
    return {"counts": [n for n, _ in bins], "edges": [round(e, 4) for e in ends], "bin": 1 / _BINS}


def _calibration_group(row: dict[Any, Any]) -> Part:
    shares = {k: round(float(row[k]), 4) for k in ("predicted", "observed", "lower", "upper")}
    text = interval(100 * shares["observed"], 100 * shares["lower"], 100 * shares["upper"], 0)
    return shares | {
        "group": int(row["group"]) + 1,
        "n": int(row["n"]),
        "predicted_text": percent(shares["predicted"], 1),
        "observed_text": text + " %",
    }


def _predictions(artefacts: Artefacts, endpoint: str, model: str) -> pd.DataFrame | None:
    rows = artefacts.of_endpoint("predictions", endpoint)
    if rows is None:
        return None
    rows = rows.loc[rows["model"] == model]
    return rows if len(rows) else None


def _horizon(config: EndpointConfig, predictions: pd.DataFrame) -> int | None:
    """The endpoint's own horizon where it has one, else the first at which the model speaks."""
    wanted = HORIZONS if config.horizon_months is None else (int(config.horizon_months),)
    for months in wanted:
        column = f"probability_{months}m"
        if column in predictions and predictions[column].notna().any():
            return months
    return None


def _too_little(y: Outcome, horizon: float) -> str:
    if y.size < 2 * _MIN_GROUP:
        return f"{y.size} patients are too few for groups of {_MIN_GROUP}"
    if float(y["months"].max()) < horizon:
        return f"no patient was followed for {months_text(horizon)}"
    if not ((y["event"] == 1) & (y["months"] <= horizon)).any():
        return f"no patient had the event within {months_text(horizon)}"
    return ""


def risk_groups(artefacts: Artefacts, endpoint: str, model: str | None) -> Part:
    """Observed course in thirds of predicted risk.

    Thirds are formed by rank within each test fold of the first repeat, because risks of different folds come from
    different models. With a competing event the curve is the Aalen-Johansen cumulative incidence; without, the
    Kaplan-Meier curve.
    """
    config = artefacts.endpoints[endpoint]
    part: Part = {"endpoint": endpoint, "title": config.title, "model": model}
    if model is None:
        return part | {"absent": "there is no model to show"}
    part["model_title"] = artefacts.model_title(model)
    predictions = _predictions(artefacts, endpoint, model)
    if predictions is None or "outcomes" not in artefacts.tables:
        table = "outcomes" if predictions is not None else "predictions"
        return part | {"absent": artefacts.why_absent(table)}
    first = predictions.loc[predictions["repeat"] == predictions["repeat"].min()]
    third = _thirds(first)
    try:
        y = outcome_of(artefacts.tables["outcomes"], endpoint, list(third.index))
    except CrlmError as error:
        return part | {"absent": error.what}
    last = _last_month(y, config)
    if last is None:
        return part | {"absent": "follow-up is too short or patients are too few for curves"}
    survival = config.competing is None and config.higher_is_worse and config.horizon_months is None
    timed = config.months is not None
    part |= {
        "kind": "survival" if survival else "incidence",
        "quantity": "event-free share (Kaplan-Meier)" if survival else "cumulative incidence (Aalen-Johansen)",
        "timed": timed,
        "word": "risk" if config.higher_is_worse else "chance",
        "months": list(range(last + 1)) if timed else [last],
        "ticks": _ticks(last) if timed else [last],
        "table_months": [m for m in (12, 24, 36, 60) if m <= last] or [last],
    }
    part["groups"] = [_group(y[third.to_numpy() == k], GROUP_TITLES[k], part, survival) for k in range(3)]
    return part


def _thirds(first: pd.DataFrame) -> pd.Series:
    """0, 1 or 2 per patient: third of predicted risk within the test fold."""
    by_fold = first.groupby("fold")["risk"]
    share = (by_fold.rank(method="average") - 0.5) / by_fold.transform("size")
    third = (share * 3).astype(int).clip(upper=2)
    return pd.Series(third.to_numpy(), index=first["patient_id"].to_numpy())


def _last_month(y: Outcome, config: EndpointConfig) -> int | None:
    """Last whole month that the curves show: enough patients must still be followed."""
    if config.months is None:
        return None if config.horizon_months is None else int(config.horizon_months)
    longest = np.sort(y["months"])[::-1]
    if longest.size < 3 * _MIN_AT_RISK:
        return None
    last = min(_LAST_MONTH, int(longest[_MIN_AT_RISK - 1]))
    if config.horizon_months is not None:
        last = min(last, int(config.horizon_months))
    return last if last >= 3 else None


def _ticks(last: int) -> list[int]:
    step = 12 if last >= 30 else 6 if last >= 12 else 3
    return list(range(0, last + 1, step))


def _group(y: Outcome, title: str, part: Part, survival: bool) -> Part:
    curve: Curve = (kaplan_meier if survival else aalen_johansen)(y["event"], y["months"])
    followed = {m: int((y["months"] >= m).sum()) for m in {*part["months"], *part["ticks"], *part["table_months"]}}
    # A curve ends where fewer than five patients carry it.
    months = [m for m in part["months"] if followed[m] >= SMALL_CELL]
    lower, upper = curve.limits_at(months)
    return {
        "title": title,
        "n": int(y.size),
        "months": months,
        "value": _rounded(curve.at(months)),
        "lower": _rounded(lower),
        "upper": _rounded(upper),
        "at_risk": [small(followed[m]) for m in part["ticks"]],
        "cells": [
            _at(curve, m) if followed[m] >= SMALL_CELL or not part["timed"] else f"fewer than {SMALL_CELL} followed"
            for m in part["table_months"]
        ],
    }


def _at(curve: Curve, month: int) -> str:
    lower, upper = curve.limits_at([month])
    values = (100 * float(curve.at([month])[0]), 100 * float(lower[0]), 100 * float(upper[0]))
    return interval(*values, 0) + " %"


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(v), 4) for v in values]
