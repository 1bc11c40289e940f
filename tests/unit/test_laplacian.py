"""Laplacian of Gaussian: formulas, symmetries, and the bits of ITK."""

from __future__ import annotations

import platform

import numpy as np
import pytest
import SimpleITK as sitk

from radiomics_crlm.features.laplacian import laplacian_of_gaussian, same_as_itk

Spacing = tuple[float, float, float]


def itk(values: np.ndarray, spacing: Spacing, sigma: float) -> np.ndarray:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing[::-1])
    return sitk.GetArrayFromImage(sitk.LaplacianRecursiveGaussian(image, sigma, True))


def blob(size: int, width: float, spacing: Spacing) -> np.ndarray:
    z, y, x = ((np.arange(size) - size // 2) * s for s in spacing)
    return np.exp(-(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) / (2 * width**2))


@pytest.mark.parametrize("seed", range(60))
def test_values_are_those_of_itk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(4, 45, 3))  # both sides of the number of lines filtered at once
    spacing = tuple(float(s) for s in rng.choice([0.3, 0.7, 0.78125, 1.0, 1.3, 2.5, 5.0], 3))
    sigma = float(rng.choice([0.5, 1.0, 1.7, 2.0, 3.0, 4.4, 5.0]))
    values = rng.normal(50, 100, shape).astype(rng.choice(["int16", "float32", "float64", "uint8"]))
    low = [int(rng.integers(0, n)) for n in shape]
    box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, shape, strict=True))
    expected = itk(values, spacing, sigma)[box]
    found = laplacian_of_gaussian(values, spacing, sigma, box)  # type: ignore[arg-type]
    assert found.dtype == np.float32
    if same_as_itk():
        np.testing.assert_array_equal(found, expected, strict=True)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="compilers may fuse there")
def test_arithmetic_is_exact_where_it_is_tested() -> None:
    machine = sitk.Version.ExtendedVersionString()
    assert same_as_itk(), f"own Laplacians differ from {machine}: values stay right, but the slow way is used"


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.7, 0.8)], ids=str)
@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_a_gaussian_blob_gives_its_formula(sigma: float, spacing: Spacing) -> None:
    width, size = 4.0, 61
    found = laplacian_of_gaussian(1000 * blob(size, width, spacing), spacing, sigma)
    total = width**2 + sigma**2
    centre = -1000 * sigma**2 * 3 / total * (width**2 / total) ** 1.5
    assert found[(size // 2,) * 3] == pytest.approx(centre, rel=1e-2)
    assert found.argmin() == np.ravel_multi_index((size // 2,) * 3, found.shape)


def test_a_constant_image_has_no_laplacian() -> None:
    found = laplacian_of_gaussian(np.full((9, 12, 15), 200.0), (2.5, 0.8, 0.7), 2.0)
    np.testing.assert_allclose(found, 0, atol=1e-3)


def test_axes_may_be_exchanged_with_their_spacings() -> None:
    values = np.random.default_rng(1).normal(size=(12, 18, 25))
    found = laplacian_of_gaussian(values, (2.5, 0.8, 1.1), 2.0)
    turned = laplacian_of_gaussian(values.transpose(2, 0, 1), (1.1, 2.5, 0.8), 2.0)
    np.testing.assert_allclose(turned, found.transpose(2, 0, 1), atol=1e-6)


def test_a_mirrored_image_has_a_mirrored_laplacian() -> None:
    values = np.random.default_rng(2).normal(size=(12, 18, 25))
    found = laplacian_of_gaussian(values, (1.0, 1.0, 1.0), 1.5)
    mirrored = laplacian_of_gaussian(values[::-1, :, ::-1], (1.0, 1.0, 1.0), 1.5)
    np.testing.assert_allclose(mirrored, found[::-1, :, ::-1], atol=1e-6)


def test_millimetres_may_be_any_unit() -> None:
    values = np.random.default_rng(3).normal(size=(10, 11, 12))
    found = laplacian_of_gaussian(values, (2.5, 0.8, 0.7), 2.0)
    np.testing.assert_allclose(laplacian_of_gaussian(values, (25.0, 8.0, 7.0), 20.0), found, rtol=1e-5, atol=1e-6)


def test_the_image_is_left_alone() -> None:
    values = np.random.default_rng(4).normal(size=(10, 11, 12))
    before = values.copy()
    laplacian_of_gaussian(values, (1.0, 1.0, 1.0), 1.0)[...] = 0
    np.testing.assert_array_equal(values, before)
