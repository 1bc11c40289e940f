"""A whole manifest: order, exclusions, roles over several mask files, and independence of the number of processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.imaging.volume import Volume, write_volume
from radiomics_crlm.schema import check_table

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
PROFILES = {
    "CT/portal_venous": Profile(
        name="first",
        description="test",
        modality="CT",
        resample_mm=None,
        bin_width=25,
        feature_classes=("firstorder",),
    )
}
COLUMNS = ["patient_id", "timepoint", "modality", "sequence", "image", "mask", "mask_roles", "study_day"]


def save(root: Path, name: str, array: np.ndarray, shift: float = 0.0) -> str:
    write_volume(Volume(array, (1.0, 1.0, 2.0), (shift, 0.0, 0.0), IDENTITY), root / name)
    return name


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    """Three good scans of two patients, an anatomy mask, and one scan for each thing that can go wrong."""
    rng = np.random.default_rng(0)
    image = rng.normal(60, 15, (10, 16, 16)).astype(np.int16)
    image[0, 0] = -3000
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[3:6, 4:8, 4:8], labels[7:9, 10:14, 10:14], labels[1, 1, 1] = 1, 2, 3
    liver = np.zeros(image.shape, dtype=np.uint8)
    liver[1:9, 2:15, 2:15] = 1
    liver[1:9, 2:15, 9:15] = 2
    liver[3:6, 4:8, 4:8] = 0  # the anatomy mask leaves lesion 1 out
    i, m, a = save(tmp_path, "i.nii.gz", image), save(tmp_path, "m.nii.gz", labels), save(tmp_path, "a.nii.gz", liver)
    save(tmp_path, "shifted.nii.gz", labels, shift=0.4)
    save(tmp_path, "empty.nii.gz", labels * 0)
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "i.nii.gz").read_bytes()[:900])
    ct = ["CT", "portal_venous"]
    rows = [
        ["P2", "restaging", *ct, i, m, "lesion=*", 90],
        ["P1", "baseline", *ct, i, m, "lesion=*", 0],
        ["P1", "baseline", *ct, i, a, "liver=1,2;remnant=2;hepatic_veins=9", 0],
        ["P2", "baseline", *ct, i, m, "lesion=1,3,8", 0],
        ["P2", "baseline", *ct, i, "shifted.nii.gz", "liver=1", 0],
        ["E1", "baseline", *ct, "cut.nii.gz", m, "lesion=*", 0],
        ["E2", "baseline", *ct, "none.nii.gz", m, "lesion=*", 0],
        ["E3", "baseline", *ct, i, "shifted.nii.gz", "lesion=*", 0],
        ["E4", "baseline", *ct, i, "empty.nii.gz", "lesion=*", 0],
        ["E5", "baseline", "MR", "hbp", i, m, "lesion=*", 0],
        ["E6", "baseline", *ct, i, "../m.nii.gz", "lesion=*", 0],
        ["E7", "baseline", *ct, i, m, "tumour=1", 0],
        ["E8", "baseline", *ct, i, a, "liver=1", 0],
        ["E9", "baseline", *ct, i, m, "lesion=7", 0],
        ["F1", "baseline", *ct, i, m, "lesion=1", 0],
        ["F1", "baseline", *ct, i, a, "lesion=2", 0],
        ["F2", "baseline", *ct, i, m, "lesion=1", 0],
        ["F2", "baseline", *ct, a, a, "liver=2", 0],
    ]
    return check_table(pd.DataFrame(rows, columns=COLUMNS), "imaging"), tmp_path


@pytest.fixture
def result(cohort: tuple[pd.DataFrame, Path]) -> ExtractionResult:
    return extract_cohort(*cohort, PROFILES)


def test_good_scans_come_in_the_order_of_the_manifest(result: ExtractionResult) -> None:
    keys = result.features_lesion[["patient_id", "timepoint", "lesion"]].to_numpy().tolist()
    assert keys == [
        *(["P2", "restaging", n] for n in (1, 2, 3)),
        *(["P1", "baseline", n] for n in (1, 2, 3)),
        *(["P2", "baseline", n] for n in (1, 3)),
    ]
    assert result.lesions[["patient_id", "timepoint", "lesion"]].to_numpy().tolist() == keys
    assert result.features_lesion["status"].tolist() == ["ok", "ok", "failed"] * 2 + ["ok", "failed"]
    flags = result.lesions["flags"].tolist()
    assert flags[0] == "hu_padding_clipped"
    assert flags[2] == "one_voxel;one_slice;hu_padding_clipped"
    assert flags[6] == "hu_padding_clipped;label_absent:lesion=8"


def test_each_failure_costs_one_scan_and_has_a_code(result: ExtractionResult) -> None:
    codes = result.exclusions.set_index("patient_id")["code"].to_dict()
    assert codes == {
        "E1": "unreadable_image",
        "E2": "missing_file",
        "E3": "geometry_mismatch",
        "E4": "empty_mask",
        "E5": "no_profile",
        "E6": "path_outside",
        "E7": "bad_mask_roles",
        "E8": "no_lesion_mask",
        "E9": "no_lesion_label",
        "F1": "two_lesion_masks",
        "F2": "ambiguous_image",
    }
    assert set(result.exclusions["stage"]) == {"extract"}
    reasons = result.exclusions.set_index("patient_id")["reason"]
    assert "0.400 mm = 0.400 voxel" in reasons["E3"]
    assert reasons["E5"].startswith("MR/hbp: ")
    assert not reasons.str.contains(r"nii|\.\./", regex=True).any()


def test_anatomy_is_gathered_over_mask_files(result: ExtractionResult) -> None:
    anatomy = result.anatomy.set_index(["patient_id", "timepoint"])
    one = anatomy.loc[("P1", "baseline")]
    assert one["liver_volume_ml"] == pytest.approx(8 * 13 * 13 * 2 / 1000 + 2 / 1000)  # and the voxel outside
    assert one["remnant_volume_ml"] == pytest.approx(8 * 13 * 6 * 2 / 1000)
    assert one["tumour_volume_ml"] == pytest.approx((48 + 32 + 1) * 2 / 1000)
    assert one["flags"] == "label_absent:hepatic_veins=9"
    broken = anatomy.loc[("P2", "baseline")]
    assert broken["flags"] == "mask_failed:geometry_mismatch"
    assert np.isnan(broken["liver_volume_ml"])


def test_tables_obey_their_schemas_and_aggregate(result: ExtractionResult) -> None:
    check_table(result.lesions, "lesions")
    check_table(result.features_lesion, "features_lesion")
    patients = aggregate_patients(result.features_lesion, result.lesions, result.anatomy)
    checked = check_table(patients, "features_patient")
    assert checked[["patient_id", "timepoint"]].to_numpy().tolist() == [
        ["P2", "restaging"], ["P1", "baseline"], ["P2", "baseline"]]  # fmt: skip
    sflr = checked["burden__sflr_pct"].to_numpy(dtype=float)
    healthy = 8 * 13 * 13 - 48 - 32
    assert sflr[1] == pytest.approx(100 * 8 * 13 * 6 / healthy)
    assert np.isnan(sflr[[0, 2]]).all()


def test_processes_change_nothing(cohort: tuple[pd.DataFrame, Path], result: ExtractionResult) -> None:
    seen: list[tuple[int, int]] = []
    parallel = extract_cohort(*cohort, PROFILES, jobs=2, on_progress=lambda done, total: seen.append((done, total)))
    for name in ("lesions", "features_lesion", "anatomy", "exclusions"):
        pd.testing.assert_frame_equal(getattr(result, name), getattr(parallel, name), check_exact=True)
    assert seen == [(n, 14) for n in range(1, 15)]


def test_two_scans_of_a_time_point_that_fail_alike_are_one_exclusion(tmp_path: Path) -> None:
    rows = [["P1", "baseline", "MR", s, "i.nii", "m.nii", "lesion=*", 0] for s in ("hbp", "t2")]
    result = extract_cohort(pd.DataFrame(rows, columns=COLUMNS), tmp_path, PROFILES)
    assert result.exclusions["reason"].tolist() == [
        "MR/hbp: no extraction profile for this kind of scan; MR/t2: no extraction profile for this kind of scan"
    ]
    assert result.lesions.empty
    assert result.features_lesion.empty
    assert {"patient_id", "lesion", "volume_ml"} <= set(result.lesions)


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    result = extract_cohort(pd.DataFrame(columns=COLUMNS), tmp_path, PROFILES)
    assert result.exclusions.empty
    assert result.lesions.empty
