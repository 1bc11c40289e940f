"""Alignment and matching of lesions on phantoms whose change is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import SPACINGS, Point, Scene

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.matching import Alignment, align, match_lesions

STILL = Alignment(np.eye(3), np.zeros(3), "scanner")


def fates(before: Volume, after: Volume, move: Alignment = STILL) -> list[tuple[tuple[int, ...], tuple[int, ...], str]]:
    groups = match_lesions(before, after, move)
    for side, mask in (("before", before), ("after", after)):
        listed = [n for g in groups for n in getattr(g, side)]
        assert sorted(listed) == sorted(int(n) for n in np.unique(mask.array) if n)  # every lesion exactly once
    return [(g.before, g.after, g.fate) for g in groups]


@pytest.fixture(params=SPACINGS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene((150, 90, 80), request.param)


def test_shrinkage_growth_new_and_vanished(scene: Scene) -> None:
    before = scene.labels(scene.sphere(15, (-40, 0, 0)), scene.sphere(8, (0, 20, 0)), scene.sphere(6, (40, -20, 10)))
    after = scene.labels(scene.sphere(12, (30, 20, -15)), scene.sphere(9, (-40, 0, 0)), scene.sphere(11, (0, 20, 0)))
    assert fates(before, after) == [
        ((1,), (2,), "matched"),
        ((2,), (3,), "matched"),
        ((3,), (), "disappeared"),
        ((), (1,), "new"),
    ]


def test_merge_and_split(scene: Scene) -> None:
    apart = scene.labels(scene.sphere(10, (-46, 0, 0)), scene.sphere(9, (-18, 0, 0)), scene.sphere(8, (40, 0, 0)))
    joined = scene.labels(scene.ellipsoid((30, 13, 13), (-32, 0, 0)), scene.sphere(7, (40, 0, 0)))
    assert fates(apart, joined) == [((1, 2), (1,), "merged"), ((3,), (2,), "matched")]
    assert fates(joined, apart) == [((1,), (1, 2), "split"), ((2,), (3,), "matched")]


def test_chains_of_overlap_are_regrouped() -> None:
    scene = Scene((120, 40, 40), (1, 1, 1))
    before = scene.labels(scene.box((10, 8, 8), (-30, 0, 0)), scene.box((10, 8, 8), (0, 0, 0)))
    after = scene.labels(scene.box((10, 8, 8), (-15, 0, 0)), scene.box((10, 8, 8), (14, 0, 0)))
    assert fates(before, after) == [((1, 2), (1, 2), "regrouped")]


def test_a_lesion_that_moved_away_from_itself_is_found_by_distance() -> None:
    scene = Scene((120, 60, 60), (1, 1, 1))
    before = scene.labels(scene.sphere(4, (-20, 0, 0)), scene.sphere(4, (30, 0, 0)))
    after = scene.labels(scene.sphere(3, (-20, 12, 0)), scene.sphere(3, (30, 24, 0)))
    groups = match_lesions(before, after, STILL)
    assert [(g.before, g.after, g.fate, g.by) for g in groups] == [
        ((1,), (1,), "matched", "distance"),
        ((2,), (), "disappeared", ""),
        ((), (2,), "new", ""),
    ]


def test_distances_are_shared_out_over_all_pairs() -> None:
    """Taking the nearest pair first would leave the other two without a partner."""
    scene = Scene((80, 40, 40), (1, 1, 1))
    before = scene.labels(scene.sphere(2, (0, 0, 0)), scene.sphere(2, (9, 0, 0)))
    after = scene.labels(scene.sphere(2, (5, 0, 0)), scene.sphere(2, (-12, 0, 0)))
    assert fates(before, after) == [((1,), (2,), "matched"), ((2,), (1,), "matched")]


def test_nothing_left(scene: Scene) -> None:
    before = scene.labels(scene.sphere(10))
    nothing = replace(before, array=np.zeros_like(before.array))
    assert fates(before, nothing) == [((1,), (), "disappeared")]
    assert fates(nothing, before) == [((), (1,), "new")]
    assert fates(nothing, nothing) == []


def turned(scene: Scene, array: np.ndarray, angle_deg: float, shift: Point) -> np.ndarray:
    """What the scanner sees when the patient is turned about z and shifted: nearest-neighbour lookup."""
    a = np.radians(angle_deg)
    x, y, z = np.broadcast_arrays(scene.x - shift[0], scene.y - shift[1], scene.z - shift[2])
    places = [z, -np.sin(a) * x + np.cos(a) * y, np.cos(a) * x + np.sin(a) * y]
    start = [scene.z.ravel()[0], scene.y.ravel()[0], scene.x.ravel()[0]]
    index = [np.rint((p - s) / step).astype(int) for p, s, step in zip(places, start, scene.spacing[::-1], strict=True)]
    valid = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(index, array.shape, strict=True)])
    result = np.zeros_like(array)
    result[valid] = array[tuple(i[valid] for i in index)]
    return result


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_turned_and_shifted_patient_is_brought_back(spacing: Point) -> None:
    scene = Scene((240, 200, 170), tuple(max(s, 1.5) for s in spacing))  # type: ignore[arg-type]
    liver = scene.ellipsoid((60, 45, 40), (-15, 0, 0)) | scene.ellipsoid((45, 20, 22), (35, -25, 10))
    lesions = np.zeros(scene.shape, dtype=np.int32)
    for label, centre in enumerate([(-40, 10, 0), (-15, -20, 10), (35, -25, 10), (-20, 20, -15)], start=1):
        lesions[scene.sphere(6, centre)] = label
    shift = (18.0, -12.0, 9.0)
    after = scene.volume(turned(scene, lesions, 8.0, shift))
    before = scene.volume(lesions)
    move = align(before, after, liver, turned(scene, liver, 8.0, shift))
    assert move.method == "livers"
    assert move.dice is not None
    assert move.dice > 0.9
    assert not move.doubtful
    assert move.turned_deg == pytest.approx(8.0, abs=2.0)
    assert np.allclose(move.rotation @ move.rotation.T, np.eye(3), atol=1e-8)
    # The way back of the centre of a lesion, to 3 mm.
    a = np.radians(8.0)
    there = np.array([np.cos(a) * -40 - np.sin(a) * 10, np.sin(a) * -40 + np.cos(a) * 10, 0.0]) + shift
    assert np.linalg.norm(move.rotation @ there + move.shift - [-40, 10, 0]) < 3.0
    groups = match_lesions(before, after, move)
    assert [(g.before, g.after, g.fate) for g in groups] == [((n,), (n,), "matched") for n in (1, 2, 3, 4)]


def test_alignment_is_reproducible_to_the_bit() -> None:
    scene = Scene((200, 160, 130), (2.2, 2.2, 4.0))
    liver = scene.ellipsoid((60, 45, 40)) | scene.ellipsoid((30, 20, 22), (50, -25, 10))
    later = turned(scene, liver, 5.0, (10, 4, 3))
    one, other = (align(scene.volume(liver), scene.volume(later), liver, later) for _ in range(2))
    assert one.rotation.tobytes() == other.rotation.tobytes()
    assert one.shift.tobytes() == other.shift.tobytes()


def test_without_livers_the_scanner_coordinates_are_taken() -> None:
    scene = Scene((40, 40, 40), (2, 2, 2))
    volume = scene.labels(scene.sphere(10))
    for first, second in ((None, volume.array > 0), (volume.array > 0, None), (None, None), (volume.array > 5,) * 2):
        move = align(volume, volume, first, second)
        assert move.method == "scanner"
        assert move.dice is None
        assert move.doubtful
        assert move.moved_mm == 0.0


def test_livers_that_do_not_overlap_are_aligned_by_their_centres() -> None:
    scene = Scene((150, 100, 90), (2, 2, 2))
    liver = scene.ellipsoid((50, 35, 30))
    first = scene.volume(liver)
    second = replace(first, origin=tuple(o + 900.0 for o in first.origin))
    move = align(first, second, liver, liver)
    assert move.dice == pytest.approx(1.0, abs=0.02)
    assert move.shift == pytest.approx([-900.0] * 3, abs=1.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), axis=st.integers(0, 2))
def test_swapping_the_scans_swaps_the_fates(seed: int, axis: int) -> None:
    rng = np.random.default_rng(seed)
    scene = Scene((80, 70, 60), (1.5, 1.5, 3.0))

    def draw() -> Volume:
        mask = np.zeros(scene.shape, dtype=np.int32)
        for label in range(1, 1 + int(rng.integers(1, 5))):
            x, y, z = rng.uniform([-25, -20, -15], [25, 20, 15]).tolist()
            mask[scene.sphere(float(rng.uniform(3, 9)), (x, y, z)) & (mask == 0)] = label
        return scene.volume(mask)

    before, after = draw(), draw()
    forth, back = fates(before, after), fates(after, before)
    opposite = {"merged": "split", "split": "merged", "new": "disappeared", "disappeared": "new"}
    assert sorted((b, a, f) for b, a, f in forth) == sorted((a, b, opposite.get(f, f)) for b, a, f in back)
    mirrored = [replace(v, array=np.flip(v.array, axis).copy()) for v in (before, after)]
    assert fates(*mirrored) == forth
    moved = replace(after, origin=tuple(o + s for o, s in zip(after.origin, (31.0, -8.0, 12.0), strict=True)))
    shift = Alignment(np.eye(3), np.array([-31.0, 8.0, -12.0]), "livers")
    assert fates(before, moved, shift) == forth
