"""scikit-learn's own checks of estimators, on every learner and transformer of the package.

The checks bring a numeric target, which an adapter turns into an outcome; everything else is the estimator as it is.
What cannot be checked is listed here with its reason.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

import radiomics_crlm.modelling
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.estimators import (
    ElasticNetCox,
    ElasticNetLogistic,
    ExplainableBoosting,
    FineGray,
    ForestAtHorizon,
    ForestIncidence,
    LateFusionCox,
    LateFusionLogistic,
    RidgeCox,
    RidgeLogistic,
    StackingCox,
    StackingLogistic,
    XGBoostAFT,
    XGBoostCox,
    XGBoostLogistic,
)
from radiomics_crlm.modelling.lesion_learners import (
    LesionRidgeCox,
    LesionRidgeLogistic,
    LesionXGBoostCox,
    LesionXGBoostLogistic,
)
from radiomics_crlm.modelling.transformers import FeatureFilter, UnivariateSelector

LEARNERS = [
    RidgeLogistic(24.0),
    RidgeCox(),
    FineGray(),
    ElasticNetLogistic(24.0, 0.01),
    ElasticNetCox(0.01),
    XGBoostLogistic(24.0, rounds=5),
    XGBoostCox(rounds=5),
    XGBoostAFT(rounds=5),
    ForestAtHorizon(24.0, trees=5),
    ForestIncidence(trees=5),
    LateFusionLogistic(24.0),
    LateFusionCox(),
    StackingLogistic(24.0),
    StackingCox(),
    LesionRidgeLogistic(24.0),
    LesionRidgeCox(),
    LesionXGBoostLogistic(24.0, rounds=5),
    LesionXGBoostCox(rounds=5),
]
TRANSFORMERS = [FeatureFilter(), UnivariateSelector(2)]
OPTIONAL = [ExplainableBoosting(24.0, bags=1)] if find_spec("interpret") else []  # takes half a minute

NOT_CHECKED = {
    "TableEncoder": "reads declared columns of a table, and the checks bring matrices of any width",
    "StableFeatures": "finds the patients of a fit by the index of their table, and the checks bring matrices",
    "ComBat": "finds the site of each patient by the index of the table, and the checks bring matrices",
    "CalibratedLearner": "is made of what is fitted already and has no fit of its own",
    "PerLesion": "takes columns of numbered lesions apart, and the checks bring matrices of any width",
    "SharedIndicatorImputer": "is scikit-learn's own with fewer columns, and the checks bring sparse matrices",
    "ExplainableBoosting": "is checked in test_optional_estimator, where its package is installed",
    "MRMRSelector": "checked with its own tests",
    "StabilitySelector": "checked with its own tests",
}
BASES = {"RiskLearner", "LinearLearner", "AtHorizon", "Hazard", "OutcomeSelector", "LesionLearner"}

EXPECTED: dict[str, dict[str, str]] = {}
"""Checks that an estimator is right to fail, each with its reason: none."""


def _outcome(y: Any) -> Outcome:
    """Times in the order of the numbers, the event in the first of each three and none or another in the others."""
    values = np.asarray(y, dtype=float).ravel()
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return make_outcome(np.array([1, 1, 2, 0])[rank % 4], 1.0 + 59.0 * (rank + 1) / rank.size)


class _NumericTarget:
    """Turns a numeric target into an outcome, after the checks that a target itself undergoes."""

    def fit(self, X: Any, y: Any = None) -> Any:
        return super().fit(X, self._target(X, y))  # type: ignore[misc]

    def _target(self, X: Any, y: Any) -> Any:
        values = np.asarray(y)
        numeric = y is not None and values.size and values.dtype.names is None
        return _outcome(values) if numeric and np.isrealobj(values) and np.isrealobj(np.asarray(X)) else y


class _Scored(_NumericTarget):
    def score(self, X: Any, y: Any) -> float:
        return float(super().score(X, self._target(X, y)))  # type: ignore[misc]


def _adapted(estimator: Any) -> Any:
    """The estimator with a target of numbers; its class stands in this module, so that it can be pickled."""
    kind = type(estimator)
    name = f"Numeric{kind.__name__}"
    bases = (_Scored, kind) if hasattr(kind, "score") else (_NumericTarget, kind)
    globals()[name] = type(name, bases, {"__module__": __name__, "__init__": kind.__init__})
    return globals()[name](**estimator.get_params())


def _reasons(estimator: Any) -> dict[str, str]:
    return EXPECTED.get(type(estimator).__name__.removeprefix("Numeric"), {})


def test_every_estimator_is_checked_or_excused() -> None:
    """A new one is checked the day it is added."""
    found = set()
    for module in pkgutil.iter_modules(radiomics_crlm.modelling.__path__, "radiomics_crlm.modelling."):
        for name, item in vars(importlib.import_module(module.name)).items():
            if isinstance(item, type) and issubclass(item, BaseEstimator) and item.__module__ == module.name:
                found.add(name)
    public = {name for name in found if not name.startswith("_")} - BASES
    assert public - {type(e).__name__ for e in LEARNERS + TRANSFORMERS} <= set(NOT_CHECKED)


@parametrize_with_checks([_adapted(e) for e in LEARNERS + TRANSFORMERS], expected_failed_checks=_reasons)
def test_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([_adapted(e) for e in OPTIONAL], expected_failed_checks=_reasons)
def test_optional_estimator(estimator: Any, check: Any) -> None:
    check(estimator)
