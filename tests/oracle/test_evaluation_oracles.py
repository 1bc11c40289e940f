"""Curves, weights, C and AUC against lifelines, scikit-survival, scikit-learn and literal loops."""

from __future__ import annotations

import numpy as np
import plain_statistics as plain
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter, NelsonAalenFitter
from lifelines.utils import concordance_index, survival_table_from_events
from oracle_comparison import Compare, oracle
from random_outcomes import as_sksurv
from random_outcomes import draw as draw_outcome
from sklearn.metrics import roc_auc_score
from sksurv.nonparametric import CensoringDistributionEstimator

from radiomics_crlm.evaluation.discrimination import (
    agreement,
    auc,
    concordance,
    endpoint_pairs,
    harrell_c,
    label_pairs,
    survival_pairs,
)
from radiomics_crlm.evaluation.incidence import (
    aalen_johansen,
    censoring_survival,
    kaplan_meier,
    nelson_aalen,
    resampled_censoring_survival,
    resampled_incidence,
    risk_table,
    step_at,
)
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.evaluation.ranking import auc_at, harrell, whole_sample, within_folds
from radiomics_crlm.evaluation.resampling import resamples


def _draw(seed: int, *, competing: bool, ties: bool) -> tuple[Outcome, np.ndarray]:
    """Few to many patients, light to heavy censoring."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(8, 70))
    months = generator.exponential(20, n)
    risk = generator.normal(size=n)
    if ties:
        months, risk = np.ceil(months / 4), risk.round(1)
    censored = generator.choice([0.1, 0.4, 0.8])
    share = [censored, (1 - censored) / 2, (1 - censored) / 2] if competing else [censored, 1 - censored]
    event = generator.choice(len(share), n, p=share)
    event[np.argmin(months)] = 1
    return make_outcome(event, months), risk


# --- concordance -----------------------------------------------------------------------------------------------------


@oracle("Harrell's C", against="lifelines", covers=("discrimination.harrell_c", "discrimination.survival_pairs"))
@pytest.mark.parametrize("ties", [False, True])
def test_c_index_equals_lifelines(compare: Compare, ties: bool) -> None:
    """lifelines takes a predicted time, so the risk is negated; its conventions for ties are the same as here."""
    for seed in compare:
        y, risk = _draw(seed, competing=False, ties=ties)
        if (y["event"] == 1).all() and np.unique(y["months"]).size == 1:
            continue
        expected = concordance_index(y["months"], -risk, y["event"])
        compare(seed, harrell_c(y, risk), expected)
        pairs = survival_pairs(y)
        if pairs.any():
            compare(seed, concordance(pairs, risk), expected)


@oracle(
    "Harrell's C, competing events censored",
    against="lifelines, competing events recoded as censored",
    covers=("discrimination.harrell_c", "discrimination.concordance", "discrimination.agreement"),
)
def test_competing_events_count_as_censored_in_c(compare: Compare) -> None:
    for seed in compare:
        y, risk = _draw(seed, competing=True, ties=seed % 2 == 0)
        pairs = survival_pairs(y)
        if not pairs.any():
            continue
        expected = concordance_index(y["months"], -risk, y["event"] == 1)
        compare(seed, harrell_c(y, risk), expected)
        compare(seed, (pairs * agreement(risk)).sum() / pairs.sum(), expected)
        compare(seed, whole_sample(harrell(y), y, risk), expected)


@oracle(
    "Harrell's C within folds",
    against="written plainly, pair by pair (doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4)",
    covers=("ranking.harrell", "ranking.within_folds", "ranking.rank_values", "ranking.fold_mates"),
)
def test_within_fold_c_equals_the_loop(compare: Compare) -> None:
    for seed in compare:
        y, risk = _draw(seed, competing=True, ties=seed % 3 > 0)
        fold = np.arange(y.size) % 2
        found = within_folds(harrell(y), risk[:, None], fold[:, None], resamples(y, draws=0, seed=0))[0]
        compare(seed, found, plain.concordance(y, risk, fold), nan_ok=True)


@oracle(
    "AUC of a label, plain and weighted",
    against="scikit-learn",
    covers=("discrimination.auc", "discrimination.label_pairs"),
)
def test_weighted_auc_equals_scikit_learn(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(4, 80))
        label = np.r_[0, 1, generator.integers(0, 2, n - 2)]
        risk, weight = generator.normal(size=n).round(1), generator.exponential(size=n)
        compare(seed, auc(label, risk), roc_auc_score(label, risk))
        expected = roc_auc_score(label, risk, sample_weight=weight)
        compare(seed, auc(label, risk, weight), expected)
        compare(seed, concordance(label_pairs(label, weight), risk), expected)


@oracle(
    "AUC at a horizon, weighted for censoring",
    against="scikit-learn, weights written plainly",
    covers=("ranking.auc_at", "ranking.whole_sample", "discrimination.endpoint_pairs"),
)
def test_auc_at_a_horizon_equals_scikit_learn_with_censoring_weights(compare: Compare) -> None:
    for seed in compare:
        y, risk = _draw(seed, competing=True, ties=True)
        label, weight = plain.labels(y, 4.0)
        known = weight > 0
        if np.unique(label[known]).size < 2:
            continue
        expected = roc_auc_score(label[known], risk[known], sample_weight=weight[known])
        compare(seed, whole_sample(auc_at(y, 4.0), y, risk), expected)
        compare(seed, concordance(endpoint_pairs(y, "binary", 4.0), risk), expected)


# --- curves ----------------------------------------------------------------------------------------------------------


@oracle("Patients at risk, events, censored", against="lifelines", covers=("incidence.risk_table",))
def test_risk_table_equals_lifelines(compare: Compare) -> None:
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=seed % 3 > 0)
        expected = survival_table_from_events(y["months"], y["event"] > 0).iloc[1:]
        table = risk_table(y["event"], y["months"])
        compare(seed, table.months, expected.index)
        compare(seed, table.at_risk, expected["at_risk"])
        compare(seed, table.events + table.competing, expected["observed"])
        compare(seed, table.censored, expected["censored"])


@oracle(
    "Kaplan-Meier with limits, Nelson-Aalen",
    against="lifelines",
    covers=("incidence.kaplan_meier", "incidence.nelson_aalen", "incidence.step_at"),
)
def test_kaplan_meier_and_nelson_aalen_equal_lifelines(compare: Compare) -> None:
    for seed in compare:
        y, _ = _draw(seed, competing=False, ties=seed % 2 == 0)
        months, event = y["months"], y["event"]
        fitted = KaplanMeierFitter().fit(months, event)
        curve = kaplan_meier(event, months)
        compare(seed, curve.value, fitted.survival_function_["KM_estimate"].to_numpy()[1:])
        limits = fitted.confidence_interval_survival_function_.to_numpy()[1:]
        inner = (curve.value > 0) & (curve.value < 1)
        compare(seed, np.c_[curve.lower, curve.upper][inner], limits[inner])
        hazard = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(months, event).cumulative_hazard_.to_numpy()[1:, 0]
        compare(seed, nelson_aalen(event, months).value, hazard)
        between = np.r_[0.0, months.min() / 2, months + 0.01, months]
        expected = fitted.survival_function_at_times(between)
        compare(seed, step_at(curve.months, curve.value, between, initial=1.0), expected)


@oracle("Aalen-Johansen incidence", against="lifelines", covers=("incidence.aalen_johansen",))
def test_aalen_johansen_equals_lifelines(compare: Compare) -> None:
    """Without ties, because lifelines moves tied times apart at random."""
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=False)
        fitted = AalenJohansenFitter(calculate_variance=False).fit(y["months"], y["event"], event_of_interest=1)
        expected = fitted.cumulative_density_.iloc[1:, 0].to_numpy()
        compare(seed, aalen_johansen(y["event"], y["months"]).value, expected)


@oracle("Aalen-Johansen variance", against="lifelines", covers=("incidence.aalen_johansen",), fast=20)
def test_aalen_johansen_variance_equals_lifelines(compare: Compare) -> None:
    """Read back from the limits, which lifelines transforms otherwise; fewer data sets because its loop is slow."""
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=False)
        y = y[:30]
        fitted = AalenJohansenFitter(calculate_variance=True).fit(y["months"], y["event"], event_of_interest=1)
        variance = fitted.variance_.to_numpy()[1:]
        curve = aalen_johansen(y["event"], y["months"])
        inner = (curve.value > 0) & (curve.value < 1) & (variance > 0)
        f = curve.value[inner]
        spread = np.log(np.log(curve.lower[inner]) / np.log(f))
        ours = (spread / 1.959963984540054 * f * np.abs(np.log(f))) ** 2
        compare(seed, ours, variance[inner])


@oracle(
    "Aalen-Johansen incidence, ties",
    against="written plainly (Aalen and Johansen 1978)",
    covers=("incidence.aalen_johansen",),
)
def test_aalen_johansen_with_ties_equals_the_loop(compare: Compare) -> None:
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=True)
        expected = [plain.incidence(y, time) for time in np.unique(y["months"])]
        compare(seed, aalen_johansen(y["event"], y["months"]).value, expected)


# --- weights for censoring -------------------------------------------------------------------------------------------


@oracle(
    "Weights for censoring (IPCW)",
    against="scikit-survival",
    covers=("incidence.censoring_survival", "outcome.horizon_labels"),
)
def test_censoring_weights_equal_scikit_survival(compare: Compare) -> None:
    """Events and censorings are at different times: at equal ones scikit-survival lets censoring come first."""
    for seed in compare:
        y, _, generator = draw_outcome(seed, competing=False, smallest=10)
        fitted = CensoringDistributionEstimator().fit(as_sksurv(y))
        events = y["event"] == 1
        expected = fitted.predict_ipcw(as_sksurv(y))[events]
        compare(seed, 1 / censoring_survival(y["event"], y["months"], y["months"])[events], expected)
        horizon = float(generator.choice([3.25, 6.25, 9.25]))
        if horizon < y["months"].max():
            label, weight = horizon_labels(y, horizon)
            later = 1 / fitted.predict_proba(np.array([horizon]))[0]
            wanted = np.where(events & (y["months"] <= horizon), 1 / fitted.predict_proba(y["months"]), later)
            known = events | (y["months"] > horizon)
            compare(seed, weight[known], wanted[known])
            compare(seed, label, events & (y["months"] <= horizon))


@oracle(
    "Weights for censoring (IPCW), ties and competing events",
    against="written plainly (Graf et al. 1999, "
    "doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5)",
    covers=("incidence.censoring_survival", "outcome.horizon_labels"),
)
def test_censoring_weights_with_ties_equal_the_loop(compare: Compare) -> None:
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=seed % 4 > 0)
        at = np.r_[y["months"], y["months"] + 0.5]
        compare(seed, censoring_survival(y["event"], y["months"], at), [plain.uncensored(y, t) for t in at])
        for horizon in (2.0, 5.0, 9.5):
            compare(seed, np.stack(horizon_labels(y, horizon)), np.stack(plain.labels(y, horizon)))


@oracle(
    "Weights and incidence in bootstrap samples",
    against="written plainly, in a table that repeats the patients drawn",
    covers=(
        "incidence.resampled_censoring_survival",
        "incidence.resampled_incidence",
        "resampling.resamples",
        "resampling.bootstrap_weights",
        "resampling.Resamples",
        "resampling.HorizonSample",
    ),
)
def test_resampled_weights_equal_the_loop(compare: Compare) -> None:
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=seed % 2 == 0)
        y = y[:25]
        sample = resamples(y, draws=2, seed=seed)
        at = sample.at(5.0)
        survival = resampled_censoring_survival(y, y["months"], sample.counts)
        shares = resampled_incidence(y, 5.0, sample.counts)
        for draw, counts in enumerate(sample.counts):
            rows = plain.drawn_rows(counts)
            again = y[rows]
            compare(seed, survival[draw][rows], [plain.uncensored(again, t) for t in again["months"]])
            label, weight = plain.labels(again, 5.0)
            compare(seed, at.label[rows], label)
            compare(seed, at.weights[draw][rows] / counts[rows], weight)
            if (again["months"] >= 5.0).any():
                compare(seed, shares[draw], plain.incidence(again, 5.0))
                compare(seed, at.incidence[draw], plain.incidence(again, 5.0))


@oracle(
    "Weighted labels average to the incidence",
    against="written plainly (Aalen and Johansen 1978)",
    covers=("outcome.horizon_labels",),
)
def test_weighted_labels_average_to_the_aalen_johansen_incidence(compare: Compare) -> None:
    """The identity that ties the censoring weights to the incidence, ties included."""
    for seed in compare:
        y, _ = _draw(seed, competing=True, ties=seed % 2 == 0)
        for horizon in (2.0, 5.0, 9.5, 30.0):
            label, weight = horizon_labels(y, horizon)
            compare(seed, (label * weight).mean(), plain.incidence(y, horizon))
            # The weights restore the whole sample as long as anyone is followed to the horizon.
            if (y["months"] >= horizon).any():
                assert weight.sum() == pytest.approx(y.size, abs=1e-6)
