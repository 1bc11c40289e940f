"""Ridge Cox against lifelines and ridge logistic regression against scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.optimize import minimize

from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome
from radiomics_crlm.modelling.estimators import RidgeCox, RidgeLogistic
from radiomics_crlm.modelling.risk import breslow_baseline

# lifelines 0.30 calls pandas in a way that pandas 4 will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0:DeprecationWarning")


def _data(seed: int, *, ties: bool) -> tuple:
    generator = np.random.default_rng(seed)
    n, p = int(generator.integers(40, 120)), int(generator.integers(1, 6))
    X = generator.normal(size=(n, p))
    # lifelines penalises coefficients of standardised columns.
    X = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    months = generator.exponential(20 * np.exp(-0.5 * X[:, 0]))
    if ties:
        months = np.ceil(months / 4)
    return X, make_outcome(generator.random(n) < 0.6, months)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("penalty", [0.03, 0.5])
def test_coefficients_equal_lifelines(ties: bool, penalty: float) -> None:
    for seed in range(10):
        X, y = _data(seed, ties=ties)
        frame = pd.DataFrame(X).add_prefix("x").assign(time=y["months"], event=y["event"])
        fitted = CoxPHFitter(penalizer=penalty, l1_ratio=0.0).fit(
            frame, "time", "event", fit_options={"precision": 1e-12}
        )
        np.testing.assert_allclose(RidgeCox(penalty).fit(X, y).coef_, fitted.params_.to_numpy(), atol=1e-6)


def test_breslow_baseline_equals_lifelines() -> None:
    for seed in range(5):
        X, y = _data(seed, ties=False)
        frame = pd.DataFrame(X).add_prefix("x").assign(time=y["months"], event=y["event"])
        fitted = CoxPHFitter(penalizer=0.1, l1_ratio=0.0).fit(frame, "time", "event", fit_options={"precision": 1e-12})
        risk = fitted.predict_log_partial_hazard(frame).to_numpy()
        baseline = breslow_baseline(y, risk)
        expected = fitted.baseline_hazard_.iloc[:, 0].loc[baseline.months].to_numpy()
        np.testing.assert_allclose(baseline.event, expected, atol=1e-8)


def test_ridge_logistic_minimises_its_objective() -> None:
    for seed in range(10):
        X, y = _data(seed, ties=True)
        label, weight = horizon_labels(y, 4.0)

        def loss(beta: np.ndarray, X: np.ndarray = X, label: np.ndarray = label, w: np.ndarray = weight) -> float:
            margin = beta[0] + X @ beta[1:]
            return float((w * (np.logaddexp(0, margin) - label * margin)).sum() / w.sum() + 0.15 * beta[1:] @ beta[1:])

        best = minimize(loss, np.zeros(X.shape[1] + 1), method="BFGS", options={"gtol": 1e-10, "maxiter": 1000}).x
        fitted = RidgeLogistic(4.0, penalty=0.3).fit(X, y)
        np.testing.assert_allclose(np.r_[fitted.intercept_, fitted.coef_], best, atol=1e-5)
