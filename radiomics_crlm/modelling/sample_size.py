"""How many patients a prediction model needs: events per variable and the criteria of Riley et al.

A panel to be read before anything is fitted, not a refusal. The criteria are for models without penalty and for the
number of candidate inputs, before any selection; penalties soften a shortage but do not remove it.

References
----------
Riley et al. 2019 (binary and time to event), doi:10.1002/sim.7992; Riley et al. 2020, doi:10.1136/bmj.m441.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.evaluation.outcome import Kind, Outcome, horizon_labels

SHRINKAGE = 0.9
OPTIMISM = 0.05
PRECISION = 0.05
R2_SHARE = 0.15
"""Anticipated share of the largest possible R2 where nothing better is known (Riley et al. 2020)."""
_Z = 1.96


@dataclass(frozen=True)
class Anticipation:
    """What is assumed before the study.

    Parameters
    ----------
    r2_share
        Anticipated Cox-Snell R2 as a share of the largest possible.
    shrinkage
        Smallest admissible expected shrinkage of the predictor effects.
    timepoint
        Months at which the overall risk of a time-to-event endpoint is to be estimated.

    Raises
    ------
    ConfigError
        If a share is not between 0 and 1, or the time is not positive.
    """

    r2_share: float = R2_SHARE
    shrinkage: float = SHRINKAGE
    timepoint: float = 24.0

    def __post_init__(self) -> None:
        if not (0 < self.r2_share < 1 and 0 < self.shrinkage < 1 and self.timepoint > 0):
            raise ConfigError(
                "what is anticipated is out of range", where="sample size",
                expected="shares between 0 and 1, a time above 0",
            )  # fmt: skip


@dataclass(frozen=True)
class SampleSize:
    """The panel of one endpoint and one set of candidate inputs.

    Parameters
    ----------
    n, events
        Patients and patients with the event (by the horizon).
    parameters
        Candidate inputs.
    events_per_parameter
        Their ratio.
    overall_risk, timepoint
        Risk of the event within so many months.
    r2_max, r2_anticipated
        Largest possible and anticipated Cox-Snell R2.
    n_shrinkage, n_optimism, n_precision
        Patients needed so that the expected shrinkage is as small as stated, the optimism in R2 (as a share of the
        largest) is at most 0.05, and the overall risk is known to +/- 0.05.
    n_required
        The largest of these.
    shrinkage_expected
        Shrinkage to be expected with the patients there are; 0 if there are hopelessly few.
    """

    n: int
    events: int
    parameters: int
    events_per_parameter: float
    overall_risk: float
    timepoint: float
    r2_max: float
    r2_anticipated: float
    n_shrinkage: int
    n_optimism: int
    n_precision: int
    n_required: int
    shrinkage_expected: float

    @property
    def sufficient(self) -> bool:
        """Whether there are as many patients as required."""
        return self.n >= self.n_required


def r2_max_binary(risk: float) -> float:
    """Largest possible Cox-Snell R2 of a binary outcome with this overall risk.

    >>> round(r2_max_binary(0.05), 2)
    0.33
    """
    _check_share(risk, "overall risk")
    return -math.expm1(2 * (risk * math.log(risk) + (1 - risk) * math.log1p(-risk)))


def r2_max_survival(events_per_patient: float) -> float:
    """Largest possible Cox-Snell R2 of a time to event, of an exponential model with one event time unit per patient.

    Parameters
    ----------
    events_per_patient
        Share of patients in whom the event is observed.
    """
    if not 0 < events_per_patient <= 1:
        raise InputError("the share of patients with the event is out of range", expected="above 0, at most 1")
    return -math.expm1(2 * (events_per_patient * math.log(events_per_patient) - events_per_patient))


def n_for_shrinkage(parameters: int, r2: float, shrinkage: float) -> int:
    """Patients needed for an expected shrinkage (criterion 1).

    >>> n_for_shrinkage(24, 0.288, 0.9)
    623
    """
    if not 0 < r2 < shrinkage < 1:
        raise InputError(
            "the anticipated R2 is not below the shrinkage", where="sample size", expected=f"below {shrinkage:g}",
            got=f"{r2:g}",
        )  # fmt: skip
    return math.ceil(parameters / ((shrinkage - 1) * math.log1p(-r2 / shrinkage)))


def n_for_optimism(parameters: int, r2: float, r2_max: float, optimism: float = OPTIMISM) -> int:
    """Patients needed so that apparent and adjusted R2 differ by at most this share of the largest (criterion 2).

    >>> n_for_optimism(24, 0.288, r2_max_binary(0.174))
    662
    """
    if not 0 < r2 <= r2_max:
        raise InputError(
            "the anticipated R2 is above the largest possible", where="sample size", expected=f"at most {r2_max:.3f}",
            got=f"{r2:g}",
        )  # fmt: skip
    return n_for_shrinkage(parameters, r2, r2 / (r2 + optimism * r2_max))


def n_for_risk(risk: float, precision: float = PRECISION) -> int:
    """Patients needed to know an overall risk to +/- ``precision`` with 95 % confidence (criterion 3, binary).

    >>> n_for_risk(0.174)
    221
    """
    _check_share(risk, "overall risk")
    return math.ceil((_Z / precision) ** 2 * risk * (1 - risk))


def risk_interval(rate: float, person_time: float, timepoint: float) -> tuple[float, float, float]:
    """Overall risk by ``timepoint`` of a constant event rate, and its 95 % limits.

    Parameters
    ----------
    rate
        Events per unit of time.
    person_time, timepoint
        In the same unit.

    Returns
    -------
    risk, lower, upper
    """
    half = _Z * math.sqrt(rate / person_time)
    risk, lower, upper = (-math.expm1(-max(r, 0.0) * timepoint) for r in (rate, rate - half, rate + half))
    return risk, lower, upper


def n_for_rate(rate: float, mean_follow_up: float, timepoint: float, precision: float = PRECISION) -> int:
    """Patients needed so that neither limit of the overall risk is further away than ``precision`` (criterion 3,
    time to event)."""
    if min(rate, mean_follow_up, timepoint) <= 0:
        raise InputError("rate, follow-up and time must be positive", where="sample size")

    def too_wide(n: int) -> bool:
        risk, lower, upper = risk_interval(rate, n * mean_follow_up, timepoint)
        return max(risk - lower, upper - risk) > precision

    low, high = 0, 1
    while too_wide(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if too_wide(middle) else (low, middle)
    return high


def expected_shrinkage(n: int, parameters: int, r2: float) -> float:
    """Shrinkage S at which ``n_for_shrinkage(parameters, r2, S)`` is ``n``; 0 if no shrinkage makes so few suffice.

    The product n (S - 1) ln(1 - R2 / S) falls from S = R2 to S = 1, so there is one solution.
    """

    def gap(shrinkage: float) -> float:
        return n * (shrinkage - 1) * math.log1p(-r2 / shrinkage) - parameters

    start = r2 * (1 + 1e-12) + 1e-15
    if gap(start) <= 0:
        return 0.0
    return float(brentq(gap, start, 1 - 1e-15, xtol=1e-12))


def sample_size(
    y: Outcome, parameters: int, *, kind: Kind, horizon: float | None, anticipation: Anticipation | None = None
) -> SampleSize:
    """The panel of an endpoint.

    The overall risk is the Aalen-Johansen incidence at the horizon, so that nobody censored early counts as free of
    the event; the rate of a time-to-event endpoint is events per patient-month.

    Parameters
    ----------
    y
        n outcomes.
    parameters
        Candidate inputs, >= 1.
    kind, horizon
        Of the endpoint; months of a binary one.
    anticipation
        What is assumed; by default an R2 of 15 % of the largest, and shrinkage of at most 10 %.

    Raises
    ------
    InputError
        If nobody has the event, or everybody by the horizon, or there is no input.
    """
    stated = anticipation or Anticipation()
    if parameters < 1:
        raise InputError("there are no candidate inputs", where="sample size", expected=">= 1", got=str(parameters))
    if kind == "binary":
        at = float(horizon or 0.0)
        label, weight = horizon_labels(y, at)
        events, risk = int(label.sum()), float((label * weight).sum() / y.size)
        r2_max, n_precision = r2_max_binary(risk), n_for_risk(risk)
    else:
        at = stated.timepoint
        events, rate = int((y["event"] == 1).sum()), float((y["event"] == 1).sum() / y["months"].sum())
        r2_max = r2_max_survival(events / y.size)
        n_precision = n_for_rate(rate, float(y["months"].mean()), at)
        risk = float(aalen_johansen(y["event"], y["months"]).at([at])[0])
    r2 = stated.r2_share * r2_max
    n_shrinkage = n_for_shrinkage(parameters, r2, stated.shrinkage)
    n_optimism = n_for_optimism(parameters, r2, r2_max)
    return SampleSize(
        n=y.size, events=events, parameters=parameters, events_per_parameter=events / parameters, overall_risk=risk,
        timepoint=at, r2_max=r2_max, r2_anticipated=r2, n_shrinkage=n_shrinkage, n_optimism=n_optimism,
        n_precision=n_precision, n_required=max(n_shrinkage, n_optimism, n_precision),
        shrinkage_expected=expected_shrinkage(y.size, parameters, r2),
    )  # fmt: skip


def _check_share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise InputError(f"the {name} is out of range", where="sample size", expected="above 0, below 1")
