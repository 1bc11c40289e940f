"""Would another model of the same kind have said the same? Attributions compared between the folds' models."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from radiomics_crlm.evaluation.outcome import Floats

TOP = 10
"""Inputs that count as the strongest of a model."""
STABILITY_COLUMNS = [
    "endpoint", "model", "feature", "importance", "used_share", "direction", "sign_agreement", "rank_median",
    "rank_lowest", "rank_highest", "folds", "rank_correlation", "top_overlap",
]  # fmt: skip


def attribution_stability(attributions: pd.DataFrame, folds: pd.Series) -> pd.DataFrame:
    """How attributions of one model agree between the outer folds of the first repeat.

    Folds explain different patients with different models, so what is compared has the variation of both: means over
    the patients of a fold, not attributions of single patients.

    Parameters
    ----------
    attributions
        Table ``attributions`` of one endpoint and model.
    folds
        Outer test fold by patient.

    Returns
    -------
    DataFrame
        Table ``attribution_stability``, strongest input first: mean absolute attribution, share of the folds whose
        model uses the input, share of those in which it points in the direction of most (``sign_agreement``; NaN where
        no direction can be told), median, best and worst rank; and, the same on every row, the number of folds, the
        mean Kendall correlation of the importances of two folds and the mean share of the ten strongest inputs that
        two folds have in common.
    """
    rows = attributions.assign(fold=folds.reindex(attributions["patient_id"]).to_numpy(), size=0.0)
    rows["size"] = rows["attribution"].abs()
    importance = rows.groupby(["feature", "fold"])["size"].mean().unstack("fold")
    sign = pd.DataFrame(
        {fold: _signs(part).reindex(importance.index) for fold, part in rows.groupby("fold")}, importance.index
    )
    used = importance > 0
    rank = (-importance).rank(axis=0, method="average")
    direction = np.sign(sign.sum(axis=1))
    told = (sign != 0).sum(axis=1)
    agreed = sign.eq(direction, axis=0).sum(axis=1)
    table = pd.DataFrame(
        {
            "feature": importance.index.to_numpy(dtype=object),
            "importance": rows.groupby("feature")["size"].mean().loc[importance.index].to_numpy(),
            "used_share": used.mean(axis=1).to_numpy(),
            "direction": direction.to_numpy(),
            "sign_agreement": (agreed / told.where(told > 0)).where(direction != 0, 0.5).where(told > 0).to_numpy(),
            "rank_median": rank.median(axis=1).to_numpy(),
            "rank_lowest": rank.max(axis=1).to_numpy(),
            "rank_highest": rank.min(axis=1).to_numpy(),
            "folds": importance.shape[1],
            "rank_correlation": _kendall(importance.to_numpy()),
            "top_overlap": _overlap(importance),
        }
    )
    table = table.sort_values(["importance", "feature"], ascending=[False, True], kind="stable", ignore_index=True)
    first = attributions.iloc[0]
    return table.assign(endpoint=first["endpoint"], model=first["model"])[STABILITY_COLUMNS]


def _signs(fold: pd.DataFrame) -> pd.Series:
    """Direction of each input in a fold: sign of the covariance of input and attribution; 0 if it cannot be told."""
    known = fold.loc[fold["input"].notna() & (fold["attribution"] != 0)]
    centred = known.assign(
        x=known["input"] - known.groupby("feature")["input"].transform("mean"),
        a=known["attribution"] - known.groupby("feature")["attribution"].transform("mean"),
    )
    moved = (centred["x"] * centred["a"]).groupby(centred["feature"]).sum()
    spread = (centred[["x", "a"]] ** 2).groupby(centred["feature"]).sum().prod(axis=1)
    sign = pd.Series(np.sign(moved), index=moved.index).where(moved**2 > 1e-18 * spread, 0.0)
    return sign.reindex(fold["feature"].unique()).fillna(0.0)


def _kendall(importance: Floats) -> float:
    """Mean rank correlation of two folds; NaN with one fold or one input."""
    pairs = [stats.kendalltau(a, b).statistic for a, b in itertools.combinations(importance.T, 2) if len(a) > 1]
    known = [value for value in pairs if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _overlap(importance: pd.DataFrame) -> float:
    """Mean share of the strongest inputs that two folds have in common; NaN with one fold."""
    tops = []
    for fold in importance.columns:
        used = importance[fold][importance[fold] > 0]
        ordered = sorted(used.index, key=lambda name: (-used[name], name))
        tops.append(set(ordered[:TOP]))
    shares = [len(a & b) / max(1, min(TOP, max(len(a), len(b)))) for a, b in itertools.combinations(tops, 2)]
    return float(np.mean(shares)) if shares else float("nan")
