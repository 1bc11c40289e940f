"""Evaluation against lifelines, scikit-learn and literal loops, on hundreds of random data sets."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter, NelsonAalenFitter
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

from radiomics_crlm.evaluation.discrimination import auc, harrell_c
from radiomics_crlm.evaluation.incidence import aalen_johansen, kaplan_meier, nelson_aalen
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.evaluation.ranking import auc_at, harrell, whole_sample, within_folds
from radiomics_crlm.evaluation.resampling import resamples

SEEDS = range(200)
TOLERANCE = 1e-8


def _draw(seed: int, *, competing: bool, ties: bool) -> tuple[Outcome, np.ndarray]:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(8, 70))
    months = generator.exponential(20, n)
    risk = generator.normal(size=n)
    if ties:
        months, risk = np.ceil(months / 4), risk.round(1)
    event = generator.choice([0, 1, 2] if competing else [0, 1], n)
    event[np.argmin(months)] = 1
    return make_outcome(event, months), risk


def _loop_c(y: Outcome, risk: np.ndarray, fold: np.ndarray | None = None) -> float:
    """Harrell's C read off its definition, one pair at a time."""
    agreed = total = 0.0
    for i in range(y.size):
        for j in range(y.size):
            if y["event"][i] != 1 or (fold is not None and fold[i] != fold[j]):
                continue
            earlier = y["months"][i] < y["months"][j]
            together = y["months"][i] == y["months"][j] and y["event"][j] != 1
            if earlier or together:
                total += 1
                agreed += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    return agreed / total if total else float("nan")


@pytest.mark.parametrize("ties", [False, True])
def test_c_index_equals_lifelines(ties: bool) -> None:
    """lifelines takes a predicted time, so the risk is negated; its conventions for ties are the same as here."""
    for seed in SEEDS:
        y, risk = _draw(seed, competing=False, ties=ties)
        if (y["event"] == 1).all() and np.unique(y["months"]).size == 1:
            continue
        assert harrell_c(y, risk) == pytest.approx(concordance_index(y["months"], -risk, y["event"]), abs=TOLERANCE)


def test_c_index_with_competing_events_equals_the_loop() -> None:
    for seed in SEEDS:
        y, risk = _draw(seed, competing=True, ties=seed % 2 == 0)
        assert harrell_c(y, risk) == pytest.approx(_loop_c(y, risk), abs=TOLERANCE, nan_ok=True)


def test_competing_events_count_as_censored_in_c() -> None:
    for seed in SEEDS:
        y, risk = _draw(seed, competing=True, ties=True)
        censored = y.copy()
        censored["event"][y["event"] == 2] = 0
        assert harrell_c(y, risk) == pytest.approx(harrell_c(censored, risk), abs=TOLERANCE, nan_ok=True)


def test_within_fold_c_equals_the_loop() -> None:
    for seed in SEEDS:
        y, risk = _draw(seed, competing=True, ties=True)
        fold = np.arange(y.size) % 2
        found = within_folds(harrell(y), risk[:, None], fold[:, None], resamples(y, draws=0, seed=0))[0]
        assert found == pytest.approx(_loop_c(y, risk, fold), abs=TOLERANCE, nan_ok=True)


def test_weighted_auc_equals_scikit_learn() -> None:
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(4, 80))
        label = np.r_[0, 1, generator.integers(0, 2, n - 2)]
        risk, weight = generator.normal(size=n).round(1), generator.exponential(size=n)
        assert auc(label, risk) == pytest.approx(roc_auc_score(label, risk), abs=TOLERANCE)
        expected = roc_auc_score(label, risk, sample_weight=weight)
        assert auc(label, risk, weight) == pytest.approx(expected, abs=TOLERANCE)


def test_auc_at_a_horizon_equals_scikit_learn_with_censoring_weights() -> None:
    for seed in SEEDS:
        y, risk = _draw(seed, competing=True, ties=True)
        label, weight = horizon_labels(y, 4.0)
        known = weight > 0
        if np.unique(label[known]).size < 2:
            continue
        expected = roc_auc_score(label[known], risk[known], sample_weight=weight[known])
        assert whole_sample(auc_at(y, 4.0), y, risk) == pytest.approx(expected, abs=TOLERANCE)


