"""Learners against independent implementations: scikit-learn, scikit-survival, comprisk, lifelines."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from comprisk import FineGrayRegression, PenalizedFineGrayRegression
from comprisk import Surv as CompetingSurv
from lifelines import AalenJohansenFitter, CoxPHFitter, LogLogisticFitter, LogNormalFitter, WeibullFitter
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv

from radiomics_crlm.evaluation.incidence import censoring_survival
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.modelling.cox import fit_ridge_cox, risk_sets
from radiomics_crlm.modelling.estimators import (
    ElasticNetCox,
    ElasticNetLogistic,
    FineGray,
    ForestAtHorizon,
    ForestIncidence,
    RidgeCox,
    RidgeLogistic,
)
from radiomics_crlm.modelling.learner import canonical_order
from radiomics_crlm.modelling.log_time import fit_log_time, time_probability
from radiomics_crlm.modelling.pseudo import pseudo_values

# lifelines 0.30 calls pandas in a way that pandas 4 will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0:DeprecationWarning")


def _data(seed: int, *, ties: bool = False, codes: tuple[int, ...] = (0, 1, 2), most: int = 12) -> tuple:
    generator = np.random.default_rng(seed)
    n, p = int(generator.integers(50, 160)), int(generator.integers(2, most))
    X = generator.normal(size=(n, p))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    months = generator.exponential(20 * np.exp(-0.6 * X[:, 0] + 0.4 * X[:, 1]))
    share = np.array([0.3, 0.45, 0.25])[: len(codes)]
    event = generator.choice(codes, n, p=share / share.sum())
    y = make_outcome(event, np.ceil(months / 3) if ties else months)
    return X, y


@pytest.mark.parametrize("l1_ratio", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("penalty", [0.2, 0.05, 0.01])
def test_elastic_net_logistic_equals_scikit_learn(penalty: float, l1_ratio: float) -> None:
    """saga takes a pass that changes no coefficient for convergence, which it also sees while all of them are still 0;
    it is an oracle only where its own gradient says that it has arrived."""
    agreed = 0
    for seed in range(12):
        X, y = _data(seed)
        label, weight = horizon_labels(y, 18.0)
        known = weight > 0
        saga = LogisticRegression(
            C=1 / (penalty * weight.sum()), l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=200_000,
            random_state=seed,
        ).fit(X[known], label[known], sample_weight=weight[known])  # fmt: skip
        fitted = ElasticNetLogistic(18.0, penalty, l1_ratio).fit(X, y)
        problem = (X, label, weight / weight.sum(), penalty, l1_ratio)
        assert _violation(fitted.coef_, fitted.intercept_, *problem) < 1e-7
        if not fitted.coef_.any():
            agreed += 1
        elif _violation(saga.coef_[0], saga.intercept_[0], *problem) < 1e-7:
            agreed += 1
            np.testing.assert_allclose(fitted.coef_, saga.coef_[0], atol=1e-6)
            assert fitted.intercept_ == pytest.approx(saga.intercept_[0], abs=1e-6)
    assert agreed >= 6


def _violation(
    coef: np.ndarray, intercept: float, X: np.ndarray, label: np.ndarray, weight: np.ndarray, penalty: float, l1: float
) -> float:
    """How far the subgradient of the penalised log loss is from holding 0: optimality, judged without a solver."""
    residual = weight * (1 / (1 + np.exp(-(X @ coef + intercept))) - label)
    slope = X.T @ residual + penalty * (1 - l1) * coef
    lasso = penalty * l1
    at_zero = np.maximum(np.abs(slope) - lasso, 0.0)
    elsewhere = np.abs(slope + lasso * np.sign(coef))
    return float(max(np.where(coef == 0, at_zero, elsewhere).max(), abs(residual.sum())))


@pytest.mark.parametrize("l1_ratio", [0.2, 0.5, 1.0])
def test_elastic_net_cox_equals_coxnet(l1_ratio: float) -> None:
    """Without ties: coxnet has Breslow's. The competing event is censoring."""
    for seed in range(10):
        X, y = _data(seed)
        path = [0.1, 0.05, 0.02]
        oracle = CoxnetSurvivalAnalysis(
            alphas=path, l1_ratio=l1_ratio, normalize=False, tol=1e-14, max_iter=1_000_000
        ).fit(X, Surv.from_arrays(y["event"] == 1, y["months"]))
        for column, penalty in enumerate(path):
            fitted = ElasticNetCox(penalty, l1_ratio).fit(X, y)
            np.testing.assert_allclose(fitted.coef_, oracle.coef_[:, column], atol=1e-5)


