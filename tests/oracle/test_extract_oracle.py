"""Extraction against plain pyradiomics (exactly), IBSI consensus values, and a real CT."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.special
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

from radiomics_crlm.features.extract import _quiet_engine, extract_scan, feature_names
from radiomics_crlm.features.profiles import Profile, engine_image_types, engine_settings, load_profiles
from radiomics_crlm.imaging.regions import as_label_mask, measure_lesions
from radiomics_crlm.imaging.volume import Volume, check_same_geometry, read_volume, to_itk

TILT = np.deg2rad(12)
OBLIQUE = (1.0, 0.0, 0.0, 0.0, float(np.cos(TILT)), float(-np.sin(TILT)), 0.0, float(np.sin(TILT)), float(np.cos(TILT)))
SKEW = (-0.36, 0.48, -0.8, 0.8, 0.6, 0.0, 0.48, -0.64, -0.6)
PROFILES = load_profiles().profiles


def plain(image: Volume, mask: Volume, profile: Profile, labels: list[int]) -> pd.DataFrame:
    """pyradiomics as its documentation shows: one call per region, diagnostics on, nothing prepared."""
    parameters = {
        "setting": {**engine_settings(profile), "additionalInfo": True},
        "imageType": engine_image_types(profile),
        "featureClass": dict.fromkeys(profile.feature_classes),
    }
    with warnings.catch_warnings(), _quiet_engine():
        # deprecated imports, 0/0 in features of degenerate regions, patterns of floating-point images
        warnings.simplefilter("ignore")
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
# Moments of regions of more than 20,000 voxels come from products.
MOMENTS = re.compile(r"_firstorder_(Skewness|Kurtosis)$")
ALL_TYPES = {
    "log_sigma_mm": (1.0, 3.0),
    "wavelet": "coif1",
    **dict.fromkeys(["square", "square_root", "logarithm", "exponential", "gradient", "lbp_2d", "lbp_3d"], True),
}


def changed(profile: str, **changes: Any) -> Profile:
    return Profile.model_validate({**PROFILES[profile].model_dump(), **changes})


def assert_equal(row: pd.Series, expected: pd.Series, names: list[str], loose: re.Pattern[str] = MESH) -> None:
    """The same bits; for names that ``loose`` finds to 1e-12."""
    both_null = row[names].isna() & expected[names].isna()
    names = [n for n in names if not both_null[n]]
    other = {n: (row[n], expected[n]) for n in names if not loose.search(n) and row[n] != expected[n]}
    assert other == {}
    near = [n for n in names if loose.search(n)]
    np.testing.assert_allclose(row[near].astype(float), expected[near].astype(float), rtol=1e-12, atol=1e-13)


def assert_exactly(image: Volume, mask: Volume, profile: Profile, thin: set[int], least: int = 1) -> None:
    """All lesions of a scan against the engine."""
    table = extract_scan(image, mask, profile, case="P1").set_index("lesion")
    assert len(table) >= least
    names = feature_names(profile)
    expected = plain(image, mask, profile, table.index.tolist())
    assert set(expected) == set(names)
    assert table["status"].eq("ok").all()
    for label, row in table.iterrows():
        assert_equal(row, expected.loc[label], [n for n in names if label not in thin or "_shape_" not in n])
        flat = label in thin and "shape" in profile.feature_classes
        assert ("shape_3d_undefined" in row["flags"]) == flat


@pytest.mark.parametrize("profile", list(PROFILES))
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_equals_plain_pyradiomics(profile: str, dtype: type) -> None:
    image, mask = phantom((0.8, 0.8, 3.0), dtype, (20, 60, 60))
    assert_exactly(image, mask, PROFILES[profile], {4}, 4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.9, 1.0), (1.5, 1.5, 2.5)])
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_equals_plain_pyradiomics_on_other_grids(spacing: tuple[float, float, float], dtype: type) -> None:
    """The spacing of the grid; an axis that keeps it; grid points half-way between voxels."""
    image, mask = phantom(spacing, dtype, (36, 60, 64))
    assert_exactly(image, mask, PROFILES["ct-portal-venous"], {4})


@pytest.mark.parametrize("shape", [(12, 24, 320), (12, 320, 24), (320, 24, 24)])
@pytest.mark.parametrize(("dtype", "direction"), [(np.int16, OBLIQUE), (np.float32, SKEW)])
def test_only_the_surroundings_of_a_lesion_are_resampled(
    shape: tuple[int, int, int], dtype: type, direction: tuple[float, ...]
) -> None:
    """Longer than the margin of the spline on both sides, so that the image is cropped at both ends."""
    image, mask = phantom((0.7, 0.8, 1.3), dtype, shape)
    image, mask = (replace(v, direction=direction) for v in (image, mask))
    labels = np.where(mask.array == 1, 1, 0).astype(np.uint8)
    assert_exactly(image, replace(mask, array=labels), changed("ct-portal-venous", pad_voxels=7), set())


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (0.8, 0.8, 3.0)])
def test_equals_plain_pyradiomics_where_truncation_hangs_on_rounding(spacing: tuple[float, float, float]) -> None:
    """Grid points on sample points (3 mm to 1 mm) and constant regions: values are integers but for noise."""
    image, mask = phantom(spacing, np.int16, (60, 80, 90))
    image.array[30:, 20:60, 30:70] = 113
    image.array[20:25] = -57
    assert_exactly(image, mask, PROFILES["ct-portal-venous"], {4})


def test_equals_plain_pyradiomics_where_interpolation_leaves_the_range_of_the_type() -> None:
    image, mask = phantom((0.8, 0.8, 3.0), np.int16, (24, 60, 60))
    stark = replace(image, array=np.where(image.array > 60, 255, 0).astype(np.uint8))
    assert_exactly(stark, mask, PROFILES["ct-portal-venous"], {4})


@pytest.mark.parametrize("interpolator", ["sitkLinear", "sitkNearestNeighbor"])
def test_equals_plain_pyradiomics_with_other_interpolators(interpolator: str) -> None:
    image, mask = phantom((0.8, 0.8, 3.0), np.int16, (20, 60, 60))
    assert_exactly(image, mask, changed("ct-portal-venous", interpolator=interpolator), {4})


@pytest.fixture
def spherical_harmonics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the plain engine the function for LBP3D that SciPy 1.17 removed."""
    if not hasattr(scipy.special, "sph_harm"):
        monkeypatch.setattr(
            scipy.special,
            "sph_harm",
            lambda order, degree, azimuth, polar: scipy.special.sph_harm_y(degree, order, polar, azimuth),
            raising=False,
        )


