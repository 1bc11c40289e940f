"""Performance as saved in the tables ``metrics`` and ``comparisons``: arranged and written out, never recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from radiomics_crlm.config import EndpointConfig
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.wording import (
    METRIC_DECIMALS,
    METRIC_TITLES,
    NO_VALUE,
    fixed,
    interval,
    months_text,
    number,
    p_text,
)

Part = dict[str, Any]

_TRAITS = {
    "c_index": "0.5 is chance, 1 perfect",
    "auc": "0.5 is chance, 1 perfect",
    "brier": "lower is better",
    "brier_scaled": "0 = no better than the overall incidence, 1 perfect",
    "observed_expected": "1 is ideal; below 1 = predicted risks too high",
    "calibration_slope": "1 is ideal; below 1 = predictions too extreme",
    "calibration_intercept": "0 is ideal",
}


def primary_metric(config: EndpointConfig) -> str:
    """The metric in which models and scores of an endpoint are compared."""
    return "auc" if config.kind == "binary" else "c_index"


def metric_row(artefacts: Artefacts, endpoint: str, model: str, metric: str) -> Part | None:
    """One row of the metrics with plain numbers, or None."""
    rows = artefacts.of_endpoint("metrics", endpoint)
    if rows is None:
        return None
    found = rows.loc[(rows["model"] == model) & (rows["metric"] == metric)]
    return _plain(found.iloc[0]) if len(found) else None


def _plain(row: pd.Series) -> Part:
    values: Part = {
        k: number(row[k]) for k in ("estimate", "lower", "upper", "horizon_months", "p_value", "difference") if k in row
    }
    return values | {"n": int(row["n"]), "events": int(row["events"]), "method": str(row["method"])}


def find_comparison(artefacts: Artefacts, endpoint: str, model: str, reference: str) -> Part | None:
    """Paired difference model minus reference in the primary metric; a row saved the other way round is turned."""
    rows = artefacts.of_endpoint("comparisons", endpoint)
    if rows is None:
        return None
    rows = rows.loc[rows["metric"] == primary_metric(artefacts.endpoints[endpoint])]
    straight = rows.loc[(rows["model"] == model) & (rows["reference"] == reference)]
    if len(straight):
        return _plain(straight.iloc[0])
    turned = rows.loc[(rows["model"] == reference) & (rows["reference"] == model)]
    if turned.empty:
        return None
    found = _plain(turned.iloc[0])
    negative = {k: None if found[k] is None else -found[k] for k in ("difference", "lower", "upper")}
    return found | {"difference": negative["difference"], "lower": negative["upper"], "upper": negative["lower"]}


def performance(artefacts: Artefacts, endpoint: str, shown: str | None) -> Part:
    """Table of all models and scores of an endpoint, and the paired differences; ``shown`` is the model of the card."""
    config = artefacts.endpoints[endpoint]
    metrics = artefacts.of_endpoint("metrics", endpoint)
    part: Part = {"endpoint": endpoint, "title": config.title, "metric": primary_metric(config)}
    part["metric_title"] = METRIC_TITLES[part["metric"]]
    part["differences"] = _differences(artefacts, endpoint, shown)
    if metrics is None:
        return part | {"absent": artefacts.why_absent("metrics")}
    first = part["metric"]
    present = [m for m in METRIC_TITLES if (metrics["metric"] == m).any()]
    order = sorted(present, key=lambda m: m != first)
    names = sorted(
        metrics["model"].unique(), key=lambda name: (not artefacts.is_model(name), _position(artefacts, name))
    )
    records = artefacts.part("models").get(endpoint, {})
    part["columns"] = [_column(metrics, m) for m in order]
    part["rows"] = [_row(artefacts, metrics, name, order, records.get(name, {}), name == shown) for name in names]
    for k, column in enumerate(part["columns"]):
        bases = {row["cells"][k].get("base") for row in part["rows"] if "n" in row["cells"][k]}
        if len(bases) == 1 and None not in bases:
            column["base"] = bases.pop()
            for row in part["rows"]:
                row["cells"][k].pop("base", None)
    return part


def _position(artefacts: Artefacts, name: str) -> tuple[int, str]:
    """Models in the order of the experiment, scores in the order of its rules."""
    feature_sets = list(artefacts.experiment.feature_sets)
    order = feature_sets + list(artefacts.experiment.rules) + list(artefacts.experiment.reported_scores)
    key = name.partition("/")[0]
    return (order.index(key) if key in order else len(order), name)


def _column(metrics: pd.DataFrame, metric: str) -> Part:
    horizons = metrics.loc[metrics["metric"] == metric, "horizon_months"].dropna().unique()
    at = f" at {months_text(float(horizons[0]))}" if len(horizons) == 1 else ""
    return {"metric": metric, "title": METRIC_TITLES[metric] + at, "trait": _TRAITS.get(metric, "")}


def _row(
    artefacts: Artefacts, metrics: pd.DataFrame, name: str, order: list[str], record: Mapping[str, Any], shown: bool
) -> Part:
    rows = metrics.loc[metrics["model"] == name]
    own = {str(row["metric"]): row for _, row in rows.iterrows()}
    cells = {m: _cell(own[m], m) if m in own else {"text": NO_VALUE, "absent": "not applicable"} for m in order}
    leading = next(cells[m] for m in order if "n" in cells[m])
    for cell in cells.values():
        if "n" in cell and (cell["n"], cell["events"]) != (leading["n"], leading["events"]):
            cell["base"] = f"n {cell['n']}, events {cell['events']}"
    return {
        "model": name,
        "title": artefacts.model_title(name),
        "kind": "model" if artefacts.is_model(name) else "score",
        "shown": shown,
        "n": leading["n"],
        "events": leading["events"],
        "inputs": record.get("n_columns"),
        "cells": [cells[m] for m in order],
    }


def _cell(row: pd.Series, metric: str) -> Part:
    values = _plain(row)
    values.pop("horizon_months")
    if values["estimate"] is None:
        return values | {"text": "not computable", "absent": "not computable"}
    text = interval(values["estimate"], values["lower"], values["upper"], METRIC_DECIMALS.get(metric, 2))
    return values | {"text": text}


def _differences(artefacts: Artefacts, endpoint: str, shown: str | None) -> Part:
    rows = artefacts.of_endpoint("comparisons", endpoint)
    if rows is None:
        return {"absent": artefacts.why_absent("comparisons")}
    titles = artefacts.model_title
    listed = []
    for _, row in rows.iterrows():
        values = _plain(row)
        known = values["difference"] is not None
        text = interval(values["difference"], values["lower"], values["upper"], 3, signed=True)
        listed.append(
            values
            | {
                "model": row["model"],
                "reference": row["reference"],
                "model_title": titles(row["model"]),
                "reference_title": titles(row["reference"]),
                "metric": row["metric"],
                "metric_title": METRIC_TITLES[row["metric"]],
                "shown": shown in (row["model"], row["reference"]),
                "text": text if known else "not computable",
                "p_text": p_text(values["p_value"]),
            }
        )
    return {"rows": listed}


def calibration_sentence(row: Part | None) -> str:
    """Observed over expected events in plain words; empty if it was not computed.

    >>> calibration_sentence({"estimate": 0.8, "lower": 0.7, "upper": 0.92, "horizon_months": 24.0})
    'For every 100 events predicted by 24 months, 80 (70 to 92) were observed: predicted risks are too high on average.'
    """
    if row is None or row["estimate"] is None or row["lower"] is None or row["upper"] is None:
        return ""
    by = f" by {months_text(row['horizon_months'])}" if row["horizon_months"] else ""
    if row["upper"] < 1:
        verdict = "predicted risks are too high on average"
    elif row["lower"] > 1:
        verdict = "predicted risks are too low on average"
    else:
        verdict = "no evidence that predicted risks are wrong on average"
    observed, lower, upper = (fixed(100 * row[k], 0) for k in ("estimate", "lower", "upper"))
    return f"For every 100 events predicted{by}, {observed} ({lower} to {upper}) were observed: {verdict}."
