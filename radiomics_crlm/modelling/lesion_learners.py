"""Learners of lesions: every lesion carries the outcome of its patient and counts 1 / number of the patient's lesions.

They take packed inputs (`lesions.pack`), one row per patient, and speak about patients: the risk is the maximum or the
mean over the lesions, and probabilities are those of that risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.modelling.boosting import BoosterSettings, margins, train_booster, train_hazard_booster
from radiomics_crlm.modelling.cox import RiskSets, risk_sets
from radiomics_crlm.modelling.elastic import fit_elastic_net
from radiomics_crlm.modelling.learner import RiskLearner, check_positive
from radiomics_crlm.modelling.lesions import Ints, unpack
from radiomics_crlm.modelling.linear import fit_label, row_space
from radiomics_crlm.modelling.risk import (
    breslow_baseline,
    by_whole_months,
    cumulative_incidence,
    linear_risk,
    logistic,
    probability_at_horizon,
)

Aggregate = Literal["max", "mean"]


class LesionLearner(RiskLearner):
    """Base: ``fit_lesions`` learns from weighted lesions, ``lesion_risk`` speaks about each, and patients get the
    ``aggregate``. Probabilities are those of the aggregated risk, calibrated on the training patients."""

    slots: int
    aggregate: Aggregate
    not_deliverable = "it speaks about lesions, and a bundle knows patients only"

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on packed inputs of n patients (``slots`` lesions at most; 0: X has one row of inputs per patient)."""
        X = self._training(X, y, getattr(self, "horizon", None))
        rows, owner = unpack(X, self.slots)
        self.fit_lesions(rows, y, owner, 1.0 / np.bincount(owner)[owner])
        self.shift_ = 0.0
        self.calibrate(self.risk(X), y)
        return self

    def risk(self, X: Floats) -> Floats:
        """Maximum or mean, over the lesions of each patient, of the log odds or log hazard ratio."""
        rows, owner = unpack(self._inputs(X), self.slots)
        if not len(owner):
            return np.empty(0)
        each = self.lesion_risk(rows)
        start = np.flatnonzero(np.diff(owner, prepend=-1))
        if self.aggregate == "max":
            return np.asarray(np.maximum.reduceat(each, start) + self.shift_)
        return np.asarray(np.add.reduceat(each, start) / np.bincount(owner) + self.shift_)

    def fit_lesions(self, rows: Floats, y: Outcome, owner: Ints, weight: Floats) -> None:
        """Learn from lesions; ``y`` is of patients, ``weight`` sums to 1 over the lesions of each."""
        raise NotImplementedError

    def lesion_risk(self, rows: Floats) -> Floats:
        """Risk that each lesion speaks of."""
        raise NotImplementedError

    def calibrate(self, risk: Floats, y: Outcome) -> None:
        """Make probabilities of the risk of the training patients agree with what happened to them."""
        raise NotImplementedError


class _LabelOfLesions(LesionLearner):
    horizon: float

    def calibrate(self, risk: Floats, y: Outcome) -> None:
        """Shift the log odds until the mean probability is the observed incidence."""
        self.shift_ = calibrating_shift(risk, *horizon_labels(y, self.horizon))

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        return probability_at_horizon(self.risk(X), self.horizon, months)


