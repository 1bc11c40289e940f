"""Units at the door: explicit, recorded, and never guessed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.cohort.clinical import clean_clinical, clean_imaging
from radiomics_crlm.cohort.units import CONVERTED, NEGATIVE
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import ConfigError, InputError


def clean(notes: CohortNotes | None = None, *, keep: bool = False, **columns: list[object]):
    size = len(next(iter(columns.values())))
    raw = pd.DataFrame({"patient_id": [f"P{k}" for k in range(size)], **columns}, dtype=object)
    return clean_clinical(raw, notes=notes, keep_bad_cells=keep)


@pytest.mark.parametrize(
    ("header", "cell", "name", "value"),
    [
        ("largest_met_cm", "4.5", "largest_met_mm", 45.0),
        ("largest_met_cm", 1.1, "largest_met_mm", 11.0),
        ("cea_ug_l", "200", "cea_ng_ml", 200.0),
        ("cea_ng_l", "200000", "cea_ng_ml", 200.0),
        ("sflr_fraction", "0.4", "sflr_pct", 40.0),
        ("sflr_fraction", "40 %", "sflr_pct", 40.0),
        ("sflr_pct", "40%", "sflr_pct", 40.0),
        ("dfi_days", "365.25", "dfi_months", 12.0),
        ("dfi_years", "2", "dfi_months", 24.0),
        ("tlv_l", "1.6", "tlv_ml", 1600.0),
        ("flr_cm3", "520", "flr_ml", 520.0),
        ("bilirubin_umol_l", "17.1", "bilirubin_mg_dl", 1.0),
        ("albumin_g_dl", "4.1", "albumin_g_l", 41.0),
        ("height_m", "1.78", "height_cm", 178.0),
    ],
)
def test_a_header_that_names_another_unit_is_converted_and_recorded(header, cell, name, value):
    rows = clean(**{header: [cell]})
    assert rows.table[name].iloc[0] == value
    if header != name:
        assert rows.origins[name].iloc[0].startswith("chart_converted_from_")
    assert rows.exclusions == ()


def test_a_declared_unit_is_converted():
    rows = clean(CohortNotes(units={"largest_met_mm": "cm", "cea_ng_ml": "ug_l"}), LargMetSize_mm=["5"], CEA=["7"])
    assert rows.table[["largest_met_mm", "cea_ng_ml"]].iloc[0].tolist() == [50.0, 7.0]
    assert rows.origins["largest_met_mm"].iloc[0] == CONVERTED.format("cm")


@pytest.mark.parametrize(("column", "unit"), [("largest_met_mm", "inch"), ("n_liver_mets", "dozen")])
def test_an_unknown_declared_unit_is_refused(column, unit):
    with pytest.raises(ConfigError, match="declares an unknown unit; expected .*got"):
        clean(CohortNotes(units={column: unit}), **{column: ["1"]})


def test_nothing_is_guessed_from_the_values():
    rows = clean(largest_met_mm=["4.5"], sflr_pct=["0.4"], cea_ng_ml=["5300"])
    assert rows.table[["largest_met_mm", "sflr_pct", "cea_ng_ml"]].iloc[0].tolist() == [4.5, 0.4, 5300.0]


def test_both_units_of_one_input_are_refused():
    with pytest.raises(InputError, match="gives the column|unknown column"):
        clean(largest_met_mm=["45"], largest_met_cm=["4.5"])


def test_dates_in_a_declared_form():
    notes = CohortNotes(date_format="%d.%m.%Y")
    rows = clean(notes, keep=True, crlm_diagnosis_date=["31.12.2024", "2024-12-31", "31.13.2024", ""])
    days = rows.table["crlm_diagnosis_date"].tolist()
    assert str(days[0])[:10] == "2024-12-31"
    assert days[2] == "31.13.2024"
    assert {e.code for e in clean(notes, crlm_diagnosis_date=["31.13.2024"]).exclusions} == {"wrong_type"}


@pytest.mark.parametrize(
    ("cell", "value", "origin"),
    [("-2", 0.0, NEGATIVE), ("-0.1", 0.0, NEGATIVE), ("0", 0.0, None), ("3", 3.0, None), ("-999", None, None)],
)
def test_a_negative_interval_becomes_zero_with_a_mark(cell, value, origin):
    rows = clean(dfi_months=[cell], cea_ng_ml=["1"])
    assert rows.exclusions == ()
    got = rows.table["dfi_months"].iloc[0]
    assert np.isnan(got) if value is None else got == value
    marked = rows.origins["dfi_months"].iloc[0] if "dfi_months" in rows.origins else None
    assert marked == origin


def test_an_absurd_negative_interval_is_still_refused():
    assert [e.code for e in clean(dfi_months=["-601"]).exclusions] == ["out_of_range"]


def test_bad_cells_can_be_kept_for_the_rules():
    rows = clean(keep=True, n_liver_mets=["0", "2", "many"], cea_ng_ml=["1", "", "3"])
    assert rows.table["n_liver_mets"].tolist() == ["0", 2, "many"]
    assert rows.table["cea_ng_ml"].isna().tolist() == [False, True, False]
    assert rows.exclusions == ()
    assert len(clean(n_liver_mets=["0", "2", "many"]).exclusions) == 2


def test_scans_against_the_order_of_their_moments_are_left_out():
    raw = pd.DataFrame(
        {
            "patient_id": ["A", "A", "B", "B", "C"],
            "timepoint": ["baseline", "restaging", "baseline", "restaging", "baseline"],
            "modality": "CT",
            "sequence": "portal_venous",
            "image": "i",
            "mask": "m",
            "mask_roles": "lesion=*",
            "study_day": [60, 0, 0, 60, 9],
        }
    )
    table, exclusions = clean_imaging(raw, {"A", "B", "C"})
    assert table["patient_id"].tolist() == ["B", "B", "C"]
    assert [(e.patient_id, e.timepoint, e.code) for e in exclusions] == [
        ("A", "baseline", "scans_out_of_order"),
        ("A", "restaging", "scans_out_of_order"),
    ]
