"""Proportional hazards by the partial likelihood: cause-specific (Cox) and of the subdistribution (Fine and Gray).

The loss is -(partial log-likelihood, Efron ties) / n. Cause-specific: codes other than 1 are censored. Subdistribution:
who had the competing event stays at risk of the event, with the probability of not having been censored since.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.incidence import censoring_survival
from radiomics_crlm.evaluation.outcome import Floats, Outcome

_MAX_STEPS = 100
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class RiskSets:
    """Rows in order of descending time, and the tie groups of events; found once per data set."""

    order: np.ndarray
    event: np.ndarray
    """Whether each ordered row has the event."""
    first: np.ndarray
    """Position, among the distinct event times (latest first), of the first that each ordered row is at risk at."""
    last: np.ndarray
    """Last ordered row at risk at each distinct event time."""
    events: np.ndarray
    """Ordered rows with the event."""
    start: np.ndarray
    """Where the events of each distinct event time begin among ``events``."""
    carry: Floats | None
    """1 / G(own time-) of the ordered rows that had the competing event and stay at risk, otherwise 0."""
    reach: Floats | None
    """G(event time-) of each distinct event time."""

    @cached_property
    def time(self) -> np.ndarray:
        """Distinct event time of each event."""
        counts = np.diff(np.append(self.start, self.events.size))
        return np.repeat(np.arange(self.start.size), counts)

    @cached_property
    def share(self) -> Floats:
        """Rank of each event among those of its time, divided by their number (Efron)."""
        counts = np.diff(np.append(self.start, self.events.size))
        return np.asarray((np.arange(self.events.size) - self.start[self.time]) / counts[self.time], dtype=float)

    @cached_property
    def tied(self) -> bool:
        """Whether any two events have the same time."""
        return self.start.size < self.events.size


def risk_sets(y: Outcome, *, subdistribution: bool = False) -> RiskSets:
    """Sort the outcomes (n, at least one event); ``subdistribution`` keeps those with the competing event at risk.

    The probability of being uncensored is the Kaplan-Meier curve of censoring in ``y`` itself.
    """
    order = np.argsort(-y["months"], kind="stable")
    months, event = y["months"][order], y["event"][order] == 1
    events = np.flatnonzero(event)
    times, start = np.unique(-months[events], return_index=True)
    first = np.searchsorted(times, -months, side="left")
    last = np.searchsorted(-months, times, side="right") - 1
    carry, reach = None, None
    if subdistribution and (y["event"] == 2).any():
        competing = y["event"][order] == 2
        carry = np.zeros(months.size)
        carry[competing] = 1.0 / censoring_survival(y["event"], y["months"], months[competing])
        reach = censoring_survival(y["event"], y["months"], -times)
    return RiskSets(order, event, first, last, events, start, carry, reach)


@dataclass(frozen=True, eq=False)
class PartialLikelihood:
    """Negative partial log-likelihood / n at one linear predictor (n, in the order of ``sets``)."""

    sets: RiskSets
    linear: Floats

    @cached_property
    def _shift(self) -> float:
        return float(self.linear.max())

    @cached_property
    def _weight(self) -> Floats:
        return np.exp(self.linear - self._shift)

    def _totals(self, values: Floats) -> Floats:
        """Efron's denominators: sum over those at risk at each event, less its share of the tied events."""
        sets = self.sets
        at_risk = np.cumsum(values, axis=0)[sets.last]
        if sets.carry is not None and sets.reach is not None:
            stayed = np.cumsum((values.T * sets.carry).T[::-1], axis=0)[::-1]
            stayed = np.concatenate((stayed, np.zeros((1, *stayed.shape[1:]))))[sets.last + 1]
            at_risk = at_risk + (stayed.T * sets.reach).T
        if not sets.tied:
            return at_risk
        ties = np.add.reduceat(values[sets.events], sets.start, axis=0)
        return np.asarray(at_risk[sets.time] - (ties[sets.time].T * sets.share).T)

    @cached_property
    def _phi(self) -> Floats:
        return self._totals(self._weight)

    @cached_property
    def _exposure(self) -> Floats:
        """Hazard that each row has been exposed to, times its weight: the expected events of the row."""
        sets = self.sets
        per_event = 1.0 / self._phi
        full = np.bincount(sets.time, weights=per_event, minlength=sets.start.size)
        # A row is at risk at its own time and at all earlier ones, which have higher numbers.
        reached = np.append(full[::-1].cumsum()[::-1], 0.0)[sets.first]
        if sets.tied:
            less = np.bincount(sets.time, weights=sets.share * per_event, minlength=sets.start.size)
            reached[sets.events] -= less[sets.time]
        if sets.carry is not None and sets.reach is not None:
            later = np.concatenate(([0.0], np.cumsum(full * sets.reach)))[sets.first]
            reached = reached + sets.carry * later
        return self._weight * reached

    @cached_property
    def value(self) -> float:
        """Loss."""
        total = np.log(self._phi).sum() + self._shift * self._phi.size - self.linear[self.sets.event].sum()
        return float(total) / self.linear.size

    @cached_property
    def residual(self) -> Floats:
        """Derivative by the linear predictor of each row: minus its martingale residual / n."""
        return (self._exposure - self.sets.event) / self.linear.size

    def hessian(self, X: Floats) -> Floats:
        """Second derivative by the coefficients of n x p ordered inputs."""
        mean = (self._totals(X * self._weight[:, None]).T / self._phi).T
        hessian: Floats = ((X * self._exposure[:, None]).T @ X - mean.T @ mean) / self.linear.size
        return hessian

    def baseline(self) -> Floats:
        """Breslow hazard increment (at linear predictor 0) of each distinct event time, latest first."""
        sets = self.sets
        at_risk = np.cumsum(self._weight)[sets.last]
        if sets.carry is not None and sets.reach is not None:
            stayed = np.append(np.cumsum((self._weight * sets.carry)[::-1])[::-1], 0.0)[sets.last + 1]
            at_risk = at_risk + sets.reach * stayed
        counts = np.diff(np.append(sets.start, sets.events.size))
        return np.asarray(counts / at_risk * np.exp(-self._shift))


