"""Regions grown, shrunk and redrawn: volumes, distances in mm on coarse slices, other regions, chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from solids import SPACINGS, Scene

from radiomics_crlm.features.contours import WAVE_MM, Displacement, Growth, smooth_field
from radiomics_crlm.imaging.geometry import Volume

SIZE = (64.0, 64.0, 64.0)


def changed(perturbation: Growth | Displacement, mask: Volume, seed: int = 0) -> np.ndarray:
    image = Volume(np.zeros(mask.array.shape, dtype=np.int16), mask.spacing, mask.origin, mask.direction)
    same, moved = perturbation.apply(image, mask, np.random.default_rng(seed))
    assert same is image
    return moved.array


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("share", [-0.4, -0.15, 0.15, 0.4])
def test_growth_by_a_share_gives_that_volume(spacing: tuple[float, float, float], share: float) -> None:
    scene = Scene(SIZE, spacing)
    mask = scene.labels(scene.ellipsoid((12.0, 9.0, 14.0)))
    before, after = mask.array == 1, changed(Growth(share), mask) == 1
    assert after.sum() == before.sum() + round(share * before.sum())
    assert (before <= after).all() if share > 0 else (after <= before).all()


@pytest.mark.parametrize("spacing", SPACINGS[2:])
@pytest.mark.parametrize("share", [-0.3, 0.3])
def test_growth_by_a_share_is_even_all_around(spacing: tuple[float, float, float], share: float) -> None:
    """A ball stays a ball: no voxel is more than a voxel's diagonal from the sphere of the wanted volume."""
    scene, radius = Scene(SIZE, spacing), 14.0
    after = changed(Growth(share), scene.labels(scene.sphere(radius))) == 1
    wanted = radius * (1 + share) ** (1 / 3)
    away = np.sqrt(scene.x**2 + scene.y**2 + scene.z**2)
    slack = float(np.linalg.norm(spacing)) / 2 + 0.3
    assert away[after].max() <= wanted + slack
    assert away[~after].min() >= wanted - slack


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("distance", [-4.0, 2.0, 5.0])
def test_growth_by_a_distance_is_in_mm(spacing: tuple[float, float, float], distance: float) -> None:
    scene, radius = Scene(SIZE, spacing), 14.0
    after = changed(Growth(distance, "mm"), scene.labels(scene.sphere(radius))) == 1
    volume = float(after.sum()) * float(np.prod(spacing))
    assert (volume * 3 / (4 * np.pi)) ** (1 / 3) == pytest.approx(radius + distance, abs=0.4)


def test_a_millimetre_adds_no_slice_of_five() -> None:
    scene = Scene(SIZE, (0.8, 0.8, 5.0))
    mask = scene.labels(scene.box((12.0, 12.0, 12.0)))
    after = changed(Growth(1.0, "mm"), mask)
    assert (after.any(axis=(1, 2)) == mask.array.any(axis=(1, 2))).all()
    assert after.any(axis=(0, 1)).sum() == mask.array.any(axis=(0, 1)).sum() + 2


def test_regions_never_take_voxels_from_each_other() -> None:
    scene = Scene(SIZE, (1.0, 1.0, 1.0))
    left, right = scene.box((6.0, 8.0, 8.0), (-6.6, 0.0, 0.0)), scene.box((6.0, 8.0, 8.0), (5.6, 0.0, 0.0))
    mask = scene.labels(left, right)
    for perturbation in (Growth(0.5), Growth(4.0, "mm"), Displacement(2.0)):
        after = changed(perturbation, mask)
        assert not (after[left] == 2).any()
        assert not (after[right] == 1).any()
    after = changed(Growth(0.5), mask)
    assert (after == 1).sum() == left.sum() + round(0.5 * left.sum())


def test_growth_ends_at_the_image() -> None:
    scene = Scene((20.0, 20.0, 20.0), (1.0, 1.0, 1.0))
    whole = np.ones(scene.shape, dtype=bool)
    assert (changed(Growth(0.5), scene.labels(whole)) == 1).all()
    half = scene.z + np.zeros(scene.shape) > 0
    assert (changed(Growth(5.0), scene.labels(half)) == 1).all()


