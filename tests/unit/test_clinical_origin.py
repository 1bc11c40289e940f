"""Where inputs come from, and pairs of inputs that look wrong beside each other: the edges."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from radiomics_crlm import clinical


def test_each_input_has_its_own_origin() -> None:
    table = pd.DataFrame(
        {
            "patient_id": list("abcde"),
            "node_positive_primary": [True, True, None, None, None],
            "n_liver_mets": [3, 3, 3, 3, 3],
            "cea_ng_ml": [5.0, 5.0, 5.0, 5.0, None],
        }
    )
    sources = pd.DataFrame(
        {
            "n_liver_mets": ["masks", "chart", "masks", "", "unknown"],
            "cea_ng_ml": ["laboratory", "masks", "masks", None, "masks"],
        }
    )
    got = clinical.evaluate_table(table, ["fong_crs"], sources=sources)["sources"].tolist()
    assert got == [
        "chart;laboratory(cea_ng_ml);masks(n_liver_mets)",
        "chart;masks(cea_ng_ml)",
        "masks(n_liver_mets,cea_ng_ml)",
        "chart",
        "chart",
    ]


def test_an_origin_of_what_nobody_has_is_not_told() -> None:
    """The label of a column says nothing where the column is empty."""
    table = pd.DataFrame({"patient_id": ["a", "b"], "n_liver_mets": [3, 1], "cea_ng_ml": [None, None]})
    labels = pd.DataFrame({"cea_ng_ml": ["masks", "masks"], "n_liver_mets": ["chart", "masks"]})
    got = clinical.evaluate_table(table, ["fong_crs"], sources=labels)["sources"]
    assert got.tolist() == ["chart", "masks(n_liver_mets)"]


@pytest.mark.parametrize(
    ("rule", "inputs", "warning"),
    [
        ("fong_crs", {"primary_diagnosis_date": "2024-01-31", "primary_resection_date": "2024-01-31"}, None),
        ("fong_crs", {"synchronous_crlm": True, "dfi_months": 0.5}, "synchronous_crlm:beside_positive_interval"),
        ("fong_crs", {"synchronous_crlm": None, "dfi_months": 0.5}, None),
        # 520 / (1600 - 300) is 40 %: five points are allowed, more are not, on both sides.
        ("flr_adequacy", {"sflr_pct": 35.0, "flr_ml": 520, "tlv_ml": 1600, "tumour_volume_ml": 300}, None),
        ("flr_adequacy", {"sflr_pct": 45.0, "flr_ml": 520, "tlv_ml": 1600, "tumour_volume_ml": 300}, None),
        (
            "flr_adequacy",
            {"sflr_pct": 45.1, "flr_ml": 520, "tlv_ml": 1600, "tumour_volume_ml": 300},
            "sflr_pct:disagrees_with_volumes",
        ),
        ("flr_adequacy", {"sflr_pct": 45.1, "flr_ml": 520, "tlv_ml": 1600}, None),
        (
            "flr_adequacy",
            {"sflr_pct": 30.0, "flr_ml": 0.2, "tlv_ml": 300.5, "tumour_volume_ml": 300},
            "sflr_pct:disagrees_with_volumes",
        ),
        ("flr_adequacy", {"sflr_pct": 45.1, "flr_ml": 520, "tlv_ml": 300, "tumour_volume_ml": 300}, None),
    ],
)
def test_pairs_are_compared_only_where_both_are_known(rule: str, inputs: dict[str, Any], warning: str | None) -> None:
    table = pd.DataFrame({"patient_id": ["a"], **{name: [cell] for name, cell in inputs.items()}})
    got = clinical.evaluate_table(table, [rule, "sflr"])["warnings"].iloc[0]
    assert (None if pd.isna(got) else got) == warning


def test_an_interval_between_dates_names_both() -> None:
    dates = {"primary_diagnosis_date": ["2024-01-01", "2024-01-01"], "crlm_diagnosis_date": ["2024-03-01", None]}
    got = clinical.evaluate_table(pd.DataFrame({"patient_id": ["a", "b"], **dates}), ["timing_eahpba2023"])
    assert got["sources"].tolist() == [
        "chart;derived(dfi_months from primary_diagnosis_date and crlm_diagnosis_date)",
        "chart",
    ]


def test_one_origin_for_all_is_told_to_all() -> None:
    table = pd.DataFrame({"patient_id": ["a", "b", "c"], "n_liver_mets": [1, 2, 9]})
    assert clinical.evaluate_table(table, ["resect_allard2017"])["sources"].tolist() == ["chart"] * 3
    masks = pd.DataFrame({"n_liver_mets": ["masks"] * 3})
    got = clinical.evaluate_table(table, ["resect_allard2017"], sources=masks)
    assert got["sources"].tolist() == ["masks(n_liver_mets)"] * 3
