"""Nonparametric curves: Kaplan-Meier, Nelson-Aalen, Aalen-Johansen, and the distribution of censoring.

All take ``event`` (0 censored, 1 event, 2 competing) and ``months``. At equal times events come before censoring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class RiskTable:
    """Counts at each distinct time, ascending: at risk just before it, events, competing events, censored."""

    months: Floats
    at_risk: Floats
    events: Floats
    competing: Floats
    censored: Floats


@dataclass(frozen=True)
class Curve:
    """A right-continuous step function of time with pointwise 95 % limits; ``initial`` holds before the first time."""

    months: Floats
    value: Floats
    lower: Floats
    upper: Floats
    initial: float

    def at(self, months: npt.ArrayLike) -> Floats:
        """Value at each of ``months``."""
        return self._step(self.value, months)

    def limits_at(self, months: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Lower and upper 95 % limit at each of ``months``."""
        return self._step(self.lower, months), self._step(self.upper, months)

    def _step(self, values: Floats, months: npt.ArrayLike) -> Floats:
        return step_at(self.months, values, months, initial=self.initial)


def step_at(knots: Floats, values: Floats, months: npt.ArrayLike, *, initial: float) -> Floats:
    """Value of a right-continuous step function (``values`` from ``knots`` on, ``initial`` before) at ``months``."""
    position = np.searchsorted(knots, np.asarray(months, dtype=float), side="right")
    return np.concatenate(([initial], values))[position]


def risk_table(event: npt.NDArray[Any], months: npt.NDArray[Any]) -> RiskTable:
    """Counts at each distinct time."""
    times, where = np.unique(np.asarray(months, dtype=float), return_inverse=True)
    counts = np.zeros((3, times.size))
    np.add.at(counts, (np.asarray(event, dtype=int), where), 1.0)
    leaving = counts.sum(axis=0)
    at_risk = leaving[::-1].cumsum()[::-1]
    return RiskTable(times, at_risk, counts[1], counts[2], counts[0])


def kaplan_meier(event: npt.NDArray[Any], months: npt.NDArray[Any]) -> Curve:
    """Kaplan-Meier probability of being free of code 1; other codes count as censored. Log(-log) limits (Greenwood).

    With a competing event, 1 - Kaplan-Meier is no probability of anything: use :func:`aalen_johansen`.
    """
    table = risk_table(event, months)
    survival = np.asarray(np.cumprod(1.0 - table.events / table.at_risk), dtype=float)
    left = table.at_risk - table.events
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(np.where(table.events > 0, table.events / (table.at_risk * left), 0.0))
        spread = Z95 * np.sqrt(greenwood) / np.abs(np.log(survival))
        lower, upper = survival ** np.exp(spread), survival ** np.exp(-spread)
    lower, upper = _settle(survival, lower, upper)
    return Curve(table.months, survival, lower, upper, 1.0)


def nelson_aalen(event: npt.NDArray[Any], months: npt.NDArray[Any], code: int = 1) -> Curve:
    """Nelson-Aalen cumulative hazard of one code (ties: d/Y); no limits are given (they equal the value)."""
    table = risk_table(event, months)
    hazard = np.cumsum((table.events if code == 1 else table.competing) / table.at_risk)
    return Curve(table.months, hazard, hazard, hazard, 0.0)


def aalen_johansen(event: npt.NDArray[Any], months: npt.NDArray[Any]) -> Curve:
    """Aalen-Johansen cumulative incidence of code 1, code 2 competing.

    Limits are log(-log) with the delta-method variance (Marubini and Valsecchi 1995, section 10.3). While the
    incidence is 0 the limits are 0 and 1 - 0.025^(1/n), the exact limit for 0 of n.
    """
    table = risk_table(event, months)
    hazard = table.events / table.at_risk
    both = table.events + table.competing
    survival = np.cumprod(1.0 - both / table.at_risk)
    before = np.concatenate(([1.0], survival[:-1]))
    incidence = np.cumsum(before * hazard)
    deviation = np.sqrt(_incidence_variance(table, both, before, incidence))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = Z95 * deviation / (incidence * np.abs(np.log(incidence)))
        lower, upper = incidence ** np.exp(spread), incidence ** np.exp(-spread)
    lower, upper = _settle(incidence, lower, upper)
    upper = np.where(incidence == 0.0, 1.0 - 0.025 ** (1.0 / len(event)), upper)
    return Curve(table.months, incidence, lower, upper, 0.0)


