"""Clinical rows at the door: a bad row costs its patient, never the rest, and everybody is accounted for."""

from __future__ import annotations

import pandas as pd
import pytest

from radiomics_crlm.cohort.clinical import clean_clinical, clean_imaging, read_cohort_folder, summarise
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table, flow
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.schema import check_table


def rows(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="object")


def test_patients_in_are_patients_out_plus_exclusions():
    raw = rows(
        patient_id=["A", "B", "B", "C", "", "D", "E"],
        cea_ng_ml=["5", "1", "2", "-4", "3", "many", "7"],
        n_liver_mets=["1", "1", "1", "0", "1", "1", "2"],
    )
    clean = clean_clinical(raw)
    assert clean.table["patient_id"].tolist() == ["A", "E"]
    reasons = {e.patient_id: e.code for e in clean.exclusions}
    assert reasons == {"B": "duplicate_patient", "C": "out_of_range", "(row 6)": "missing_key", "D": "wrong_type"}
    account = flow(clean.patients_in, clean.exclusions)
    assert account["in"] == 6
    assert account["in"] == account["out"] + sum(e["n"] for e in account["excluded"])
    assert account["out"] == len(clean.table)


def test_all_faults_of_a_row_are_named():
    clean = clean_clinical(rows(patient_id=["A", "B"], cea_ng_ml=["-4", "1"], n_liver_mets=["0", "1"]))
    (exclusion,) = clean.exclusions
    assert "column cea_ng_ml" in exclusion.reason
    assert "column n_liver_mets" in exclusion.reason
    assert "-4" not in exclusion.reason


def test_a_patient_in_several_rows_has_one_reason_whatever_else_is_wrong():
    clean = clean_clinical(rows(patient_id=["A", "A", "B"], cea_ng_ml=["-4", "many", "1"]))
    assert [(e.patient_id, e.code) for e in clean.exclusions] == [("A", "duplicate_patient")]
    assert "stands in 2 rows" in clean.exclusions[0].reason
    assert clean.table["patient_id"].tolist() == ["B"]


def test_bad_cells_may_stay_but_nobody_without_a_key():
    raw = rows(patient_id=["A", "B", ""], cea_ng_ml=["many", "4", "5"], n_liver_mets=["1", "2", "3"])
    clean = clean_clinical(raw, keep_bad_cells=True)
    assert clean.table["patient_id"].tolist() == ["A", "B"]
    assert clean.table["cea_ng_ml"].tolist() == ["many", 4.0]
    assert clean.table["n_liver_mets"].tolist() == [1, 2]
    assert [(e.patient_id, e.code) for e in clean.exclusions] == [("(row 4)", "missing_key")]


def test_empty_table_is_refused():
    with pytest.raises(InputError, match="clinical table has no rows"):
        clean_clinical(rows(patient_id=[]))


def write(folder, clinical: str, imaging: str | None = None, notes: str | None = None):
    folder.mkdir()
    (folder / "clinical.csv").write_text(clinical)
    if imaging is not None:
        (folder / "imaging.csv").write_text(imaging)
    if notes is not None:
        (folder / "cohort.yaml").write_text(notes)
    return folder


def test_folder_with_notes_and_ignored_column(tmp_path):
    folder = write(
        tmp_path / "c",
        "patient_id,CEA,ward\nA,3,x\n",
        notes="name: Test\nignore_columns: [ward]\navailable_at: {cea_ng_ml: preoperative}\n",
    )
    cohort = read_cohort_folder(folder)
    assert cohort.name == "Test"
    assert list(cohort.clinical.columns) == ["patient_id", "cea_ng_ml"]
    assert cohort.notes.available_at == {"cea_ng_ml": "preoperative"}


