"""A region on a new grid: the engine's own resampling is the oracle, for every voxel and bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from radiomics import imageoperations
from scipy import ndimage

from radiomics_crlm.features import resampling
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.features.resampling import LabelPart, Need, needed_bytes, new_grid, region_on_grid, same_as_itk
from radiomics_crlm.imaging.volume import Volume, to_itk

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SKEW = (-0.36, 0.48, -0.8, 0.8, 0.6, 0.0, 0.48, -0.64, -0.6)
FILTERED = load_profiles().profiles["ct-portal-venous"]
PLAIN = Profile.model_validate({**FILTERED.model_dump(), "log_sigma_mm": None})


def changed(profile: Profile = FILTERED, **changes: Any) -> Profile:
    return Profile.model_validate({**profile.model_dump(), **changes})


def scan(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    direction: tuple[float, ...] = STRAIGHT,
    dtype: type = np.float64,
) -> Volume:
    values = np.random.default_rng(1).normal(40, 300, shape).astype(dtype)
    return Volume(values, spacing, (-31.7, 12.25, -400.5), direction)


def by_engine(image: Volume, labels: np.ndarray, profile: Profile) -> tuple[Volume, np.ndarray]:
    """The engine on the whole image."""
    found, mask = imageoperations.resampleImage(
        to_itk(image),
        to_itk(replace(image, array=labels.astype(np.uint32))),
        resampledPixelSpacing=list(profile.resample_mm or ()),
        interpolator=profile.interpolator,
        padDistance=profile.pad_voxels,
        label=1,
    )
    grid = Volume(sitk.GetArrayFromImage(found), found.GetSpacing(), found.GetOrigin(), found.GetDirection())
    return grid, sitk.GetArrayFromImage(mask) == 1


def ours(image: Volume, labels: np.ndarray, profile: Profile) -> resampling.OnGrid:
    box = ndimage.find_objects(labels)[0]
    start = (box[0].start, box[1].start, box[2].start)
    need: Need = "surroundings" if profile.filtered else "region"
    return region_on_grid(image, LabelPart(np.ascontiguousarray(labels[box]), start), 1, box, profile, need)


def assert_same(image: Volume, labels: np.ndarray, profile: Profile) -> None:
    found, (grid, inside) = ours(image, labels, profile), by_engine(image, labels, profile)
    assert (found.image.spacing, found.image.origin) == (grid.spacing, grid.origin)
    np.testing.assert_array_equal(found.inside, inside)
    assert found.image.array.dtype == image.array.dtype
    if profile.filtered:
        np.testing.assert_array_equal(found.image.array, grid.array)
    else:
        np.testing.assert_array_equal(found.image.array[inside], grid.array[inside])


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
    away = sum((a - c) ** 2 for a, c in zip(np.indices(shape), centre, strict=True))
    return (away <= radius**2).astype(np.uint8)


def test_this_machine_computes_as_itk_does() -> None:
    """All values of the tests below come from our interpolation, not from ITK's."""
    assert same_as_itk()


@pytest.mark.parametrize("direction", [STRAIGHT, SKEW])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
@pytest.mark.parametrize("spacing", [(0.8, 0.8, 2.5), (3.0, 3.0, 3.0), (0.7, 0.9, 1.0)])
@pytest.mark.parametrize("profile", [FILTERED, PLAIN])
def test_every_voxel_is_that_of_the_engine(
    direction: tuple[float, ...], dtype: type, spacing: tuple[float, float, float], profile: Profile
) -> None:
    image = scan((14, 40, 44), spacing, direction, dtype)
    assert_same(image, ball(image.array.shape, (7, 20, 20), 4.5), profile)
    assert_same(image, ball(image.array.shape, (13, 39, 0), 4.5), profile)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("direction", [STRAIGHT, SKEW])
def test_far_voxels_do_not_matter_to_the_last_bit(axis: int, direction: tuple[float, ...]) -> None:
    shape, centre = [18, 18, 18], [9, 9, 9]
    shape[axis], centre[axis] = 400, 190
    image = scan((shape[0], shape[1], shape[2]), (0.8, 0.9, 0.7), direction)
    labels = ball(image.array.shape, (centre[0], centre[1], centre[2]), 4.0)
    assert_same(image, labels, FILTERED)
    other = image.array.copy()
    np.moveaxis(other, axis, 0)[:100] = 1e6
    far = ours(replace(image, array=other), labels, FILTERED)
    np.testing.assert_array_equal(far.image.array, ours(image, labels, FILTERED).image.array)