class _HazardOfLesions(LesionLearner):
    def calibrate(self, risk: Floats, y: Outcome) -> None:
        """Breslow baseline of the risk of the patients."""
        self.baseline_ = by_whole_months(breslow_baseline(y, risk))

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Cumulative incidence of the event by each of ``months``, the competing event taken into account."""
        return cumulative_incidence(self.baseline_, self.risk(X), months)


class LesionRidgeLogistic(_LabelOfLesions):
    """Ridge logistic regression of the label of the patient at a horizon, on lesions.

    Parameters
    ----------
    horizon
        Months.
    penalty
        Ridge penalty per patient, > 0.
    slots
        Most lesions of a patient; 0: inputs are one row per patient.
    aggregate
        ``max`` or ``mean`` of the risks of a patient's lesions.
    """

    def __init__(self, horizon: float, penalty: float = 0.3, slots: int = 0, aggregate: Aggregate = "max") -> None:
        self.horizon = horizon
        self.penalty = penalty
        self.slots = slots
        self.aggregate = aggregate

    def fit_lesions(self, rows: Floats, y: Outcome, owner: Ints, weight: Floats) -> None:
        """Weighted penalised likelihood."""
        check_positive(penalty=self.penalty)
        label, known = horizon_labels(y, self.horizon)
        weight = weight * known[owner]
        used = weight > 0
        rotated, basis = row_space(rows[used])
        l2 = np.full(rotated.shape[1], self.penalty)
        beta = fit_label(rotated, label[owner][used], weight[used], np.zeros_like(l2), l2, None)
        self.coef_, self.intercept_ = beta[:-1] if basis is None else basis @ beta[:-1], float(beta[-1])

    def lesion_risk(self, rows: Floats) -> Floats:
        """Log odds."""
        return linear_risk(rows, self.coef_, self.intercept_)


class LesionRidgeCox(_HazardOfLesions):
    """Ridge-penalised cause-specific Cox regression (Breslow ties) on lesions; parameters as
    :class:`LesionRidgeLogistic`."""

    def __init__(self, penalty: float = 0.3, slots: int = 0, aggregate: Aggregate = "max") -> None:
        self.penalty = penalty
        self.slots = slots
        self.aggregate = aggregate

    def fit_lesions(self, rows: Floats, y: Outcome, owner: Ints, weight: Floats) -> None:
        """Weighted penalised partial likelihood."""
        check_positive(penalty=self.penalty)
        sets = risk_sets(y[owner])
        rotated, basis = row_space(rows)
        weight = weight[sets.order]
        l2 = np.full(rotated.shape[1], self.penalty)
        beta = fit_elastic_net(
            lambda linear: WeightedLikelihood(sets, weight, linear), rotated[sets.order], np.zeros_like(l2), l2
        )
        self.coef_ = beta if basis is None else basis @ beta

    def lesion_risk(self, rows: Floats) -> Floats:
        """Log hazard ratio."""
        return linear_risk(rows, self.coef_, 0.0)


class LesionXGBoostLogistic(_LabelOfLesions):
    """Boosted trees of the label of the patient at a horizon, on lesions.

    Parameters
    ----------
    horizon
        Months.
    rounds, depth, learning_rate, min_child_weight, l2, seed
        See ``boosted.XGBoostLogistic``; weights of leaves are of patients, as there.
    slots, aggregate
        See :class:`LesionRidgeLogistic`.
    """

    def __init__(
        self, horizon: float, rounds: int = 100, depth: int = 2, learning_rate: float = 0.05,
        min_child_weight: float = 2.0, l2: float = 5.0, seed: int = 0, slots: int = 0, aggregate: Aggregate = "max",
    ) -> None:  # fmt: skip
        self.horizon = horizon
        self.rounds = rounds
        self.depth = depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.l2 = l2
        self.seed = seed
        self.slots = slots
        self.aggregate = aggregate

    def fit_lesions(self, rows: Floats, y: Outcome, owner: Ints, weight: Floats) -> None:
        """Weighted log loss."""
        label, known = horizon_labels(y, self.horizon)
        weight = weight * known[owner]
        used = weight > 0
        self.booster_ = train_booster(
            rows[used], label[owner][used], weight[used],
            objective="binary:logistic", settings=_settings(self), seed=self.seed,
        )  # fmt: skip

    def lesion_risk(self, rows: Floats) -> Floats:
        """Log odds."""
        return margins(self.booster_, rows)


class LesionXGBoostCox(_HazardOfLesions):
    """Boosted trees of the cause-specific hazard (weighted Cox loss, Breslow ties) on lesions; parameters as
    :class:`LesionXGBoostLogistic`."""

    def __init__(
        self, rounds: int = 100, depth: int = 2, learning_rate: float = 0.05, min_child_weight: float = 5.0,
        l2: float = 5.0, seed: int = 0, slots: int = 0, aggregate: Aggregate = "max",
    ) -> None:  # fmt: skip
        self.rounds = rounds
        self.depth = depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.l2 = l2
        self.seed = seed
        self.slots = slots
        self.aggregate = aggregate

    def fit_lesions(self, rows: Floats, y: Outcome, owner: Ints, weight: Floats) -> None:
        """Weighted partial likelihood; xgboost's own derivatives leave the weights out of the sets at risk."""
        sets = risk_sets(y[owner])
        weight = weight[sets.order]

        def derivatives(margin: Floats) -> tuple[Floats, Floats]:
            point = WeightedLikelihood(sets, weight, margin[sets.order])
            gradient, curvature = np.empty(len(owner)), np.empty(len(owner))
            gradient[sets.order], curvature[sets.order] = point.gradient, point.curvature
            return gradient, curvature

        self.booster_ = train_hazard_booster(rows, derivatives, settings=_settings(self), seed=self.seed)

    def lesion_risk(self, rows: Floats) -> Floats:
        """Log hazard ratio."""
        return margins(self.booster_, rows)


