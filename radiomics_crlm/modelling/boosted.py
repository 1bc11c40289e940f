"""Boosted trees: for a label at a horizon, for the cause-specific hazard, and for the time to the event (AFT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.modelling.boosting import BoosterSettings, margins, train_aft_booster, train_booster
from radiomics_crlm.modelling.learner import RiskLearner, canonical_order, check_positive
from radiomics_crlm.modelling.log_time import DISTRIBUTIONS, Distribution, fit_log_time, log_months, time_probability
from radiomics_crlm.modelling.risk import (
    breslow_baseline,
    by_whole_months,
    cumulative_incidence,
    probability_at_horizon,
)


class _Boosted(RiskLearner):
    """Boosters that differ in the number of rounds alone are grown once."""

    rounds: int
    depth: int
    learning_rate: float
    min_child_weight: float
    l2: float

    _SIGN = 1.0
    """Of the margin in the risk."""

    def risk(self, X: Floats) -> Floats:
        """Log odds of the event by the horizon, log hazard ratio, or minus the mean logarithm of the time."""
        inputs = self._inputs(X)
        return self._SIGN * margins(self.booster_, inputs)

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate."""
        grown: dict[tuple[Any, ...], Any] = {}
        risks = []
        for candidate in candidates:
            shared = _without_rounds(candidate)
            key = tuple(shared.values())
            if key not in grown:
                most = max(c.rounds for c in candidates if _without_rounds(c) == shared)
                grown[key] = cls(rounds=most, **shared).fit(X, y)
            booster = grown[key].booster_
            risks.append(cls._SIGN * margins(booster, grown[key]._inputs(X_test), rounds=candidate.rounds))
        return risks

    def _settings(self) -> BoosterSettings:
        check_positive(rounds=self.rounds, depth=self.depth, learning_rate=self.learning_rate)
        return BoosterSettings(self.rounds, self.depth, self.learning_rate, self.min_child_weight, self.l2)


def _without_rounds(candidate: Any) -> dict[str, Any]:
    return {name: value for name, value in candidate.get_params().items() if name != "rounds"}


class XGBoostLogistic(_Boosted):
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
        X = self._training(X, y, self.horizon)
        label, weight = horizon_labels(y, self.horizon)
        known = weight > 0
        self.booster_ = train_booster(
            X[known], label[known], weight[known],
            objective="binary:logistic", settings=self._settings(), seed=self.seed,
        )  # fmt: skip
        return self

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        return probability_at_horizon(self.risk(X), self.horizon, months)


class XGBoostCox(_Boosted):
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
        X = self._training(X, y, None)
        # The loss uses the order of times alone. Ranks keep a time of 0 from losing its sign, which codes the event,
        # and make tied times distinct: xgboost would settle ties by the order of the table.
        rank = np.empty(y.size)
        rank[canonical_order(X, y)] = np.arange(1.0, y.size + 1.0)
        signed = np.where(y["event"] == 1, rank, -rank)
        self.booster_ = train_booster(
            X, signed, np.ones(y.size), objective="survival:cox", settings=self._settings(), seed=self.seed
        )
        self.baseline_ = by_whole_months(breslow_baseline(y, self.risk(X)))
        return self

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Cumulative incidence of the event by each of ``months``, the competing event taken into account."""
        risk = self.risk(X)
        return cumulative_incidence(self.baseline_, risk, months)


class XGBoostAFT(_Boosted):
    """Boosted trees for the logarithm of the time to the event (accelerated failure time).

    The competing event is treated as censoring, so probabilities are those of a world without it: where it is common
    they are too high, and a Cox or Fine-Gray model should be preferred. Width of the distribution and starting point of
    the trees are the maximum-likelihood estimates without inputs.

    Parameters
    ----------
    rounds, depth, learning_rate, min_child_weight, l2
        See ``boosting.BoosterSettings``. The weight of an event is about 1 / width^2.
    distribution
        Of the logarithm of the time: ``normal``, ``logistic`` or ``extreme`` (the time is then log-normal, log-logistic
        or Weibull).
    seed
        Seed of the booster.

    References
    ----------
    Barnwal et al. 2022, doi:10.1080/10618600.2022.2067548.
    """

    _SIGN = -1.0

    def __init__(
        self, rounds: int = 100, depth: int = 2, learning_rate: float = 0.05, min_child_weight: float = 2.0,
        l2: float = 5.0, distribution: Distribution = "normal", seed: int = 0,
    ) -> None:  # fmt: skip
        self.rounds = rounds
        self.depth = depth
        self.learning_rate = learning_rate
        self.min_child_weight = min_child_weight
        self.l2 = l2
        self.distribution = distribution
        self.seed = seed

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        X = self._training(X, y, None)
        if self.distribution not in DISTRIBUTIONS:
            raise InputError(
                "a learner setting is out of range", where="distribution", expected=", ".join(DISTRIBUTIONS)
            )
        center, self.time_ = fit_log_time(y, self.distribution)
        lower = log_months(y)
        self.booster_ = train_aft_booster(
            X, lower, np.where(y["event"] == 1, lower, np.inf), center=center, distribution=self.distribution,
            scale=self.time_.scale, settings=self._settings(), seed=self.seed,
        )  # fmt: skip
        return self

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event by each of ``months`` if nothing competed; NaN beyond the training follow-up."""
        risk = self.risk(X)
        return time_probability(self.time_, risk, months)
