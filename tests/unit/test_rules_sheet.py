"""The sheet of one patient: components, what is missing, definitions side by side, escaping."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.clinical.components import Component, components
from radiomics_crlm.clinical.explain import TEAM
from radiomics_crlm.report.rules_sheet import build_sheet, render_sheet, sheet_text

PATIENT: dict[str, Any] = {
    "patient_id": "P1",
    "assessed_at": "before_operation",
    "node_positive_primary": True,
    "dfi_months": 3.0,
    "n_liver_mets": 2,
    "largest_met_mm": 50.0,
    "extrahepatic_status": "none",
    "r0_achievable": True,
    "sflr_pct": 26.0,
    "liver_quality": "normal",
}


def part(sheet: dict[str, Any], rule: str) -> dict[str, Any]:
    return next(one for family in sheet["families"] for one in family["rules"] if one["rule"] == rule)


def test_an_open_score_shows_its_bounds_and_what_could_still_change() -> None:
    fong = part(build_sheet(PATIENT), "fong_crs")
    assert fong["headline"] == "not assessable; between 3 and 4; intermediate is certain"
    assert [(c["state"], c["points"]) for c in fong["components"]] == [
        ("yes", "1"), ("yes", "1"), ("yes", "1"), ("no", "0"), ("unknown", "0 to 1"),
    ]  # fmt: skip
    assert fong["missing"] == ["cea_ng_ml"]
    assert fong["change"] == ["cea_ng_ml (0 to 1 points)"]
    assert fong["boundary"] == ["largest_met_mm"]
    assert part(build_sheet({**PATIENT, "cea_ng_ml": 3.0}), "fong_crs")["headline"] == "3 (of 0 to 5), intermediate"


def test_definitions_stand_in_their_historical_order_with_their_disagreement() -> None:
    definitions = build_sheet(PATIENT)["resectability"]
    years = [int(found[0]) for row in definitions["rows"] if (found := re.findall(r"(?:19|20)\d\d", row["title"]))]
    assert years == sorted(years)
    assert len(definitions["rows"]) == 16
    answers = {row["rule"]: row["answer"] for row in definitions["rows"]}
    assert answers["resect_rees2008"] == "met"
    assert answers["resect_esmo2023"] == "not met"
    assert answers["resect_ekberg1986"] == "not assessable"
    assert re.search(r"disagree: \d+ met \(.*Rees 2008.*\), \d+ not met \(.*ESMO", definitions["verdict"])


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"sflr_pct": 45.0}, "All 4 yes/no definitions that can be assessed are met."),
        ({"r0_achievable": None, "sflr_pct": None}, "No yes/no definition can be assessed."),
        ({"r0_achievable": False, "sflr_pct": 45.0}, "are not met"),
    ],
)
def test_the_verdict_counts_who_is_met(changes: dict[str, Any], verdict: str) -> None:
    assert verdict in build_sheet({**PATIENT, **changes})["resectability"]["verdict"]


def test_text_and_page_say_that_a_team_decides_and_fit() -> None:
    sheet = build_sheet(PATIENT, {"largest_met_mm": "masks"})
    text, page = sheet_text(sheet), render_sheet(sheet)
    assert TEAM in text
    assert TEAM in page
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"largest_met_mm +50 mm +masks", text)
    assert text == sheet_text(build_sheet(PATIENT, {"largest_met_mm": "masks"}))
    assert not re.search(r"<script|https?://|src=|@import|url\(", page)
    assert "default-src 'none'" in page


def test_everything_from_the_table_is_escaped() -> None:
    page = render_sheet(build_sheet({**PATIENT, "patient_id": "<script>alert(1)</script>", "assessed_at": "<b>x</b>"}))
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


def test_invalid_and_suspicious_values_are_told_without_the_value() -> None:
    sheet = build_sheet({**PATIENT, "n_liver_mets": 0, "cea_ng_ml": 54321.0, "primary_pn_category": "N7"})
    assert part(sheet, "fong_crs")["headline"].startswith("invalid input: ")
    assert {w["code"] for w in sheet["warnings"]} == {"cea_ng_ml:unit_suspected"}
    rules = [one for family in sheet["families"] for one in family["rules"]]
    assert not any("54321" in str(one) or "N7" in str(one) for one in rules)


def test_rules_without_any_known_input_are_listed_with_what_they_miss() -> None:
    sheet = build_sheet(PATIENT)
    silent = {one["rule"]: one["missing"] for one in sheet["silent"]}
    assert silent["portal_venous_qc"] == ["contrast_delay_s"]
    assert "fong_crs" not in silent


def test_outcomes_never_stand_on_the_sheet() -> None:
    text = sheet_text(build_sheet({**PATIENT, "os_months": 12.5, "os_event": True}))
    assert "os_months" not in text


@pytest.mark.parametrize(
    ("rule", "inputs", "expected"),
    [
        ("game2018", {"n_liver_mets": 9}, (None, 2.0, 2.0)),
        ("game2018", {"n_liver_mets": 2}, (None, 0.0, 2.0)),
        ("game2018", {"n_liver_mets": 2, "largest_met_mm": 10}, (False, 0.0, 0.0)),
    ],
)
def test_the_burden_item_has_bounds(
    rule: str, inputs: dict[str, object], expected: tuple[bool | None, float, float]
) -> None:
    item = components(rule, inputs)[3]
    assert (item.state, item.lower, item.upper) == expected


def test_components_of_criteria_follow_three_valued_logic() -> None:
    items = {
        c.text: (c.state, c.missing) for c in components("resect_seed004", {"r0_achievable": True, "sflr_pct": 20})
    }
    assert items == {
        "r0_achievable": (True, ()),
        "sflr_pct >= 30 or rlv_bw is met": (None, ("flr_ml", "weight_kg")),
    }
    assert [c.state for c in components("transmet2024", {"cea_ng_ml": 90, "cea_max_ng_ml": 200})][8] is True
    open_item = components("transmet2024", {"cea_ng_ml": 90})[8]
    assert open_item.state is None


def test_contradictions_have_no_components() -> None:
    assert components("fong_crs", {"node_positive_primary": False, "primary_pn_category": "N2"}) == ()
    assert components("tbs2018", {"n_liver_mets": 2}) == ()


@pytest.mark.parametrize("null", [None, np.nan, pd.NA, pd.NaT])
def test_unknown_in_any_disguise_is_no_input(null: object) -> None:
    sheet = build_sheet({"patient_id": "P1", "cea_ng_ml": null})
    assert sheet["inputs"] == []
    assert sheet["warnings"] == []


@pytest.mark.parametrize(
    ("rule", "inputs", "index", "missing"),
    [
        ("resect_seed004", {}, 1, ("sflr_pct", "flr_ml", "weight_kg")),
        ("resect_seed004", {"sflr_pct": 30}, 1, ()),
        ("resect_rees2008", {}, 0, ("r0_achievable",)),
        ("resect_rees2008", {"sflr_pct": 30}, 1, ()),
        ("resect_phelip2016", {"n_liver_mets": 9}, 0, ("n_segments_involved",)),
        ("ninomiya_nac", {"n_liver_mets": 2}, 0, ("dfi_months",)),
        ("sugiyama2022", {"n_liver_mets": 2}, 0, ("primary_site",)),
        ("transmet2024", {}, 8, ("cea_ng_ml",)),
        ("resect_ekberg1986", {"n_liver_mets": 9}, 0, ()),
    ],
)
def test_an_open_item_names_the_inputs_it_waits_for(
    rule: str, inputs: dict[str, object], index: int, missing: tuple[str, ...]
) -> None:
    assert components(rule, inputs)[index].missing == missing


def test_an_item_of_a_score_shows_all_its_bins_and_what_keeps_it_open() -> None:
    found = components("rees2008_postop", {"cea_ng_ml": 10})
    cea = "cea_ng_ml < 6: 0 / cea_ng_ml [6, 60]: 1 / cea_ng_ml > 60: 3"
    size = "largest_met_mm < 50: 0 / largest_met_mm [50, 100]: 2 / largest_met_mm > 100: 7"
    assert found[2] == Component(cea, True, 1.0, 1.0)
    assert found[3] == Component(size, None, 0.0, 7.0, ("largest_met_mm",))


def test_only_one_rule_halves_the_marker() -> None:
    found = components("lt_favourable_predictors", {"cea_ng_ml": 10, "mtv_pet_cm3": 70})
    assert [item.state for item in found] == [None, False, None, None]
