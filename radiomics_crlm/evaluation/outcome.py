"""The outcome type and its one checker.

An outcome is a numpy structured array with ``event`` (0 censored, 1 event, 2 competing event) and ``months`` (from
the index date). Everything that fits or evaluates takes it. Higher risk means that the event is more likely or comes
sooner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.incidence import censoring_survival

OUTCOME_DTYPE = np.dtype([("event", "i1"), ("months", "f8")])
Outcome = np.ndarray[Any, np.dtype[Any]]
Floats = npt.NDArray[np.float64]
Kind = Literal["binary", "time_to_event"]


def make_outcome(event: Iterable[Any], months: Iterable[Any]) -> Outcome:
    """Outcome array of n patients.

    Parameters
    ----------
    event
        n codes: 0 censored, 1 event, 2 competing event.
    months
        n times in months from the index date, >= 0.

    Raises
    ------
    InputError
        For lengths that differ, unknown codes, and negative, infinite or missing times.

    Examples
    --------
    >>> make_outcome([1, 0], [3.5, 12.0])["months"].tolist()
    [3.5, 12.0]
    """
    codes = _as_floats(event, "event")
    times = _as_floats(months, "months")
    if codes.shape != times.shape:
        raise InputError("event and months have different lengths", expected=str(codes.size), got=str(times.size))
    known = np.isin(codes, (0.0, 1.0, 2.0))
    if not known.all():
        raise InputError(f"{int((~known).sum())} event codes are unknown", where="event", expected="0, 1 or 2")
    y = np.empty(codes.size, dtype=OUTCOME_DTYPE)
    y["event"], y["months"] = codes.astype(np.int8), times
    return check_outcome(y)


def _as_floats(values: Iterable[Any], name: str) -> Floats:
    try:
        array = pd.array(list(values), dtype="Float64").to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        raise InputError("values are not numbers", where=name, expected="numbers") from None
    return np.asarray(array, dtype=float)


def check_outcome(y: Any, *, horizon: float | None = None, min_events: int = 0, where: str = "outcome") -> Outcome:
    """Check an outcome array; the one place that decides what an outcome is.

    Parameters
    ----------
    y
        Structured array with fields ``event`` and ``months``.
    horizon
        Months. If given, the binary label at this horizon is judged instead of the whole follow-up.
    min_events
        Smallest admissible number of events. If positive, patients without the event are required too.
    where
        What the message names.

    Raises
    ------
    InputError
        For another type, an empty array, unknown codes, negative or non-finite times, a constant target, too
        few events.
    """
    if not isinstance(y, np.ndarray) or y.ndim != 1 or y.dtype.names != ("event", "months"):
        raise InputError(
            "this is no outcome array", where=where, expected="fields event and months", remedy="use make_outcome"
        )
    if y.size == 0:
        raise InputError("there are no patients", where=where)
    bad_code = int((~np.isin(y["event"], (0, 1, 2))).sum())
    if bad_code:
        raise InputError(
            f"{bad_code} event codes are unknown", where=where, expected="0 censored, 1 event, 2 competing"
        )
    bad_time = int((~(np.isfinite(y["months"]) & (y["months"] >= 0))).sum())
    if bad_time:
        raise InputError(f"{bad_time} times are missing, infinite or negative", where=where, expected="months >= 0")
    if horizon is not None and not (np.isfinite(horizon) and horizon > 0):
        raise InputError("the horizon is not usable", where=where, expected="months > 0", got=f"{horizon}")
    if min_events > 0:
        _check_events(y, horizon, min_events, where)
    return y


def _check_events(y: Outcome, horizon: float | None, min_events: int, where: str) -> None:
    if horizon is None:
        events, others = int((y["event"] == 1).sum()), int((y["event"] != 1).sum())
        # With every time observed there is still an order to learn.
        constant = events == 0 or (others == 0 and np.unique(y["months"]).size == 1)
    else:
        label, weight = horizon_labels(y, horizon)
        events, others = int(label.sum()), int(((label == 0) & (weight > 0)).sum())
        constant = events == 0 or others == 0
    if constant:
        raise InputError(
            "the target is constant", where=where, expected="patients with and without the event",
            got=f"{events} with, {others} without", remedy="choose another endpoint or horizon",
        )  # fmt: skip
    if events < min_events:
        raise InputError(
            "there are too few events", where=where, expected=f"at least {min_events}", got=f"{events}",
            remedy="choose another endpoint or horizon, or gather more patients",
        )  # fmt: skip


def horizon_labels(y: Outcome, horizon: float) -> tuple[Floats, Floats]:
    """Binary label at a horizon, and inverse-probability-of-censoring weights.

    The label is 1 for the event by the horizon (inclusive), 0 for follow-up beyond it or a competing event by it,
    and unknown (weight 0, label 0) for censoring before it. Censoring exactly at the horizon, or later, counts as
    followed to the horizon. A known patient's weight is 1/G(T-) if something happened by the horizon and
    1/G(horizon-) otherwise, G being the Kaplan-Meier curve of censoring in ``y`` itself (at equal times events
    come before censoring). So the weighted mean of the labels over all n patients is the Aalen-Johansen
    incidence, and all weights are exactly 1 if nobody is censored early.

    Parameters
    ----------
    y
        n outcomes.
    horizon
        Months.

    Returns
    -------
    label, weight
        Two arrays of length n.

    References
    ----------
    Graf et al. 1999, doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5.

    Examples
    --------
    >>> label, weight = horizon_labels(make_outcome([1, 2, 0, 0], [5, 6, 12, 30]), 12)
    >>> label.tolist(), weight.tolist()
    ([1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0])
    """
    event, months = y["event"], y["months"]
    label = ((event == 1) & (months <= horizon)).astype(float)
    known = (event != 0) | (months >= horizon)
    weight = np.zeros(months.size)
    reached = censoring_survival(event, months, np.minimum(months[known], horizon))
    weight[known] = 1.0 / reached
    return label, weight


def outcome_of(outcomes: pd.DataFrame, endpoint: str, patient_ids: Sequence[str]) -> Outcome:
    """Outcomes of one endpoint in the order of ``patient_ids``, joined by key.

    Raises
    ------
    InputError
        If a patient has no outcome or more than one.
    """
    rows = outcomes.loc[outcomes["endpoint"] == endpoint].set_index("patient_id")
    if rows.index.has_duplicates:
        raise InputError("patients have more than one outcome", where=f"outcomes, {endpoint}")
    absent = pd.Index(patient_ids).difference(rows.index)
    if len(absent):
        raise InputError(
            f"{len(absent)} patients have no outcome",
            where=f"outcomes, {endpoint}",
            remedy="exclude them with a reason",
        )
    rows = rows.loc[list(patient_ids)]
    return make_outcome(rows["event"], rows["months"])
