"""Planes of voxels on a grid: every right-angled turn, mirror and crop lands on the voxels that a plain loop finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.placement import Plane, paint, place_plane
from radiomics_crlm.imaging.rtstruct import fill_even_odd
from radiomics_crlm.imaging.segmentation import _unpack

ANGLE = np.deg2rad(30)
DIRECTION = (np.cos(ANGLE), -np.sin(ANGLE), 0, np.sin(ANGLE), np.cos(ANGLE), 0, 0, 0, 1)
IMAGE = Volume(np.zeros((4, 5, 6)), (0.5, 0.75, 3.0), (10.0, -20.0, 30.0), tuple(map(float, DIRECTION)))


@given(
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 2),
    start=st.tuples(st.integers(-3, 8), st.integers(-3, 8), st.integers(-2, 5)),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 1000),
)
def test_painting_equals_a_plain_loop(axes, signs, start, shape, seed) -> None:
    along_row, along_column = np.zeros(3, int), np.zeros(3, int)
    along_row[axes[0]], along_column[axes[1]] = signs
    position = np.array(IMAGE.origin) + IMAGE.index_to_mm @ start
    steps = [tuple(map(float, IMAGE.index_to_mm @ step)) for step in (along_row, along_column)]
    place = place_plane(Plane(tuple(map(float, position)), *steps, shape), IMAGE, case="P1")
    inside = np.random.default_rng(seed).random(shape) < 0.6
    target, expected, outside = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool), 0
    for row, column in np.argwhere(inside):
        x, y, z = np.array(start) + column * along_row + row * along_column
        if 0 <= x < 6 and 0 <= y < 5 and 0 <= z < 4:
            expected[z, y, x] = True
        else:
            outside += 1
    assert paint(target, inside, place) == outside
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("offset", [(0.011, 0, 0), (0, 0.011, 0), (0, 0, 0.051)])
def test_offsets_beyond_the_stated_fraction_are_refused(offset: tuple[float, float, float]) -> None:
    steps = [tuple(map(float, IMAGE.index_to_mm[:, k])) for k in (0, 1)]

    def at(fraction: float) -> Plane:
        position = np.array(IMAGE.origin) + IMAGE.index_to_mm @ (np.array(offset) * fraction)
        return Plane(tuple(map(float, position)), *steps, (5, 6))

    place = place_plane(at(0.9), IMAGE, case="P1")
    assert place.offset_voxels == pytest.approx(0.9 * max(offset))
    with pytest.raises(CaseError, match=f"{max(offset):.3f} voxel") as caught:
        place_plane(at(1.0), IMAGE, case="P1")
    assert caught.value.code == "geometry_mismatch"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 1000))
def test_one_bit_frames_follow_each_other_without_padding(rows: int, columns: int, count: int, seed: int) -> None:
    frames = np.random.default_rng(seed).random((count, rows, columns)) < 0.5
    packed = np.packbits(frames.ravel(), bitorder="little")
    for k in range(count):
        np.testing.assert_array_equal(_unpack(packed, k, (rows, columns)), frames[k])


def crossings(polygon: np.ndarray, x: float, y: float) -> int:
    """Edges of a polygon to the left of a point or on it, by the text-book loop."""
    count = 0
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
            count += 1
    return count


@given(st.integers(1, 4), st.integers(3, 9), st.integers(0, 10_000))
def test_even_odd_filling_equals_the_text_book(polygons: int, points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # also beyond the image, and on voxel centres where rounding would show
    shapes = [np.round(rng.uniform(-3, 12, (points, 2)), rng.integers(0, 3)) for _ in range(polygons)]
    filled = fill_even_odd(shapes, (8, 9))
    for y in range(8):
        for x in range(9):
            assert filled[y, x] == sum(crossings(p, x, y) for p in shapes) % 2, (x, y)


def test_neighbours_share_no_pixel() -> None:
    left = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], dtype=float)
    both = fill_even_odd([left], (6, 10)).astype(int) + fill_even_odd([left + np.array([4, 0])], (6, 10))
    assert both.max() == 1
    assert both.sum() == 32