def test_what_is_too_small_vanishes_and_the_other_stays() -> None:
    scene = Scene(SIZE, (1.0, 1.0, 1.0))
    mask = scene.labels(scene.sphere(12.0), scene.sphere(1.5, (24.0, 24.0, 24.0)))
    after = changed(Growth(-3.0, "mm"), mask)
    assert np.unique(after).tolist() == [0, 1]


def test_one_voxel_grows() -> None:
    scene = Scene((20.0, 20.0, 20.0), (1.0, 1.0, 1.0))
    single = np.zeros(scene.shape, dtype=bool)
    single[10, 10, 10] = True
    assert changed(Growth(3.0), scene.labels(single)).sum() == 4
    assert changed(Growth(0.1), scene.labels(single)).sum() == 1


@pytest.mark.parametrize("spacing", [SPACINGS[3], SPACINGS[4]])
def test_displacement_has_the_given_size_and_no_drift(spacing: tuple[float, float, float]) -> None:
    """On a ball, the radius in each direction is the old one plus the displacement."""
    scene, radius, sd = Scene((40.0, 40.0, 40.0), spacing), 12.0, 1.5
    mask = scene.labels(scene.sphere(radius))
    away = np.sqrt(scene.x**2 + scene.y**2 + scene.z**2)
    volumes, moved = [], []
    for seed in range(5):
        after = changed(Displacement(sd), mask, seed) == 1
        volumes.append(after.sum() / (mask.array == 1).sum())
        moved.append(np.abs(away[after != (mask.array == 1)] - radius).max())
    # The volume of a ball whose radius varies with that standard deviation. A ball has some six independent bumps, so
    # the mean of five seeds has a standard error of 0.07.
    assert np.mean(volumes) == pytest.approx(1 + 3 * (sd / radius) ** 2, abs=0.2)
    assert 1.5 * sd < np.mean(moved) < 4 * sd + max(spacing)


def test_displacement_in_a_plane_is_the_field() -> None:
    """A half space: the height of the new surface has the standard deviation that was asked for."""
    scene = Scene((70.0, 70.0, 16.0), (1.0, 1.0, 0.5))
    below = np.broadcast_to(scene.z < 0, scene.shape)
    heights = []
    for seed in range(4):
        after = changed(Displacement(1.5), scene.labels(below.copy()), seed) == 1
        heights.append(after.sum(axis=0) * 0.5 - below.sum(axis=0) * 0.5)
    assert np.mean(heights) == pytest.approx(0.0, abs=0.2)
    assert np.std(heights) == pytest.approx(1.5, rel=0.14)


@pytest.mark.parametrize("spacing", [SPACINGS[0], SPACINGS[3]])
def test_the_field_is_standard_and_as_long_as_it_says(spacing: tuple[float, float, float]) -> None:
    shape = tuple(int(70 / step) for step in reversed(spacing))
    fields = [smooth_field(np.random.default_rng(seed), shape, spacing, WAVE_MM) for seed in range(4)]
    values = np.stack(fields)
    assert np.mean(values) == pytest.approx(0.0, abs=0.15)
    assert np.mean(values**2) == pytest.approx(1.0, rel=0.2)
    for axis, step in zip((1, 2, 3), reversed(spacing), strict=True):
        lag = max(1, round(6.0 / step))
        a, b = (np.take(values, range(start, values.shape[axis] - lag + start), axis) for start in (0, lag))
        assert np.mean(a * b) == pytest.approx(np.exp(-((lag * step) ** 2) / (4 * WAVE_MM**2)), abs=0.12)


def test_cut_off_parts_are_dropped() -> None:
    scene = Scene((30.0, 30.0, 30.0), (1.0, 1.0, 1.0))
    small = scene.sphere(4.0)
    for seed in range(5):
        after = changed(Displacement(3.0), scene.labels(small), seed) == 1
        parts, count = ndimage.label(after, structure=np.ones((3, 3, 3)))
        assert all((small & (parts == n)).any() for n in range(1, count + 1))