@settings(max_examples=60, deadline=None)
@example((14, 14, 14), (5.0, 1.5, 0.35), (0.5, 2.0, 0.5), 4, 0, (-0.36, 0.48, -0.8, 0.8, 0.6, 0.0, 0.48, -0.64, -0.6))
@given(
    # along two voxels ITK reads memory beyond the image
    shape=st.tuples(*[st.integers(1, 24).filter(lambda n: n != 2)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.35, 0.5, 0.8, 1.0, 1.5, 2.5, 3.0, 5.0])] * 3),
    new=st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 3.0])] * 3),
    pad=st.integers(1, 8),
    seed=st.integers(0, 1000),
    direction=st.sampled_from([STRAIGHT, SKEW]),
)
def test_any_region_on_any_grid(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    new: tuple[float, float, float],
    pad: int,
    seed: int,
    direction: tuple[float, ...],
) -> None:
    image = scan(shape, spacing, direction)
    labels = (np.random.default_rng(seed).random(shape) < 0.05).astype(np.uint8)
    labels.flat[seed % labels.size] = 1
    assert_same(image, labels, changed(resample_mm=new, pad_voxels=pad))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_voxels_are_mirrored_as_often_as_it_takes(axis: int) -> None:
    """Mirrored without end, a line of two voxels is a periodic one."""
    shape = [9, 9, 9]
    shape[axis] = 2
    image = scan((shape[0], shape[1], shape[2]), (2.5, 2.5, 2.5))
    labels = np.ones(image.array.shape, dtype=np.uint8)
    found = ours(image, labels, FILTERED).image.array
    long = np.take(image.array, [0, 1] * 30, axis=axis)
    around = ours(replace(image, array=long), np.take(labels, [0] * 60, axis=axis), FILTERED).image.array
    inner = np.take(around, range(found.shape[axis]), axis=axis)
    np.testing.assert_allclose(found, inner, atol=1e-6)  # the recursion begins with 1e-10


def test_where_itk_computes_otherwise_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    image = scan((14, 40, 160), (0.8, 0.8, 2.5), SKEW)
    labels = ball(image.array.shape, (7, 20, 20), 4.5)
    expected = ours(image, labels, FILTERED)
    monkeypatch.setattr(resampling, "same_as_itk", lambda: False)
    found = ours(image, labels, FILTERED)
    np.testing.assert_array_equal(found.image.array, expected.image.array)
    np.testing.assert_array_equal(found.inside, expected.inside)
    assert_same(image, labels, FILTERED)


def test_a_wrong_bit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    same_as_itk.cache_clear()
    real = resampling.bspline.coefficients
    monkeypatch.setattr(resampling.bspline, "coefficients", lambda values: np.nextafter(real(values), np.inf))
    try:
        assert not same_as_itk()
    finally:
        same_as_itk.cache_clear()


def test_grid_that_stays_and_grid_that_ends() -> None:
    image = scan((20, 30, 40), (1.0, 1.0, 2.0))
    box = (slice(5, 9), slice(4, 8), slice(0, 40))
    assert new_grid(image, box, (1.0, 1.0, 2.0), 3) is None
    grid = new_grid(image, box, (2.0, 1.0, 1.0), 3)
    assert grid is not None
    assert grid.size == (20, 12, 15)
    thin = new_grid(image, (slice(5, 6), *box[1:]), (2.0, 1.0, 1.0), 3)
    assert thin is not None
    assert thin.spacing == (2.0, 1.0, 2.0)  # one slice keeps its thickness


def test_native_grid_is_cropped_unless_a_filter_looks() -> None:
    image = scan((10, 20, 30), (1.0, 1.0, 2.0), SKEW)
    labels = ball(image.array.shape, (5, 10, 15), 3.0)
    native = {"resample_mm": None, "interpolator": None}
    small, whole = ours(image, labels, changed(PLAIN, **native)), ours(image, labels, changed(**native))
    assert small.image.array.shape == (7, 7, 7)
    assert whole.image.array.shape == image.array.shape
    np.testing.assert_array_equal(small.image.array[small.inside], whole.image.array[whole.inside])
    corner = np.array(image.origin) + image.index_to_mm @ np.array([12, 7, 2])
    np.testing.assert_allclose(small.image.origin, corner)
    same = ours(image, labels, changed(resample_mm=(1.0, 1.0, 2.0), pad_voxels=2))
    assert same.image.array.shape == (10, 11, 11)


def test_labels_of_a_part() -> None:
    part = LabelPart(np.array([[[1, 2], [1, 1]]], dtype=np.uint8), (3, 4, 5))
    box = (slice(2, 5), slice(4, 5), slice(0, 7))
    found = part.inside(1, box)
    assert found.shape == (3, 1, 7)
    assert np.argwhere(found).tolist() == [[1, 0, 5]]
    assert not part.inside(1, (slice(0, 3), slice(0, 4), slice(0, 5))).any()
    assert not part.inside(7, box).any()


def test_memory_grows_with_region_and_filters() -> None:
    image = scan((30, 60, 60), (1.0, 1.0, 2.0))
    small, large = (slice(5, 9), slice(4, 12), slice(4, 12)), (slice(2, 28), slice(4, 50), slice(4, 50))
    plain, filtered = (needed_bytes(image, large, p) for p in (PLAIN, FILTERED))
    assert needed_bytes(image, small, PLAIN) < plain < filtered
    assert needed_bytes(image, large, changed(lbp_3d=True)) > 5e8 > filtered
    native = changed(resample_mm=None, interpolator=None)
    assert needed_bytes(image, small, native) == needed_bytes(image, large, native)  # filters see the whole image


def test_ibsi_grid_is_centred_and_rounded() -> None:
    image = scan((12, 20, 20), (1.0, 1.0, 3.0), dtype=np.int16)
    labels = ball(image.array.shape, (6, 10, 10), 5.0)
    found = ours(image, labels, changed(PLAIN, grid="ibsi", resample_mm=(2, 2, 2), interpolator="sitkLinear"))
    assert found.image.spacing == (2.0, 2.0, 2.0)
    assert found.image.array.dtype.kind == "i"
    assert found.inside.sum() * 8.0 == pytest.approx(labels.sum() * 3.0, rel=0.2)
