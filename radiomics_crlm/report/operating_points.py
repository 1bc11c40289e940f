"""Thresholds chosen inside the folds and what they did for the patients of the test folds (table ``thresholds``)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, cell, column, group, row, section, table
from radiomics_crlm.report.followed import model_order
from radiomics_crlm.report.wording import NO_VALUE, fixed, months_text

_SHARES = ("sensitivity_inner", "sensitivity", "specificity_inner", "specificity", "flagged")


def thresholds(artefacts: Artefacts, _: Part) -> Part:
    """Threshold, sensitivity, specificity and share of flagged patients over the folds, per model and rule."""
    operating = artefacts.experiment.operating
    if operating is None or not operating.thresholds:
        return section([absent("Thresholds", "the experiment asks for none")])
    if "thresholds" not in artefacts.tables:
        return section([absent("Thresholds", artefacts.why_absent("thresholds"))])
    return section([_endpoint(artefacts, name) for name in artefacts.endpoints])


def _endpoint(artefacts: Artefacts, endpoint: str) -> Part:
    title = artefacts.endpoints[endpoint].title
    rows = artefacts.of_endpoint("thresholds", endpoint)
    if rows is None:
        return absent(f"Thresholds: {title}", artefacts.why_absent("thresholds"))
    groups = []
    for rule, here in rows.groupby("rule", sort=False):
        models = model_order(artefacts, here["model"])
        lines = [_line(artefacts, model, here.loc[here["model"] == model]) for model in models]
        groups.append(group(lines, f"{str(rule)[0].upper()}{str(rule)[1:]}"))
    return table(
        f"Thresholds of predicted risk by {months_text(float(rows['months'].iloc[0]))}, chosen in the training part of "
        f"each fold, and what they did for its test patients: {title}",
        "Model",
        [
            column("Folds", "with a threshold, of all"),
            column("Threshold", "median (lowest to highest)"),
            column("Sensitivity", "in training"),
            column("Sensitivity", "in test patients"),
            column("Specificity", "in training"),
            column("Specificity", "in test patients"),
            column("High risk", "share of test patients"),
        ],
        groups,
        note="Means over the folds, each with the weight of its test patients. A fall from training to test is what "
        "the choice of the threshold promised too much.",
    )


def _line(artefacts: Artefacts, model: str, own: pd.DataFrame) -> Part:
    known = own["threshold"].dropna()
    text = NO_VALUE
    summary: dict[str, float | None] = {"value": None, "lowest": None, "highest": None}
    if len(known):
        summary = {"value": float(known.median()), "lowest": float(known.min()), "highest": float(known.max())}
        text = f"{fixed(summary['value'])} ({fixed(summary['lowest'])} to {fixed(summary['highest'])})"
    cells = [cell(f"{len(known)} of {len(own)}", value=len(known), folds=len(own)), cell(text, **summary)]
    return row(artefacts.model_title(model), [*cells, *(_mean(own, name) for name in _SHARES)])


def _mean(own: pd.DataFrame, name: str) -> Part:
    """Mean over folds that know it, weighted by their test patients."""
    known = own.dropna(subset=[name])
    if known.empty:
        return cell(NO_VALUE, value=None)
    mean = round(float(np.average(known[name].to_numpy(dtype=float), weights=known["n"].to_numpy(dtype=float))), 4)
    return cell(f"{fixed(100 * mean, 0)} %", value=mean)
