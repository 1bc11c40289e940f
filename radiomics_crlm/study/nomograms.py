"""The delivered linear models as points and nomograms."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.explanation.points import nomogram
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.risk import REPORT_MONTHS
from radiomics_crlm.study.models import Plan


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