def _settings(learner: Any) -> BoosterSettings:
    check_positive(rounds=learner.rounds, depth=learner.depth, learning_rate=learner.learning_rate)
    return BoosterSettings(
        learner.rounds, learner.depth, learner.learning_rate, learner.min_child_weight, learner.l2
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class WeightedLikelihood:
    """Negative partial log-likelihood (Breslow ties) / sum of weights of weighted rows, at one linear predictor.

    ``weight`` and ``linear`` are in the order of ``sets``. Without weights and ties it is ``cox.PartialLikelihood``.
    """

    sets: RiskSets
    weight: Floats
    linear: Floats

    @cached_property
    def _shift(self) -> float:
        return float(self.linear.max())

    @cached_property
    def _relative(self) -> Floats:
        return self.weight * np.exp(self.linear - self._shift)

    @cached_property
    def _at_risk(self) -> Floats:
        return np.asarray(np.cumsum(self._relative)[self.sets.last])

    @cached_property
    def _happened(self) -> Floats:
        """Weight of the events of each distinct time."""
        sets = self.sets
        totals = np.bincount(sets.time, weights=self.weight[sets.events], minlength=sets.start.size)
        return np.asarray(totals, dtype=float)

    def _reached(self, increment: Floats) -> Floats:
        """Sum of increments at the event times at which each row is at risk."""
        return np.append(increment[::-1].cumsum()[::-1], 0.0)[self.sets.first]

    @cached_property
    def _exposure(self) -> Floats:
        return self._relative * self._reached(self._happened / self._at_risk)

    @cached_property
    def gradient(self) -> Floats:
        """Derivative of the sum (not the mean) by the linear predictor of each row."""
        return self._exposure - self.weight * self.sets.event

    @cached_property
    def curvature(self) -> Floats:
        """Second derivative of the sum by the linear predictor of each row."""
        second = self._relative**2 * self._reached(self._happened / self._at_risk**2)
        return np.maximum(self._exposure - second, 1e-16)

    @property
    def value(self) -> float:
        """Loss."""
        seen = self.weight[self.sets.events] @ self.linear[self.sets.events]
        return float((self._happened @ (np.log(self._at_risk) + self._shift) - seen) / self.weight.sum())

    @property
    def residual(self) -> Floats:
        """Derivative of the loss by the linear predictor of each row."""
        return np.asarray(self.gradient / self.weight.sum())

    def hessian(self, X: Floats) -> Floats:
        """Second derivative of the loss by the coefficients of ordered inputs."""
        mean = np.cumsum(X * self._relative[:, None], axis=0)[self.sets.last] / self._at_risk[:, None]
        total = (X * self._exposure[:, None]).T @ X - (mean * self._happened[:, None]).T @ mean
        return np.asarray(total / self.weight.sum())


def calibrating_shift(risk: Floats, label: Floats, weight: Floats) -> float:
    """What to add to log odds so that the weighted mean probability is the weighted mean of the labels.

    >>> round(calibrating_shift(np.array([1.0, 1.0]), np.array([1.0, 0.0]), np.ones(2)), 9)
    -1.0
    """
    target = float(weight @ label / weight.sum())
    shift = float(np.log(target / (1.0 - target)) - weight @ risk / weight.sum())
    for _ in range(100):
        p = logistic(risk + shift)
        step = float((weight @ p / weight.sum() - target) / max(weight @ (p * (1.0 - p)) / weight.sum(), 1e-12))
        shift -= float(np.clip(step, -2.0, 2.0))
    return shift
