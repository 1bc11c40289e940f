"""Ridge-penalised Cox regression by Newton's method.

Minimises -(partial log-likelihood, Efron ties) / n + penalty / 2 * |beta|^2. Codes other than 1 are censored: the
hazard is cause-specific.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome

_MAX_STEPS = 100
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class RiskSets:
    """Rows in order of descending time, and the tie groups of events; found once per data set."""

    order: np.ndarray
    event: np.ndarray
    group: np.ndarray
    """Group of equal times of each ordered row, 0 = latest."""
    last: np.ndarray
    """Last ordered row of each group."""
    tied: np.ndarray
    """For each event in order of its group: (group, rank among the tied events / their number)."""


def risk_sets(y: Outcome) -> RiskSets:
    """Sort the outcomes for :func:`fit_ridge_cox`."""
    order = np.argsort(-y["months"], kind="stable")
    months, event = y["months"][order], y["event"][order] == 1
    group = np.concatenate(([0], np.cumsum(np.diff(months) != 0)))
    last = np.flatnonzero(np.append(np.diff(group) != 0, True))
    counts = np.bincount(group[event], minlength=last.size)
    tied = np.array([(g, rank / m) for g, m in enumerate(counts) for rank in range(m)]).reshape(-1, 2)
    return RiskSets(order, event, group, last, tied)


def objective(X: Floats, sets: RiskSets, beta: Floats, penalty: float) -> tuple[float, Floats, Floats]:
    """Value, gradient and Hessian of the penalised objective; ``X`` in the order of ``sets``."""
    n = X.shape[0]
    linear = X @ beta
    shift = linear.max()
    weight = np.exp(linear - shift)
    group, share = sets.tied[:, 0].astype(int), sets.tied[:, 1]

    def totals(values: Floats) -> tuple[Floats, Floats]:
        """Sum over the risk set, and over the tied events, of each group."""
        at_risk = np.cumsum(values, axis=0)[sets.last]
        events = np.zeros_like(at_risk)
        np.add.at(events, sets.group[sets.event], values[sets.event])
        return at_risk, events

    risk0, tied0 = totals(weight)
    risk1, tied1 = totals(X * weight[:, None])
    phi = risk0[group] - share * tied0[group]
    mean = (risk1[group] - share[:, None] * tied1[group]) / phi[:, None]
    value = float(np.log(phi).sum() + shift * phi.size - linear[sets.event].sum())
    gradient = mean.sum(axis=0) - X[sets.event].sum(axis=0)
    # Each row enters the risk set of every event at or before its own time: groups with a higher or equal number.
    full = np.bincount(group, weights=1.0 / phi, minlength=sets.last.size)
    less = np.bincount(group, weights=share / phi, minlength=sets.last.size)
    exposure = full[::-1].cumsum()[::-1][sets.group] - np.where(sets.event, less[sets.group], 0.0)
    hessian = (X * (weight * exposure)[:, None]).T @ X - mean.T @ mean
    return (
        value / n + 0.5 * penalty * float(beta @ beta),
        gradient / n + penalty * beta,
        hessian / n + penalty * np.eye(beta.size),
    )


def fit_ridge_cox(X: Floats, sets: RiskSets, penalty: float, *, start: Floats | None = None) -> Floats:
    """Coefficients (log hazard ratios per unit of X).

    Parameters
    ----------
    X
        n x p, finite, in the row order of the outcomes ``sets`` was made from.
    sets
        From :func:`risk_sets`; needs at least one event.
    penalty
        Ridge penalty per patient, > 0.
    start
        Coefficients to start from.

    Raises
    ------
    InputError
        If Newton's method does not converge.
    """
    ordered = X[sets.order]
    beta = np.zeros(X.shape[1]) if start is None else np.array(start, dtype=float)
    value, gradient, hessian = objective(ordered, sets, beta, penalty)
    for _ in range(_MAX_STEPS):
        if np.abs(gradient).max(initial=0.0) < _TOLERANCE:
            return beta
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while True:
            candidate = beta - size * step
            new = objective(ordered, sets, candidate, penalty)
            # The slack admits steps lost in rounding close to the optimum.
            if new[0] <= value + 1e-12 * (1.0 + abs(value)):
                break
            size /= 2.0
            if size < 1e-10:
                raise InputError("the Cox regression does not converge", got=f"gradient {np.abs(gradient).max():.2g}")
        beta, (value, gradient, hessian) = candidate, new
    raise InputError("the Cox regression does not converge", got=f"gradient {np.abs(gradient).max():.2g}")
