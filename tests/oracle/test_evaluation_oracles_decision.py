"""Decision curves against dcurves and a plainly written group incidence; reclassification against literal loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plain_statistics as plain
from dcurves import dca
from oracle_comparison import Compare, oracle
from random_outcomes import deal, draw

from radiomics_crlm.evaluation.decision import TREAT_ALL, TREAT_NONE, decision_curve, reference_curves
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.reclassification import reclassification
from radiomics_crlm.evaluation.resampling import resamples

THRESHOLDS = [0.2, 0.5]
CURVES = ("decision.decision_curve", "decision.reference_curves")


@oracle("Net benefit of a label, treatments avoided", against="dcurves", covers=CURVES)
def test_binary_net_benefit_equals_dcurves(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(10, 50))
        p = generator.random(n).round(2)
        event = generator.random(n) < 0.3 + 0.4 * p
        event[:2] = [True, False]
        y = make_outcome(event, np.where(event, 5.0, 24.0))
        table = pd.DataFrame({"event": event, "m": p})
        oracle_table = dca(table, "event", ["m"], thresholds=THRESHOLDS).set_index("model")
        found = decision_curve(y, p, 12.0, THRESHOLDS)
        compare(seed, found["net_benefit"], oracle_table.loc["m", "net_benefit"])
        compare(seed, found["avoided_per_100"] / 100, oracle_table.loc["m", "net_intervention_avoided"])
        curves = reference_curves(y, 12.0, THRESHOLDS)
        compare(seed, curves[TREAT_ALL]["net_benefit"], oracle_table.loc[["all"], "net_benefit"])
        compare(seed, curves[TREAT_NONE]["net_benefit"], oracle_table.loc[["none"], "net_benefit"])


@oracle("Net benefit, censored", against="dcurves", covers=CURVES, fast=40)
def test_censored_net_benefit_equals_dcurves(compare: Compare) -> None:
    """Where the treated are not followed to the horizon both say nothing, unless the last of them had the event."""
    for seed in compare:
        y, risk, generator = draw(seed, competing=False, smallest=20, largest=40)
        p = 1 / (1 + np.exp(-risk))
        table = pd.DataFrame({"event": (y["event"] == 1).astype(int), "time": y["months"], "m": p})
        if y["months"].max() < 6.25:
            continue
        levels = [float(generator.choice([0.2, 0.35, 0.5, 0.65]))]  # each costs the oracle many Kaplan-Meier fits
        oracle_table = dca(table, "event", ["m"], thresholds=levels, time=6.25, time_to_outcome_col="time")
        oracle_table = oracle_table.set_index("model")
        expected = oracle_table.loc[["m"], "net_benefit"].to_numpy(dtype=float)
        if not np.isfinite(expected).all():
            continue
        compare(seed, decision_curve(y, p, 6.25, levels)["net_benefit"], expected)
        everybody = reference_curves(y, 6.25, levels)[TREAT_ALL]
        compare(seed, everybody["net_benefit"], oracle_table.loc[["all"], "net_benefit"])


@oracle(
    "Net benefit, competing events, repeats",
    against="written plainly (Vickers et al. 2008, doi:10.1186/1472-6947-8-53)",
    covers=CURVES,
)
def test_competing_net_benefit_equals_the_incidence_of_the_treated(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=30)
        p = generator.random((y.size, 2))
        found = decision_curve(y, p, 6.0, THRESHOLDS)
        everybody = reference_curves(y, 6.0, THRESHOLDS)[TREAT_ALL]["net_benefit"]
        for row, threshold in enumerate(THRESHOLDS):
            cost = threshold / (1 - threshold)
            share = plain.incidence(y, 6.0)
            if (y["months"] >= 6.0).any():
                compare(seed, everybody[row], share - (1 - share) * cost)
            groups = [p[:, repeat] >= threshold for repeat in range(2)]
            if any(not (y["months"][treated] >= 6.0).any() for treated in groups):
                continue
            among = [plain.incidence(y[treated], 6.0) for treated in groups]
            right = np.mean([treated.mean() * f for treated, f in zip(groups, among, strict=True)])
            wrong = np.mean([treated.mean() * (1 - f) for treated, f in zip(groups, among, strict=True)])
            numbers = found.loc[row, ["net_benefit", "treated", "true_positive", "false_positive"]]
            compare(seed, numbers, [right - cost * wrong, right + wrong, right, wrong])


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


@oracle(
    "Reclassification (NRI, IDI)",
    against="written plainly (Pencina et al. 2008 and 2011, doi:10.1002/sim.2929, doi:10.1002/sim.4085)",
    covers=("reclassification.reclassification",),
)
def test_reclassification_equals_the_loop(compare: Compare) -> None:
    """In the sample, and as limits of a single resample."""
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        old, new = generator.random((2, y.size, 2)).round(2)
        sample = resamples(y, draws=1, seed=seed)
        found = reclassification(sample.at(6.0), old, new, cuts=[0.3, 0.6]).measures
        for row, end in ((0, "value"), (1, "lower")):
            rows = plain.drawn_rows(sample.counts[row])
            label, weight = plain.labels(y[rows], 6.0)
            if min((weight * label).sum(), (weight * (1 - label)).sum()) == 0:
                continue
            expected = _loop_reclassification(label, weight, old[rows], new[rows], [0.3, 0.6])
            for name, value in expected.items():
                compare(seed, getattr(found[name], end), value)


def test_folds_do_not_matter_to_probabilities() -> None:
    """Decision curves judge probabilities as they are: a constant shift of one fold changes them."""
    y, _, generator = draw(1, competing=True)
    p = generator.random((y.size, 1)) / 2
    shifted = p + 0.4 * (deal(y.size, 1, 2, generator) == 0)
    assert not decision_curve(y, p, 6.0, [0.4]).equals(decision_curve(y, shifted, 6.0, [0.4]))
