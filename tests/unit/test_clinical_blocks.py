"""Tables of patients: classes that a rule cannot tell apart, blocks, warnings, origins, details."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from radiomics_crlm import clinical
from radiomics_crlm.clinical.catalogue import rules
from radiomics_crlm.clinical.classes import _THROUGH_BOUNDS, first_rows, reading
from radiomics_crlm.clinical.facts import RefusedInputError
from radiomics_crlm.clinical.plausibility import warning_texts
from radiomics_crlm.clinical.result import RuleResult
from radiomics_crlm.clinical.table import BLOCK, COLUMNS, _shown, default_rules, wide_fields
from radiomics_crlm.clinical.vocabulary import vocabulary
from radiomics_crlm.cohort.units import NEGATIVE
from radiomics_crlm.errors import InputError
from radiomics_crlm.resources import resource
from radiomics_crlm.schema import check_table, load_schema

STEPS = (-1.0, -0.1, -2e-9, -1e-9, -5e-10, 0.0, 5e-10, 1e-9, 2e-9, 0.1, 1.0)


def near_bounds(rule: str, rng: random.Random) -> dict[str, Any]:
    """Inputs of a rule at, beside, and within the tolerance of any bound that it or a rule behind it may read."""
    read = reading(rule)
    row: dict[str, Any] = {}
    for name in clinical.inputs_of(rule):
        spec = vocabulary()[name]
        if rng.random() < 0.2:
            continue
        if spec.type == "bool":
            row[name] = rng.random() < 0.5
        elif spec.type == "enum":
            row[name] = rng.choice(spec.allowed)
        elif spec.type == "date":
            row[name] = f"2024-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        else:
            bounds = sorted(read.bounds.get(name, ())) or [spec.min, 2.0, 10.0, 30.0]
            number = rng.choice(bounds) + rng.choice(STEPS)
            number = min(max(number, spec.min), spec.max)
            row[name] = round(number) if spec.type == "int" else number
    return row


@pytest.mark.parametrize("rule", clinical.rule_ids())
def test_patients_of_one_class_would_get_the_same_result_alone(rule: str) -> None:
    rng = random.Random(rule)  # noqa: S311
    rows = [near_bounds(rule, rng) for _ in range(150)]
    table = pd.DataFrame({n: pd.Series([r.get(n) for r in rows], dtype=object) for n in clinical.inputs_of(rule)})
    table["patient_id"] = [f"P{k}" for k in range(len(rows))]
    together = clinical.evaluate_table(table, [rule])
    alone = pd.DataFrame([_shown(clinical.evaluate(rule, row)) for row in rows])
    # Scores leave their possible groups to the bounds, and a score in a table names no reason for its group.
    columns = [name for name in alone if name != "details" or rules()[rule].method != "additive"]
    for name in columns:
        expected = [None if pd.isna(value) else value for value in alone[name]]
        assert [None if pd.isna(value) else value for value in together[name]] == expected, name


def test_every_method_said_to_read_through_bounds_exists() -> None:
    assert {rule.method for rule in rules().values()} >= _THROUGH_BOUNDS


@pytest.mark.parametrize(
    ("rule", "name", "bounds"),
    [
        ("fong_crs", "largest_met_mm", {50}),
        ("perioperative_strategy", "dfi_months", {0, 12}),
        ("ninomiya_nac", "n_liver_mets", {1, 5}),
        ("resect_vigano2015", "n_liver_mets", {8}),
        ("hypertrophy_strategy", "flr_pct_post", {20, 30, 40, 50}),
        ("rees2008_postop", "cea_ng_ml", {6, 60}),
    ],
)
def test_bounds_are_those_of_the_rule_and_of_the_rules_behind_it(rule: str, name: str, bounds: set[float]) -> None:
    found = reading(rule).bounds[name]
    assert found == bounds or (rule == "ninomiya_nac" and found == {1, 5})


def test_what_computes_with_numbers_keeps_them_apart() -> None:
    assert reading("sflr").exact == {"flr_ml", "tlv_ml", "tumour_volume_ml"}
    assert reading("resect_seed004").exact == {"flr_ml", "weight_kg"}
    assert reading("tbs_lt9").burden == {3, 9}
    assert reading("plato_game").burden == {3, 9}


def test_first_rows() -> None:
    assert first_rows(np.array([0, 1, 0, 2, 1])).tolist() == [0, 1, 3]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_blocks_are_the_table(size: int) -> None:
    rng = random.Random(4)  # noqa: S311
    rows = [near_bounds("perioperative_strategy", rng) for _ in range(10)]
    table = pd.DataFrame(rows).assign(patient_id=[f"P{k}" for k in range(10)], assessed_at="baseline")
    names = ["fong_crs", "perioperative_strategy", "tbs2018"]
    blocks = list(clinical.evaluate_blocks(table, names, size=size))
    assert len(blocks) == -(-10 // size)
    pd.testing.assert_frame_equal(
        pd.concat([b.long() for b in blocks], ignore_index=True), clinical.evaluate_table(table, names)
    )
    wide = pd.concat([b.wide() for b in blocks], ignore_index=True)
    long = clinical.evaluate_table(table, names)
    check_table(wide, "rules_wide")
    for name in names:
        for field in wide_fields(rules()[name]):
            mine = long.loc[long["rule"] == name, field].reset_index(drop=True)
            pd.testing.assert_series_equal(wide[f"{name}__{field}"], mine, check_names=False)


def test_refusals_come_before_the_first_block() -> None:
    table = pd.DataFrame({"patient_id": ["a", "a"]})
    with pytest.raises(InputError, match="not unique"):
        clinical.evaluate_blocks(table)
    with pytest.raises(InputError, match="other rows"):
        clinical.evaluate_blocks(pd.DataFrame({"patient_id": ["a"]}), sources=pd.DataFrame({"x": [1, 2]}))
    assert BLOCK >= 1000


def test_the_wide_columns_depend_on_the_rules_alone() -> None:
    empty = next(iter(clinical.evaluate_blocks(pd.DataFrame({"patient_id": ["a"]})))).wide()
    full = pd.DataFrame({"patient_id": ["a", "b"], "n_liver_mets": [1, 2], "sflr_pct": [20.0, 55.0]})
    assert list(next(iter(clinical.evaluate_blocks(full))).wide().columns) == list(empty.columns)
    assert {name.split("__")[0] for name in empty.columns[2:]} == set(default_rules())
    assert "fong_crs__lower" in empty
    assert "imai2016__value" in empty
    assert "sflr__lower" not in empty


@pytest.mark.parametrize(
    ("inputs", "warning"),
    [
        ({"cea_ng_ml": 999.9}, None),
        ({"cea_ng_ml": 1000}, "cea_ng_ml:unit_suspected"),
        ({"largest_met_mm": 4.5}, "largest_met_mm:unit_suspected"),
        ({"largest_met_mm": 10}, None),
        ({"largest_met_mm": 0}, "largest_met_mm:zero_size"),
        ({"dfi_months": -3}, "dfi_months:negative_set_to_0"),
        ({"dfi_months": 0}, None),
        ({"dfi_months": 240}, None),
        ({"dfi_months": 365}, "dfi_months:unit_suspected"),
        (
            {"primary_diagnosis_date": "2024-02-01", "crlm_diagnosis_date": "2024-01-31"},
            "crlm_diagnosis_date:before_primary",
        ),
        ({"primary_diagnosis_date": "2024-01-31", "crlm_diagnosis_date": "2024-01-31"}, None),
        (
            {"primary_diagnosis_date": "2024-02-01", "primary_resection_date": "2024-01-31"},
            "primary_resection_date:before_diagnosis",
        ),
        ({"synchronous_crlm": True, "dfi_months": 8}, "synchronous_crlm:beside_positive_interval"),
        ({"synchronous_crlm": True, "dfi_months": 0}, None),
        ({"synchronous_crlm": False, "dfi_months": 8}, None),
    ],
)
def test_values_that_look_wrong_are_marked_and_change_nothing(inputs: dict[str, Any], warning: str | None) -> None:
    table = pd.DataFrame({"patient_id": ["a"], **{k: [v] for k, v in inputs.items()}})
    got = clinical.evaluate_table(table, ["fong_crs"]).iloc[0]
    assert (None if pd.isna(got["warnings"]) else got["warnings"]) == warning
    assert got["status"] == clinical.evaluate("fong_crs", inputs).status != "invalid"
    if warning is not None:
        assert warning_texts()[warning]


@pytest.mark.parametrize(
    ("rule", "inputs", "warning"),
    [
        ("flr_adequacy", {"sflr_pct": 0.4}, "sflr_pct:fraction_suspected"),
        ("flr_adequacy", {"sflr_pct": 1}, None),
        ("flr_adequacy", {"sflr_pct": 0}, None),
        (
            "flr_adequacy",
            {"sflr_pct": 30, "flr_ml": 520, "tlv_ml": 1600, "tumour_volume_ml": 300},
            "sflr_pct:disagrees_with_volumes",
        ),
        ("flr_adequacy", {"sflr_pct": 35.1, "flr_ml": 520, "tlv_ml": 1600, "tumour_volume_ml": 300}, None),
        (
            "iwatsuki1999",
            {"margin_positive": False, "resection_margin_mm": 0},
            "margin_positive:disagrees_with_margin",
        ),
        ("iwatsuki1999", {"margin_positive": True, "resection_margin_mm": 1}, "margin_positive:disagrees_with_margin"),
        ("iwatsuki1999", {"margin_positive": True, "resection_margin_mm": 0.9}, None),
        ("iwatsuki1999", {"margin_positive": False, "resection_margin_mm": 0.5}, None),
        ("rlv_bw", {"flr_ml": 1.2}, "flr_ml:unit_suspected"),
        ("makuuchi", {"bilirubin_mg_dl": 17}, "bilirubin_mg_dl:unit_suspected"),
        ("resect_esmo2023", {"cea_ng_ml": 99999}, None),
    ],
)
def test_a_warning_stands_beside_the_rules_that_use_the_input(
    rule: str, inputs: dict[str, Any], warning: str | None
) -> None:
    # The rule that computes the volumes is asked too, so that their columns are read.
    table = pd.DataFrame({"patient_id": ["a"], **{k: [v] for k, v in inputs.items()}})
    got = clinical.evaluate_table(table, [rule, "sflr"]).iloc[0]
    assert (None if pd.isna(got["warnings"]) else got["warnings"]) == warning


def test_several_warnings_stand_in_one_cell() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b"], "cea_ng_ml": [5000.0, 1.0], "largest_met_mm": [4.5, 4.5]})
    got = clinical.evaluate_table(table, ["fong_crs", "konopke2009"])
    assert [set(str(w).split(";")) for w in got["warnings"]] == [
        {"cea_ng_ml:unit_suspected", "largest_met_mm:unit_suspected"},
        {"cea_ng_ml:unit_suspected"},
        {"largest_met_mm:unit_suspected"},
        {"nan"},
    ]


def test_the_origin_of_every_known_input_is_told() -> None:
    table = pd.DataFrame(
        {
            "patient_id": ["a", "b", "c"],
            "n_liver_mets": [3, 3, None],
            "largest_met_mm": [20.0, 20.0, None],
            "synchronous_crlm": pd.array([None, True, None], dtype="boolean"),
        }
    )
    sources = pd.DataFrame({"n_liver_mets": ["masks", None, "unknown"], "largest_met_mm": ["masks", "chart", "masks"]})
    got = clinical.evaluate_table(table, ["fong_crs"], sources=sources)["sources"].tolist()
    assert got[:2] == ["masks(n_liver_mets,largest_met_mm)", "chart;derived(dfi_months from synchronous_crlm)"]
    assert pd.isna(got[2])
    plain = clinical.evaluate_table(table, ["fong_crs"])["sources"].tolist()
    assert plain[:2] == ["chart", "chart;derived(dfi_months from synchronous_crlm)"]


def test_origins_do_not_change_results() -> None:
    table = pd.DataFrame({"patient_id": list("abcd"), "n_liver_mets": [1, 1, 9, 9], "largest_met_mm": [10.0] * 4})
    sources = pd.DataFrame({"n_liver_mets": ["masks", "chart", "masks", None]})
    with_sources = clinical.evaluate_table(table, sources=sources)
    plain = clinical.evaluate_table(table)
    kept = [name for name in COLUMNS if name != "sources"]
    pd.testing.assert_frame_equal(with_sources[kept], plain[kept])


def test_an_interval_set_to_0_at_the_door_is_marked() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b"], "dfi_months": [0.0, 0.0]})
    sources = pd.DataFrame({"dfi_months": [NEGATIVE, None]})
    got = clinical.evaluate_table(table, ["timing_sync_6m"], sources=sources)
    assert got["warnings"].fillna("").tolist() == ["dfi_months:negative_set_to_0", ""]


def test_the_time_point_is_carried_through() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b"], "assessed_at": ["baseline", None]})
    got = clinical.evaluate_table(table, ["fong_crs", "mcs2019"])
    assert got["assessed_at"].fillna("").tolist() == ["baseline", "baseline", "", ""]
    assert clinical.evaluate_table(table[["patient_id"]], ["fong_crs"])["assessed_at"].isna().all()


def test_details_hold_the_further_keys_of_a_result() -> None:
    row = {"msi_status": "MSS_pMMR", "primary_site": "left_colon", "ras_status": "wild_type"}
    table = pd.DataFrame({"patient_id": ["a"], **{k: [v] for k, v in row.items()}})
    got = clinical.evaluate_table(table, ["first_line_options"]).iloc[0]
    assert json.loads(got["details"]) == clinical.evaluate("first_line_options", row).extra
    assert got["status"] == "partial"
    assert pd.isna(clinical.evaluate_table(table, ["fong_crs"])["details"].iloc[0])


@pytest.mark.parametrize(
    ("rule", "inputs", "reason"),
    [
        ("fong_crs", {"n_liver_mets": 0, "largest_met_mm": 20}, "n_liver_mets must be a whole number from 1 to 200"),
        ("sflr", {"flr_ml": 1500, "tlv_ml": 1400, "tumour_volume_ml": 10}, "flr_ml must not exceed tlv_ml - tumour"),
        ("sflr", {"flr_ml": 100, "tlv_ml": 1400, "tumour_volume_ml": 1400}, "flr_ml must not exceed|must be below"),
        ("transmet2024", {"cea_ng_ml": 90, "cea_max_ng_ml": 80}, "cea_ng_ml contradicts cea_max_ng_ml"),
        ("lung_mets_strategy", {"lung_mets_present": False, "n_lung_mets": 2}, "lung_mets_present contradicts n_lung"),
        ("lung_mets_strategy", {"lung_mets_present": True, "n_lung_mets": 0}, "lung_mets_present contradicts n_lung"),
        (
            "lung_mets_strategy",
            {"lung_mets_present": False, "lung_mets_bilateral": True},
            "lung_mets_present contradicts lung_mets_bilateral",
        ),
        (
            "reassessment_schedule",
            {"therapy_start_date": "2024-05-01", "last_chemo_date": "2024-04-30"},
            "last_chemo_date must not precede therapy_start_date",
        ),
        ("jsccr_grade", {"node_positive_primary": False, "primary_pn_category": "N2"}, "contradicts primary_pn"),
        ("jsccr_grade", {"primary_pn_category": "N3"}, "primary_pn_category must be one of N0, N1, N2"),
    ],
)
def test_contradictions_are_invalid_for_the_rules_that_use_them(rule: str, inputs: dict[str, Any], reason: str) -> None:
    table = pd.DataFrame(
        {"patient_id": ["a", "b"], **{k: pd.Series([v, None], dtype=object) for k, v in inputs.items()}}
    )
    got = clinical.evaluate_table(table, [rule, "mcs2019"])
    assert got["status"].iloc[0] == "invalid"
    assert pd.Series([got["reason"].iloc[0]]).str.contains(reason.split("|")[0]).iloc[0] or "must be below" in reason
    assert got["status"].iloc[2] != "invalid"
    if not set(inputs) & set(clinical.inputs_of("mcs2019")):
        assert got["status"].iloc[1] == "not_assessable"


def test_equal_cea_is_no_contradiction() -> None:
    assert clinical.evaluate("transmet2024", {"cea_ng_ml": 90, "cea_max_ng_ml": 90}).status != "invalid"


def test_the_columns_are_those_of_the_schema_and_empty_tables_work() -> None:
    assert tuple(load_schema("rules").columns) == COLUMNS
    empty = pd.DataFrame({"patient_id": pd.Series(dtype="str")})
    block = next(iter(clinical.evaluate_blocks(empty)))
    assert len(block.long()) == len(block.wide()) == 0


def test_every_synonym_of_the_dictionary_is_known(shared_data: Any) -> None:
    path = shared_data.parent / "clinical" / "data_dictionary.csv"
    if not path.is_file():
        pytest.skip("the data dictionary is absent")
    dictionary = pd.read_csv(path, dtype="str", keep_default_na=False)
    column = next(name for name in dictionary.columns if "synonym" in name.lower())
    name_column = dictionary.columns[0]
    schema = load_schema("clinical")
    pairs = [
        (row[name_column], word.strip())
        for row, words in ((r, r[column].split(";")) for r in dictionary.to_dict("records"))
        for word in words
        if word.strip() and schema.spec(row[name_column]) is not None
    ]
    layout = yaml.safe_load(resource("configs/layouts/tcia_crlm.yaml").read_text(encoding="utf-8"))["columns"]
    # Headers of the public cohort have their own units and belong to its layout.
    wrong = [(name, word) for name, word in pairs if schema.canonical(word) != name and word not in layout]
    assert len(pairs) > 40
    assert wrong == []


def test_permuting_rules_or_patients_changes_nothing_else() -> None:
    rng = random.Random(9)  # noqa: S311
    rows = [near_bounds("perioperative_strategy", rng) for _ in range(8)]
    table = pd.DataFrame(rows).assign(patient_id=list("abcdefgh"))
    names = ["fong_crs", "h_stage", "perioperative_strategy"]
    base = clinical.evaluate_table(table, names).set_index(["patient_id", "rule"]).sort_index()
    for order in itertools.islice(itertools.permutations(names), 3):
        got = clinical.evaluate_table(table.iloc[::-1], list(order)).set_index(["patient_id", "rule"]).sort_index()
        pd.testing.assert_frame_equal(got, base)


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("fong_crs", ("status", "score", "group", "lower", "upper")),
        ("imai2016", ("status", "score", "value", "group", "lower", "upper")),
        ("tbs2018", ("status", "score", "group", "lower", "upper")),
        ("sflr", ("status", "value", "group")),
    ],
)
def test_the_fields_of_a_rule_in_the_wide_table(rule: str, fields: tuple[str, ...]) -> None:
    assert wide_fields(rules()[rule]) == fields
    block = next(iter(clinical.evaluate_blocks(pd.DataFrame({"patient_id": ["a"]}), [rule]))).wide()
    assert list(block.columns) == ["patient_id", "assessed_at", *(f"{rule}__{field}" for field in fields)]


@pytest.mark.parametrize("number", [float("inf"), -float("inf"), 1e6])
def test_a_number_column_refuses_infinity_and_its_range_alone(number: float) -> None:
    table = pd.DataFrame({"patient_id": ["a", "b", "c"], "cea_ng_ml": [number, 5.0, np.nan]})
    got = clinical.evaluate_table(table, ["konopke2009"])
    assert got["status"].tolist() == ["invalid", "not_assessable", "not_assessable"]
    assert got["reason"].iloc[0] == "cea_ng_ml must be a number from 0 to 100000 ng/mL"


def test_tuples_of_a_result_become_lists_and_refusals_keep_their_text() -> None:
    assert RuleResult("ok", extra={"options": ("A", "B")}).as_dict()["options"] == ["A", "B"]
    assert str(RefusedInputError("why")) == "why"


def test_masks_of_one_patient_are_not_those_of_another() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b"], "n_liver_mets": [12, 12]})
    sources = pd.DataFrame({"n_liver_mets": ["masks", None]})
    got = clinical.evaluate_table(table, ["resect_allard2017"], sources=sources)
    assert got["sources"].tolist() == ["masks(n_liver_mets)", "chart"]


def test_no_rules_give_no_rows() -> None:
    assert clinical.evaluate_table(pd.DataFrame({"patient_id": ["a", "b"]}), []).empty
