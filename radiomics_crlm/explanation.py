"""SHAP values, out of fold: each patient is explained by the model that did not see that patient.

The only importer of shap.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.columns import encode, input_names
from radiomics_crlm.modelling.frozen import MISSING_SUFFIX, freeze
from radiomics_crlm.modelling.train import CvResult
from radiomics_crlm.modelling.trees import Forest

ADDITIVITY = 1e-5
"""Largest admissible gap between base value + attributions and the risk (trees compute in float32)."""
COLUMNS = ["endpoint", "model", "patient_id", "feature", "input", "attribution"]


def out_of_fold_attributions(result: CvResult, X: pd.DataFrame) -> pd.DataFrame:
    """SHAP values of the first repeat of a nested cross-validation.

    Linear models refer to the mean of the training inputs of the fold (``shap.LinearExplainer``), trees to
    their own expectation (``shap.TreeExplainer``, path-dependent). The cost is one pass over the patients;
    nothing is sampled.

    Parameters
    ----------
    result
        From ``modelling.train.nested_cv``.
    X
        The predictors given to it, indexed by patient.

    Returns
    -------
    DataFrame
        Table ``attributions``. Every input that any fold used has a row for every tested patient, with attribution 0
        where the fold's model did not use it, so that means over patients are comparable.

    Raises
    ------
    InputError
        If ``X`` holds other patients than the cross-validation.
    CrlmError
        If attributions do not add up to the risk.
    """
    if X.index.has_duplicates or not X.index.sort_values().equals(result.folds.index.sort_values()):
        raise InputError("predictors and cross-validation are of different patients", where="explanation")
    shap = _shap()
    parts = []
    for (repeat, fold), pipeline in result.models.items():
        tested = result.folds.index[result.folds[repeat] == fold]
        parts.append(_explain(shap, pipeline, X.loc[result.trained(repeat, fold).sort_values()], X.loc[tested]))
    X = X.loc[X.index.isin(result.tested())]
    attribution = pd.concat(parts).loc[X.index]
    shown = readable_inputs(X, result)
    order = [name for name in shown.columns if name in attribution.columns]
    long = pd.DataFrame(
        {
            "patient_id": np.repeat(X.index.to_numpy(dtype=object), len(order)),
            "feature": np.tile(np.array(order, dtype=object), len(X)),
            "input": shown[order].to_numpy().ravel(),
            "attribution": attribution[order].fillna(0.0).to_numpy().ravel(),
        }
    )
    return long.assign(endpoint=result.endpoint, model=result.recipe.name)[COLUMNS]


def readable_inputs(X: pd.DataFrame, result: CvResult) -> pd.DataFrame:
    """All inputs a model may see, in the unit of their columns (NaN where missing), and their missingness as 0/1."""
    columns = result.recipe.columns
    values, names = encode(X, columns, logs=False), input_names(columns)
    every = np.hstack((values, np.isnan(values).astype(float)))
    return pd.DataFrame(every, index=X.index, columns=[*names, *(name + MISSING_SUFFIX for name in names)])


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


def _explain(shap: ModuleType, pipeline: Pipeline, train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    model, learner = freeze(pipeline), pipeline[-1]
    inputs = model.transform(test)
    given, sign = inputs.to_numpy(), 1.0
    if model.learner == "linear":
        background = model.transform(train).to_numpy()
        masker = shap.maskers.Independent(background, max_samples=len(background))
        explainer = shap.LinearExplainer((model.coefficients, model.intercept), masker)
    elif model.forest is not None:
        explainer = shap.TreeExplainer({"trees": _trees(model.forest, model.output)})
        given = given.astype(np.float32).astype(float)  # the precision in which a forest compares
    else:
        explainer = shap.TreeExplainer(learner.booster_)
        sign = 1.0 if model.log_time is None else -1.0  # a longer time is a lower risk
    values = sign * np.asarray(explainer.shap_values(given), dtype=float)
    check_additivity(values, sign * float(np.ravel(explainer.expected_value)[0]), model.risk(test))
    return pd.DataFrame(values, index=test.index, columns=inputs.columns)


def _trees(forest: Forest, output: int) -> list[dict[str, Any]]:
    """A forest as the arrays that shap takes."""
    trees = []
    for begin, end in zip(forest.roots, [*forest.roots[1:], forest.feature.size], strict=True):
        left = np.where(forest.left[begin:end] < 0, -1, forest.left[begin:end] - begin)
        right = np.where(left < 0, -1, left + 1)
        trees.append(
            {
                "children_left": left,
                "children_right": right,
                "children_default": right,
                "features": np.where(left < 0, -2, forest.feature[begin:end]),
                "thresholds": forest.threshold[begin:end],
                "values": forest.value[begin:end, [output]] / forest.roots.size,
                "node_sample_weight": forest.cover[begin:end],
            }
        )
    return trees


def check_additivity(values: Floats, base: float, risk: Floats) -> None:
    """Refuse attributions (n x inputs) that do not sum to risk - base.

    Raises
    ------
    CrlmError
        With the largest gap.
    """
    gap = float(np.abs(values.sum(axis=1) + base - risk).max(initial=0.0))
    # Written so that NaN is refused too.
    if not gap <= ADDITIVITY * max(1.0, float(np.abs(risk).max(initial=0.0))):
        raise CrlmError("attributions do not add up to the risk", where="explanation", got=f"a gap of {gap:.2g}")


def _shap() -> ModuleType:
    """Import shap late (it takes seconds), silencing no more than what its colour maps say to matplotlib."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning, message=r"The set_\w+ function will be")
        import shap
    return shap
