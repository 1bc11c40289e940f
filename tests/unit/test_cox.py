"""Ridge Cox: gradient, invariances, hard cases; lifelines is the oracle in tests/oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.cox import fit_ridge_cox, objective, risk_sets


def _data(n: int, p: int, seed: int) -> tuple:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, p))
    months = np.ceil(generator.exponential(10 * np.exp(-X[:, 0])))
    return X, make_outcome(generator.choice([0, 1, 2], n, p=[0.3, 0.5, 0.2]), months)


@pytest.mark.parametrize("seed", range(5))
def test_derivatives_equal_differences(seed: int) -> None:
    """With heavy ties, so the Efron correction is in play."""
    X, y = _data(40, 4, seed)
    sets = risk_sets(y)
    beta = np.random.default_rng(seed).normal(size=4)
    ordered = X[sets.order]
    _, gradient, hessian = objective(ordered, sets, beta, 0.2)
    np.testing.assert_allclose(
        gradient, approx_fprime(beta, lambda b: objective(ordered, sets, b, 0.2)[0], 1e-6), atol=1e-4
    )
    numeric = np.stack(
        [approx_fprime(beta, lambda b, i=i: objective(ordered, sets, b, 0.2)[1][i], 1e-6) for i in range(4)]
    )
    np.testing.assert_allclose(hessian, numeric, atol=1e-4)


def test_gradient_vanishes_at_the_solution() -> None:
    for seed in range(20):
        X, y = _data(60, 6, seed)
        sets = risk_sets(y)
        beta = fit_ridge_cox(X, sets, 0.05)
        assert np.abs(objective(X[sets.order], sets, beta, 0.05)[1]).max() < 1e-8


def test_start_does_not_matter() -> None:
    X, y = _data(60, 5, 1)
    sets = risk_sets(y)
    far = fit_ridge_cox(X, sets, 0.1, start=np.full(5, 3.0))
    np.testing.assert_allclose(far, fit_ridge_cox(X, sets, 0.1), atol=1e-7)


def test_row_order_and_time_unit_do_not_matter() -> None:
    X, y = _data(60, 5, 2)
    beta = fit_ridge_cox(X, risk_sets(y), 0.1)
    rows = np.random.default_rng(0).permutation(60)
    days = make_outcome(y["event"], y["months"] * 30.4)
    np.testing.assert_allclose(fit_ridge_cox(X[rows], risk_sets(y[rows]), 0.1), beta, atol=1e-7)
    np.testing.assert_allclose(fit_ridge_cox(X, risk_sets(days), 0.1), beta, atol=1e-7)


def test_perfect_separation_is_bounded_by_the_penalty() -> None:
    y = make_outcome(np.ones(30), np.arange(1, 31))
    beta = fit_ridge_cox(np.linspace(30, -30, 30)[:, None], risk_sets(y), 0.01)
    assert 0 < beta[0] < 10


def test_stronger_penalty_shrinks() -> None:
    X, y = _data(80, 5, 3)
    sizes = [np.linalg.norm(fit_ridge_cox(X, risk_sets(y), penalty)) for penalty in (0.01, 0.1, 1.0, 10.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_extreme_inputs_converge() -> None:
    X, y = _data(60, 3, 4)
    X[0] *= 1000
    assert np.isfinite(fit_ridge_cox(X, risk_sets(y), 0.1)).all()
