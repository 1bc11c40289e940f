"""How far refitted models spread around a prediction, by the prediction: means of groups of patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.risk import logistic

SMALLEST = 10
"""Patients in a group, at least."""
MOST_GROUPS = 10
# Log odds beyond this are certain for every purpose, and finite.
_EDGE = 1e-6


@dataclass(frozen=True)
class Band:
    """Distance of the limits from the prediction, as log odds, at ascending ``centre`` (predicted log odds)."""

    centre: Floats
    lower: Floats
    upper: Floats

    def around(self, probability: Floats) -> tuple[Floats, Floats]:
        """Lower and upper limit of n probabilities: linear between the centres, constant beyond.

        >>> band = Band(np.array([0.0]), np.array([-1.0]), np.array([1.0]))
        >>> [limit.round(2).tolist() for limit in band.around(np.array([0.5]))]
        [[0.27], [0.73]]
        """
        at = log_odds(probability)
        below = logistic(at + np.interp(at, self.centre, self.lower))
        above = logistic(at + np.interp(at, self.centre, self.upper))
        return np.minimum(below, probability), np.maximum(above, probability)


def log_odds(probability: Floats) -> Floats:
    """Log odds, finite also for 0 and 1."""
    inside = np.clip(np.asarray(probability, dtype=float), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def refit_band(prediction: Floats, lower: Floats, upper: Floats) -> Band | None:
    """Band of the refits of a model, in groups of at least ten patients with similar prediction.

    Parameters
    ----------
    prediction, lower, upper
        n probabilities of the model and quantiles of those of its refits (`evaluation.instability`).

    Returns
    -------
    Band
        Mean distances in each group. The band always holds the prediction itself. None for fewer than ten patients.

    Raises
    ------
    InputError
        For probabilities that are missing or outside 0 to 1.
    """
    values = np.column_stack((prediction, lower, upper)).astype(float)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("probabilities are missing or outside 0 to 1", where="refits")
    if len(values) < SMALLEST:
        return None
    ordered = log_odds(values[np.argsort(values[:, 0], kind="stable")])
    centre: list[float] = []
    below: list[float] = []
    above: list[float] = []
    for group in np.array_split(ordered, min(MOST_GROUPS, len(ordered) // SMALLEST)):
        middle, low, high = group.mean(axis=0).tolist()
        # Groups of equal predictions (few leaves of trees) would have no place of their own.
        if centre and middle <= centre[-1]:
            continue
        centre.append(middle)
        below.append(min(low - middle, 0.0))
        above.append(max(high - middle, 0.0))
    return Band(np.array(centre), np.array(below), np.array(above))
