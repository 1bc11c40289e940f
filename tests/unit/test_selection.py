"""mRMR and stability selection: properties and scikit-learn's conventions; the definitions are in tests/oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from simulated_tables import draw_outcome, noise_table, number_columns
from sklearn.base import clone
from sklearn.feature_selection import f_regression
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import check_estimator

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe, preprocessing
from radiomics_crlm.modelling.selection import MRMRSelector, StabilitySelector, null_residuals
from radiomics_crlm.modelling.train import fit_final, pipeline_risk

KINDS = [("time_to_event", None), ("binary", 24.0)]


def planted(n: int, p: int, seed: int, effects: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    X = noise_table(n, p, seed).to_numpy().copy()
    return X, draw_outcome(sum((effect * X[:, i] for i, effect in effects.items()), np.zeros(n)), seed)


def test_relevance_by_the_f_statistic():
    X, y = planted(80, 6, 1, {2: 1.0})
    selector = MRMRSelector(1, relevance="f_statistic")
    residual, _ = null_residuals(y, "time_to_event", None)
    F = f_regression(X, residual)[0]
    np.testing.assert_allclose(selector._relevance(X, y), F / (F + 78), atol=1e-12)
    assert selector.fit(X, y).selected_.tolist() == [2]


def test_mrmr_passes_over_a_copy():
    X, y = planted(150, 5, 3, {0: 1.0, 1: 0.7})
    X[:, 2] = X[:, 0] + 0.01 * X[:, 2]
    assert MRMRSelector(2).fit(X, y).selected_.tolist() in ([0, 1], [1, 2])


def test_null_residuals_sum_to_nothing():
    for seed in range(20):
        y = draw_outcome(np.random.default_rng(seed).normal(size=50), seed)
        for kind, horizon in KINDS:
            residual, weight = null_residuals(y, kind, horizon)
            assert weight @ residual == pytest.approx(0, abs=1e-9)
    y = make_outcome([1, 0, 1], [1, 2, 3])
    np.testing.assert_allclose(null_residuals(y, "time_to_event", None)[0], [2 / 3, -1 / 3, 1 - 4 / 3])


@pytest.mark.parametrize(("kind", "horizon"), KINDS)
def test_stability_selection_finds_what_is_planted_and_little_else(kind, horizon):
    wrong = []
    for seed in range(8):
        X, y = planted(200, 60, seed, {5: 1.0, 17: -1.0})
        selector = StabilitySelector(5, kind, horizon, threshold=0.75, seed=seed).fit(X, y)
        assert {5, 17} <= set(selector.selected_.tolist())
        assert selector.frequency_.sum() <= 5 + 1e-9
        wrong.append(selector.selected_.size - 2)
    # Meinshausen and Buehlmann: at most k^2 / ((2 threshold - 1) p) on average.
    assert np.mean(wrong) <= 25 / (0.5 * 60)


def test_of_noise_one_input_is_left():
    X, y = planted(100, 200, 4, {})
    assert StabilitySelector(3, threshold=0.99, pairs=10).fit(X, y).selected_.size == 1


@pytest.mark.parametrize("selector", [MRMRSelector(3), StabilitySelector(3), MRMRSelector(3, relevance="f_statistic")])
@pytest.mark.parametrize(("kind", "horizon"), KINDS)
def test_rows_in_any_order_and_monotone_scales(selector, kind, horizon):
    X, y = planted(80, 12, 6, {2: 0.8, 7: 0.8})
    selector = clone(selector).set_params(kind=kind, horizon=horizon, keep=1)
    first = selector.fit(X, y).selected_.tolist()
    assert first[0] == 0
    shuffled = np.random.default_rng(0).permutation(80)
    assert clone(selector).fit(X[shuffled], y[shuffled]).selected_.tolist() == first
    assert clone(selector).fit(3 * X + 5, y).selected_.tolist() == first
    assert (selector.transform(X) == X[:, first]).all()
    assert selector.get_feature_names_out().tolist() == [f"x{i}" for i in first]


def test_more_wanted_than_there_are():
    X, y = planted(60, 4, 0, {0: 1.0})
    assert MRMRSelector(9).fit(X, y).selected_.tolist() == [0, 1, 2, 3]
    assert MRMRSelector(2, keep=4).fit(X, y).selected_.tolist() == [0, 1, 2, 3]
    assert set(StabilitySelector(9, keep=2).fit(X, y).selected_.tolist()) >= {0, 1}
    X[:, 1] = 7.0
    assert 1 not in StabilitySelector(2, threshold=0.51).fit(X, y).selected_


@pytest.mark.parametrize(
    ("selector", "match"),
    [
        (MRMRSelector(0), "number of inputs to select is out of range"),
        (StabilitySelector(2, keep=9), "keep from 0 to 4"),
        (StabilitySelector(2, threshold=0.5), "threshold above 0.5"),
        (StabilitySelector(2, pairs=0), "pairs >= 1"),
        (StabilitySelector(2, threshold=1.5), "threshold"),
    ],
)
def test_refusals(selector, match):
    X, y = planted(40, 4, 0, {0: 1.0})
    with pytest.raises(InputError, match=match):
        selector.fit(X, y)
    with pytest.raises(InputError, match="target is constant"):
        clone(selector).set_params(k=1, keep=0).fit(X, make_outcome([0] * 40, range(40)))


class _OfPlainTarget:
    """For scikit-learn's checks: an outcome is made of the plain target they give."""

    def fit(self, X: Any, y: Any = None) -> Any:
        outcome = y
        if y is not None and np.asarray(y).size > 1:
            target = np.asarray(y)
            if target.dtype.kind == "f" and not np.isfinite(target).all():
                raise ValueError("Input y contains NaN or infinity")
            codes = np.unique(target, return_inverse=True)[1].ravel()
            outcome = make_outcome(codes >= np.median(codes), codes + 1.0)
        return super().fit(X, outcome)


class PlainMRMR(_OfPlainTarget, MRMRSelector):
    pass


class PlainStability(_OfPlainTarget, StabilitySelector):
    pass


@pytest.mark.parametrize("selector", [PlainMRMR(2), PlainStability(2, pairs=3)], ids=lambda s: type(s).__name__)
def test_conventions_of_scikit_learn(selector):
    results = check_estimator(selector, on_skip=None, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed, failed


@pytest.mark.parametrize("selection", ["mrmr", "stability"])
def test_chosen_by_the_recipe_and_frozen(selection):
    X = noise_table(90, 15, 0)
    y = draw_outcome(X["x3"].to_numpy() - X["x8"].to_numpy(), 0)
    recipe = Recipe("all", number_columns(15), "ridge", "time_to_event", select_k=4, selection=selection)
    steps = preprocessing(recipe, None)
    assert isinstance(steps, Pipeline)
    pipeline = fit_final(X, y, recipe, endpoint="dfs", horizon=None, inner_folds=3, seed=1)
    chosen = pipeline.named_steps["select"].selected_
    assert {3, 8} <= set(chosen.tolist())
    assert (freeze(pipeline).risk(X) == pipeline_risk(pipeline, X)).all()
    with pytest.raises(ConfigError, match="unknown selection"):
        Recipe("all", number_columns(3), "ridge", "time_to_event", selection="lucky")


def test_labels_weigh_the_known():
    y = draw_outcome(np.zeros(50), 3)
    residual, weight = null_residuals(y, "binary", 24.0)
    label, expected = horizon_labels(y, 24.0)
    assert (weight == expected).all()
    assert (np.sign(residual[weight > 0]) == np.where(label[weight > 0] == 1, 1, -1)).all()
