"""What a lesion that cannot be measured costs, what is flagged, and what stays out of sight."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from radiomics_crlm.errors import CaseError, ConfigError
from radiomics_crlm.features import extract
from radiomics_crlm.features.extract import (
    c_extensions,
    engine,
    extract_scan,
    feature_names,
    part_features,
    part_names,
)
from radiomics_crlm.features.parts import Region
from radiomics_crlm.features.profiles import Profile, load_profiles, settings_hash
from radiomics_crlm.imaging.volume import Volume

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
FIRST = Profile(
    name="first",
    description="test",
    modality="CT",
    resample_mm=None,
    bin_width=25,
    feature_classes=("firstorder", "shape"),
)


def scan(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> tuple[Volume, np.ndarray]:
    values = np.random.default_rng(0).normal(60, 20, (24, 30, 36)).astype(np.int16)
    return Volume(values, spacing, (3.0, -4.0, 5.0), IDENTITY), np.zeros(values.shape, dtype=np.int32)


def run(image: Volume, labels: np.ndarray, profile: Profile = FIRST) -> pd.DataFrame:
    return extract_scan(image, replace(image, array=labels), profile, case="P1").set_index("lesion")


def test_engine_is_named_and_compiled() -> None:
    assert engine().startswith("pyradiomics")
    assert c_extensions()


def test_rows_carry_where_they_come_from() -> None:
    image, labels = scan()
    labels[3:8, 3:8, 3:8] = 7
    table = run(image, labels)
    assert table.index.tolist() == [7]
    row = table.loc[7]
    assert (row["status"], row["reason"], row["flags"]) == ("ok", "", "")
    assert (row["profile"], row["engine"]) == ("first", engine())
    assert row["settings_hash"] == settings_hash(FIRST, engine())
    assert row["lesion__original_firstorder_Mean"] == pytest.approx(image.array[3:8, 3:8, 3:8].mean())
    assert row["lesion__original_shape_VoxelVolume"] == 125.0


def test_feature_names_are_those_of_the_profiles() -> None:
    shipped = load_profiles().profiles
    counts = {name: len(feature_names(p)) for name, p in shipped.items()}
    assert counts == {
        "ct-portal-venous": 200,
        "ct-portal-venous-full": 1130,
        "ct-portal-venous-native": 107,
        "mr-t1-hbp": 200,
    }
    names = feature_names(shipped["ct-portal-venous-full"])
    assert len(set(names)) == 1130
    assert {"lesion__log-sigma-2-0-mm-3D_glcm_Contrast", "lesion__wavelet-LLH_gldm_DependenceEntropy"} <= set(names)


def test_lesions_that_cannot_be_measured_are_rows_with_a_reason() -> None:
    image, labels = scan()
    labels[2, 2, 2] = 1
    labels[2, 5, 5:9] = 2
    labels[5, 2, 2:20] = 3  # 18 voxels in a line
    labels[8:12, 8:12, 8:12] = 4
    labels[20, 20:25, 20:25] = 5
    table = run(image, labels)
    assert table["reason"].to_dict() == {1: "one_voxel", 2: "too_few_voxels", 3: "too_thin", 4: "", 5: ""}
    assert table["status"].tolist() == ["failed", "failed", "failed", "ok", "ok"]
    features = table[feature_names(FIRST)]
    assert features.loc[[1, 2, 3]].isna().all(axis=None)
    assert features.loc[4].notna().all()
    shape = features.columns.str.contains("_shape_")
    assert table.loc[5, "flags"] == "shape_3d_undefined"
    assert features.loc[5, shape].isna().all()
    assert features.loc[5, ~shape].notna().all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_along_any_axis_has_no_3d_shape(axis: int) -> None:
    image, labels = scan()
    box = [slice(5, 12)] * 3
    box[axis] = slice(6, 7)
    labels[tuple(box)] = 1
    row = run(image, labels).loc[1]
    assert row["flags"] == "shape_3d_undefined"
    assert np.isnan(row["lesion__original_shape_Sphericity"])


def test_thin_after_resampling_is_flagged_too() -> None:
    image, labels = scan(spacing=(1.0, 1.0, 0.3))
    labels[10:12, 5:12, 5:12] = 1  # two slices, 0.6 mm: one slice of 1 mm
    profile = Profile.model_validate({**FIRST.model_dump(), "resample_mm": (1, 1, 1), "interpolator": "sitkBSpline"})
    row = run(image, labels, profile).loc[1]
    assert row["status"] == "ok"
    assert row["flags"] == "shape_3d_undefined"


def test_lesion_lost_by_resampling_is_refused_by_the_engine() -> None:
    image, labels = scan()
    labels[10:13, 10:13, 10:13] = 1
    profile = Profile.model_validate({**FIRST.model_dump(), "resample_mm": (9, 9, 9), "interpolator": "sitkLinear"})
    row = run(image, labels, profile).loc[1]
    assert (row["status"], row["reason"]) == ("failed", "engine_refused")


def test_flat_lesion_is_flagged() -> None:
    image, labels = scan()
    labels[3:8, 3:8, 3:8] = 1
    image.array[labels == 1] = 100
    assert run(image, labels).loc[1, "flags"] == "flat"


def test_filter_that_the_engine_skips_is_flagged() -> None:
    image, labels = scan()
    small = Volume(image.array[:3], image.spacing, image.origin, IDENTITY)  # LoG needs four slices
    labels[1:3, 3:12, 3:12] = 1
    profile = Profile.model_validate({**FIRST.model_dump(), "log_sigma_mm": (2.0,)})
    row = run(small, labels[:3], profile).loc[1]
    assert row["status"] == "ok"
    assert row["flags"] == "touches_border;missing:log-sigma-2-0-mm-3D"
    assert np.isnan(row["lesion__log-sigma-2-0-mm-3D_firstorder_Mean"])
    assert np.isfinite(row["lesion__original_firstorder_Mean"])


def test_values_that_are_not_finite_are_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    def computed(*_: object) -> dict[str, dict[str, float]]:
        values = {part: dict.fromkeys(part_features(part), 2.0) for part in part_names(FIRST)}
        values["original_firstorder"] |= {"original_firstorder_Mean": np.nan, "original_firstorder_Energy": np.inf}
        return values

    monkeypatch.setattr(extract, "_computed", computed)
    image, labels = scan()
    labels[3:8, 3:8, 3:8] = 1
    row = run(image, labels).loc[1]
    assert row["status"] == "ok"
    assert set(row["flags"].split(";")) == {"nan:original_firstorder_Mean", "nan:original_firstorder_Energy"}
    assert np.isnan(row["lesion__original_firstorder_Energy"])
    monkeypatch.setattr(extract, "_computed", lambda *_: {})
    row = run(image, labels).loc[1]
    assert (row["status"], row["reason"]) == ("failed", "no_values")


def test_image_and_mask_must_fit() -> None:
    image, labels = scan()
    with pytest.raises(CaseError, match="P1") as caught:
        run(image, labels)
    assert caught.value.code == "empty_mask"
    labels[3:8, 3:8, 3:8] = 1
    with pytest.raises(CaseError, match="differ in size"):
        extract_scan(image, replace(image, array=labels[1:]), FIRST, case="P1")


def test_nothing_is_printed_and_settings_of_the_process_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    logger, threads = logging.getLogger("radiomics"), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    level = logger.level
    image, labels = scan()
    labels[3:8, 3:8, 3:8] = 1
    labels[20, 20, 20:22] = 2
    run(image, labels, load_profiles().profiles["ct-portal-venous"])
    assert capfd.readouterr() == ("", "")
    assert (logger.level, sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()) == (level, threads)


def test_mr_profile_does_not_depend_on_the_unit_of_the_scanner() -> None:
    image, labels = scan()
    labels[3:9, 3:9, 3:9] = 1
    profile = load_profiles().profiles["mr-t1-hbp"]
    one = replace(image, array=image.array.astype(np.float64))
    other = replace(image, array=image.array * 3.7 + 512.0)
    names = feature_names(profile)
    first, second = (run(v, labels, profile).loc[1, names].to_numpy(float) for v in (one, other))
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-9)


def test_neighbouring_lesions_do_not_disturb_each_other() -> None:
    image, labels = scan()
    labels[3:9, 3:9, 3:9] = 1
    alone = run(image, labels, load_profiles().profiles["ct-portal-venous"]).loc[1]
    labels[3:9, 3:9, 9:14] = 2
    together = run(image, labels, load_profiles().profiles["ct-portal-venous"]).loc[1]
    pd.testing.assert_series_equal(alone, together, check_exact=True)


ORGANS = {"regions": ("lesion", "liver", "remnant")}


def anatomy(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    liver, remnant = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    liver[4:20, 5:25, 5:18] = remnant[4:20, 5:25, 12:18] = True
    return {"liver": liver, "remnant": remnant, "aorta": ~liver}


def prepared(profile: Profile, labels: np.ndarray, image: Volume, organs: dict[str, np.ndarray], **more: Any) -> Any:
    return extract.PreparedScan(image, replace(image, array=labels), profile, case="P1", anatomy=organs, **more)


def test_organs_are_regions_beside_the_lesions() -> None:
    image, labels = scan()
    labels[6:12, 6:12, 10:22] = 2  # half of it outside the liver that the mask shows, and partly in the remnant
    organs = anatomy(labels.shape)
    profile = Profile.model_validate({**FIRST.model_dump(), **ORGANS})
    made = prepared(profile, labels, image, organs)
    assert made.regions == (Region("lesion", 2), Region("liver"), Region("remnant"))
    found = {region.role: made.features(region).parts["shape"]["original_shape_VoxelVolume"] for region in made.regions}
    liver, remnant = organs["liver"] | (labels > 0), organs["remnant"] & (labels == 0)
    assert found == {"lesion": (labels == 2).sum(), "liver": liver.sum(), "remnant": remnant.sum()}
    mean = made.features(Region("remnant")).parts["original_firstorder"]["original_firstorder_Mean"]
    assert mean == pytest.approx(image.array[remnant].mean())
    assert prepared(FIRST, labels, image, organs).regions == (Region("lesion", 2),)
    assert prepared(profile, labels, image, {"liver": organs["liver"]}).regions[1:] == (Region("liver"),)
    eaten = np.where(organs["remnant"], 1, labels)
    assert prepared(profile, eaten, image, organs).regions == (
        Region("lesion", 1),
        Region("lesion", 2),
        Region("liver"),
    )


def test_regions_do_not_hang_on_their_neighbours() -> None:
    """Each region gives what it gives alone, whatever else the scan shows and is asked for."""
    image, labels = scan()
    labels[3:9, 3:9, 3:9] = 1
    labels[10:16, 10:16, 10:16] = 4
    labels[20, 20, 20] = 9
    profile = load_profiles().profiles["ct-portal-venous"].model_copy(update=ORGANS)
    together = prepared(profile, labels, image, anatomy(labels.shape))
    assert [r.label for r in together.regions] == [1, 4, 9, 0, 0]
    assert together.features(Region("lesion", 9)).reason == "one_voxel"
    for label in (4, 1):
        alone = prepared(profile, np.where(labels == label, labels, 0), image, {})
        assert alone.features(Region("lesion", label)) == together.features(Region("lesion", label))


def test_known_parts_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = scan()
    labels[3:9, 3:9, 3:9] = 1
    made = prepared(load_profiles().profiles["ct-portal-venous"], labels, image, {})
    (region,) = made.regions
    whole = made.features(region)
    asked: list[list[str]] = []
    real = extract._computed

    def computed(on_grid: Any, profile: Profile, wanted: list[str], thin: bool) -> Any:
        asked.append(wanted)
        return real(on_grid, profile, wanted, thin)

    monkeypatch.setattr(extract, "_computed", computed)
    assert made.features(region, whole.parts) == whole
    assert asked == []
    part = {name: values for name, values in whole.parts.items() if name != "log-sigma-2-0-mm-3D_glcm"}
    assert made.features(region, part) == whole
    assert asked == [["log-sigma-2-0-mm-3D_glcm"]]
    for name in ("shape", "original_glcm", "original_firstorder"):
        assert made.features(region, {n: v for n, v in whole.parts.items() if n != name}) == whole
        assert asked[-1] == [name]
    changed = {**whole.parts, "shape": {**whole.parts["shape"], "original_shape_Sphericity": 0.5}}
    assert made.features(region, changed).parts["shape"]["original_shape_Sphericity"] == 0.5


def test_a_region_too_large_for_memory_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = scan()
    labels[10:13, 10:13, 10:13] = 1
    labels[2:8, 2:28, 2:34] = 2
    bounded = prepared(FIRST, labels, image, {}, max_bytes=50_000)
    small, large = (bounded.features(region) for region in bounded.regions)
    assert (small.status, large.status, large.reason) == ("ok", "failed", "too_large_for_memory")

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(extract, "_computed", exhausted)
    assert prepared(FIRST, labels, image, {}).features(Region("lesion", 1)).reason == "too_large_for_memory"


def test_what_is_odd_about_a_region_is_flagged() -> None:
    image, labels = scan()
    labels[3:6, 3:6, 3:6] = labels[3:6, 3:6, 8:12] = 1
    labels[10:14, 10:14, 33:] = 2
    labels[15:20, 15:20, 15:20] = 3
    image.array[14:21, 14:21, 14:21] = np.random.default_rng(1).integers(26, 49, (7, 7, 7))  # within one bin of 25
    flags = run(image, labels)["flags"].to_dict()
    assert flags == {1: "several_parts", 2: "touches_border", 3: "few_levels:original"}


def test_values_that_are_not_numbers_leave_the_image_out() -> None:
    image, labels = scan()
    labels[3:8, 3:8, 3:8] = 1
    values = image.array.astype(np.float32)
    values[5, 5, 5] = np.nan
    row = run(replace(image, array=values), labels).loc[1]
    assert (row["status"], row["flags"]) == ("ok", "missing:original")
    assert row["lesion__original_shape_VoxelVolume"] == 125.0
    assert np.isnan(row["lesion__original_firstorder_Mean"])


def test_a_missing_package_is_said_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = scan()
    labels[3:8, 3:8, 3:8] = 1
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    profile = Profile.model_validate({**FIRST.model_dump(), "lbp_2d": True})
    with pytest.raises(ConfigError, match="needs a package that is not installed"):
        run(image, labels, profile)
