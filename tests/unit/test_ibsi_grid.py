"""Resampling by the IBSI: geometry, an independent interpolation, ties, labels and the cropped grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from radiomics_crlm.features.ibsi_grid import grid_size, resample
from radiomics_crlm.imaging.geometry import Volume

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
TILT = np.deg2rad(20)
OBLIQUE = (1.0, 0.0, 0.0, 0.0, float(np.cos(TILT)), float(-np.sin(TILT)), 0.0, float(np.sin(TILT)), float(np.cos(TILT)))


def scan(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], direction: tuple[float, ...] = STRAIGHT
) -> tuple[Volume, Volume]:
    """Noise and two regions of noise around thresholds of a smooth field."""
    rng = np.random.default_rng(5)
    field = ndimage.gaussian_filter(rng.normal(0, 1, shape), 2.0)
    labels = np.select([field > np.quantile(field, 0.8), field < np.quantile(field, 0.2)], [1, 4], 0)
    origin = (-12.5, 30.0, 7.25)
    image = Volume(rng.integers(-1000, 1000, shape).astype(np.int16), spacing, origin, direction, flags=("f",))
    return image, Volume(labels.astype(np.int16), spacing, origin, direction)


def by_scipy(array: np.ndarray, image: Volume, spacing: tuple[float, float, float]) -> np.ndarray:
    """Trilinear values at the positions of the reference manual, edges continued; written down a second time."""
    axes = []
    for n, old, new in zip(array.shape, reversed(image.spacing), reversed(spacing), strict=True):
        n_new = int(np.ceil(n * old / new - 1e-9))
        start = (n - 1 - new / old * (n_new - 1)) / 2
        axes.append(start + new / old * np.arange(n_new))
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ndimage.map_coordinates(array.astype(float), places, order=1, mode="nearest")


def middle(volume: Volume) -> np.ndarray:
    """Centre of the grid in mm."""
    return np.array(volume.origin) + volume.index_to_mm @ ((np.array(volume.array.shape[::-1]) - 1) / 2)


@pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE])
@pytest.mark.parametrize(
    ("old", "new"),
    [((0.8, 0.8, 3.0), (1.0, 1.0, 1.0)), ((0.977, 0.977, 3.0), (2.0, 2.0, 2.0)), ((1.0, 1.5, 2.0), (0.7, 2.9, 5.0))],
)
def test_agrees_with_an_independent_interpolation(
    old: tuple[float, float, float], new: tuple[float, float, float], direction: tuple[float, ...]
) -> None:
    image, mask = scan((9, 14, 17), old, direction)
    got, found = resample(image, mask, new, "sitkLinear", round_to_integers=False)
    np.testing.assert_allclose(got.array, by_scipy(image.array, image, new), atol=1e-8)
    for label in (1, 4):
        share = by_scipy(mask.array == label, image, new)
        clear = np.abs(share - 0.5) > 1e-5
        np.testing.assert_array_equal((found.array == label)[clear], (share > 0.5)[clear])
    assert found.array.dtype == mask.array.dtype
    np.testing.assert_allclose(middle(got), middle(image), atol=1e-9)
    np.testing.assert_allclose(middle(found), middle(image), atol=1e-9)
    assert got.direction == image.direction
    assert got.flags == ("f",)
    np.testing.assert_allclose(got.spacing, new, rtol=1e-14)
    assert got.array.shape[::-1] == grid_size(image.array.shape[::-1], old, new)


def test_splines_keep_a_parabola_in_the_middle() -> None:
    z, y, x = np.indices((40, 41, 42)).astype(float)
    spacing, origin = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    image = Volume((x - 20) ** 2 - 3 * (y - 20) + z * 0.5, spacing, origin, STRAIGHT)
    mask = Volume(np.zeros(image.array.shape, dtype=np.uint8), spacing, origin, STRAIGHT)
    got, _ = resample(image, mask, (0.75, 0.75, 0.75), "sitkBSpline", round_to_integers=False)
    places = [got.origin[axis] + 0.75 * np.arange(n) for axis, n in enumerate(got.array.shape[::-1])]
    exact = (places[0][None, None, :] - 20) ** 2 - 3 * (places[1][None, :, None] - 20) + 0.5 * places[2][:, None, None]
    inner = (slice(20, 33),) * 3
    np.testing.assert_allclose(got.array[inner], exact[inner], atol=1e-6)


def test_same_spacing_changes_nothing() -> None:
    image, mask = scan((6, 7, 8), (0.7, 0.7, 2.5), OBLIQUE)
    for interpolator in ("sitkLinear", "sitkBSpline", "sitkNearestNeighbor"):
        got, found = resample(image, mask, image.spacing, interpolator, round_to_integers=True)
        np.testing.assert_array_equal(got.array, image.array)
        np.testing.assert_array_equal(found.array, mask.array)
        assert got.array.dtype == np.int32
        np.testing.assert_allclose(got.origin, image.origin, atol=1e-12)


def test_halves_round_upwards_and_belong_to_the_region() -> None:
    """Two voxels become one: values are means, shares are 0, one half or 1."""
    values = np.array([[[1, 2, -1, -2, 3, 3, 0, -1]]])
    labels = np.array([[[1, 0, 0, 0, 1, 1, 0, 2]]])
    image = Volume(values, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), STRAIGHT)
    got, found = resample(image, replace(image, array=labels), (2.0, 1.0, 1.0), "sitkLinear", round_to_integers=True)
    assert got.array.ravel().tolist() == [2, -1, 3, 0]
    assert found.array.ravel().tolist() == [1, 0, 1, 2]


def test_equal_halves_go_to_the_smaller_label() -> None:
    labels = np.array([[[7, 3, 0, 0]]])
    image = Volume(labels * 10, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), STRAIGHT)
    _, found = resample(image, replace(image, array=labels), (2.0, 1.0, 1.0), "sitkLinear", round_to_integers=True)
    assert found.array.ravel().tolist() == [3, 0]


def test_a_region_thinner_than_half_a_voxel_is_lost() -> None:
    labels = np.zeros((1, 1, 9), dtype=np.int16)
    labels[0, 0, 4] = 1
    image = Volume(labels, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), STRAIGHT)
    _, found = resample(image, image, (3.0, 1.0, 1.0), "sitkLinear", round_to_integers=True)  # centres 1, 4, 7
    assert found.array.ravel().tolist() == [0, 1, 0]
    _, found = resample(image, image, (4.5, 1.0, 1.0), "sitkLinear", round_to_integers=True)  # centres 1.75, 6.25
    assert found.array.ravel().tolist() == [0, 0]


@pytest.mark.parametrize("interpolator", ["sitkLinear", "sitkBSpline"])
@pytest.mark.parametrize("pad", [0, 3])
def test_the_part_around_the_regions_is_part_of_the_whole(interpolator: str, pad: int) -> None:
    image, mask = scan((50, 60, 90), (0.8, 0.8, 2.0), OBLIQUE)
    small = np.zeros_like(mask.array)
    small[20:26, 15:24, 60:71] = mask.array[20:26, 15:24, 60:71]
    mask = replace(mask, array=small)
    whole, whole_mask = resample(image, mask, (1.1, 1.0, 1.0), interpolator, round_to_integers=True)
    part, part_mask = resample(image, mask, (1.1, 1.0, 1.0), interpolator, round_to_integers=True, pad_voxels=pad)
    offset = np.linalg.solve(whole.index_to_mm, np.array(part.origin) - np.array(whole.origin))
    np.testing.assert_allclose(offset, np.rint(offset), atol=1e-9)
    low = np.rint(offset).astype(int)[::-1]
    box = tuple(slice(a, a + n) for a, n in zip(low, part.array.shape, strict=True))
    np.testing.assert_array_equal(part.array, whole.array[box])
    np.testing.assert_array_equal(part_mask.array, whole_mask.array[box])
    assert (part_mask.array > 0).sum() == (whole_mask.array > 0).sum() > 0
    inside = ndimage.find_objects((part_mask.array > 0).astype(int))[0]
    for where, n in zip(inside, part.array.shape, strict=True):
        assert pad <= where.start <= pad + 4
        assert pad <= n - where.stop <= pad + 4


def test_an_empty_mask_leaves_the_whole_grid() -> None:
    image, mask = scan((5, 6, 7), (1.0, 1.0, 1.0))
    empty = replace(mask, array=np.zeros_like(mask.array))
    got, found = resample(image, empty, (2.0, 2.0, 2.0), "sitkLinear", round_to_integers=True, pad_voxels=2)
    assert got.array.shape == found.array.shape == (3, 3, 4)
    assert not found.array.any()


def test_length_is_a_whole_number_of_voxels_in_spite_of_rounding() -> None:
    assert 3 * 0.8 / 2.4 > 1
    assert grid_size((3, 3, 1), (0.8, 1.0, 5.0), (2.4, 2.0, 100.0)) == (1, 2, 1)
