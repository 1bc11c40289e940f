"""Forests, pseudo-values and the distribution of the time against independent implementations."""

from __future__ import annotations

import numpy as np
import plain_statistics as plain
import pytest
from lifelines import AalenJohansenFitter, LogLogisticFitter, LogNormalFitter, WeibullFitter
from oracle_comparison import Compare, oracle
from random_outcomes import ITERATIVE
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from test_learner_oracles import _data

from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.modelling.estimators import (
    ForestAtHorizon,
    ForestIncidence,
)
from radiomics_crlm.modelling.learner import canonical_order
from radiomics_crlm.modelling.log_time import fit_log_time, log_months, time_probability
from radiomics_crlm.modelling.pseudo import pseudo_values

# lifelines 0.30 calls pandas in a way that pandas 4 will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0:DeprecationWarning")


@oracle(
    "Pseudo-values of the incidence",
    against="lifelines, fitted without a patient",
    covers=("pseudo.pseudo_values",),
    fast=40,
)
def test_pseudo_values_equal_lifelines(compare: Compare) -> None:
    """Without ties, because lifelines moves tied times apart at random."""
    for seed in compare:
        y = _data(seed)[1][:30]
        if not (y["event"] == 1).sum() > 1:
            continue
        at = [5.0, 15.0]

        def incidence(z: Outcome, at: list[float] = at) -> np.ndarray:
            curve = AalenJohansenFitter(calculate_variance=False).fit(z["months"], z["event"], event_of_interest=1)
            return np.array([curve.cumulative_density_.loc[:month].iloc[-1, 0] for month in at])

        some = np.random.default_rng(seed).choice(y.size, 3, replace=False)  # each costs the oracle a fit
        without = np.array([incidence(np.delete(y, i)) for i in some])
        compare(seed, pseudo_values(y, at)[some], y.size * incidence(y) - (y.size - 1) * without)


@oracle(
    "Pseudo-values of the incidence, ties",
    against="written plainly, without each patient (Andersen and Pohar Perme 2010, doi:10.1177/0962280209105020)",
    covers=("pseudo.pseudo_values",),
)
def test_pseudo_values_with_ties_equal_the_loop(compare: Compare) -> None:
    for seed in compare:
        y = _data(seed, ties=True)[1][:20]
        at, n = [2.0, 5.0], y.size
        expected = [
            [n * plain.incidence(y, t) - (n - 1) * plain.incidence(np.delete(y, i), t) for t in at] for i in range(n)
        ]
        compare(seed, pseudo_values(y, at), expected)


@oracle(
    "Random forest at a horizon",
    against="scikit-learn",
    covers=("forest.ForestAtHorizon", "trees.Forest", "trees.forest_of"),
    fast=8,
)
def test_forest_at_a_horizon_equals_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        X, y = _data(seed)
        order = canonical_order(X, y)
        label, weight = plain.labels(y, 15.0)
        rows = order[weight[order] > 0]
        leaves = (2, 7)[seed % 2]
        fitted_there = RandomForestClassifier(
            30, max_leaf_nodes=leaves, min_samples_leaf=4, max_features="sqrt", random_state=seed
        ).fit(X[rows], label[rows], sample_weight=weight[rows])
        fitted = ForestAtHorizon(15.0, trees=30, leaves=leaves, min_leaf=4, seed=seed).fit(X, y)
        compare(seed, fitted.risk(X), fitted_there.predict_proba(X)[:, 1])


@oracle(
    "Random forest of incidences",
    against="scikit-learn on pseudo-values, each tree brought into range and order",
    covers=("forest.ForestIncidence", "trees.Forest", "trees.forest_of"),
    fast=8,
)
def test_forest_of_incidences_equals_scikit_learn_on_pseudo_values(compare: Compare) -> None:
    for seed in compare:
        X, y = _data(seed)
        order = canonical_order(X, y)
        forest = RandomForestRegressor(
            30, max_leaf_nodes=6, min_samples_leaf=5, max_features=1 / 3, random_state=seed
        ).fit(X[order], pseudo_values(y[order], (6.0, 12.0)))  # fmt: skip
        trees = [np.clip(tree.predict(X), 0, 1) for tree in forest.estimators_]
        expected = np.mean([np.column_stack((p[:, 0], p.max(axis=1))) for p in trees], axis=0)
        fitted = ForestIncidence(trees=30, leaves=6, months=(6.0, 12.0), risk_month=12.0, seed=seed).fit(X, y)
        compare(seed, fitted.probability(X, (6.0, 12.0)), expected)
        np.testing.assert_array_equal(fitted.risk(X), fitted.probability(X, (12.0,))[:, 0])


@oracle(
    "Distribution of the time (accelerated failure times)",
    against="lifelines",
    covers=("log_time.fit_log_time", "log_time.time_probability", "log_time.log_months", "log_time.LogTime"),
    tolerance=ITERATIVE,
    fast=10,
)
@pytest.mark.parametrize(
    ("distribution", "fitter"),
    [("normal", LogNormalFitter), ("logistic", LogLogisticFitter), ("extreme", WeibullFitter)],
)
def test_distribution_of_the_time_equals_lifelines(compare: Compare, distribution: str, fitter: type) -> None:
    for seed in compare:
        _, y = _data(seed)
        # Times below half a day count as half a day.
        fitted = fitter().fit(np.maximum(y["months"], 1 / 60), y["event"] == 1)
        mean, time = fit_log_time(y, distribution)
        months = [2.0, 10.0, 25.0]
        expected = 1 - fitted.survival_function_at_times(months).to_numpy()
        compare(seed, time_probability(time, np.array([-mean]), months)[0], expected)
        np.testing.assert_array_equal(log_months(y), np.log(np.maximum(y["months"], 1 / 60)))
