"""Performance as saved in the tables ``metrics`` and ``comparisons``: arranged and written out, never recomputed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radiomics_crlm.config import CONTROL_SETS, EndpointConfig
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

_RANKING = (
    "c_index", "auc", "c_index_whole", "auc_whole", "c_index_folds", "auc_folds", "c_index_uno", "c_index_competing",
    "auc_horizon", "average_precision",
)  # fmt: skip
_ERRORS = ("brier", "brier_scaled", "brier_integrated", "brier_integrated_scaled", "log_loss")
_TRUNCATED = ("c_index_uno", "c_index_competing", "brier_integrated", "brier_integrated_scaled")
_CALIBRATION = ("observed_expected", "calibration_slope", "calibration_intercept", "ici", "e50", "e90")
_TRAITS = {
    "c_index": "0.5 is chance, 1 perfect",
    "auc": "0.5 is chance, 1 perfect",
    "c_index_whole": "pairs across folds too",
    "auc_whole": "pairs across folds too",
    "brier": "lower is better",
    "brier_scaled": "0 = no model, 1 perfect",
    "observed_expected": "1 is ideal; below 1: risks too high",
    "calibration_slope": "1 is ideal; below 1: too extreme",
    "calibration_intercept": "0 is ideal",
    "c_index_uno": "weighted for censoring",
    "c_index_competing": "weighted for censoring",
    "c_index_folds": "interval allows for refitted models",
    "auc_folds": "interval allows for refitted models",
    "auc_horizon": "0.5 is chance, 1 perfect",
    "average_precision": "the incidence is chance",
    "log_loss": "lower is better",
    "brier_integrated": "lower is better",
    "brier_integrated_scaled": "0 = no model, 1 perfect",
    "ici": "mean distance of the calibration curve",
    "e50": "median distance",
    "e90": "90th percentile of the distance",
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


def find_comparison(
    artefacts: Artefacts, endpoint: str, model: str, reference: str, *, refitted: bool = False
) -> Part | None:
    """Paired difference model minus reference in the primary metric; a row saved the other way round is turned.

    ``refitted``: with the interval that allows for refitted models, where there is one.
    """
    rows = artefacts.of_endpoint("comparisons", endpoint)
    if rows is None:
        return None
    metric = primary_metric(artefacts.endpoints[endpoint])
    found = _between(rows.loc[rows["metric"] == f"{metric}_folds"], model, reference) if refitted else None
    return found or _between(rows.loc[rows["metric"] == metric], model, reference)


def _between(rows: pd.DataFrame, model: str, reference: str) -> Part | None:
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
    part["differences"] = _differences(artefacts, endpoint)
    part["against"] = _against(artefacts, endpoint, shown) if shown else []
    if metrics is None:
        return part | {"absent": artefacts.why_absent("metrics")}
    names = sorted(metrics["model"].unique(), key=lambda name: (not artefacts.is_model(name), _order(artefacts, name)))
    inputs = {name: body.get("n_columns") for name, body in artefacts.part("models").get(endpoint, {}).items()}
    heads = [
        {
            "model": name,
            "title": artefacts.model_title(name),
            "kind": "model" if artefacts.is_model(name) else "score",
            "shown": name == shown,
            "inputs": inputs.get(name),
        }
        for name in names
    ]
    present = {str(m) for m in metrics["metric"]}
    wanted = [
        ("Ranking of patients", (part["metric"], *_RANKING)),
        ("Errors of the probabilities", _ERRORS),
        ("Calibration of the probabilities", _CALIBRATION),
    ]
    part["tables"] = []
    for title, choice in wanted:
        columns = [m for m in dict.fromkeys(choice) if m in present]
        if columns:
            part["tables"].append(_table(metrics, heads, columns) | {"title": title})
    return part


def _table(metrics: pd.DataFrame, heads: list[Part], columns: list[str]) -> Part:
    """Rows of all models and scores that have one of these metrics."""
    at = _horizon_text(metrics.loc[metrics["metric"].isin(columns)])
    table: Part = {"at": at, "columns": [_column(m) for m in columns], "rows": []}
    if not at:  # the columns have horizons of their own, or none
        for column in table["columns"]:
            own = _horizon_text(metrics.loc[metrics["metric"] == column["metric"]]).strip()
            own = own.replace("at ", "up to ") if column["metric"] in _TRUNCATED else own
            column["trait"] = "; ".join(text for text in (column["trait"], own) if text)
    for head in heads:
        own = metrics.loc[(metrics["model"] == head["model"]) & metrics["metric"].isin(columns)]
        if len(own):
            table["rows"].append(head | _cells(own, columns))
    for k, column in enumerate(table["columns"]):
        bases = {row["cells"][k].get("base") for row in table["rows"] if "n" in row["cells"][k]}
        if len(bases) == 1 and None not in bases:
            column["base"] = bases.pop()
            for row in table["rows"]:
                row["cells"][k].pop("base", None)
    return table


def _order(artefacts: Artefacts, name: str) -> tuple[int, str]:
    """Models in the order of the experiment, scores in the order of its rules."""
    feature_sets = [*artefacts.experiment.feature_sets, *CONTROL_SETS]
    order = feature_sets + list(artefacts.experiment.rules) + list(artefacts.experiment.reported_scores)
    key = name.partition("/")[0].partition(" (")[0]
    return (order.index(key) if key in order else len(order), name)


def _column(metric: str) -> Part:
    return {"metric": metric, "title": METRIC_TITLES[metric], "trait": _TRAITS.get(metric, "")}


def _horizon_text(rows: pd.DataFrame) -> str:
    """ " at 24 months" where all metrics of a table with a horizon share it."""
    horizons = rows["horizon_months"].dropna().unique()
    return f" at {months_text(float(horizons[0]))}" if len(horizons) == 1 else ""


def _cells(own: pd.DataFrame, columns: list[str]) -> Part:
    """Cells in the order of the columns; n and events are those of the first, named again where another differs."""
    found = {str(row["metric"]): _cell(row, str(row["metric"])) for _, row in own.iterrows()}
    leading = next(found[m] for m in columns if m in found)
    for cell in found.values():
        if (cell["n"], cell["events"]) != (leading["n"], leading["events"]):
            cell["base"] = f"n {cell['n']}, events {cell['events']}"
    cells = [found.get(m, {"text": NO_VALUE, "absent": "not applicable"}) for m in columns]
    return {"n": leading["n"], "events": leading["events"], "cells": cells}


def _cell(row: pd.Series, metric: str) -> Part:
    values = _plain(row)
    values.pop("horizon_months")
    if values["estimate"] is None:
        return values | {"text": "not computable", "absent": "not computable"}
    text = interval(values["estimate"], values["lower"], values["upper"], METRIC_DECIMALS.get(metric, 2))
    return values | {"text": text}


def _against(artefacts: Artefacts, endpoint: str, shown: str) -> list[Part]:
    """Differences of the model of the card to each of the others, all in its direction, for the figure."""
    rows = artefacts.of_endpoint("comparisons", endpoint)
    if rows is None:
        return []
    others = [name for name in dict.fromkeys([*rows["model"], *rows["reference"]]) if name != shown]
    others.sort(key=lambda name: (not artefacts.is_model(name), _order(artefacts, name)))
    found = [(name, find_comparison(artefacts, endpoint, shown, name)) for name in others]
    return [
        {
            "title": artefacts.model_title(name),
            "kind": "model" if artefacts.is_model(name) else "score",
            "estimate": row["difference"],
            "lower": row["lower"],
            "upper": row["upper"],
            "text": interval(row["difference"], row["lower"], row["upper"], 3, signed=True),
        }
        for name, row in found
        if row is not None
    ]


def _differences(artefacts: Artefacts, endpoint: str) -> Part:
    rows = artefacts.of_endpoint("comparisons", endpoint)
    if rows is None:
        return {"absent": artefacts.why_absent("comparisons")}
    rows = rows.loc[rows["metric"] == primary_metric(artefacts.endpoints[endpoint])]
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
                "text": text if known else "not computable",
                "p_text": p_text(values["p_value"]),
                **{f"{name}_text": p_text(number(row.get(name))) for name in ("p_permutation", "p_holm")},
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
    # 100 is the bound that decides: a limit beside it must not read as 100.
    decimals = 0
    while decimals < 3 and any(round(100 * row[k], decimals) == 100 != 100 * row[k] for k in ("lower", "upper")):
        decimals += 1
    observed, lower, upper = (fixed(100 * row[k], decimals) for k in ("estimate", "lower", "upper"))
    return f"For every 100 events predicted{by}, {observed} ({lower} to {upper}) were observed: {verdict}."
