"""Lesions: room, growth without merging, vanishing, order of labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.phantom.anatomy import Anatomy, draw_anatomy
from radiomics_crlm.phantom.lesions import (
    LARGEST_GROWTH,
    Shape,
    place_lesions,
    render_lesions,
    respond,
    sorted_by_volume,
)
from radiomics_crlm.phantom.patients import Disease


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return draw_anatomy(np.random.default_rng(3), remnant_pct=40.0, remnant_left=True)


def disease(*diameters: float, resectable: bool = False) -> Disease:
    return Disease(diameters, resectable=resectable, sflr_pct=40.0, remnant_left=True)


def sphere(diameter: float) -> Shape:
    r = diameter / 2
    return Shape((0.0, 0.0, 0.0), (r, r, r), angle=0.0, irregularity=0.0, waves=np.zeros((3, 4)))


def test_a_full_liver_is_reported(anatomy: Anatomy) -> None:
    z, y, x = np.argwhere(anatomy.liver).mean(axis=0).astype(int)
    tiny = np.zeros_like(anatomy.liver)
    tiny[z - 2 : z + 3, y - 5 : y + 6, x - 5 : x + 6] = True
    with pytest.raises(CrlmError, match="no room for a further lesion"):
        place_lesions(np.random.default_rng(0), replace(anatomy, liver=tiny), disease(*[10.0] * 12))


def test_lesions_that_grow_side_by_side_do_not_merge(anatomy: Anatomy) -> None:
    shapes = place_lesions(np.random.default_rng(1), anatomy, disease(*[36.0] * 6))
    labels, _ = render_lesions(anatomy, [shape.scaled(LARGEST_GROWTH) for shape in shapes])
    assert ndimage.label(labels, np.ones((3, 3, 3)))[1] == len(shapes)


def test_resectable_lesions_stay_off_the_remnant(anatomy: Anatomy) -> None:
    for seed in range(5):
        shapes = place_lesions(np.random.default_rng(seed), anatomy, disease(30.0, 15.0, resectable=True))
        labels, _ = render_lesions(anatomy, list(shapes))
        assert (anatomy.cut[labels > 0] > 0).mean() < 0.02


def test_a_rendered_sphere_has_the_volume_of_a_sphere(anatomy: Anatomy) -> None:
    centre = place_lesions(np.random.default_rng(2), anatomy, disease(40.0))[0].centre_mm
    labels, radius = render_lesions(anatomy, [replace(sphere(40.0), centre_mm=centre)])
    inside = labels > 0
    assert inside.sum() * anatomy.grid.voxel_ml == pytest.approx(np.pi / 6 * 4.0**3, rel=0.05)
    assert 0.9 < radius[inside].max() <= 1.0
    assert not radius[~inside].any()


def test_small_remains_vanish_but_the_first_lesion_stays() -> None:
    after = respond(np.random.default_rng(0), [sphere(8.0), sphere(30.0), sphere(8.0)], -1.0)
    assert [shape is None for shape in after] == [False, False, True]
    assert after[1] is not None
    assert after[1].radii_mm[0] == pytest.approx(15 * np.exp(-1.0), rel=0.35)


def test_growth_is_bounded() -> None:
    after = respond(np.random.default_rng(0), [sphere(30.0)], 3.0)
    assert after[0] is not None
    assert after[0].radii_mm[0] == pytest.approx(15 * LARGEST_GROWTH)


def test_label_one_is_the_lesion_with_most_voxels() -> None:
    labels = np.array([[[1, 2, 2, 3, 3, 3, 0]]], dtype=np.uint8)
    shapes = [sphere(d) for d in (10.0, 20.0, 30.0)]
    renamed, ordered = sorted_by_volume(labels, shapes)
    assert renamed.tolist() == [[[3, 2, 2, 1, 1, 1, 0]]]
    assert ordered == shapes[::-1]
