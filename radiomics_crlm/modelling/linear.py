"""Linear learners: ridge and elastic net, for a label at a horizon, for the cause-specific hazard and for the hazard of
the subdistribution.

The defaults are conservative: a hundred or two hundred patients are expected. Penalties are per patient (a penalty
means the same in tables of any length), and inputs are expected to be standardised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.modelling.cox import PartialLikelihood, RiskSets, fit_ridge_cox, risk_sets
from radiomics_crlm.modelling.elastic import LogLoss, fit_elastic_net
from radiomics_crlm.modelling.learner import RiskLearner, check_positive, check_share
from radiomics_crlm.modelling.risk import (
    breslow_baseline,
    by_whole_months,
    cumulative_incidence,
    linear_risk,
    probability_at_horizon,
    subdistribution_baseline,
)


class LinearLearner(RiskLearner):
    """A linear predictor, ``coef_`` and ``intercept_``; ``input_mean_`` is the point attributions refer to."""

    def risk(self, X: Floats) -> Floats:
        """Linear predictor: log odds of the event by the horizon, or log hazard ratio against inputs of 0."""
        return linear_risk(self._inputs(X), self.coef_, self.intercept_)

    def _set(self, coefficients: Floats, intercept: float, X: Floats) -> None:
        self.coef_, self.intercept_, self.input_mean_ = coefficients, intercept, X.mean(axis=0)


class AtHorizon(LinearLearner):
    horizon: float

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        return probability_at_horizon(self.risk(X), self.horizon, months)


class Hazard(LinearLearner):
    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Cumulative incidence of the event by each of ``months``, the competing event taken into account."""
        risk = self.risk(X)
        return cumulative_incidence(self.baseline_, risk, months)


class RidgeLogistic(AtHorizon):
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

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate; with more inputs than patients one rotation serves all."""
        rotated, basis = row_space(X)
        test = X_test if basis is None else X_test @ basis
        return [cls(**candidate.get_params()).fit(rotated, y).risk(test) for candidate in candidates]

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        X = self._training(X, y, self.horizon)
        check_positive(penalty=self.penalty)
        label, weight = horizon_labels(y, self.horizon)
        known = weight > 0
        rotated, basis = row_space(X[known])
        none, ridge = np.zeros(rotated.shape[1]), np.full(rotated.shape[1], self.penalty)
        beta = fit_label(rotated, label[known], weight[known], none, ridge, None)
        self._set(basis @ beta[:-1] if basis is not None else beta[:-1], float(beta[-1]), X)
        return self


class _RidgeHazard(Hazard):
    """Ridge-penalised partial likelihood: risk sets and rotation are found once for all candidates."""

    penalty: float
    _SUBDISTRIBUTION = False

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate."""
        first = cls(**candidates[0].get_params())
        X, X_test = first._training(X, y, None), first._inputs(X_test)
        rotated, basis = row_space(X)
        sets = risk_sets(y, subdistribution=cls._SUBDISTRIBUTION)
        risks = []
        for candidate in candidates:
            check_positive(penalty=candidate.penalty)
            beta = fit_ridge_cox(rotated, sets, candidate.penalty)
            risks.append(linear_risk(X_test, beta if basis is None else basis @ beta, 0.0))
        return risks

    def _fit(self, X: Floats, y: Outcome) -> tuple[Floats, RiskSets]:
        X = self._training(X, y, None)
        check_positive(penalty=self.penalty)
        sets = risk_sets(y, subdistribution=self._SUBDISTRIBUTION)
        self._set(ridge_hazard(X, sets, self.penalty), 0.0, X)
        return X, sets


class RidgeCox(_RidgeHazard):
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
        X, _ = self._fit(X, y)
        self.baseline_ = by_whole_months(breslow_baseline(y, self.risk(X)))
        return self


class FineGray(_RidgeHazard):
    """Ridge-penalised proportional hazards of the subdistribution (Fine and Gray): the incidence itself is modelled.

    Who had the competing event stays at risk, with the probability of not having been censored since (Kaplan-Meier of
    censoring in the training rows). Ties as Efron, baseline as Breslow. Without a competing event it is
    :class:`RidgeCox`.

    Parameters
    ----------
    penalty
        Ridge penalty per patient, > 0; inputs are expected to be standardised.

    References
    ----------
    Fine and Gray 1999, doi:10.1080/01621459.1999.10474144.
    """

    _SUBDISTRIBUTION = True

    def __init__(self, penalty: float = 0.3) -> None:
        self.penalty = penalty

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        X, sets = self._fit(X, y)
        hazard = PartialLikelihood(sets, self.risk(X)[sets.order]).baseline()
        self.baseline_ = by_whole_months(subdistribution_baseline(y, hazard))
        return self


