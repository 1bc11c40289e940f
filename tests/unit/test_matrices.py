"""Texture matrices and grey levels against the C code and the binning of pyradiomics, element by element."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from radiomics import cMatrices, imageoperations

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features import texture_kernels
from radiomics_crlm.features.matrices import (
    TextureMatrices,
    discretise,
    glcm,
    gldm,
    glrlm,
    glszm,
    ngtdm,
    texture_matrices,
    zone_sizes,
)

DISTANCES = np.array([1])
Case = tuple[np.ndarray, int, bool]


def engine(levels: np.ndarray, n_levels: int, force_2d: bool = False, alpha: int = 0) -> TextureMatrices:
    """What pyradiomics computes, zone sizes without the empty columns."""
    mask = levels > 0
    where = (force_2d, 0)
    pairs, angles = cMatrices.calculate_glcm(levels, mask, DISTANCES, n_levels, *where)
    runs, run_angles = cMatrices.calculate_glrlm(levels, mask, n_levels, max(levels.shape), *where)
    np.testing.assert_array_equal(angles, run_angles)
    zones = cMatrices.calculate_glszm(levels, mask, n_levels, int(mask.sum()), *where)
    present = np.flatnonzero(zones.sum(axis=(0, 1)))
    return TextureMatrices(
        angles=angles,
        glcm=pairs,
        glrlm=runs,
        glszm=zones[:, :, present],
        zone_sizes=present + 1,
        gldm=cMatrices.calculate_gldm(levels, mask, DISTANCES, n_levels, alpha, *where),
        ngtdm=cMatrices.calculate_ngtdm(levels, mask, DISTANCES, n_levels, *where),
    )


def assert_identical(found: TextureMatrices, expected: TextureMatrices) -> None:
    for name in TextureMatrices.__dataclass_fields__:
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.shape == theirs.shape, name
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def random_levels(seed: int, sides: tuple[int, int] = (1, 10)) -> tuple[np.ndarray, int]:
    """A region of any shape: full or sparse, of one level or many, in patches or noise."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(*sides, size=3))
    n_levels = int(rng.choice([1, 2, 3, 6, 20, 200]))
    levels = rng.integers(1, n_levels + 1, shape).astype(np.int32)
    if rng.random() < 0.5:  # patches: long runs and large zones
        levels = np.ascontiguousarray(levels[tuple(np.ix_(*(np.arange(s) // 3 for s in shape)))])
    levels[rng.random(shape) > rng.choice([0.02, 0.1, 0.5, 0.9, 1.0])] = 0
    levels.flat[rng.integers(levels.size)] = n_levels
    return levels, n_levels


def has_neighbours(levels: np.ndarray, force_2d: bool) -> bool:
    return max(levels.shape[1:] if force_2d else levels.shape) > 1


def block(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.int32)


def named_regions() -> Iterator[tuple[str, np.ndarray, int]]:
    rng = np.random.default_rng(7)
    yield "full box, one level", block(5, 6, 7), 1
    yield "level above all that occur", block(3, 3, 3), 9
    yield "only every third level occurs", 3 * rng.integers(1, 8, (6, 5, 4)).astype(np.int32), 21
    yield "one slice", rng.integers(1, 4, (1, 9, 8)).astype(np.int32), 3
    yield "one column of voxels", rng.integers(1, 3, (9, 1, 1)).astype(np.int32), 2
    yield "one row of voxels", rng.integers(1, 3, (1, 1, 9)).astype(np.int32), 2
    yield "thin in y", rng.integers(1, 3, (6, 1, 7)).astype(np.int32), 2
    yield "thin in x", rng.integers(1, 3, (6, 7, 1)).astype(np.int32), 2
    one = np.zeros((3, 3, 3), dtype=np.int32)
    one[1, 1, 1] = 2
    yield "one voxel in a larger array", one, 3
    apart = np.zeros((7, 8, 9), dtype=np.int32)
    apart[:3, :3, :3], apart[5:, 5:, 6:] = 1, 2
    yield "two parts that do not touch", apart, 2
    corners = np.zeros((5, 5, 5), dtype=np.int32)
    corners[0, 0, 0] = corners[2, 2, 2] = corners[4, 4, 4] = corners[0, 4, 2] = 1
    yield "voxels that share lines but do not touch", corners, 1
    checks = (np.indices((6, 6, 6)).sum(axis=0) % 2 + 1).astype(np.int32)
    yield "a chess board", checks, 2
    comb = np.zeros((5, 9, 30), dtype=np.int32)
    comb[:, ::2], comb[2, :, 29] = 1, 1
    yield "a comb, joined at its last voxels", comb, 1
    yield "levels as large as int16", np.where(rng.random((4, 4, 4)) < 0.5, 700, 650).astype(np.int32), 700
    yield "longer than a block of the kernels", rng.integers(1, 3, (2, 3, 1500)).astype(np.int32), 2


@pytest.mark.parametrize("force_2d", [False, True])
@pytest.mark.parametrize(("name", "levels", "n_levels"), [pytest.param(*r, id=r[0]) for r in named_regions()])
def test_named_regions_as_pyradiomics(name: str, levels: np.ndarray, n_levels: int, force_2d: bool) -> None:
    if has_neighbours(levels, force_2d):
        assert_identical(texture_matrices(levels, n_levels, force_2d=force_2d), engine(levels, n_levels, force_2d))
    else:
        with pytest.raises(InputError, match="can have a neighbour"):
            texture_matrices(levels, n_levels, force_2d=force_2d)


def test_random_regions_as_pyradiomics() -> None:
    seen = 0
    for seed in range(600):
        levels, n_levels = random_levels(seed)
        force_2d, alpha = seed % 2 == 1, seed % 3
        if has_neighbours(levels, force_2d):
            found = texture_matrices(levels, n_levels, alpha=alpha, force_2d=force_2d)
            assert_identical(found, engine(levels, n_levels, force_2d, alpha))
            seen += 1
    assert seen > 500


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_larger_regions_as_pyradiomics(seed: int) -> None:
    levels, n_levels = random_levels(seed, (30, 60))
    found = texture_matrices(levels, n_levels, alpha=seed % 2, force_2d=seed % 4 == 3)
    assert_identical(found, engine(levels, n_levels, seed % 4 == 3, seed % 2))


def ball(side: int) -> np.ndarray:
    """Smooth grey levels in a ball with a hole: long runs, zones that meet late."""
    z, y, x = np.indices((side,) * 3) - (side - 1) / 2
    radius = np.sqrt(z**2 + y**2 + x**2)
    waves = 4 + 3 * np.sin(x / 5) * np.cos(y / 7) + np.sin(z / 3)
    return np.where((radius <= side / 2) & (radius > side / 6), waves, 0).astype(np.int32)


def test_smooth_region_as_pyradiomics() -> None:
    levels = ball(61)
    assert_identical(texture_matrices(levels, 8), engine(levels, 8))


def test_each_matrix_alone_equals_the_common_pass() -> None:
    levels, n_levels = ball(21), 8
    for force_2d in (False, True):
        together = texture_matrices(levels, n_levels, max_run=25, alpha=1, force_2d=force_2d)
        pairs, angles = glcm(levels, n_levels, force_2d)
        runs, run_angles = glrlm(levels, n_levels, 25, force_2d)
        zones, sizes = zone_sizes(levels, n_levels, force_2d)
        alone = TextureMatrices(
            angles=angles,
            glcm=pairs,
            glrlm=runs,
            glszm=zones,
            zone_sizes=sizes,
            gldm=gldm(levels, n_levels, 1, force_2d),
            ngtdm=ngtdm(levels, n_levels, force_2d),
        )
        assert_identical(together, alone)
        np.testing.assert_array_equal(angles, run_angles)


def test_zones_as_wide_as_pyradiomics_makes_them() -> None:
    for levels, n_levels in ((ball(15), 8), random_levels(3)):
        theirs = cMatrices.calculate_glszm(levels, levels > 0, n_levels, int((levels > 0).sum()), False, 0)
        np.testing.assert_array_equal(glszm(levels, n_levels), theirs)


def test_runs_keep_the_width_asked_for() -> None:
    levels = random_levels(5)[0]
    theirs, _ = cMatrices.calculate_glrlm(levels, levels > 0, 200, 40, False, 0)
    np.testing.assert_array_equal(glrlm(levels, 200, 40)[0], theirs)


def test_counts_add_up() -> None:
    levels = ball(31)
    found = texture_matrices(levels, 8)
    voxels = np.bincount(levels[levels > 0], minlength=9)[1:]
    np.testing.assert_array_equal(found.gldm.sum(axis=2)[0], voxels)
    np.testing.assert_array_equal((found.glszm * found.zone_sizes).sum(axis=2)[0], voxels)
    lengths = np.arange(1, 32)[:, None]
    np.testing.assert_array_equal((found.glrlm * lengths).sum(axis=2)[0], np.repeat(voxels[:, None], 13, axis=1))


def test_results_belong_to_the_caller() -> None:
    levels = ball(9)
    glcm(levels, 8)[1][:] = 99
    assert glcm(levels, 8)[1].max() == 1


def test_every_kernel_is_compiled_once() -> None:
    levels = ball(9)
    locked = levels.copy()
    locked.flags.writeable = False
    for force_2d in (False, True):
        for array in (levels, locked, np.ascontiguousarray(levels[4:5])):
            texture_matrices(array, 8, alpha=np.int32(1).item(), force_2d=force_2d)
            discretise(array[array > 0].astype(float), bin_width=2)
            discretise(locked[4, 4], bin_count=3)
    kernels = [k for _, k in inspect.getmembers(texture_kernels) if hasattr(k, "signatures")]
    assert len(kernels) > 10
    assert max(len(k.signatures) for k in kernels) == 1


@pytest.mark.parametrize(
    ("levels", "n_levels", "message"),
    [
        (block(3, 3, 3).tolist(), 1, "not an array of grey levels.*got list"),
        (block(3, 3, 3).astype(np.int64), 1, "not an array of grey levels.*got int64 with 3 axes"),
        (block(3, 3), 1, "got int32 with 2 axes"),
        (block(3, 3, 4)[:, :, ::2], 1, "view with gaps"),
        (np.asfortranarray(block(3, 4, 5)), 1, "view with gaps"),
        (block(0, 3, 3), 1, "the region is empty"),
        (0 * block(3, 3, 3), 1, "the region is empty"),
        (block(3, 3, 3), 0, "n_levels.*expected 1 to 32767; got 0"),
        (block(3, 3, 3), 40_000, "n_levels.*wider bins"),
        (2 * block(3, 3, 3), 1, "grey levels outside their range"),
        (block(3, 3, 3) - np.eye(3, dtype=np.int32) * 2, 1, "grey levels outside their range"),
        (block(1, 1, 1), 1, "can have a neighbour"),
        (block(1, 1, 40_000), 1, "too long.*32767"),
    ],
)
def test_regions_that_are_refused(levels: np.ndarray, n_levels: int, message: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: texture_matrices(levels, n_levels),
        lambda: glcm(levels, n_levels),
        lambda: glrlm(levels, n_levels, 5),
        lambda: glszm(levels, n_levels),
        lambda: gldm(levels, n_levels),
        lambda: ngtdm(levels, n_levels),
    ]
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()


def test_settings_that_are_refused() -> None:
    with pytest.raises(InputError, match="max_run.*at least 4, the longest side of the box; got 3"):
        glrlm(block(3, 3, 4), 1, 3)
    for alpha in (-1, 0.5):
        with pytest.raises(ConfigError, match="alpha.*whole number"):
            gldm(block(3, 3, 3), 1, alpha)


# --- grey levels ---


def as_pyradiomics(values: np.ndarray, **settings: float) -> tuple[np.ndarray, np.ndarray]:
    image = values.reshape(1, 1, -1)
    binned, edges = imageoperations.binImage(image, np.ones(image.shape, dtype=bool), **settings)
    return binned.ravel(), np.asarray(edges)


def value_sets() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(11)
    normal = rng.normal(60, 40, 3000)
    yield "float64", normal
    yield "float32", normal.astype(np.float32)
    yield "int16", normal.astype(np.int16)
    yield "int32", normal.astype(np.int32)
    yield "on the edges", np.repeat(np.arange(-200.0, 201.0, 25.0), 3)
    yield (
        "a hair beside the edges",
        np.concatenate([np.nextafter(np.arange(-200.0, 201.0, 25.0), d) for d in (-999, 999)]),
    )
    yield "float32 beside the edges", np.nextafter(np.arange(-3, 3, 0.1, dtype=np.float32), np.float32(-9))
    yield "tenths", np.arange(-30, 31) / 10
    yield "negative", -np.abs(normal) - 1000
    yield "constant", np.full(9, 41.3)
    yield "constant on an edge", np.full(9, 50.0)
    yield "constant whole numbers", np.full(9, 50, dtype=np.int16)
    yield "one value", np.array([-17.5])
    yield "zeros of both signs", np.array([-0.0, 0.0, 24.9])
    yield "small numbers", normal * 1e-7
    yield "large numbers", normal * 1e5


BINS = [("bin_width", w) for w in (25, 25.0, 0.1, 0.3, 7, 20_000.0)] + [("bin_count", n) for n in (1, 2, 32, 33)]


@pytest.mark.parametrize(("setting", "value"), BINS)
@pytest.mark.parametrize(("name", "values"), [pytest.param(*v, id=v[0]) for v in value_sets()])
def test_levels_and_edges_as_pyradiomics(name: str, values: np.ndarray, setting: str, value: float) -> None:
    if name == "large numbers" and setting == "bin_width" and value < 7:
        with pytest.raises(InputError, match="more bins than are kept"):
            discretise(values, bin_width=value)
        return
    levels, edges = discretise(values, **{setting: value})
    expected, expected_edges = as_pyradiomics(
        values, **{{"bin_width": "binWidth", "bin_count": "binCount"}[setting]: value}
    )
    assert levels.dtype == np.int32
    assert edges.dtype == expected_edges.dtype
    np.testing.assert_array_equal(edges, expected_edges)
    np.testing.assert_array_equal(levels, expected)


def test_many_values_with_every_width_as_pyradiomics() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        width = float(rng.choice([rng.uniform(0.01, 3), rng.integers(1, 60)]))
        values = rng.normal(rng.uniform(-500, 500), rng.uniform(0.1, 200), 300)
        values[:100] = np.round(values[:100] / width) * width
        values = values.astype(rng.choice(["f4", "f8"]))
        levels, edges = discretise(values, bin_width=width)
        expected, expected_edges = as_pyradiomics(values, binWidth=width)
        np.testing.assert_array_equal(edges, expected_edges)
        np.testing.assert_array_equal(levels, expected)


def test_bins_from_a_given_value() -> None:
    values = np.array([-500.0, -476.0, -475.0, 0.0, 399.0, 400.0])
    levels, edges = discretise(values, bin_width=25, lowest=-500)
    assert levels.tolist() == [1, 1, 2, 21, 36, 37]
    assert edges[0] == -500
    levels, _ = discretise(values[2:], bin_width=25, lowest=-500)
    assert levels.tolist() == [2, 21, 36, 37]
    levels, _ = discretise(values[2:], bin_width=25, lowest=-510)
    np.testing.assert_array_equal(levels, np.floor((values[2:] + 510) / 25) + 1)


@pytest.mark.parametrize(
    ("values", "settings", "error", "message"),
    [
        ([], {"bin_width": 5}, InputError, "the region is empty"),
        (np.ones((2, 2)), {"bin_width": 5}, InputError, "1-D array of numbers; got float64 with 2 axes"),
        (["a"], {"bin_width": 5}, InputError, "1-D array of numbers"),
        ([True], {"bin_width": 5}, InputError, "1-D array of numbers; got bool"),
        ([1.0, np.nan], {"bin_width": 5}, InputError, "not finite"),
        ([1.0, np.inf], {"bin_width": 5}, InputError, "not finite"),
        ([1.0, np.nan], {"bin_count": 5}, InputError, "bin_count.*cannot be cut"),
        ([1.0, np.nextafter(1.0, 2)], {"bin_count": 5}, InputError, "bin_count.*cannot be cut"),
        ([1e20, 2e20], {"bin_width": 1}, InputError, "more bins than are kept"),
        ([1e20, 1e20], {"bin_width": 1}, InputError, "too narrow"),
        (np.array([250], np.uint8), {"bin_width": 25}, InputError, "cannot hold the edges.*uint8.*float64"),
        (np.array([250], np.uint8), {"bin_width": 300}, InputError, "cannot hold the edges.*uint8"),
        ([1.0, 2.0], {"bin_width": 1, "lowest": 1.5}, InputError, "lowest.*below the first bin"),
        ([1.0], {}, ConfigError, "one of bin_width and bin_count"),
        ([1.0], {"bin_width": 1, "bin_count": 3}, ConfigError, "one of bin_width and bin_count"),
        ([1.0], {"bin_width": 0}, ConfigError, "bin_width.*above 0"),
        ([1.0], {"bin_width": np.nan}, ConfigError, "bin_width.*above 0"),
        ([1.0], {"bin_count": 0}, ConfigError, "bin_count.*expected 1 to"),
        ([1.0], {"bin_count": 3, "lowest": 0}, ConfigError, "lowest.*use bin_width"),
    ],
)
def test_values_and_bins_that_are_refused(
    values: np.ndarray, settings: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"(?i){message}"):
        discretise(values, **settings)
