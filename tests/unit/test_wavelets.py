"""Sub-bands of the stationary wavelet transform against PyWavelets, bit by bit, and their properties."""

from __future__ import annotations

import itertools
import platform

import numpy as np
import pytest
import pywt

from radiomics_crlm.features.wavelets import same_as_pywt, sub_bands, supported

WAVELETS = ("coif1", "haar", "db2", "sym2", "bior1.3", "rbio2.2", "db4")


def reference(values: np.ndarray, name: str, axes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The transform of the image extended to even sides, cut back."""
    padded = np.pad(values, [(0, n % 2) for n in values.shape], "wrap")
    bands = pywt.swtn(padded, name, 1, axes=axes)[0]
    inner = tuple(slice(0, n) for n in values.shape)
    return {key.replace("a", "L").replace("d", "H"): band[inner] for key, band in bands.items()}


@pytest.mark.parametrize("name", WAVELETS)
@pytest.mark.parametrize("kind", ["int16", "uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(8, 10, 12), (9, 11, 13), (8, 9, 30)])
def test_values_are_those_of_pywavelets(shape: tuple[int, int, int], kind: str, name: str) -> None:
    values = np.random.default_rng(len(name)).normal(90, 40, shape).astype(kind)
    expected = reference(values, name, (2, 1, 0))
    assert supported(shape, pywt.Wavelet(name))
    for box in itertools.product(*([slice(0, n), slice(0, 1), slice(n - 3, n)] for n in shape)):
        for letters, band in sub_bands(values, pywt.Wavelet(name), box=box):
            np.testing.assert_array_equal(band, expected[letters][box], err_msg=letters, strict=True)


@pytest.mark.parametrize("axes", [(2, 1), (2, 0), (1, 0), (2,), (0, 1, 2)], ids=str)
def test_axes_and_their_order_are_those_of_pywavelets(axes: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=(9, 10, 11))
    found = dict(sub_bands(values, pywt.Wavelet("coif1"), axes))
    expected = reference(values, "coif1", axes)
    assert set(found) == set(expected)
    for letters, band in found.items():
        np.testing.assert_array_equal(band, expected[letters], err_msg=letters)


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="compilers may fuse there")
def test_arithmetic_is_exact_where_it_is_tested() -> None:
    assert same_as_pywt(), f"own wavelets differ from PyWavelets {pywt.__version__}: values stay right, but slowly"


def test_sub_bands_come_in_the_order_of_the_engine_and_only_if_wanted() -> None:
    values, wavelet = np.random.default_rng(1).normal(size=(8, 8, 8)), pywt.Wavelet("haar")
    every = list(sub_bands(values, wavelet))
    assert [n for n, _ in every] == ["LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL"]
    for first, second in itertools.combinations([n for n, _ in every], 2):
        some = list(sub_bands(values, wavelet, wanted={first, second}))
        assert [n for n, _ in some] == [first, second]
        for letters, band in some:
            np.testing.assert_array_equal(band, dict(every)[letters], err_msg=letters)
    assert list(sub_bands(values, wavelet, wanted=())) == []


def test_a_constant_image_is_all_in_the_approximation() -> None:
    for letters, band in sub_bands(np.full((7, 8, 9), 10.0), pywt.Wavelet("coif1")):
        np.testing.assert_allclose(band, 10 * 2**1.5 if letters == "LLL" else 0, atol=1e-9, err_msg=letters)


def test_haar_is_sum_and_difference_of_neighbours() -> None:
    values = np.random.default_rng(2).normal(size=(4, 6, 8))
    bands = dict(sub_bands(values, pywt.Wavelet("haar"), (2,)))
    following = np.roll(values, -1, axis=2)
    np.testing.assert_allclose(bands["L"], (values + following) / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(np.abs(bands["H"]), np.abs(values - following) / np.sqrt(2), rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "name", "answer"),
    [
        ((6, 6, 6), "coif1", True),
        ((5, 6, 6), "coif1", True),  # extended to six
        ((4, 60, 60), "coif1", False),
        ((60, 60, 4), "coif1", False),
        ((2, 2, 2), "haar", True),
        ((1, 2, 2), "haar", True),
    ],
)
def test_filters_must_fit_into_the_image(shape: tuple[int, ...], name: str, answer: bool) -> None:
    assert supported(shape, pywt.Wavelet(name)) is answer


def test_axes_that_are_not_filtered_may_be_short() -> None:
    assert supported((1, 8, 8), pywt.Wavelet("coif1"), (2, 1))
    values = np.random.default_rng(3).normal(size=(1, 8, 8))
    assert [band.shape for _, band in sub_bands(values, pywt.Wavelet("coif1"), (2, 1))] == [(1, 8, 8)] * 4
