"""No identifier that stands in images, charts, comments, file or folder names comes out of any command.

Every byte of what is written is searched (names of files, packed streams, metadata, tables, stores), with everything
that the commands say, debug logging included.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import logging
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pydicom
import pytest
import yaml
from matplotlib.figure import Figure
from planted_identifiers import COLUMNS, FOLDER, PLANTED, hits, hits_in, write_cohort

from radiomics_crlm.cli.app import run
from radiomics_crlm.provenance.tables import read_table

pytestmark = pytest.mark.xdist_group("planted identifiers")

NAME = PLANTED["name"][0]
BIRTH = PLANTED["date"][0]
EXPERIMENT: dict[str, Any] = {
    "name": "planted",
    "title": "Planted identifiers",
    "question": "Does anything come out?",
    "cohort": {"kind": "folder"},
    "endpoints": ["recurrence_24m"],
    "feature_sets": {
        "clinical": {"title": "Clinical factors", "columns": ["age_years", "cea_ng_ml", "n_liver_mets"]},
        "combined": {
            "title": "Clinical factors and CT",
            "columns": ["age_years", "cea_ng_ml", "n_liver_mets"],
            "radiomics": {
                "modality": "CT",
                "sequence": "portal_venous",
                "columns": ["largest__original_firstorder_Mean", "largest__original_glcm_Contrast"],
            },
        },
    },
    "learners": ["ridge"],
    "rules": ["fong_crs", "timing_dfi"],
    "comparators": ["fong_crs"],
    "design": {"outer_folds": 3, "repeats": 1, "inner_folds": 3, "seed": 5, "bootstrap_draws": 100, "refits": 2},
    "profiles": {"CT/portal_venous": "ct-portal-venous-native"},
    "deliver": {"recurrence_24m": "combined/ridge"},
}


@contextlib.contextmanager
def everything_said(path: Path) -> Iterator[None]:
    """What is printed, by this process and by its children, and what is logged at any level, goes to a file."""
    root, level = logging.getLogger(), logging.getLogger().level
    with path.open("a", encoding="utf-8") as said:
        handler = logging.StreamHandler(said)
        saved = [os.dup(number) for number in (1, 2)]
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            for number in (1, 2):
                os.dup2(said.fileno(), number)
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
            for number, kept in zip((1, 2), saved, strict=True):
                os.dup2(kept, number)
                os.close(kept)


class Desk:
    """A folder with the name of a patient for what goes in, a plain one for what comes out."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        self.home = home or folder / PLANTED["other_unique_number"][2] / FOLDER
        self.out = folder / "out"
        self.out.mkdir(parents=True)
        self.said = self.out / "said.txt"

    def crlm(self, *arguments: object) -> int:
        with everything_said(self.said):
            logging.getLogger("radiomics_crlm").debug("command %s", arguments[0])
            return run([str(argument) for argument in arguments])


def charts(cohort: Path) -> pd.DataFrame:
    return pd.read_csv(cohort / "clinical.csv", dtype="str", keep_default_na=False)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    made = Desk(tmp_path_factory.mktemp("planted"))
    write_cohort(made.home, prefix="Q", n=6, seed=1)
    return made


def test_all_18_kinds_are_planted_in_tags_cells_comments_and_names(desk: Desk) -> None:
    assert len(PLANTED) == 18
    cohort = desk.home
    found = hits(cohort)
    assert set(found) == set(PLANTED)
    for kind in PLANTED:
        assert {"clinical.csv", "cohort.yaml"} <= found[kind]
        tagged = [name for name in found[kind] if name.endswith(".dcm")]
        assert len(tagged) == 5 * 9 or (kind == "photograph" and len(tagged) >= 4 * 9), kind
    # Files and folders are named after patients too, and NIfTI headers hold a name.
    assert hits_in(str(cohort.relative_to(cohort.parents[1])).encode()) == {"name", "date", "other_unique_number"}
    assert any(name.endswith(".nii.gz") for name in found["medical_record_number"])
    one = pydicom.dcmread(next(cohort.rglob("*Q000*/*.dcm")))
    assert (str(one.PatientName), one.PatientID) == ("Quittenbaum^Ottokar", "MRN-84620917")
    assert one.PatientBirthDate == BIRTH.replace("-", "")
    assert one.OtherPatientIDsSequence[0].PatientID == PLANTED["insurance_number"][0]
    assert any(element.tag.is_private for element in one)


