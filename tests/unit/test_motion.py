"""Shifts and rotations: exact where the grid maps onto itself, and in mm and patient space elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from solids import IDENTITY, Scene

from radiomics_crlm.features.motion import Rotation, Translation
from radiomics_crlm.imaging.geometry import Volume, from_itk, to_itk

RNG = np.random.default_rng(0)


def smooth_scan(shape: tuple[int, int, int] = (24, 40, 44), dtype: type = np.float64) -> np.ndarray:
    """A band-limited image, so that interpolation is nearly exact."""
    z, y, x = (np.arange(n) for n in shape)
    values = 100 + 30 * np.sin(0.4 * x)[None, None, :] * np.cos(0.3 * y)[None, :, None]
    return np.asarray(values + 20 * np.sin(0.5 * z + 1)[:, None, None]).astype(dtype)


def volume(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> Volume:
    return Volume(array, spacing, (-20.0, 7.0, 100.0), IDENTITY)


def block(shape: tuple[int, int, int], box: tuple[slice, ...], label: int = 1) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.int32)
    labels[box] = label
    return labels


def test_a_quarter_turn_of_the_grid_is_exact() -> None:
    """Whole numbers on a square grid: turning is renumbering, for image, mask and everything between."""
    array = np.random.default_rng(1).integers(-100, 300, (12, 33, 33)).astype(np.int16)
    labels = block(array.shape, (slice(4, 8), slice(11, 22), slice(13, 20)))
    image, mask = volume(array), volume(labels)
    for degrees, turns in ((90, -1), (-90, 1), (180, 2)):
        turned, moved = Rotation(degrees).apply(image, mask, RNG)
        seen = np.abs(np.arange(33) - 16) < 10  # the image changes around the lesion only
        inner = np.ix_(np.arange(12), seen, seen)
        # rows are y (back), columns x (left): from left to back is clockwise seen with y downwards
        assert (turned.array[inner] == np.rot90(array, turns, axes=(1, 2))[inner]).all()
        assert (moved.array == np.rot90(labels, turns, axes=(1, 2))).all()


def test_a_symmetric_lesion_is_the_same_after_a_quarter_turn() -> None:
    y, x = np.indices((33, 33)) - 16
    array = np.broadcast_to(np.rint(100 * np.exp(-(x**2 + y**2) / 60)).astype(np.int16), (12, 33, 33)).copy()
    labels = np.zeros(array.shape, dtype=np.int32)
    labels[3:9] = x**2 + y**2 <= 49
    turned, moved = Rotation(90).apply(volume(array), volume(labels), RNG)
    assert (moved.array == labels).all()
    assert (turned.array == array).all()


def test_left_goes_to_the_back() -> None:
    labels = block((9, 33, 33), (slice(3, 6), slice(15, 18), slice(6, 27)))
    labels[3:6, 14:19, 24:27] = 1  # thick at the left end (x grows to the left)
    _, moved = Rotation(90).apply(volume(np.zeros(labels.shape)), volume(labels), RNG)
    width = moved.array[4].any(axis=0).sum()
    thick = np.flatnonzero((moved.array[4] > 0).sum(axis=1) > 3)
    assert width == 5
    assert thick.min() >= 24  # y grows to the back


@pytest.mark.parametrize("degrees", [-30.0, 6.0, 90.0])
def test_rotation_agrees_with_simpleitk(degrees: float) -> None:
    """Values near the lesion against ITK's B-spline resampling with a rotation about the same point."""
    array = smooth_scan()
    labels = block(array.shape, (slice(9, 15), slice(14, 25), slice(16, 31)))
    image, mask = volume(array, (0.8, 0.8, 2.5)), volume(labels, (0.8, 0.8, 2.5))
    turned, moved = Rotation(degrees).apply(image, mask, RNG)
    itk = to_itk(image)
    turn = sitk.Euler3DTransform(
        itk.TransformContinuousIndexToPhysicalPoint((23.0, 19.0, 11.5)), 0, 0, -np.deg2rad(degrees)
    )
    expected = from_itk(sitk.Resample(itk, itk, turn, sitk.sitkBSpline)).array
    at = moved.array > 0
    np.testing.assert_allclose(turned.array[at], expected[at], atol=1e-3)
    share = sitk.Resample(sitk.Cast(to_itk(mask), sitk.sitkFloat64), itk, turn, sitk.sitkLinear)
    found = sitk.GetArrayFromImage(share)
    doubtful = np.abs(found - 0.5) < 1e-9
    assert ((found > 0.5) == at)[~doubtful].all()


