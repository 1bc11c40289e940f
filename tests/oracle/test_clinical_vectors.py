"""Worked examples of every rule, and the comparison itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from radiomics_crlm import clinical
from radiomics_crlm.clinical.vectors import _agrees
from radiomics_crlm.errors import InputError


def test_every_worked_example_is_reproduced(shared_data: Path) -> None:
    path = shared_data.parent / "clinical" / "vectors.csv"
    if not path.is_file():
        pytest.skip("worked examples of the rules are absent")
    report = clinical.check_vectors(path)
    assert report.disagreements == ()
    assert report.agreeing == report.total > 300


def write(path: Path, rows: list[tuple[str, str, object, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["vector_id", "rule_id", "inputs", "expected", "tolerance", "note"])
        for name, rule, inputs, expected in rows:
            writer.writerow([name, rule, json.dumps(inputs), json.dumps(expected), "1e-4", ""])
    return path


def test_each_key_that_differs_is_reported(tmp_path: Path) -> None:
    node_negative = {"ras_status": "wild_type", "node_positive_primary": False, "largest_met_mm": 51}
    path = write(
        tmp_path / "examples.csv",
        [
            ("right", "mcs2019", node_negative, {"status": "ok", "score": 1.00005, "group": "intermediate"}),
            ("wrong", "mcs2019", node_negative, {"status": "ok", "score": 2, "group": "moderate"}),
            ("flag", "rlv_bw", {"flr_ml": 350, "weight_kg": 70}, {"met": 1}),
            ("order", "dlm_status", {"seen_on_mri": False}, {"options": ["CEIOUS_DURING_SURGERY"]}),
            ("absent", "no_such_rule", {}, {"status": "ok"}),
            ("null", "ehd_resection_survival", {"extrahepatic_site": "none"}, {"os3y_pct": None}),
        ],
    )
    report = clinical.check_vectors(path)
    assert (report.total, report.agreeing) == (6, 2)
    assert [(found.vector_id, found.key) for found in report.disagreements] == [
        ("wrong", "score"),
        ("wrong", "group"),
        ("flag", "met"),
        ("order", "options"),
        ("absent", "rule_id"),
    ]
    assert report.disagreements[0].got == 1
    assert [found.expected for found in report.disagreements] == [
        2,
        "moderate",
        1,
        ["CEIOUS_DURING_SURGERY"],
        "no_such_rule",
    ]


@pytest.mark.parametrize(
    ("expected", "agrees"),
    [
        ({"bounds": [2, 3]}, True),
        ({"bounds": [2.00005, 3]}, True),
        ({"bounds": [2]}, False),
        ({"bounds": [2, 3, 4]}, False),
        ({"bounds": [2, 4]}, False),
        ({"bounds": 2}, False),
        ({"bounds": {"lower": 2}}, False),
        ({"missing": "largest_met_mm"}, False),
        ({"status": ["not_assessable"]}, False),
        ({"status": 1}, False),
        ({"score": 2}, False),
    ],
)
def test_lists_agree_entry_by_entry_and_types_must_fit(tmp_path: Path, expected: object, agrees: bool) -> None:
    inputs = {"ras_status": "mutant", "node_positive_primary": True}
    report = clinical.check_vectors(write(tmp_path / "e.csv", [("a", "mcs2019", inputs, expected)]))
    assert report.agreeing == int(agrees)


@pytest.mark.parametrize(
    ("statements", "agrees"),
    [
        ({"ras": "adverse_prognosis;anti_egfr_resistance", "cea": "prognostic_only"}, True),
        ({"ras": "adverse_prognosis;anti_egfr_resistance"}, False),
        ({"ras": "adverse_prognosis;anti_egfr_resistance", "cea": "none"}, False),
        (["ras", "cea"], False),
        ("ras", False),
    ],
)
def test_mappings_agree_key_by_key(tmp_path: Path, statements: object, agrees: bool) -> None:
    inputs = {"ras_status": "mutant", "cea_ng_ml": 5}
    rows = [("a", "biomarker_interpretation", inputs, {"statements": statements})]
    assert clinical.check_vectors(write(tmp_path / "e.csv", rows)).agreeing == int(agrees)


@pytest.mark.parametrize(("value", "tolerance", "agrees"), [(3.5, "0.5", True), (3.51, "0.5", False), (3, "0", True)])
def test_a_number_on_the_tolerance_agrees(tmp_path: Path, value: float, tolerance: str, agrees: bool) -> None:
    path = tmp_path / "e.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["vector_id", "rule_id", "inputs", "expected", "tolerance", "note"])
        inputs = {"n_liver_mets": 3, "largest_met_mm": 0}
        writer.writerow(["ü", "tbs2018", json.dumps(inputs), json.dumps({"score": value}), tolerance, "a\r\nb"])
    report = clinical.check_vectors(path)
    assert (report.total, report.agreeing) == (1, int(agrees))
    assert all(found.vector_id == "ü" for found in report.disagreements)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "vector_id,rule_id\na,b\n",
            "^columns are absent from the worked examples; got no inputs, expected, tolerance",
        ),
        (
            "vector_id,rule_id,inputs,expected,tolerance\na,mcs2019,{,{},1e-4\n",
            "row 1: a worked example is not readable",
        ),
        ("vector_id,rule_id,inputs,expected,tolerance\na,mcs2019,[],{},1e-4\n", "row 1: .*expected JSON objects"),
        ("vector_id,rule_id,inputs,expected,tolerance\na,mcs2019,{},{},much\n", "row 1: .*not readable"),
    ],
)
def test_an_unreadable_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "examples.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        clinical.check_vectors(path)


def test_numbers_inside_mappings_have_the_tolerance_too() -> None:
    assert _agrees({"a": [1.0]}, {"a": [1.05]}, 0.1)
    assert not _agrees({"a": [1.0]}, {"a": [1.2]}, 0.1)
