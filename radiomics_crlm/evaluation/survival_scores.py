"""Errors of predicted probabilities at horizons: Brier score and log loss, weighted for censoring, and integrated.

Probabilities are of code 1 within the horizon with code 2 competing, shape n x repeats; the loss of a patient is the
mean over repeats. All functions return the value in a sample and its resamples (length 1 + draws); lower is better for
losses, higher for their scaled forms.

References
----------
Graf et al. 1999, doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5; with competing events
Schoop et al. 2011, doi:10.1002/bimj.201000073; scaled form Kattan and Gerds 2018, doi:10.1186/s41512-018-0029-2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.evaluation.resampling import HorizonSample, ratio

_SMALLEST = float(np.finfo(float).eps)
"""A probability of exactly 0 or 1 that is wrong would cost an infinite log loss; it is moved this far inside."""


def squared_losses(sample: HorizonSample, probability: Floats) -> Floats:
    """Squared error of each patient (length n), mean over repeats."""
    return np.asarray(((sample.label[:, None] - probability) ** 2).mean(axis=1))


def brier_values(sample: HorizonSample, probability: Floats) -> Floats:
    """Brier score at the horizon of the sample."""
    return np.asarray(sample.weights @ squared_losses(sample, probability) / sample.size)


def null_brier_values(sample: HorizonSample) -> Floats:
    """Brier score of the prediction that everybody has the incidence (Aalen-Johansen) of the resample."""
    # sum of w (label - c)^2 for the constant c, w label^2 = w label.
    c = sample.incidence
    return np.asarray(c - 2 * c * c + c**2 * sample.weights.sum(axis=1) / sample.size)


def scaled_brier_values(sample: HorizonSample, probability: Floats) -> Floats:
    """1 - Brier score / Brier score of the incidence: 0 is no better than no model, 1 is perfect."""
    return 1.0 - ratio(brier_values(sample, probability), null_brier_values(sample))


def log_loss_values(sample: HorizonSample, probability: Floats) -> Floats:
    """Mean negative log-likelihood of the label (natural logarithm)."""
    p = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    right = np.where(sample.label[:, None] == 1, p, 1 - p)
    return np.asarray(sample.weights @ -np.log(right).mean(axis=1) / sample.size)


def expected_values(sample: HorizonSample, probability: Floats) -> Floats:
    """Observed incidence (Aalen-Johansen) over the mean prediction of all patients; 1 is ideal, above 1: risks too
    low."""
    return ratio(sample.incidence * sample.size, sample.counts @ probability.mean(axis=1))


def integrated_values(values: Sequence[Floats], horizons: Sequence[float]) -> Floats:
    """Mean over time of a score that is known at some horizons (trapezoids between the first and the last).

    Raises
    ------
    InputError
        For fewer than two horizons, or horizons that do not increase.

    Examples
    --------
    >>> integrated_values([np.array([0.1]), np.array([0.2])], [12, 24]).round(2).tolist()
    [0.15]
    """
    months = np.asarray(horizons, dtype=float)
    if months.size < 2 or len(values) != months.size or (np.diff(months) <= 0).any():
        raise InputError("a score is integrated over increasing horizons", expected="two or more", got=str(months.size))
    return np.asarray(np.trapezoid(np.stack(values), months, axis=0) / (months[-1] - months[0]))


def integrated_brier_values(
    samples: Sequence[HorizonSample], probabilities: Sequence[Floats], horizons: Sequence[float]
) -> tuple[Floats, Floats]:
    """Integrated Brier score, and its scaled form 1 - integral / integral of the incidence's own.

    Parameters
    ----------
    samples, probabilities, horizons
        The same patients and resamples at each horizon, n x repeats probabilities there, and the months.

    Raises
    ------
    InputError
        As :func:`integrated_values`.
    """
    pairs = list(zip(samples, probabilities, strict=True))
    score = integrated_values([brier_values(s, p) for s, p in pairs], horizons)
    null = integrated_values([null_brier_values(s) for s in samples], horizons)
    return score, 1.0 - ratio(score, null)
