"""Ridge Cox and its probabilities against lifelines, ridge logistic regression against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plain_statistics as plain
import pytest
from lifelines import CoxPHFitter
from oracle_comparison import Compare, oracle
from scipy.linalg import expm
from sklearn.linear_model import LogisticRegression

from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.estimators import RidgeCox, RidgeLogistic
from radiomics_crlm.modelling.risk import (
    Baseline,
    breslow_baseline,
    by_whole_months,
    cumulative_incidence,
    linear_risk,
    logistic,
    probability_at_horizon,
)

# lifelines 0.30 calls pandas in a way that pandas 4 will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0:DeprecationWarning")


def _data(seed: int, *, ties: bool) -> tuple[np.ndarray, Outcome]:
    generator = np.random.default_rng(seed)
    n, p = int(generator.integers(40, 120)), int(generator.integers(1, 6))
    X = generator.normal(size=(n, p))
    # lifelines penalises coefficients of standardised columns.
    X = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    months = generator.exponential(20 * np.exp(-0.5 * X[:, 0]))
    if ties:
        months = np.ceil(months / 4)
    return X, make_outcome(generator.random(n) < generator.choice([0.3, 0.6, 0.9]), months)


def _penalty(seed: int) -> float:
    return (0.03, 0.1, 0.5, 2.0)[seed % 4]


def _lifelines(X: np.ndarray, y: Outcome, penalty: float) -> tuple[CoxPHFitter, pd.DataFrame]:
    frame = pd.DataFrame(X).add_prefix("x").assign(time=y["months"], event=y["event"])
    fitter = CoxPHFitter(penalizer=penalty, l1_ratio=0.0)
    return fitter.fit(frame, "time", "event", fit_options={"precision": 1e-12}), frame


@oracle(
    "Ridge Cox regression",
    against="lifelines",
    covers=("cox.fit_ridge_cox", "cox.risk_sets", "linear.RidgeCox", "linear.ridge_hazard"),
    tolerance=1e-6,
    fast=20,
)
@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_equal_lifelines(compare: Compare, ties: bool) -> None:
    for seed in compare:
        X, y = _data(seed, ties=ties)
        fitted, _ = _lifelines(X, y, _penalty(seed))
        compare(seed, RidgeCox(_penalty(seed)).fit(X, y).coef_, fitted.params_.to_numpy())


@oracle("Breslow baseline hazard", against="lifelines", covers=("risk.breslow_baseline",), fast=10)
def test_breslow_baseline_equals_lifelines(compare: Compare) -> None:
    for seed in compare:
        X, y = _data(seed, ties=False)
        fitted, frame = _lifelines(X, y, _penalty(seed))
        risk = fitted.predict_log_partial_hazard(frame).to_numpy()
        baseline = breslow_baseline(y, risk)
        compare(seed, baseline.event, fitted.baseline_hazard_.iloc[:, 0].loc[baseline.months])


@oracle(
    "Probabilities of the ridge Cox model",
    against="lifelines (baseline hazard at whole months)",
    covers=("linear.RidgeCox", "risk.cumulative_incidence", "risk.by_whole_months", "risk.linear_risk"),
    tolerance=1e-6,
    fast=10,
)
def test_probabilities_equal_lifelines(compare: Compare) -> None:
    """Without a competing event, for which lifelines has no Cox model."""
    for seed in compare:
        X, y = _data(seed, ties=False)
        months = [m for m in (3.0, 12.0, 24.0) if m <= np.floor(y["months"].max())]
        fitted, frame = _lifelines(X, y, _penalty(seed))
        # Read off the steps: between them lifelines would interpolate.
        steps = fitted.baseline_cumulative_hazard_.iloc[:, 0]
        hazard = np.array([steps.loc[:month].iloc[-1] if (steps.index <= month).any() else 0.0 for month in months])
        relative = fitted.predict_partial_hazard(frame.iloc[:7]).to_numpy()
        expected = 1 - np.exp(-relative[:, None] * hazard)
        model = RidgeCox(_penalty(seed)).fit(X, y)
        compare(seed, model.probability(X[:7], months), expected)
        exact = cumulative_incidence(breslow_baseline(y, model.risk(X)), linear_risk(X[:7], model.coef_, 0.0), months)
        compare(seed, exact, expected)


@oracle(
    "Incidence from cause-specific hazards",
    against="SciPy (matrix exponential of the Markov chain, step by step)",
    covers=("risk.cumulative_incidence", "risk.by_whole_months", "risk.Baseline"),
)
def test_incidence_equals_the_markov_chain(compare: Compare) -> None:
    """Alive, event, competing event: each hazard increment is spread evenly over its step."""
    for seed in compare:
        generator = np.random.default_rng(seed)
        steps = int(generator.integers(1, 15))
        event, rival = generator.exponential(0.08, (2, steps)) * generator.integers(0, 2, (2, steps))
        months = np.sort(generator.uniform(0.1, 30, steps))
        baseline, risk = Baseline(months, event, rival, 40.0), generator.normal(size=3)
        for made in (baseline, by_whole_months(baseline)):
            expected = np.zeros((3, 2))
            for row in range(3):
                state = np.array([1.0, 0.0, 0.0])
                for month, ours, theirs in zip(made.months, made.event, made.competing, strict=True):
                    hazard = ours * np.exp(risk[row])
                    rates = np.zeros((3, 3))
                    rates[0] = [-(hazard + theirs), hazard, theirs]
                    state = state @ expm(rates)
                    expected[row, month <= np.array([12.0, 30.0])] = state[1]
            compare(seed, cumulative_incidence(made, risk, [12.0, 30.0]), expected)


@oracle(
    "Ridge logistic regression, weighted for censoring",
    against="scikit-learn (Newton-Cholesky), weights written plainly",
    covers=(
        "linear.RidgeLogistic",
        "linear.fit_label",
        "risk.logistic",
        "risk.probability_at_horizon",
        "elastic.LogLoss",
    ),
    tolerance=1e-6,
)
def test_ridge_logistic_equals_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        X, y = _data(seed, ties=True)
        label, weight = plain.labels(y, 4.0)
        known, penalty = weight > 0, _penalty(seed)
        if np.unique(label[known]).size < 2:
            continue
        fitter = LogisticRegression(C=1 / (penalty * weight.sum()), solver="newton-cholesky", tol=1e-12, max_iter=1000)
        fitter.fit(X[known], label[known], sample_weight=weight[known])
        fitted = RidgeLogistic(4.0, penalty=penalty).fit(X, y)
        compare(seed, np.r_[fitted.intercept_, fitted.coef_], np.r_[fitter.intercept_, fitter.coef_[0]])
        expected = fitter.predict_proba(X)[:, 1]
        compare(seed, fitted.probability(X, [4.0])[:, 0], expected)
        compare(seed, logistic(fitted.risk(X)), expected)
        compare(seed, probability_at_horizon(fitted.risk(X), 4.0, [3.0, 4.0])[:, 1], expected)
