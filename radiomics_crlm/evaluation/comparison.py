"""Paired comparison of two models or scores on the same patients, folds and bootstrap draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.bench import Bench, Flags, count_events, followed_to
from radiomics_crlm.evaluation.fold_intervals import difference as fold_difference
from radiomics_crlm.evaluation.fold_intervals import fold_scores, nadeau_bengio
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome
from radiomics_crlm.evaluation.permutation import holm, permutation_p, rank_gains
from radiomics_crlm.evaluation.ranking import primary, within_folds
from radiomics_crlm.evaluation.resampling import NOTHING, Estimate, Ints, percentile_estimate, resamples
from radiomics_crlm.evaluation.survival_scores import squared_losses

COMPARISONS = [
    "endpoint", "model", "reference", "metric", "n", "events", "difference", "lower", "upper", "p_value",
    "p_permutation", "p_holm", "method", "note",
]  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Difference (first minus second) on the patients both assess; NaN if it cannot be computed.

    ``p_value`` is that of the bootstrap, ``p_permutation`` that of swapping the two scores patient by patient.
    """

    difference: Estimate
    p_value: float
    p_permutation: float
    n: int
    events: int


def paired_difference(value: float, first: Floats, second: Floats) -> tuple[Estimate, float]:
    """Interval and two-sided bootstrap p-value of a difference from replicates of the same draws.

    p = 2 min(#{d <= 0} + 1, #{d >= 0} + 1) / (draws + 1), at most 1.

    >>> paired_difference(0.0, np.zeros(99), np.zeros(99))
    (Estimate(value=0.0, lower=0.0, upper=0.0), 1.0)
    """
    replicates = first - second
    estimate = percentile_estimate(value, replicates)
    if not np.isfinite(estimate.lower):
        return estimate, float("nan")
    d = replicates[np.isfinite(replicates)]
    tail = min((d <= 0).sum(), (d >= 0).sum())
    return estimate, float(min(1.0, 2.0 * (tail + 1) / (d.size + 1)))


def compare(
    y: Outcome,
    first: Floats,
    second: Floats,
    fold: Ints,
    *,
    kind: Kind,
    horizon: float | None,
    seed: int,
    draws: int = 2000,
) -> Comparison:
    """Difference in within-fold concordance between two scores, on the patients that have both.

    Parameters
    ----------
    y
        n outcomes.
    first, second
        n x repeats, higher = event more likely; NaN (in any repeat) where a patient is not assessed.
    fold
        n x repeats, outer test fold.
    kind, horizon
        Statistic: Harrell's C, or the AUC at a horizon in months.
    seed, draws
        Bootstrap over patients, and permutations.

    Raises
    ------
    InputError
        For shapes that differ.
    """
    if not (first.shape == second.shape == fold.shape) or first.shape[:1] != y.shape:
        raise InputError("scores have different shapes", got=f"{y.shape}, {first.shape}, {second.shape}, {fold.shape}")
    both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    n = int(both.sum())
    if n == 0:
        return Comparison(NOTHING, float("nan"), float("nan"), n, 0)
    sample = resamples(y[both], draws=draws, seed=seed)
    statistic = primary(y[both], kind, horizon)
    a, b = (within_folds(statistic, score[both], fold[both], sample) for score in (first, second))
    difference, p_value = paired_difference(float(a[0] - b[0]), a[1:], b[1:])
    gains = rank_gains(statistic, first[both], second[both], fold[both], sample)
    swapped = permutation_p(gains, draws=draws, seed=seed)
    return Comparison(difference, p_value, swapped, n, count_events(y[both], horizon))


def comparison_table(bench: Bench) -> pd.DataFrame:
    """All pairs of models and scores of a bench, in the columns of the table ``comparisons``.

    A model is set against each rule, and the later of two models or rules against the earlier (richer feature sets come
    later). Rules with probabilities are compared with models by their Brier scores only: their ranks are those of the
    rules. Holm's correction is for the pairs with a model, and apart from them for those of rules, of one metric.
    """
    rows = []
    for model, reference in _pairs(bench):
        roles = {bench.scores[model].role, bench.scores[reference].role}
        if "rule_model" not in roles:
            rows.append(_ranks(bench, model, reference))
            if "model" in roles and bench.random_folds:
                rows.append(_folds(bench, model, reference))
        if brier := _brier(bench, model, reference):
            rows.append(brier)
    table = pd.DataFrame(rows, columns=[c for c in COMPARISONS if c not in ("endpoint", "p_holm")])
    table = table.assign(endpoint=bench.endpoint, p_holm=np.nan)
    p = table["p_permutation"].where(table["p_permutation"].notna(), table["p_value"]).astype(float)
    fitted = [bench.scores[m].role == "model" for m in table["model"]]
    for _, family in table.groupby(["metric", pd.Series(fitted, index=table.index, dtype=bool)], sort=False):
        table.loc[family.index, "p_holm"] = holm(p.loc[family.index])
    return table[COMPARISONS]


