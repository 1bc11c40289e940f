"""The learners: ridge and boosted trees, for a label at a horizon and for time to event.

All take a numeric matrix and an outcome array (``evaluation.outcome``), and all have ``risk(X)`` (higher = event more
likely or sooner) and ``probability(X, months)``. The defaults are conservative: a hundred or two hundred patients are
expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, check_outcome, horizon_labels
from radiomics_crlm.modelling.boosting import BoosterSettings, margins, train_booster
from radiomics_crlm.modelling.cox import fit_ridge_cox, risk_sets
from radiomics_crlm.modelling.risk import (
    breslow_baseline,
    by_whole_months,
    cumulative_incidence,
    linear_risk,
    probability_at_horizon,
)


class RidgeLogistic(BaseEstimator):
    """Ridge logistic regression of the label at a horizon, weighted for censoring.

    Minimises the weighted mean log loss + penalty / 2 * |coefficients|^2; the intercept is free.

    Parameters
    ----------
    horizon
        Months.
    penalty
        Ridge penalty per patient, > 0; inputs are expected to be standardised.
    """

    def __init__(self, horizon: float, penalty: float = 0.3) -> None:
        self.horizon = horizon
        self.penalty = penalty

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        _check_training(X, y, self.horizon)
        _check_positive("penalty", self.penalty)
        label, weight = horizon_labels(y, self.horizon)
        known = weight > 0
        rotated, basis = row_space(X[known])
        model = LogisticRegression(
            C=1.0 / (self.penalty * weight.sum()), solver="newton-cholesky", tol=1e-8, max_iter=500
        )
        model.fit(rotated, label[known], sample_weight=weight[known])
        self.coef_ = basis @ model.coef_[0] if basis is not None else model.coef_[0]
        self.intercept_ = float(model.intercept_[0])
        self.input_mean_ = X.mean(axis=0)
        return self

    def risk(self, X: Floats) -> Floats:
        """Log odds of the event by the horizon."""
        check_is_fitted(self)
        return linear_risk(X, self.coef_, self.intercept_)

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        return probability_at_horizon(self.risk(X), self.horizon, months)


class RidgeCox(BaseEstimator):
    """Ridge-penalised cause-specific Cox regression (Efron ties), Breslow baseline.

    Parameters
    ----------
    penalty
        Ridge penalty per patient, > 0; inputs are expected to be standardised.
    """

    def __init__(self, penalty: float = 0.3) -> None:
        self.penalty = penalty

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        _check_training(X, y, None)
        _check_positive("penalty", self.penalty)
        rotated, basis = row_space(X)
        beta = fit_ridge_cox(rotated, risk_sets(y), self.penalty)
        self.coef_ = basis @ beta if basis is not None else beta
        self.intercept_ = 0.0
        self.input_mean_ = X.mean(axis=0)
        self.baseline_ = by_whole_months(breslow_baseline(y, self.risk(X)))
        return self

    def risk(self, X: Floats) -> Floats:
        """Log hazard ratio against a patient whose inputs are all 0."""
        check_is_fitted(self)
        return linear_risk(X, self.coef_, self.intercept_)

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Cumulative incidence of the event by each of ``months``, the competing event taken into account."""
        check_is_fitted(self, "baseline_")
        return cumulative_incidence(self.baseline_, self.risk(X), months)


