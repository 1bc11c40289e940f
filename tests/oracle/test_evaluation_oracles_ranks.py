"""Rank statistics against scikit-survival, comprisk, hazardous, scikit-learn and literal loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plain_statistics as plain
import pytest
from comprisk import concordance_index_uno_cr, score_cr
from hazardous.metrics import concordance_index_incidence
from oracle_comparison import Compare, oracle
from random_outcomes import as_sksurv, deal, draw
from sklearn.metrics import average_precision_score
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc

from radiomics_crlm.evaluation.average_precision import precision_values
from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.evaluation.ranking import (
    auc_at,
    competing_risks,
    fold_agreement,
    fold_mates,
    harrell,
    primary,
    side_weights,
    truncation,
    uno,
    whole_sample,
    within_folds,
)
from radiomics_crlm.evaluation.resampling import resamples


@oracle("Uno's C", against="scikit-survival", covers=("ranking.uno", "ranking.whole_sample"))
def test_uno_equals_scikit_survival(compare: Compare) -> None:
    for seed in compare:
        events = (0.6, 0.25, 0.9)[seed % 3]
        y, risk, generator = draw(seed, competing=False, events=events)
        months = float(generator.choice([4.25, 9.0, 15.5]))
        survival = as_sksurv(y)
        expected = concordance_index_ipcw(survival, survival, risk, tau=months)[0]
        compare(seed, whole_sample(uno(y, months), y, risk), expected)


@oracle(
    "Uno's C, Harrell's C and td-AUC in a bootstrap sample",
    against="scikit-survival, in a table that repeats the patients drawn",
    covers=("ranking.uno", "ranking.rank_values", "ranking.side_weights"),
)
def test_resampled_ranks_equal_scikit_survival(compare: Compare) -> None:
    """Repeated patients are tied with themselves: scikit-survival leaves out pairs of tied events, as is done here."""
    for seed in compare:
        y, risk, _ = draw(seed, competing=False, smallest=20, largest=40)
        one, sample = np.zeros((y.size, 1), dtype=int), resamples(y, draws=1, seed=seed)
        rows = plain.drawn_rows(sample.counts[1])
        again, drawn = y[rows], risk[rows]
        first = again["months"][again["event"] == 1].min(initial=np.inf)
        if not first < again["months"].max():
            continue
        survival = as_sksurv(again)
        expected = concordance_index_ipcw(survival, survival, drawn, tau=9.25)[0] if first < 9.25 else np.nan
        compare(seed, within_folds(uno(y, 9.25), risk[:, None], one, sample)[1], expected, nan_ok=True)
        wanted = concordance_index_censored(survival["event"], survival["time"], drawn)[0]
        compare(seed, within_folds(harrell(y), risk[:, None], one, sample)[1], wanted)
        months = 6.25
        if first < months < again["months"].max():
            dynamic = cumulative_dynamic_auc(survival, survival, drawn, [months])[0][0]
            compare(seed, within_folds(auc_at(y, months), risk[:, None], one, sample)[1], dynamic, nan_ok=True)
        weights = side_weights(sample, y["months"], 2)[1][rows] / sample.counts[1][rows]
        compare(seed, weights, [plain.uncensored(again, t) ** -2 for t in again["months"]])


@oracle("Time-dependent AUC", against="scikit-survival", covers=("ranking.auc_at",))
def test_time_dependent_auc_equals_scikit_survival(compare: Compare) -> None:
    for seed in compare:
        y, risk, generator = draw(seed, competing=False, smallest=25, events=(0.6, 0.3, 0.9)[seed % 3])
        survival = as_sksurv(y)
        months = float(generator.choice([3.25, 6.25, 9.25]))
        if months >= y["months"].max():
            continue
        expected, _ = cumulative_dynamic_auc(survival, survival, risk, [months])
        compare(seed, whole_sample(auc_at(y, months), y, risk), expected[0])


@oracle("Time-dependent AUC, competing events", against="comprisk", covers=("ranking.auc_at",))
def test_auc_with_competing_events_equals_comprisk(compare: Compare) -> None:
    """Definition 2 of Blanche et al.; events and censoring at the same time too, as both let events come first."""
    for seed in compare:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        months = float(generator.choice([3.25, 6.25, 9.25]))
        if months >= y["months"].max():
            continue
        p = 1 / (1 + np.exp(-risk))
        found = score_cr({"m": p[:, None]}, y["months"], y["event"], np.array([months]), metrics=("auc",), n_jobs=1)
        expected = float(found.auc["AUC"].iloc[0])
        compare(seed, whole_sample(auc_at(y, months), y, risk), expected, nan_ok=True)


def _loop_auc(y: Outcome, risk: np.ndarray, months: float, *, event_free: bool) -> float:
    """Both definitions of controls, read off the paper, one pair at a time; censoring at the horizon is followed."""
    before = [plain.uncensored(y, min(t, months)) for t in y["months"]]
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
                agreed += weight * plain.agreement(risk[i], risk[j])
    return agreed / total if total else float("nan")


@oracle(
    "Time-dependent AUC, both kinds of controls, ties",
    against="written plainly, pair by pair (Blanche et al. 2013, doi:10.1002/sim.5958)",
    covers=("ranking.auc_at",),
)
@pytest.mark.parametrize("controls", ["all", "event_free"])
def test_auc_at_tied_horizons_equals_the_loop(compare: Compare, controls: str) -> None:
    for seed in compare:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True, largest=35)
        months = float(generator.choice([3.0, 5.0, 8.0]))
        expected = _loop_auc(y, risk, months, event_free=controls == "event_free")
        compare(seed, whole_sample(auc_at(y, months, controls=controls), y, risk), expected, nan_ok=True)


@oracle("C for competing risks", against="hazardous", covers=("ranking.competing_risks",))
def test_competing_c_equals_hazardous(compare: Compare) -> None:
    """hazardous cuts weights at 20, so censoring is light here, and counts events up to and including the time."""
    for seed in compare:
        y, risk, generator = draw(seed, competing=True, smallest=25, events=0.8)
        if plain.uncensored(y, y["months"].max()) < 0.06 or not (y["event"] == 2).any():
            continue
        months = float(generator.choice([6.25, 9.25, 15.25]))
        table = pd.DataFrame({"event": y["event"].astype(int), "duration": y["months"]})
        p = 1 / (1 + np.exp(-risk))
        expected = concordance_index_incidence(
            table, np.column_stack((p, p)), table, time_grid=np.array([0.0, 100.0]), taus=[months]
        )
        compare(seed, whole_sample(competing_risks(y, months), y, risk), float(expected[0]))


@oracle("C for competing risks, whole follow-up", against="comprisk", covers=("ranking.competing_risks",))
def test_competing_c_equals_comprisk(compare: Compare) -> None:
    """comprisk counts pairs of tied events as well, so events are untied here."""
    for seed in compare:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True)
        y["months"] = y["months"] + generator.permutation(y.size) / (2.0 * y.size)
        before = np.array([plain.uncensored(y, t) for t in y["months"]])
        expected = concordance_index_uno_cr(y["event"], y["months"], risk, cause=1, weights=1 / before**2)
        compare(seed, whole_sample(competing_risks(y, 1e6), y, risk), expected, nan_ok=True)


def _loop_competing(y: Outcome, risk: np.ndarray, fold: np.ndarray, months: float) -> float:
    before = [plain.uncensored(y, t) for t in y["months"]]
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
                plain.agreement(risk[i, r], risk[j, r]) for r in range(fold.shape[1]) if fold[i, r] == fold[j, r]
            )
    return agreed / total if total else float("nan")


@oracle(
    "C for competing risks within folds, ties",
    against="written plainly, pair by pair (Wolbers et al. 2014, doi:10.1093/biostatistics/kxt059)",
    covers=("ranking.competing_risks", "ranking.within_folds", "ranking.fold_agreement", "ranking.fold_mates"),
)
def test_competing_c_within_folds_equals_the_loop(compare: Compare) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, largest=22)
        fold = deal(y.size, 2, 2, generator)
        risk = generator.normal(size=fold.shape).round(1)
        found = within_folds(competing_risks(y, 8.0), risk, fold, resamples(y, draws=0, seed=0))[0]
        compare(seed, found, _loop_competing(y, risk, fold, 8.0), nan_ok=True)
        i, j = generator.integers(0, y.size, 2)
        together = [r for r in range(2) if fold[i, r] == fold[j, r]]
        compare(seed, fold_mates(fold)[i, j], len(together))
        wanted = sum(plain.agreement(risk[i, r], risk[j, r]) for r in together)
        compare(seed, fold_agreement(risk, risk, fold)[i, j], wanted)


@oracle(
    "Statistic of an endpoint, and the time to which Uno's C is taken",
    against="written plainly, pair by pair and month by month",
    covers=("ranking.primary", "ranking.truncation"),
)
def test_primary_and_truncation_equal_the_loop(compare: Compare) -> None:
    for seed in compare:
        y, risk, _ = draw(seed, competing=True, mixed_ties=True, smallest=3, largest=40)
        found = [
            whole_sample(primary(y, "time_to_event", None), y, risk),
            whole_sample(primary(y, "binary", 5.0), y, risk),
        ]
        compare(seed, found, [plain.concordance(y, risk), plain.auc_by_horizon(y, risk, 5.0)], nan_ok=True)
        needed = max(10, int(np.ceil(0.1 * y.size)))
        reached = [month for month in range(1, 200) if (y["months"] >= month).sum() >= needed]
        compare(seed, truncation(y), reached[-1] if reached else np.floor(y["months"].max()) + 1)


@oracle(
    "Average precision", against="scikit-learn, weights written plainly", covers=("average_precision.precision_values",)
)
def test_average_precision_equals_scikit_learn(compare: Compare) -> None:
    """One fold: weighted for censoring, as scikit-learn weighs samples."""
    for seed in compare:
        y, risk, generator = draw(seed, competing=True, mixed_ties=True)
        months = float(generator.choice([3.0, 6.5, 9.0]))
        label, weight = plain.labels(y, months)
        sample = resamples(y, draws=0, seed=0).at(months)
        found = precision_values(sample, risk[:, None], np.zeros((y.size, 1), dtype=int))[0]
        compare(seed, found, average_precision_score(label, risk, sample_weight=weight))


@oracle(
    "Average precision within folds, also in a bootstrap sample",
    against="scikit-learn fold by fold, weights written plainly",
    covers=("average_precision.precision_values",),
)
def test_average_precision_within_folds_is_the_mean_over_cases(compare: Compare) -> None:
    """Folds weigh by their (weighted) cases; resamples are tables with repeated patients."""
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        fold = deal(y.size, 2, 3, generator)
        risk = generator.normal(size=fold.shape).round(1)
        sample = resamples(y, draws=1, seed=seed)
        found = precision_values(sample.at(6.0), risk, fold)
        for counts, value in zip(sample.counts, found, strict=True):
            rows = plain.drawn_rows(counts)
            label, weight = plain.labels(y[rows], 6.0)
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
            compare(seed, value, total / (2 * (weight * label).sum()))
