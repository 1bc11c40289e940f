"""A folder of patient sheets: one bad patient costs one sheet, a killed run goes on, nothing wrong is kept."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from card_numbers import Page, leaves, numbers
from sheet_folder import Scored, make_scored

from radiomics_crlm.cli.app import run
from radiomics_crlm.errors import InputError
from radiomics_crlm.study import sheets
from radiomics_crlm.study.sheets import SheetsResult, write_sheets

HOSTILE = {0: "<img src=x onerror=alert(1)>", 1: "=cmd|' /C calc'!A0", 2: "../../../etc/passwd", 3: "CON"}


def write(folders: Scored, out: Path, **more: Any) -> SheetsResult:
    return write_sheets(folders.bundle, folders.cohort, folders.scores, out, **({"progress": lambda *_: None} | more))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Twelve patients with hostile keys, two of them with scans, one of these scans cut."""
    folders = make_scored(
        tmp_path_factory.mktemp("scored"), images=2, keys=HOSTILE, cells={(5, "cea_ng_ml"): "SECRET12"}
    )
    image = folders.cohort / "s1_image.nii.gz"
    image.write_bytes(image.read_bytes()[:500])
    return folders


@pytest.fixture(scope="module")
def made(scored: Scored, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SheetsResult]:
    out = tmp_path_factory.mktemp("made") / "sheets"
    return out, write(scored, out)


def sheet_of(out: Path, row: int) -> tuple[dict[str, Any], str]:
    found = [p for p in (out / "sheets").glob("*.json") if json.loads(p.read_text())["row"] == row]
    assert len(found) == 1
    return json.loads(found[0].read_text()), found[0].with_suffix(".html").read_text(encoding="utf-8")


def test_every_row_has_a_sheet_and_a_line_in_the_index(made: tuple[Path, SheetsResult]) -> None:
    out, result = made
    assert (result.made, result.kept, result.failures, result.without_picture) == (12, 0, (), 1)
    assert len(list((out / "sheets").glob("*.html"))) == len(list((out / "sheets").glob("*.json"))) == 12
    index = result.page.read_text(encoding="utf-8")
    assert index.count('<a href="sheets/') == 12
    assert "12 sheets: 11 scored, 1 abstained" in index
    for name in (line.split('"')[0] for line in index.split('href="sheets/')[1:]):
        assert (out / "sheets" / name).is_file()


def test_files_lie_inside_and_keys_are_text(made: tuple[Path, SheetsResult]) -> None:
    out, _ = made
    assert {p.parent.name for p in out.rglob("*.html")} == {"sheets", out.name}
    assert not (out.parent / "etc").exists()
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<img src=x" not in text
        assert "SECRET" not in text


def test_numbers_of_every_page_are_in_its_json(made: tuple[Path, SheetsResult]) -> None:
    for path in (made[0] / "sheets").glob("*.json"):
        page = path.with_suffix(".html").read_text(encoding="utf-8")
        known = {n for leaf in leaves(json.loads(path.read_text())) for n in numbers(leaf)}
        assert {n for text in Page(page).text for n in numbers(text)} <= known


def test_scores_and_probabilities_are_those_of_the_table(made: tuple[Path, SheetsResult], scored: Scored) -> None:
    table = pd.read_parquet(scored.scores / "scores.parquet").set_index("row")
    for row, saved in table.iterrows():
        sheet, _ = sheet_of(made[0], int(str(row)))
        assert sheet["status"] == saved["status"]
        if saved["status"] == "scored":
            for line in sheet["answer"]["rows"]:
                assert line["probability"]["value"] == saved[f"probability_{line['months']}m"]
            assert sheet["explanation"]["data"]["total"] == saved["risk"]


def test_scans_are_shown_where_they_can_be_read(made: tuple[Path, SheetsResult]) -> None:
    good, page = sheet_of(made[0], 2)
    assert 'src="data:image/png;base64,' in page
    assert good["pictures"]["scans"][0]["title"] == "preoperative, CT portal venous"
    cut, page = sheet_of(made[0], 3)
    assert "src=" not in page
    assert cut["pictures"]["absent"] == "no scan of this patient can be read"
    assert "cannot be read: unreadable image" in page
    none, page = sheet_of(made[0], 4)
    assert none["pictures"]["absent"] == "the cohort has no scan of this patient"
    assert none["status"] == "scored"


def test_some_patients_first_does_not_matter(made: tuple[Path, SheetsResult], scored: Scored, tmp_path: Path) -> None:
    write(scored, tmp_path / "two", patients=["P0007", "P0004"])
    assert write(scored, tmp_path / "two").kept == 2
    assert files(tmp_path / "two") == files(made[0])


@pytest.mark.slow
def test_jobs_do_not_matter(made: tuple[Path, SheetsResult], scored: Scored, tmp_path: Path) -> None:
    write(scored, tmp_path / "two", jobs=2)
    assert files(tmp_path / "two") == files(made[0])


