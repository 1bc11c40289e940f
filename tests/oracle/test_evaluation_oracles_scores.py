"""Brier score, log loss, their integrals, and observed / expected against scikit-survival, hazardous, comprisk and
scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from comprisk import score_cr
from hazardous.metrics import aj_calibration_at_t, integrated_brier_score_incidence
from random_outcomes import CLOSED_FORM, SEEDS, as_sksurv, draw
from sklearn.metrics import brier_score_loss, log_loss
from sksurv.metrics import brier_score, integrated_brier_score

from radiomics_crlm.evaluation.incidence import censoring_survival
from radiomics_crlm.evaluation.outcome import horizon_labels
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.survival_scores import (
    brier_values,
    expected_values,
    integrated_brier_values,
    log_loss_values,
    null_brier_values,
    scaled_brier_values,
)

MONTHS = np.array([3.25, 6.25, 9.25])


def _increasing(generator: np.random.Generator, n: int) -> np.ndarray:
    """Probabilities at the three horizons, n x 3."""
    return np.sort(generator.random((n, 3)), axis=1)


def test_brier_and_its_integral_equal_scikit_survival() -> None:
    compared = 0
    for seed in range(240):
        y, _, generator = draw(seed, competing=False, smallest=25)
        if y["months"].max() <= MONTHS[-1]:
            continue
        p = _increasing(generator, y.size)
        survival = as_sksurv(y)
        sample = resamples(y, draws=0, seed=0)
        samples = [sample.at(m) for m in MONTHS]
        _, expected = brier_score(survival, survival, 1 - p, MONTHS)
        found = [brier_values(s, p[:, [k]])[0] for k, s in enumerate(samples)]
        np.testing.assert_allclose(found, expected, atol=CLOSED_FORM)
        integral, _ = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
        wanted = integrated_brier_score(survival, survival, 1 - p, MONTHS)
        assert integral[0] == pytest.approx(wanted, abs=CLOSED_FORM)
        compared += 1
    assert compared >= 200


def test_brier_with_competing_events_equals_comprisk() -> None:
    compared = 0
    for seed in range(240):
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        if y["months"].max() <= MONTHS[-1]:
            continue
        p = _increasing(generator, y.size)
        expected = score_cr({"m": p}, y["months"], y["event"], MONTHS, metrics=("brier",), n_jobs=1)
        samples = [resamples(y, draws=0, seed=0).at(m) for m in MONTHS]
        found = [brier_values(s, p[:, [k]])[0] for k, s in enumerate(samples)]
        np.testing.assert_allclose(found, expected.brier["Brier"], atol=CLOSED_FORM)
        integral, _ = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
        assert integral[0] == pytest.approx(float(expected.ibs["IBS"].iloc[0]), abs=CLOSED_FORM)
        compared += 1
    assert compared >= 200


def test_integrated_brier_with_competing_events_equals_hazardous() -> None:
    """hazardous cuts weights at 20, so censoring is light here."""
    compared = 0
    for seed in range(330):
        y, _, generator = draw(seed, competing=True, smallest=25, events=0.8)
        light = censoring_survival(y["event"], y["months"], y["months"]).min() > 0.06
        if not light or y["months"].max() <= MONTHS[-1] or not (y["event"] == 2).any():
            continue
        p = _increasing(generator, y.size)
        table = pd.DataFrame({"event": y["event"].astype(int), "duration": y["months"]})
        samples = [resamples(y, draws=0, seed=0).at(m) for m in MONTHS]
        wanted = integrated_brier_score_incidence(table, table, p, MONTHS, event_of_interest=1)
        integral, _ = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
        assert integral[0] == pytest.approx(wanted, abs=CLOSED_FORM)
        compared += 1
    assert compared >= 200


def test_observed_and_expected_equal_the_aalen_johansen_calibration_of_hazardous() -> None:
    """Events are untied: hazardous fits by lifelines, which moves ties apart at random."""
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, smallest=10, largest=20)
        y["event"][1] = 2
        y["months"] = y["months"] + generator.permutation(y.size) / (10.0 * y.size)
        p = _increasing(generator, y.size) / 2
        cube = np.stack((1 - 2 * p, p, p), axis=1)
        table = pd.DataFrame({"event": y["event"].astype(int), "duration": y["months"]})
        expected = aj_calibration_at_t(table, MONTHS, cube, event_of_interest=1)
        for k, months in enumerate(MONTHS):
            if months >= y["months"].max():
                continue
            ratio = expected_values(resamples(y, draws=0, seed=0).at(months), p[:, [k]])[0]
            mean = p[:, k].mean()
            assert abs(mean - ratio * mean) == pytest.approx(expected[k], abs=CLOSED_FORM)


def test_log_loss_and_brier_equal_scikit_learn() -> None:
    """Weighted for censoring: the weights of all patients, unknown ones 0, add up to their number."""
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True)
        months = float(generator.choice([3.0, 6.5, 9.0]))
        p = generator.random((y.size, 2)).round(2)
        label, weight = horizon_labels(y, months)
        sample = resamples(y, draws=0, seed=0).at(months)
        share = weight.sum() / y.size
        for values, function in ((log_loss_values, log_loss), (brier_values, brier_score_loss)):
            extra = {"labels": [0, 1]} if function is log_loss else {"pos_label": 1}
            expected = np.mean([function(label, p[:, r], sample_weight=weight, **extra) for r in range(2)])
            assert values(sample, p)[0] == pytest.approx(share * expected, abs=CLOSED_FORM)


def test_null_and_scaled_scores_equal_the_definition() -> None:
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True)
        p = generator.random((y.size, 1))
        sample = resamples(y, draws=2, seed=seed)
        at = sample.at(6.0)
        null, scaled = null_brier_values(at), scaled_brier_values(at, p)
        for counts, value, ours in zip(sample.counts, null, scaled, strict=True):
            rows = np.repeat(np.arange(y.size), counts.astype(int))
            label, weight = horizon_labels(y[rows], 6.0)
            incidence = (weight * label).mean()
            expected = (weight * (label - incidence) ** 2).mean()
            assert value == pytest.approx(expected, abs=CLOSED_FORM)
            if expected > 0:
                wanted = 1 - (weight * (label - p[rows, 0]) ** 2).mean() / expected
                assert ours == pytest.approx(wanted, abs=CLOSED_FORM)
