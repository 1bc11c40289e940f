"""How uncertain the predictions of a delivered model are: thresholds for its bundle, coverage in groups for the card.

Only predictions of patients that the predicting model had not seen are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import EndpointConfig
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels, make_outcome
from radiomics_crlm.modelling.conformal import (
    LEVEL,
    Threshold,
    bound_threshold,
    event_free,
    in_sets,
    set_threshold,
)
from radiomics_crlm.modelling.refit_band import SMALLEST, refit_band
from radiomics_crlm.scoring.reference import EventFreeBound, OutcomeSet, RefitBand, Uncertainty

COVERAGE = [
    "endpoint", "model", "kind", "horizon_months", "column", "level", "threshold", "n", "known", "covered", "single",
    "median_months",
]  # fmt: skip
FEWEST = 10
"""Known outcomes that a group needs for its coverage to be told."""
_DIGITS = 4


def uncertainty_of(
    predictions: pd.DataFrame,
    outcome: pd.DataFrame,
    refits: pd.DataFrame,
    endpoint: EndpointConfig,
    months: Sequence[int],
    *,
    levels: pd.DataFrame | None = None,
) -> tuple[Uncertainty, pd.DataFrame]:
    """Uncertainty of one delivered model.

    Parameters
    ----------
    predictions
        Out-of-fold predictions of this model (table ``predictions``), all repeats.
    outcome
        ``patient_id, event, months`` of the endpoint.
    refits
        Rows of the table ``instability`` of this model; may be empty.
    endpoint
        The endpoint.
    months
        Horizons of which the delivered model speaks.
    levels
        Subgroups of the patients (index), text, a column per question asked.

    Returns
    -------
    Uncertainty, DataFrame
        What the bundle keeps, and rows of the table ``conformal_coverage`` (without ``endpoint`` and ``model``).
    """
    folds = _OutOfFold.of(predictions, outcome, months)
    groups = _groups(folds.patients, levels)
    rows: list[dict[str, Any]] = []
    sets = []
    for number, month in enumerate(folds.months):
        found = set_threshold(folds.probability[:, :, number], folds.y, month)
        covered = round(found.coverage(), _DIGITS)
        sets.append(OutcomeSet(months=month, threshold=found.value, patients=found.patients, covered=covered))
        rows += _rows("outcome_set", month, found, groups | _by_outcome(folds.y, month), folds.single(number, found))
    bound = None
    if endpoint.kind != "binary" and folds.months:
        found = bound_threshold(folds.probability, folds.y, folds.months)
        covered = round(found.coverage(), _DIGITS)
        bound = EventFreeBound(
            months=folds.months, incidence=found.value, patients=found.patients, covered=covered
        )  # fmt: skip
        rows += _rows("event_free", folds.months[-1], found, groups, folds.free(found.value))
    known = Uncertainty(level=LEVEL, sets=tuple(sets), bound=bound, bands=_bands(refits, months))
    return known, pd.DataFrame(rows, columns=COVERAGE[2:])


class _OutOfFold:
    """Predictions of patients x repeats x months, without months of which any model of a fold does not speak."""

    def __init__(self, patients: pd.Index, y: Outcome, months: tuple[int, ...], probability: Floats) -> None:
        self.patients, self.y, self.months, self.probability = patients, y, months, probability

    @classmethod
    def of(cls, predictions: pd.DataFrame, outcome: pd.DataFrame, months: Sequence[int]) -> _OutOfFold:
        names = {month: f"probability_{month}m" for month in months}
        spoken = tuple(m for m, name in names.items() if name in predictions and predictions[name].notna().all())
        wide = [predictions.pivot(index="patient_id", columns="repeat", values=names[m]) for m in spoken]
        patients = pd.Index(predictions["patient_id"].unique()).sort_values()
        rows = outcome.set_index("patient_id").loc[patients]
        y = make_outcome(rows["event"], rows["months"])
        cube = np.stack([table.loc[patients].to_numpy(dtype=float) for table in wide], axis=2) if wide else np.empty(0)
        return cls(patients, y, spoken, cube)

    def single(self, number: int, found: Threshold) -> Mapping[str, Floats]:
        event, none = in_sets(self.probability[:, :, number], found.value)
        return {"single": (event != none).mean(axis=1)}

    def free(self, threshold: float) -> Mapping[str, Floats]:
        repeats = range(self.probability.shape[1])
        bounds = [event_free(self.probability[:, r, :], self.months, threshold) for r in repeats]
        return {"median_months": np.mean(bounds, axis=0)}


def _groups(patients: pd.Index, levels: pd.DataFrame | None) -> dict[tuple[str, str], np.ndarray]:
    found = {("all", "all"): np.ones(len(patients), dtype=bool)}
    asked = pd.DataFrame(index=patients) if levels is None else levels.reindex(patients)
    for name, cells in asked.items():
        found |= {(str(name), str(level)): (cells == level).to_numpy() for level in sorted(set(cells), key=str)}
    return found


def _by_outcome(y: Outcome, month: float) -> dict[tuple[str, str], np.ndarray]:
    """Patients by what happened to them by the month; those of whom it is not known are in neither group."""
    label, weight = horizon_labels(y, month)
    known = weight > 0
    return {("outcome", "event"): known & (label == 1), ("outcome", "no_event"): known & (label == 0)}


def _rows(
    kind: str,
    month: int,
    found: Threshold,
    groups: Mapping[tuple[str, str], np.ndarray],
    extra: Mapping[str, Floats],
) -> list[dict[str, Any]]:
    rows = []
    for (column, level), inside in groups.items():
        known = int((found.weight[inside] > 0).sum())
        row: dict[str, Any] = {
            "kind": kind, "horizon_months": float(month), "column": column, "level": level, "threshold": found.value,
            "n": int(inside.sum()), "known": known, "covered": np.nan, "single": np.nan, "median_months": np.nan,
        }  # fmt: skip
        if known >= FEWEST:
            row["covered"] = found.coverage(inside)
            for name, values in extra.items():
                row[name] = float(np.median(values[inside]) if name == "median_months" else values[inside].mean())
        rows.append(row)
    return rows


def _bands(refits: pd.DataFrame, months: Sequence[int]) -> tuple[RefitBand, ...]:
    bands = []
    for month in months if len(refits) else ():
        own = refits[refits["horizon_months"] == month]
        band = refit_band(*(own[name].to_numpy(dtype=float) for name in ("prediction", "lower", "upper")))
        if band is None:
            continue
        centre, lower, upper = (
            tuple(round(x, _DIGITS) for x in side.tolist()) for side in (band.centre, band.lower, band.upper)
        )
        if len(set(centre)) == len(centre):
            draws = int(own["draws"].iloc[0])
            bands.append(
                RefitBand(months=month, draws=draws, smallest=SMALLEST, centre=centre, lower=lower, upper=upper)
            )
    return tuple(bands)
