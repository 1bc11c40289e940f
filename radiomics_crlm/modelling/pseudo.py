"""Jackknife pseudo-values of the cumulative incidence: a number per patient in place of the unseen event indicator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radiomics_crlm.evaluation.incidence import risk_table
from radiomics_crlm.evaluation.outcome import Floats, Outcome

_CELLS_AT_ONCE = 2_000_000


def pseudo_values(y: Outcome, months: Sequence[float]) -> Floats:
    """Pseudo-values n F(t) - (n - 1) F_without_i(t) of the Aalen-Johansen incidence of code 1.

    Without censoring it is the indicator of the event by t. Their mean is the incidence, and given the inputs their
    expectation is that of the indicator if censoring does not depend on the inputs; single values may lie outside of
    0 to 1.

    Parameters
    ----------
    y
        n outcomes, n >= 2.
    months
        Times within the follow-up.

    Returns
    -------
    Array n x len(months).

    References
    ----------
    Andersen and Pohar Perme 2010, doi:10.1177/0962280209105020.
    """
    n = y.size
    everybody = _incidence(y, months, np.full((1, n), False))
    without = np.empty((n, len(months)))
    width = max(1, _CELLS_AT_ONCE // n)
    for begin in range(0, n, width):
        rows = np.arange(begin, min(begin + width, n))
        without[rows] = _incidence(y, months, rows[:, None] == np.arange(n))
    return n * everybody - (n - 1) * without


def _incidence(y: Outcome, months: Sequence[float], left_out: np.ndarray) -> Floats:
    """Incidence at each of ``months`` without the rows marked in each row of ``left_out``, one row each."""
    table = risk_table(y["event"], y["months"])
    at = np.searchsorted(table.months, y["months"])
    rows, patients = np.nonzero(left_out)
    fewer = np.zeros((3, len(left_out), table.months.size))
    np.add.at(fewer, (y["event"][patients], rows, at[patients]), 1.0)
    leaving = np.stack((table.censored, table.events, table.competing))[:, None, :] - fewer
    at_risk = leaving.sum(axis=0)[:, ::-1].cumsum(axis=1)[:, ::-1]
    exposed = np.maximum(at_risk, 1.0)  # nobody left: nothing happens either
    survival = np.cumprod(1.0 - (leaving[1] + leaving[2]) / exposed, axis=1)
    before = np.column_stack((np.ones(len(left_out)), survival[:, :-1]))
    incidence = np.column_stack((np.zeros(len(left_out)), np.cumsum(before * leaving[1] / exposed, axis=1)))
    return incidence[:, np.searchsorted(table.months, np.asarray(months, dtype=float), side="right")]
