"""Paired comparison of two models or scores on the same patients, folds and bootstrap draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import endpoint_pairs
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, horizon_labels
from radiomics_crlm.evaluation.resampling import (
    Estimate,
    Ints,
    bootstrap_weights,
    percentile_estimate,
    stratified_concordance,
)


@dataclass(frozen=True)
class Comparison:
    """Difference (first minus second) on the patients both assess; NaN if it cannot be computed."""

    difference: Estimate
    p_value: float
    n: int
    events: int


def count_events(y: Outcome, horizon: float | None) -> int:
    """Patients with the event, by the horizon where there is one."""
    return int((y["event"] == 1).sum() if horizon is None else horizon_labels(y, horizon)[0].sum())


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
        Bootstrap over patients.

    Raises
    ------
    InputError
        For shapes that differ.
    """
    if not (first.shape == second.shape == fold.shape) or first.shape[:1] != y.shape:
        raise InputError("scores have different shapes", got=f"{y.shape}, {first.shape}, {second.shape}, {fold.shape}")
    both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    n = int(both.sum())
    nothing = Comparison(Estimate(*[float("nan")] * 3), float("nan"), n, 0)
    if n == 0:
        return nothing
    pairs = endpoint_pairs(y[both], kind, horizon)
    a = stratified_concordance(pairs, first[both], fold[both])
    b = stratified_concordance(pairs, second[both], fold[both])
    weights = bootstrap_weights(n, draws, seed)
    difference, p_value = paired_difference(
        a.estimate() - b.estimate(), a.replicates(weights), b.replicates(weights)
    )  # fmt: skip
    return Comparison(difference, p_value, n, count_events(y[both], horizon))
