"""Calibration and thresholds inside the fold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table, number_columns
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from radiomics_crlm.config import OperatingConfig, parse_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.operating import (
    Operating,
    ThresholdRule,
    accuracy,
    choose_threshold,
    fit_calibrators,
    fit_isotonic,
    fit_platt,
    net_benefit,
    recalibrated,
)
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final, nested_cv

SENSITIVE = ThresholdRule("sensitivity", 0.9)
USEFUL = ThresholdRule("net_benefit", 0.2, 0.6)
SETTINGS = {"endpoint": "dfs", "horizon": 24.0, "inner_folds": 3, "seed": 5}


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def overconfident(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose log odds are twice too far from -0.5, and labels at 24 months without censoring."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=n)
    event = generator.random(n) < 1 / (1 + np.exp(-truth))
    return 1 / (1 + np.exp(-2 * (truth + 0.5))), make_outcome(event, np.where(event, 10.0, 40.0))


@pytest.mark.parametrize("seed", range(20))
def test_platt_is_the_unpenalised_logistic_regression_of_its_targets(seed):
    p, y = overconfident(80, seed)
    label, weight = horizon_labels(y, 24)
    weight = weight * np.random.default_rng(seed).uniform(0.5, 2, 80)
    cases, others = weight @ label, weight @ (1 - label)
    high, low = (cases + 1) / (cases + 2), 1 / (others + 2)
    # Each patient as a case and as none, with the weights that the targets give.
    twice = np.tile(logit(p)[:, None], (2, 1))
    target = np.where(label == 1, high, low)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
    model.fit(twice, np.repeat([1, 0], 80), sample_weight=np.concatenate((weight * target, weight * (1 - target))))
    found = fit_platt(p, label, weight)
    assert (found.intercept, found.slope) == (
        pytest.approx(model.intercept_[0], abs=1e-4), pytest.approx(model.coef_[0, 0], abs=1e-4)
    )  # fmt: skip


@pytest.mark.parametrize("name", ["platt", "isotonic"])
def test_calibration_undoes_a_distortion(name):
    p, y = overconfident(6000, 1)
    new, truth = overconfident(6000, 2)
    calibrated = fit_calibrators(name, p[:, None], y, [24.0])[24.0](new)
    label = horizon_labels(truth, 24)[0]
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8)):
        group = (calibrated >= low) & (calibrated < high)
        assert label[group].mean() == pytest.approx(calibrated[group].mean(), abs=0.05)
    assert np.mean((label - calibrated) ** 2) < np.mean((label - new) ** 2)


def test_isotonic_is_that_of_scikit_learn_and_plain_numbers():
    p, y = overconfident(200, 3)
    label, weight = horizon_labels(y, 24)
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, label, sample_weight=weight)
    asked = np.linspace(0, 1, 101)
    np.testing.assert_allclose(fit_isotonic(p, label, weight)(asked), expected.predict(asked), atol=1e-12)


def test_separated_classes_stay_finite():
    label = np.array([0.0] * 10 + [1.0] * 10)
    platt = fit_platt(np.linspace(0.05, 0.95, 20), label, np.ones(20))
    assert np.isfinite([platt.intercept, platt.slope]).all()
    with pytest.raises(InputError, match="class is empty"):
        fit_platt(np.linspace(0.05, 0.95, 20), np.zeros(20), np.ones(20))


def test_months_without_a_probability_are_left_alone_and_none_falls_with_time():
    p, y = overconfident(100, 4)
    months = (12.0, 24.0, 36.0)
    table = np.column_stack((p, np.full(100, np.nan), np.minimum(p + 0.01, 1)))
    calibrators = fit_calibrators("isotonic", table, y, months)
    assert set(calibrators) == {12.0, 36.0}
    made = recalibrated(table, calibrators, months)
    assert np.isnan(made[:, 1]).all()
    assert (made[:, 2] >= made[:, 0]).all()


@pytest.mark.parametrize("seed", range(10))
def test_threshold_of_a_sensitivity_is_the_largest_that_reaches_it(seed):
    generator = np.random.default_rng(seed)
    p = generator.random(150).round(2)
    y = draw_outcome(3 * p, seed)
    chosen = choose_threshold(SENSITIVE, p, y, 24.0)
    assert accuracy(p, y, 24.0, chosen)[0] >= 0.9 - 1e-12
    larger = [t for t in np.unique(p) if t > chosen]
    weight = horizon_labels(y, 24)[1]
    assert all(accuracy(p, y, 24.0, t)[0] < 0.9 for t in larger if (p[weight > 0] == t).any())
    assert accuracy(p, y, 24.0, 0.0)[0] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(10))
def test_threshold_of_net_benefit_beats_the_rest_of_the_range(seed):
    p = np.random.default_rng(seed).random(150)
    y = draw_outcome(3 * p - 1.5, seed)
    label, weight = horizon_labels(y, 24)
    everybody = np.ones(150)

    def gain(t: float) -> float:
        return net_benefit(p, label, weight, t) - max(0, net_benefit(everybody, label, weight, t))

    chosen = choose_threshold(USEFUL, p, y, 24.0)
    assert 0.2 <= chosen <= 0.6
    assert gain(chosen) >= max(gain(t) for t in p[(p >= 0.2) & (p <= 0.6)]) - 1e-9


def test_net_benefit_by_hand():
    label, p = np.array([1.0, 1, 0, 0]), np.array([0.9, 0.1, 0.8, 0.2])
    assert net_benefit(p, label, np.ones(4), 0.5) == pytest.approx(1 / 4 - 1 / 4)
    assert net_benefit(p, label, np.ones(4), 0.2) == pytest.approx(1 / 4 - 2 / 4 * 0.25)


def test_no_event_no_threshold():
    y = make_outcome([0, 0, 1], [30, 40, 50])
    assert np.isnan(choose_threshold(SENSITIVE, np.array([0.1, 0.2, 0.3]), y, 24.0))
    assert np.isnan(accuracy(np.array([0.1, 0.2, 0.3]), y, 24.0, float("nan"))).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ThresholdRule("sensitivity", 1.5), "out of range"),
        (lambda: ThresholdRule("net_benefit", 0.3), "out of range"),
        (lambda: ThresholdRule("net_benefit", 0.5, 0.2), "out of range"),
        (lambda: Operating("magic"), "unknown calibration"),
        (lambda: parse_config(OperatingConfig, {"thresholds": [{}]}, where="o"), "either sensitivity or net_benefit"),
        (lambda: parse_config(OperatingConfig, {"thresholds": [{"net_benefit": [0.5, 0.2]}]}, where="o"), "must rise"),
    ],
)
def test_refusals(make, match):
    with pytest.raises(ConfigError, match=match):
        make()


@pytest.mark.parametrize("kind", ["binary", "time_to_event"])
@pytest.mark.parametrize("fixed", [False, True])
def test_inside_the_fold(kind, fixed):
    X = noise_table(120, 4, 0)
    y = draw_outcome(X["x1"].to_numpy(), 0)
    folds = deal_folds(X.index, folds=3, repeats=1, seed=0)
    tuned = {"penalties": (0.3,), "fixed": True} if fixed else {}
    plain = Recipe("all", number_columns(4), "ridge", kind, **tuned)
    wanted = Recipe(
        "all", number_columns(4), "ridge", kind, **tuned, operating=Operating("platt", (SENSITIVE, USEFUL))
    )  # fmt: skip
    before = nested_cv(X, y, folds, plain, **SETTINGS)
    after = nested_cv(X, y, folds, wanted, **SETTINGS)
    assert before.thresholds.empty
    assert (before.predictions["risk"] == after.predictions["risk"]).all()
    assert (before.predictions["probability_24m"] != after.predictions["probability_24m"]).all()
    assert after.predictions["probability_24m"].between(0, 1).all()
    table = after.thresholds
    assert table["rule"].tolist() == [SENSITIVE.name, USEFUL.name] * 3
    assert (table.loc[table["rule"] == SENSITIVE.name, "sensitivity_inner"] >= 0.9 - 1e-12).all()
    assert set(table["n"]) == {40}
    twice = nested_cv(X, y, folds, wanted, **SETTINGS, jobs=2)
    pd.testing.assert_frame_equal(table, twice.thresholds, check_exact=True)
    pd.testing.assert_frame_equal(after.predictions, twice.predictions, check_exact=True)
    with pytest.raises(ConfigError, match="recalibrated inside the fold"):
        freeze(fit_final(X, y, wanted, **SETTINGS))


def test_thresholds_without_calibration_change_no_prediction():
    X = noise_table(120, 4, 0)
    y = draw_outcome(X["x1"].to_numpy(), 0)
    folds = deal_folds(X.index, folds=3, repeats=1, seed=0)
    plain = nested_cv(X, y, folds, Recipe("all", number_columns(4), "ridge", "binary"), **SETTINGS)
    wanted = Recipe("all", number_columns(4), "ridge", "binary", operating=Operating(thresholds=(SENSITIVE,)))
    judged = nested_cv(X, y, folds, wanted, **SETTINGS)
    pd.testing.assert_frame_equal(plain.predictions, judged.predictions, check_exact=True)
    freeze(fit_final(X, y, wanted, **SETTINGS))


@pytest.mark.parametrize("seed", [18991, 19362, 19437, 19496, 19641, 19674, 19831])
def test_platt_arrives_where_rounding_hides_the_last_step(seed: int) -> None:
    """Data sets on which a step was refused because the loss seemed to rise by less than rounding."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(15, 120))
    probability = generator.uniform(0.05, 0.95, n)
    label = (generator.random(n) < generator.uniform(0.2, 0.8)).astype(int)
    weight = generator.uniform(0.5, 2, n)
    found = fit_platt(probability, label, weight)
    cases, others = weight[label == 1].sum(), weight[label == 0].sum()
    target = np.where(label == 1, (cases + 1) / (cases + 2), 1 / (others + 2))
    logit = np.log(probability / (1 - probability))
    residual = weight * (1 / (1 + np.exp(-(found.intercept + found.slope * logit))) - target)
    assert abs(residual.sum()) < 1e-8 * weight.sum()
    assert abs(residual @ logit) < 1e-8 * weight.sum()
