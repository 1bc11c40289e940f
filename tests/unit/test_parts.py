"""What a part is called, what its hash sees, and which flags follow from its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from radiomics_crlm.features import parts
from radiomics_crlm.features.parts import (
    Region,
    RegionFeatures,
    assemble,
    assemble_regions,
    concluded,
    feature_names,
    image_names,
    part_features,
    part_hashes,
    part_names,
)
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.schema import check_table

FULL = load_profiles().profiles["ct-portal-venous-full"]
NATIVE = load_profiles().profiles["ct-portal-venous-native"]
LESION = Region("lesion", 3)


def changed(profile: Profile = FULL, **changes: Any) -> Profile:
    return Profile.model_validate({**profile.model_dump(), **changes})


def filled(profile: Profile, value: float = 2.0) -> dict[str, dict[str, float]]:
    return {part: dict.fromkeys(part_features(part), value) for part in part_names(profile)}


def test_parts_are_the_columns_in_order() -> None:
    every = changed(lbp_2d=True, lbp_3d=True, square_root=True, exponential=True)
    for profile in (FULL, NATIVE, every):
        names = [name for part in part_names(profile) for name in part_features(part)]
        assert feature_names(profile) == [f"lesion__{name}" for name in names]
        assert len(set(names)) == len(names)
        assert list(part_hashes(profile)) == part_names(profile)
    assert list(image_names(every))[-6:] == [
        "squareroot",
        "exponential",
        "lbp-2D",
        "lbp-3D-m1",
        "lbp-3D-m2",
        "lbp-3D-k",
    ]
    flat = image_names(changed(force_2d=True))
    assert [n for n in flat if n.startswith("wavelet")] == ["wavelet-LL", "wavelet-LH", "wavelet-HL", "wavelet-HH"]


IMAGES = set(image_names(FULL))
FILTERED = IMAGES - {"original"}
WAVELETS = {n for n in IMAGES if n.startswith("wavelet")}
TEXTURE = {"glcm", "glrlm", "glszm", "gldm", "ngtdm"}
KINDS = TEXTURE | {"firstorder"}


def crossed(images: set[str], kinds: set[str]) -> set[str]:
    return {f"{image}_{kind}" for image in images for kind in kinds}


@pytest.mark.parametrize(
    ("before", "changes", "expected"),
    [
        (FULL, {"name": "other", "description": "other", "min_voxels": 20, "regions": ("lesion", "liver")}, set()),
        (FULL, {"bin_width": 20}, crossed(IMAGES, KINDS)),
        (FULL, {"voxel_array_shift": 100}, crossed(IMAGES, {"firstorder"})),
        (FULL, {"wavelet": "haar"}, crossed(WAVELETS, KINDS)),
        (FULL, {"log_sigma_mm": (1, 2)}, set()),
        (FULL, {"log_sigma_mm": (1, 2, 3, 4)}, crossed({"log-sigma-4-0-mm-3D"}, KINDS)),
        (FULL, {"interpolator": "sitkLinear"}, crossed(IMAGES, KINDS)),
        (FULL, {"resample_mm": (2, 2, 2)}, crossed(IMAGES, KINDS) | {"shape"}),
        (FULL, {"pad_voxels": 6}, crossed(IMAGES, KINDS) | {"shape"}),
        (FULL, {"resegment_range": (-100, 300)}, crossed(IMAGES, KINDS) | {"shape"}),
        (FULL, {"square": True}, crossed({"square"}, KINDS)),
        (NATIVE, {"pad_voxels": 6}, set()),
        (NATIVE, {"force_2d": True}, crossed({"original"}, TEXTURE)),
        (NATIVE, {"bin_width": None, "bin_count": 16}, crossed({"original"}, KINDS)),
        (changed(NATIVE, square=True), {"pad_voxels": 6}, set()),
    ],
)
def test_a_setting_changes_the_parts_that_depend_on_it(
    before: Profile, changes: dict[str, Any], expected: set[str]
) -> None:
    old, new = part_hashes(before), part_hashes(changed(before, **changes))
    assert {part for part, value in new.items() if old.get(part) != value} == expected


def test_hashes_see_engine_revision_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = part_hashes(NATIVE)
    assert all(len(h) == 16 for h in reference.values())
    assert len(set(reference.values())) == len(reference)
    for name, value in (("_REVISION", 99), ("_LIBRARIES", ("numpy",)), ("engine", lambda: "another engine 1")):
        with monkeypatch.context() as patch:
            patch.setattr(parts, name, value)
            assert not set(part_hashes(NATIVE).values()) & set(reference.values())


def test_flags_follow_from_the_values() -> None:
    values = filled(FULL)
    assert concluded(LESION, values, FULL, ["touches_border"]).flags == "touches_border"
    values["shape"] = {}
    values["wavelet-LLH_glcm"] = {}
    values["original_glcm"]["original_glcm_MCC"] = float("inf")
    values["log-sigma-1-0-mm-3D_firstorder"]["log-sigma-1-0-mm-3D_firstorder_Uniformity"] = 1.0
    found = concluded(LESION, values, FULL, ["several_parts"])
    assert (found.status, found.reason) == ("ok", "")
    assert found.flags.split(";") == [
        "several_parts",
        "missing:wavelet-LLH",
        "shape_3d_undefined",
        "nan:original_glcm_MCC",
        "few_levels:log-sigma-1-0-mm-3D",
    ]
    assert np.isnan(found.parts["original_glcm"]["original_glcm_MCC"])
    values["original_firstorder"]["original_firstorder_Range"] = 0.0
    assert "flat" in concluded(LESION, values, FULL, []).flags.split(";")


@pytest.mark.parametrize(
    ("kind", "feature", "value"), [("glcm", "MaximumProbability", 1.0), ("glszm", "GrayLevelVariance", 0.0)]
)
def test_a_single_level_shows_in_any_class(kind: str, feature: str, value: float) -> None:
    profile = changed(NATIVE, feature_classes=(kind,))
    values = filled(profile)
    assert concluded(LESION, values, profile, []).flags == ""
    values[f"original_{kind}"][f"original_{kind}_{feature}"] = value
    assert concluded(LESION, values, profile, []).flags == "few_levels:original"


def test_nothing_at_all_is_a_failure() -> None:
    found = concluded(LESION, {}, NATIVE, [])
    assert (found.status, found.reason, found.parts) == ("failed", "no_values", {})
    assert found.flags == "missing:original;shape_3d_undefined"
    nans = concluded(LESION, filled(NATIVE, np.nan), NATIVE, [])
    assert (nans.status, nans.reason) == ("failed", "no_values")


def test_rows_of_lesions_and_organs() -> None:
    profile = changed(NATIVE, feature_classes=("ngtdm",))
    ok = concluded(LESION, filled(profile), profile, [])
    liver = RegionFeatures(Region("liver"), "ok", "", "", filled(profile, 5.0))
    bad = RegionFeatures(Region("remnant"), "failed", "too_large_for_memory")
    lesions, organs = (make([ok, liver, bad], profile) for make in (assemble, assemble_regions))
    assert lesions["lesion"].tolist() == [3]
    assert lesions["lesion__original_ngtdm_Strength"].tolist() == [2.0]
    assert organs["region"].tolist() == ["liver", "remnant"]
    assert organs["region__original_ngtdm_Strength"].tolist()[0] == 5.0
    assert organs.loc[1].filter(like="region__").isna().all()
    key = {"patient_id": "A", "timepoint": "baseline", "modality": "CT", "sequence": "portal_venous"}
    check_table(lesions.assign(**key), "features_lesion")
    check_table(organs.assign(**key), "features_region")
    empty = assemble([], profile)
    assert empty.columns.tolist() == lesions.columns.tolist()
    assert empty.empty