@pytest.mark.parametrize(
    ("flat", "resampled", "dtype"),
    [(False, False, np.int16), (False, True, np.float64), (True, False, np.float32), (True, True, np.int16)],
)
@pytest.mark.usefixtures("spherical_harmonics")
def test_equals_plain_pyradiomics_in_all_image_types(flat: bool, resampled: bool, dtype: type) -> None:
    image, mask = phantom((0.8, 0.8, 2.5), dtype, (16, 34, 36))
    grid = {} if resampled else {"resample_mm": None, "interpolator": None}
    # the exponential of a noisy image is steep: wide bins keep the matrices small
    profile = changed("ct-portal-venous", **ALL_TYPES, **grid, force_2d=flat)
    assert_exactly(image, mask, profile, {4}, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"bin_width": None, "bin_count": 32},
        {"bin_width": 3.7},
        {"resegment_range": (-150.0, 120.0)},
        {"resegment_sigma": 1.5},
        {"voxel_array_shift": 300},
        {"original": False, "square": True},
        {"feature_classes": ("glszm",)},
        {"feature_classes": ("ngtdm", "shape")},
    ],
)
def test_equals_plain_pyradiomics_with_other_settings(changes: dict[str, Any]) -> None:
    image, mask = phantom((0.8, 0.8, 3.0), np.int16, (20, 60, 60))
    assert_exactly(image, mask, changed("ct-portal-venous", **changes), {4})


def test_normalisation_sees_the_whole_image() -> None:
    """Statistics of the image before any crop; outliers are clipped."""
    image, mask = phantom((0.9, 0.9, 2.0), np.float32, (20, 150, 40))
    image.array[:, :60] *= 8
    assert_exactly(image, mask, changed("mr-t1-hbp", wavelet="haar", log_sigma_mm=None, bin_width=20), {4})


def test_equals_plain_pyradiomics_for_odd_regions() -> None:
    """Scattered voxels, two parts, a line with a bend, a frame, a flat region, two slices at the border."""
    image, mask = phantom((0.8, 0.9, 2.0), np.int16, (24, 50, 60))
    labels = np.zeros_like(mask.array)
    scattered = np.random.default_rng(3).random((8, 12, 12)) < 0.08
    labels[2:10, 2:14, 2:14][scattered] = 1
    labels[12:15, 3:7, 3:8] = labels[17:19, 9:13, 9:14] = 2
    labels[12, 20:30, 20] = labels[12, 30, 20:26] = 3
    labels[4, 30:40, 30:40] = 4
    labels[4, 32:38, 32:38] = 0
    labels[14:18, 30:36, 30:36] = 5
    image.array[13:19, 29:37, 29:37] = 40
    labels[22:, 40:, 50:] = 6
    table = extract_scan(image, replace(mask, array=labels), PROFILES["ct-portal-venous-native"], case="P1")
    flags = table.set_index("lesion")["flags"].str.split(";")
    assert {"several_parts", "touches_border"} & set(flags[1]) == {"several_parts"}
    assert "several_parts" in flags[2]
    assert flags[5] == ["flat"]
    assert flags[6] == ["touches_border"]
    assert_exactly(image, replace(mask, array=labels), PROFILES["ct-portal-venous-native"], {3, 4}, 6)
    assert_exactly(image, replace(mask, array=labels), PROFILES["ct-portal-venous"], {3, 4}, 6)


