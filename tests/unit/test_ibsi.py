"""The map to the IBSI standard covers the engine and agrees with DICOM; statements follow the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.sr.codedict import codes

from radiomics_crlm.features.extract import feature_names
from radiomics_crlm.features.ibsi import load_feature_map, statement, write_statement
from radiomics_crlm.features.ibsi_phantom import rounding
from radiomics_crlm.features.parts import class_features
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.provenance.files import canonical_json, read_json
from radiomics_crlm.resources import resource

MAP = load_feature_map()
CT: dict[str, Any] = {
    "name": "ct",
    "description": "every step as in the standard",
    "modality": "CT",
    "resample_mm": (1, 1, 1),
    "interpolator": "sitkLinear",
    "grid": "ibsi",
    "resegment_range": (-100, 300),
    "bin_width": 25,
    "bins_from": "resegment_range",
    "feature_classes": ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"),
}
MR = CT | {"modality": "MR", "normalize": {"scale": 100}}
WITHOUT = {"not_in_ibsi", "kurtosis_not_excess", "axis_covariance_over_n"}


def codes_of(changes: dict[str, Any], feature: str, base: dict[str, Any] = CT) -> set[str]:
    """Deviations and notes of one feature, for a profile with changes."""
    found = [f for f in statement(Profile.model_validate(base | changes)).features if f.name == feature]
    assert len(found) == 1
    return {*found[0].deviations, *found[0].notes}


@pytest.mark.parametrize("kind", sorted(MAP.features))
def test_map_has_each_feature_of_the_engine_once(kind: str) -> None:
    assert set(MAP.features[kind]) == set(class_features(kind))


def test_identifiers_and_tags_are_unique_and_complete() -> None:
    entries = [MAP.features[k][n] for k, n in MAP.supported()]
    assert len(entries) == 102
    for column in ("id", "tag"):
        values = [getattr(e, column) for e in entries]
        assert None not in values
        assert len(set(values)) == len(values)
    others = [e for c in MAP.features.values() for e in c.values() if e.ibsi is None]
    assert len(others) == 5
    assert all(e.id is None and e.tag is None and e.deviation is None for e in others)


def words(text: str) -> set[str]:
    """Words of a name in the spelling of DICOM."""
    text = text.lower().replace("grey", "gray").replace("normalised", "normalized").replace("non-", "non")
    text = text.replace("discretised intensity", "intensity histogram").replace("voxel counting", "voxel summation")
    text = text.replace("information correlation 1", "first information correlation")
    text = text.replace("information correlation 2", "second information correlation")
    return set(text.replace("(", "").replace(")", "").split())


def test_identifiers_mean_the_same_in_dicom() -> None:
    """DICOM PS3.16 has the identifiers as codes; only the intensity-based statistics have other codes there."""
    dicom = {code.value: code.meaning for code in (getattr(codes.IBSI, name) for name in codes.IBSI.dir())}
    absent = set()
    for kind, name in MAP.supported():
        entry = MAP.features[kind][name]
        if entry.id not in dicom:
            absent.add((kind, name))
            continue
        assert words(str(entry.ibsi)) <= words(dicom[str(entry.id)]), name
    histogram = {("firstorder", n) for n in ("Entropy", "Uniformity")}
    assert absent == {(k, n) for k, n in MAP.supported() if k == "firstorder"} - histogram


def test_references_within_the_map_exist() -> None:
    features = {f"{k}_{n}": e for k, entries in MAP.features.items() for n, e in entries.items()}
    for entry in features.values():
        assert entry.deviation is None or MAP.deviations[entry.deviation].kind == "deviation"
    for exceptions in MAP.exceptions.values():
        for feature, code in exceptions.items():
            assert features[feature].deviation == code


def test_every_step_by_the_standard_leaves_only_the_definitions() -> None:
    found = statement(Profile.model_validate(CT))
    assert {c for f in found.features for c in f.deviations} == WITHOUT
    assert not any(f.notes for f in found.features)
    assert sum(f.standardised for f in found.features) == sum(f.defined for f in found.features) == 98
    assert set(found.codes) == WITHOUT
    assert found.text().startswith("IBSI 1, profile ct: 98 of 107 features are standardised as computed; 98 follow")


@pytest.mark.parametrize("name", ["ibsi-a", "ibsi-c", "ibsi-d"])
def test_profiles_of_the_phantom_are_standardised(name: str) -> None:
    found = statement(load_profiles(resource("configs/ibsi.yaml")).profiles[name])
    assert sum(f.standardised for f in found.features) == 98
    assert {c for f in found.features for c in (*f.deviations, *f.notes)} == WITHOUT
    merging = "2.5D, direction-merged" if name == "ibsi-a" else "3D, averaged"
    assert found.merging["Grey level co-occurrence matrix"] == merging


@pytest.mark.parametrize(
    ("changes", "feature", "expected"),
    [
        ({"grid": "pyradiomics"}, "original_shape_MeshVolume", {"grid_at_corner", "mask_by_nearest_voxel"}),
        (
            {"grid": "pyradiomics"},
            "original_firstorder_Mean",
            {"grid_at_corner", "mask_by_nearest_voxel", "hu_truncated"},
        ),
        ({"bins_from": "region_minimum"}, "original_firstorder_Entropy", set()),
        ({"bins_from": "region_minimum"}, "original_glcm_Contrast", set()),
        ({"bins_from": "region_minimum"}, "original_glcm_Idn", {"first_level_at_region_minimum"}),
        ({"bins_from": "region_minimum"}, "original_ngtdm_Busyness", {"first_level_at_region_minimum"}),
        (
            {"bins_from": "region_minimum", "resegment_range": (-90, 300)},
            "original_glcm_Contrast",
            {"bins_at_multiples_of_width"},
        ),
        (
            {"bins_from": "region_minimum", "resegment_range": None},
            "original_firstorder_Uniformity",
            {"bins_at_multiples_of_width"},
        ),
        ({"bins_from": "region_minimum", "resegment_range": None}, "original_firstorder_Mean", set()),
        (
            {"bins_from": "region_minimum", "resegment_range": None, "bin_width": None, "bin_count": 32},
            "original_glcm_Idn",
            set(),
        ),
        ({"resample_mm": (1, 1, 2)}, "original_gldm_DependenceEntropy", {"voxels_not_isotropic"}),
        ({"resample_mm": (1, 1, 2), "force_2d": True}, "original_gldm_DependenceEntropy", set()),
        ({"resample_mm": (1, 1, 2)}, "original_firstorder_Entropy", set()),
        (
            {"resample_mm": None, "interpolator": None, "grid": "pyradiomics"},
            "original_glcm_Contrast",
            {"voxels_not_isotropic"},
        ),
        ({"resample_mm": None, "interpolator": None, "grid": "pyradiomics"}, "original_shape_Flatness", set()),
        ({"voxel_array_shift": 300}, "original_firstorder_RootMeanSquared", {"energy_shifted"}),
        ({"voxel_array_shift": 300}, "original_firstorder_TotalEnergy", {"not_in_ibsi", "energy_shifted"}),
        ({"voxel_array_shift": 300}, "original_firstorder_Mean", set()),
    ],
)
def test_settings_of_ct(changes: dict[str, Any], feature: str, expected: set[str]) -> None:
    assert codes_of(changes, feature) == expected


@pytest.mark.parametrize(
    ("changes", "feature", "expected"),
    [
        ({}, "original_firstorder_Mean", {"intensities_rescaled"}),
        ({}, "original_shape_Sphericity", set()),
        ({}, "original_glcm_Contrast", {"intensities_rescaled", "fixed_width_of_arbitrary_units"}),
        (
            {"normalize": None, "reference_tissue": "spleen", "bias_correction": {}},
            "original_firstorder_Mean",
            {"intensities_corrected"},
        ),
        (
            {"grid": "pyradiomics"},
            "original_firstorder_Mean",
            {"grid_at_corner", "mask_by_nearest_voxel", "intensities_rescaled"},
        ),
    ],
)
def test_settings_of_mr(changes: dict[str, Any], feature: str, expected: set[str]) -> None:
    assert codes_of(changes, feature, MR) == expected


@pytest.mark.parametrize(
    ("filters", "image", "code"),
    [
        ({"log_sigma_mm": (2,)}, "log-sigma-2-0-mm-3D", "filter_log"),
        ({"wavelet": "coif1"}, "wavelet-LLH", "filter_wavelet"),
        ({"square": True}, "square", "filter_not_in_ibsi"),
        ({"gradient": True}, "gradient", "filter_not_in_ibsi"),
        ({"lbp_2d": True}, "lbp-2D", "filter_not_in_ibsi"),
    ],
)
def test_filtered_images_are_never_standardised(filters: dict[str, Any], image: str, code: str) -> None:
    plain = {"bins_from": "region_minimum", "bin_width": None, "bin_count": 32}
    found = statement(Profile.model_validate(CT | plain | filters))
    own = [f for f in found.features if f.name.startswith(f"{image}_")]
    assert own
    assert all(code in f.deviations and not f.standardised for f in own)
    assert all(f.ibsi_id == MAP.features[f.name.split("_")[1]][f.name.split("_")[2]].id for f in own)
    assert sum(f.standardised for f in found.features if f.name.startswith("original_")) == 98


@pytest.mark.parametrize("name", sorted(load_profiles().profiles))
def test_statement_has_a_row_for_each_column(name: str) -> None:
    profile = load_profiles().profiles[name]
    found = statement(profile)
    assert [f"lesion__{f.name}" for f in found.features] == feature_names(profile)
    for f in found.features:
        assert f.standardised == (not f.deviations)
        assert f.defined or not f.standardised
        assert {*f.deviations, *f.notes} <= set(found.codes)
        assert all(MAP.deviations[c].kind == "note" for c in f.notes)
    table = found.table()
    assert len(table) == len(found.features)
    assert table["standardised"].sum() == sum(f.standardised for f in found.features)


def test_statements_stand_beside_the_table(tmp_path: Path) -> None:
    profiles = [Profile.model_validate(CT), Profile.model_validate(MR | {"name": "mr"})]
    path = write_statement(profiles, tmp_path)
    assert path == tmp_path / "ibsi_statement.json"
    first = path.read_bytes()
    content = read_json(path, what="statement")
    assert set(content) == {"ct", "mr"}
    rows = {r["name"]: r for r in content["ct"]["features"]}
    assert rows["original_glcm_MCC"]["ibsi_id"] is None
    assert rows["original_glcm_Idn"] == {
        "name": "original_glcm_Idn",
        "ibsi_name": "Normalised inverse difference",
        "ibsi_id": "NDRX",
        "defined": True,
        "standardised": True,
        "deviations": [],
        "notes": [],
    }
    assert content["mr"]["codes"]["intensities_rescaled"] == MAP.deviations["intensities_rescaled"].text
    assert write_statement(reversed(profiles), tmp_path).read_bytes() == first
    assert canonical_json(content).encode() + b"\n" == first


def test_rounding_of_published_values() -> None:
    for value in (567.0, -0.355, 2.15, 1490.0, 0.0000906):
        assert abs(float(f"{value * (1 + 1e-4):.3g}") - value) <= rounding(value)
        assert 0.0004 * abs(value) < rounding(value) < 0.006 * abs(value)
    assert rounding(0.0) == 0.0