def test_the_search_finds_what_is_hidden_in_files(tmp_path: Path) -> None:
    secret = PLANTED["email"][0]
    (tmp_path / "plain").write_text(f"a {secret.upper()} b")
    (tmp_path / "utf16").write_text(secret, encoding="utf-16")
    (tmp_path / "page.html").write_text("".join(f"&#{ord(letter)};" for letter in secret))
    (tmp_path / "link.html").write_text(secret.replace("@", "%40"))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(secret.encode()))
    (tmp_path / ".hidden").write_text(secret)
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.txt", secret)
    pd.DataFrame({"x": [secret] * 3}).to_parquet(tmp_path / "cells.parquet")
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as store, store:
        store.execute("create table t (x text)")
        store.execute("insert into t values (?)", (secret,))
    figure = Figure(figsize=(1, 1))
    figure.text(0.1, 0.1, secret)
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "drawn.svg")
    figure = Figure(figsize=(1, 1))
    figure.savefig(tmp_path / "meta.png", metadata={"Comment": secret})
    figure.savefig(tmp_path / "meta.pdf", metadata={"Author": secret})
    picture = base64.b64encode((tmp_path / "meta.png").read_bytes()).decode()
    (tmp_path / "inline.html").write_text(f'<img src="data:image/png;base64,{picture}">')
    (tmp_path / f"named_{secret}").mkdir()
    (tmp_path / "dated").write_text("born 17.03.1952")
    (tmp_path / "hash").write_text("0a19520317ff and 0.19520317")
    found = hits(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert found == {"email": names - {"dated", "hash"}, "date": {"dated"}}


def test_reading_and_measuring_tells_nothing(desk: Desk) -> None:
    cohort, out = desk.home, desk.out
    assert desk.crlm("validate", cohort) == 0
    assert desk.crlm("ingest", cohort, "--out", out / "ingested") == 4
    profile = ("--profile", "ct-portal-venous-native", "--jobs", "1")
    assert desk.crlm("extract", cohort, "--out", out / "extracted", *profile) == 4
    assert desk.crlm("rules", "run", cohort, "--out", out / "ruled") == 0
    exclusions = read_table(out / "extracted" / "exclusions.parquet", "exclusions")
    assert set(exclusions["patient_id"]) == {"Q001", "Q002"}
    assert len(read_table(out / "extracted" / "features_patient.parquet", "features_patient")) == 4
    assert_nothing_came_out(desk)


def assert_nothing_came_out(desk: Desk) -> None:
    """Nothing but the dates of the clinical vocabulary, in the cohort that 'ingest' prepares for the next command."""
    assert b"command " in desk.said.read_bytes()
    found = hits(desk.out)
    dates = found.pop("date", set()) - {"ingested/clinical.parquet"}
    assert (found, dates) == ({}, set())
    for path in desk.out.glob("ingested/clinical.parquet"):
        kept = pd.read_parquet(path)
        assert not {*COLUMNS, "birth"} & set(kept.columns)
        assert hits_in(kept.drop(columns=["crlm_diagnosis_date"]).to_csv().encode()) == set()
        assert BIRTH not in kept.to_csv()


def with_cell(cohort: Path, column: str, text: str) -> None:
    table = charts(cohort)
    table.loc[3, column] = text
    table.to_csv(cohort / "clinical.csv", index=False)


def scans(cohort: Path, **cells: str) -> None:
    table = pd.read_csv(cohort / "imaging.csv", dtype="str")
    for name, cell in cells.items():
        table.loc[0, name] = cell
    table.to_csv(cohort / "imaging.csv", index=False)


def other_patient(cohort: Path) -> None:
    path = next(cohort.rglob("*Q000*/*.dcm"))
    one = pydicom.dcmread(path)
    one.PatientID = PLANTED["account_number"][0]
    one.save_as(path)


def second_series(cohort: Path) -> None:
    for path in sorted(cohort.rglob("*Q000*/*.dcm")):
        one = pydicom.dcmread(path)
        one.SeriesInstanceUID, one.SeriesNumber = f"{PLANTED['other_unique_number'][1]}.5", 9
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{one.SOPInstanceUID[:50]}.9"
        one.save_as(path.with_name(f"second_{path.name}"))
    scans(cohort, series="description=*")


WRONG = {
    "a name for a number": lambda cohort: with_cell(cohort, "age_years", " ".join(PLANTED["name"])),
    "a number for a category": lambda cohort: with_cell(cohort, "node_positive_primary", PLANTED["telephone"][0]),
    "no date": lambda cohort: with_cell(cohort, "crlm_diagnosis_date", f"{BIRTH} or so"),
    "a key twice": lambda cohort: with_cell(cohort, "patient_id", "Q001"),
    "columns not to be ignored": lambda cohort: (cohort / "cohort.yaml").write_text(f"name: some # {NAME}\n"),
    "nothing but a comment": lambda cohort: (cohort / "cohort.yaml").write_text(f"# {NAME}\n"),
    "comment in broken notes": lambda cohort: (cohort / "cohort.yaml").write_text(f"name: [{NAME} # {BIRTH}\n}}"),
    "unknown key of the notes": lambda cohort: (cohort / "cohort.yaml").write_text(f"citation: [{NAME}]\nphone: 1\n"),
    "broken chart": lambda cohort: (cohort / "clinical.csv").write_bytes(
        (cohort / "clinical.csv").read_bytes() + f'Q9,"{NAME}\n'.encode()
    ),
    "chart of one cell too many": lambda cohort: (cohort / "clinical.csv").write_bytes(
        (cohort / "clinical.csv").read_bytes() + (",".join([NAME] * 60) + "\n").encode()
    ),
    "unknown modality": lambda cohort: scans(cohort, modality=NAME),
    "unknown role": lambda cohort: scans(cohort, mask_roles=f"{NAME}=1"),
    "image that does not exist": lambda cohort: scans(cohort, image=f"{FOLDER}/none"),
    "path that leads out": lambda cohort: scans(cohort, image=f"../../{FOLDER}"),
    "slices of two patients": other_patient,
    "two series": second_series,
    "series that do not exist": lambda cohort: scans(cohort, series=f"description=*{NAME[:6]}*;number=77"),
    "segment that does not exist": lambda cohort: scans(cohort, mask_roles="lesion=tumour"),
}


ALWAYS = ("a name for a number", "comment in broken notes", "segment that does not exist")


@pytest.mark.parametrize(
    "wrong", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in WRONG]
)
def test_errors_tell_nothing(desk: Desk, wrong: str) -> None:
    place = desk.home.parent / wrong.replace(" ", "_") / FOLDER
    shutil.copytree(desk.home, place, ignore=shutil.ignore_patterns("*Q00[1345]*"))
    table = pd.read_csv(place / "imaging.csv")
    table[table["patient_id"].isin(["Q000", "Q002"])].to_csv(place / "imaging.csv", index=False)
    WRONG[wrong](place)
    own = Desk(desk.out.parent / "wrong" / wrong.replace(" ", "_"), place)
    codes = [
        own.crlm("validate", place),
        own.crlm("ingest", place, "--out", own.out / "ingested"),
        own.crlm("rules", "run", place, "--out", own.out / "ruled", "--rule", "fong_crs"),
    ]
    assert 1 not in codes
    assert {2, 3, 4} & set(codes)
    assert_nothing_came_out(own)


