"""Negative controls: histograms stay, textures go, and healthy liver is healthy."""

from __future__ import annotations

import numpy as np
import pytest
from solids import Scene

from radiomics_crlm.errors import InputError
from radiomics_crlm.features.controls import GAP_MM, elsewhere, shuffled
from radiomics_crlm.features.extract import extract_scan
from radiomics_crlm.features.profiles import load_profiles

SCENE = Scene((100.0, 80.0, 60.0), (1.0, 1.0, 2.0))
LIVER = SCENE.ellipsoid((46.0, 36.0, 27.0))
LESIONS = SCENE.labels(SCENE.sphere(9.0, (-20.0, 0.0, 0.0)), SCENE.sphere(5.0, (25.0, 5.0, 4.0)))


def textured(seed: int = 0) -> np.ndarray:
    """Stripes two voxels wide inside everything, so that neighbours are alike."""
    stripes = 40 * np.sign(np.sin(np.pi * (SCENE.x + 0.3) / 2.0))
    noise = np.random.default_rng(seed).normal(0, 5, SCENE.shape)
    return np.asarray(np.rint(100 + stripes + noise)).astype(np.int16)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_shuffling_keeps_the_histogram_exactly_and_everything_outside() -> None:
    image = SCENE.volume(textured())
    mixed = shuffled(image, LESIONS, generator())
    outside = LESIONS.array == 0
    assert (mixed.array[outside] == image.array[outside]).all()
    for label in (1, 2):
        inside = LESIONS.array == label
        assert (np.sort(mixed.array[inside]) == np.sort(image.array[inside])).all()
        assert (mixed.array[inside] != image.array[inside]).mean() > 0.3
    assert mixed.array.dtype == image.array.dtype
    assert (image.array == textured()).all()


def test_shuffling_leaves_first_order_and_shape_and_takes_the_texture() -> None:
    profile = load_profiles().profiles["ct-portal-venous-native"]
    image = SCENE.volume(textured())
    before, after = (
        extract_scan(i, LESIONS, profile, case="P1").set_index("lesion")
        for i in (image, shuffled(image, LESIONS, generator()))
    )
    for name in before.columns:
        if "_shape_" in name or "_firstorder_" in name:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-12, err_msg=name)
    contrast = "lesion__original_glcm_Contrast"
    assert (after[contrast] > 1.3 * before[contrast]).all()
    assert (after["lesion__original_glcm_Correlation"].abs() < 0.1).all()


def test_healthy_places_are_inside_the_liver_and_away_from_lesions() -> None:
    vessel = SCENE.box((50.0, 2.0, 2.0))
    far = SCENE.ellipsoid((46.0, 36.0, 27.0)) & ~vessel
    for seed in range(10):
        found = elsewhere(LESIONS, LIVER, generator(seed), avoid=[vessel])
        assert found.reasons == {}
        placed = found.mask.array > 0
        assert (placed <= far).all()
        distances = np.argwhere(placed)[:, None, :] - np.argwhere(LESIONS.array > 0)[None, ::7, :]
        nearest = np.sqrt(((distances * (2.0, 1.0, 1.0)) ** 2).sum(axis=2)).min()
        assert nearest > GAP_MM
        for label in (1, 2):
            shapes = [np.argwhere(a == label) for a in (LESIONS.array, found.mask.array)]
            shift = shapes[1][0] - shapes[0][0]
            assert (shapes[0] + shift == shapes[1]).all()


def test_places_depend_on_the_seed_alone() -> None:
    once, again = (elsewhere(LESIONS, LIVER, generator(3)).mask.array for _ in range(2))
    assert once.tobytes() == again.tobytes()
    assert (elsewhere(LESIONS, LIVER, generator(4)).mask.array != once).any()


def test_places_are_drawn_evenly() -> None:
    """A single voxel in a liver of 24 voxels, one of them a lesion's: each of the others comes up alike."""
    scene = Scene((60.0, 60.0, 60.0), (10.0, 10.0, 10.0))
    labels = np.zeros(scene.shape, dtype=np.int32)
    labels[1, 1, 1] = 1
    liver = np.zeros(scene.shape, dtype=bool)
    liver[1:4, 1:3, 1:5] = True
    counts = np.zeros(scene.shape)
    mask = scene.volume(labels)
    for seed in range(2300):
        counts += elsewhere(mask, liver, generator(seed)).mask.array
    assert counts[1, 1, 1] == 0
    assert (counts[~liver] == 0).all()
    each = counts[liver & (labels == 0)]
    assert each.size == 23
    assert ((each - 100) ** 2 / 100).sum() < 49.7  # chi-square, 22 degrees of freedom, p = 0.0006


def test_where_there_is_no_room_there_is_a_reason() -> None:
    small = SCENE.sphere(13.0, (25.0, 5.0, 4.0))
    found = elsewhere(LESIONS, small, generator())
    assert found.reasons == {1: "no_healthy_room", 2: "no_healthy_room"}
    assert not found.mask.array.any()
    nothing = elsewhere(LESIONS, np.zeros_like(LIVER), generator())
    assert nothing.reasons == {1: "no_healthy_room", 2: "no_healthy_room"}


def test_one_lesion_without_room_does_not_cost_the_other() -> None:
    room = SCENE.sphere(7.0, (0.0, -25.0, 0.0))
    found = elsewhere(LESIONS, room, generator())
    assert found.reasons == {1: "no_healthy_room"}
    assert np.unique(found.mask.array).tolist() == [0, 2]


def test_the_only_place_is_found() -> None:
    """Exactly one shift fits: the search must find it."""
    shape = np.zeros(SCENE.shape, dtype=bool)
    shape[5:9, 10:21, 12:29] = True
    shape[6, 15, 20] = False  # a hole may lie anywhere
    mask = SCENE.labels(shape)
    liver = np.zeros(SCENE.shape, dtype=bool)
    liver[20:24, 40:51, 60:77] = True
    liver[21, 45, 68] = False
    for seed in range(5):
        found = elsewhere(mask, liver, generator(seed))
        assert found.reasons == {}
        assert (found.mask.array > 0).sum() == shape.sum()
        assert ((found.mask.array > 0) <= liver).all()


def test_shapes_do_not_wrap_around_the_image() -> None:
    shape = np.zeros(SCENE.shape, dtype=bool)
    shape[5:8, 10:14, 30:60] = True
    liver = np.zeros(SCENE.shape, dtype=bool)
    liver[12:20, 40:70, -20:] = True
    liver[12:20, 40:70, :20] = True
    assert elsewhere(SCENE.labels(shape), liver, generator()).reasons == {1: "no_healthy_room"}


def test_a_mask_without_lesions_is_refused() -> None:
    empty = SCENE.volume(np.zeros(SCENE.shape, dtype=np.int32))
    with pytest.raises(InputError, match="no lesion"):
        shuffled(SCENE.volume(textured()), empty, generator())