def _incidence_variance(table: RiskTable, both: Floats, before: Floats, incidence: Floats) -> Floats:
    """Delta-method variance; sums over earlier times are expanded into running sums, so it is linear in the times."""
    at_risk, left = table.at_risk, table.at_risk - both
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(left > 0, both / (at_risk * left), 0.0)
    b = before**2 * table.events * (at_risk - table.events) / at_risk**3
    c = before * table.events / at_risk**2
    f = incidence
    squared = f**2 * np.cumsum(a) - 2 * f * np.cumsum(f * a) + np.cumsum(f**2 * a)
    crossed = f * np.cumsum(c) - np.cumsum(f * c)
    return np.maximum(squared + np.cumsum(b) - 2 * crossed, 0.0)


def _settle(value: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """At 0 and 1 the transformation is undefined: the limits equal the value there."""
    edge = (value <= 0.0) | (value >= 1.0) | ~np.isfinite(lower) | ~np.isfinite(upper)
    return np.where(edge, value, lower), np.where(edge, value, upper)


def censoring_survival(event: npt.NDArray[Any], months: npt.NDArray[Any], at: npt.ArrayLike) -> Floats:
    """Probability of being uncensored just before each time of ``at``: the left limit G(t-) of the Kaplan-Meier
    of censoring.

    Those who have an event at a time have left before the censoring at that time.
    """
    table = risk_table(event, months)
    exposed = table.at_risk - table.events - table.competing
    hazard = np.divide(table.censored, exposed, out=np.zeros_like(exposed), where=table.censored > 0)
    survival = np.concatenate(([1.0], np.cumprod(1.0 - hazard)))
    return survival[np.searchsorted(table.months, np.asarray(at, dtype=float), side="left")]


def resampled_censoring_survival(y: npt.NDArray[Any], at: npt.ArrayLike, counts: Floats) -> Floats:
    """Probability of being uncensored just before a time of each patient, estimated anew in each resample.

    Parameters
    ----------
    y
        n outcomes (fields ``event`` and ``months``).
    at
        n times, one per patient.
    counts
        Resamples x n: how often each resample holds each patient.

    Returns
    -------
    Array resamples x n. With all counts 1 it is :func:`censoring_survival` at ``at``. In a resample that holds the
    patient, it is positive for times up to the patient's own.
    """
    times, first, order = _by_time(y["months"])
    leaving = np.add.reduceat(counts[:, order], first, axis=1)
    censored = np.add.reduceat((counts * (y["event"] == 0))[:, order], first, axis=1)
    at_risk = leaving[:, ::-1].cumsum(axis=1)[:, ::-1]
    exposed = at_risk - leaving + censored
    hazard = np.divide(censored, exposed, out=np.zeros_like(exposed), where=censored > 0)
    survival = np.column_stack((np.ones(len(counts)), np.cumprod(1.0 - hazard, axis=1)))
    return survival[:, np.searchsorted(times, np.asarray(at, dtype=float), side="left")]


def resampled_incidence(y: npt.NDArray[Any], month: float, counts: Floats) -> Floats:
    """Aalen-Johansen incidence of code 1 at a time in each resample (length resamples; parameters as above).

    NaN where it is not determined: nobody of the resample is followed to the time, and the last to leave before it is
    censored. An empty resample has no incidence either.
    """
    inside = y["months"] <= month
    total = counts.sum(axis=1)
    if not inside.any():
        return np.where(total > 0, 0.0, np.nan)
    _, first, order = _by_time(y["months"][inside])
    held, event = counts[:, inside][:, order], y["event"][inside][order]
    leaving, ours, rival = (
        np.add.reduceat(held * chosen, first, axis=1) for chosen in (event >= 0, event == 1, event == 2)
    )
    at_risk = total[:, None] - np.column_stack((np.zeros(len(counts)), leaving[:, :-1].cumsum(axis=1)))
    exposed = np.maximum(at_risk, 1.0)  # nobody left: nothing happens either
    survival = np.cumprod(1.0 - (ours + rival) / exposed, axis=1)
    before = np.column_stack((np.ones(len(counts)), survival[:, :-1]))
    incidence = (before * ours / exposed).sum(axis=1)
    followed = counts @ (y["months"] >= month) > 0
    return np.where((total > 0) & (followed | (survival[:, -1] <= 0.0)), incidence, np.nan)


def _by_time(months: npt.NDArray[Any]) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Distinct times, the position of the first patient of each in the order of time, and that order."""
    order = np.argsort(months, kind="stable")
    times, first = np.unique(np.asarray(months, dtype=float)[order], return_index=True)
    return times, first, order
