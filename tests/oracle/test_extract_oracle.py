"""Extraction against plain pyradiomics (exactly), IBSI consensus values, and a real CT."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

from radiomics_crlm.features.extract import _quiet_engine, extract_scan, feature_names
from radiomics_crlm.features.profiles import Profile, engine_image_types, engine_settings, load_profiles
from radiomics_crlm.imaging.regions import as_label_mask, measure_lesions
from radiomics_crlm.imaging.volume import Volume, check_same_geometry, read_volume, to_itk

TILT = np.deg2rad(12)
OBLIQUE = (1.0, 0.0, 0.0, 0.0, float(np.cos(TILT)), float(-np.sin(TILT)), 0.0, float(np.sin(TILT)), float(np.cos(TILT)))
PROFILES = load_profiles().profiles


def plain(image: Volume, mask: Volume, profile: Profile, labels: list[int]) -> pd.DataFrame:
    """pyradiomics as its documentation shows: one call per region, diagnostics on, nothing prepared."""
    parameters = {
        "setting": {**engine_settings(profile), "additionalInfo": True},
        "imageType": engine_image_types(profile),
        "featureClass": dict.fromkeys(profile.feature_classes),
    }
    with warnings.catch_warnings(), _quiet_engine():
        # the parameter parser of the engine uses deprecated import machinery
        warnings.simplefilter("ignore", DeprecationWarning)
        extractor = RadiomicsFeatureExtractor(parameters)
        itk_image, itk_mask = to_itk(image), to_itk(mask)
        found = [extractor.execute(itk_image, itk_mask, label=n) for n in labels]
    # The engine may return the eigenvalue in MCC as a complex number without an imaginary part.
    rows = [{f"lesion__{k}": complex(v).real for k, v in f.items() if not k.startswith("diagnostics")} for f in found]
    return pd.DataFrame(rows, index=labels)


def phantom(spacing: tuple[float, float, float], dtype: type, shape: tuple[int, int, int]) -> tuple[Volume, Volume]:
    """Smooth noise with lesions inside, at a border, of two slices and of one."""
    rng = np.random.default_rng(7)
    noise = sitk.GetArrayFromImage(
        sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rng.normal(0, 400, shape)), 1.5)
    )
    labels = np.zeros(shape, dtype=np.uint8)
    z, y, x = np.indices(shape)
    middle = [n // 2 for n in shape]
    labels[((z - middle[0]) / 4) ** 2 + ((y - middle[1]) / 8) ** 2 + ((x - middle[2]) / 7) ** 2 <= 1] = 1
    labels[:5, :8, :9] = 2
    labels[3:5, -14:-4, 5:16] = 3
    labels[-4, 4:12, -13:-4] = 4
    values = (60 + noise).astype(dtype)
    origin = (-31.7, 12.25, -400.5)
    return Volume(values, spacing, origin, OBLIQUE), Volume(labels, spacing, origin, OBLIQUE)


# Sums over the mesh, and distances between its vertices: added in another order than the engine's.
MESH = re.compile(r"_shape_(Mesh|Surface|Spher|Maximum)")


def assert_equal(row: pd.Series, expected: pd.Series, names: list[str]) -> None:
    """The same bits; for the mesh to 1e-12."""
    exact = [n for n in names if not MESH.search(n)]
    assert {n: row[n] for n in exact if row[n] != expected[n]} == {
        n: expected[n] for n in exact if row[n] != expected[n]
    }
    mesh = [n for n in names if MESH.search(n)]
    np.testing.assert_allclose(row[mesh].astype(float), expected[mesh].astype(float), rtol=1e-12)


def assert_exactly(image: Volume, mask: Volume, profile: Profile, thin: set[int]) -> None:
    table = extract_scan(image, mask, profile, case="P1").set_index("lesion")
    names = feature_names(profile)
    expected = plain(image, mask, profile, table.index.tolist())
    assert set(expected) == set(names)
    assert table["status"].eq("ok").all()
    for label, row in table.iterrows():
        assert_equal(row, expected.loc[label], [n for n in names if label not in thin or "_shape_" not in n])
        assert ("shape_3d_undefined" in row["flags"]) == (label in thin)


@pytest.mark.parametrize("profile", ["ct-portal-venous", "ct-portal-venous-native", "mr-t1-hbp"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_equals_plain_pyradiomics(profile: str, dtype: type) -> None:
    image, mask = phantom((0.8, 0.8, 3.0), dtype, (26, 90, 100))
    assert_exactly(image, mask, PROFILES[profile], {4})


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.9, 1.0), (1.5, 1.5, 2.0)])
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_equals_plain_pyradiomics_on_other_grids(spacing: tuple[float, float, float], dtype: type) -> None:
    image, mask = phantom(spacing, dtype, (50, 100, 95))
    assert_exactly(image, mask, PROFILES["ct-portal-venous"], {4})


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (0.8, 0.8, 3.0)])
def test_equals_plain_pyradiomics_where_truncation_hangs_on_rounding(spacing: tuple[float, float, float]) -> None:
    """Grid points on sample points (3 mm to 1 mm) and constant regions: values are integers but for noise."""
    image, mask = phantom(spacing, np.int16, (60, 80, 90))
    image.array[30:, 20:60, 30:70] = 113
    image.array[20:25] = -57
    assert_exactly(image, mask, PROFILES["ct-portal-venous"], {4})


def test_equals_plain_pyradiomics_where_interpolation_leaves_the_range_of_the_type() -> None:
    image, mask = phantom((0.8, 0.8, 3.0), np.int16, (24, 90, 100))
    stark = replace(image, array=np.where(image.array > 60, 255, 0).astype(np.uint8))
    assert_exactly(stark, mask, PROFILES["ct-portal-venous"], {4})


def test_equals_plain_pyradiomics_with_filters_on_the_native_grid() -> None:
    image, mask = phantom((0.8, 0.8, 3.0), np.int16, (20, 60, 70))
    native = {**PROFILES["ct-portal-venous-full"].model_dump(), "resample_mm": None, "interpolator": None}
    assert_exactly(image, mask, Profile.model_validate(native), {4})


def test_equals_plain_pyradiomics_with_wavelets() -> None:
    image, mask = phantom((0.8, 0.8, 2.5), np.int16, (24, 90, 100))
    assert_exactly(image, mask, PROFILES["ct-portal-venous-full"], {4})


def test_longest_diameter_is_that_of_the_mesh() -> None:
    image, mask = phantom((0.7, 0.9, 2.5), np.int16, (26, 90, 100))
    table = extract_scan(image, mask, PROFILES["ct-portal-venous-native"], case="P1").set_index("lesion")
    sizes = measure_lesions(as_label_mask(mask, case="P1")).set_index("lesion")
    for label in (1, 2, 3):
        expected = table.loc[label, "lesion__original_shape_Maximum3DDiameter"]
        assert sizes.loc[label, "longest_3d_mm"] == pytest.approx(expected, rel=1e-12)
        assert sizes.loc[label, "longest_axial_mm"] <= expected
        volume = table.loc[label, "lesion__original_shape_VoxelVolume"]
        assert sizes.loc[label, "volume_ml"] == pytest.approx(volume / 1000, rel=1e-12)


IBSI = {
    "stat_mean": "firstorder_Mean",
    "stat_var": "firstorder_Variance",
    "stat_skew": "firstorder_Skewness",
    "stat_median": "firstorder_Median",
    "stat_min": "firstorder_Minimum",
    "stat_p10": "firstorder_10Percentile",
    "stat_p90": "firstorder_90Percentile",
    "stat_max": "firstorder_Maximum",
    "stat_iqr": "firstorder_InterquartileRange",
    "stat_range": "firstorder_Range",
    "stat_mad": "firstorder_MeanAbsoluteDeviation",
    "stat_rmad": "firstorder_RobustMeanAbsoluteDeviation",
    "stat_energy": "firstorder_Energy",
    "stat_rms": "firstorder_RootMeanSquared",
    "cm_joint_max_3D_avg": "glcm_MaximumProbability",
    "cm_joint_avg_3D_avg": "glcm_JointAverage",
    "cm_joint_var_3D_avg": "glcm_SumSquares",
    "cm_joint_entr_3D_avg": "glcm_JointEntropy",
    "cm_diff_avg_3D_avg": "glcm_DifferenceAverage",
    "cm_diff_var_3D_avg": "glcm_DifferenceVariance",
    "cm_diff_entr_3D_avg": "glcm_DifferenceEntropy",
    "cm_sum_avg_3D_avg": "glcm_SumAverage",
    "cm_sum_entr_3D_avg": "glcm_SumEntropy",
    "cm_energy_3D_avg": "glcm_JointEnergy",
    "cm_contrast_3D_avg": "glcm_Contrast",
    "cm_inv_diff_3D_avg": "glcm_Id",
    "cm_inv_diff_norm_3D_avg": "glcm_Idn",
    "cm_inv_diff_mom_3D_avg": "glcm_Idm",
    "cm_inv_diff_mom_norm_3D_avg": "glcm_Idmn",
    "cm_inv_var_3D_avg": "glcm_InverseVariance",
    "cm_corr_3D_avg": "glcm_Correlation",
    "cm_auto_corr_3D_avg": "glcm_Autocorrelation",
    "cm_clust_tend_3D_avg": "glcm_ClusterTendency",
    "cm_clust_shade_3D_avg": "glcm_ClusterShade",
    "cm_clust_prom_3D_avg": "glcm_ClusterProminence",
    "cm_info_corr1_3D_avg": "glcm_Imc1",
    "cm_info_corr2_3D_avg": "glcm_Imc2",
    "morph_volume": "shape_MeshVolume",
    "morph_vol_approx": "shape_VoxelVolume",
    "morph_area_mesh": "shape_SurfaceArea",
    "morph_av": "shape_SurfaceVolumeRatio",
}


def test_ibsi_digital_phantom(shared_data: Path) -> None:
    """Consensus values (doi:10.1148/radiol.2020191145) are published with three significant digits."""
    folder = shared_data / "ibsi1"
    if not folder.is_dir():
        pytest.skip("the IBSI phantom is absent")
    nifti = folder / "ibsi_1_digital_phantom" / "nifti"
    image = read_volume(nifti / "image" / "phantom.nii.gz", case="ibsi")
    mask = read_volume(nifti / "mask" / "mask.nii.gz", case="ibsi")
    profile = Profile(
        name="ibsi",
        description="digital phantom",
        modality="CT",
        resample_mm=None,
        bin_width=1,
        feature_classes=("shape", "firstorder", "glcm"),
    )
    row = extract_scan(image, mask, profile, case="ibsi").iloc[0]
    reference = pd.read_csv(folder / "reference_values_digital_phantom.csv", encoding="utf-8-sig").set_index("tag")
    for tag, name in IBSI.items():
        got, expected = row[f"lesion__original_{name}"], reference.loc[tag, "reference value"]
        assert float(f"{got:.3g}") == pytest.approx(expected, rel=1e-9), tag
    # pyradiomics' kurtosis is not the excess
    kurtosis = row["lesion__original_firstorder_Kurtosis"] - 3
    assert kurtosis == pytest.approx(reference.loc["stat_kurt", "reference value"], abs=5e-4)


@pytest.fixture(scope="module")
def crlm_1006(shared_data: Path) -> tuple[Volume, Volume, pd.DataFrame]:
    """A portal-venous CT from DICOM, labels of eight lesions on one slice each, and their published statistics."""
    folder = shared_data / "tcia_crlm_ct"
    if not folder.is_dir():
        pytest.skip("the CT series is absent")
    image = read_volume(folder / "dicom" / "CRLM-CT-1006", case="CRLM-CT-1006")
    mask = read_volume(folder / "derived" / "CRLM-CT-1006_lesion_cross_sections.nii.gz", case="CRLM-CT-1006")
    return image, mask, pd.read_csv(folder / "derived" / "lesions.csv").set_index("label")


def test_real_lesions_agree_with_published_statistics(crlm_1006: tuple[Volume, Volume, pd.DataFrame]) -> None:
    image, mask, published = crlm_1006
    table = extract_scan(image, mask, PROFILES["ct-portal-venous-native"], case="CRLM-CT-1006").set_index("lesion")
    assert table.index.tolist() == list(range(1, 9))
    assert table["status"].eq("ok").all()
    assert table["flags"].eq("shape_3d_undefined").all()
    assert table.filter(like="_shape_").isna().all(axis=None)
    assert table.filter(regex="_(firstorder|gl|ngtdm)").notna().all(axis=None)
    first = table.filter(like="original_firstorder_")
    np.testing.assert_allclose(first["lesion__original_firstorder_Mean"], published["hu_mean"], atol=0.5)
    np.testing.assert_array_equal(first["lesion__original_firstorder_Minimum"], published["hu_min"])
    np.testing.assert_array_equal(first["lesion__original_firstorder_Maximum"], published["hu_max"])
    repaired, flags = check_same_geometry(image, mask, case="CRLM-CT-1006")
    assert flags == ("mask_header_repaired",)
    sizes = measure_lesions(as_label_mask(repaired, case="CRLM-CT-1006")).set_index("lesion")
    np.testing.assert_array_equal(sizes["n_voxels"], published["n_pixels"])
    np.testing.assert_allclose(sizes["volume_ml"], published["area_mm2"] * 5.0 / 1000, rtol=1e-3)
    assert sizes["flags"].eq("one_slice").all()


def test_real_lesions_equal_plain_pyradiomics(crlm_1006: tuple[Volume, Volume, pd.DataFrame]) -> None:
    image, mask, _ = crlm_1006
    mask, _ = check_same_geometry(image, mask, case="CRLM-CT-1006")
    profile = PROFILES["ct-portal-venous-full"]
    table = extract_scan(image, mask, profile, case="CRLM-CT-1006").set_index("lesion")
    expected = plain(image, mask, profile, [5, 8])
    defined = [n for n in feature_names(profile) if "_shape_" not in n]
    for label in (5, 8):
        assert_equal(table.loc[label], expected.loc[label], defined)
