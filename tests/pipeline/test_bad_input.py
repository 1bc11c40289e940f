"""Bad input on the command line: the case, the field, what was expected, what came, what to do, and the exit code."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_experiment import SMALL, write_experiment

from radiomics_crlm.cli.app import run
from radiomics_crlm.imaging.volume import Volume, read_volume, write_volume
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.provenance.tables import read_table

pytestmark = pytest.mark.xdist_group("bad input")


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "cohort"
    simulate_cohort(SimulationConfig(patients=3, seed=4, mr_fraction=0, unresectable_fraction=0), folder)
    return folder


@pytest.fixture
def cohort(clean, tmp_path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "cohort"))


def charts(cohort: Path) -> pd.DataFrame:
    return pd.read_csv(cohort / "clinical.csv", dtype="str", keep_default_na=False)


def files_of(cohort: Path, position: int) -> tuple[Path, Path]:
    """Image and lesion mask of one patient."""
    scans = pd.read_csv(cohort / "imaging.csv")
    key = charts(cohort)["patient_id"][position]
    row = scans[(scans["patient_id"] == key) & (scans["mask_roles"] == "lesion=*")].iloc[0]
    return cohort / row["image"], cohort / row["mask"]


def extract(cohort: Path, out: Path) -> int:
    return run(["extract", str(cohort), "--out", str(out), "--profile", "ct-portal-venous-native", "--jobs", "1"])


def change_mask(path: Path, change) -> None:
    mask = read_volume(path, case="test")
    write_volume(change(mask), path)


def shifted(mask: Volume) -> Volume:
    x, y, z = mask.origin
    return Volume(mask.array, mask.spacing, (x + 1.5 * mask.spacing[0], y, z), mask.direction)


def emptied(mask: Volume) -> Volume:
    return Volume(np.zeros_like(mask.array), mask.spacing, mask.origin, mask.direction)


def cropped(mask: Volume) -> Volume:
    return Volume(mask.array[:-1], mask.spacing, mask.origin, mask.direction)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (shifted, "geometry_mismatch", ["mm", "1.500 voxel"]),
        (emptied, "empty_mask", ["mask"]),
        (cropped, "geometry_mismatch", ["size"]),
    ],
)
def test_a_bad_mask_costs_its_scan_only(cohort, tmp_path, change, code, words):
    change_mask(files_of(cohort, 1)[1], change)
    out = tmp_path / "out"
    assert extract(cohort, out) == 4
    (exclusion,) = read_table(out / "exclusions.parquet", "exclusions").to_dict("records")
    assert exclusion["patient_id"] == charts(cohort)["patient_id"][1]
    assert exclusion["code"] == code
    assert all(word in exclusion["reason"] for word in words), exclusion["reason"]
    assert str(cohort) not in exclusion["reason"]
    assert read_table(out / "features_lesion.parquet", "features_lesion")["patient_id"].nunique() == 2


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_a_truncated_image_costs_its_scan_only(cohort, tmp_path, keep):
    image = files_of(cohort, 0)[0]
    image.write_bytes(image.read_bytes()[:keep])
    out = tmp_path / "out"
    assert extract(cohort, out) == 4
    (exclusion,) = read_table(out / "exclusions.parquet", "exclusions").to_dict("records")
    assert exclusion["code"] == "unreadable_image"
    assert read_table(out / "features_lesion.parquet", "features_lesion")["patient_id"].nunique() == 2


def test_a_missing_image_costs_its_scan_only(cohort, tmp_path):
    files_of(cohort, 2)[0].unlink()
    assert extract(cohort, tmp_path / "out") == 4
    exclusions = read_table(tmp_path / "out" / "exclusions.parquet", "exclusions")
    assert exclusions["code"].tolist() == ["missing_file"]


def test_a_one_voxel_lesion_is_a_row_with_a_reason(cohort, tmp_path):
    def with_speck(mask: Volume) -> Volume:
        array = mask.array.copy()
        array[0, 0, 0] = array.max() + 1
        return Volume(array, mask.spacing, mask.origin, mask.direction)

    change_mask(files_of(cohort, 0)[1], with_speck)
    assert extract(cohort, tmp_path / "out") == 4
    features = read_table(tmp_path / "out" / "features_lesion.parquet", "features_lesion")
    key = charts(cohort)["patient_id"][0]
    speck = features[features["patient_id"] == key].iloc[-1]
    assert (speck["status"], speck["reason"]) == ("failed", "one_voxel")
    assert (features[features["patient_id"] == key]["status"] == "ok").any()


def test_paths_out_of_the_cohort_are_not_followed(cohort, tmp_path):
    scans = pd.read_csv(cohort / "imaging.csv")
    scans.loc[0, "image"] = "../../etc/passwd"
    scans.to_csv(cohort / "imaging.csv", index=False)
    assert run(["ingest", str(cohort), "--out", str(tmp_path / "out")]) == 4
    assert "path_outside" in read_table(tmp_path / "out" / "exclusions.parquet", "exclusions")["code"].tolist()


def test_validate_names_every_bad_patient(cohort, capsys):
    table = charts(cohort)
    table.loc[0, "largest_met_mm"] = "4.5 cm"
    table.loc[1, "cea_ng_ml"] = "-3"
    table.loc[2, "patient_id"] = table.loc[1, "patient_id"]
    table.to_csv(cohort / "clinical.csv", index=False)
    assert run(["validate", str(cohort)]) == 4
    shown = capsys.readouterr().out
    assert "patients: 2 in, 0 usable" in shown
    assert "duplicate_patient" in shown
    assert "column largest_met_mm: wrong type, expected a number from 0 to 300 mm" in shown
    assert "4.5 cm" not in shown


def test_a_scan_of_an_unknown_patient_is_named(cohort, capsys):
    scans = pd.read_csv(cohort / "imaging.csv")
    scans.loc[0, "patient_id"] = "SOMEBODY"
    scans.to_csv(cohort / "imaging.csv", index=False)
    assert run(["validate", str(cohort)]) == 4
    assert "unknown_patient" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["validate", "{tmp}/nowhere"], 3, "the cohort folder is missing"),
        (
            ["run", "no_such_study", "--out", "{tmp}/o"],
            2,
            "there is no such experiment; expected a file, or one of .*demo",
        ),
        (["run", "tcia_crlm_clinical", "--out", "{tmp}/o"], 2, "reads real data. Pass --data DIR"),
        (["run", "tcia_crlm_clinical", "--out", "{tmp}/o", "--data", "{tmp}/nowhere"], 3, "the data folder is missing"),
        (
            ["run", "tcia_crlm_clinical", "--out", "{tmp}/o", "--data", "{tmp}"],
            3,
            "clinical table of TCIA.* was not found",
        ),
        (["extract", "{tmp}", "--out", "{tmp}/o"], 3, "needs one imaging table"),
        (
            ["extract", "{cohort}", "--out", "{tmp}/o", "--profile", "nope"],
            2,
            "unknown extraction profile; expected .*ct-portal-venous",
        ),
        (["score", "--bundle", "{tmp}", "--cohort", "{cohort}", "--out", "{tmp}/o"], 3, "bundle"),
        (["ingest", "--out", "{tmp}/o", "--patient", "X"], 2, "one scan needs --patient, --image and --mask together"),
        (["rules", "run", "{cohort}", "--out", "{tmp}/o", "--rule", "fong"], 2, "fong"),
        (
            ["simulate", "--out", "{tmp}/o", "--patients", "0"],
            2,
            "patients: Input should be greater than or equal to 1",
        ),
        (["evaluate", "{tmp}"], 3, "the record of the run is missing"),
        (["no-such-command"], 2, "No such command"),
    ],
)
def test_wrong_calls(cohort, tmp_path, capsys, arguments, code, message):
    filled = [a.format(tmp=tmp_path, cohort=cohort) for a in arguments]
    assert run(filled) == code
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(message, shown), shown


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"learner": ["ridge"]}, 2, "learner: Extra inputs are not permitted"),
        ({"endpoints": ["cure"], "deliver": {}}, 2, "unknown endpoints; expected recurrence, .* got cure"),
        ({"rules": ["fong_crs", "fongg"], "comparators": ["fong_crs"]}, 2, "fongg"),
        ({"learners": ["deep"]}, 2, "learners.0: Input should be 'ridge', 'elastic_net', .* or 'stacking'"),
        (
            {
                "learners": ["ridge", "late_fusion"],
                "feature_sets": {"c": {"title": "c", "columns": ["cea_ng_ml"]}},
                "deliver": {},
            },
            2,
            "a learner fits no endpoint and feature set .* late_fusion needs clinical and radiomic",
        ),
        (
            {"learners": ["ridge", "fine_gray"], "deliver": {"recurrence_24m": "combined/fine_gray"}},
            2,
            "recurrence_24m, combined/fine_gray: .* fine_gray is not for binary endpoints",
        ),
        ({"deliver": {"os": "combined/ridge"}}, 2, "deliver names the endpoint 'os'"),
        (
            {"cohort": {"kind": "simulated", "settings": {"patients": 8, "mr_fraction": 0}}},
            3,
            "too few|constant|fold",
        ),
        (
            {
                "cohort": {"kind": "simulated", "settings": {"patients": 8, "mr_fraction": 0}},
                "subgroups": {"shoe_size": [40]},
            },
            2,
            "subgroups: the cohort lacks columns of its subgroups; got shoe_size",
        ),
    ],
)
def test_bad_experiments_are_refused_before_anything_is_fitted(tmp_path, capsys, changes, code, message):
    file = write_experiment(tmp_path / "bad.yaml", **{**SMALL, **changes})
    assert run(["run", str(file), "--out", str(tmp_path / "out"), "--jobs", "1"]) == code
    shown = capsys.readouterr().err
    assert re.search(message, shown), shown
    assert "train:" not in shown


def test_results_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    file = write_experiment(tmp_path / "small.yaml", **SMALL)
    assert run(["run", str(file), "--out", str(tmp_path / "out")]) == 3
    assert "the out folder is not empty" in capsys.readouterr().err
    assert run(["demo", "--out", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"


def test_ingest_names_a_damaged_image_once_per_time_point(cohort, tmp_path):
    """An image with two masks fails twice for the same reason: that is one excluded scan."""
    image = files_of(cohort, 0)[0]
    image.write_bytes(image.read_bytes()[:3000])
    assert run(["ingest", str(cohort), "--out", str(tmp_path / "out")]) == 4
    exclusions = read_table(tmp_path / "out" / "exclusions.parquet", "exclusions")
    assert exclusions["code"].tolist() == ["unreadable_image"]
    assert read_table(tmp_path / "out" / "lesions.parquet", "lesions")["patient_id"].nunique() == 2
