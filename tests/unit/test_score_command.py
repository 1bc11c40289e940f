"""``crlm score`` from the outside: what it says, what it leaves, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from scoring_examples import bundle, clinical_raw, content, model

from radiomics_crlm.cli.app import run
from radiomics_crlm.parallel import pools
from radiomics_crlm.scoring.bundle import write_bundle


def folder_of(tmp_path: Path, raw: pd.DataFrame, name: str = "cohort") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    raw.to_csv(folder / "clinical.csv", index=False)
    return folder


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", content(), model())
    return tmp_path / "bundle"


def score(model_folder: Path, cohort: Path, out: Path, *more: str) -> int:
    return run(
        ["score", "--bundle", str(model_folder), "--cohort", str(cohort), "--out", str(out), "--jobs", "1", *more]
    )


def test_all_patients_scored(tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = clinical_raw(12).assign(cea_ng_ml="5")
    cohort = folder_of(tmp_path, raw)
    assert score(model_folder, cohort, tmp_path / "out", "--attributions") == 0
    said = capsys.readouterr().out
    assert "patients: 12 in, 12 scored, 0 abstained" in said
    assert "flagged, missing:" in said
    assert "shift:    not compared" in said
    assert "time:     12 rows in" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "scores.parquet",
        "scores.csv",
        "attributions.parquet",
        "summary.json",
    }
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert score(model_folder, cohort, tmp_path / "out", "--attributions") == 0
    assert "12 were there already" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_abstention_is_not_success(tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = clinical_raw(6).assign(cea_ng_ml=["5", "=HYPERLINK(1)", "5", "5", "5", "5"]).drop(columns="bilobar")
    raw.loc[2, "patient_id"] = "<b>P2</b>"
    assert score(model_folder, folder_of(tmp_path, raw), tmp_path / "out") == 4
    said = capsys.readouterr().out
    assert "patients: 6 in, 5 scored, 1 abstained" in said
    assert "abstained, wrong_type: 1" in said
    assert "not in the table: bilobar" in said
    assert "HYPERLINK" not in (tmp_path / "out" / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda t: t.rename(columns={"cea_ng_ml": "cea_ng_mll"}), 3, "unknown column 'cea_ng_mll'"),
        (lambda t: t.assign(surname="x"), 3, "unknown column 'surname'"),
        (lambda t: t.drop(columns="patient_id"), 3, "lacks required columns"),
        (lambda t: t.head(0), 3, "no rows"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], change: object, code: int, words: str
) -> None:
    cohort = folder_of(tmp_path, change(clinical_raw(5)))  # type: ignore[operator]
    assert score(model_folder, cohort, tmp_path / "out") == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_another_model_does_not_overwrite(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = folder_of(tmp_path, clinical_raw(5).assign(cea_ng_ml="5"))
    assert score(model_folder, cohort, tmp_path / "out") == 0
    before = (tmp_path / "out" / "scores.csv").read_bytes()
    other = bundle(learner="xgboost")
    write_bundle(tmp_path / "other", other.content, other.model)
    assert score(tmp_path / "other", cohort, tmp_path / "out") == 3
    assert "holds the scores of another bundle" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "out" / "scores.csv").read_bytes() == before


def test_no_cluster_at_the_address(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_CONNECT_S", 0.5)
    cohort = folder_of(tmp_path, clinical_raw(5))
    assert score(model_folder, cohort, tmp_path / "out", "--dask", "nowhere:1") == 2
    assert "no Dask scheduler answers" in " ".join(capsys.readouterr().err.split())


def test_an_output_that_cannot_be_written(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert score(model_folder, folder_of(tmp_path, clinical_raw(5)), tmp_path / "file" / "out") == 1
    assert "--out: a path cannot be used" in " ".join(capsys.readouterr().err.split())