@pytest.mark.parametrize("ties", [False, True])
def test_elastic_net_without_lasso_is_ridge(ties: bool) -> None:
    for seed in range(10):
        X, y = _data(seed, ties=ties)
        np.testing.assert_allclose(ElasticNetCox(0.1, 0.0).fit(X, y).coef_, RidgeCox(0.1).fit(X, y).coef_, atol=1e-7)
        net, ridge = ElasticNetLogistic(6.0, 0.1, 0.0).fit(X, y), RidgeLogistic(6.0, 0.1).fit(X, y)
        np.testing.assert_allclose(net.coef_, ridge.coef_, atol=1e-5)
        assert net.intercept_ == pytest.approx(ridge.intercept_, abs=1e-5)


@pytest.mark.parametrize("wide", [False, True])
def test_elastic_net_meets_its_optimality_conditions(wide: bool) -> None:
    """Also with ties and with more inputs than patients, for which there is no oracle."""
    for seed in range(6):
        X, y = _data(seed, ties=True, most=300 if wide else 12)
        for learner in (ElasticNetCox(0.03, 0.9), ElasticNetLogistic(6.0, 0.03, 0.9)):
            beta = learner.fit(X, y).coef_
            gradient = _gradient(X, y, learner)
            used = beta != 0
            assert np.abs(gradient[used] + 0.03 * (0.1 * beta + 0.9 * np.sign(beta))[used]).max(initial=0) < 1e-6
            assert np.abs(gradient[~used]).max(initial=0) < 0.03 * 0.9 + 1e-6


def _gradient(X: np.ndarray, y: Outcome, learner: ElasticNetCox | ElasticNetLogistic) -> np.ndarray:
    """Written plainly, patient by patient and event by event."""
    if isinstance(learner, ElasticNetLogistic):
        label, weight = horizon_labels(y, learner.horizon)
        p = 1 / (1 + np.exp(-learner.risk(X)))
        return X.T @ (weight * (p - label)) / weight.sum()
    relative, total = np.exp(X @ learner.coef_), np.zeros(X.shape[1])
    for month in np.unique(y["months"][y["event"] == 1]):
        tied = np.flatnonzero((y["months"] == month) & (y["event"] == 1))
        at_risk = y["months"] >= month
        for rank in range(tied.size):
            w = relative * at_risk
            w[tied] *= 1 - rank / tied.size
            total += w @ X / w.sum()
        total -= X[tied].sum(axis=0)
    return total / y.size


def test_fine_gray_equals_comprisk() -> None:
    """Coefficients without penalty and with it, and the incidence that follows from them; no ties (Efron here)."""
    for seed in range(40):
        X, y = _data(seed, most=6)
        given = CompetingSurv.from_arrays(event=y["event"].astype(int), time=y["months"])
        oracle = FineGrayRegression(max_iter=100, gtol=1e-12).fit(X, given)
        found = fit_ridge_cox(X, risk_sets(y, subdistribution=True), 1e-12)
        np.testing.assert_allclose(found, oracle.coef_, atol=1e-8)


@pytest.mark.parametrize("penalty", [0.5, 0.1])
def test_penalised_fine_gray_equals_comprisk(penalty: float) -> None:
    for seed in range(10):
        X, y = _data(seed, most=6)
        given = CompetingSurv.from_arrays(event=y["event"].astype(int), time=y["months"])
        oracle = PenalizedFineGrayRegression(
            penalty="ridge", lambdas=[penalty], standardize=False, max_iter=100_000, tol=1e-13
        ).fit(X, given)
        np.testing.assert_allclose(FineGray(penalty).fit(X, y).coef_, oracle.coef_, atol=1e-5)


