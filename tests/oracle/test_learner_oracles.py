"""Learners against independent implementations: scikit-learn, scikit-survival, comprisk, lifelines."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import plain_statistics as plain
import pytest
from comprisk import FineGrayRegression, PenalizedFineGrayRegression
from comprisk import Surv as CompetingSurv
from lifelines import CoxPHFitter
from oracle_comparison import Compare, oracle
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sksurv.linear_model import CoxnetSurvivalAnalysis, CoxPHSurvivalAnalysis
from sksurv.util import Surv

from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.cox import fit_ridge_cox, risk_sets
from radiomics_crlm.modelling.estimators import (
    ElasticNetCox,
    ElasticNetLogistic,
    FineGray,
    RidgeCox,
    RidgeLogistic,
)
from radiomics_crlm.modelling.lesion_learners import LesionRidgeCox, LesionRidgeLogistic
from radiomics_crlm.modelling.lesions import pack

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


_NETS = [(penalty, l1_ratio) for penalty in (0.2, 0.05, 0.01) for l1_ratio in (0.1, 0.5, 1.0)]
"""Penalties and shares of the lasso, one pair per data set."""


@oracle(
    "Elastic-net logistic regression, weighted for censoring",
    against="scikit-learn (saga, where its own subgradient says that it has arrived)",
    covers=("linear.ElasticNetLogistic", "elastic.fit_elastic_net", "elastic.minimise_quadratic"),
    tolerance=1e-6,
    fast=20,
)
def test_elastic_net_logistic_equals_scikit_learn(compare: Compare) -> None:
    """saga takes a pass that changes no coefficient for convergence, which it also sees while all of them are still 0;
    it is an oracle only where its own gradient says that it has arrived."""
    for seed in compare:
        X, y = _data(seed)
        penalty, l1_ratio = _NETS[seed % len(_NETS)]
        label, weight = plain.labels(y, 18.0)
        known = weight > 0
        saga = LogisticRegression(
            C=1 / (penalty * weight.sum()), l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=100_000,
            random_state=seed,
        ).fit(X[known], label[known], sample_weight=weight[known])  # fmt: skip
        fitted = ElasticNetLogistic(18.0, penalty, l1_ratio).fit(X, y)
        problem = (X, label, weight / weight.sum(), penalty, l1_ratio)
        assert _violation(fitted.coef_, fitted.intercept_, *problem) < 1e-7
        if not fitted.coef_.any() or _violation(saga.coef_[0], saga.intercept_[0], *problem) > 1e-6:
            continue
        compare(seed, np.r_[fitted.intercept_, fitted.coef_], np.r_[saga.intercept_, saga.coef_[0]])


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


@oracle(
    "Elastic-net Cox regression",
    against="scikit-survival (coxnet)",
    covers=("linear.ElasticNetCox", "elastic.fit_elastic_net", "cox.PartialLikelihood"),
    tolerance=1e-5,
)
def test_elastic_net_cox_equals_coxnet(compare: Compare) -> None:
    """Without ties: coxnet has Breslow's. The competing event is censoring."""
    for seed in compare:
        X, y = _data(seed)
        path, l1_ratio = [0.1, 0.05, 0.02], (0.2, 0.5, 1.0)[seed % 3]
        coxnet = CoxnetSurvivalAnalysis(
            alphas=path, l1_ratio=l1_ratio, normalize=False, tol=1e-14, max_iter=1_000_000
        ).fit(X, Surv.from_arrays(y["event"] == 1, y["months"]))
        for column, penalty in enumerate(path):
            compare(seed, ElasticNetCox(penalty, l1_ratio).fit(X, y).coef_, coxnet.coef_[:, column])


@pytest.mark.parametrize("ties", [False, True])
def test_elastic_net_without_lasso_is_ridge(ties: bool) -> None:
    for seed in range(10):
        X, y = _data(seed, ties=ties)
        np.testing.assert_allclose(ElasticNetCox(0.1, 0.0).fit(X, y).coef_, RidgeCox(0.1).fit(X, y).coef_, atol=1e-7)
        net, ridge = ElasticNetLogistic(6.0, 0.1, 0.0).fit(X, y), RidgeLogistic(6.0, 0.1).fit(X, y)
        np.testing.assert_allclose(net.coef_, ridge.coef_, atol=1e-5)
        assert net.intercept_ == pytest.approx(ridge.intercept_, abs=1e-5)