class _NetPath(LinearLearner):
    """Elastic net: candidates of one ``l1_ratio`` start from the one with the next stronger penalty."""

    penalty: float
    l1_ratio: float

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate."""
        risks: list[Floats] = [np.empty(0)] * len(candidates)
        last: dict[float, Floats] = {}
        for position in sorted(range(len(candidates)), key=lambda i: -candidates[i].penalty):
            learner = cls(**candidates[position].get_params())
            last[learner.l1_ratio] = learner._fit(X, y, last.get(learner.l1_ratio))
            risks[position] = learner.risk(X_test)
        return risks

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        self._fit(X, y, None)
        return self

    def _fit(self, X: Floats, y: Outcome, start: Floats | None) -> Floats:
        raise NotImplementedError

    def _penalties(self, inputs: int) -> tuple[Floats, Floats]:
        check_positive(penalty=self.penalty)
        check_share(l1_ratio=self.l1_ratio)
        lasso = np.full(inputs, self.penalty * self.l1_ratio)
        return lasso, np.full(inputs, self.penalty * (1.0 - self.l1_ratio))


class ElasticNetLogistic(_NetPath, AtHorizon):
    """Elastic-net logistic regression of the label at a horizon, weighted for censoring.

    Minimises the weighted mean log loss + penalty * (l1_ratio * |b|_1 + (1 - l1_ratio) / 2 * |b|^2); the intercept is
    free.

    Parameters
    ----------
    horizon
        Months.
    penalty
        Penalty per patient, > 0; inputs are expected to be standardised.
    l1_ratio
        0 (ridge) to 1 (lasso).
    """

    def __init__(self, horizon: float, penalty: float = 0.1, l1_ratio: float = 0.5) -> None:
        self.horizon = horizon
        self.penalty = penalty
        self.l1_ratio = l1_ratio

    def _fit(self, X: Floats, y: Outcome, start: Floats | None) -> Floats:
        X = self._training(X, y, self.horizon)
        label, weight = horizon_labels(y, self.horizon)
        known = weight > 0
        beta = fit_label(X[known], label[known], weight[known], *self._penalties(X.shape[1]), start)
        self._set(beta[:-1], float(beta[-1]), X)
        return beta


class ElasticNetCox(_NetPath, Hazard):
    """Elastic-net cause-specific Cox regression (Efron ties), Breslow baseline.

    Minimises -(partial log-likelihood) / n + penalty * (l1_ratio * |b|_1 + (1 - l1_ratio) / 2 * |b|^2).

    Parameters
    ----------
    penalty
        Penalty per patient, > 0; inputs are expected to be standardised.
    l1_ratio
        0 (ridge) to 1 (lasso).
    """

    def __init__(self, penalty: float = 0.1, l1_ratio: float = 0.5) -> None:
        self.penalty = penalty
        self.l1_ratio = l1_ratio

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        super().fit(X, y)
        self.baseline_ = by_whole_months(breslow_baseline(y, self.risk(X)))
        return self

    def _fit(self, X: Floats, y: Outcome, start: Floats | None) -> Floats:
        X = self._training(X, y, None)
        lasso, ridge = self._penalties(X.shape[1])
        sets: RiskSets = risk_sets(y)
        beta = fit_elastic_net(lambda linear: PartialLikelihood(sets, linear), X[sets.order], lasso, ridge, start=start)
        self._set(beta, 0.0, X)
        return beta


def fit_label(X: Floats, label: Floats, weight: Floats, l1: Floats, l2: Floats, start: Floats | None) -> Floats:
    """Coefficients and, last, the free intercept of a penalised logistic regression of weighted labels."""
    share = weight / weight.sum()
    if start is None:
        mean = float(share @ label)
        start = np.append(np.zeros(X.shape[1]), np.log(mean / (1.0 - mean)))
    inputs = np.column_stack((X, np.ones(label.size)))
    return fit_elastic_net(
        lambda linear: LogLoss(label, share, linear), inputs, np.append(l1, 0.0), np.append(l2, 0.0), start=start
    )


def ridge_hazard(X: Floats, sets: RiskSets, penalty: float) -> Floats:
    """Ridge coefficients of a partial likelihood, also where there are more inputs than patients."""
    rotated, basis = row_space(X)
    beta = fit_ridge_cox(rotated, sets, penalty)
    return beta if basis is None else np.asarray(basis @ beta)


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
