"""Files of batch scoring: the same bytes, never overwritten, every row accounted for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scoring_examples import bundle, clinical_raw, content, model
from test_batch import outputs, scored, spoilt

from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.batch import Options, score_cohort
from radiomics_crlm.scoring.bundle import Bundle


def test_no_value_of_a_patient_reaches_the_output(tmp_path: Path) -> None:
    scored(bundle(), spoilt(), tmp_path)
    for name, data in outputs(tmp_path).items():
        assert b"SECRET" not in data, name
        assert b"4711" not in data, name


def test_a_spreadsheet_takes_no_cell_for_a_formula(tmp_path: Path) -> None:
    raw = clinical_raw(6).assign(cea_ng_ml="5")
    raw["patient_id"] = ["=1+1", "+1", "-1", "@SUM(A1)", 'x"y,z', "plain"]
    scored(bundle(), raw, tmp_path)
    back = pd.read_csv(tmp_path / "scores.csv", dtype="str")
    assert back["patient_id"].tolist() == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", 'x"y,z', "plain"]
    table = read_table(tmp_path / "scores.parquet", "scores")
    assert table["patient_id"].tolist() == raw["patient_id"].tolist()
    # Numbers stay numbers, whatever their sign, and lose nothing.
    assert [float(cell) for cell in back["risk"]] == table["risk"].tolist()
    assert (table["risk"] < 0).any()


def test_twice_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        score_cohort(bundle(), spoilt(), None, tmp_path / name)
    first = outputs(tmp_path / "one")
    assert first == outputs(tmp_path / "two")
    assert set(first) == {"summary.json", "scores.parquet", "scores.csv"}


def test_a_finished_folder_is_left_as_it_is(tmp_path: Path) -> None:
    made = score_cohort(bundle(), spoilt(), None, tmp_path)
    first = outputs(tmp_path)
    written = (tmp_path / "scores.csv").stat().st_mtime_ns
    again = score_cohort(bundle(), spoilt(), None, tmp_path)
    assert again == replace(made, resumed=12)
    assert outputs(tmp_path) == first
    assert (tmp_path / "scores.csv").stat().st_mtime_ns == written
    # Unless somebody changed it, such as a spreadsheet program that saved it in its own way.
    (tmp_path / "scores.csv").write_bytes(b"row;patient_id\n")
    assert score_cohort(bundle(), spoilt(), None, tmp_path) == made
    assert outputs(tmp_path) == first


def test_the_summary_accounts_for_every_row(tmp_path: Path) -> None:
    made = score_cohort(bundle(), spoilt(), None, tmp_path)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["rows"], found["scored"], found["abstained"]) == (12, 2, 10)
    assert found["abstentions"] == made.abstentions
    assert found["identity"]["bundle_sha256"] == made.bundle_sha256 == "0" * 64
    assert found["identity"]["input_sha256"] == made.input_sha256
    assert found["files"] == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("scores.csv", "scores.parquet")
    }


def test_other_scores_are_not_overwritten(tmp_path: Path) -> None:
    score_cohort(bundle(), clinical_raw(5), None, tmp_path)
    before = outputs(tmp_path)
    other_bundle = Bundle(content(), model(), "f" * 64)
    changed = clinical_raw(5)
    changed.loc[0, "dfi_months"] = "1"
    for chosen, raw, notes in [
        (other_bundle, clinical_raw(5), CohortNotes()),
        (bundle(), changed, CohortNotes()),
        (bundle(), clinical_raw(6), CohortNotes()),
        (bundle(), clinical_raw(5), CohortNotes(name="other")),
    ]:
        with pytest.raises(InputError, match="holds the scores of another bundle, input or version"):
            score_cohort(chosen, raw, None, tmp_path, notes=notes)
    with pytest.raises(InputError, match="or made with other options"):
        score_cohort(bundle(), clinical_raw(5), None, tmp_path, options=Options(attributions=True))
    assert outputs(tmp_path) == before
    (tmp_path / "summary.json").unlink()
    with pytest.raises(InputError, match="holds the scores of another bundle"):
        score_cohort(bundle(), clinical_raw(5), None, tmp_path)


def test_duplicates_are_found_across_blocks(tmp_path: Path) -> None:
    raw = clinical_raw(25).assign(cea_ng_ml="5")
    raw.loc[23, "patient_id"] = " P0001 "
    raw.loc[24, "patient_id"] = "P0012"
    table, summary = scored(bundle(), raw, tmp_path, options=Options(block=5))
    assert np.flatnonzero(table["code"] == "duplicate_patient").tolist() == [1, 12, 23, 24]
    assert summary.abstentions == {"duplicate_patient": 4}


def test_the_size_of_blocks_changes_no_row(tmp_path: Path) -> None:
    raw = pd.concat([spoilt(), clinical_raw(60).iloc[12:]], ignore_index=True)
    together, account = scored(bundle(), raw, tmp_path / "whole")
    for size in (7, 61):
        found, other = scored(bundle(), raw, tmp_path / f"{size}", options=Options(block=size))
        pd.testing.assert_frame_equal(found, together, check_exact=True)
        assert (tmp_path / f"{size}" / "scores.csv").read_bytes() == (tmp_path / "whole" / "scores.csv").read_bytes()
        assert replace(other, shift=account.shift) == account


def test_one_bad_row_in_a_hundred_costs_one_row(tmp_path: Path) -> None:
    raw = clinical_raw(1000).assign(cea_ng_ml="5")
    raw.loc[::100, "n_liver_mets"] = "=cmd|' /C calc'!A0"
    table, summary = scored(bundle(), raw, tmp_path)
    assert summary.abstentions == {"wrong_type": 10}
    assert np.flatnonzero(table["status"] == "abstained").tolist() == list(range(0, 1000, 100))
    assert b"calc" not in b"".join(outputs(tmp_path).values())
