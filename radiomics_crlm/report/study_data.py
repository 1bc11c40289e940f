"""The numbers behind a report, for programs: metrics to compare between versions, all estimates, curves to plot.

They hold what the report shows, in full precision and without any patient: the discrimination of all models and
scores and what radiomics adds (``metrics.json``, few enough for a table of experiments), estimates and intervals of
every metric (``estimates.json``), and the calibration and decision curves of the models that the report draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.provenance.files import write_json, write_text
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.verdicts import shown_model

METRICS, ESTIMATES, PLOTS = "metrics.json", "estimates.json", "plots"
_CURVES = {
    "calibration": ("calibration_curves", ["horizon_months", "predicted", "observed", "lower", "upper"]),
    "decision": ("decision_curves", ["horizon_months", "threshold", "net_benefit"]),
}


def write_data(artefacts: Artefacts, folder: Path) -> None:
    """Write ``metrics.json``, ``estimates.json`` and ``plots/ENDPOINT_CURVE.csv``; curves of an earlier report that no
    longer exist go.

    The same artefacts give the same bytes.
    """
    write_json(folder / METRICS, metrics(artefacts))
    write_json(folder / ESTIMATES, estimates(artefacts))
    curves = {f"{name}_{kind}.csv": table for name in artefacts.endpoints for kind, table in _curves(artefacts, name)}
    for file, table in curves.items():
        write_text(folder / PLOTS / file, table.to_csv(index=False, lineterminator="\n"))
    if (folder / PLOTS).is_dir():
        for old in (folder / PLOTS).glob("*.csv"):
            if old.name not in curves:
                old.unlink()


def metrics(artefacts: Artefacts) -> dict[str, Any]:
    """The main numbers: endpoint, its main metric, model or score; and, where it was asked, what radiomics adds."""
    found: dict[str, Any] = {}
    for name, config in artefacts.endpoints.items():
        metric, table = primary_metric(config), artefacts.of_endpoint("metrics", name)
        rows = (
            [] if table is None else table.loc[table["metric"] == metric].dropna(subset="estimate").to_dict("records")
        )
        part: dict[str, Any] = {metric: {row["model"]: row["estimate"] for row in rows}} if rows else {}
        answers = artefacts.of_endpoint("answers", name)
        for row in [] if answers is None else answers.to_dict("records"):
            if row["arm"] == "combined" and pd.notna(row["difference"]):
                limits = {"estimate": "difference", "lower": "difference_lower", "upper": "difference_upper"}
                part["radiomics_adds"] = {key: row[column] for key, column in limits.items() if pd.notna(row[column])}
        found |= {name: part} if part else {}
    return found


def estimates(artefacts: Artefacts) -> dict[str, Any]:
    """Estimates with their intervals: endpoint, model or score, metric (with its months, where it is of a time)."""
    found: dict[str, Any] = {}
    for name in artefacts.endpoints:
        table = artefacts.of_endpoint("metrics", name)
        for row in [] if table is None else table.to_dict("records"):
            values = {key: row[key] for key in ("estimate", "lower", "upper") if pd.notna(row[key])}
            if values:
                found.setdefault(name, {}).setdefault(row["model"], {})[_metric(row)] = values
    return found


def _metric(row: dict[Any, Any]) -> str:
    months = row["horizon_months"]
    return str(row["metric"]) if pd.isna(months) else f"{row['metric']}_{months:g}m"


def _curves(artefacts: Artefacts, endpoint: str) -> list[tuple[str, pd.DataFrame]]:
    model = shown_model(artefacts, endpoint)
    found = []
    for kind, (name, columns) in _CURVES.items():
        table = artefacts.of_endpoint(name, endpoint)
        rows = None if table is None else table.loc[table["model"] == model, columns]
        if rows is not None and len(rows):
            found.append((kind, rows))
    return found
