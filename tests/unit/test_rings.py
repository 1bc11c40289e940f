"""Rings, cores and rims against solids whose volumes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import IDENTITY, SPACINGS, Point, Scene

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.rings import (
    MIN_ACHIEVED,
    core_and_rim,
    distance_inside,
    distance_outside,
    healthy_liver,
    largest_lesion,
    peritumoural_ring,
    planned_remnant,
    split_components,
    tumour_surroundings,
)


def ball_ml(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3 / 1000


def ellipsoid_parallel_ml(radii: Point, width: float) -> float:
    """Volume of an ellipsoid and everything within ``width`` of it (Steiner: volume, surface, mean curvature)."""
    theta = (np.arange(400) + 0.5) * np.pi / 400
    phi = (np.arange(800) + 0.5) * 2 * np.pi / 800
    n = np.stack(
        np.broadcast_arrays(
            np.sin(theta)[:, None] * np.cos(phi), np.sin(theta)[:, None] * np.sin(phi), np.cos(theta)[:, None]
        )
    )
    a = np.array(radii)[:, None, None]
    support = np.sqrt(((a * n) ** 2).sum(0))
    weight = np.sin(theta)[:, None] * (np.pi / 400) * (2 * np.pi / 800)
    # Gauss map: curvature-weighted integrals over the sphere of normals.
    surface = (weight * np.prod(radii) ** 2 / support**4).sum()
    mean_curvature = (weight * support).sum()
    volume = 4 / 3 * np.pi * np.prod(radii)
    return float(volume + surface * width + mean_curvature * width**2 + 4 / 3 * np.pi * width**3) / 1000


def assert_thickness(got_ml: float, true_ml: float, outer_area_mm2: float, spacing: Point) -> None:
    """Within 2 % of the volume, or half the shortest voxel side of mean thickness."""
    error_mm = abs(got_ml - true_ml) * 1000 / outer_area_mm2
    assert error_mm <= 0.5 * min(spacing) or abs(got_ml / true_ml - 1) <= 0.02


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [10.0, 18.0])
@pytest.mark.parametrize("width", [5.0, 10.0])
def test_ring_of_a_sphere(spacing: Point, radius: float, width: float) -> None:
    size = 2 * (radius + width + 8)
    scene = Scene((size, size, size), spacing)
    ring = peritumoural_ring(scene.labels(scene.sphere(radius)), 1, width)
    true = ball_ml(radius + width) - ball_ml(radius)
    assert_thickness(ring.volume_ml, true, 4 * np.pi * (radius + width) ** 2, spacing)
    assert ring.achieved == 1.0
    assert not ring.too_clipped
    # Each voxel on its own: no farther from the true surface than a voxel is long.
    distance = np.sqrt(scene.x**2 + scene.y**2 + scene.z**2) - radius
    assert distance[ring.inside].max() <= width + max(spacing) / 2
    missed = (distance > 0) & (distance <= width - max(spacing) / 2) & ~scene.sphere(radius)
    assert not (missed & ~ring.inside).any()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radii", [(20.0, 12.0, 15.0), (10.0, 16.0, 20.0)])
def test_ring_of_an_ellipsoid(spacing: Point, radii: Point) -> None:
    width = 6.0
    scene = Scene(tuple(2 * (r + width + 8) for r in radii), spacing)  # type: ignore[arg-type]
    ring = peritumoural_ring(scene.labels(scene.ellipsoid(radii)), 1, width)
    true = ellipsoid_parallel_ml(radii, width) - 4 / 3 * np.pi * float(np.prod(radii)) / 1000
    area = (ellipsoid_parallel_ml(radii, width + 0.05) - ellipsoid_parallel_ml(radii, width - 0.05)) * 1e4
    assert_thickness(ring.volume_ml, true, area, spacing)


def test_the_parallel_volume_of_a_sphere_is_a_sphere() -> None:
    assert ellipsoid_parallel_ml((10, 10, 10), 5) == pytest.approx(ball_ml(15), rel=1e-4)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_ring_of_a_box(spacing: Point) -> None:
    width = 6.0
    scene = Scene((56, 50, 62), spacing, (0, 0, 0))
    inside = scene.box((14, 11, 17))
    # The digitised box is a box too: its edges are whole numbers of voxels.
    counts = [inside.any(axis=axes).sum() for axes in ((0, 1), (0, 2), (1, 2))]
    lengths = [n * step for n, step in zip(counts, spacing, strict=True)]
    a, b, c = lengths
    surface = 2 * (a * b + b * c + a * c)
    true = (surface * width + np.pi * (a + b + c) * width**2 + 4 / 3 * np.pi * width**3) / 1000
    area = surface + 2 * np.pi * (a + b + c) * width + 4 * np.pi * width**2
    ring = peritumoural_ring(scene.labels(inside), 1, width)
    assert abs(ring.volume_ml - true) * 1000 / area <= min(spacing)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_core_of_a_sphere(spacing: Point) -> None:
    scene = Scene((50, 50, 50), spacing)
    lesions = scene.labels(scene.sphere(18))
    core, rim = core_and_rim(lesions, 1, 5.0)
    assert not (core & rim).any()
    assert ((core | rim) == scene.sphere(18)).all()
    got = core.sum() * lesions.voxel_volume_ml
    assert_thickness(got, ball_ml(13), 4 * np.pi * 13**2, spacing)


def test_small_lesions_have_no_core() -> None:
    scene = Scene((20, 20, 20), (1, 1, 1))
    core, rim = core_and_rim(scene.labels(scene.sphere(4)), 1, 5.0)
    assert not core.any()
    assert (rim == scene.sphere(4)).all()


def test_half_a_ring_in_a_half_liver() -> None:
    """A lesion on the capsule: the ring inside the half space x > 0 is half the ring, and is flagged below one half."""
    scene = Scene((60, 60, 60), (1, 1, 1), (0.5, 0.5, 0.5))
    lesions = scene.labels(scene.sphere(10))
    halved = peritumoural_ring(lesions, 1, 5.0, liver=np.broadcast_to(scene.x > 0, scene.shape))
    full = peritumoural_ring(lesions, 1, 5.0)
    assert halved.unclipped_ml == full.volume_ml
    assert halved.achieved == pytest.approx(0.5, abs=0.01)
    less = peritumoural_ring(lesions, 1, 5.0, liver=np.broadcast_to(scene.x > 5, scene.shape))
    assert less.achieved < MIN_ACHIEVED
    assert less.too_clipped
    assert not full.too_clipped
    nothing = peritumoural_ring(lesions, 1, 5.0, liver=np.zeros(scene.shape, dtype=bool))
    assert nothing.achieved == 0
    assert nothing.too_clipped


def test_other_lesions_and_vessels_are_no_ring() -> None:
    scene = Scene((60, 40, 40), (1, 1, 1))
    one, other = scene.sphere(8), scene.sphere(6, (16, 0, 0))
    vessel = scene.box((2, 30, 2), (-10, 0, 0))
    ring = peritumoural_ring(scene.labels(one, other), 1, 5.0, vessels=[vessel])
    assert not (ring.inside & (one | other | vessel)).any()
    assert 0.8 < ring.achieved < 1.0


def test_healthy_liver_and_remnant_hold_no_tumour() -> None:
    scene = Scene((60, 40, 40), (1, 1, 1))
    liver, remnant = scene.ellipsoid((28, 18, 18)), scene.ellipsoid((28, 18, 18)) & (scene.x > 0)
    lesions = scene.labels(scene.sphere(5, (1, 0, 0)))
    assert (healthy_liver(liver, lesions) == (liver & (lesions.array == 0))).all()
    assert (planned_remnant(remnant, lesions) == (remnant & (lesions.array == 0))).all()


def test_components_are_numbered_by_size() -> None:
    scene = Scene((60, 40, 40), (1, 1, 1))
    mask = scene.volume((scene.sphere(4, (-15, 0, 0)) | scene.sphere(7) | scene.sphere(5, (18, 5, 0))).astype(int) * 9)
    found = split_components(mask)
    assert [int(n) for n in np.unique(found.array)] == [0, 1, 2, 3]
    assert (found.array == 1).sum() == scene.sphere(7).sum()
    assert (found.array == 3).sum() == scene.sphere(4, (-15, 0, 0)).sum()
    assert largest_lesion(found) == 1
    diagonal = np.zeros((3, 3, 3), dtype=int)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1
    assert split_components(Volume(diagonal, (1, 1, 1), (0, 0, 0), IDENTITY)).array.max() == 1


@pytest.mark.parametrize(
    ("label", "width", "error", "text"),
    [
        (1, 0.0, ConfigError, "must be positive"),
        (1, -3.0, ConfigError, "must be positive"),
        (1, float("nan"), ConfigError, "must be positive"),
        (4, 5.0, InputError, "does not hold this lesion"),
    ],
)
def test_impossible_rings_are_refused(label: int, width: float, error: type[Exception], text: str) -> None:
    scene = Scene((20, 20, 20), (1, 1, 1))
    lesions = scene.labels(scene.sphere(4))
    with pytest.raises(error, match=text):
        peritumoural_ring(lesions, label, width)
    with pytest.raises(error, match=text):
        core_and_rim(lesions, label, width)


def test_an_empty_mask_has_no_largest_lesion() -> None:
    with pytest.raises(InputError, match="holds no lesion"):
        largest_lesion(Volume(np.zeros((3, 3, 3), dtype=np.int32), (1, 1, 1), (0, 0, 0), IDENTITY))


def test_a_region_that_fills_the_array_has_no_surface() -> None:
    full = np.ones((3, 3, 3), dtype=bool)
    assert np.isinf(distance_inside(full, (1, 1, 1))).all()
    assert (distance_outside(full, (1, 1, 1)) == 0).all()


SHAPES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.pad(np.random.default_rng(seed).random((4, 5, 6)) < 0.5, 5) | _one_voxel()
)


def _one_voxel() -> np.ndarray:
    array = np.zeros((14, 15, 16), dtype=bool)
    array[6, 7, 8] = True
    return array


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, axis=st.integers(0, 2), width=st.sampled_from([2.0, 3.5]))
def test_flips_and_shifts_carry_the_ring_along(shape: np.ndarray, axis: int, width: float) -> None:
    spacing = (0.9, 1.1, 2.0)
    lesions = Volume(shape.astype(np.int32), spacing, (0, 0, 0), IDENTITY)
    ring = peritumoural_ring(lesions, 1, width).inside
    flipped = peritumoural_ring(replace(lesions, array=np.flip(lesions.array, axis).copy()), 1, width).inside
    assert (np.flip(flipped, axis) == ring).all()
    moved = np.pad(lesions.array, [(3, 0), (0, 2), (1, 1)])
    shifted = peritumoural_ring(replace(lesions, array=moved), 1, width).inside
    assert (shifted[3:, :-2, 1:-1] == ring).all()
    turned = replace(lesions, array=lesions.array.transpose(0, 2, 1).copy(), spacing=(1.1, 0.9, 2.0))
    assert (peritumoural_ring(turned, 1, width).inside.transpose(0, 2, 1) == ring).all()


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES)
def test_wider_rings_hold_narrower_ones(shape: np.ndarray) -> None:
    lesions = Volume(shape.astype(np.int32), (1.0, 1.0, 1.5), (0, 0, 0), IDENTITY)
    narrow, wide = (peritumoural_ring(lesions, 1, width) for width in (1.5, 3.0))
    assert not (narrow.inside & ~wide.inside).any()
    assert not (wide.inside & shape).any()
    core, rim = core_and_rim(lesions, 1, 1.2)
    assert ((core ^ rim) == shape).all()


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, width=st.sampled_from([2.0, 3.5]), seed=st.integers(0, 99))
def test_surroundings_are_the_ring_of_all_lesions_together(shape: np.ndarray, width: float, seed: int) -> None:
    labels = np.where(shape, np.random.default_rng(seed).integers(1, 4, shape.shape), 0).astype(np.uint8)
    lesions = Volume(labels, (0.9, 1.1, 2.0), (0, 0, 0), IDENTITY)
    together = peritumoural_ring(replace(lesions, array=shape.astype(np.uint8)), 1, width).inside
    liver, vessel = (np.random.default_rng(seed + n).random(shape.shape) < 0.8 for n in (100, 200))
    found = tumour_surroundings(lesions, width, liver=liver, vessels=[vessel])
    assert (found == together & liver & ~vessel).all()


def test_surroundings_of_nothing() -> None:
    empty = Volume(np.zeros((4, 5, 6), dtype=np.uint8), (1, 1, 1), (0, 0, 0), IDENTITY)
    liver = np.ones((4, 5, 6), dtype=bool)
    assert not tumour_surroundings(empty, 5.0, liver=liver).any()
    with pytest.raises(ConfigError, match="width of a ring"):
        tumour_surroundings(empty, 0.0, liver=liver)
