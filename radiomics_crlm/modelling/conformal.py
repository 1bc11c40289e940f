"""Conformal prediction from out-of-fold predictions: sets for "event by a month", and a lower bound of the event time.

A patient who is exchangeable with those of the training is covered with about the probability asked for. This is
*marginal*: over all such patients together, not within each group of them, let alone for each patient. Scores of
nonconformity come from predictions of patients that a model had not seen; they are applied to the model of all patients
(cross-conformal; the guarantee of theory is weaker, 1 - 2 alpha, what is measured is close to 1 - alpha). Patients
censored too early count through the inverse-probability-of-censoring weights of the others, so censoring must not
depend on what the model sees.

References
----------
Vovk, Gammerman and Shafer 2005, doi:10.1007/b106715 (conformal prediction). Vovk 2015, doi:10.1007/s10472-013-9368-4
(cross-conformal). Barber et al. 2021, doi:10.1214/20-AOS1965 (CV+). Tibshirani et al. 2019, arXiv:1904.06019 (weights).
Candes, Lei and Ren 2023, doi:10.1093/jrsssb/qkac017 (lower bounds of survival times).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels

LEVEL = 0.9
"""Coverage that is aimed at."""
# A threshold is kept with so many steps from 0 to 1, rounded to the side that covers more.
_STEPS = 10_000


@dataclass(frozen=True)
class Threshold:
    """A threshold, and what it does to the predictions it comes from.

    ``patients`` are those whose outcome is known. ``covered`` is patients x repeats (whether what happened is covered),
    to be averaged with ``weight`` (patients, 0 where the outcome is not known).
    """

    value: float
    patients: int
    covered: npt.NDArray[np.bool_]
    weight: Floats

    def coverage(self, rows: npt.NDArray[np.bool_] | None = None) -> float:
        """Weighted share of covered predictions, of all patients or of some; NaN where no outcome is known."""
        chosen = np.ones(self.weight.size, dtype=bool) if rows is None else rows
        weight = self.weight[chosen]
        if weight.sum() == 0:
            return float("nan")
        # Rounding may lift a share of all slightly above 1.
        return min(1.0, float(weight @ self.covered[chosen].mean(axis=1) / weight.sum()))


def set_threshold(probability: Floats, y: Outcome, month: float, *, level: float = LEVEL) -> Threshold:
    """Threshold of the nonconformity 1 - (predicted probability of an outcome) for prediction sets at a month.

    Parameters
    ----------
    probability
        n x repeats: out-of-fold probabilities of the event by the month. A patient counts once for all repeats.
    y
        n outcomes. A competing event by the month is an outcome without the event.
    month
        Months.
    level
        Coverage.

    Returns
    -------
    Threshold
        ``value`` in 0 to 1. An outcome is in the set of a patient if one minus its probability is not above it
        (:func:`in_sets`); 1, where fewer than about ten outcomes are known, means that every set holds both.

    Raises
    ------
    InputError
        For probabilities that are missing or outside 0 to 1.

    Examples
    --------
    >>> from radiomics_crlm.evaluation.outcome import make_outcome
    >>> y = make_outcome([1] * 50 + [0] * 50, [6.0] * 50 + [30.0] * 50)
    >>> probability = np.r_[np.linspace(0.3, 0.9, 50), np.linspace(0.1, 0.7, 50)][:, None]
    >>> set_threshold(probability, y, 12.0).value
    0.6511
    """
    checked = _checked(probability, y)
    label, weight = horizon_labels(y, month)
    score = np.where(label[:, None] == 1, 1.0 - checked, checked)
    value = min(1.0, np.ceil(_upper_quantile(score, weight, level) * _STEPS) / _STEPS)
    return Threshold(float(value), int((weight > 0).sum()), score <= value, weight)


def in_sets(probability: Floats, threshold: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether the prediction set holds the event, and whether it holds its absence.

    >>> [held.tolist() for held in in_sets(np.array([0.1, 0.5, 0.9]), 0.6)]
    [[False, True, True], [True, True, False]]
    """
    return 1.0 - probability <= threshold, probability <= threshold


