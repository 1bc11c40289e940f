"""Decision curves: net benefit of treating those above a threshold of predicted risk, at a horizon.

At a threshold t a patient is treated if the predicted risk is at least t; a needless treatment costs t / (1 - t) of
what a needed one gains. With P the share treated and F the incidence among them, net benefit is P F - P (1 - F) t /
(1 - t). F is the Aalen-Johansen incidence at the horizon among the treated (Kaplan-Meier where no event competes, the
plain share where nobody is censored). Repeats are averaged.

References
----------
Vickers and Elkin 2006, doi:10.1177/0272989X06295361; censored and competing Vickers et al. 2008,
doi:10.1186/1472-6947-8-53.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.calibration import check_probability
from radiomics_crlm.evaluation.incidence import resampled_incidence
from radiomics_crlm.evaluation.outcome import Floats, Outcome

THRESHOLDS: Floats = np.arange(1, 100) / 100
TREAT_ALL, TREAT_NONE = "treat_all", "treat_none"

CURVE = ["threshold", "net_benefit", "treated", "true_positive", "false_positive", "avoided_per_100"]


def decision_curve(
    y: Outcome, probability: npt.ArrayLike, horizon: float, thresholds: npt.ArrayLike = THRESHOLDS
) -> pd.DataFrame:
    """Net benefit of a model over thresholds.

    Parameters
    ----------
    y
        n outcomes.
    probability
        n or n x repeats, of the event within the horizon.
    horizon
        Months.
    thresholds
        k thresholds, above 0 and below 1.

    Returns
    -------
    DataFrame
        A row per threshold: ``threshold``; ``net_benefit`` (true positives per patient); ``treated``,
        ``true_positive`` and ``false_positive`` as shares of all patients; ``avoided_per_100``, treatments avoided
        among 100 patients against treating all without missing an event. NaN where the treated are not followed to
        the horizon.

    Raises
    ------
    InputError
        For probabilities that are missing or outside 0 to 1, or thresholds outside.
    """
    p = check_probability(probability, y.size)
    levels = check_thresholds(thresholds)
    treated, right = np.empty((2, p.shape[1], levels.size))
    for repeat in range(p.shape[1]):
        chosen = (p[:, repeat] >= levels[:, None]).astype(float)
        treated[repeat] = chosen.mean(axis=1)
        among = resampled_incidence(y, horizon, chosen)
        right[repeat] = np.where(treated[repeat] > 0, treated[repeat] * among, 0.0)
    return _curve(y, horizon, levels, treated.mean(axis=0), right.mean(axis=0))


def reference_curves(y: Outcome, horizon: float, thresholds: npt.ArrayLike = THRESHOLDS) -> dict[str, pd.DataFrame]:
    """Decision curves of treating everybody and nobody; parameters as in :func:`decision_curve`."""
    levels = check_thresholds(thresholds)
    everybody, nobody = np.ones(levels.size), np.zeros(levels.size)
    incidence = resampled_incidence(y, horizon, np.ones((1, y.size)))[0]
    return {
        TREAT_ALL: _curve(y, horizon, levels, everybody, incidence * everybody),
        TREAT_NONE: _curve(y, horizon, levels, nobody, nobody),
    }


def check_thresholds(thresholds: npt.ArrayLike) -> Floats:
    """Thresholds as an array.

    Raises
    ------
    InputError
        If one is not above 0 and below 1.
    """
    levels = np.atleast_1d(np.asarray(thresholds, dtype=float))
    if not ((levels > 0) & (levels < 1)).all():
        raise InputError("a threshold of risk is out of range", expected="above 0 and below 1")
    return levels


def _curve(y: Outcome, horizon: float, levels: Floats, treated: Floats, right: Floats) -> pd.DataFrame:
    right = np.clip(right, 0.0, treated)  # rounding
    wrong = treated - right
    cost = levels / (1 - levels)
    benefit = right - cost * wrong
    incidence = resampled_incidence(y, horizon, np.ones((1, y.size)))[0]
    all_treated = incidence - cost * (1 - incidence)
    columns = (levels, benefit, treated, right, wrong, 100 * (benefit - all_treated) / cost)
    return pd.DataFrame(dict(zip(CURVE, columns, strict=True)))