def objective(X: Floats, sets: RiskSets, beta: Floats, penalty: float) -> tuple[float, Floats, Floats]:
    """Value, gradient and Hessian of the loss + penalty / 2 * |beta|^2; ``X`` in the order of ``sets``."""
    point = PartialLikelihood(sets, X @ beta)
    return (
        point.value + 0.5 * penalty * float(beta @ beta),
        X.T @ point.residual + penalty * beta,
        point.hessian(X) + penalty * np.eye(beta.size),
    )


def fit_ridge_cox(X: Floats, sets: RiskSets, penalty: float, *, start: Floats | None = None) -> Floats:
    """Coefficients (log hazard ratios per unit of X) that minimise the ridge-penalised loss, by Newton's method.

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
    point = PartialLikelihood(sets, ordered @ beta)
    value = point.value + 0.5 * penalty * float(beta @ beta)
    gradient = ordered.T @ point.residual + penalty * beta
    for _ in range(_MAX_STEPS):
        if np.abs(gradient).max(initial=0.0) < _TOLERANCE:
            return beta
        step = np.linalg.solve(point.hessian(ordered) + penalty * np.eye(beta.size), gradient)
        size = 1.0
        while True:
            candidate = beta - size * step
            point = PartialLikelihood(sets, ordered @ candidate)
            new = point.value + 0.5 * penalty * float(candidate @ candidate)
            # The slack admits steps lost in rounding close to the optimum.
            if new <= value + 1e-12 * (1.0 + abs(value)):
                break
            size /= 2.0
            if size < 1e-10:
                raise InputError("the Cox regression does not converge", got=f"gradient {np.abs(gradient).max():.2g}")
        beta, value = candidate, new
        gradient = ordered.T @ point.residual + penalty * beta
    raise InputError("the Cox regression does not converge", got=f"gradient {np.abs(gradient).max():.2g}")
