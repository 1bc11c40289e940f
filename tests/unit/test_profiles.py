"""Profiles are refused before the first case, with the reason; their hash changes with every value that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from radiomics_crlm.config import parse_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features.profiles import (
    ExtractConfig,
    Profile,
    engine_image_types,
    engine_settings,
    load_profiles,
    profile_for,
    settings_hash,
)

CT: dict[str, Any] = {
    "description": "test",
    "modality": "CT",
    "resample_mm": [1, 1, 1],
    "interpolator": "sitkBSpline",
    "bin_width": 25,
    "log_sigma_mm": [2],
    "feature_classes": ["shape", "firstorder"],
}


def config(**changes: Any) -> ExtractConfig:
    body = {k: v for k, v in {**CT, **changes}.items() if v != "absent"}
    return parse_config(ExtractConfig, {"profiles": {"test": body}, "scans": {}}, where="extract.yaml")


def test_shipped_profiles() -> None:
    shipped = load_profiles()
    assert set(shipped.profiles) == {
        "ct-portal-venous",
        "ct-portal-venous-full",
        "ct-portal-venous-native",
        "mr-t1-hbp",
    }
    assert shipped.profiles["ct-portal-venous-native"].resample_mm is None
    assert shipped.profiles["ct-portal-venous-native"].name == "ct-portal-venous-native"
    assert engine_settings(shipped.profiles["mr-t1-hbp"]) == {
        "additionalInfo": False,
        "padDistance": 5,
        "voxelArrayShift": 300,
        "binWidth": 5.0,
        "resampledPixelSpacing": [1.0, 1.0, 1.0],
        "interpolator": "sitkBSpline",
        "normalize": True,
        "normalizeScale": 100.0,
        "removeOutliers": 3.0,
    }
    full = engine_image_types(shipped.profiles["ct-portal-venous-full"])
    assert full == {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {"wavelet": "coif1"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": "MR"}, "an MR profile needs `normalize`: MR intensities have no unit"),
        ({"normalize": {"scale": 100}}, "a CT profile must not normalize"),
        ({"binWidth": 25}, "binWidth: Extra inputs are not permitted"),
        ({"feature_classes": ["firstorder", "glcmm"]}, r"feature_classes\.1: Input should be"),
        ({"feature_classes": []}, "feature_classes: Tuple should have at least 1 item"),
        ({"feature_classes": ["glcm", "glcm"]}, "names a class twice"),
        ({"log_sigma_mm": []}, "LoG needs at least one sigma"),
        ({"log_sigma_mm": [2, 2]}, "names a sigma twice"),
        ({"log_sigma_mm": [0]}, "greater than 0"),
        ({"bin_width": "absent"}, "either bin_width or bin_count"),
        ({"bin_count": 32}, "either bin_width or bin_count"),
        ({"interpolator": "absent"}, "resampling needs an interpolator"),
        ({"interpolator": "sitkLanczos"}, "interpolator: Input should be"),
        ({"resample_mm": None}, "an interpolator needs resample_mm"),
        ({"resample_mm": [1, 1]}, "resample_mm"),
        ({"resample_mm": [1, 1, -1]}, "greater than 0"),
        ({"original": False, "log_sigma_mm": None}, "no image to extract from"),
        ({"feature_classes": ["shape"]}, "filters are useless"),
        ({"resegment_range": [400, -100]}, "ascending"),
        ({"min_voxels": 1}, "greater than or equal to 2"),
        ({"wavelet": "db99"}, "wavelet: Input should be"),
        ({"resegment_range": [-100, 400], "resegment_sigma": 3}, "either resegment_range or resegment_sigma"),
        ({"resegment_sigma": 0}, "greater than 0"),
        ({"regions": ["liver"]}, "regions must name lesion"),
        ({"regions": ["lesion", "liver", "liver"]}, "nothing twice"),
        ({"regions": ["lesion", "spleen"]}, r"regions\.1: Input should be"),
        ({"grid": "ibsi", "resample_mm": None, "interpolator": None}, "grid: ibsi needs resample_mm"),
        ({"bins_from": "resegment_range", "log_sigma_mm": None}, "needs resegment_range"),
        ({"bins_from": "resegment_range", "resegment_range": [-100, 400]}, "no meaning in filtered images"),
    ],
)
def test_faulty_profiles_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config(**changes)
    assert "profiles.test" in str(caught.value)


def test_scans_must_name_profiles_of_their_modality() -> None:
    for scans, message in [
        ({"CT/portal_venous": "nope"}, "does not exist"),
        ({"MR/hbp": "test"}, "a profile for CT"),
        ({"PET/fdg": "test"}, "should match pattern"),
    ]:
        with pytest.raises(ConfigError, match=message):
            parse_config(ExtractConfig, {"profiles": {"test": CT}, "scans": scans}, where="extract.yaml")


def test_profile_of_a_scan() -> None:
    shipped = load_profiles()
    chosen = shipped.for_scans({"CT/*": "ct-portal-venous-native"})
    assert profile_for(chosen, "CT", "portal_venous") == shipped.profiles["ct-portal-venous"]
    assert profile_for(chosen, "CT", "arterial") == shipped.profiles["ct-portal-venous-native"]
    assert profile_for(chosen, "MR", "t2") is None
    for kind, name in [("CT/*", "nope"), ("CT/*", "mr-t1-hbp")]:
        with pytest.raises(ConfigError, match="no such profile for this kind of scan"):
            shipped.for_scans({kind: name})


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"profiles": {"mine": CT}, "scans": {"CT/*": "mine"}}))
    assert load_profiles(path).for_scans()["CT/*"].log_sigma_mm == (2.0,)
    path.write_text("profiles: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_profiles(path)
    path.write_text("profiles: 3")
    with pytest.raises(ConfigError, match="scans: Field required"):
        load_profiles(path)


def test_hash_sees_settings_and_engine_and_nothing_else() -> None:
    base = config().profiles["test"]
    reference = settings_hash(base, "engine 1")
    assert len(reference) == 16
    assert set(reference) <= set("0123456789abcdef")
    assert settings_hash(base.model_copy(update={"name": "x", "description": "y"}), "engine 1") == reference
    changed = [
        settings_hash(base, "engine 2"),
        settings_hash(config(bin_width=24).profiles["test"], "engine 1"),
        settings_hash(config(log_sigma_mm=[1]).profiles["test"], "engine 1"),
        settings_hash(config(min_voxels=11).profiles["test"], "engine 1"),
        settings_hash(config(voxel_array_shift=1).profiles["test"], "engine 1"),
    ]
    assert len({reference, *changed}) == 1 + len(changed)
    assert settings_hash(config(bin_width=25.0).profiles["test"], "engine 1") == reference
    assert settings_hash(config(regions=["lesion", "liver"]).profiles["test"], "engine 1") == reference
    later: list[dict[str, Any]] = [
        {"resegment_sigma": 3},
        {"square": True},
        {"lbp_3d": True},
        {"force_2d": True},
        {"grid": "ibsi"},
    ]
    hashes = [settings_hash(config(**change).profiles["test"], "engine 1") for change in later]
    assert len({reference, *hashes}) == 1 + len(hashes)


def test_every_setting_reaches_the_engine_or_the_filters() -> None:
    """A field that no engine call sees would be a setting without effect."""
    used = config(resegment_range=[-100, 300]).profiles["test"]
    settings = engine_settings(used)
    assert settings["resegmentRange"] == [-100.0, 300.0]
    counted = config(bin_width="absent", bin_count=32).profiles["test"]
    assert engine_settings(counted)["binCount"] == 32
    elsewhere = {
        "name",
        "description",
        "modality",
        "original",
        "log_sigma_mm",
        "wavelet",
        "feature_classes",
        "min_voxels",
        "bias_correction",  # changes the image before the engine sees it
        "reference_tissue",
        "square",
        "square_root",
        "logarithm",
        "exponential",
        "gradient",
        "lbp_2d",
        "lbp_3d",
        "grid",  # the engine does not know it
        "bins_from",
        "regions",
    }
    in_settings = {"resample_mm", "interpolator", "pad_voxels", "normalize", "bin_width", "bin_count"}
    in_settings |= {"resegment_range", "resegment_sigma", "voxel_array_shift", "force_2d"}
    assert set(Profile.model_fields) == elsewhere | in_settings
    sigma = engine_settings(config(resegment_sigma=3).profiles["test"])
    assert (sigma["resegmentRange"], sigma["resegmentMode"]) == ([-3.0, 3.0], "sigma")
    assert engine_settings(config(force_2d=True).profiles["test"])["force2D"] is True
    every = dict.fromkeys(["square", "square_root", "logarithm", "exponential", "gradient", "lbp_2d", "lbp_3d"], True)
    assert list(engine_image_types(config(**every).profiles["test"])) == [
        *("Original", "LoG", "Square", "SquareRoot", "Logarithm", "Exponential", "Gradient", "LBP2D", "LBP3D")
    ]


MR: dict[str, Any] = {**CT, "modality": "MR", "bin_width": 5, "voxel_array_shift": 300}


def test_mr_intensities_need_a_scale() -> None:
    with pytest.raises(ConfigError, match="MR intensities have no unit.*reference_tissue: spleen"):
        config(**MR)
    with pytest.raises(ConfigError, match="normalize would undo the reference"):
        config(**MR, normalize={"scale": 100}, reference_tissue="liver")
    for option in ({"reference_tissue": "liver"}, {"bias_correction": {}}):
        with pytest.raises(ConfigError, match="are for MR: HU are absolute"):
            config(**option)
    with pytest.raises(ConfigError, match="reference_tissue"):
        config(**MR, reference_tissue="kidney")
    with pytest.raises(ConfigError, match="shrink"):
        config(**MR, normalize={"scale": 100}, bias_correction={"shrink": 0})
    assert config(**MR, reference_tissue="spleen", bias_correction={}).profiles["test"].prepared


def test_preparation_enters_the_hash_only_when_it_is_on() -> None:
    """The hash of a profile without preparation is that of the time before there was one."""
    assert settings_hash(load_profiles().profiles["ct-portal-venous"], "e") == "b438ff849fa21a78"
    plain = config(**MR, normalize={"scale": 100}).profiles["test"]
    hashes = [settings_hash(plain, "e")] + [
        settings_hash(config(**MR, **more).profiles["test"], "e")
        for more in (
            {"normalize": {"scale": 100}, "bias_correction": {}},
            {"normalize": {"scale": 100}, "bias_correction": {"shrink": 2}},
            {"reference_tissue": "liver"},
            {"reference_tissue": "spleen"},
        )
    ]
    assert len(set(hashes)) == len(hashes)
