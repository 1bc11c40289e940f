"""Brier score, log loss, their integrals, and observed / expected against scikit-survival, hazardous, comprisk and
scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plain_statistics as plain
from comprisk import score_cr
from hazardous.metrics import aj_calibration_at_t, integrated_brier_score_incidence
from oracle_comparison import Compare, oracle
from random_outcomes import as_sksurv, draw
from scipy.integrate import trapezoid
from sklearn.metrics import brier_score_loss, log_loss
from sksurv.metrics import brier_score, integrated_brier_score

from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.survival_scores import (
    brier_values,
    expected_values,
    integrated_brier_values,
    integrated_values,
    log_loss_values,
    null_brier_values,
    scaled_brier_values,
    squared_losses,
)

MONTHS = np.array([3.25, 6.25, 9.25])


def _increasing(generator: np.random.Generator, n: int) -> np.ndarray:
    """Probabilities at the three horizons, n x 3."""
    return np.sort(generator.random((n, 3)), axis=1)


@oracle(
    "IPCW Brier score and its integral",
    against="scikit-survival",
    covers=("survival_scores.brier_values", "survival_scores.integrated_brier_values"),
)
def test_brier_and_its_integral_equal_scikit_survival(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=False, smallest=25, events=(0.6, 0.3, 0.9)[seed % 3])
        if y["months"].max() <= MONTHS[-1]:
            continue
        p = _increasing(generator, y.size)
        survival = as_sksurv(y)
        sample = resamples(y, draws=0, seed=0)
        samples = [sample.at(m) for m in MONTHS]
        _, expected = brier_score(survival, survival, 1 - p, MONTHS)
        compare(seed, [brier_values(s, p[:, [k]])[0] for k, s in enumerate(samples)], expected)
        integral, _ = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
        compare(seed, integral[0], integrated_brier_score(survival, survival, 1 - p, MONTHS))


@oracle(
    "Brier score without a model, and the scaled scores",
    against="scikit-survival, incidence written plainly (Kattan and Gerds 2018, doi:10.1186/s41512-018-0029-2)",
    covers=(
        "survival_scores.null_brier_values",
        "survival_scores.scaled_brier_values",
        "survival_scores.integrated_brier_values",
        "survival_scores.integrated_values",
    ),
)
def test_scaled_scores_equal_scikit_survival(compare: Compare) -> None:
    """The model without inputs gives everybody the incidence: its score is one more Brier score."""
    for seed in compare:
        y, _, generator = draw(seed, competing=False, smallest=25)
        if y["months"].max() <= MONTHS[-1]:
            continue
        p, survival = _increasing(generator, y.size), as_sksurv(y)
        everybody = np.tile([plain.incidence(y, m) for m in MONTHS], (y.size, 1))
        (_, model), (_, null) = (brier_score(survival, survival, 1 - q, MONTHS) for q in (p, everybody))
        samples = [resamples(y, draws=0, seed=0).at(m) for m in MONTHS]
        found = [null_brier_values(s)[0] for s in samples]
        compare(seed, found, null)
        if (null > 1e-3).all():
            compare(seed, [scaled_brier_values(s, p[:, [k]])[0] for k, s in enumerate(samples)], 1 - model / null)
            _, scaled = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
            integrals = [integrated_brier_score(survival, survival, 1 - q, MONTHS) for q in (p, everybody)]
            compare(seed, scaled[0], 1 - integrals[0] / integrals[1])
        mean = trapezoid(model, MONTHS) / (MONTHS[-1] - MONTHS[0])
        compare(seed, integrated_values([np.array([value]) for value in model], MONTHS)[0], mean)


@oracle(
    "Brier score and its integral, competing events",
    against="comprisk",
    covers=("survival_scores.brier_values", "survival_scores.integrated_brier_values"),
)
def test_brier_with_competing_events_equals_comprisk(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        if y["months"].max() <= MONTHS[-1]:
            continue
        p = _increasing(generator, y.size)
        expected = score_cr({"m": p}, y["months"], y["event"], MONTHS, metrics=("brier",), n_jobs=1)
        samples = [resamples(y, draws=0, seed=0).at(m) for m in MONTHS]
        compare(seed, [brier_values(s, p[:, [k]])[0] for k, s in enumerate(samples)], expected.brier["Brier"])
        integral, _ = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
        compare(seed, integral[0], float(expected.ibs["IBS"].iloc[0]))


@oracle(
    "Integrated Brier score, competing events",
    against="hazardous",
    covers=("survival_scores.integrated_brier_values",),
)
def test_integrated_brier_with_competing_events_equals_hazardous(compare: Compare) -> None:
    """hazardous cuts weights at 20, so censoring is light here."""
    for seed in compare:
        y, _, generator = draw(seed, competing=True, smallest=25, events=0.8)
        light = plain.uncensored(y, y["months"].max()) > 0.06
        if not light or y["months"].max() <= MONTHS[-1] or not (y["event"] == 2).any():
            continue
        p = _increasing(generator, y.size)
        table = pd.DataFrame({"event": y["event"].astype(int), "duration": y["months"]})
        samples = [resamples(y, draws=0, seed=0).at(m) for m in MONTHS]
        wanted = integrated_brier_score_incidence(table, table, p, MONTHS, event_of_interest=1)
        integral, _ = integrated_brier_values(samples, [p[:, [k]] for k in range(3)], MONTHS)
        compare(seed, integral[0], wanted)


@oracle(
    "Observed / expected",
    against="hazardous (Aalen-Johansen calibration)",
    covers=("survival_scores.expected_values",),
    fast=40,
)
def test_observed_and_expected_equal_the_aalen_johansen_calibration_of_hazardous(compare: Compare) -> None:
    """Events are untied: hazardous fits by lifelines, which moves ties apart at random."""
    for seed in compare:
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
            compare(seed, abs(mean - ratio * mean), expected[k])


@oracle(
    "Observed / expected, ties and bootstrap samples",
    against="written plainly (Aalen and Johansen 1978) in a table that repeats the patients drawn",
    covers=("survival_scores.expected_values",),
)
def test_observed_and_expected_equal_the_definition(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True)
        p, sample = generator.random((y.size, 2)), resamples(y, draws=2, seed=seed)
        found = expected_values(sample.at(6.0), p)
        for counts, value in zip(sample.counts, found, strict=True):
            rows = plain.drawn_rows(counts)
            compare(seed, value, plain.incidence(y[rows], 6.0) / p[rows].mean())


@oracle(
    "Log loss and Brier score of labels weighted for censoring",
    against="scikit-learn, weights written plainly",
    covers=("survival_scores.log_loss_values", "survival_scores.brier_values", "survival_scores.squared_losses"),
)
def test_log_loss_and_brier_equal_scikit_learn(compare: Compare) -> None:
    """Weighted for censoring: the weights of all patients, unknown ones 0, add up to their number."""
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True)
        months = float(generator.choice([3.0, 6.5, 9.0]))
        p = generator.random((y.size, 2)).round(2)
        label, weight = plain.labels(y, months)
        sample = resamples(y, draws=0, seed=0).at(months)
        share = weight.sum() / y.size
        for values, function in ((log_loss_values, log_loss), (brier_values, brier_score_loss)):
            extra = {"labels": [0, 1]} if function is log_loss else {"pos_label": 1}
            expected = np.mean([function(label, p[:, r], sample_weight=weight, **extra) for r in range(2)])
            compare(seed, values(sample, p)[0], share * expected)
        compare(
            seed,
            squared_losses(sample, p),
            [((a - z) ** 2 + (b - z) ** 2) / 2 for z, (a, b) in zip(label, p, strict=True)],
        )


@oracle(
    "Brier scores in bootstrap samples, ties and competing events",
    against="written plainly (Graf et al. 1999) in a table that repeats the patients drawn",
    covers=("survival_scores.null_brier_values", "survival_scores.scaled_brier_values"),
)
def test_null_and_scaled_scores_equal_the_definition(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True)
        p = generator.random((y.size, 1))
        sample = resamples(y, draws=2, seed=seed)
        at = sample.at(6.0)
        null, scaled = null_brier_values(at), scaled_brier_values(at, p)
        for counts, value, ours in zip(sample.counts, null, scaled, strict=True):
            rows = plain.drawn_rows(counts)
            label, weight = plain.labels(y[rows], 6.0)
            share = plain.incidence(y[rows], 6.0)
            expected = (weight * (label - share) ** 2).mean()
            compare(seed, value, expected)
            if expected > 1e-3:
                compare(seed, ours, 1 - (weight * (label - p[rows, 0]) ** 2).mean() / expected)
