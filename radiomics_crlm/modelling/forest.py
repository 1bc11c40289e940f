"""Random forests: for a label at a horizon, and for the cumulative incidence at several times (pseudo-values).

Trees are grown best split first, so a smaller tree is the beginning of a larger one, and tuning grows a forest once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.modelling.learner import RiskLearner, canonical_order, check_positive
from radiomics_crlm.modelling.pseudo import pseudo_values
from radiomics_crlm.modelling.risk import REPORT_MONTHS
from radiomics_crlm.modelling.trees import MOST_LEAVES, Forest, forest_of, spoken


class _Forest(RiskLearner):
    """Grown trees are ``forest_``; the risk is its output number ``output_``."""

    forest_: Forest
    trees: int
    leaves: int
    min_leaf: int
    seed: int
    output_: int

    def risk(self, X: Floats) -> Floats:
        """Probability of the event by the horizon, 0 to 1."""
        inputs = self._inputs(X)
        return self.forest_.predict(inputs)[:, self.output_]

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate; those that differ in the size of their trees alone are grown once."""
        grown: dict[tuple[Any, ...], Any] = {}
        risks = []
        for candidate in candidates:
            shared = _without_leaves(candidate)
            key = tuple(shared.values())
            if key not in grown:
                most = max(c.leaves for c in candidates if _without_leaves(c) == shared)
                grown[key] = cls(leaves=most, **shared).fit(X, y)
            learner = grown[key]
            risks.append(learner.forest_.cut(candidate.leaves).predict(learner._inputs(X_test))[:, learner.output_])
        return risks

    def _settings(self) -> dict[str, Any]:
        check_positive(trees=self.trees, min_leaf=self.min_leaf)
        if not 2 <= self.leaves <= MOST_LEAVES:
            raise InputError(
                "a learner setting is out of range", where="leaves", expected=f"2 to {MOST_LEAVES}",
                got=str(self.leaves),
            )  # fmt: skip
        return {
            "n_estimators": self.trees,
            "max_leaf_nodes": self.leaves,
            "min_samples_leaf": self.min_leaf,
            "random_state": self.seed,
            "n_jobs": 1,
        }


def _without_leaves(candidate: Any) -> dict[str, Any]:
    return {name: value for name, value in candidate.get_params().items() if name != "leaves"}


class ForestAtHorizon(_Forest):
    """Random forest of the label at a horizon, weighted for censoring.

    Parameters
    ----------
    horizon
        Months.
    trees
        Number of trees.
    leaves
        Largest number of leaves of a tree, 2 to 128.
    min_leaf
        Smallest number of (drawn) patients in a leaf.
    seed
        Seed of the draws of patients and inputs.
    """

    def __init__(self, horizon: float, trees: int = 200, leaves: int = 8, min_leaf: int = 5, seed: int = 0) -> None:
        self.horizon = horizon
        self.trees = trees
        self.leaves = leaves
        self.min_leaf = min_leaf
        self.seed = seed

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        X = self._training(X, y, self.horizon)
        model = RandomForestClassifier(max_features="sqrt", **self._settings())
        order = canonical_order(X, y)
        label, weight = (values[order] for values in horizon_labels(y, self.horizon))
        known = weight > 0
        model.fit(X[order][known], label[known].astype(int), sample_weight=weight[known])
        grown = [tree.tree_ for tree in model.estimators_]
        self.forest_ = forest_of(grown, [tree.value[:, 0, 1:] for tree in grown])
        self.months_, self.output_ = (float(self.horizon),), 0
        return self

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        inputs = self._inputs(X)
        return spoken(self.months_, self.forest_.predict(inputs), months)


class ForestIncidence(_Forest):
    """Random forest of the cumulative incidence at several times, the competing event taken into account.

    One forest predicts the jackknife pseudo-values of all times together. In each leaf the means are brought into 0 to
    1 and made to rise with time. The risk is the incidence at ``risk_month``.

    Parameters
    ----------
    trees
        Number of trees.
    leaves
        Largest number of leaves of a tree, 2 to 128.
    min_leaf
        Smallest number of (drawn) patients in a leaf.
    months
        Times, ascending; those beyond the follow-up of the training rows are left out.
    risk_month
        One of ``months``, within the follow-up.
    seed
        Seed of the draws of patients and inputs.

    References
    ----------
    Andersen and Pohar Perme 2010, doi:10.1177/0962280209105020.
    """

    def __init__(
        self, trees: int = 200, leaves: int = 8, min_leaf: int = 5, months: tuple[float, ...] = REPORT_MONTHS,
        risk_month: float = 24.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.trees = trees
        self.leaves = leaves
        self.min_leaf = min_leaf
        self.months = months
        self.risk_month = risk_month
        self.seed = seed

    def check(self, y: Outcome) -> None:
        """Refuse a follow-up that ends before the time of the risk."""
        check_follow_up(y, self.months, self.risk_month)

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        X = self._training(X, y, None)
        model = RandomForestRegressor(max_features=1 / 3, **self._settings())
        self.check(y)
        order = canonical_order(X, y)
        self.months_ = tuple(float(month) for month in self.months if month <= y["months"].max())
        model.fit(X[order], pseudo_values(y[order], self.months_))
        grown = [tree.tree_ for tree in model.estimators_]
        means = [tree.value[:, :, 0] for tree in grown]
        self.forest_ = forest_of(grown, [np.maximum.accumulate(np.clip(m, 0.0, 1.0), axis=1) for m in means])
        self.output_ = self.months_.index(self.risk_month)
        return self

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Cumulative incidence by each of ``months``; NaN at times that were not learned."""
        inputs = self._inputs(X)
        return spoken(self.months_, self.forest_.predict(inputs), months)


def check_follow_up(y: Outcome, months: Sequence[float], risk_month: float) -> None:
    """Refuse times at which a forest cannot learn the incidence.

    Raises
    ------
    InputError
        If the times do not ascend or lack the one of the risk, or nobody is followed to that.
    """
    if list(months) != sorted(set(months)) or risk_month not in months:
        raise InputError(
            "a learner setting is out of range", where="months", expected="ascending times, among them risk_month"
        )
    if float(y["months"].max()) < risk_month:
        raise InputError(
            "the follow-up is too short for the forest", where="learner", expected=f"a patient followed {risk_month:g} "
            "months or longer", remedy="choose another learner, or an earlier risk_month",
        )  # fmt: skip
