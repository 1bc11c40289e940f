"""Decision curves against dcurves and a literal group incidence; reclassification against literal loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from dcurves import dca
from random_outcomes import CLOSED_FORM, SEEDS, deal, draw

from radiomics_crlm.evaluation.decision import TREAT_ALL, decision_curve, reference_curves
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome
from radiomics_crlm.evaluation.reclassification import reclassification
from radiomics_crlm.evaluation.resampling import resamples

THRESHOLDS = [0.2, 0.5]


def test_binary_net_benefit_equals_dcurves() -> None:
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(10, 50))
        p = generator.random(n).round(2)
        event = generator.random(n) < 0.3 + 0.4 * p
        event[:2] = [True, False]
        y = make_outcome(event, np.where(event, 5.0, 24.0))
        table = pd.DataFrame({"event": event, "m": p})
        oracle = dca(table, "event", ["m"], thresholds=THRESHOLDS).set_index("model")
        found = decision_curve(y, p, 12.0, THRESHOLDS)
        np.testing.assert_allclose(found["net_benefit"], oracle.loc["m", "net_benefit"], atol=CLOSED_FORM)
        expected = 100 * oracle.loc["m", "net_intervention_avoided"]
        np.testing.assert_allclose(found["avoided_per_100"], expected, atol=1e-6)
        everybody = reference_curves(y, 12.0, THRESHOLDS)[TREAT_ALL]
        np.testing.assert_allclose(everybody["net_benefit"], oracle.loc[["all"], "net_benefit"], atol=CLOSED_FORM)


def test_censored_net_benefit_equals_dcurves() -> None:
    """Where the treated are not followed to the horizon both say nothing, unless the last of them had the event."""
    compared = 0
    for seed in range(230):
        y, risk, generator = draw(seed, competing=False, smallest=20, largest=40)
        p = 1 / (1 + np.exp(-risk))
        table = pd.DataFrame({"event": (y["event"] == 1).astype(int), "time": y["months"], "m": p})
        if y["months"].max() < 6.25:
            continue
        levels = [float(generator.choice([0.2, 0.35, 0.5, 0.65]))]  # each costs the oracle many Kaplan-Meier fits
        oracle = dca(table, "event", ["m"], thresholds=levels, time=6.25, time_to_outcome_col="time")
        oracle = oracle.set_index("model")
        found = decision_curve(y, p, 6.25, levels)["net_benefit"].to_numpy()
        expected = oracle.loc[["m"], "net_benefit"].to_numpy(dtype=float)
        known = np.isfinite(expected)
        np.testing.assert_allclose(found[known], expected[known], atol=CLOSED_FORM)
        everybody = reference_curves(y, 6.25, levels)[TREAT_ALL]
        np.testing.assert_allclose(everybody["net_benefit"], oracle.loc[["all"], "net_benefit"], atol=CLOSED_FORM)
        compared += int(known.sum())
    assert compared >= 200


def test_competing_net_benefit_equals_the_incidence_of_the_treated() -> None:
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
        p = generator.random((y.size, 2))
        found = decision_curve(y, p, 6.0, THRESHOLDS)
        for row, threshold in enumerate(THRESHOLDS):
            benefits = []
            for repeat in range(2):
                treated = p[:, repeat] >= threshold
                if y["months"][treated].max() < 6.0:
                    break
                among = aalen_johansen(y["event"][treated], y["months"][treated]).at([6.0])[0]
                cost = threshold / (1 - threshold)
                benefits.append(treated.mean() * (among - (1 - among) * cost))
            else:
                assert found["net_benefit"][row] == pytest.approx(np.mean(benefits), abs=CLOSED_FORM)


def _loop_reclassification(
    label: np.ndarray, weight: np.ndarray, old: np.ndarray, new: np.ndarray, cuts: list[float]
) -> dict[str, float]:
    """Sums over patients and repeats, as the papers define them."""
    up = {key: {0: 0.0, 1: 0.0} for key in ("nri_categorical", "nri_continuous", "gain")}
    mass = {0: 0.0, 1: 0.0}
    for i in range(label.size):
        for r in range(old.shape[1]):
            group = int(label[i])
            mass[group] += weight[i]
            before, after = (sum(p[i, r] >= c for c in cuts) for p in (old, new))
            up["nri_categorical"][group] += weight[i] * (float(after > before) - float(after < before))
            up["nri_continuous"][group] += weight[i] * (float(new[i, r] > old[i, r]) - float(new[i, r] < old[i, r]))
            up["gain"][group] += weight[i] * (new[i, r] - old[i, r])
    found = {}
    for key in ("nri_categorical", "nri_continuous"):
        events, others = up[key][1] / mass[1], -up[key][0] / mass[0]
        found |= {key: events + others, f"{key}_events": events, f"{key}_nonevents": others}
    return found | {"idi": up["gain"][1] / mass[1] - up["gain"][0] / mass[0]}


def test_reclassification_equals_the_loop() -> None:
    """In the sample, and as limits of a single resample."""
    for seed in SEEDS:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        old, new = generator.random((2, y.size, 2)).round(2)
        sample = resamples(y, draws=1, seed=seed)
        found = reclassification(sample.at(6.0), old, new, cuts=[0.3, 0.6]).measures
        for row, end in ((0, "value"), (1, "lower")):
            rows = np.repeat(np.arange(y.size), sample.counts[row].astype(int))
            label, weight = horizon_labels(y[rows], 6.0)
            if min((weight * label).sum(), (weight * (1 - label)).sum()) == 0:
                continue
            expected = _loop_reclassification(label, weight, old[rows], new[rows], [0.3, 0.6])
            for name, value in expected.items():
                assert getattr(found[name], end) == pytest.approx(value, abs=CLOSED_FORM)


def test_folds_do_not_matter_to_probabilities() -> None:
    """Decision curves judge probabilities as they are: a constant shift of one fold changes them."""
    y, _, generator = draw(1, competing=True)
    p = generator.random((y.size, 1)) / 2
    shifted = p + 0.4 * (deal(y.size, 1, 2, generator) == 0)
    assert not decision_curve(y, p, 6.0, [0.4]).equals(decision_curve(y, shifted, 6.0, [0.4]))