def test_rotation_is_about_the_body_axis_whatever_the_grid() -> None:
    """A coronal grid shows the same patient: turned, it shows the same patient again."""
    scene = Scene((50.0, 50.0, 50.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    lesion = scene.ellipsoid((14.0, 7.0, 5.0))
    array = (100 * np.exp(-((scene.x - 3) ** 2 + scene.y**2 + scene.z**2) / 200)).astype(np.float64)
    axial = scene.volume(array), scene.labels(lesion)
    # index axes of the coronal grid: x, z, y of the patient
    direction = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0)

    def coronal(v: Volume) -> Volume:
        return Volume(v.array.transpose(1, 0, 2).copy(), v.spacing, v.origin, direction)

    straight = Rotation(25).apply(*axial, RNG)
    other = Rotation(25).apply(*(coronal(v) for v in axial), RNG)
    assert (other[1].array.transpose(1, 0, 2) == straight[1].array).all()
    inside = straight[1].array > 0
    np.testing.assert_allclose(other[0].array.transpose(1, 0, 2)[inside], straight[0].array[inside], atol=1e-6)


@pytest.mark.parametrize("degrees", [6.0, -17.0, 45.0])
def test_rotation_keeps_volume_and_the_values_under_the_lesion(degrees: float) -> None:
    scene = Scene((60.0, 60.0, 40.0), (0.8, 0.8, 2.5))
    lesion = scene.ellipsoid((15.0, 9.0, 12.0))
    values = 80 + 2.0 * scene.x + 1.0 * scene.y + 0.0 * scene.z  # a slope: means are known
    image, mask = scene.volume(values), scene.labels(lesion)
    turned, moved = Rotation(degrees).apply(image, mask, RNG)
    after = moved.array == 1
    assert after.sum() == pytest.approx(lesion.sum(), rel=0.02)
    assert turned.array[after].mean() == pytest.approx(values[lesion].mean(), abs=0.15)


@pytest.mark.parametrize("fractions", [(0.25, 0.25, 0.25), (-0.75, 0.0, 0.5), (0.5, 0.5, 0.5)])
def test_translation_moves_image_and_mask_alike(fractions: tuple[float, float, float]) -> None:
    array = smooth_scan()
    labels = block(array.shape, (slice(9, 15), slice(14, 25), slice(16, 31)))
    image, mask = volume(array), volume(labels)
    shifted, moved = Translation(*fractions).apply(image, mask, RNG)
    x, y, z = fractions
    _, n_y, n_x = array.shape
    expected = (
        100 + 30 * np.sin(0.4 * (np.arange(n_x) - x))[None, None, :] * np.cos(0.3 * (np.arange(n_y) - y))[None, :, None]
    )
    expected = expected + 20 * np.sin(0.5 * (np.arange(24) - z) + 1)[:, None, None]
    at = moved.array > 0
    np.testing.assert_allclose(shifted.array[at], expected[at], atol=0.05)
    centre = np.argwhere(at).mean(axis=0) - np.argwhere(labels).mean(axis=0)
    assert np.abs(centre - (z, y, x)).max() <= 0.5 + 1e-9
    assert at.sum() == pytest.approx((labels > 0).sum(), rel=0.05)


def test_only_the_surroundings_change() -> None:
    array = np.random.default_rng(2).normal(0, 100, (20, 120, 120)).astype(np.float32)
    labels = block(array.shape, (slice(8, 12), slice(20, 26), slice(20, 26)))
    labels[8:12, 90:96, 90:96] = 2
    shifted, moved = Translation(0.25, 0.25, 0.0).apply(
        volume(array, (1.0, 1.0, 1.0)), volume(labels, (1.0, 1.0, 1.0)), RNG
    )
    differs = (shifted.array != array).any(axis=0)
    assert np.unique(moved.array).tolist() == [0, 1, 2]
    assert differs[20:26, 20:26].all()
    assert differs[90:96, 90:96].all()
    assert not differs[55:60, 55:60].any()


def test_neighbours_never_overlap_and_all_stay() -> None:
    labels = np.zeros((16, 40, 40), dtype=np.int32)
    labels[4:12, 10:20, 10:30] = 1
    labels[4:12, 20:30, 10:30] = 2
    for motion in (Rotation(33.0), Translation(0.5, 0.5, 0.5)):
        _, moved = motion.apply(volume(np.zeros(labels.shape)), volume(labels), RNG)
        assert np.unique(moved.array).tolist() == [0, 1, 2]
        assert (moved.array == 1).sum() == pytest.approx(1600, rel=0.05)
        assert (moved.array == 2).sum() == pytest.approx(1600, rel=0.05)


def test_a_lesion_that_leaves_the_image_is_gone() -> None:
    labels = np.zeros((8, 20, 200), dtype=np.int32)
    labels[3:6, 8:12, 4:14] = 1
    labels[3:6, 8:12, 186:196] = 2
    labels[3:6, 8:12, 95:105] = 3
    image = volume(np.zeros(labels.shape, dtype=np.int16))
    _, moved = Rotation(90.0).apply(image, volume(labels), RNG)
    assert np.unique(moved.array).tolist() == [0, 3]


def test_headers_and_types_stay() -> None:
    array = smooth_scan(dtype=np.int16)
    labels = block(array.shape, (slice(9, 15), slice(14, 25), slice(16, 31)), label=7)
    image = replace(volume(array), flags=("hu_padding_clipped",))
    turned, moved = Rotation(10.0).apply(image, volume(labels), RNG)
    assert (turned.spacing, turned.origin, turned.direction, turned.flags) == (
        image.spacing,
        image.origin,
        image.direction,
        image.flags,
    )
    assert turned.array.dtype == np.int16
    assert np.unique(moved.array).tolist() == [0, 7]
