"""A scan measured again and again: what is the same, what moves how much, and what failures cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from solids import Scene

from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.features.extract import extract_scan
from radiomics_crlm.features.perturbation import DEFAULTS, plan_perturbations
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.features.repeated import ReaderMask, Repeated, RepeatTask, measure_repeatedly
from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.imaging.scan import SCAN_KEY, ScanFiles
from radiomics_crlm.imaging.volume import read_volume, write_volume

SCENE = Scene((110.0, 90.0, 70.0), (1.0, 1.0, 2.5))
LIVER = SCENE.ellipsoid((52.0, 42.0, 32.0))
PROFILE = load_profiles().profiles["ct-portal-venous-native"]
QUICK = PROFILE.model_copy(update={"feature_classes": ("shape", "firstorder")})
FILES = ScanFiles(
    ("P1", "preoperative", "CT", "portal_venous"),
    ("image.nii.gz",),
    (("mask.nii.gz", "lesion=*"), ("liver.nii.gz", "liver=1")),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with a large, a medium and a tiny lesion, and the masks of two readers."""
    root = tmp_path_factory.mktemp("scan")
    large, medium = SCENE.sphere(13.0, (-22.0, 0.0, 0.0)), SCENE.ellipsoid((8.0, 6.0, 7.0), (20.0, 10.0, 0.0))
    tiny = SCENE.sphere(2.6, (5.0, -22.0, 5.0))
    generator = np.random.default_rng(0)
    values = np.where(LIVER, 110.0, 40.0)
    for region, level in ((large, 60.0), (medium, 70.0), (tiny, 65.0)):
        values[region] = level
    values = values + generator.normal(0, 10, values.shape)
    write_volume(SCENE.volume(np.rint(values).astype(np.int16)), root / "image.nii.gz")
    write_volume(SCENE.labels(large, medium, tiny), root / "mask.nii.gz")
    write_volume(SCENE.labels(LIVER), root / "liver.nii.gz")
    drawn = SCENE.labels(SCENE.ellipsoid((9.0, 6.0, 7.0), (20.5, 10.0, 0.0)), SCENE.sphere(12.0, (-21.0, 0.0, 0.0)))
    write_volume(drawn, root / "reader_b.nii.gz")
    return root


def task(root: Path, *texts: str, profile: Profile | None = QUICK, **changes: object) -> RepeatTask:
    plan = tuple(plan_perturbations(texts, 1))
    return replace(RepeatTask(FILES, root, profile, plan, (), False, 7), **changes)


def rows_of(result: Repeated) -> pd.DataFrame:
    return pd.concat(result.features, ignore_index=True)


def test_the_scan_as_it_is_gives_the_normal_extraction(folder: Path) -> None:
    result = measure_repeatedly(task(folder, profile=PROFILE))
    image, mask = (read_volume(folder / name, case="P1") for name in ("image.nii.gz", "mask.nii.gz"))
    mask = replace(mask, array=mask.array.astype(np.int32))
    expected = extract_scan(image, mask, PROFILE, case="P1")
    got = result.features[0]
    pd.testing.assert_frame_equal(got[expected.columns], expected)
    assert (got["perturbation"] == "original").all()
    assert (got["source"] == "original").all()
    sizes = measure_lesions(mask)
    assert got["volume_ml"].tolist() == sizes["volume_ml"].tolist()
    key = dict(zip(SCAN_KEY, FILES.key, strict=True))
    patients = aggregate_patients(got[[*SCAN_KEY, *expected.columns]], sizes.assign(**key))
    mine = result.patients[0]
    shared = [c for c in patients.columns if c in mine.columns]
    pd.testing.assert_frame_equal(mine[shared], patients[shared])
    assert {"perturbation", "source"} == set(mine.columns) - set(patients.columns)
    assert all(c.startswith("burden__") for c in set(patients.columns) - set(mine.columns))


def test_shape_stands_still_under_noise_and_grey_values_under_nothing_else(folder: Path) -> None:
    table = rows_of(measure_repeatedly(task(folder, "noise", "grow:0.3"))).set_index(["perturbation", "lesion"])
    shape = [c for c in table.columns if "_shape_" in c]
    same = table.loc["noise", shape].to_numpy() == table.loc["original", shape].to_numpy()
    undefined = table.loc["noise", shape].isna().to_numpy()
    assert (same | undefined).all()
    mean = "lesion__original_firstorder_Mean"
    assert (table.loc["noise", mean] != table.loc["original", mean]).all()
    volume = "lesion__original_shape_VoxelVolume"
    grown = table.loc["grow:0.3", volume] / table.loc["original", volume]
    np.testing.assert_allclose(grown.iloc[:2], 1.3, atol=0.005)


