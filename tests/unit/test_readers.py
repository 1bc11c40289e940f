"""Lesions of another reader under the labels of the reference."""

from __future__ import annotations

import numpy as np
from solids import Scene

from radiomics_crlm.imaging.readers import relabelled

SCENE = Scene((60.0, 40.0, 30.0), (1.0, 1.0, 2.0))
A, B, C = SCENE.sphere(8.0, (-18.0, 0.0, 0.0)), SCENE.sphere(5.0, (0.0, 0.0, 0.0)), SCENE.sphere(6.0, (18.0, 0.0, 0.0))


def test_labels_follow_overlap_whatever_they_were() -> None:
    reference = SCENE.labels(A, B, C)
    drawn = SCENE.labels(SCENE.sphere(6.5, (17.0, 1.0, 0.0)), SCENE.sphere(7.5, (-17.0, 1.0, 1.0)))
    found = relabelled(reference, drawn).array
    assert ((found == 3) == (drawn.array == 1)).all()
    assert ((found == 1) == (drawn.array == 2)).all()
    assert not (found == 2).any()


def test_what_overlaps_nothing_is_left_out() -> None:
    reference = SCENE.labels(A)
    drawn = SCENE.labels(C, A)
    found = relabelled(reference, drawn).array
    assert ((found == 1) == A).all()
    assert np.unique(found).tolist() == [0, 1]
    assert not relabelled(reference, SCENE.labels(C)).array.any()


def test_pairs_are_one_to_one() -> None:
    """A reader who drew one lesion where the reference has two: it is the one it agrees with more."""
    reference = SCENE.labels(SCENE.box((6.0, 8.0, 8.0), (-6.0, 0.0, 0.0)), SCENE.box((3.0, 8.0, 8.0), (4.0, 0.0, 0.0)))
    drawn = SCENE.labels(SCENE.box((10.0, 8.0, 8.0), (-2.0, 0.0, 0.0)))
    found = relabelled(reference, drawn).array
    assert np.unique(found).tolist() == [0, 1]
    assert ((found == 1) == (drawn.array == 1)).all()
    split = relabelled(drawn, reference).array
    assert np.unique(split).tolist() == [0, 1]
    assert ((split == 1) == (reference.array == 1)).all()


def test_two_readings_that_cross_are_paired_for_the_best_sum() -> None:
    reference = SCENE.labels(SCENE.box((4.0, 8.0, 8.0), (-4.5, 0.0, 0.0)), SCENE.box((4.0, 8.0, 8.0), (4.5, 0.0, 0.0)))
    moved = SCENE.labels(SCENE.box((4.0, 8.0, 8.0), (8.5, 0.0, 0.0)), SCENE.box((4.0, 8.0, 8.0), (-0.5, 0.0, 0.0)))
    found = relabelled(reference, moved).array
    assert ((found == 2) == (moved.array == 1)).all()
    assert ((found == 1) == (moved.array == 2)).all()


def test_the_same_mask_is_itself() -> None:
    reference = SCENE.labels(A, B, C)
    assert (relabelled(reference, reference).array == reference.array).all()