def test_a_second_run_keeps_everything(
    made: tuple[Path, SheetsResult], scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(made[0])

    def never(*_: object) -> None:
        raise AssertionError("a sheet was drawn again")

    monkeypatch.setattr(sheets, "take_pictures", never)
    result = write(scored, made[0])
    assert (result.made, result.kept, result.without_picture) == (0, 12, 1)
    assert files(made[0]) == before


def test_a_stopped_run_goes_on_to_the_same_bytes(
    made: tuple[Path, SheetsResult], scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = sheets.write_bytes, iter(range(1000))

    def stop(path: Path, data: bytes) -> None:
        if next(count) == 9:  # the page of the fifth sheet is there, its JSON and seal are not
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(sheets, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        write(scored, tmp_path / "out")
    monkeypatch.setattr(sheets, "write_bytes", real)
    (tmp_path / "out" / "sheets" / ".P0004-0123456789.html.abcdef012345").write_bytes(
        b"half of"
    )  # as kill -9 leaves it
    result = write(scored, tmp_path / "out")
    assert (result.made, result.kept) == (8, 4)
    assert files(tmp_path / "out") == files(made[0])


def damaged(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("Patient", "Pationt"), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda out, stem: damaged(out / "sheets" / f"{stem}.html"),
        lambda out, stem: (out / "sheets" / f"{stem}.json").unlink(),
        lambda out, stem: (out / ".seals" / f"{stem}.json").write_text("{"),
        lambda out, stem: (out / ".seals" / f"{stem}.json").write_text("{}"),
    ],
)
def test_a_damaged_sheet_is_made_again(
    made: tuple[Path, SheetsResult], scored: Scored, tmp_path: Path, damage: Callable[[Path, str], None]
) -> None:
    shutil.copytree(made[0], tmp_path / "out")
    stem = sheets.read_inputs(scored.bundle, scored.cohort, scored.scores, ["P0007"]).cases[0].stem
    damage(tmp_path / "out", stem)
    result = write(scored, tmp_path / "out", patients=["P0007"])
    assert (result.made, result.kept) == (1, 0)
    assert files(tmp_path / "out") == files(made[0])


def test_a_changed_image_costs_its_own_sheet_only(
    made: tuple[Path, SheetsResult], scored: Scored, tmp_path: Path
) -> None:
    shutil.copytree(made[0], tmp_path / "out")
    shutil.copytree(scored.cohort, tmp_path / "cohort")
    shutil.copy(tmp_path / "cohort" / "s0_anatomy.nii.gz", tmp_path / "cohort" / "s0_lesions.nii.gz")
    changed = Scored(scored.bundle, tmp_path / "cohort", scored.scores)
    result = write(changed, tmp_path / "out")
    assert (result.made, result.kept) == (1, 11)


def test_one_bad_patient_costs_one_sheet(
    made: tuple[Path, SheetsResult], scored: Scored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[0], tmp_path / "out")
    shutil.copytree(scored.cohort, tmp_path / "cohort")
    chart = pd.read_csv(tmp_path / "cohort" / "clinical.csv", dtype="str", keep_default_na=False)
    chart.loc[7, "bilobar"] = "no" if chart.loc[7, "bilobar"] == "yes" else "yes"
    chart.to_csv(tmp_path / "cohort" / "clinical.csv", index=False)
    changed = Scored(scored.bundle, tmp_path / "cohort", scored.scores)
    code = run(["sheet", *changed.arguments, "--out", str(tmp_path / "out"), "--jobs", "1"])
    said = capsys.readouterr().out
    assert code == 4
    assert "sheets:   0 made, 11 kept, 1 failed" in said
    assert "failed, other_chart: P0007: risk: the cohort gives other results than the scores" in said
    assert not list((tmp_path / "out" / "sheets").glob("P0007*"))
    assert "P0007" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_unknown_patients_are_named(scored: Scored, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sheet", *scored.arguments, "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert run([*arguments, "--patient", "P0007", "--patient", "nobody"]) == 4
    assert "failed, unknown_patient: nobody" in capsys.readouterr().out
    assert run([*arguments, "--patient", "P0007"]) == 0
    assert run([*arguments, "--patient", "nobody"]) == 3
    assert "know none of the patients" in capsys.readouterr().err


def test_folders_of_something_else_are_refused(scored: Scored, made: tuple[Path, SheetsResult], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="something that is no patient sheet"):
        write(scored, tmp_path / "mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="something that is no patient sheet"):
        write(scored, tmp_path / "file")
    other = make_scored(tmp_path / "other", rows=3)
    with pytest.raises(InputError, match="sheets of other scores"):
        write(other, made[0])


def test_a_manifest_that_cannot_be_used_costs_the_pictures(scored: Scored, tmp_path: Path) -> None:
    shutil.copytree(scored.cohort, tmp_path / "cohort")
    (tmp_path / "cohort" / "imaging.csv").write_text("patient,picture\n1,2\n")
    changed = Scored(scored.bundle, tmp_path / "cohort", scored.scores)
    result = write(changed, tmp_path / "out", patients=["P0007"])
    assert result.made == 1
    assert sheet_of(tmp_path / "out", 9)[0]["pictures"]["absent"] == "the imaging manifest of the cohort cannot be used"
    for path in (tmp_path / "cohort").glob("imaging*"):
        path.unlink()
    write(changed, tmp_path / "none", patients=["P0007"])
    assert sheet_of(tmp_path / "none", 9)[0]["pictures"]["absent"] == "the cohort has no images"


def test_a_full_disk_is_said_and_what_is_finished_is_kept(
    scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = sheets.write_bytes, iter(range(1000))

    def full(path: Path, data: bytes) -> None:
        if next(count) >= 5:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(sheets, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        write(scored, tmp_path / "out")
    monkeypatch.setattr(sheets, "write_bytes", real)
    assert write(scored, tmp_path / "out").kept == 2


def _dies(task: Any) -> Any:
    if task.case.patient == "P0007":
        os.kill(os.getpid(), signal.SIGKILL)
    return _real_sheet(task)


_real_sheet = sheets._sheet


@pytest.mark.slow
def test_a_killed_worker_costs_its_own_sheet(scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "_sheet", _dies)
    result = write(scored, tmp_path / "out", patients=["P0006", "P0007", "P0008"], jobs=2)
    assert result.made == 2
    assert [(failure.patient, failure.code) for failure in result.failures] == [("P0007", "worker_died")]


def test_nothing_but_the_key_says_who_it_is(tmp_path: Path) -> None:
    """Names and dates in columns that are ignored, in file names and in folders, leave no trace in any output."""
    folders = make_scored(tmp_path / "Doe_John_19550101", rows=3, images=1)
    chart = pd.read_csv(folders.cohort / "clinical.csv", dtype="str", keep_default_na=False)
    chart.assign(surname="Doe", born="1955-01-01", crlm_diagnosis_date="2019-05-05").to_csv(
        folders.cohort / "clinical.csv", index=False
    )
    (folders.cohort / "cohort.yaml").write_text("ignore_columns: [surname, born]\nname: Doe\n", encoding="utf-8")
    manifest = pd.read_csv(folders.cohort / "imaging.csv")
    (folders.cohort / "s0_image.nii.gz").rename(folders.cohort / "Doe^John_A4711.nii.gz")
    manifest.assign(image="Doe^John_A4711.nii.gz").to_csv(folders.cohort / "imaging.csv", index=False)
    result = write(folders, tmp_path / "out")
    assert result.failures == ()
    assert "data:image/png" in sheet_of(tmp_path / "out", 2)[1]
    for name, content in files(tmp_path / "out").items():
        # Pixels and hashes hold any digits by chance.
        words = re.sub(rb"base64,[^\"]*|\b[0-9a-f]{64}\b", b"", content)
        for planted in (b"Doe", b"John", b"1955", b"2019-05", b"A4711", str(tmp_path).encode()):
            assert planted not in words, (name, planted)


def test_progress_counts_every_sheet(scored: Scored, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    write(scored, tmp_path / "out", patients=["P0006", "P0007"], progress=lambda *step: told.append(step))
    assert told == [("sheet", 1, 2), ("sheet", 2, 2)]


@pytest.mark.slow
def test_pdf_is_one_page_per_patient(scored: Scored, tmp_path: Path, pypdf: ModuleType) -> None:
    for name in ("a", "b"):
        write(scored, tmp_path / name, patients=[HOSTILE[0], "P0005"], pdf=True)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    found = sorted((tmp_path / "a" / "sheets").glob("*.pdf"))
    assert len(found) == 2
    for path in found:
        reader = pypdf.PdfReader(path)
        assert len(reader.pages) == 1
        assert "For research; a multidisciplinary team decides." in reader.pages[0].extract_text()
        assert reader.metadata["/Title"] == "Patient sheet"
    assert write(scored, tmp_path / "a", patients=[HOSTILE[0], "P0005"], pdf=True).kept == 2
    # Without the PDF asked for before, the pages alone are looked at.
    found[0].unlink()
    assert write(scored, tmp_path / "a", patients=[HOSTILE[0], "P0005"]).kept == 2
    assert write(scored, tmp_path / "a", patients=[HOSTILE[0], "P0005"], pdf=True).made == 1


def test_trees_are_explained_too(tmp_path: Path) -> None:
    folders = make_scored(tmp_path, rows=3, learner="xgboost")
    result = write(folders, tmp_path / "out")
    assert (result.made, result.failures) == (3, ())
    sheet, page = sheet_of(tmp_path / "out", 2)
    assert sheet["explanation"]["rows"]
    assert "What moves this prediction" in page
    assert sheet["position"]["absent"] == "fewer than 10 patients were scored together"
