"""The delivered linear models as points and nomograms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.explanation.points import nomogram
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.risk import REPORT_MONTHS
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.study.plans import Plan

FOLDER = "nomograms"
"""In the out folder: what of a nomogram is for reading in a spreadsheet."""
_SHOWN = ["column", "kind", "value", "level", "points", "filled", "points_filled"]


def write_nomograms(delivered: Mapping[str, tuple[Plan, Pipeline]], out: Path) -> None:
    """Write the tables of :func:`nomogram_tables`, and for each endpoint the same as two CSV files."""
    tables = nomogram_tables(delivered)
    for name, table in tables.items():
        write_table(table, out / "tables" / f"{name}.parquet", name)
    if not tables:
        return
    points, totals = tables["nomogram_points"], tables["nomogram_totals"]
    for endpoint in dict.fromkeys(points["endpoint"]):
        own, read = points.loc[points["endpoint"] == endpoint, _SHOWN], totals.loc[totals["endpoint"] == endpoint]
        wide = read.pivot(index="total", columns="months", values="probability").round(5)
        wide.columns = pd.Index([f"probability_{month:g}m" for month in wide.columns])
        for name, table in (("points", own), ("probabilities", wide.reset_index())):
            text = table.to_csv(index=False, lineterminator="\n", float_format="%.10g")
            write_text(out / FOLDER / f"{endpoint}_{name}.csv", text)


def nomogram_tables(delivered: Mapping[str, tuple[Plan, Pipeline]]) -> dict[str, pd.DataFrame]:
    """Tables ``nomogram_points`` and ``nomogram_totals`` of the delivered models that are linear; empty without any.

    A model that was let leak is left out, as it is never delivered.
    """
    made = []
    for endpoint, (plan, pipeline) in delivered.items():
        model = freeze(pipeline)
        if model.coefficients is None or not model.coefficients.any() or plan.predictors.admitted:
            continue
        months = REPORT_MONTHS if model.horizon is None else (model.horizon,)
        spoken = [month for month in months if model.speaks_at(month)]
        if spoken:
            made.append(nomogram(model, plan.predictors.table, endpoint=endpoint, name=plan.name, months=spoken))
    if not made:
        return {}
    return {
        "nomogram_points": pd.concat([one.points for one in made], ignore_index=True),
        "nomogram_totals": pd.concat([one.totals for one in made], ignore_index=True),
    }
