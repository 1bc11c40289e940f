"""Formulas on prepared matrices against the engine's own classes, bit by bit, degenerate regions included."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import radiomics
import SimpleITK as sitk
from scipy import ndimage

from radiomics_crlm.errors import InputError
from radiomics_crlm.features import first_order, formulas
from radiomics_crlm.features.formulas import ImageFeatures, class_features, shape_features
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.features.texture_formulas import glcm_features, glrlm_features


@pytest.fixture(autouse=True)
def quiet_engine() -> Iterator[None]:
    """The plain engine logs a line for each symmetrical matrix."""
    level = logging.getLogger("radiomics").level
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("radiomics").setLevel(level)


KINDS = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
SPACING = (0.7, 0.9, 2.5)


def profile(**changes: Any) -> Profile:
    plain = {"name": "test", "description": "", "modality": "CT", "resample_mm": None, "feature_classes": KINDS}
    bins = {} if "bin_count" in changes else {"bin_width": 25.0}
    return Profile.model_validate({**plain, **bins, **changes})


def by_engine(values: np.ndarray, inside: np.ndarray, kind: str, **settings: Any) -> dict[str, float]:
    image, mask = sitk.GetImageFromArray(values), sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing(SPACING)
    mask.SetSpacing(SPACING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = radiomics.getFeatureClasses()[kind](image, mask, **settings).execute()
    return {name: complex(value).real for name, value in found.items()}


def region(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random region of at least two dimensions in an image of varying roughness and type, cropped to its box."""
    rng = np.random.default_rng(seed)
    shape = rng.choice([1, 2, 3, 5, 9, 14], 3)
    if (shape > 1).sum() < 2:
        shape[1:] = 6
    smooth = int(rng.integers(0, 3))
    values = ndimage.gaussian_filter(rng.normal(50, 40, shape), smooth) * (1 + 5 * smooth)
    if seed % 4 == 1:
        values = np.rint(values / 40) * 40
    inside = ndimage.gaussian_filter(rng.random(shape), 0.8) > rng.choice([0.0, 0.47, 0.52, 0.6])
    inside.flat[[0, -1]] = True
    box = ndimage.find_objects(inside.astype(int))[0]
    dtype = (np.float64, np.float32, np.int16)[seed % 3]
    return np.ascontiguousarray(values[box].astype(dtype)), np.ascontiguousarray(inside[box])


@pytest.mark.parametrize("start", range(0, 160, 20))
def test_random_regions(start: int) -> None:
    for seed in range(start, start + 20):
        values, inside = region(seed)
        flat = seed % 5 == 2 and max(inside.shape[1:]) > 1
        bins = {"bin_count": 16} if seed % 7 == 3 else {"bin_width": float([3, 25, 60][seed % 3])}
        engine = {"binCount": 16} if "bin_count" in bins else {"binWidth": bins["bin_width"]}
        wanted = profile(**bins, force_2d=flat, voxel_array_shift=seed % 2 * 300)
        found = ImageFeatures(wanted, float(np.multiply.reduce(SPACING))).of(values, inside, KINDS)
        for kind in KINDS:
            expected = by_engine(values, inside, kind, force2D=flat, voxelArrayShift=seed % 2 * 300, **engine)
            assert set(found[kind]) == set(expected) == set(class_features(kind))
            other = {
                name: (seed, found[kind][name], value)
                for name, value in expected.items()
                if found[kind][name] != value and not (np.isnan(value) and np.isnan(found[kind][name]))
            }
            assert other == {}


def test_many_levels_and_single_gaps() -> None:
    """Matrices large enough for all paths of numpy's sums; one level that does not occur."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 60, (12, 20, 22))
    inside = np.ones(values.shape, dtype=bool)
    for width, hole in ((4.0, False), (9.0, True), (25.0, True)):
        image = np.where((values >= 4 * width) & (values < 5 * width), values + width, values) if hole else values
        found = ImageFeatures(profile(bin_width=width), 1.0).of(image, inside, KINDS[1:])
        for kind in KINDS[1:]:
            assert found[kind] == by_engine(image, inside, kind, binWidth=width), (kind, width)


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_alone_gives_what_all_give_together(kind: str) -> None:
    values, inside = region(7)
    features = ImageFeatures(profile(), 2.0)
    assert features.of(values, inside, [kind]) == {kind: features.of(values, inside, KINDS)[kind]}


def test_degenerate_matrices_are_left_to_the_engine() -> None:
    """Two voxels apart: no pair in any direction, runs of one voxel only in some."""
    levels = np.zeros((3, 3, 3), dtype=np.int32)
    levels[0, 0, 0], levels[2, 2, 1] = 1, 2
    assert glcm_features(formulas.matrices.glcm(levels, 2)[0], np.array([1, 2]), 2) is None
    values = np.where(levels == 2, 30.0, 0.0)
    found = ImageFeatures(profile(), 1.0).of(values, levels > 0, KINDS)
    assert np.isnan(found["glcm"]["Contrast"])
    for kind in KINDS[1:]:
        np.testing.assert_equal(found[kind], by_engine(values, levels > 0, kind, binWidth=25.0))
    lines = np.zeros((1, 1, 2, 3, 2))[0]
    lines[0, :, 0, 0] = 1
    assert glrlm_features(lines, np.array([1, 2])) is None


def test_large_regions_take_products_for_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    voxels = rng.gamma(2.0, 30.0, 30_000) - 40
    large = first_order.first_order(voxels, np.array([30_000]), 1.0, 0)
    monkeypatch.setattr(first_order, "_EXACT_POWERS", 30_000)
    exact = first_order.first_order(voxels, np.array([30_000]), 1.0, 0)
    moments = {"Skewness", "Kurtosis"}
    assert {k: v for k, v in large.items() if k not in moments} == {k: v for k, v in exact.items() if k not in moments}
    for name in moments:
        assert large[name] == pytest.approx(exact[name], rel=1e-13)


def test_values_that_make_no_bins() -> None:
    values, inside = region(3)
    values = values.astype(float)
    values[inside] = np.nan
    with pytest.raises(InputError):
        ImageFeatures(profile(), 1.0).of(values, inside, KINDS)


def test_bins_from_the_range() -> None:
    """Levels count from the lower end of the range, as the Image Biomarker Standardisation Initiative asks."""
    values = np.array([[[0.0, 10.0], [30.0, 55.0]]])
    inside = np.ones(values.shape, dtype=bool)
    kinds = {"feature_classes": ("glcm",), "resegment_range": (-50.0, 100.0)}
    own = ImageFeatures(profile(**kinds), 1.0).of(values, inside, ["glcm"])["glcm"]
    fixed = ImageFeatures(profile(**kinds, bins_from="resegment_range"), 1.0).of(values, inside, ["glcm"])["glcm"]
    assert fixed["JointAverage"] == pytest.approx(own["JointAverage"] + 2)
    assert fixed["Contrast"] == pytest.approx(own["Contrast"])


@pytest.mark.parametrize("seed", range(6))
def test_shape_of_random_regions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = ndimage.gaussian_filter(rng.random((9, 14, 12)), 1.5) > 0.5
    box = ndimage.find_objects(inside.astype(int))[0]
    inside = inside[box]
    found, expected = shape_features(inside, SPACING), by_engine(inside.astype(float), inside, "shape")
    assert set(found) == set(expected) == set(class_features("shape"))
    for name, value in expected.items():
        mesh = name.startswith(("Mesh", "Surface", "Spher", "Maximum"))
        assert found[name] == (pytest.approx(value, rel=1e-12) if mesh else value)
