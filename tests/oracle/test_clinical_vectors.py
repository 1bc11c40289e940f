"""Worked examples of every rule, and the comparison itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from radiomics_crlm import clinical
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vector_id,rule_id\na,b\n", "columns are absent.*no inputs, expected, tolerance"),
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
