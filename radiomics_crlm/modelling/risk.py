"""From learner inputs to risk, and from risk to probability: the arithmetic shared by learners and frozen models.

Each row is computed by itself in one fixed order, so that a patient's numbers do not depend on who else is in the
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radiomics_crlm.evaluation.incidence import Floats, risk_table
from radiomics_crlm.evaluation.outcome import Outcome

REPORT_MONTHS = (12.0, 24.0, 36.0)
"""Times at which probabilities are reported, months."""


def linear_risk(X: Floats, coefficients: Floats, intercept: float) -> Floats:
    """Linear predictor of each row. Not a BLAS product: that may round a row differently in a larger table."""
    return np.ascontiguousarray(X * coefficients).sum(axis=1) + intercept


def logistic(risk: Floats) -> Floats:
    """Probability of log odds, without overflow.

    >>> logistic(np.array([-1000.0, 0.0])).tolist()
    [0.0, 0.5]
    """
    decay = np.exp(-np.abs(risk))
    return np.where(risk >= 0, 1.0, decay) / (1.0 + decay)


def probability_at_horizon(risk: Floats, horizon: float, months: Sequence[float]) -> Floats:
    """Probabilities of log odds at the horizon, NaN at other times."""
    out = np.full((risk.size, len(months)), np.nan)
    out[:, [month == horizon for month in months]] = logistic(risk)[:, None]
    return out


@dataclass(frozen=True)
class Baseline:
    """Hazard increments of a Cox model at each time something happened in training (months, ascending).

    ``event`` is the Breslow baseline of code 1 (at risk 0), ``competing`` the Nelson-Aalen increment of code 2,
    the same for everybody. ``last_month`` is the longest follow-up: beyond it there is no probability.
    """

    months: Floats
    event: Floats
    competing: Floats
    last_month: float


def breslow_baseline(y: Outcome, risk: npt.ArrayLike) -> Baseline:
    """Baseline hazards of a fitted Cox model.

    Parameters
    ----------
    y
        n training outcomes.
    risk
        n linear predictors of the same patients.
    """
    table = risk_table(y["event"], y["months"])
    # A common factor moved out of the exponential: large margins must not overflow.
    shift = float(np.max(risk))
    relative = np.exp(np.asarray(risk, dtype=float) - shift)
    totals = np.zeros(table.months.size)
    np.add.at(totals, np.searchsorted(table.months, y["months"]), relative)
    at_risk = totals[::-1].cumsum()[::-1]
    happened = (table.events + table.competing) > 0
    event = np.divide(table.events, at_risk, out=np.zeros(at_risk.size), where=table.events > 0) * np.exp(-shift)
    competing = table.competing / table.at_risk
    return Baseline(
        table.months[happened], event[happened], competing[happened], float(table.months[-1])
    )  # fmt: skip


def subdistribution_baseline(y: Outcome, hazard: Floats) -> Baseline:
    """Baseline of a model of the incidence itself: nothing competes with its hazard any more.

    Parameters
    ----------
    y
        n training outcomes.
    hazard
        Increment at each distinct time of code 1, latest first (``cox.PartialLikelihood.baseline``).
    """
    times = np.unique(y["months"][y["event"] == 1])
    return Baseline(times, hazard[::-1], np.zeros(times.size), float(y["months"].max()))


def by_whole_months(baseline: Baseline) -> Baseline:
    """The same cumulative hazards on a grid of whole months.

    A model is passed on, and the exact times of a baseline hazard are the event times of single patients. Hazards up
    to any whole month are unchanged; only what happened within a month is no longer told apart.
    """
    month = np.ceil(baseline.months)
    grid, position = np.unique(month, return_inverse=True)
    event, competing = np.zeros(grid.size), np.zeros(grid.size)
    np.add.at(event, position, baseline.event)
    np.add.at(competing, position, baseline.competing)
    return Baseline(grid, event, competing, float(np.floor(baseline.last_month)))


def cumulative_incidence(baseline: Baseline, risk: Floats, months: Sequence[float]) -> Floats:
    """Probability of the event by each time, with the competing event taken into account.

    CIF(t) = sum over times u <= t of S(u-) (1 - exp(-dH)) dH1/dH with dH = dH1 exp(risk) + dH2 and S the survival
    free of both: Aalen-Johansen with hazards spread over each step, hence never above 1, and 1 - exp(-H1) without
    a competing event.

    Parameters
    ----------
    baseline
        Hazards.
    risk
        n linear predictors.
    months
        Times.

    Returns
    -------
    Array n x len(months); NaN beyond the follow-up of the training data.
    """
    out = np.full((risk.size, len(months)), np.nan)
    if baseline.months.size == 0:
        return out
    # Bounded so that an absurd risk gives a hazard that is absurd but finite.
    relative = np.exp(np.minimum(risk, 600.0))
    hazard = np.minimum(relative[:, None] * baseline.event[None, :], 1e12)
    total = hazard + baseline.competing[None, :]
    before = np.exp(-(np.cumsum(total, axis=1) - total))
    share = np.divide(hazard, total, out=np.zeros_like(total), where=total > 0)
    incidence = np.minimum(np.cumsum(before * -np.expm1(-total) * share, axis=1), 1.0)
    for column, month in enumerate(months):
        if month <= baseline.last_month:
            step = int(np.searchsorted(baseline.months, month, side="right"))
            out[:, column] = incidence[:, step - 1] if step else 0.0
    return out
