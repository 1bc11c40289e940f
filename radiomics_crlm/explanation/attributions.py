"""SHAP values, out of fold: each patient is explained by the model that did not see that patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.explanation.explainers import months_spoken, probability_parts, risk_parts
from radiomics_crlm.explanation.learner_inputs import readable_table
from radiomics_crlm.modelling.outer import CvResult
from radiomics_crlm.modelling.risk import REPORT_MONTHS

COLUMNS = ["endpoint", "model", "patient_id", "feature", "input", "attribution"]
PROBABILITY_COLUMNS = ["endpoint", "model", "patient_id", "months", "feature", "attribution"]


@dataclass(frozen=True, eq=False)
class Explained:
    """Tables ``attributions`` (of the risk) and ``probability_attributions`` of one model."""

    attributions: pd.DataFrame
    probabilities: pd.DataFrame


def out_of_fold_attributions(result: CvResult, X: pd.DataFrame) -> pd.DataFrame:
    """SHAP values of the risk: table ``attributions`` of :func:`explain_out_of_fold`."""
    return explain_out_of_fold(result, X, months=()).attributions


def explain_out_of_fold(result: CvResult, X: pd.DataFrame, *, months: Sequence[float] | None = None) -> Explained:
    """SHAP values of the first repeat of a nested cross-validation, of the risk and of the probabilities.

    How each kind of model is explained: :mod:`explanation.explainers`. The cost is one pass over the patients, and a
    bounded number of predictions where a model can only be asked.

    Parameters
    ----------
    result
        From ``modelling.train.nested_cv``.
    X
        The predictors given to it, indexed by patient.
    months
        Times of the probabilities; by default those that are reported, and the horizon of a binary model. Left out
        are those at which a model of any fold is silent.

    Returns
    -------
    Explained
        Every input that any fold used has a row for every tested patient, with attribution 0 where the fold's model
        did not use it, so that means over patients are comparable.

    Raises
    ------
    InputError
        If ``X`` holds other patients than the cross-validation.
    CrlmError
        If attributions do not add up to what they explain within 1e-5.
    """
    if X.index.has_duplicates or not X.index.sort_values().equals(result.folds.index.sort_values()):
        raise InputError("predictors and cross-validation are of different patients", where="explanation")
    folds = [
        (pipeline, X.loc[result.trained(repeat, fold).sort_values()], X.loc[_tested(result, repeat, fold)])
        for (repeat, fold), pipeline in result.models.items()
    ]
    asked = _months(result) if months is None else tuple(months)
    for pipeline, _, test in folds:
        asked = months_spoken(pipeline, test, asked)
    seed = result.recipe.seed
    risks, chances = [], []
    for pipeline, train, test in folds:
        parts = risk_parts(pipeline, train, test, seed=seed)
        risks.append(pd.DataFrame(parts.values[:, :, 0], index=test.index, columns=parts.names))
        if asked:
            made = probability_parts(pipeline, test, parts, asked, seed=seed).values
            chances.append([pd.DataFrame(made[:, :, k], test.index, parts.names) for k in range(len(asked))])
    shown = readable_inputs(X.loc[X.index.isin(result.tested())], result)
    of_months = [pd.concat([fold[k] for fold in chances]) for k in range(len(asked))]
    return Explained(_risk_table(result, pd.concat(risks), shown), _probability_table(result, asked, of_months, shown))


def readable_inputs(X: pd.DataFrame, result: CvResult) -> pd.DataFrame:
    """All inputs a model may see, in the unit of their columns (NaN where missing), and their missingness as 0/1.

    Features of lesions are shown as the mean over the lesions of the patient.
    """
    return readable_table(X, result.recipe.columns)


def global_importance(attributions: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute attribution of each feature over patients, largest first.

    Returns
    -------
    DataFrame
        ``endpoint, model, feature, importance``.
    """
    size = attributions.assign(importance=attributions["attribution"].abs())
    means = size.groupby(["endpoint", "model", "feature"])["importance"].mean().reset_index()
    ordered = means.sort_values(
        ["endpoint", "model", "importance", "feature"], ascending=[True, True, False, True], kind="stable"
    )
    return ordered.reset_index(drop=True)


def _tested(result: CvResult, repeat: int, fold: int) -> pd.Index:
    return result.folds.index[result.folds[repeat] == fold]


def _months(result: CvResult) -> tuple[float, ...]:
    """Those reported; the horizon of a binary model is among the names of its probabilities."""
    own = [float(name[12:-1]) for name in result.predictions.columns if name.startswith("probability_")]
    return tuple(sorted({*REPORT_MONTHS, *own}))


def _risk_table(result: CvResult, wide: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    order = [name for name in shown.columns if name in wide.columns]
    long = _long(wide.loc[shown.index], order)
    long.insert(2, "input", shown[order].to_numpy().ravel())
    return long.assign(endpoint=result.endpoint, model=result.recipe.name)[COLUMNS]


def _probability_table(
    result: CvResult, months: Sequence[float], wide: Sequence[pd.DataFrame], shown: pd.DataFrame
) -> pd.DataFrame:
    parts = []
    for month, one in zip(months, wide, strict=True):
        order = [name for name in shown.columns if name in one.columns]
        parts.append(_long(one.loc[shown.index], order).assign(months=float(month)))
    if not parts:
        return pd.DataFrame(columns=PROBABILITY_COLUMNS)
    table = pd.concat(parts, ignore_index=True)
    return table.assign(endpoint=result.endpoint, model=result.recipe.name)[PROBABILITY_COLUMNS]


def _long(wide: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """One row per patient and input."""
    return pd.DataFrame(
        {
            "patient_id": np.repeat(wide.index.to_numpy(dtype=object), len(order)),
            "feature": np.tile(np.array(order, dtype=object), len(wide)),
            "attribution": wide[order].fillna(0.0).to_numpy().ravel(),
        }
    )
