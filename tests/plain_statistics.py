"""Textbook statistics of censored outcomes, written deliberately plainly and without the package's own functions.

At equal times events come before censoring.
"""

from __future__ import annotations

import numpy as np

Outcome = np.ndarray


def uncensored(y: Outcome, month: float) -> float:
    """Probability of being uncensored just before a time: Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452."""
    probability = 1.0
    for time in np.unique(y["months"][(y["event"] == 0) & (y["months"] < month)]):
        now = (y["months"] == time) & (y["event"] == 0)
        at_risk = (y["months"] > time) | now
        probability *= 1 - now.sum() / at_risk.sum()
    return float(probability)


def labels(y: Outcome, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Label at a horizon and its weight: Graf et al. 1999,
    doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5."""
    label, weight = np.zeros(y.size), np.zeros(y.size)
    for i, (event, month) in enumerate(y):
        if event == 0 and month < horizon:
            continue
        label[i] = float(event == 1 and month <= horizon)
        weight[i] = 1 / uncensored(y, min(month, horizon))
    return label, weight


def incidence(y: Outcome, month: float) -> float:
    """Aalen and Johansen 1978: incidence of code 1 by a time, code 2 competing."""
    free, found = 1.0, 0.0
    for time in np.unique(y["months"][(y["event"] > 0) & (y["months"] <= month)]):
        at_risk = (y["months"] >= time).sum()
        now = y["event"][y["months"] == time]
        found += free * (now == 1).sum() / at_risk
        free *= 1 - (now > 0).sum() / at_risk
    return float(found)


def agreement(a: float, b: float) -> float:
    """1 for the higher risk, 1/2 for a tie."""
    return 1.0 if a > b else 0.5 if a == b else 0.0


def concordance(y: Outcome, risk: np.ndarray, fold: np.ndarray | None = None) -> float:
    """Harrell's C read off its definition, one pair at a time, within folds:
    doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4."""
    agreed = total = 0.0
    for i in range(y.size):
        for j in range(y.size):
            if y["event"][i] != 1 or (fold is not None and fold[i] != fold[j]):
                continue
            earlier = y["months"][i] < y["months"][j]
            together = y["months"][i] == y["months"][j] and y["event"][j] != 1
            if earlier or together:
                total += 1
                agreed += agreement(risk[i], risk[j])
    return agreed / total if total else float("nan")


def auc_by_horizon(y: Outcome, risk: np.ndarray, horizon: float, fold: np.ndarray | None = None) -> float:
    """Blanche et al. 2013 (doi:10.1002/sim.5958), definition 2: cases against everybody else whose label is known."""
    label, weight = labels(y, horizon)
    agreed = total = 0.0
    for i in np.flatnonzero(label == 1):
        for j in np.flatnonzero((label == 0) & (weight > 0)):
            if fold is None or fold[i] == fold[j]:
                total += weight[i] * weight[j]
                agreed += weight[i] * weight[j] * agreement(risk[i], risk[j])
    return agreed / total if total else float("nan")


def quantile(values: np.ndarray, share: float) -> float:
    """Linear interpolation between order statistics: type 7 of Hyndman and Fan 1996, doi:10.2307/2684934."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def percentile_limits(values: np.ndarray) -> list[float]:
    """95 % percentile interval: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13."""
    return [quantile(values, 0.025), quantile(values, 0.975)]


def drawn_rows(counts: np.ndarray) -> np.ndarray:
    """Rows of the table in which patients are repeated as often as drawn."""
    return np.repeat(np.arange(counts.size), counts.astype(int))