def _pairs(bench: Bench) -> list[tuple[str, str]]:
    names = list(bench.scores)
    role = {name: score.role for name, score in bench.scores.items()}
    earlier_first = [(a, b) for i, b in enumerate(names) for a in names[:i]]
    wanted = [(a, b) for a, b in earlier_first if role[a] == "model" or role[a] == role[b] == "rule"]
    return [(b, a) if role[a] == role[b] else (a, b) for a, b in wanted]


def _row(
    bench: Bench, names: tuple[str, str], metric: str, rows: Flags, estimate: Estimate,
    p: tuple[float, float], method: str, months: float | None, note: str | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    known = np.isfinite(estimate.value)
    shown = estimate if known else NOTHING
    events = count_events(bench.y[rows], months) if rows.any() else 0
    method = method if known else "not_computable"
    return (*names, metric, int(rows.sum()), events, shown.value, shown.lower, shown.upper, *p, method, note)


def _ranks(bench: Bench, model: str, reference: str) -> tuple[Any, ...]:
    rows = bench.assessed(model) & bench.assessed(reference)
    a, b = (bench.rank(bench.metric, name, rows) for name in (model, reference))
    difference, p_value = paired_difference(float(a[0] - b[0]), a[1:], b[1:])
    swapped = float("nan")
    if rows.any():
        first, second = (bench.scores[name].risk[rows] for name in (model, reference))
        gains = rank_gains(bench.statistic(bench.metric, rows), first, second, bench.fold[rows], bench.sample(rows))
        swapped = permutation_p(gains, draws=bench.draws, seed=bench.seed)
    p = (p_value, swapped)
    return _row(bench, (model, reference), bench.metric, rows, difference, p, "within_fold", bench.horizon)


def _folds(bench: Bench, model: str, reference: str) -> tuple[Any, ...]:
    rows = bench.assessed(model) & bench.assessed(reference)
    estimate, p_value, note = NOTHING, float("nan"), None
    if rows.any():
        statistic, sample, fold = bench.statistic(bench.metric, rows), bench.sample(rows), bench.fold[rows]
        a, b = (fold_scores(statistic, bench.scores[n].risk[rows], fold, sample) for n in (model, reference))
        found = fold_difference(a, b)
        estimate, p_value = nadeau_bengio(found, lowest=-1.0, highest=1.0)
        note = folds_note(found.skipped, found.scores.size)
    p = (p_value, float("nan"))
    metric = f"{bench.metric}_folds"
    return _row(bench, (model, reference), metric, rows, estimate, p, "fold_mean", bench.horizon, note)


def folds_note(skipped: int, folds: int) -> str | None:
    """What to say of folds without a comparable pair; nothing if there are none."""
    return f"{skipped} of {folds} folds have no comparable pair" if skipped else None


def _brier(bench: Bench, model: str, reference: str) -> tuple[Any, ...] | None:
    """Difference in Brier score; None unless both give probabilities."""
    months, names = bench.judged_at, (model, reference)
    rows = bench.assessed(model, months) & bench.assessed(reference, months)
    if not rows.any() or not followed_to(bench.y[rows], months):
        return None
    sample = bench.at(rows, months)
    p = [bench.scores[name].probability[months][rows] for name in names]
    a, b = (bench.brier(name, rows, months) for name in names)
    difference, p_value = paired_difference(float(a[0] - b[0]), a[1:], b[1:])
    gains = sample.weights[0] * (squared_losses(sample, p[0]) - squared_losses(sample, p[1])) / int(rows.sum())
    p_values = (p_value, permutation_p(gains, draws=bench.draws, seed=bench.seed))
    return _row(bench, names, "brier", rows, difference, p_values, "out_of_fold", months)
