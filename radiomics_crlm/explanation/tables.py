"""All that a run says about why one of its models predicts what it predicts, as tables."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.explanation.attributions import explain_out_of_fold
from radiomics_crlm.explanation.dependence import partial_dependence
from radiomics_crlm.explanation.groups import input_groups
from radiomics_crlm.explanation.stability import attribution_stability
from radiomics_crlm.modelling.outer import CvResult

TABLES = ("attributions", "probability_attributions", "attribution_stability", "input_groups", "dependence")
"""Names of the tables, each with a schema."""


def explanation_tables(result: CvResult, X: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of one model (parameters and refusals of :func:`explain_out_of_fold`); empty ones are left out."""
    explained = explain_out_of_fold(result, X)
    first = result.folds[result.folds.columns[0]]
    tables = {
        "attributions": explained.attributions,
        "probability_attributions": explained.probabilities,
        "attribution_stability": attribution_stability(explained.attributions, first),
        "input_groups": input_groups(explained.attributions, X, result.recipe.columns),
        "dependence": partial_dependence(result, X, explained.attributions),
    }
    return {name: table for name, table in tables.items() if len(table)}
