"""Rank statistics against scikit-survival, comprisk, hazardous, scikit-learn and literal loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from comprisk import concordance_index_uno_cr, score_cr
from hazardous.metrics import concordance_index_incidence
from random_outcomes import CLOSED_FORM, SEEDS, as_sksurv, deal, draw
from sklearn.metrics import average_precision_score
from sksurv.metrics import concordance_index_ipcw, cumulative_dynamic_auc

from radiomics_crlm.evaluation.average_precision import precision_values
from radiomics_crlm.evaluation.incidence import censoring_survival
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels
from radiomics_crlm.evaluation.ranking import auc_at, competing_risks, uno, whole_sample, within_folds
from radiomics_crlm.evaluation.resampling import resamples


def _agree(a: float, b: float) -> float:
    return 1.0 if a > b else 0.5 if a == b else 0.0


def test_uno_equals_scikit_survival() -> None:
    for seed in SEEDS:
        y, risk, generator = draw(seed, competing=False)
        months = float(generator.choice([4.25, 9.0, 15.5]))
        survival = as_sksurv(y)
        expected = concordance_index_ipcw(survival, survival, risk, tau=months)[0]
        assert whole_sample(uno(y, months), y, risk) == pytest.approx(expected, abs=CLOSED_FORM)


def test_time_dependent_auc_equals_scikit_survival() -> None:
    compared = 0
    for seed in SEEDS:
        y, risk, generator = draw(seed, competing=False, smallest=25)
        survival = as_sksurv(y)
        months = float(generator.choice([3.25, 6.25, 9.25]))
        if months >= y["months"].max():
            continue
        expected, _ = cumulative_dynamic_auc(survival, survival, risk, [months])
        assert whole_sample(auc_at(y, months), y, risk) == pytest.approx(expected[0], abs=CLOSED_FORM)
        compared += 1
    assert compared >= 190


def test_auc_with_competing_events_equals_comprisk() -> None:
    """Definition 2 of Blanche et al.; events and censoring at the same time too, as both let events come first."""
    compared = 0
    for seed in range(230):
        y, risk, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        months = float(generator.choice([3.25, 6.25, 9.25]))
        if months >= y["months"].max():
            continue
        p = 1 / (1 + np.exp(-risk))
        found = score_cr({"m": p[:, None]}, y["months"], y["event"], np.array([months]), metrics=("auc",), n_jobs=1)
        expected = float(found.auc["AUC"].iloc[0])
        assert whole_sample(auc_at(y, months), y, risk) == pytest.approx(expected, abs=CLOSED_FORM, nan_ok=True)
        compared += 1
    assert compared >= 200


def _loop_auc(y: Outcome, risk: np.ndarray, months: float, *, event_free: bool) -> float:
    """Both definitions of controls, read off the paper, one pair at a time; censoring at the horizon is followed."""
    before = censoring_survival(y["event"], y["months"], np.minimum(y["months"], months))
    agreed = total = 0.0
    for i in range(y.size):
        if y["event"][i] != 1 or y["months"][i] > months:
            continue
        for j in range(y.size):
            free = y["months"][j] > months or (y["months"][j] == months and y["event"][j] == 0)
            rival = y["event"][j] == 2 and y["months"][j] <= months
            if free or (rival and not event_free):
                weight = 1 / (before[i] * before[j])
                total += weight
                agreed += weight * _agree(risk[i], risk[j])
    return agreed / total if total else float("nan")


@pytest.mark.parametrize("controls", ["all", "event_free"])
def test_auc_at_tied_horizons_equals_the_loop(controls: str) -> None:
    for seed in SEEDS:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True, largest=35)
        months = float(generator.choice([3.0, 5.0, 8.0]))
        expected = _loop_auc(y, risk, months, event_free=controls == "event_free")
        found = whole_sample(auc_at(y, months, controls=controls), y, risk)
        assert found == pytest.approx(expected, abs=CLOSED_FORM, nan_ok=True)


def test_competing_c_equals_hazardous() -> None:
    """hazardous cuts weights at 20, so censoring is light here, and counts events up to and including the time."""
    compared = 0
    for seed in range(260):
        y, risk, generator = draw(seed, competing=True, smallest=25, events=0.8)
        if censoring_survival(y["event"], y["months"], y["months"]).min() < 0.06 or not (y["event"] == 2).any():
            continue
        months = float(generator.choice([6.25, 9.25, 15.25]))
        table = pd.DataFrame({"event": y["event"].astype(int), "duration": y["months"]})
        p = 1 / (1 + np.exp(-risk))
        expected = concordance_index_incidence(
            table, np.column_stack((p, p)), table, time_grid=np.array([0.0, 100.0]), taus=[months]
        )
        found = whole_sample(competing_risks(y, months), y, risk)
        assert found == pytest.approx(float(expected[0]), abs=CLOSED_FORM)
        compared += 1
    assert compared >= 200


def test_competing_c_equals_comprisk() -> None:
    """comprisk counts pairs of tied events as well, so events are untied here."""
    for seed in SEEDS:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True)
        y["months"] = y["months"] + generator.permutation(y.size) / (2.0 * y.size)
        before = censoring_survival(y["event"], y["months"], y["months"])
        expected = concordance_index_uno_cr(y["event"], y["months"], risk, cause=1, weights=1 / before**2)
        found = whole_sample(competing_risks(y, 1e6), y, risk)
        assert found == pytest.approx(expected, abs=CLOSED_FORM, nan_ok=True)


def _loop_competing(y: Outcome, risk: np.ndarray, fold: np.ndarray, months: float) -> float:
    before = censoring_survival(y["event"], y["months"], y["months"])
    agreed = total = 0.0
    for i in range(y.size):
        if y["event"][i] != 1 or y["months"][i] >= months:
            continue
        for j in range(y.size):
            later = y["months"][j] > y["months"][i] or (y["months"][j] == y["months"][i] and y["event"][j] == 0)
            gone = y["event"][j] == 2 and y["months"][j] <= y["months"][i]
            weight = later / before[i] ** 2 + gone / (before[i] * before[j])
            shared = weight * (fold[i] == fold[j]).sum()
            total += shared
            agreed += weight * sum(
                _agree(risk[i, r], risk[j, r]) for r in range(fold.shape[1]) if fold[i, r] == fold[j, r]
            )
    return agreed / total if total else float("nan")


def test_competing_c_within_folds_equals_the_loop() -> None:
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, largest=22)
        fold = deal(y.size, 2, 2, generator)
        risk = generator.normal(size=fold.shape).round(1)
        found = within_folds(competing_risks(y, 8.0), risk, fold, resamples(y, draws=0, seed=0))[0]
        assert found == pytest.approx(_loop_competing(y, risk, fold, 8.0), abs=CLOSED_FORM, nan_ok=True)


def test_average_precision_equals_scikit_learn() -> None:
    """One fold: weighted for censoring, as scikit-learn weighs samples."""
    for seed in SEEDS:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True)
        months = float(generator.choice([3.0, 6.5, 9.0]))
        label, weight = horizon_labels(y, months)
        sample = resamples(y, draws=0, seed=0).at(months)
        found = precision_values(sample, risk[:, None], np.zeros((y.size, 1), dtype=int))[0]
        assert found == pytest.approx(average_precision_score(label, risk, sample_weight=weight), abs=CLOSED_FORM)


def test_average_precision_within_folds_is_the_mean_over_cases() -> None:
    """Folds weigh by their (weighted) cases; resamples are tables with repeated patients."""
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        fold = deal(y.size, 2, 3, generator)
        risk = generator.normal(size=fold.shape).round(1)
        sample = resamples(y, draws=1, seed=seed)
        found = precision_values(sample.at(6.0), risk, fold)
        for counts, value in zip(sample.counts, found, strict=True):
            rows = np.repeat(np.arange(y.size), counts.astype(int))
            label, weight = horizon_labels(y[rows], 6.0)
            if not label.any():
                continue
            total = 0.0
            for repeat in range(2):
                for number in range(3):
                    inside = fold[rows, repeat] == number
                    mass = (weight * label)[inside].sum()
                    if mass > 0:
                        scored = average_precision_score(
                            label[inside], risk[rows][inside, repeat], sample_weight=weight[inside]
                        )
                        total += mass * scored
            assert value == pytest.approx(total / (2 * (weight * label).sum()), abs=CLOSED_FORM)
