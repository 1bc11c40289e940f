"""Do predicted probabilities mean what they say, at one horizon.

Probabilities are of code 1 within ``horizon`` months with code 2 competing. Censoring before the horizon is
handled by inverse-probability-of-censoring weights estimated in the patients evaluated
(``outcome.horizon_labels``); patients predicted several times (repeats) are one cluster. Probabilities have
shape n x repeats.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.incidence import Z95, aalen_johansen
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.evaluation.resampling import NOTHING, Estimate

_PROBABILITY_FLOOR = 1e-6
"""Probabilities of exactly 0 or 1 have no logit; they are moved this far inside."""
_MOST_STEPS = 50
_WORST_CONDITION = 1e12
"""Of the information matrix: beyond it, the data do not say where the maximum lies (separation)."""


def check_probability(probability: npt.ArrayLike, n: int) -> Floats:
    """Probabilities as n x repeats.

    Raises
    ------
    InputError
        If there are not n rows, or a value is missing or outside 0 to 1.
    """
    p = np.asarray(probability, dtype=float)
    p = p[:, None] if p.ndim == 1 else p
    if p.ndim != 2 or p.shape[0] != n:
        raise InputError("probabilities and outcome have different lengths", expected=str(n), got=str(p.shape))
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise InputError(f"{int(bad.sum())} probabilities are missing or outside 0 to 1", where="probability")
    return p


def calibration_groups(y: Outcome, probability: npt.ArrayLike, horizon: float, *, groups: int = 5) -> pd.DataFrame:
    """Predicted and observed incidence in groups of similar prediction (quantiles; equal predictions stay together).

    Patients are grouped by the mean of their out-of-fold probabilities.

    Parameters
    ----------
    y
        n outcomes.
    probability
        n or n x repeats.
    horizon
        Months.
    groups
        At most this many groups.

    Returns
    -------
    DataFrame
        ``group, n, predicted, observed, lower, upper``; observed is the Aalen-Johansen incidence at the
        horizon with 95 % limits.
    """
    mean = check_probability(probability, y.size).mean(axis=1)
    edges = np.unique(np.quantile(mean, np.linspace(0, 1, groups + 1)[1:-1]))
    member = np.searchsorted(edges, mean, side="left")
    rows = []
    for number, group in enumerate(np.unique(member)):
        inside = member == group
        curve = aalen_johansen(y["event"][inside], y["months"][inside])
        lower, upper = curve.limits_at([horizon])
        observed = float(curve.at([horizon])[0])
        # Before the first observed time the curve knows no limits: nothing was seen in this group.
        if horizon < curve.months[0]:
            lower, upper = np.zeros(1), np.array([1.0 - 0.025 ** (1.0 / inside.sum())])
        rows.append((number, int(inside.sum()), float(mean[inside].mean()), observed, float(lower[0]), float(upper[0])))
    return pd.DataFrame(rows, columns=["group", "n", "predicted", "observed", "lower", "upper"])


def calibration_line(y: Outcome, probability: npt.ArrayLike, horizon: float) -> tuple[Estimate, Estimate]:
    """Calibration slope (1 is ideal, below 1 = too extreme) and intercept (0 is ideal, above 0 = risks too low).

    Weighted logistic regression of the horizon label on the logit of the prediction; the intercept is that of a
    second fit with the slope fixed at 1. Limits: sandwich variance, clustered by patient. NaN where a fit does
    not exist (separation).

    Parameters
    ----------
    y
        n outcomes.
    probability
        n or n x repeats.
    horizon
        Months.
    """
    p = check_probability(probability, y.size)
    label, w = horizon_labels(y, horizon)
    n, repeats = p.shape
    inside = np.clip(p.ravel(), _PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)
    logit = np.log(inside / (1 - inside))
    target, weight, cluster = np.repeat(label, repeats), np.repeat(w, repeats), np.repeat(np.arange(n), repeats)
    one = np.ones_like(logit)
    free = _clustered_logistic(np.column_stack((one, logit)), target, weight, np.zeros_like(logit), cluster)
    shifted = _clustered_logistic(one[:, None], target, weight, logit, cluster)
    return free[-1], shifted[0]


def _clustered_logistic(
    X: Floats, target: Floats, weight: Floats, offset: Floats, cluster: npt.NDArray[np.int64]
) -> list[Estimate]:
    """Weighted logistic regression by Newton steps; estimates with clustered sandwich limits, NaN without
    convergence."""

    def slopes(at: Floats) -> tuple[Floats, Floats]:
        fitted = 1.0 / (1.0 + np.exp(-np.clip(offset + X @ at, -500, 500)))
        score = X * (weight * (target - fitted))[:, None]
        return score, (X * (weight * fitted * (1 - fitted))[:, None]).T @ X

    def loss(at: Floats) -> float:
        linear = offset + X @ at
        return float((weight * (np.logaddexp(0.0, linear) - target * linear)).sum())

    beta, left = np.zeros(X.shape[1]), _MOST_STEPS
    score, information = slopes(beta)
    while left and np.linalg.cond(information) <= _WORST_CONDITION:
        step = np.linalg.solve(information, score.sum(axis=0))
        # Full steps may circle the maximum: as much of one as does not lower the likelihood by more than rounding.
        here = loss(beta)
        while loss(beta + step) > here + 1e-9 * max(1.0, here):
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            return _with_limits(beta, score, information, cluster)
        left -= 1
        score, information = slopes(beta)
    return [NOTHING for _ in beta]


def _with_limits(beta: Floats, score: Floats, information: Floats, cluster: npt.NDArray[np.int64]) -> list[Estimate]:
    summed = np.zeros((int(cluster.max()) + 1, beta.size))
    np.add.at(summed, cluster, score)
    bread = np.linalg.inv(information)
    deviation = np.sqrt(np.diag(bread @ summed.T @ summed @ bread))
    return [Estimate(float(b), float(b - Z95 * s), float(b + Z95 * s)) for b, s in zip(beta, deviation, strict=True)]