@pytest.mark.parametrize(
    ("clinical", "notes", "error", "message"),
    [
        ("patient_id,ward\nA,x\n", None, InputError, "unknown column 'ward'.*ignore_columns"),
        ("", None, InputError, "clinical table cannot be read as a table"),
        ("patient_id\nA\n", "nam: x\n", ConfigError, "not valid; got nam: Extra inputs are not permitted"),
        ("patient_id\nA\n", "name: [", ConfigError, "not valid YAML"),
    ],
)
def test_unusable_folders(tmp_path, clinical, notes, error, message):
    with pytest.raises(error, match=message):
        read_cohort_folder(write(tmp_path / "c", clinical, notes=notes))


def test_absent_folder_and_absent_table(tmp_path):
    with pytest.raises(InputError, match="cohort folder is missing"):
        read_cohort_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"needs one clinical table.*clinical.csv or clinical.parquet; got neither"):
        read_cohort_folder(tmp_path)


def test_binary_garbage_is_no_table(tmp_path):
    (tmp_path / "clinical.csv").write_bytes(bytes(range(128, 256)) * 10)
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_cohort_folder(tmp_path)


def test_scans_of_unknown_patients_and_repeated_scans_are_excluded():
    head = {
        "modality": "CT",
        "sequence": "portal_venous",
        "image": "i.nii.gz",
        "mask": "m.nii.gz",
        "mask_roles": "lesion=*",
    }
    raw = pd.DataFrame(
        [
            {"patient_id": "A", "timepoint": "baseline", **head},
            {"patient_id": "Z", "timepoint": "baseline", **head},
            {"patient_id": "B", "timepoint": "baseline", **head},
            {"patient_id": "B", "timepoint": "baseline", **head},
            {"patient_id": "A", "timepoint": "tomorrow", **head},
            {"patient_id": "X", "timepoint": "baseline", **head},
        ]
    )
    earlier = [Exclusion("X", "ingest", "out_of_range", "...")]
    table, exclusions = clean_imaging(raw, {"A", "B"}, earlier)
    assert table["patient_id"].tolist() == ["A"]
    codes = [(e.patient_id, e.code) for e in exclusions]
    assert ("Z", "unknown_patient") in codes
    assert codes.count(("B", "duplicate_scan")) == 2
    assert ("A", "not_allowed") in codes
    assert all(key != "X" for key, _ in codes)


def test_exclusions_fit_their_schema():
    table = exclusion_table(
        [Exclusion("A", "ingest", "x", "y"), Exclusion("A", "extract", "x", "y", timepoint="baseline")]
    )
    assert len(check_table(table, "exclusions")) == 2
    assert check_table(exclusion_table([]), "exclusions").empty


def test_scans_that_fail_alike_are_one_row_with_both_reasons():
    twice = [Exclusion("A", "ingest", "x", text, timepoint="baseline") for text in ("CT", "MR", "CT")]
    table = check_table(
        exclusion_table([*twice, Exclusion("A", "ingest", "x", "CT", timepoint="restaging")]), "exclusions"
    )
    assert table["reason"].tolist() == ["CT; MR", "CT"]


def test_population_table():
    clinical = clean_clinical(
        rows(
            patient_id=[f"P{i}" for i in range(12)],
            sex=["male"] * 9 + ["female"] * 3,
            bilobar=["1"] * 4 + [""] * 8,
            cea_ng_ml=[str(i) for i in range(11)] + [""],
            crp_mg_l=["1"] * 4 + [""] * 8,
        )
    ).table
    by_name = {row["variable"]: row for row in summarise(clinical, {"cea_ng_ml": "preoperative"})}
    assert by_name["sex"]["summary"] == {"counts": {"male": 9, "female": 3}}
    assert by_name["bilobar"]["summary"] == {"counts": {"yes": 4, "no": 0}}
    assert by_name["crp_mg_l"]["summary"] == "fewer than 5 known"
    assert (by_name["cea_ng_ml"]["known"], by_name["cea_ng_ml"]["missing"]) == (11, 1)
    assert by_name["cea_ng_ml"]["summary"] == {"median": 5.0, "lower": 2.5, "upper": 7.5}
    assert by_name["cea_ng_ml"]["available_at"] == "preoperative"
    assert "patient_id" not in by_name
