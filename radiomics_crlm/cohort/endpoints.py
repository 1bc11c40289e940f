"""Endpoints: from outcome columns of the clinical table to event codes and times, with a reason for everyone left
out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radiomics_crlm.cohort.exclusions import Exclusion
from radiomics_crlm.config import EndpointConfig
from radiomics_crlm.errors import ConfigError

CENSORED, EVENT, COMPETING = 0, 1, 2


@dataclass(frozen=True)
class EndpointOutcome:
    """Outcome rows of one endpoint (schema ``outcomes``) and the patients who have none."""

    name: str
    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...]


def build_outcome(clinical: pd.DataFrame, endpoint: EndpointConfig, name: str) -> EndpointOutcome:
    """Event code (0 censored, 1 event, 2 competing event first) and months from the index date, per patient.

    A binary endpoint without a time column gets its horizon as time: the label is known there.

    Raises
    ------
    ConfigError
        If the cohort lacks a column by which the endpoint is defined.
    """
    needed = [endpoint.event, endpoint.months, endpoint.competing, *endpoint.population]
    absent = [c for c in needed if c is not None and c not in clinical.columns]
    if absent:
        raise ConfigError(
            "the cohort lacks columns by which the endpoint is defined",
            where=f"endpoint {name}",
            expected=", ".join(absent),
            remedy="add the columns or remove the endpoint from the experiment",
        )
    codes = _exclusion_codes(clinical, endpoint)
    keys = clinical["patient_id"]
    exclusions = tuple(
        Exclusion(key, "endpoint", code, _REASONS[code], endpoint=name)
        for key, code in zip(keys, codes, strict=True)
        if code
    )
    kept = clinical[codes == ""]
    event = _happened(kept, endpoint).astype(bool).to_numpy()
    code = np.where(event, EVENT, CENSORED)
    if endpoint.competing is not None:
        other = kept[endpoint.competing].astype(bool).to_numpy()
        code = np.where(~event & other, COMPETING, code)
    months = (
        np.full(len(kept), float(endpoint.horizon_months or 0))
        if endpoint.months is None
        else kept[endpoint.months].astype(float).to_numpy()
    )
    table = pd.DataFrame(
        {"patient_id": kept["patient_id"].to_numpy(), "endpoint": name, "event": code.astype("int64"), "months": months}
    )
    return EndpointOutcome(name, table, exclusions)


_REASONS = {
    "population_unknown": "a column that defines the population is unknown",
    "not_in_population": "the patient does not belong to the population of the endpoint",
    "outcome_missing": "the outcome or its time is unknown",
    "outcome_contradiction": "the event is recorded, but the combined event column says no event",
}


def _happened(clinical: pd.DataFrame, endpoint: EndpointConfig) -> pd.Series:
    """Whether the event is recorded; null where unknown."""
    column = clinical[endpoint.event]
    if not endpoint.event_levels:
        return column.astype("boolean")
    return column.isin(endpoint.event_levels).astype("boolean").mask(column.isna())


def _exclusion_codes(clinical: pd.DataFrame, endpoint: EndpointConfig) -> np.ndarray:
    """Per row the first reason to leave the patient out, or an empty text."""
    codes = np.full(len(clinical), "", dtype=object)

    def mark(where: pd.Series, code: str) -> None:
        codes[where.to_numpy(dtype=bool) & (codes == "")] = code

    for column, value in endpoint.population.items():
        mark(clinical[column].isna(), "population_unknown")
        mark(clinical[column].fillna(value) != value, "not_in_population")
    for column, value in endpoint.population_if_recorded.items():
        if column in clinical:
            mark(clinical[column].fillna(value) != value, "not_in_population")
    for required in (endpoint.event, endpoint.months, endpoint.competing):
        if required is not None:
            mark(clinical[required].isna(), "outcome_missing")
    if endpoint.competing is not None:
        event = _happened(clinical, endpoint).fillna(False)
        mark(event & ~clinical[endpoint.competing].astype("boolean").fillna(True), "outcome_contradiction")
    return codes