def bound_threshold(incidence: Floats, y: Outcome, months: Sequence[float], *, level: float = LEVEL) -> Threshold:
    """Predicted incidence that few patients have not reached when their event happens.

    Parameters
    ----------
    incidence
        n x repeats x months: out-of-fold probabilities of the event by each of ``months``.
    y
        n outcomes. After a competing event the event of interest never comes: any bound holds.
    months
        Ascending; the last caps the bound, so that whoever is free of the event until then is covered.
    level
        Coverage.

    Returns
    -------
    Threshold
        ``value`` q: the event comes at or after the time at which the predicted incidence reaches q
        (:func:`event_free`) with the probability ``level``, or more where fewer than 1 - ``level`` have the event by
        the last month; then q is 1 and the bound the last month. 0 where too few outcomes are known: the bound is 0.

    Raises
    ------
    InputError
        For probabilities that are missing or outside 0 to 1, or months that do not ascend.
    """
    n, repeats, _ = incidence.shape
    grid = _ascending(months)
    checked = _checked(incidence, y)
    _, weight = horizon_labels(y, float(grid[-1]))
    event = (y["event"] == 1) & (y["months"] < grid[-1])
    score = np.ones((n, repeats))
    for i in np.flatnonzero(event):
        for r in range(repeats):
            score[i, r] = np.interp(y["months"][i], np.r_[0.0, grid], np.r_[0.0, np.maximum.accumulate(checked[i, r])])
    value = np.floor(_lower_quantile(score, weight, 1.0 - level, event) * _STEPS) / _STEPS
    covered = ~event[:, None] | (score >= value)
    return Threshold(float(value), int((weight > 0).sum()), covered, weight)


def event_free(incidence: Floats, months: Sequence[float], threshold: float) -> Floats:
    """Time at which the incidence, interpolated linearly from 0 at 0 months, reaches a threshold (n months).

    Parameters
    ----------
    incidence
        n x months: probability of the event by each of ``months``. A later one below an earlier one counts as equal.
    months
        Ascending; the last is the answer where the threshold is not reached.
    threshold
        0 to 1.

    Examples
    --------
    >>> event_free(np.array([[0.1, 0.3], [0.5, 0.6], [0.0, 0.1]]), (12, 24), 0.2).round(3).tolist()
    [18.0, 4.8, 24.0]
    """
    grid = np.r_[0.0, _ascending(months)]
    curve = np.column_stack((np.zeros(len(incidence)), np.maximum.accumulate(incidence, axis=1)))
    free = np.full(len(curve), grid[-1])
    for k in range(grid.size - 1, 0, -1):
        before, after = curve[:, k - 1], curve[:, k]
        rise = np.where(after > before, after - before, 1.0)
        reached = after >= threshold
        share = np.clip((threshold - before) / rise, 0.0, 1.0)
        free = np.where(reached, grid[k - 1] + share * (grid[k] - grid[k - 1]), free)
    return free


def _checked(probability: Floats, y: Outcome) -> Floats:
    values = np.asarray(probability, dtype=float)
    if len(values) != len(y):
        raise InputError("predictions and outcomes differ in number", expected=str(len(y)), got=str(len(values)))
    # Written so that NaN is refused too.
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("probabilities are missing or outside 0 to 1", where="conformal prediction")
    return values


def _ascending(months: Sequence[float]) -> Floats:
    grid = np.asarray(months, dtype=float)
    if grid.size == 0 or grid[0] <= 0 or (np.diff(grid) <= 0).any():
        raise InputError("months must be positive and ascend", where="conformal prediction")
    return grid


def _upper_quantile(score: Floats, weight: Floats, level: float) -> float:
    """Smallest score up to which the weights reach ``level``, a new patient (weight 1, any score) included."""
    values, running, total = _running(score, weight)
    position = int(np.searchsorted(running, level * (total + 1.0) * (1 - 1e-12)))
    return float(values[position]) if position < values.size else 1.0


def _lower_quantile(score: Floats, weight: Floats, alpha: float, event: npt.NDArray[np.bool_]) -> float:
    """Largest score below which the weights of events, with a new patient among them, are at most ``alpha``."""
    _, _, total = _running(score, weight)
    values, running, _ = _running(score[event], weight[event])
    position = int(np.searchsorted(running + 1.0, alpha * (total + 1.0) * (1 + 1e-12), side="right"))
    if alpha * (total + 1.0) < 1.0:
        return 0.0
    return float(values[position]) if position < values.size else 1.0


def _running(score: Floats, weight: Floats) -> tuple[Floats, Floats, float]:
    """Scores in ascending order, their running weights, and the sum of all; a patient's repeats share its weight."""
    shared = np.repeat(weight / score.shape[1], score.shape[1])
    order = np.argsort(score, axis=None, kind="stable")
    running = np.cumsum(shared[order])
    return score.ravel()[order], running, float(weight.sum())
