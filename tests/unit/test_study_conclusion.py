"""Sentences below the verdict of a report: what was found, controls and sample size, computed from tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_folder import edit_run, experiment

from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.report.artefacts import load_artefacts
from radiomics_crlm.report.study_conclusion import further
from radiomics_crlm.report.study_tables import answer, differences
from radiomics_crlm.report.wording import MINUS


def said(run: Path, endpoint: str = "recurrence", shown: str | None = "combined/ridge", **changes: Any) -> list[str]:
    artefacts = load_artefacts(run)
    return further(artefacts, endpoint, shown, differences(artefacts, endpoint) | changes)


def pair(**changes: Any) -> dict[str, Any]:
    row = {
        "model": "clinical/ridge", "reference": "other/ridge", "model_title": "A", "reference_title": "B",
        "against_score": False, "lower": 0.01, "upper": 0.03, "holm": 0.01, "p_holm": "0.010", "text": "+0.02",
    }  # fmt: skip
    return row | changes


@pytest.mark.parametrize(
    ("changes", "conclusion"),
    [
        ({}, "A minus B: +0.02, evidence of a difference (p 0.010 after correction)."),
        (
            {"holm": 0.3, "p_holm": "0.30"},
            "A minus B: +0.02, an interval without 0, but no evidence once all 9 comparisons are counted (p 0.30 after "
            "correction).",
        ),
        ({"lower": -0.03}, "A minus B: +0.02, no evidence of a difference (p 0.010 after correction)."),
        ({"lower": None, "upper": None}, "A minus B: +0.02, no evidence of a difference (p 0.010 after correction)."),
    ],
)
def test_clinical_models_differ_only_if_they_outlive_the_correction(
    full_copy: Path, changes: dict[str, Any], conclusion: str
) -> None:
    sets = {name: {"title": name, "columns": ["age_years"]} for name in ("clinical", "other", "combined")}
    edit_run(full_copy, experiment=experiment(feature_sets=sets, endpoints=["recurrence", "os"]))
    assert conclusion in said(full_copy, shown="clinical/ridge", rows=[pair(**changes)], computed=9)


@pytest.mark.parametrize(
    ("model", "reference", "told"),
    [
        ("combined/ridge", "radiomics/ridge", True),  # both have scans
        ("radiomics/ridge", "combined/ridge", True),
        ("combined/ridge", "clinical/ridge", False),  # what radiomics adds is said above
        ("combined/ridge", "negative_control/ridge", False),
        ("radiomics/ridge", "clinical/ridge", False),  # neither is the model of the report
    ],
)
def test_models_with_scans_are_set_beside_each_other(full_copy: Path, model: str, reference: str, told: bool) -> None:
    texts = said(full_copy, rows=[pair(model=model, reference=reference)], computed=9)
    assert ("A minus B: +0.02, evidence of a difference (p 0.010 after correction)." in texts) == told


@pytest.mark.parametrize(
    ("arm", "verdict", "reference", "sentence"),
    [
        ("negative_control", "no_evidence", "clinical/ridge",
         f"Control, radiomics of other patients in place of the patient's own: difference to Clinical (penalised "
         f"regression) +0.010 ({MINUS}0.020 to 0.040): nothing is found in them, as it should be."),
        ("negative_control", "worse", "clinical/ridge", "they harm, and are no help."),
        ("permuted_outcome", "no_evidence", "chance",
         f"Control, outcomes exchanged between patients: difference to chance +0.010 ({MINUS}0.020 to 0.040): no "
         "better than chance, as it should be."),
        ("permuted_outcome", "adds", "chance", None),
        ("negative_control", "absent", "clinical/ridge", None),
        ("volume_only", "worse", "clinical/ridge", None),
    ],
)  # fmt: skip
def test_controls_that_behave_are_told_and_alarms_are_left_to_the_answer(
    full_copy: Path, arm: str, verdict: str, reference: str, sentence: str | None
) -> None:
    row = {
        "endpoint": "recurrence", "arm": arm, "model": "combined/ridge", "metric": "c_index_folds", "estimate": 0.5,
        "lower": 0.4, "upper": 0.6, "n": 117, "events": 60, "reference": reference, "difference": 0.01,
        "difference_lower": -0.02, "difference_upper": 0.04, "p_value": 0.6, "verdict": verdict, "method": "t",
        "reason": None,
    }  # fmt: skip
    write_table(pd.DataFrame([row]), full_copy / "tables" / "answers.parquet", "answers")
    controls = [text for text in said(full_copy) if text.startswith("Control")]
    assert len(controls) == (sentence is not None)
    assert sentence is None or controls[0].endswith(sentence)


@pytest.mark.parametrize(
    ("sufficient", "sentence"),
    [
        (True, "130 patients are enough: 90 are asked for with 7 candidate inputs (criteria of Riley et al.)."),
        (
            False,
            "130 patients are too few: 90 are asked for with 7 candidate inputs (criteria of Riley et al.). A new "
            "cohort may differ much.",
        ),
    ],
)
def test_the_sample_size_is_that_of_the_shown_model(full_copy: Path, sufficient: bool, sentence: str) -> None:
    path = full_copy / "tables" / "sample_size.parquet"
    table = read_table(path, "sample_size")
    mine = (table["endpoint"] == "recurrence") & (table["feature_set"] == "combined")
    assert mine.sum() == 1
    table.loc[mine, ["n", "n_required", "parameters", "sufficient"]] = [130, 90, 7, sufficient]
    write_table(table.astype({"sufficient": bool}), path, "sample_size")
    assert said(full_copy)[-1] == sentence
    assert not any(
        "candidate inputs" in text for text in said(full_copy, shown=None) + said(full_copy, shown="unknown/ridge")
    )


def test_without_radiomics_nothing_is_said_of_them(full_copy: Path) -> None:
    before = answer(load_artefacts(full_copy), "recurrence")
    assert before is not None
    assert "adiomics" in before["sentence"]
    sets = {name: {"title": name, "columns": ["age_years"]} for name in ("clinical", "radiomics", "combined")}
    row = {
        "endpoint": "recurrence", "arm": "clinical", "model": "clinical/ridge", "metric": "c_index_folds",
        "estimate": 0.6, "lower": 0.5, "upper": 0.7, "n": 117, "events": 60, "reference": "fong_crs",
        "difference": 0.01, "difference_lower": -0.02, "difference_upper": 0.04, "p_value": 0.6,
        "verdict": "no_evidence", "method": "t", "reason": None,
    }  # fmt: skip
    write_table(pd.DataFrame([row]), full_copy / "tables" / "answers.parquet", "answers")
    edit_run(
        full_copy,
        experiment=experiment(feature_sets=sets, endpoints=["recurrence", "os"], answer={"clinical": "clinical"}),
    )
    after = answer(load_artefacts(full_copy), "recurrence")
    assert after is not None
    assert after["sentence"] == (
        "The C of the clinical model differs by 0.010 (95 % interval "
        f"{MINUS}0.020 to 0.040) from that of the rules: no evidence that it is better here."
    )