@pytest.fixture(scope="module")
def studied(desk: Desk) -> Path:
    cohort = write_cohort(desk.home.parent / NAME / FOLDER, prefix="P", n=32)
    text = "".join(f"# {kind}: {' '.join(texts)}\n" for kind, texts in PLANTED.items())
    file = desk.home.parent / f"{NAME}.yaml"
    file.write_text(text + yaml.safe_dump(EXPERIMENT))
    study = desk.out / "study"
    assert desk.crlm("run", file, "--data", cohort, "--out", study, "--jobs", "2") == 4
    assert json.loads((study / "run.json").read_text())["flow"]["cohort"]["in"] == 32
    return study


@pytest.mark.slow
def test_a_study_and_its_scores_tell_nothing(desk: Desk, studied: Path) -> None:
    out = desk.out
    assert desk.crlm("card", studied) == 0
    assert desk.crlm("report", studied, "--to", out / "report") == 0
    bundle = studied / "bundles" / "recurrence_24m"
    cohort = desk.home
    with_cell(cohort, "n_liver_mets", NAME)
    scoring = ("score", "--bundle", bundle, "--cohort", cohort, "--out", out / "scored", "--attributions")
    assert desk.crlm(*scoring, "--jobs", "1") == 4
    scores = read_table(out / "scored" / "scores.parquet", "scores")
    assert set(scores["status"]) == {"scored", "abstained"}
    assert scores.loc[scores["patient_id"] == "Q003", "reason"].str.contains("n_liver_mets").all()
    assert np.isfinite(scores.loc[scores["status"] == "scored", "risk"]).all()
    given = ("--bundle", bundle, "--cohort", cohort, "--scores", out / "scored", "--pdf", "--jobs", "1")
    assert desk.crlm("sheet", *given, "--out", out / "sheets") == 4
    assert list((out / "sheets").rglob("*.html"))
    assert list((out / "sheets").rglob("*.pdf"))
    assert desk.crlm("sheet", *given, "--out", out / "more", "--patient", NAME) == 3
    assert desk.crlm("bundle", "export-mlflow", bundle, "--out", out / "served") == 0
    assert desk.crlm("score", "--bundle", cohort, "--cohort", bundle, "--out", out / "none") == 3
    assert desk.crlm("run", cohort / "cohort.yaml", "--out", out / "no") == 2
    assert (studied / "mlflow.db").is_file()
    assert (studied / "tables" / "clinical.parquet").is_file()
    assert_nothing_came_out(desk)


@pytest.mark.slow
def test_contact_sheets_tell_nothing(desk: Desk) -> None:
    assert desk.crlm("view", desk.home, "--out", desk.out / "viewed", "--jobs", "1") == 4
    assert list((desk.out / "viewed").rglob("*.png"))
    assert_nothing_came_out(desk)
