"""How a rule reads its numbers, which decides which patients it cannot tell apart."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from radiomics_crlm.clinical.catalogue import Rule, rule
from radiomics_crlm.clinical.classes import Reading, _combined, _own_reading, _side, classes, first_rows, reading
from radiomics_crlm.clinical.derivation import prepare
from radiomics_crlm.clinical.engine import encode_cells


def test_what_two_rules_need_is_joined() -> None:
    one = Reading({"a": frozenset({1.0}), "b": frozenset({2.0})}, frozenset({3.0}), frozenset({"x"}))
    other = Reading({"a": frozenset({4.0}), "c": frozenset({5.0})}, frozenset({9.0}), frozenset({"y"}))
    expected = Reading(
        {"a": frozenset({1.0, 4.0}), "b": frozenset({2.0}), "c": frozenset({5.0})},
        frozenset({3.0, 9.0}),
        frozenset({"x", "y"}),
    )
    assert one.joined(other) == other.joined(one) == expected
    assert one.joined(Reading()) == Reading().joined(one) == one


def test_a_rule_that_asks_for_a_zone_of_the_burden_reads_its_bounds_alone() -> None:
    assert reading("tbs_lt9") == Reading(burden=frozenset({3.0, 9.0}))
    # The score itself is the number, and keeps every number apart.
    assert reading("tbs2018") == Reading(exact=frozenset({"n_liver_mets", "largest_met_mm", "multiple_metastases"}))


def test_the_bounds_of_a_rule_are_those_of_its_items_methods_and_other_rules() -> None:
    assert reading("lt_favourable_predictors") == Reading(
        {
            "cea_ng_ml": frozenset({80.0}),
            "mtv_pet_cm3": frozenset({70.0}),
            "largest_met_mm": frozenset({55.0}),
            "dfi_months": frozenset({0.0, 12.0}),
            "months_since_primary_resection": frozenset({24.0}),
        },
        burden=frozenset({3.0, 9.0}),
    )
    assert reading("jsccr_grade") == Reading(
        {"n_liver_mets": frozenset({1.0, 5.0}), "largest_met_mm": frozenset({50.0})}
    )
    assert reading("hypertrophy_strategy") == Reading(
        dict.fromkeys(("sflr_pct", "flr_pct_post"), frozenset({20.0, 30.0, 40.0, 50.0}))
    )
    assert reading("plato_fong") == Reading(
        {
            "dfi_months": frozenset({12.0}),
            "n_liver_mets": frozenset({1.0}),
            "largest_met_mm": frozenset({50.0}),
            "cea_ng_ml": frozenset({200.0}),
        }
    )
    assert reading("plato_game") == Reading({"cea_ng_ml": frozenset({20.0})}, burden=frozenset({3.0, 9.0}))
    assert reading("timing_eahpba2023") == Reading({"dfi_months": frozenset({0.0, 12.0})})
    assert reading("resect_vigano2015").bounds["n_liver_mets"] == {8.0}
    liver = {"n_liver_mets": frozenset({1.0, 5.0}), "largest_met_mm": frozenset({50.0})}
    assert reading("h_stage") == reading("beppu_nh2021") == Reading(liver)
    assert reading("flr_adequacy") == reading("hypertrophy_strategy")


def test_every_place_of_a_rule_in_which_a_bound_may_stand_is_read() -> None:
    items = [
        {"when": {"cea_ng_ml": "> 10"}, "fallback": {"ca19_9_u_ml": ">= 20"}, "disputed": {"largest_met_mm": 30}},
        {"any": [{"dfi_months": "(4, 5]"}, {"bilobar": True}]},
        {"input": "n_liver_mets", "bins": [["< 6", 0], [">= 7", 1]]},
        {"input": "cea_max_ng_ml", "bins": [["< 8", 0]]},
        {"input": "primary_differentiation", "bins": [["well", 0]]},
        {"quantity": "tumour_burden", "bins": [["< 3", 0]]},
        {"quantity": "tumour_burden", "bins": [["< 9", 0], [">= 11", 2]]},
    ]
    body = {"items": items, "rows": [{"when": {"age_years": "> 60"}, "group": "old"}]}
    bounds = {
        "cea_ng_ml": {10.0},
        "ca19_9_u_ml": {20.0},
        "largest_met_mm": {30.0},
        "dfi_months": {4.0, 5.0},
        "n_liver_mets": {6.0, 7.0},
        "cea_max_ng_ml": {8.0},
        "age_years": {60.0},
    }
    found = _own_reading(Rule("mine", "", "", "criteria", (), body=body))
    assert found == Reading({name: frozenset(ends) for name, ends in bounds.items()}, frozenset({3.0, 9.0, 11.0}))
    many = Rule("mine", "", "", "criteria_of_many", (), body={"parameters": {"applies": {"n_liver_mets": ">= 8"}}})
    assert _own_reading(many) == Reading({"n_liver_mets": frozenset({8.0})})


def classes_of(rule_id: str, patients: list[dict[str, Any]]) -> list[int]:
    chosen = rule(rule_id)
    cells = {name: [patient.get(name) for patient in patients] for name in chosen.all_inputs}
    found = classes(chosen, prepare(chosen, encode_cells(cells, len(patients))).columns)
    assert found.dtype == np.int64
    return found.tolist()


@pytest.mark.parametrize(
    ("rule_id", "patients", "expected"),
    [
        # Number and size enter through the burden alone: sqrt(2^2 + 3^2) = 3.6 and 2.2 lie on two sides of 3.
        (
            "game2018",
            [
                {"n_liver_mets": 3, "largest_met_mm": 20},
                {"n_liver_mets": 4, "largest_met_mm": 25},
                {"n_liver_mets": 2, "largest_met_mm": 10},
                {"n_liver_mets": 4, "largest_met_mm": 25, "cea_ng_ml": 20},
                {"n_liver_mets": 9, "largest_met_mm": 5},
                {"n_liver_mets": 9},
                {"n_liver_mets": 12, "largest_met_mm": 90},
            ],
            [0, 0, 1, 2, 3, 4, 3],
        ),
        # The same interval from the diagnosis, another from the resection of the primary.
        (
            "fong_crs",
            [
                {"dfi_months": 14, "primary_resection_date": "2024-01-01", "crlm_diagnosis_date": "2024-06-01"},
                {"dfi_months": 14, "primary_resection_date": "2024-02-01", "crlm_diagnosis_date": "2024-06-01"},
                {"dfi_months": 14, "primary_resection_date": "2024-01-01", "crlm_diagnosis_date": "2025-06-01"},
                {"dfi_months": 14},
            ],
            [0, 0, 1, 2],
        ),
        # A formula keeps every distinct number apart, a list of criteria does not.
        ("bsa", [{"height_cm": 180, "weight_kg": kg} for kg in (80, 80.5, 81, 80)], [0, 1, 2, 0]),
        ("resect_rees2008", [{"sflr_pct": share} for share in (31.0, 25.0, 35.0, None, 19.0)], [0, 1, 0, 2, 3]),
        ("mcs2019", [{"ras_status": one} for one in ("wild_type", None, "mutant", "wild_type")], [0, 1, 2, 0]),
    ],
)
def test_who_is_of_one_class(rule_id: str, patients: list[dict[str, Any]], expected: list[int]) -> None:
    assert classes_of(rule_id, patients) == expected


def test_a_number_is_below_on_or_above_each_bound() -> None:
    numbers = [np.nan, 4.9, 5 - 2e-9, 5 - 1e-10, 5.0, 5 + 1e-9, 5 + 2e-9, 6.0, 7.0, 7.1]
    assert _side(np.array(numbers), (5.0, 7.0)).tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 4, 5]


def test_codes_of_many_columns_are_classes_of_their_rows() -> None:
    rng = random.Random(11)  # noqa: S311
    rows = [[rng.choice((0, 1, 5)) for _ in range(60)] for _ in range(40)]
    rows += [list(row) for row in rows[:10]]
    order: dict[tuple[int, ...], int] = {}
    expected = [order.setdefault(tuple(row), len(order)) for row in rows]
    assert _combined(np.array(rows).T).tolist() == expected
    # 2^64 is 0 in 64 bits: without care the first column would be lost.
    assert _combined([np.array([0, 1]), *[np.array([7, 7])] * 22]).tolist() == [0, 1]
    assert _combined([np.array([0, 2**39]), np.array([2**30 - 1] * 2)]).tolist() == [0, 1]


def test_no_inputs_and_no_patients_have_no_classes() -> None:
    for found in (_combined([]), _combined([np.zeros(0, dtype=np.int64)] * 2)):
        assert (found.tolist(), found.dtype) == ([], np.int64)
    assert first_rows(np.zeros(0, dtype=np.int64)).tolist() == []