@oracle(
    "Elastic nets with ties and more inputs than patients: distance from optimality",
    against="written plainly, event by event (Efron 1977, doi:10.1080/01621459.1977.10480613)",
    covers=("linear.ElasticNetCox", "linear.ElasticNetLogistic", "elastic.fit_elastic_net", "cox.PartialLikelihood"),
    tolerance=1e-6,
    fast=20,
)
@pytest.mark.parametrize("wide", [False, True])
def test_elastic_net_meets_its_optimality_conditions(compare: Compare, wide: bool) -> None:
    """Also with ties and with more inputs than patients, for which there is no other implementation."""
    for seed in compare:
        X, y = _data(seed, ties=True, most=300 if wide else 12)
        for learner in (ElasticNetCox(0.03, 0.9), ElasticNetLogistic(6.0, 0.03, 0.9)):
            beta = learner.fit(X, y).coef_
            gradient = _gradient(X, y, learner)
            used = beta != 0
            slope = gradient[used] + 0.03 * (0.1 * beta + 0.9 * np.sign(beta))[used]
            compare(seed, [np.abs(slope).max(initial=0)], [0.0])
            compare(seed, [max(np.abs(gradient[~used]).max(initial=0) - 0.03 * 0.9, 0.0)], [0.0])


def _gradient(X: np.ndarray, y: Outcome, learner: ElasticNetCox | ElasticNetLogistic) -> np.ndarray:
    """Written plainly, patient by patient and event by event."""
    if isinstance(learner, ElasticNetLogistic):
        label, weight = plain.labels(y, learner.horizon)
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


@oracle(
    "Fine-Gray regression without penalty",
    against="comprisk",
    covers=("linear.FineGray", "cox.fit_ridge_cox", "cox.risk_sets", "cox.RiskSets"),
    tolerance=1e-8,
)
def test_fine_gray_equals_comprisk(compare: Compare) -> None:
    """No ties: Efron here, Breslow there."""
    for seed in compare:
        X, y = _data(seed, most=6)
        given = CompetingSurv.from_arrays(event=y["event"].astype(int), time=y["months"])
        fitted = FineGrayRegression(max_iter=100, gtol=1e-12).fit(X, given)
        compare(seed, fit_ridge_cox(X, risk_sets(y, subdistribution=True), 1e-12), fitted.coef_)


@oracle(
    "Fine-Gray regression with ridge penalty",
    against="comprisk",
    covers=("linear.FineGray",),
    tolerance=1e-6,
    fast=20,
)
def test_penalised_fine_gray_equals_comprisk(compare: Compare) -> None:
    for seed in compare:
        X, y = _data(seed, most=6)
        penalty = (0.5, 0.1)[seed % 2]
        given = CompetingSurv.from_arrays(event=y["event"].astype(int), time=y["months"])
        fitted = PenalizedFineGrayRegression(
            penalty="ridge", lambdas=[penalty], standardize=False, max_iter=100_000, tol=1e-13
        ).fit(X, given)
        compare(seed, FineGray(penalty).fit(X, y).coef_, np.ravel(fitted.coef_))