class XGBoostLogistic(BaseEstimator):
    """Boosted trees for the label at a horizon, weighted for censoring.

    Parameters
    ----------
    horizon
        Months.
    rounds, depth, learning_rate, min_child_weight, l2
        See ``boosting.BoosterSettings``. The weight of a leaf is the sum of p(1 - p): 2 is about eight patients.
    seed
        Seed of the booster.
    """

    def __init__(
        self, horizon: float, rounds: int = 100, depth: int = 2, learning_rate: float = 0.05,
        min_child_weight: float = 2.0, l2: float = 5.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.horizon = horizon
        self.rounds = rounds
        self.depth = depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.l2 = l2
        self.seed = seed

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        _check_training(X, y, self.horizon)
        label, weight = horizon_labels(y, self.horizon)
        known = weight > 0
        self.booster_ = train_booster(
            X[known], label[known], weight[known],
            objective="binary:logistic", settings=_settings(self), seed=self.seed,
        )  # fmt: skip
        return self

    def risk(self, X: Floats) -> Floats:
        """Log odds of the event by the horizon."""
        check_is_fitted(self)
        return margins(self.booster_, X)

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        return probability_at_horizon(self.risk(X), self.horizon, months)


class XGBoostCox(BaseEstimator):
    """Boosted trees for the cause-specific hazard (Cox loss), Breslow baseline.

    Parameters
    ----------
    rounds, depth, learning_rate, min_child_weight, l2
        See ``boosting.BoosterSettings``.
    seed
        Seed of the booster.
    """

    def __init__(
        self, rounds: int = 100, depth: int = 2, learning_rate: float = 0.05,
        min_child_weight: float = 5.0, l2: float = 5.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.rounds = rounds
        self.depth = depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.l2 = l2
        self.seed = seed

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        _check_training(X, y, None)
        # The loss uses the order of times alone; ranks keep a time of 0 from losing its sign, which codes the event.
        rank = np.unique(y["months"], return_inverse=True)[1] + 1.0
        signed = np.where(y["event"] == 1, rank, -rank)
        self.booster_ = train_booster(
            X, signed, np.ones(y.size), objective="survival:cox", settings=_settings(self), seed=self.seed
        )
        self.baseline_ = by_whole_months(breslow_baseline(y, self.risk(X)))
        return self

    def risk(self, X: Floats) -> Floats:
        """Log hazard ratio."""
        check_is_fitted(self)
        return margins(self.booster_, X)

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Cumulative incidence of the event by each of ``months``, the competing event taken into account."""
        check_is_fitted(self, "baseline_")
        return cumulative_incidence(self.baseline_, self.risk(X), months)


Learner = RidgeLogistic | RidgeCox | XGBoostLogistic | XGBoostCox


def risks_of_candidates(candidates: Sequence[Learner], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
    """Risk of test rows from each candidate fitted on the training rows, sharing the work that candidates have in
    common.

    Boosters that differ in the number of rounds alone are grown once; a ridge problem with more inputs than
    patients is rotated once.
    """
    rotated, basis = row_space(X)
    test = X_test if basis is None else X_test @ basis
    grown: dict[tuple[Any, ...], XGBoostLogistic | XGBoostCox] = {}
    risks = []
    for candidate in candidates:
        if isinstance(candidate, (RidgeLogistic, RidgeCox)):
            risks.append(type(candidate)(**candidate.get_params()).fit(rotated, y).risk(test))
            continue
        parameters = candidate.get_params()
        shared = {name: value for name, value in parameters.items() if name != "rounds"}
        key = tuple(shared.values())
        if key not in grown:
            most = max(c.rounds for c in candidates if _same_but_rounds(c, shared))
            grown[key] = type(candidate)(rounds=most, **shared).fit(X, y)
        risks.append(margins(grown[key].booster_, X_test, rounds=candidate.rounds))
    return risks


def _same_but_rounds(candidate: Learner, shared: dict[str, Any]) -> bool:
    return {name: value for name, value in candidate.get_params().items() if name != "rounds"} == shared


def row_space(X: Floats) -> tuple[Floats, Floats | None]:
    """With more columns than rows, the coordinates of the rows in an orthonormal basis of their span (p x rank),
    else X itself.

    A ridge solution lies in that span, and the basis leaves the penalty unchanged, so the smaller problem is the
    same problem.
    """
    if X.shape[1] <= X.shape[0]:
        return X, None
    left, size, right = np.linalg.svd(X, full_matrices=False)
    return left * size, right.T


def _settings(learner: XGBoostLogistic | XGBoostCox) -> BoosterSettings:
    _check_positive("rounds", learner.rounds)
    _check_positive("depth", learner.depth)
    _check_positive("learning_rate", learner.learning_rate)
    return BoosterSettings(
        learner.rounds, learner.depth, learner.learning_rate, learner.min_child_weight, learner.l2
    )  # fmt: skip


def _check_training(X: Floats, y: Outcome, horizon: float | None) -> None:
    check_outcome(y, horizon=horizon, min_events=1)
    if X.ndim != 2 or X.shape[0] != y.size or X.shape[1] == 0:
        raise InputError("inputs and outcome do not fit together", expected=f"{y.size} rows", got=str(X.shape))
    if not np.isfinite(X).all():
        raise InputError(f"{int((~np.isfinite(X)).sum())} inputs are not finite", where="learner")


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError("a learner setting is out of range", where=name, expected="> 0", got=str(value))
