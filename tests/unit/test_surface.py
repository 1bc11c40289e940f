"""Mesh coefficients and axis eigenvalues against pyradiomics' own, on regions of every awkward kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from radiomics import cShape
from radiomics.shape import RadiomicsShape

from radiomics_crlm.errors import InputError
from radiomics_crlm.features.surface import axis_eigenvalues, mesh_coefficients

Spacing = tuple[float, float, float]
SPACINGS: list[Spacing] = [(1.0, 1.0, 1.0), (5.0, 0.78125, 0.78125), (0.7, 1.3, 2.9), (1e-2, 300.0, 1.0)]


def engine(mask: np.ndarray, spacing: Spacing) -> np.ndarray:
    surface, volume, diameters = cShape.calculate_coefficients(np.pad(mask, 1), np.array(spacing))
    return np.array([surface, volume, *diameters])


def ours(mask: np.ndarray, spacing: Spacing, **options: int) -> np.ndarray:
    surface, volume, diameters = mesh_coefficients(mask, spacing, **options)
    return np.array([surface, volume, *diameters])


def boxed(mask: np.ndarray) -> np.ndarray:
    inside = np.argwhere(mask)
    return mask[tuple(slice(a, b + 1) for a, b in zip(inside.min(axis=0), inside.max(axis=0), strict=True))]


def ellipsoid(radii: Spacing, tilt: float = 0.0) -> np.ndarray:
    grids = np.meshgrid(*(np.arange(-np.ceil(r) - 1, np.ceil(r) + 2) for r in radii), indexing="ij")
    z, y, x = (g / r for g, r in zip(grids, radii, strict=True))
    return (z + tilt * x) ** 2 + y**2 + x**2 <= 1


def noise(shape: tuple[int, int, int], share: float, seed: int) -> np.ndarray:
    mask = np.random.default_rng(seed).random(shape) < share
    mask.flat[seed % mask.size] = True
    return mask


def hollow() -> np.ndarray:
    mask = ellipsoid((6.0, 5.0, 7.0))
    mask[tuple(n // 2 for n in mask.shape)] = False
    return mask


def two_parts() -> np.ndarray:
    mask = np.zeros((20, 12, 9), dtype=bool)
    mask[1:4, 2:9, 0:3] = True
    mask[15:20, 11, 8] = True
    return mask


def line(axis: int, length: int) -> np.ndarray:
    return np.ones([length if a == axis else 1 for a in range(3)], dtype=bool)


REGIONS: dict[str, Callable[[], np.ndarray]] = {
    "one voxel": lambda: np.ones((1, 1, 1), dtype=bool),
    "two voxels": lambda: line(1, 2),
    "a line of slices": lambda: line(0, 9),
    "a line in a row": lambda: line(2, 17),
    "a diagonal line": lambda: np.eye(7, dtype=bool)[None].repeat(1, axis=0),
    "a diagonal in space": lambda: np.array([[[i == j == k for k in range(6)] for j in range(6)] for i in range(6)]),
    "a flat disc": lambda: ellipsoid((6.0, 6.0, 9.0))[7:8],
    "a flat sagittal disc": lambda: ellipsoid((6.0, 6.0, 9.0))[:, :, 9:10],
    "a full block": lambda: np.ones((4, 5, 6), dtype=bool),
    "corners that touch": lambda: np.indices((4, 4, 4)).sum(axis=0) % 2 == 0,
    "a hole": hollow,
    "two parts": two_parts,
    "a sphere": lambda: ellipsoid((9.0, 9.0, 9.0)),
    "a tilted ellipsoid": lambda: ellipsoid((5.0, 9.0, 14.0), tilt=0.4),
    "one empty slice between": lambda: np.array([1, 1, 0, 1], dtype=bool)[:, None, None].repeat(3, axis=1),
}


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("name", REGIONS)
def test_a_mesh_has_the_coefficients_of_the_engine(name: str, spacing: Spacing) -> None:
    mask = REGIONS[name]()
    np.testing.assert_allclose(ours(mask, spacing), engine(mask, spacing), rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", range(300))
def test_noise_has_the_coefficients_of_the_engine(seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    shape = tuple(int(n) for n in rng.integers(1, 12, 3))
    spacing = tuple(float(s) for s in rng.choice([0.5, 0.7421875, 1.0, 2.5, 5.0], 3))
    mask = noise(shape, rng.choice([0.02, 0.1, 0.3, 0.5, 0.7, 0.95]), seed)
    # the volume of an open mesh may be zero, which the engine reaches up to rounding
    np.testing.assert_allclose(ours(mask, spacing), engine(mask, spacing), rtol=1e-12, atol=1e-12)


@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)))
@settings(max_examples=200, deadline=None)
def test_any_small_mask_has_the_coefficients_of_the_engine(mask: np.ndarray) -> None:
    np.testing.assert_allclose(ours(mask, (2.0, 0.5, 1.0)), engine(mask, (2.0, 0.5, 1.0)), rtol=1e-12, atol=1e-12)


def test_all_configurations_occur_and_agree() -> None:
    mask = noise((16, 17, 18), 0.5, 7)
    blocks = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (2, 2, 2)).reshape(-1, 8)
    assert len(np.unique(blocks @ (1 << np.arange(8)))) == 256
    np.testing.assert_allclose(ours(mask, (3.0, 0.7, 0.8)), engine(mask, (3.0, 0.7, 0.8)), rtol=1e-12, atol=0)


def test_diameters_are_the_distances_of_the_engine_bit_by_bit() -> None:
    mask = ellipsoid((7.0, 10.0, 16.0), tilt=0.3)
    np.testing.assert_array_equal(ours(mask, (2.5, 0.78, 0.74))[2:], engine(mask, (2.5, 0.78, 0.74))[2:])


def test_a_large_sphere_approaches_its_formula() -> None:
    surface, volume, diameters = mesh_coefficients(ellipsoid((60.0, 60.0, 60.0)), (0.5, 0.5, 0.5))
    assert volume == pytest.approx(4 / 3 * np.pi * 30**3, rel=2e-3)
    assert surface == pytest.approx(4 * np.pi * 30**2, rel=0.1)  # staircase of the mesh
    assert diameters == pytest.approx((60.5,) * 4)  # vertices lie half a voxel outside the centres


def test_the_axes_of_the_array_and_of_the_spacing_belong_together() -> None:
    mask, spacing = ellipsoid((4.0, 6.0, 9.0), tilt=0.5), (3.0, 0.7, 1.1)
    surface, volume, (by_slice, by_column, by_row, overall) = mesh_coefficients(mask, spacing)
    turned = mesh_coefficients(np.ascontiguousarray(mask.transpose(2, 0, 1)), (1.1, 3.0, 0.7))
    assert turned[0] == pytest.approx(surface, rel=1e-2)  # which triangles fill a cube is not symmetric
    assert turned[1] == pytest.approx(volume, rel=1e-2)
    assert turned[2] == pytest.approx((by_row, by_slice, by_column, overall), rel=1e-14)


def test_a_margin_and_the_order_in_memory_change_nothing() -> None:
    mask = ellipsoid((5.0, 4.0, 6.0))
    expected = ours(boxed(mask), SPACINGS[1])
    np.testing.assert_allclose(ours(np.pad(boxed(mask), ((3, 0), (1, 2), (0, 5))), SPACINGS[1]), expected, rtol=1e-13)
    np.testing.assert_array_equal(ours(np.asfortranarray(boxed(mask)), SPACINGS[1]), expected)


def test_regions_with_few_vertices_keep_every_bit_of_the_engine() -> None:
    mask, spacing = ellipsoid((5.0, 6.0, 7.0)), (2.5, 0.78, 0.74)
    crossings = sum(int(np.abs(np.diff(np.pad(mask, 1).astype(int), axis=a)).sum()) for a in range(3))
    np.testing.assert_array_equal(ours(mask, spacing, exact_up_to=crossings), engine(mask, spacing))
    np.testing.assert_array_equal(ours(mask, spacing, exact_up_to=crossings - 1), ours(mask, spacing))


def test_an_empty_region_has_no_mesh() -> None:
    assert mesh_coefficients(np.zeros((3, 4, 5), dtype=bool), (1.0, 1.0, 1.0)) == (0.0, 0.0, (0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("name", [n for n in REGIONS if n != "one voxel"])
def test_axis_eigenvalues_are_those_of_the_engine_bit_by_bit(name: str) -> None:
    mask, spacing = boxed(REGIONS[name]()), (2.5, 0.78125, 0.7)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    expected = RadiomicsShape(image, image, label=1).eigenValues
    np.testing.assert_array_equal(axis_eigenvalues(mask, spacing), expected)


def test_axis_eigenvalues_of_a_block_follow_from_its_sides() -> None:
    found = axis_eigenvalues(np.ones((4, 10, 6), dtype=bool), (2.0, 1.0, 1.0))
    np.testing.assert_allclose(found, [(6**2 - 1) / 12, (4**2 - 1) / 12 * 4, (10**2 - 1) / 12], rtol=1e-14)


@pytest.mark.parametrize("function", [mesh_coefficients, axis_eigenvalues])
@pytest.mark.parametrize(
    ("mask", "spacing", "message"),
    [
        (np.ones((2, 2), dtype=bool), (1.0, 1.0, 1.0), r"three-dimensional mask; expected bool; got bool with 2 dim"),
        (np.ones((2, 2, 2), dtype=np.uint8), (1.0, 1.0, 1.0), r"expected bool; got uint8 with 3 dimensions"),
        (np.ones((2, 2, 2), dtype=bool), (1.0, 0.0, 1.0), r"no size; expected three positive spacings.*\(1\.0, 0\.0"),
        (np.ones((2, 2, 2), dtype=bool), (1.0, float("nan"), 1.0), r"no size.*nan"),
    ],
)
def test_what_is_no_region_is_refused(
    function: Callable[..., object], mask: np.ndarray, spacing: Spacing, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        function(mask, spacing)


def test_an_empty_region_has_no_axes() -> None:
    with pytest.raises(InputError, match="empty region has no axes"):
        axis_eigenvalues(np.zeros((2, 2, 2), dtype=bool), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.8, 0.8), (3.0, 0.7, 0.7)])
def test_axes_of_bodies_with_equal_ones_are_real_numbers(spacing: tuple[float, float, float]) -> None:
    """For balls, the solver of the engine may give conjugate pairs instead of two equal eigenvalues."""
    for radius in np.arange(4.0, 11.0, 0.25):
        reach = [int(radius / s) for s in spacing]
        z, y, x = np.meshgrid(*(s * np.arange(-n, n + 1) for s, n in zip(spacing, reach, strict=True)), indexing="ij")
        ball = z**2 + y**2 + x**2 <= radius**2
        values = axis_eigenvalues(ball, spacing)
        assert values.dtype == np.float64
        scatter = np.cov(np.argwhere(ball).T * np.array(spacing)[:, None], bias=True)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(scatter), rtol=1e-12)