def test_kaplan_meier_and_nelson_aalen_equal_lifelines() -> None:
    for seed in SEEDS:
        y, _ = _draw(seed, competing=False, ties=seed % 2 == 0)
        months, event = y["months"], y["event"]
        fitted = KaplanMeierFitter().fit(months, event)
        curve = kaplan_meier(event, months)
        np.testing.assert_allclose(curve.value, fitted.survival_function_["KM_estimate"].to_numpy()[1:], atol=TOLERANCE)
        limits = fitted.confidence_interval_survival_function_.to_numpy()[1:]
        inner = (curve.value > 0) & (curve.value < 1)
        np.testing.assert_allclose(np.c_[curve.lower, curve.upper][inner], limits[inner], atol=TOLERANCE)
        hazard = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(months, event).cumulative_hazard_.to_numpy()[1:, 0]
        np.testing.assert_allclose(nelson_aalen(event, months).value, hazard, atol=TOLERANCE)


def test_aalen_johansen_equals_lifelines() -> None:
    """Without ties, because lifelines moves tied times apart at random."""
    for seed in SEEDS:
        y, _ = _draw(seed, competing=True, ties=False)
        fitted = AalenJohansenFitter(calculate_variance=False).fit(y["months"], y["event"], event_of_interest=1)
        expected = fitted.cumulative_density_.iloc[1:, 0].to_numpy()
        np.testing.assert_allclose(aalen_johansen(y["event"], y["months"]).value, expected, atol=TOLERANCE)


def test_aalen_johansen_variance_equals_lifelines() -> None:
    """Read back from the limits, which lifelines transforms otherwise; fewer data sets because its loop is slow."""
    for seed in range(20):
        y, _ = _draw(seed, competing=True, ties=False)
        y = y[:30]
        fitted = AalenJohansenFitter(calculate_variance=True).fit(y["months"], y["event"], event_of_interest=1)
        variance = fitted.variance_.to_numpy()[1:]
        curve = aalen_johansen(y["event"], y["months"])
        inner = (curve.value > 0) & (curve.value < 1) & (variance > 0)
        f = curve.value[inner]
        spread = np.log(np.log(curve.lower[inner]) / np.log(f))
        ours = (spread / 1.959963984540054 * f * np.abs(np.log(f))) ** 2
        np.testing.assert_allclose(ours, variance[inner], rtol=1e-6, atol=1e-12)


def test_aalen_johansen_with_ties_equals_the_loop() -> None:
    for seed in SEEDS:
        y, _ = _draw(seed, competing=True, ties=True)
        survival, incidence, expected = 1.0, 0.0, []
        for time in np.unique(y["months"]):
            at_risk = (y["months"] >= time).sum()
            now = y["months"] == time
            incidence += survival * (now & (y["event"] == 1)).sum() / at_risk
            survival *= 1 - (now & (y["event"] > 0)).sum() / at_risk
            expected.append(incidence)
        np.testing.assert_allclose(aalen_johansen(y["event"], y["months"]).value, expected, atol=TOLERANCE)


def test_weighted_labels_average_to_the_aalen_johansen_incidence() -> None:
    """The identity that ties the censoring weights to the incidence, ties included."""
    for seed in SEEDS:
        y, _ = _draw(seed, competing=True, ties=seed % 2 == 0)
        for horizon in (2.0, 5.0, 9.5, 30.0):
            label, weight = horizon_labels(y, horizon)
            observed = aalen_johansen(y["event"], y["months"]).at([horizon])[0]
            assert (label * weight).mean() == pytest.approx(observed, abs=TOLERANCE)
            # The weights restore the whole sample as long as anyone is followed to the horizon.
            if (y["months"] >= horizon).any():
                assert weight.sum() == pytest.approx(y.size, abs=1e-6)