def test_fine_gray_equals_a_weighted_cox_model_with_ties() -> None:
    """Those with the competing event as weighted rows after it (Geskus), one per event time, in lifelines."""
    for seed in range(5):
        X, y = _data(seed, ties=True, most=4)
        frame = _expanded(X, y)
        fitter = CoxPHFitter(penalizer=1e-9, l1_ratio=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of weights that are not whole numbers
            fitter.fit(
                frame, "stop", "event", entry_col="start", weights_col="weight", fit_options={"precision": 1e-12}
            )
        found = fit_ridge_cox(X, risk_sets(y, subdistribution=True), 1e-12)
        np.testing.assert_allclose(found, fitter.params_.to_numpy(), atol=1e-5)


def _expanded(X: np.ndarray, y: Outcome) -> pd.DataFrame:
    """Counting-process rows of the subdistribution."""
    times = np.unique(y["months"][y["event"] == 1])
    before = np.concatenate(([0.0], times))
    rows = []
    for x, (event, month) in zip(X, y, strict=True):
        rows.append((*x, 0.0, month, event == 1, 1.0))
        if event != 2:
            continue
        own = censoring_survival(y["event"], y["months"], [month])[0]
        for start, stop in zip(before, times, strict=False):
            if stop > month:
                reach = censoring_survival(y["event"], y["months"], [stop])[0] / own
                if reach > 0:
                    rows.append((*x, max(start, month), stop, False, reach))
    names = [f"x{i}" for i in range(X.shape[1])]
    return pd.DataFrame(rows, columns=[*names, "start", "stop", "event", "weight"])


@pytest.mark.parametrize("ties", [False, True])
def test_fine_gray_without_a_competing_event_is_the_ridge_cox_model(ties: bool) -> None:
    for seed in range(10):
        X, y = _data(seed, ties=ties, codes=(0, 1))
        gray, cox = FineGray(0.2).fit(X, y), RidgeCox(0.2).fit(X, y)
        np.testing.assert_allclose(gray.coef_, cox.coef_, atol=1e-8)
        np.testing.assert_allclose(gray.probability(X, (3.0, 12.0)), cox.probability(X, (3.0, 12.0)), atol=1e-10)


def test_incidence_of_fine_gray_equals_comprisk() -> None:
    for seed in range(10):
        X, y = _data(seed, most=4)
        given = CompetingSurv.from_arrays(event=y["event"].astype(int), time=y["months"])
        oracle = FineGrayRegression(max_iter=100, gtol=1e-12).fit(X, given)
        months = [3.0, 12.0]
        expected = np.asarray(oracle.predict_cumulative_incidence(X[:7], months))
        np.testing.assert_allclose(FineGray(1e-9).fit(X, y).probability(X[:7], months), expected, atol=1e-6)


def test_pseudo_values_equal_lifelines() -> None:
    for seed in range(3):
        X, y = _data(seed)
        y = y[:60]
        at = [5.0, 15.0]

        def incidence(z: Outcome, at: list[float] = at) -> np.ndarray:
            curve = AalenJohansenFitter(calculate_variance=False).fit(z["months"], z["event"], event_of_interest=1)
            return np.array([curve.cumulative_density_.loc[:month].iloc[-1, 0] for month in at])

        full = incidence(y)
        without = np.array([incidence(np.delete(y, i)) for i in range(y.size)])
        np.testing.assert_allclose(pseudo_values(y, at), y.size * full - (y.size - 1) * without, atol=1e-8)
        assert X.shape[0] >= y.size


def test_forest_at_a_horizon_equals_scikit_learn() -> None:
    for seed in range(4):
        X, y = _data(seed)
        order = canonical_order(X, y)
        label, weight = horizon_labels(y, 15.0)
        rows = order[weight[order] > 0]
        for leaves in (2, 7):
            oracle = RandomForestClassifier(
                30, max_leaf_nodes=leaves, min_samples_leaf=4, max_features="sqrt", random_state=seed
            ).fit(X[rows], label[rows], sample_weight=weight[rows])
            fitted = ForestAtHorizon(15.0, trees=30, leaves=leaves, min_leaf=4, seed=seed).fit(X, y)
            np.testing.assert_allclose(fitted.risk(X), oracle.predict_proba(X)[:, 1], atol=1e-12)


def test_forest_of_incidences_equals_scikit_learn_on_pseudo_values() -> None:
    """Each tree's prediction brought into range and order, then averaged."""
    for seed in range(4):
        X, y = _data(seed)
        order = canonical_order(X, y)
        oracle = RandomForestRegressor(
            30, max_leaf_nodes=6, min_samples_leaf=5, max_features=1 / 3, random_state=1
        ).fit(X[order], pseudo_values(y[order], (6.0, 12.0)))  # fmt: skip
        trees = [np.clip(tree.predict(X), 0, 1) for tree in oracle.estimators_]
        expected = np.mean([np.column_stack((p[:, 0], p.max(axis=1))) for p in trees], axis=0)
        fitted = ForestIncidence(trees=30, leaves=6, months=(6.0, 12.0), risk_month=12.0, seed=1).fit(X, y)
        np.testing.assert_allclose(fitted.probability(X, (6.0, 12.0)), expected, atol=1e-12)
        np.testing.assert_array_equal(fitted.risk(X), fitted.probability(X, (12.0,))[:, 0])


@pytest.mark.parametrize(
    ("distribution", "fitter"),
    [("normal", LogNormalFitter), ("logistic", LogLogisticFitter), ("extreme", WeibullFitter)],
)
def test_distribution_of_the_time_equals_lifelines(distribution: str, fitter: type) -> None:
    for seed in range(10):
        _, y = _data(seed)
        oracle = fitter().fit(y["months"], y["event"] == 1)
        mean, time = fit_log_time(y, distribution)
        months = [2.0, 10.0, 25.0]
        expected = 1 - oracle.survival_function_at_times(months).to_numpy()
        np.testing.assert_allclose(time_probability(time, np.array([-mean]), months)[0], expected, atol=1e-4)
