"""Forests as plain arrays: prediction, growth read off at any size, exact attributions."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from simulated_tables import draw_outcome, noise_table

from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.forest import ForestAtHorizon, ForestIncidence
from radiomics_crlm.modelling.pseudo import pseudo_values
from radiomics_crlm.modelling.trees import Forest, forest_of, spoken

# x0 <= 0: 0.2; else x1 <= 1: 0.4, else 0.9; and a tree that is a single leaf.
BY_HAND = Forest(
    roots=np.array([0, 5]),
    feature=np.array([0, -1, 1, -1, -1, -1]),
    threshold=np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
    left=np.array([1, -1, 3, -1, -1, -1]),
    value=np.array([[0.5], [0.2], [0.7], [0.4], [0.9], [0.6]]),
    cover=np.array([10.0, 4.0, 6.0, 2.0, 4.0, 10.0]),
)


def _grown(seed: int = 0, p: int = 5, **settings: int) -> tuple[ForestAtHorizon, np.ndarray]:
    X = noise_table(120, p, seed).to_numpy()
    return ForestAtHorizon(24.0, **{"trees": 15, **settings}).fit(X, draw_outcome(X[:, 0] - X[:, 1], seed)), X


def test_predicts_by_hand() -> None:
    X = np.array([[0.0, 5.0], [1.0, 1.0], [1.0, 1.1], [-3.0, 0.0]])
    np.testing.assert_allclose(BY_HAND.predict(X)[:, 0], [0.4, 0.5, 0.75, 0.4])
    assert BY_HAND.leaves(X).tolist() == [[1, 5], [3, 5], [4, 5], [1, 5]]
    assert BY_HAND.predict(X[:0]).shape == (0, 1)


def test_cut_by_hand() -> None:
    """Two leaves: what came with the second split is gone."""
    X = np.array([[0.0, 5.0], [1.0, 1.0], [1.0, 1.1]])
    np.testing.assert_allclose(BY_HAND.cut(2).predict(X)[:, 0], [0.4, 0.65, 0.65])
    np.testing.assert_allclose(BY_HAND.cut(3).predict(X)[:, 0], BY_HAND.predict(X)[:, 0])


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_forest_is_the_forest_grown_to_that_size(seed: int) -> None:
    large, X = _grown(seed, leaves=12)
    for leaves in (2, 3, 7):
        small, _ = _grown(seed, leaves=leaves)
        assert (large.forest_.cut(leaves).predict(X) == small.forest_.predict(X)).all()


def test_inputs_are_compared_in_single_precision_like_the_trees_were_grown() -> None:
    just_above = np.array([[1e-50, 0.0]])
    assert BY_HAND.leaves(just_above)[0, 0] == 1


def _brute_force(forest: Forest, x: np.ndarray) -> np.ndarray:
    """Shapley values by their definition: every order of the inputs, each tree walked with unknown inputs averaged."""

    def expectation(known: frozenset[int], node: int) -> float:
        if forest.feature[node] < 0:
            return float(forest.value[node, 0])
        left = forest.left[node]
        if forest.feature[node] in known:
            goes_left = x[forest.feature[node]] <= forest.threshold[node]
            return expectation(known, left if goes_left else left + 1)
        share = forest.cover[left] / forest.cover[node]
        return share * expectation(known, left) + (1 - share) * expectation(known, left + 1)

    def value(known: frozenset[int]) -> float:
        return float(np.mean([expectation(known, root) for root in forest.roots]))

    out = np.zeros(x.size)
    for order in itertools.permutations(range(x.size)):
        for position, feature in enumerate(order):
            before = frozenset(order[:position])
            out[feature] += value(before | {feature}) - value(before)
    return out / math.factorial(x.size)


def test_attributions_equal_their_definition() -> None:
    for forest, X in ((BY_HAND, np.array([[1.0, 1.1], [0.0, 2.0]])), _forest_and_rows()):
        values, base = forest.contributions(X, 0)
        for row, x in zip(values, X, strict=True):
            np.testing.assert_allclose(row, _brute_force(forest, x), atol=1e-12)
        np.testing.assert_allclose(values.sum(axis=1) + base, forest.predict(X)[:, 0], atol=1e-12)


def _forest_and_rows() -> tuple[Forest, np.ndarray]:
    learner, X = _grown(3, p=4, trees=6, leaves=10, min_leaf=2)
    return learner.forest_, X[:4].astype(np.float32).astype(float)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_attributions_of_each_time_add_up(output: int) -> None:
    X = noise_table(90, 6, 0).to_numpy()
    fitted = ForestIncidence(trees=20, leaves=16, min_leaf=2).fit(X, draw_outcome(X[:, 0], 0))
    values, base = fitted.forest_.contributions(X, output)
    np.testing.assert_allclose(values.sum(axis=1) + base, fitted.forest_.predict(X)[:, output], atol=1e-12)
    assert np.abs(values[:, 0]).mean() > 2 * np.abs(values[:, 1:]).mean()


def test_times_that_were_not_learned_are_unknown() -> None:
    p = spoken((12.0, 24.0), np.array([[0.1, 0.2]]), (24.0, 18.0))
    np.testing.assert_array_equal(p, [[0.2, np.nan]])


def test_refuses_trees_numbered_otherwise() -> None:
    """Grown depth first, children are not neighbours."""
    tree = SimpleNamespace(
        node_count=5, children_left=np.array([1, 2, -1, -1, -1]), children_right=np.array([4, 3, -1, -1, -1])
    )
    with pytest.raises(CrlmError, match="another order"):
        forest_of([tree], [np.zeros((5, 1))])


def test_short_follow_up_is_refused_for_the_risk_and_dropped_for_other_times() -> None:
    X = noise_table(60, 3, 0).to_numpy()
    y = draw_outcome(X[:, 0], 0)
    y["event"][y["months"] > 30], y["months"][y["months"] > 30] = 0, 30.0
    p = ForestIncidence(trees=5).fit(X, y).probability(X[:3], (12.0, 24.0, 36.0))
    assert np.isfinite(p[:, :2]).all()
    assert np.isnan(p[:, 2]).all()
    y["event"][y["months"] > 20], y["months"][y["months"] > 20] = 0, 20.0
    with pytest.raises(InputError, match="follow-up is too short.*24 months"):
        ForestIncidence(trees=5).fit(X, y)


def test_pseudo_values_without_censoring_are_indicators() -> None:
    y = make_outcome([1, 2, 1, 1, 2, 1], [3, 4, 5, 5, 20, 30])
    expected = [[1, 1], [0, 0], [1, 1], [1, 1], [0, 0], [0, 1]]
    np.testing.assert_allclose(pseudo_values(y, (10.0, 30.0)), expected, atol=1e-12)


def test_mean_of_pseudo_values_is_the_incidence() -> None:
    """Up to the jackknife's own bias of order 1/n."""
    for seed in range(5):
        y = draw_outcome(np.zeros(150), seed)
        expected = aalen_johansen(y["event"], y["months"]).at((12.0, 24.0))
        np.testing.assert_allclose(pseudo_values(y, (12.0, 24.0)).mean(axis=0), expected, atol=2e-3)
