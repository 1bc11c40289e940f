"""Explainable boosting machine: a sum of one curve per input, from the optional package interpret-core.

The only importer of ``interpret``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Self

import numpy as np

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.modelling.learner import RiskLearner, canonical_order, check_positive
from radiomics_crlm.modelling.risk import probability_at_horizon


def require_interpret() -> None:
    """Refuse to go on without the optional package.

    Raises
    ------
    ConfigError
        Naming the extra that brings it.
    """
    if find_spec("interpret") is None:
        raise ConfigError(
            "the learner ebm needs a package that is not installed", expected="interpret-core",
            remedy='install the extra: pip install "radiomics-crlm[ebm]"',
        )  # fmt: skip


class ExplainableBoosting(RiskLearner):
    """Explainable boosting machine for the label at a horizon, weighted for censoring.

    Parameters
    ----------
    horizon
        Months.
    interactions
        Number of pairs of inputs that may act together; 0 = none.
    bags
        Machines that are averaged, each grown until the rows it left out do not gain any more.
    min_leaf
        Smallest number of patients on a step of a curve.
    seed
        Seed of the bags.

    Raises
    ------
    ConfigError
        When fitted without the optional package.

    References
    ----------
    Nori et al. 2019, https://arxiv.org/abs/1909.09223.
    """

    not_deliverable = "only interpret-core can compute its curves, and a bundle needs no such package"

    def __init__(self, horizon: float, interactions: int = 0, bags: int = 8, min_leaf: int = 5, seed: int = 0) -> None:
        self.horizon = horizon
        self.interactions = interactions
        self.bags = bags
        self.min_leaf = min_leaf
        self.seed = seed

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        X = self._training(X, y, self.horizon)
        check_positive(bags=self.bags, min_leaf=self.min_leaf)
        require_interpret()
        from interpret.glassbox import ExplainableBoostingClassifier  # type: ignore[import-untyped]

        order = canonical_order(X, y)
        label, weight = (values[order] for values in horizon_labels(y, self.horizon))
        known = weight > 0
        model = ExplainableBoostingClassifier(
            interactions=self.interactions, outer_bags=self.bags, min_samples_leaf=self.min_leaf,
            random_state=self.seed, n_jobs=1,
        )  # fmt: skip
        self.machine_ = model.fit(X[order][known], label[known].astype(int), sample_weight=weight[known])
        return self

    def risk(self, X: Floats) -> Floats:
        """Log odds of the event by the horizon."""
        inputs = self._inputs(X)
        return np.asarray(self.machine_.decision_function(inputs), dtype=float)

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN except at the horizon."""
        return probability_at_horizon(self.risk(X), self.horizon, months)
