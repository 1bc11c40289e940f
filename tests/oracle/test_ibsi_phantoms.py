"""Features of the IBSI 1 phantoms against the consensus values (doi:10.1148/radiol.2020191145).

Every feature that engine and standard share must be within tolerance, but for the exceptions that
``ibsi_features.yaml`` names: those must be out of tolerance as computed, and within it by the standard's definition.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from radiomics_crlm.features.extract import extract_scan
from radiomics_crlm.features.ibsi import load_feature_map, statement
from radiomics_crlm.features.ibsi_phantom import Agreement, compare, digital_phantom
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.imaging.volume import Volume, read_volume
from radiomics_crlm.resources import resource

PROFILES = load_profiles(resource("configs/ibsi.yaml")).profiles
EXCEPTIONS = load_feature_map().exceptions
SUPPORTED = len(load_feature_map().supported())


@pytest.fixture(scope="module")
def ibsi(shared_data: Path) -> Path:
    folder = shared_data / "ibsi1"
    if not folder.is_dir():
        pytest.skip("the phantoms of the IBSI are absent")
    return folder


@pytest.fixture(scope="module")
def ct_phantom(ibsi: Path) -> tuple[Volume, Volume]:
    return phantom(ibsi, "ibsi_1_ct_radiomics_phantom")


def phantom(folder: Path, name: str) -> tuple[Volume, Volume]:
    nifti = folder / name / "nifti"
    image = read_volume(nifti / "image" / "phantom.nii.gz", case="ibsi")
    return image, read_volume(nifti / "mask" / "mask.nii.gz", case="ibsi")


def published(folder: Path, name: str) -> dict[str, tuple[float, float]]:
    """Tag to consensus value and tolerance, without values that lack a consensus."""
    table = pd.read_csv(folder / f"reference_values_{name}.csv", encoding="utf-8-sig")
    table = table[table["reference value"].notna()].set_index("tag")
    return {str(tag): (float(v), float(t)) for tag, v, t in table[["reference value", "tolerance"]].itertuples()}


def agreement(
    image: Volume, mask: Volume, profile: Profile, values: dict[str, tuple[float, float]], name: str
) -> list[Agreement]:
    row = extract_scan(image, mask, profile, case="ibsi").iloc[0]
    assert row["status"] == "ok"
    voxel = float(np.prod(profile.resample_mm or image.spacing))
    n_voxels = round(row["lesion__original_shape_VoxelVolume"] / voxel)
    return compare(row, values, EXCEPTIONS[name], force_2d=profile.force_2d, n_voxels=n_voxels)


def assert_as_listed(found: list[Agreement], name: str) -> None:
    assert len(found) == SUPPORTED
    assert {a.feature for a in found if not a.agrees} == set(EXCEPTIONS[name])
    assert [a for a in found if not a.ok] == []


@pytest.mark.parametrize("name", ["A", "C", "D"])
def test_ct_phantom(name: str, ibsi: Path, ct_phantom: tuple[Volume, Volume]) -> None:
    profile, config = PROFILES[f"ibsi-{name.lower()}"], f"config_{name}"
    found = agreement(*ct_phantom, profile, published(ibsi, config), config)
    assert_as_listed(found, config)


@pytest.mark.parametrize("force_2d", [False, True])
def test_digital_phantom(force_2d: bool, ibsi: Path) -> None:
    profile = Profile(
        name="digital",
        description="as it is",
        modality="CT",
        resample_mm=None,
        bin_width=1,
        force_2d=force_2d,
        feature_classes=("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"),
    )
    image, mask = phantom(ibsi, "ibsi_1_digital_phantom")
    found = agreement(image, mask, profile, published(ibsi, "digital_phantom"), "digital_phantom")
    assert_as_listed(found, "digital_phantom")


def test_packaged_phantom_is_the_published_one(ibsi: Path) -> None:
    content = yaml.safe_load(resource("features/data/ibsi_digital_phantom.yaml").read_text(encoding="utf-8"))
    image, mask = phantom(ibsi, "ibsi_1_digital_phantom")
    np.testing.assert_array_equal(np.array(content["image"]), image.array)
    np.testing.assert_array_equal(np.array(content["mask"]), mask.array)
    assert tuple(content["spacing_mm"]) == image.spacing
    values = published(ibsi, "digital_phantom")
    assert {tag: tuple(v) for tag, v in content["values"].items()} == {tag: values[tag] for tag in content["values"]}
    assert len(content["values"]) == SUPPORTED


def test_packaged_phantom_agrees() -> None:
    """Needs no data beyond the package."""
    assert_as_listed(digital_phantom(), "digital_phantom")


def test_deviations_of_the_default_grid_are_real(ibsi: Path, ct_phantom: tuple[Volume, Volume]) -> None:
    """What the statement calls a deviation is one: pyradiomics' own grid, truncation and bins miss configuration C."""
    own = PROFILES["ibsi-c"].model_dump() | {"grid": "pyradiomics", "bins_from": "region_minimum"}
    profile = Profile.model_validate(own)
    assert not any(f.standardised for f in statement(profile).features)
    found = agreement(*ct_phantom, profile, published(ibsi, "config_C"), "config_C")
    assert sum(a.agrees for a in found) < SUPPORTED / 2


def test_first_level_changes_only_features_that_weigh_it(ct_phantom: tuple[Volume, Volume]) -> None:
    """Bins from the minimum of the region instead of the range: exactly the marked features differ."""
    known = load_feature_map()
    marked = {f"{k}_{n}" for k, entries in known.features.items() for n, e in entries.items() if e.weighs_level}
    profile = PROFILES["ibsi-c"]
    other = Profile.model_validate(profile.model_dump() | {"bins_from": "region_minimum"})
    image, mask = ct_phantom
    rows = [extract_scan(image, mask, p, case="ibsi").iloc[0] for p in (profile, other)]
    names = [c for c in rows[0].index if c.startswith("lesion__original_")]
    differ = {n for n in names if rows[0][n] != pytest.approx(rows[1][n], rel=1e-9, abs=1e-12)}
    assert {n.removeprefix("lesion__original_") for n in differ} == marked
    codes = {f.name: f.deviations for f in statement(other).features}
    assert {n.removeprefix("original_") for n, c in codes.items() if "first_level_at_region_minimum" in c} == marked


def test_a_wrong_value_and_an_exception_that_agrees_are_noticed() -> None:
    found = digital_phantom()
    plain = next(a for a in found if a.feature == "glcm_Contrast")
    assert plain.ok
    assert not replace(plain, got=plain.expected * 1.01, converted=plain.expected * 1.01).ok
    assert not replace(plain, got=float("nan"), converted=float("nan")).ok
    assert not replace(plain, exception="kurtosis_not_excess").ok
    named = next(a for a in found if a.feature == "firstorder_Kurtosis")
    assert named.ok
    assert not replace(named, got=named.converted).ok
    assert not replace(named, exception=None).ok
