"""Filter and selector."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import auc, endpoint_pairs, harrell_c
from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.transformers import (
    FeatureFilter,
    TableEncoder,
    UnivariateSelector,
    most_common_share,
    non_redundant,
    univariate_concordance,
)


def _noise(n: int, p: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, p))


def _outcome(n: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return make_outcome(generator.integers(0, 3, n), generator.exponential(20, n))


@pytest.mark.parametrize(
    "transformer",
    [TableEncoder((ColumnSpec("a"),)), FeatureFilter(), UnivariateSelector(1)],
    ids=lambda t: type(t).__name__,
)
def test_estimator_conventions(transformer: object) -> None:
    assert clone(transformer).get_params() == transformer.get_params()
    with pytest.raises(NotFittedError):
        transformer.transform(_noise(3, 1))


def test_share_of_the_most_common_value_counts() -> None:
    X = np.random.default_rng(1).integers(0, 4, (50, 20)).astype(float)
    expected = [np.unique(column, return_counts=True)[1].max() / 50 for column in X.T]
    np.testing.assert_allclose(most_common_share(X), expected)


def test_near_constant_inputs_go() -> None:
    X = _noise(40, 3)
    X[:, 1] = 0
    X[0, 1] = 1
    assert FeatureFilter(max_constant=0.95).fit(X).selected_.tolist() == [0, 2]
    assert FeatureFilter(max_constant=0.98).fit(X).selected_.tolist() == [0, 1, 2]


def test_of_redundant_inputs_the_left_one_stays() -> None:
    X = _noise(40, 4)
    X[:, 2] = -np.exp(X[:, 0])
    assert FeatureFilter().fit(X).selected_.tolist() == [0, 1, 3]


def test_kept_inputs_come_first_and_survive() -> None:
    X = _noise(40, 5)
    X[:, 3] = X[:, 0]
    X[:, 4] = 1.0
    chosen = FeatureFilter(keep=(3, 4)).fit(X)
    assert chosen.selected_.tolist() == [3, 4, 1, 2]
    assert (chosen.transform(X)[:, 0] == X[:, 3]).all()


def test_something_is_always_left() -> None:
    X = np.zeros((40, 3))
    X[0, 1] = 1
    assert FeatureFilter().fit(X).selected_.tolist() == [1]


def test_redundancy_equals_a_literal_search() -> None:
    """Greedy from left to right with scipy's Spearman correlation."""
    for seed in range(20):
        generator = np.random.default_rng(seed)
        X = generator.normal(size=(30, 4)) @ generator.normal(size=(4, 12)) + 0.3 * generator.normal(size=(30, 12))
        kept: list[int] = []
        correlation = np.abs(spearmanr(X).statistic)
        for column in range(12):
            if all(correlation[column, other] <= 0.8 for other in kept):
                kept.append(column)
        assert non_redundant(X, 0.8).tolist() == kept


@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 12.0)])
def test_univariate_concordance_is_that_of_each_column(kind: str, horizon: float | None, monkeypatch: object) -> None:
    y, X = _outcome(60), _noise(60, 7).round(1)
    monkeypatch.setattr("radiomics_crlm.modelling.transformers._CELLS_AT_ONCE", 500)
    found = univariate_concordance(X, endpoint_pairs(y, kind, horizon))
    if kind == "time_to_event":
        expected = [harrell_c(y, column) for column in X.T]
    else:
        label, weight = horizon_labels(y, horizon)
        expected = [auc(label, column, weight) for column in X.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_selector_finds_planted_inputs_in_either_direction() -> None:
    X = _noise(200, 30)
    generator = np.random.default_rng(5)
    y = make_outcome(np.ones(200), generator.exponential(np.exp(-1.5 * X[:, 4] + 1.5 * X[:, 20])))
    assert UnivariateSelector(2).fit(X, y).selected_.tolist() == [4, 20]
    assert UnivariateSelector(2, keep=3).fit(X, y).selected_.tolist() == [0, 1, 2, 4, 20]
    assert UnivariateSelector(99).fit(X, y).selected_.tolist() == list(range(30))


def test_selector_refusals() -> None:
    with pytest.raises(InputError, match="number of inputs to select is too small"):
        UnivariateSelector(0).fit(_noise(20, 2), _outcome(20))
    with pytest.raises(InputError, match="target is constant"):
        UnivariateSelector(1).fit(_noise(3, 2), make_outcome([0, 0, 0], [1, 2, 3]))
