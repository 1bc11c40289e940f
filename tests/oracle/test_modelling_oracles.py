"""Calibration and thresholds inside the fold, selection and recalibrated scores against scikit-learn,
SciPy, statsmodels, lifelines and dcurves."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import plain_statistics as plain
import pytest
import statsmodels.api as sm
from dcurves import dca
from lifelines import CoxPHFitter, NelsonAalenFitter
from lifelines.utils import concordance_index
from oracle_comparison import Compare, oracle
from random_outcomes import draw
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_regression
from sklearn.linear_model import LogisticRegression, lasso_path
from sklearn.metrics import recall_score, roc_auc_score, roc_curve

from radiomics_crlm.evaluation.discrimination import endpoint_pairs
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.operating import (
    ThresholdRule,
    accuracy,
    choose_threshold,
    fit_isotonic,
    fit_platt,
    net_benefit,
)
from radiomics_crlm.modelling.recalibration import Assessment, rule_model_predictions
from radiomics_crlm.modelling.selection import MRMRSelector, StabilitySelector, null_residuals
from radiomics_crlm.modelling.transformers import UnivariateSelector, univariate_concordance

# lifelines 0.30 calls pandas in a way that pandas 4 will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0:DeprecationWarning")

KINDS = [("time_to_event", None), ("binary", 6.0)]


# --- calibration and thresholds inside the fold ----------------------------------------------------------------------


def _probabilities(seed: int) -> tuple[np.ndarray, Outcome, np.ndarray, np.ndarray]:
    y, risk, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
    p = 1 / (1 + np.exp(-risk - 0.3 * generator.normal(size=y.size)))
    return p, y, *plain.labels(y, 6.0)


@oracle(
    "Platt's calibration",
    against="scikit-learn (each patient as a case and as none, with the weights of Platt's targets)",
    covers=("operating.fit_platt", "operating.Platt"),
    tolerance=1e-6,
)
def test_platt_equals_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        p, _, label, weight = _probabilities(seed)
        cases, others = weight @ label, weight @ (1 - label)
        if min(cases, others) <= 0:
            continue
        target = np.where(label == 1, (cases + 1) / (cases + 2), 1 / (others + 2))
        twice = np.tile(np.log(p / (1 - p))[:, None], (2, 1))
        model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=10_000)
        shares = np.concatenate((weight * target, weight * (1 - target)))
        model.fit(twice, np.repeat([1, 0], p.size), sample_weight=shares)
        found = fit_platt(p, label, weight)
        compare(seed, [found.intercept, found.slope], [model.intercept_[0], model.coef_[0, 0]])
        compare(seed, found(p), model.predict_proba(twice[: p.size])[:, 1])


@oracle(
    "Isotonic calibration",
    against="SciPy (isotonic regression)",
    covers=("operating.fit_isotonic", "operating.Isotonic"),
)
def test_isotonic_equals_scipy(compare: Compare) -> None:
    for seed in compare:
        p, _, label, weight = _probabilities(seed)
        known = weight > 0
        if np.unique(label[known]).size < 2:
            continue
        order = np.argsort(p[known])
        expected = isotonic_regression(label[known][order], weights=weight[known][order]).x
        compare(seed, fit_isotonic(p, label, weight)(p[known][order]), expected)


@oracle(
    "Sensitivity, specificity and thresholds",
    against="scikit-learn (recall, ROC curve), weights written plainly",
    covers=("operating.accuracy", "operating.choose_threshold", "operating.ThresholdRule"),
)
def test_thresholds_equal_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        p, y, label, weight = _probabilities(seed)
        p = p.round(2)
        known = weight > 0
        if np.unique(label[known]).size < 2:
            continue
        flagged = (p >= 0.4).astype(int)
        expected = [
            recall_score(label, flagged, sample_weight=weight, pos_label=k, zero_division=np.nan) for k in (1, 0)
        ]
        compare(seed, accuracy(p, y, 6.0, 0.4), [*expected, flagged.mean()])
        _, rate, at = roc_curve(label[known], p[known], sample_weight=weight[known], drop_intermediate=False)
        wanted = at[rate >= 0.8 - 1e-9].max()
        compare(seed, choose_threshold(ThresholdRule("sensitivity", 0.8), p, y, 6.0), wanted)


@oracle(
    "Net benefit at a threshold, and the best threshold",
    against="dcurves; the best one by trying all",
    covers=("operating.net_benefit", "operating.choose_threshold"),
    fast=40,
)
def test_net_benefit_equals_dcurves(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(15, 60))
        p = generator.random(n).round(2)
        event = generator.random(n) < p
        if np.unique(event).size < 2:
            continue
        y, levels = make_outcome(event, np.where(event, 3.0, 24.0)), np.arange(20, 61) / 100
        table = dca(pd.DataFrame({"event": event, "m": p}), "event", ["m"], thresholds=levels).set_index("model")
        model, everybody = (table.loc[name, "net_benefit"].to_numpy() for name in ("m", "all"))
        found = [net_benefit(p, event.astype(float), np.ones(n), level) for level in levels]
        compare(seed, found, model)
        gain = np.round(model - np.maximum(everybody, 0), 12)
        # Between two predictions the same patients are treated.
        tried = np.isin(np.round(100 * levels), np.round(100 * np.r_[0.2, p, 0.6]))
        chosen = choose_threshold(ThresholdRule("net_benefit", 0.2, 0.6), p, y, 6.0)
        compare(seed, chosen, levels[tried][int(np.argmax(gain[tried]))])


@oracle(
    "Published scores recalibrated inside the fold",
    against="scikit-learn (logistic), lifelines (Cox), fitted on the training fold",
    covers=("recalibration.rule_model_predictions", "recalibration.Assessment"),
    tolerance=1e-5,
    fast=20,
)
@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 24.0)])
def test_recalibrated_scores_equal_a_refit(compare: Compare, kind: str, horizon: float | None) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(60, 120))
        patients = pd.Index([f"P{k:03d}" for k in range(n)])
        score = pd.Series(generator.integers(0, 6, n).astype(float), index=patients)
        time, leaving = generator.exponential(30 * np.exp(-0.3 * score.to_numpy())), generator.uniform(25, 90, n)
        y = make_outcome(time <= leaving, np.minimum(time, leaving))
        folds = pd.DataFrame({"patient_id": patients, "repeat": 0, "fold": np.arange(n) % 3})
        outcome = pd.DataFrame({"event": y["event"], "months": y["months"]}, index=patients)
        made = rule_model_predictions(
            Assessment("score", score, score, score), outcome, folds,
            endpoint="e", kind=kind, horizon=horizon, form="recalibrated", policy="complete_case",
        )  # fmt: skip
        train, test = np.arange(n) % 3 != 1, made[made["fold"] == 1]
        mean, deviation = score[train].mean(), score[train].std(ddof=0)
        x = ((score - mean) / deviation).to_numpy()
        tested = x[patients.get_indexer(test["patient_id"])]
        if kind == "binary":  # nobody is censored before 24 months
            model = LogisticRegression(C=1 / (1e-4 * train.sum()), solver="newton-cholesky", tol=1e-12)
            model.fit(x[train, None], y["months"][train] <= 24)
            expected = model.predict_proba(tested[:, None])[:, 1]
        else:
            frame = pd.DataFrame({"x": x[train], "time": y["months"][train], "event": y["event"][train]})
            cox = CoxPHFitter(penalizer=1e-4).fit(frame, "time", "event", fit_options={"precision": 1e-12})
            hazard = cox.baseline_cumulative_hazard_.iloc[:, 0].loc[:24.0].iloc[-1]
            expected = 1 - np.exp(-hazard * cox.predict_partial_hazard(pd.DataFrame({"x": tested})).to_numpy())
        compare(seed, test["probability_24m"], expected)


# --- selection -------------------------------------------------------------------------------------------------------


@oracle(
    "Residuals without inputs",
    against="lifelines (Nelson-Aalen), statsmodels (weighted mean)",
    covers=("selection.null_residuals",),
)
@pytest.mark.parametrize(("kind", "horizon"), KINDS)
def test_null_residuals_equal_lifelines_and_statsmodels(compare: Compare, kind: str, horizon: float | None) -> None:
    for seed in compare:
        y, _, _ = draw(seed, competing=True, mixed_ties=True)
        residual, weight = null_residuals(y, kind, horizon)
        if horizon is None:
            curve = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(y["months"], y["event"] == 1)
            hazard = curve.cumulative_hazard_at_times(y["months"]).to_numpy()
            compare(seed, residual, (y["event"] == 1) - hazard)
        else:
            label, wanted = plain.labels(y, horizon)
            mean = sm.WLS(label, np.ones((y.size, 1)), weights=wanted).fit().params[0]
            compare(seed, residual, np.where(wanted > 0, label - mean, 0.0))
            compare(seed, weight, wanted)


def _own_concordance(X: np.ndarray, y: Outcome, horizon: float | None) -> np.ndarray:
    if horizon is None:
        return np.array([concordance_index(y["months"], -column, y["event"] == 1) for column in X.T])
    label, weight = plain.labels(y, horizon)
    return np.array([roc_auc_score(label, column, sample_weight=weight) for column in X.T])


def _plain_mrmr(X: np.ndarray, relevance: np.ndarray, k: int, keep: int) -> list[int]:
    """The definition, one input at a time."""
    rho = np.abs(spearmanr(X).statistic)
    chosen = list(range(keep))
    while len(chosen) < keep + min(k, X.shape[1] - keep):
        scores = {
            i: relevance[i] - (np.mean([rho[i, j] for j in chosen]) if chosen else 0)
            for i in range(X.shape[1])
            if i not in chosen
        }
        chosen.append(max(scores, key=lambda i: scores[i]))
    return sorted(chosen)


@oracle(
    "Univariate selection and mRMR",
    against="lifelines, scikit-learn and SciPy (relevance, redundancy); the choice written plainly "
    "(Peng et al. 2005, doi:10.1109/TPAMI.2005.159)",
    covers=(
        "transformers.univariate_concordance",
        "transformers.UnivariateSelector",
        "selection.MRMRSelector",
        "selection.OutcomeSelector",
    ),
)
@pytest.mark.parametrize(("kind", "horizon"), KINDS)
def test_selection_equals_its_definition(compare: Compare, kind: str, horizon: float | None) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
        X = generator.normal(size=(y.size, 8)) @ generator.normal(size=(8, 8))
        if horizon is not None and not (y["months"] > horizon).any():
            continue
        own = _own_concordance(X, y, horizon)
        if (
            np.diff(np.sort(np.abs(own - 0.5))) < 1e-9
        ).any():  # which of equals is taken is no matter of the definition
            continue
        compare(seed, univariate_concordance(X, endpoint_pairs(y, kind, horizon)), own)
        keep = (0, 2)[seed % 2]
        far = np.abs(own[keep:] - 0.5)
        best = [*range(keep), *(np.sort(np.argsort(-far.round(12), kind="stable")[:3]) + keep)]
        compare(seed, UnivariateSelector(3, kind, horizon, keep).fit(X, y).selected_, best)
        found = MRMRSelector(3, kind, horizon, keep).fit(X, y).selected_
        compare(seed, found, _plain_mrmr(X, 2 * np.abs(own - 0.5), 3, keep))


@oracle("mRMR: relevance by the F statistic", against="scikit-learn", covers=("selection.MRMRSelector",))
def test_relevance_by_the_f_statistic_equals_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True)
        X = generator.normal(size=(y.size, 6))
        residual, _ = null_residuals(y, "time_to_event", None)
        F = f_regression(X, residual)[0]
        compare(seed, MRMRSelector(1, relevance="f_statistic")._relevance(X, y), F / (F + y.size - 2))


@oracle(
    "Stability selection: first inputs on the path of the lasso",
    against="scikit-learn (coordinate descent on a fine grid of penalties)",
    covers=("selection.StabilitySelector",),
    fast=40,
)
@pytest.mark.parametrize(("kind", "horizon"), KINDS)
def test_first_on_the_path_are_those_of_the_lasso(compare: Compare, kind: str, horizon: float | None) -> None:
    """With the penalty lowered until two inputs are in; passed over where a third enters at the same step."""
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
        X = generator.normal(size=(y.size, 8))
        residual, weight = null_residuals(y, kind, horizon)
        root = np.sqrt(weight)
        inputs = root[:, None] * (X - weight @ X / weight.sum())
        inputs /= np.sqrt((inputs**2).sum(axis=0))
        target = root * residual
        if not target.any():
            continue
        penalties = np.abs(inputs.T @ target).max() / y.size * np.geomspace(1, 0.05, 500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, path, _ = lasso_path(inputs, target, alphas=penalties, tol=1e-8, max_iter=100_000)
        first = np.flatnonzero((path != 0).sum(axis=0) >= 2)
        if first.size == 0 or (path[:, first[0]] != 0).sum() > 2:
            continue
        expected = np.flatnonzero(path[:, first[0]])
        compare(seed, sorted(StabilitySelector(2, kind, horizon)._first(X, y)), expected)
