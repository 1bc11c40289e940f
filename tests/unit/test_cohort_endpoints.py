"""Endpoints: event codes and times from chart columns, and a reason for everyone without an outcome."""

from __future__ import annotations

import pandas as pd
import pytest

from radiomics_crlm.cohort.clinical import clean_clinical
from radiomics_crlm.cohort.endpoints import build_outcome
from radiomics_crlm.config import EndpointConfig, load_endpoints, parse_config
from radiomics_crlm.errors import ConfigError

ENDPOINTS = load_endpoints()


def charts(**columns: list[str]) -> pd.DataFrame:
    keys = [f"P{i}" for i in range(len(next(iter(columns.values()))))]
    return clean_clinical(pd.DataFrame({"patient_id": keys, **columns}, dtype="object")).table


def test_codes_and_reasons():
    clinical = charts(
        recurrence_any=["1", "0", "0", "", "1", "0"],
        rfs_event=["1", "1", "0", "1", "0", "0"],
        rfs_months=["6", "9", "30", "4", "5", ""],
    )
    outcome = build_outcome(clinical, ENDPOINTS["recurrence"], "recurrence")
    assert outcome.table["patient_id"].tolist() == ["P0", "P1", "P2"]
    assert outcome.table["event"].tolist() == [1, 2, 0]
    assert outcome.table["months"].tolist() == [6, 9, 30]
    assert {e.patient_id: e.code for e in outcome.exclusions} == {
        "P3": "outcome_missing",
        "P4": "outcome_contradiction",
        "P5": "outcome_missing",
    }


def test_patients_who_were_never_resected_are_not_the_population():
    clinical = charts(
        recurrence_any=["1", "", ""],
        rfs_event=["1", "", ""],
        rfs_months=["6", "", ""],
        complete_local_treatment=["1", "0", "1"],
    )
    outcome = build_outcome(clinical, ENDPOINTS["recurrence"], "recurrence")
    assert {e.patient_id: e.code for e in outcome.exclusions} == {"P1": "not_in_population", "P2": "outcome_missing"}


def test_conversion_is_known_at_its_horizon():
    clinical = charts(
        initially_resectable=["0", "0", "1", ""],
        complete_local_treatment=["1", "0", "1", "1"],
    )
    outcome = build_outcome(clinical, ENDPOINTS["conversion"], "conversion")
    assert outcome.table["event"].tolist() == [1, 0]
    assert outcome.table["months"].tolist() == [12, 12]
    assert {e.patient_id: e.code for e in outcome.exclusions} == {"P2": "not_in_population", "P3": "population_unknown"}


def test_a_column_that_the_cohort_lacks_is_named():
    with pytest.raises(ConfigError, match="endpoint os: .*lacks columns.*expected os_event, os_months"):
        build_outcome(charts(age_years=["60"]), ENDPOINTS["os"], "os")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon_months": None}, "a binary endpoint needs horizon_months"),
        ({"kind": "time_to_event"}, "has no horizon_months"),
        ({"horizon_months": 0}, "greater than 0"),
        ({"prediction_time": "later"}, "prediction_time: Input should be 'baseline'"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_contradictory_definitions(change, message):
    content = {**ENDPOINTS["recurrence_24m"].model_dump(), **change}
    with pytest.raises(ConfigError, match=message):
        parse_config(EndpointConfig, content, where="test")


def test_levels_that_are_the_event():
    clinical = charts(best_response=["CR", "PR", "SD", "PD", ""], measurable_lesion=["1", "", "1", "0", "1"])
    outcome = build_outcome(clinical, ENDPOINTS["response"], "response")
    assert outcome.table["event"].tolist() == [1, 1, 0]
    assert {e.patient_id: e.code for e in outcome.exclusions} == {"P3": "not_in_population", "P4": "outcome_missing"}


def test_death_competes_with_conversion_in_a_window():
    clinical = charts(
        initially_resectable=["0"] * 4,
        complete_local_treatment=["1", "0", "0", "1"],
        conversion_event=["1", "1", "0", "0"],
        conversion_months=["5", "3", "20", "4"],
    )
    outcome = build_outcome(clinical, ENDPOINTS["conversion_6m"], "conversion_6m")
    assert outcome.table["event"].tolist() == [1, 2, 0]
    assert {e.patient_id: e.code for e in outcome.exclusions} == {"P3": "outcome_contradiction"}


def test_every_endpoint_says_when_time_begins_and_when_it_speaks():
    assert all(endpoint.index_date and endpoint.prediction_time for endpoint in ENDPOINTS.values())
    moments = {
        name: ENDPOINTS[name].prediction_time for name in ("conversion", "conversion_restaging", "recurrence_6m")
    }
    assert moments == {"conversion": "baseline", "conversion_restaging": "restaging", "recurrence_6m": "preoperative"}
