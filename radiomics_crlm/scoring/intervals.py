"""Uncertainty of each prediction: prediction sets, the time free of the event, and the spread of refitted models.

The sets and the time are conformal (:mod:`radiomics_crlm.modelling.conformal`): they cover at least about 90 % of
patients who are like those of the training, taken together. They say nothing of patients who are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radiomics_crlm.modelling.conformal import event_free, in_sets
from radiomics_crlm.modelling.frozen import FrozenModel
from radiomics_crlm.modelling.refit_band import Band
from radiomics_crlm.scoring.bundle import BundleContent
from radiomics_crlm.scoring.reference import Uncertainty

EVENT_FREE = "event_free_months"
_WORDS = np.array(["neither", "no_event", "event", "either"], dtype=object)


def interval_names(content: BundleContent) -> list[str]:
    """Columns of :func:`interval_columns`, in order; none for a bundle that knows nothing of its uncertainty.

    ``outcome_{m}m`` is text, all others are numbers.
    """
    if content.uncertainty is None:
        return []
    names = []
    for month in content.horizons:
        names += [f"outcome_{month}m", f"probability_{month}m_lower", f"probability_{month}m_upper"]
    return names if content.definition.kind == "binary" else [*names, EVENT_FREE]


def interval_columns(
    content: BundleContent,
    model: FrozenModel,  # noqa: ARG001 - what is known of a row, whatever the method will need
    table: pd.DataFrame,  # noqa: ARG001
    risk: np.ndarray,
    probability: np.ndarray,
    spoken: Sequence[int],
) -> dict[str, np.ndarray]:
    """Columns that say how uncertain each prediction is.

    Parameters
    ----------
    content, model, table
        The bundle, its model, and the predictors of n rows.
    risk
        n risks.
    probability, spoken
        n x months: finite probabilities of the event by each of the months ``spoken``.

    Returns
    -------
    dict
        The columns :func:`interval_names`, n cells each; null (None or NaN) where the bundle does not know.

        ``outcome_{m}m``
            The conformal prediction set: ``event``, ``no_event``, ``either`` (both are plausible: the model does not
            tell) or ``neither`` (the model contradicts itself for such a patient).
        ``probability_{m}m_lower``, ``probability_{m}m_upper``
            Range of 95 % of models refitted on bootstrap samples, for patients with such a prediction; not a
            confidence interval of this patient's own risk.
        ``event_free_months``
            90 % conformal lower bound of the time to the event, at most the last month of which the bundle speaks.
    """
    known = content.uncertainty
    if known is None:
        return {}
    rows = len(risk)
    columns: dict[str, np.ndarray] = {}
    for name in interval_names(content):
        text = name.startswith("outcome_")
        columns[name] = np.full(rows, None, dtype=object) if text else np.full(rows, np.nan)
    position = {month: column for column, month in enumerate(spoken)}
    for found in known.sets:
        if found.months in position:
            event, none = in_sets(probability[:, position[found.months]], found.threshold)
            columns[f"outcome_{found.months}m"] = _WORDS[2 * event.astype(int) + none]
    for band in known.bands:
        if band.months in position:
            limits = Band(np.array(band.centre), np.array(band.lower), np.array(band.upper)).around(
                probability[:, position[band.months]]
            )
            columns[f"probability_{band.months}m_lower"], columns[f"probability_{band.months}m_upper"] = limits
    return columns | _bound(known, probability, position)


def _bound(known: Uncertainty, probability: np.ndarray, position: dict[int, int]) -> dict[str, np.ndarray]:
    bound = known.bound
    if bound is None or not set(bound.months) <= set(position):
        return {}
    incidence = probability[:, [position[month] for month in bound.months]]
    return {EVENT_FREE: event_free(incidence, bound.months, bound.incidence)}
