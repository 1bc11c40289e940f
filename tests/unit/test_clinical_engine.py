"""The evaluation of rules: tables, unknown rules, refused inputs, fallbacks and flags."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.decisions import steps
from radiomics_crlm.clinical.derivation import Prepared
from radiomics_crlm.clinical.engine import facts_of
from radiomics_crlm.clinical.table import BLOCK, COLUMNS
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.schema import check_table, load_schema, parse_table

FONG = {"node_positive_primary": True, "dfi_months": 3, "n_liver_mets": 2, "largest_met_mm": 51, "cea_ng_ml": 201}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fong_csr", r"unknown rule; got 'fong_csr'\. Did you mean fong_crs"),
        ("game", r"Did you mean .*game2018"),
        ("zzzzzz", r"See clinical\.rule_ids\(\)"),
    ],
)
def test_an_unknown_rule_names_near_matches(name: str, message: str) -> None:
    for attempt in (
        lambda: clinical.evaluate(name, {}),
        lambda: clinical.evaluate_table(pd.DataFrame({"patient_id": ["a"]}), [name]),
        lambda: clinical.describe(name),
        lambda: clinical.inputs_of(name),
        lambda: clinical.prediction_inputs(name),
    ):
        with pytest.raises(ConfigError, match=message):
            attempt()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"n_liver_mets": [1]},
            "the table has no column patient_id. Name the column of patient keys patient_id.",
        ),
        ({"patient_id": ["a", None]}, "row 3: patient_id is empty."),
        ({"patient_id": ["a", "b", "a"]}, "row 4: patient_id is not unique; expected one row per patient."),
    ],
)
def test_a_table_without_a_key_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        clinical.evaluate_table(pd.DataFrame(table), ["fong_crs"])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("n_liver_mets", 0, "n_liver_mets must be a whole number from 1 to 200 lesions"),
        ("n_liver_mets", 2.5, "n_liver_mets must be a whole number from 1 to 200 lesions"),
        ("n_liver_mets", "many", "n_liver_mets must be a whole number from 1 to 200 lesions"),
        ("n_liver_mets", True, "n_liver_mets must be a whole number from 1 to 200 lesions"),
        ("largest_met_mm", 301, "largest_met_mm must be a number from 0 to 300 mm"),
        ("cea_ng_ml", -999, "cea_ng_ml must be a number from 0 to 100000 ng/mL"),
        ("cea_ng_ml", float("inf"), "cea_ng_ml must be a number from 0 to 100000 ng/mL"),
        ("dfi_months", -999, "dfi_months must be a number from 0 to 600 months"),
        ("node_positive_primary", "perhaps", "node_positive_primary must be true or false"),
        ("node_positive_primary", 2, "node_positive_primary must be true or false"),
        ("primary_pn_category", "N3", "primary_pn_category must be one of N0, N1, N2"),
        ("primary_pn_category", 1, "primary_pn_category must be one of N0, N1, N2"),
        ("crlm_diagnosis_date", "31.12.2024", "crlm_diagnosis_date must be an ISO 8601 date"),
        ("crlm_diagnosis_date", 20240101, "crlm_diagnosis_date must be an ISO 8601 date"),
        ("cea_ng_ml", [1, 2], "cea_ng_ml must be a number from 0 to 100000 ng/mL"),
    ],
)
def test_a_refused_input_is_invalid_with_a_reason(name: str, value: object, reason: str) -> None:
    got = clinical.evaluate("fong_crs", {**FONG, name: value})
    assert (got.status, got.reason) == ("invalid", reason)
    assert (got.score, got.group, got.bounds, got.missing) == (None, None, None, ())


@pytest.mark.parametrize(
    ("name", "value"), [("cea_ng_ml", 987654.25), ("crlm_diagnosis_date", "3.4.1987"), ("primary_site", "Dr X")]
)
def test_a_reason_never_holds_the_value(name: str, value: object) -> None:
    for rule in clinical.rule_ids():
        assert str(value) not in str(clinical.evaluate(rule, {name: value}).as_dict())


@pytest.mark.parametrize(
    ("rule", "inputs", "reason"),
    [
        ("fong_crs", {"n_liver_mets": 1, "multiple_metastases": True}, "n_liver_mets contradicts multiple_metastases"),
        (
            "fong_crs",
            {"node_positive_primary": False, "primary_pn_category": "N2"},
            "node_positive_primary contradicts primary_pn_category",
        ),
        (
            "jsccr_grade",
            {"primary_pn_category": "N1", "primary_positive_nodes": 4},
            "primary_pn_category contradicts primary_positive_nodes",
        ),
        (
            "nagashima2006",
            {"extrahepatic_present": False, "extrahepatic_status": "resectable"},
            "extrahepatic_present contradicts extrahepatic_status",
        ),
        ("game2018", {"ras_status": "wild_type", "kras_status": "mutant"}, "ras_status contradicts kras_status"),
        ("mcs2019", {"ras_status": "wild_type", "nras_status": "mutant"}, "ras_status contradicts nras_status"),
    ],
)
def test_contradictory_inputs_are_invalid(rule: str, inputs: dict[str, object], reason: str) -> None:
    got = clinical.evaluate(rule, inputs)
    assert (got.status, got.reason) == ("invalid", reason)


def test_tumour_deposits_without_a_positive_node_are_no_contradiction() -> None:
    inputs = {"primary_pn_category": "N1", "primary_positive_nodes": 0, "ras_status": "mutant", "largest_met_mm": 10}
    assert clinical.evaluate("mcs2019", inputs).score == 2


@pytest.mark.parametrize(
    ("inputs", "points"),
    [
        ({"dfi_months": 11.9}, 1),
        ({"synchronous_crlm": True}, 1),
        ({"synchronous_crlm": False}, None),
        ({"dfi_months": 24, "synchronous_crlm": True}, 0),
        ({"primary_diagnosis_date": "2024-01-01", "crlm_diagnosis_date": datetime.date(2024, 12, 30)}, 1),
        ({"primary_diagnosis_date": "2024-01-01", "crlm_diagnosis_date": pd.Timestamp("2025-01-01")}, 0),
        ({"primary_diagnosis_date": "2024-01-01", "crlm_diagnosis_date": "2023-06-01"}, 1),
        ({"primary_diagnosis_date": "2020-01-01", "crlm_diagnosis_date": "2024-01-01", "dfi_months": 1}, 1),
        ({"primary_diagnosis_date": "2020-01-01", "synchronous_crlm": True}, 1),
        ({"primary_diagnosis_date": "2020-01-01"}, None),
    ],
)
def test_the_interval_falls_back_to_dates_and_then_to_a_true_flag(
    inputs: dict[str, object], points: int | None
) -> None:
    others = {"node_positive_primary": False, "n_liver_mets": 1, "largest_met_mm": 10, "cea_ng_ml": 1}
    got = clinical.evaluate("fong_crs", {**others, **inputs})
    assert got.score == points
    if points is None:
        assert got.missing == ("dfi_months",)
        assert got.bounds == (0, 1)


@pytest.mark.parametrize(
    ("rule", "inputs", "boundary"),
    [
        ("fong_crs", {**FONG, "largest_met_mm": 50, "cea_ng_ml": 200}, ("largest_met_mm", "cea_ng_ml")),
        ("fong_crs", FONG, ()),
        ("nordlinger1996", {"age_years": 60}, ("age_years",)),
        ("konopke2009", {"cea_ng_ml": 200}, ()),
        ("game2018", {"cea_ng_ml": 20}, ("cea_ng_ml",)),
        ("resect_allard2017", {"n_liver_mets": 10}, ("n_liver_mets",)),
        ("resect_allard2017", {"n_liver_mets": 11}, ()),
        (
            "fong_crs",
            {
                "primary_diagnosis_date": "2024-01-01",
                "primary_resection_date": "2024-02-01",
                "crlm_diagnosis_date": "2025-01-15",
            },
            ("dfi_months",),
        ),
    ],
)
def test_a_disputed_bound_raises_a_flag(rule: str, inputs: dict[str, object], boundary: tuple[str, ...]) -> None:
    assert clinical.evaluate(rule, inputs).boundary == boundary


def test_inputs_that_a_rule_does_not_use_are_ignored() -> None:
    assert (
        clinical.evaluate("konopke2009", {"multiple_metastases": "rubbish", "weight_kg": -4}).status == "not_assessable"
    )


def test_a_result_shows_only_the_keys_that_apply() -> None:
    assert clinical.evaluate("fong_crs", {**FONG, "largest_met_mm": 20}).as_dict() == {
        "status": "ok",
        "score": 4,
        "group": "intermediate",
    }
    waiting = clinical.evaluate("fong_crs", {"synchronous_crlm": True, "n_liver_mets": 3}).as_dict()
    assert waiting == {
        "status": "not_assessable",
        "bounds": [2, 5],
        "missing": ["node_positive_primary", "largest_met_mm", "cea_ng_ml"],
        "possible": ["high", "intermediate", "low"],
    }
    assert clinical.evaluate("fong_crs", {"cea_ng_ml": -1}).as_dict().keys() == {"status", "reason"}


def test_the_table_keeps_patients_rules_and_order() -> None:
    table = pd.DataFrame({"patient_id": ["b", "a"], "n_liver_mets": [1, 2], "largest_met_mm": [20.0, np.nan]})
    rules = ["tbs2018", "resect_allard2017", "fong_crs"]
    got = clinical.evaluate_table(table, rules)
    assert tuple(got.columns) == COLUMNS == tuple(load_schema("rules").columns)
    assert list(zip(got["patient_id"], got["rule"], strict=True)) == [(p, r) for p in ("b", "a") for r in rules]
    pd.testing.assert_frame_equal(check_table(got, "rules"), got)


def test_one_bad_patient_costs_one_patient() -> None:
    table = pd.DataFrame([{**FONG, "patient_id": name} for name in "abc"]).astype({"cea_ng_ml": object})
    table.loc[1, "cea_ng_ml"] = "<5"
    got = clinical.evaluate_table(table, ["fong_crs", "mcs2019"])
    assert got.query("rule == 'fong_crs'")["status"].tolist() == ["ok", "invalid", "ok"]
    assert got.query("rule == 'mcs2019'")["status"].tolist() == ["not_assessable"] * 3
    assert got["reason"].dropna().tolist() == ["cea_ng_ml must be a number from 0 to 100000 ng/mL"]


def test_typed_columns_of_the_clinical_table_give_the_same_as_texts() -> None:
    raw = pd.DataFrame(
        {
            "patient_id": ["a", "b", "c"],
            "node_positive_primary": ["1", "0", ""],
            "synchronous_crlm": ["true", "", "false"],
            "n_liver_mets": ["3", "-999", "1"],
            "largest_met_mm": ["60", "20.5", "unknown"],
            "cea_ng_ml": ["250", "3", "4"],
            "ras_status": ["mutant", "wild_type", ""],
            "extrahepatic_status": ["none", "resectable", ""],
            "primary_diagnosis_date": ["2024-01-01", "2024-01-01", ""],
            "crlm_diagnosis_date": ["2025-03-01", "2024-02-01", ""],
        }
    )
    typed = parse_table(raw, load_schema("clinical")).table
    plain = typed.astype(object).where(typed.notna(), None)
    rules = ["fong_crs", "mcs2019", "game2018", "timing_dfi", "nagashima2006"]
    pd.testing.assert_frame_equal(clinical.evaluate_table(typed, rules), clinical.evaluate_table(plain, rules))
    assert clinical.evaluate_table(typed, ["fong_crs"])["score"].fillna(-1).tolist() == [4, -1, -1]
    assert clinical.evaluate_table(typed, ["nagashima2006"])["missing"].fillna("").str.split(
        ";"
    ).str.len().tolist() == [1, 2, 5]


def test_a_column_of_numbers_is_not_read_as_a_category() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b"], "ras_status": [1.0, np.nan]})
    got = clinical.evaluate_table(table, ["ras_margin"])
    assert got["status"].tolist() == ["invalid", "not_assessable"]


def test_results_do_not_share_the_lists_of_the_rule_files() -> None:
    for rule, inputs in (
        ("margin_class", {"resection_margin_mm": 0}),
        ("chemo_liver_injury", {"oxaliplatin_given": True, "irinotecan_given": True}),
        ("hypertrophy_strategy", {"sflr_pct": 25, "liver_quality": "normal"}),
        ("first_line_options", {"msi_status": "MSI-H_dMMR"}),
        ("dlm_status", {"seen_on_ct": True}),
        ("staging_workup", {"local_treatment_considered": True}),
    ):
        before = clinical.evaluate(rule, inputs)
        for entry in before.extra.values():
            if isinstance(entry, list):
                entry.clear()
        before.extra.clear()
        again = clinical.evaluate(rule, inputs)
        assert again.extra
        assert any(entry for entry in again.extra.values())


def test_criteria_show_met_and_the_failed_items_in_the_table() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b"], "r0_achievable": [True, False], "sflr_pct": [31.0, 20.0]})
    got = clinical.evaluate_table(table, ["resect_esmo2023"])
    assert got["group"].tolist() == ["met", "not_met"]
    assert got["reason"].fillna("").tolist() == ["", "r0_achievable;sflr_pct"]


def test_an_empty_table_gives_an_empty_result() -> None:
    got = clinical.evaluate_table(pd.DataFrame({"patient_id": pd.Series(dtype="str")}))
    assert got.empty
    assert tuple(got.columns) == COLUMNS


def test_optional_rules_run_only_when_asked_for() -> None:
    table = pd.DataFrame({"patient_id": ["a"]})
    ran = set(clinical.evaluate_table(table)["rule"])
    assert set(clinical.rule_ids()) - ran == {"makuuchi", "flr_hypertrophy", "albi"}
    assert clinical.evaluate_table(table, ["albi"])["missing"].tolist() == ["bilirubin_mg_dl;albumin_g_l"]


def test_a_table_of_steps_must_end() -> None:
    rows = [{"when": {"bilobar": True}, "group": "both"}]
    facts = facts_of(Prepared({"bilobar": np.array([0.0])}, np.array([None])))
    with pytest.raises(ConfigError, match=r"^mine: a table of steps has no last row without a condition\.$"):
        steps(Rule("mine", "", "", "steps", ("bilobar",), body={"rows": rows}), facts)


def test_a_rule_without_groups_has_none_between_its_bounds() -> None:
    for rule in ("rees2008_postop", "malik2007", "fong_seven_factors", "sirt_adverse"):
        got = clinical.evaluate(rule, {})
        assert (got.status, got.group_certain, got.extra) == ("not_assessable", None, {})


def test_a_table_longer_than_a_block_is_evaluated_whole() -> None:
    table = pd.DataFrame({"patient_id": [f"P{k}" for k in range(BLOCK + 1)], "cea_ng_ml": 5.0})
    assert clinical.evaluate_table(table, ["sirt_adverse"])["patient_id"].tolist() == table["patient_id"].tolist()


def test_origins_of_other_patients_are_refused() -> None:
    message = "^the table of sources has other rows than the clinical table; expected the same rows\\.$"
    with pytest.raises(InputError, match=message):
        clinical.evaluate_table(pd.DataFrame({"patient_id": ["a"]}), sources=pd.DataFrame({"cea_ng_ml": ["x", "y"]}))