def test_large_regions_differ_in_the_moments_alone() -> None:
    image, mask = phantom((1.5, 1.5, 3.0), np.int16, (16, 40, 40))
    labels = np.zeros_like(mask.array)
    labels[3:13, 8:30, 8:30] = 1  # about 33,000 voxels of 1 mm
    profile = PROFILES["ct-portal-venous"]
    row = extract_scan(image, replace(mask, array=labels), profile, case="P1").iloc[0]
    expected = plain(image, replace(mask, array=labels), profile, [1]).iloc[0]
    assert_equal(row, expected, feature_names(profile), re.compile(f"{MESH.pattern}|{MOMENTS.pattern}"))


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


def assert_real(image: Volume, mask: Volume, profile: Profile, labels: list[int]) -> None:
    """Regions of a real scan against the engine; organs are large, so that their moments may differ."""
    mask, _ = check_same_geometry(image, mask, case="real")
    chosen = replace(mask, array=np.where(np.isin(mask.array, labels), mask.array, 0))
    table = extract_scan(image, chosen, profile, case="real").set_index("lesion")
    assert table.index.tolist() == labels
    expected = plain(image, chosen, profile, labels)
    for label, row in table.iterrows():
        thin = "shape_3d_undefined" in row["flags"]
        names = [n for n in feature_names(profile) if not (thin and "_shape_" in n)]
        large = (expected.loc[label].get("lesion__original_shape_VoxelVolume", 0)) > 15_000
        assert_equal(
            row, expected.loc[label], names, re.compile(f"{MESH.pattern}|{MOMENTS.pattern}") if large else MESH
        )


def test_a_real_lesion_equals_plain_pyradiomics(crlm_1006: tuple[Volume, Volume, pd.DataFrame]) -> None:
    image, mask, _ = crlm_1006
    assert_real(image, mask, PROFILES["ct-portal-venous-full"], [5])


@pytest.mark.slow
def test_all_real_lesions_equal_plain_pyradiomics(crlm_1006: tuple[Volume, Volume, pd.DataFrame]) -> None:
    image, mask, _ = crlm_1006
    assert_real(image, mask, PROFILES["ct-portal-venous-full"], list(range(1, 9)))


def organ_example(shared_data: Path, modality: str) -> tuple[Volume, Volume]:
    """Abdominal CT or MR of 3 mm, whose label 5 is the liver; it reaches the border of the CT."""
    folder = shared_data / "totalsegmentator_examples"
    if not folder.is_dir():
        pytest.skip("the examples of TotalSegmentator are absent")
    names = {"CT": ("example_ct_sm", "example_seg"), "MR": ("example_mr_sm", "example_seg_mr")}[modality]
    image, mask = (read_volume(folder / f"{name}.nii.gz", case=modality) for name in names)
    return image, as_label_mask(mask, case=modality)


@pytest.mark.parametrize(("modality", "profile"), [("CT", "ct-portal-venous-full"), ("MR", "mr-t1-hbp")])
def test_a_piece_of_liver_equals_plain_pyradiomics(shared_data: Path, modality: str, profile: str) -> None:
    """3 mm to 1 mm: grid points lie on voxels, and the engine truncates what is an integer but for noise."""
    image, mask = organ_example(shared_data, modality)
    middle = np.argwhere(mask.array == 5).mean(axis=0).astype(int)
    piece = np.zeros_like(mask.array)
    here = tuple(slice(c - n, c + n) for c, n in zip(middle, (2, 5, 4), strict=True))
    piece[here] = np.where(mask.array[here] == 5, 5, 0)
    assert_real(image, replace(mask, array=piece), PROFILES[profile], [5])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modality", "profile"), [("CT", "ct-portal-venous-full"), ("CT", "ct-portal-venous-native"), ("MR", "mr-t1-hbp")]
)
def test_a_liver_equals_plain_pyradiomics(shared_data: Path, modality: str, profile: str) -> None:
    assert_real(*organ_example(shared_data, modality), PROFILES[profile], [5])


@pytest.mark.slow
def test_ibsi_ct_phantom_equals_plain_pyradiomics(shared_data: Path) -> None:
    folder = shared_data / "ibsi1" / "ibsi_1_ct_radiomics_phantom" / "nifti"
    if not folder.is_dir():
        pytest.skip("the IBSI phantom is absent")
    image = read_volume(folder / "image" / "phantom.nii.gz", case="ibsi")
    mask = read_volume(folder / "mask" / "mask.nii.gz", case="ibsi")
    assert_real(image, mask, PROFILES["ct-portal-venous-full"], [1])
