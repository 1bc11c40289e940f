"""Distributions of the logarithm of the time to the event, for accelerated failure times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import expit, log_ndtr, ndtr

from radiomics_crlm.evaluation.outcome import Floats, Outcome

Distribution = Literal["normal", "logistic", "extreme"]
DISTRIBUTIONS = get_args(Distribution)
_SHORTEST = 1.0 / 60.0
"""Months (half a day); a time of 0 has no logarithm."""
_SCALES = (0.1, 5.0)
_LARGEST = 600.0


@dataclass(frozen=True)
class LogTime:
    """log(time) = mean + scale * Z with a standard distribution of Z; nothing is said beyond ``last_month``."""

    distribution: Distribution
    scale: float
    last_month: float


def log_months(y: Outcome) -> Floats:
    """Logarithm of the months, times below half a day taken as half a day."""
    return np.log(np.maximum(y["months"], _SHORTEST))


def fit_log_time(y: Outcome, distribution: Distribution) -> tuple[float, LogTime]:
    """Maximum-likelihood mean and scale of the logarithm of the time, without inputs; codes other than 1 are censored.

    Returns
    -------
    mean, distribution
        The scale is kept between 0.1 and 5.
    """
    times, event = log_months(y), y["event"] == 1

    def loss(parameters: Floats) -> tuple[float, Floats]:
        mean, scale = parameters[0], np.exp(parameters[1])
        z = (times - mean) / scale
        log_density, log_survival = _LIKELIHOODS[distribution](z)
        part = np.where(event, log_density[0] - parameters[1], log_survival[0])
        slope = np.where(event, log_density[1], log_survival[1])
        gradient = np.array([(slope / scale).sum(), (slope * z).sum() + event.sum()])
        return -float(part.sum()) / times.size, gradient / times.size

    start = np.array([times[event].mean(), 0.0])
    bounds = [(start[0] - 10.0, start[0] + 10.0), tuple(np.log(_SCALES))]
    from scipy.optimize import minimize  # slow to load, and predictions do without

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-10})
    return float(found.x[0]), LogTime(distribution, float(np.exp(found.x[1])), float(np.floor(y["months"].max())))


def time_probability(time: LogTime, risk: Floats, months: Sequence[float]) -> Floats:
    """Probability that the time is at most each of ``months``; NaN beyond the follow-up of the training data.

    Parameters
    ----------
    time
        Distribution.
    risk
        n values of minus the mean logarithm of the time.
    months
        Times, > 0.

    Returns
    -------
    Array n x len(months), rising with the months and the risk.
    """
    out = np.full((risk.size, len(months)), np.nan)
    for column, month in enumerate(months):
        if month <= time.last_month:
            z = np.clip((np.log(month) + risk) / time.scale, -_LARGEST, _LARGEST)
            out[:, column] = _CUMULATIVE[time.distribution](z)
    return out


_Parts = tuple[tuple[Floats, Floats], tuple[Floats, Floats]]


def _normal(z: Floats) -> _Parts:
    """Logarithms of density and survival, each with its derivative."""
    density, survival = -0.5 * z**2 - 0.5 * np.log(2.0 * np.pi), log_ndtr(-z)
    return (density, -z), (survival, -np.exp(density - survival))


def _logistic(z: Floats) -> _Parts:
    softplus, p = np.logaddexp(0.0, z), expit(z)
    return (z - 2.0 * softplus, 1.0 - 2.0 * p), (-softplus, -p)


def _extreme(z: Floats) -> _Parts:
    hazard = np.exp(np.minimum(z, _LARGEST))
    return (z - hazard, 1.0 - hazard), (-hazard, -hazard)


_LIKELIHOODS: dict[str, Callable[[Floats], _Parts]] = {"normal": _normal, "logistic": _logistic, "extreme": _extreme}
_CUMULATIVE: dict[str, Callable[[Floats], Floats]] = {
    "normal": ndtr,
    "logistic": expit,
    "extreme": lambda z: -np.expm1(-np.exp(z)),
}
