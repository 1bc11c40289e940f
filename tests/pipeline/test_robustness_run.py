"""The command from a folder of scans to tables and page: ranks of features, readers, jobs, refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from solids import Scene

from radiomics_crlm.cli.app import run
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.agreement import icc
from radiomics_crlm.imaging.volume import write_volume
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study.robustness import RobustnessSettings, feature_stability, robustness_of_cohort

TABLES = ("perturbed_features", "perturbed_patients", "feature_stability", "controls", "exclusions")
MEAN, ELONGATION = "lesion__original_firstorder_Mean", "lesion__original_shape_Elongation"
PLAN = "translate:0.25,rotate:8,noise,grow:0.15,randomise:0.5mm"


def write_scan(folder: Path, patient: str, seed: int) -> dict[str, str]:
    """A liver with two tiny round lesions, whose grey values differ from patient to patient and whose shapes do not."""
    scene, generator = Scene((64.0, 56.0, 50.0), (1.0, 1.0, 2.0)), np.random.default_rng(seed)
    liver = scene.ellipsoid((30.0, 26.0, 24.0))
    lesions = [scene.sphere(3.2, (-12.0, 0.0, 0.3 * seed)), scene.sphere(3.6, (12.0, 0.2 * seed, 0.0))]
    values = np.where(liver, 110.0, 40.0)
    for lesion in lesions:
        values[lesion] = generator.uniform(0, 220)
    values = values + generator.normal(0, 8, values.shape)
    write_volume(scene.volume(np.rint(values).astype(np.int16)), folder / f"{patient}.nii.gz")
    write_volume(scene.labels(*lesions), folder / f"{patient}_mask.nii.gz")
    write_volume(scene.labels(liver), folder / f"{patient}_liver.nii.gz")
    wider = [scene.sphere(3.9, (-12.0, 0.0, 0.3 * seed)), scene.sphere(4.2, (12.0, 0.2 * seed, 0.0))]
    write_volume(scene.labels(*reversed(wider)), folder / f"{patient}_reader.nii.gz")
    return {"patient_id": patient, "timepoint": "preoperative", "modality": "CT", "sequence": "portal_venous"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robust")
    rows, readers = [], []
    for number in range(8):
        patient = f"P{number}"
        key = write_scan(folder, patient, number)
        image = {**key, "image": f"{patient}.nii.gz"}
        rows += [
            {**image, "mask": f"{patient}_mask.nii.gz", "mask_roles": "lesion=*"},
            {**image, "mask": f"{patient}_liver.nii.gz", "mask_roles": "liver=1"},
        ]
        readers.append({**key, "reader": "B", "mask": f"{patient}_reader.nii.gz", "mask_roles": "lesion=*"})
    broken = dict.fromkeys(("patient_id",), "P9") | {k: v for k, v in rows[0].items() if k != "patient_id"}
    rows.append({**broken, "image": "absent.nii.gz"})
    readers.append({**readers[0], "patient_id": "P8"})
    pd.DataFrame(rows).to_csv(folder / "imaging.csv", index=False)
    pd.DataFrame(readers).to_csv(folder / "readers.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def done(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "robust"
    arguments = ["--perturbations", PLAN, "--profile", "ct-portal-venous-native", "--seed", "3", "--jobs", "1"]
    assert run(["robustness", str(cohort), "--out", str(out), *arguments]) == 4  # one scan is not there
    return out


def digests(out: Path) -> dict[str, str]:
    names = [*(f"{t}.parquet" for t in TABLES), "robustness.html"]
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}


def test_features_rank_as_physics_says(done: Path) -> None:
    """The mean is stable; the elongation of tiny round lesions is made by the voxels."""
    table = read_table(done / "feature_stability.parquet", "feature_stability")
    rows = table[table["raters"] == "perturbations"].set_index("feature")
    assert rows.loc[MEAN, "icc2_lower"] > 0.75
    assert rows.loc[MEAN, "stable"]
    assert not rows.loc[ELONGATION, "stable"]
    assert rows.loc[ELONGATION, "icc2"] < 0.5
    assert rows.loc[MEAN, "icc2"] > rows.loc[ELONGATION, "icc2"] + 0.4
    assert (rows["lesions"] <= 16).all()
    assert (rows["n_raters"] == 6).all()
    assert rows.loc["lesion__original_shape_MeshVolume", "volume_spearman"] > 0.9
    assert abs(rows.loc[MEAN, "volume_spearman"]) < 0.7
    assert rows.loc[MEAN, "shuffled_spearman"] == pytest.approx(1.0)
    assert rows.loc[ELONGATION, "elsewhere_spearman"] == pytest.approx(1.0)
    assert rows.loc[MEAN, "elsewhere_spearman"] < 0.9


def test_the_table_says_what_its_features_say(done: Path) -> None:
    """One number by hand: ICC(2,1) of the mean, from the wide table."""
    features = read_table(done / "perturbed_features.parquet", "perturbed_features")
    wide = features[features["source"] != "reader"].pivot(
        index=["patient_id", "lesion"], columns="perturbation", values=MEAN
    )
    assert wide.shape == (16, 6)
    table = read_table(done / "feature_stability.parquet", "feature_stability")
    row = table[(table["raters"] == "perturbations") & (table["feature"] == MEAN)].iloc[0]
    expected = icc(wide.to_numpy(dtype=float)[:, :, None], "agreement")
    assert row["icc2"] == pytest.approx(expected.estimate[0], abs=1e-12)
    assert row["icc2_lower"] == pytest.approx(expected.lower[0], abs=1e-12)


def test_readers_are_judged_apart(done: Path) -> None:
    table = read_table(done / "feature_stability.parquet", "feature_stability")
    rows = table[table["raters"] == "readers"].set_index("feature")
    assert (rows["n_raters"] == 2).all()
    assert rows.loc[MEAN, "lesions"] == 16
    volume = rows.loc["lesion__original_shape_VoxelVolume"]
    assert volume["icc3"] > volume["icc2"] + 0.3  # the other reader draws everything larger
    exclusions = read_table(done / "exclusions.parquet", "exclusions")
    found = set(zip(exclusions["patient_id"], exclusions["stage"], exclusions["code"], strict=True))
    assert found == {("P9", "robustness", "missing_file"), ("P8", "readers", "unknown_scan")}


def test_the_number_of_jobs_does_not_matter(cohort: Path, done: Path, tmp_path: Path) -> None:
    settings = RobustnessSettings(tuple(PLAN.split(",")), seed=3)
    robustness_of_cohort(
        cohort, tmp_path / "again", settings, profile="ct-portal-venous-native", jobs=2, progress=lambda *_: None
    )
    assert digests(tmp_path / "again") == digests(done)


def test_page(done: Path) -> None:
    page = (done / "robustness.html").read_text(encoding="utf-8")
    assert "CT, portal_venous: perturbations" in page
    assert "CT, portal_venous: readers" in page
    assert page.count("original_firstorder_Mean<") == 2
    assert "<script" not in page
    assert "P1" not in page


def test_settings_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="bound or the seed is out of range"):
        RobustnessSettings(minimum=1.2)
    with pytest.raises(ConfigError, match="bound or the seed is out of range"):
        RobustnessSettings(seed=-1)
    with pytest.raises(ConfigError, match="cannot be parsed"):
        RobustnessSettings(("swirl",))


def test_commands_that_are_refused(cohort: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "o")]
    assert run(["robustness", str(cohort), *out, "--perturbations", "swirl:3"]) == 2
    assert run(["robustness", str(cohort), *out, "--profile", "nonsense"]) == 2
    assert run(["robustness", str(tmp_path), *out]) == 3
    assert not (tmp_path / "o").exists()


def test_no_usable_scan(cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "imaging.csv").tail(1)
    table.to_csv(tmp_path / "imaging.csv", index=False)
    with pytest.raises(InputError, match="no scan could be measured"):
        robustness_of_cohort(tmp_path, tmp_path / "out", RobustnessSettings(("noise",)), progress=lambda *_: None)
    left = read_table(tmp_path / "out" / "exclusions.parquet", "exclusions")
    assert left["code"].tolist() == ["missing_file"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"reader": None}, "missing_value"),
        ({"timepoint": "yesterday"}, "not_allowed"),
    ],
)
def test_bad_rows_of_readers(cohort: Path, tmp_path: Path, change: dict, code: str) -> None:
    images = pd.read_csv(cohort / "imaging.csv").head(2)
    images.to_csv(tmp_path / "imaging.csv", index=False)
    for name in {*images["image"], *images["mask"]}:
        (tmp_path / name).write_bytes((cohort / name).read_bytes())
    readers = pd.read_csv(cohort / "readers.csv").head(1)
    pd.concat([readers.assign(**change), readers, readers]).to_csv(tmp_path / "readers.csv", index=False)
    result = robustness_of_cohort(
        tmp_path, tmp_path / "out", RobustnessSettings(("grow:0.15",), controls=False),
        profile="ct-portal-venous-native", progress=lambda *_: None,
    )  # fmt: skip
    assert [e.code for e in result.exclusions] == [code, "duplicate_reader", "duplicate_reader"]
    assert set(result.features["perturbation"]) == {"original", "grow:0.15"}
    assert len(result.controls) == 0
    assert result.stability["shuffled_spearman"].isna().all()


def test_kinds_of_scans_are_never_mixed() -> None:
    """CT and MR of the same lesions: means far apart would make any feature look stable."""
    generator = np.random.default_rng(0)
    rows = []
    for modality, level in (("CT", 0.0), ("MR", 1000.0)):
        for patient in range(12):
            for name, source in (("original", "original"), ("noise", "perturbation")):
                key = (f"P{patient}", "baseline", modality, "x", 1, name, source, 1.0 + patient)
                rows.append((*key, level + generator.normal()))
    columns = [
        "patient_id",
        "timepoint",
        "modality",
        "sequence",
        "lesion",
        "perturbation",
        "source",
        "volume_ml",
        "lesion__a",
    ]
    empty = pd.DataFrame(columns=["patient_id", "timepoint", "modality", "sequence", "lesion", "control"])
    table = feature_stability(pd.DataFrame(rows, columns=columns), empty)
    assert table[["modality", "raters"]].to_numpy().tolist() == [["CT", "perturbations"], ["MR", "perturbations"]]
    assert (table["icc2"].abs() < 0.6).all()
    assert not table["stable"].any()
