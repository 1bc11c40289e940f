"""All learners, and the risks of several candidates at once."""

from __future__ import annotations

from collections.abc import Sequence

from radiomics_crlm.evaluation.outcome import Floats, Outcome
from radiomics_crlm.modelling.boosted import XGBoostAFT, XGBoostCox, XGBoostLogistic
from radiomics_crlm.modelling.forest import ForestAtHorizon, ForestIncidence
from radiomics_crlm.modelling.fusion import LateFusionCox, LateFusionLogistic, StackingCox, StackingLogistic
from radiomics_crlm.modelling.glassbox import ExplainableBoosting
from radiomics_crlm.modelling.learner import RiskLearner
from radiomics_crlm.modelling.linear import (
    ElasticNetCox,
    ElasticNetLogistic,
    FineGray,
    RidgeCox,
    RidgeLogistic,
    row_space,
)

__all__ = [
    "ElasticNetCox",
    "ElasticNetLogistic",
    "ExplainableBoosting",
    "FineGray",
    "ForestAtHorizon",
    "ForestIncidence",
    "LateFusionCox",
    "LateFusionLogistic",
    "Learner",
    "RidgeCox",
    "RidgeLogistic",
    "StackingCox",
    "StackingLogistic",
    "XGBoostAFT",
    "XGBoostCox",
    "XGBoostLogistic",
    "risks_of_candidates",
    "row_space",
]

Learner = RiskLearner


def risks_of_candidates(candidates: Sequence[Learner], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
    """Risk of test rows from each candidate fitted on the training rows, sharing the work that candidates have in
    common.

    Boosters that differ in the number of rounds alone are grown once, and so are forests that differ in the size of
    their trees; elastic nets start from their neighbours; ridge problems with more inputs than patients are rotated
    once.
    """
    risks: dict[int, Floats] = {}
    for kind in dict.fromkeys(type(candidate) for candidate in candidates):
        places = [i for i, candidate in enumerate(candidates) if type(candidate) is kind]
        found = kind.risks_of([candidates[i] for i in places], X, y, X_test)
        risks.update(zip(places, found, strict=True))
    return [risks[i] for i in range(len(candidates))]
