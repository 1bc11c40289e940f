"""Inputs that say nearly the same, explained together.

A model divides what correlated inputs have in common among them by chance, and each seems weaker than what they stand
for. Attributions are therefore also summed over groups, which are found in the inputs alone, without outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.explanation.learner_inputs import column_of, readable_table
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.lesions import feature_of

SAME = 0.7
"""Absolute Spearman correlation that every two members of a group have at least."""
_FEWEST = 10
GROUP_COLUMNS = ["endpoint", "model", "feature", "block", "group", "importance", "group_importance"]


def group_inputs(inputs: pd.DataFrame) -> np.ndarray:
    """Number of the group of each column, counted from 0 in the order of the columns.

    Complete linkage on 1 - |Spearman|, cut so that every two members correlate by at least ``SAME``; only patients of
    whom both are known count, at least ten. Inputs without variation are alone.

    Parameters
    ----------
    inputs
        n x p, NaN where missing.

    Examples
    --------
    >>> x = np.arange(12.0)
    >>> group_inputs(pd.DataFrame({"a": x, "b": -(x**3), "c": x % 3})).tolist()
    [0, 0, 1]
    """
    if inputs.shape[1] < 2:
        return np.zeros(inputs.shape[1], dtype=int)
    close = inputs.corr(method="spearman", min_periods=_FEWEST).abs().fillna(0.0).to_numpy(copy=True)
    # Rounded, so that equal correlations are equal whatever the order of a sum.
    distance = np.round(1.0 - np.clip(close, 0.0, 1.0), 12)
    np.fill_diagonal(distance, 0.0)
    found = fcluster(linkage(squareform(distance, checks=False), "complete"), 1.0 - SAME, "distance")
    _, first, number = np.unique(found, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return np.asarray(order[number])


def input_groups(attributions: pd.DataFrame, X: pd.DataFrame, columns: Sequence[ColumnSpec]) -> pd.DataFrame:
    """Groups of the inputs of one model, and what moves the prediction as a group.

    Parameters
    ----------
    attributions
        Table ``attributions`` of one endpoint and model.
    X
        Predictors of all its patients, indexed by patient.
    columns
        Of the recipe.

    Returns
    -------
    DataFrame
        Table ``input_groups``, strongest group first: ``importance`` is the mean absolute attribution of an input,
        ``group_importance`` the mean absolute sum over its group.
    """
    features = list(dict.fromkeys(attributions["feature"]))
    group = group_inputs(readable_table(X, tuple(columns))[features])
    wide = attributions.pivot(index="patient_id", columns="feature", values="attribution")[features].to_numpy()
    whole = group_importance(wide, group)
    blocks = {feature_of(c.name): c.block for c in columns}
    table = pd.DataFrame(
        {
            "feature": np.array(features, dtype=object),
            "block": np.array([blocks[column_of(f)] for f in features], dtype=object),
            "group": group,
            "importance": np.abs(wide).mean(axis=0),
            "group_importance": whole[group],
        }
    )
    order = np.lexsort((table["feature"], -table["importance"], table["group"], -table["group_importance"]))
    first = attributions.iloc[0]
    table = table.iloc[order].reset_index(drop=True)
    return table.assign(endpoint=first["endpoint"], model=first["model"])[GROUP_COLUMNS]


def group_importance(attributions: Floats, group: np.ndarray) -> Floats:
    """Mean over patients of the absolute sum of the attributions (n x p) of each group."""
    total = np.zeros((len(attributions), int(group.max(initial=-1)) + 1))
    np.add.at(total.T, group, attributions.T)
    return np.asarray(np.abs(total).mean(axis=0))
