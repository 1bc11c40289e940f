"""Concordance of risk and outcome, written as sums over ordered pairs of patients.

``P[i, j]`` is the weight with which patient i should have the higher risk than patient j. A statistic is the share of
that weight on which the risk agrees, ties in risk counting one half. Matrices make the bootstrap a matrix product.

Conventions for time to event (Harrell's C, cause-specific): the pair (i, j) is comparable if i has the event and j
was still under observation and free of it, i.e. ``months_i < months_j``, or equal months and j has no event at that
time. A competing event is treated as censoring. Two events at the same time are not comparable.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, horizon_labels


def survival_pairs(y: Outcome) -> Floats:
    """Comparable pairs of Harrell's C: n x n, 1 where the row should have the higher risk than the column."""
    months = y["months"]
    case = y["event"] == 1
    later = months[:, None] < months[None, :]
    same = (months[:, None] == months[None, :]) & ~case[None, :]
    return (case[:, None] & (later | same)).astype(float)


def label_pairs(label: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> Floats:
    """Pairs of the AUC: n x n, product of weights where the row is a case and the column is none."""
    case = np.asarray(label, dtype=float) == 1
    w = np.ones(case.size) if weight is None else np.asarray(weight, dtype=float)
    return np.outer(w * case, w * ~case)


def endpoint_pairs(y: Outcome, kind: Kind, horizon: float | None) -> Floats:
    """Pairs of the statistic that belongs to an endpoint: Harrell's C, or the censoring-weighted AUC at the horizon."""
    if kind == "time_to_event":
        return survival_pairs(y)
    if horizon is None:
        raise InputError("a binary endpoint needs a horizon", expected="months > 0")
    return label_pairs(*horizon_labels(y, horizon))


def agreement(risk: npt.ArrayLike) -> Floats:
    """n x n: 1 where the row has the higher risk than the column, 1/2 where equal, 0 where lower."""
    values = np.asarray(risk, dtype=float)
    return 0.5 * (1.0 + np.sign(values[:, None] - values[None, :]))


def concordance(pairs: Floats, risk: npt.ArrayLike) -> float:
    """Share of the pair weight on which the risk agrees; NaN if there is no comparable pair."""
    total = float(pairs.sum())
    return float((pairs * agreement(risk)).sum()) / total if total > 0 else float("nan")


def auc(label: npt.ArrayLike, risk: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> float:
    """Area under the ROC curve; ties count one half; NaN if a class is empty.

    Parameters
    ----------
    label
        n labels, 1 case, 0 no case.
    risk
        n finite numbers, higher = case more likely.
    weight
        n weights >= 0 (default 1); a pair counts with the product of its weights.

    Raises
    ------
    InputError
        For lengths that differ, other labels, or a risk that is not finite.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    labels = np.asarray(label, dtype=float)
    _check_risk(risk, labels.size)
    if not np.isin(labels, (0.0, 1.0)).all():
        raise InputError("labels are not binary", where="label", expected="0 or 1")
    return concordance(label_pairs(labels, weight), risk)


def harrell_c(y: Outcome, risk: npt.ArrayLike) -> float:
    """Harrell's concordance index, cause-specific; ties in risk count one half; NaN without comparable pairs.

    Parameters
    ----------
    y
        n outcomes; a competing event is treated as censoring.
    risk
        n finite numbers, higher = sooner event (a risk, not a survival probability).

    Raises
    ------
    InputError
        For lengths that differ or a risk that is not finite.

    References
    ----------
    Harrell et al. 1996, doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4.
    """
    _check_risk(risk, y.size)
    return concordance(survival_pairs(y), risk)


def _check_risk(risk: npt.ArrayLike, n: int) -> None:
    values = np.asarray(risk, dtype=float)
    if values.shape != (n,):
        raise InputError("risk and outcome have different lengths", expected=str(n), got=str(values.shape))
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} risks are not finite", where="risk")