@oracle(
    "Fine-Gray regression with ties",
    against="lifelines (weighted Cox model of expanded rows, Geskus 2011, doi:10.1111/j.1541-0420.2010.01420.x)",
    covers=("cox.fit_ridge_cox", "cox.risk_sets"),
    tolerance=1e-6,
    fast=4,
)
def test_fine_gray_equals_a_weighted_cox_model_with_ties(compare: Compare) -> None:
    """Those with the competing event as weighted rows after it (Geskus), one per event time, in lifelines."""
    for seed in compare:
        X, y = _data(seed, ties=True, most=4)
        frame = _expanded(X, y)
        fitter = CoxPHFitter(penalizer=1e-9, l1_ratio=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of weights that are not whole numbers
            fitter.fit(
                frame, "stop", "event", entry_col="start", weights_col="weight", fit_options={"precision": 1e-12}
            )
        compare(seed, fit_ridge_cox(X, risk_sets(y, subdistribution=True), 1e-12), fitter.params_.to_numpy())


def _expanded(X: np.ndarray, y: Outcome) -> pd.DataFrame:
    """Counting-process rows of the subdistribution."""
    times = np.unique(y["months"][y["event"] == 1])
    before = np.concatenate(([0.0], times))
    rows = []
    for x, (event, month) in zip(X, y, strict=True):
        rows.append((*x, 0.0, month, event == 1, 1.0))
        if event != 2:
            continue
        own = plain.uncensored(y, month)
        for start, stop in zip(before, times, strict=False):
            if stop > month:
                reach = plain.uncensored(y, stop) / own
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


@oracle(
    "Incidence of the Fine-Gray model",
    against="comprisk",
    covers=("linear.FineGray", "risk.subdistribution_baseline"),
    tolerance=1e-6,
)
def test_incidence_of_fine_gray_equals_comprisk(compare: Compare) -> None:
    for seed in compare:
        X, y = _data(seed, most=4)
        given = CompetingSurv.from_arrays(event=y["event"].astype(int), time=y["months"])
        fitted = FineGrayRegression(max_iter=100, gtol=1e-12).fit(X, given)
        months = [3.0, 12.0]
        expected = np.asarray(fitted.predict_cumulative_incidence(X[:7], months))
        compare(seed, FineGray(1e-9).fit(X, y).probability(X[:7], months), expected)


# --- lesions ---------------------------------------------------------------------------------------------------------


def _lesions(seed: int) -> tuple[np.ndarray, Outcome, np.ndarray, np.ndarray]:
    """Patients with one to three lesions, ties: packed inputs, outcomes, lesions, and the patient of each."""
    X, y = _data(seed, ties=True, most=5)
    generator = np.random.default_rng([seed, 1])
    owner = np.repeat(np.arange(y.size), generator.integers(1, 4, y.size))
    rows = X[owner] + 0.5 * generator.normal(size=(owner.size, X.shape[1]))
    return pack(rows, owner, y.size, 3), y, rows, owner


@oracle(
    "Ridge Cox regression on lesions (weights 1 / number, Breslow ties)",
    against="scikit-survival, lesions repeated in proportion to their weights",
    covers=("lesion_learners.LesionRidgeCox", "lesion_learners.WeightedLikelihood"),
    tolerance=1e-6,
    fast=40,
)
def test_lesion_cox_equals_scikit_survival(compare: Compare) -> None:
    for seed in compare:
        packed, y, rows, owner = _lesions(seed)
        penalty = (0.03, 0.3)[seed % 2]
        times = 6 // np.bincount(owner)[owner]
        again = np.repeat(np.arange(owner.size), times)
        target = Surv.from_arrays(y["event"][owner][again] == 1, y["months"][owner][again])
        fitter = CoxPHSurvivalAnalysis(alpha=penalty * again.size, ties="breslow", tol=1e-12, n_iter=200)
        fitted = LesionRidgeCox(penalty, slots=3).fit(packed, y)
        compare(seed, fitted.coef_, fitter.fit(rows[again], target).coef_)
        each = rows @ fitted.coef_
        compare(seed, fitted.risk(packed), [each[owner == patient].max() for patient in range(y.size)])


@oracle(
    "Ridge logistic regression on lesions (weights 1 / number)",
    against="scikit-learn (Newton-Cholesky), weights written plainly; shift by SciPy's root finder",
    covers=("lesion_learners.LesionRidgeLogistic", "lesion_learners.calibrating_shift"),
    tolerance=1e-6,
    fast=40,
)
def test_lesion_logistic_equals_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        packed, y, rows, owner = _lesions(seed)
        penalty = (0.03, 0.3)[seed % 2]
        label, known = plain.labels(y, 6.0)
        weight = known[owner] / np.bincount(owner)[owner]
        fitter = LogisticRegression(C=1 / (penalty * weight.sum()), solver="newton-cholesky", tol=1e-12, max_iter=1000)
        used = weight > 0
        fitter.fit(rows[used], label[owner][used], sample_weight=weight[used])
        fitted = LesionRidgeLogistic(6.0, penalty, slots=3, aggregate="mean").fit(packed, y)
        compare(seed, np.r_[fitted.intercept_, fitted.coef_], np.r_[fitter.intercept_, fitter.coef_[0]])
        each = fitter.decision_function(rows)
        mean = np.array([each[owner == patient].mean() for patient in range(y.size)])
        target = known @ label / known.sum()
        shift = brentq(lambda s, m=mean, w=known, t=target: w @ (1 / (1 + np.exp(-m - s))) / w.sum() - t, -20, 20)
        compare(seed, fitted.risk(packed), mean + shift)