def test_what_vanishes_is_a_row_with_a_reason_and_costs_nobody_else(folder: Path) -> None:
    result = measure_repeatedly(task(folder, "grow:-4mm", "grow:-20mm"))
    table = rows_of(result).set_index(["perturbation", "lesion"])
    gone = table.loc[("grow:-4mm", 3)]
    assert (gone["status"], gone["reason"]) == ("failed", "region_vanished")
    assert np.isnan(gone["volume_ml"])
    assert table.loc["grow:-4mm", "status"].tolist() == ["ok", "ok", "failed"]
    assert (table.loc["grow:-20mm", "reason"] == "region_vanished").all()
    assert [t["perturbation"].iloc[0] for t in result.patients] == ["original", "grow:-4mm"]
    assert result.patients[1]["n_lesions_ok"].tolist() == [2]


def test_seeds(folder: Path) -> None:
    first, again = (rows_of(measure_repeatedly(task(folder, "noise", "randomise:1mm"))) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = rows_of(measure_repeatedly(task(folder, "noise", "randomise:1mm", seed=8)))
    mean = "lesion__original_firstorder_Mean"
    differs = (other[mean] != first[mean]).groupby(first["perturbation"]).all()
    assert differs.to_dict() == {"noise": True, "original": False, "randomise:1mm": True}
    alone = rows_of(measure_repeatedly(task(folder, "randomise:1mm")))
    pd.testing.assert_frame_equal(
        alone[alone["source"] == "perturbation"].reset_index(drop=True),
        first[first["perturbation"] == "randomise:1mm"].reset_index(drop=True),
    )


def test_readers_are_ratings_under_the_labels_of_the_reference(folder: Path) -> None:
    readers = (
        ReaderMask("B", "reader_b.nii.gz", "lesion=*"),
        ReaderMask("C", "absent.nii.gz", "lesion=*"),
        ReaderMask("D", "liver.nii.gz", "liver=1"),
    )
    result = measure_repeatedly(task(folder, readers=readers))
    table = rows_of(result).set_index(["perturbation", "lesion"])
    assert table.index.get_level_values(0).unique().tolist() == ["original", "reader:B"]
    assert (table.loc["reader:B", "source"] == "reader").all()
    assert table.loc["reader:B", "reason"].tolist() == ["", "", "not_drawn"]
    volumes = table["volume_ml"].unstack("perturbation")
    assert volumes.loc[1, "reader:B"] < volumes.loc[1, "original"]
    assert volumes.loc[2, "reader:B"] > volumes.loc[2, "original"]
    assert [code for code, _ in result.failures] == ["missing_file", "no_lesion_mask"]
    assert all("another reader" in reason for _, reason in result.failures)


def test_controls(folder: Path) -> None:
    result = measure_repeatedly(task(folder, controls=True))
    shuffled, elsewhere = result.controls
    mean, volume = "lesion__original_firstorder_Mean", "lesion__original_shape_VoxelVolume"
    original = result.features[0]
    np.testing.assert_allclose(shuffled[mean], original[mean], rtol=1e-12)
    np.testing.assert_array_equal(elsewhere[volume], original[volume])
    assert (elsewhere[mean] > 105).all()
    assert (elsewhere["control"] == "elsewhere").all()


def test_without_a_liver_mask_there_is_a_reason(folder: Path) -> None:
    files = replace(FILES, masks=FILES.masks[:1])
    result = measure_repeatedly(task(folder, controls=True, files=files))
    assert result.controls[1]["reason"].tolist() == ["no_liver_mask"] * 3
    assert result.controls[1]["status"].tolist() == ["failed"] * 3
    assert result.controls[0]["status"].tolist() == ["ok"] * 3


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"profile": None}, "no_profile"),
        ({"files": replace(FILES, images=("absent.nii.gz",))}, "missing_file"),
        ({"files": replace(FILES, masks=(("mask.nii.gz", "lesion=9"),))}, "no_lesion_label"),
        ({"files": replace(FILES, masks=(("mask.nii.gz", "lesion=none"),))}, "no_lesion_shown"),
    ],
)
def test_scans_that_cannot_be_measured(folder: Path, changes: dict, code: str) -> None:
    result = measure_repeatedly(task(folder, "noise", **changes))
    assert [found for found, _ in result.failures] == [code]
    assert [result.features, result.patients, result.controls] == [[], [], []]


def test_all_defaults_run_on_the_resampled_profile(folder: Path) -> None:
    profile = load_profiles().profiles["ct-portal-venous"].model_copy(update={"feature_classes": ("firstorder",)})
    table = rows_of(measure_repeatedly(task(folder, *DEFAULTS, profile=profile)))
    assert table["perturbation"].nunique() == 1 + len(DEFAULTS)
    assert (table["status"] == "ok").mean() > 0.9
    mean = "lesion__original_firstorder_Mean"
    spread = table[table["lesion"] == 1].set_index("perturbation")[mean]
    away = (spread - spread["original"]).drop("original").abs()
    assert away.drop(["grow:0.15", "randomise:1mm"]).max() < 2.0  # the lesion is the same, seen again
    assert 4.0 < spread["grow:0.15"] - spread["original"] < 8.0  # 15 % of liver, 50 HU brighter, comes in
