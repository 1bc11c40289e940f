"""Slices are shown upright, whatever the grid; the chosen ones show the lesions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from solids import Scene

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.scan import LoadedScan
from radiomics_crlm.imaging.slices import key_slices, upright

SCENE = Scene((120, 90, 80), (1.5, 1.5, 4.0))
LIVER = SCENE.ellipsoid((50, 35, 36), (-5, 0, 0))


def loaded(lesions: Volume, image: Volume | None = None, liver: np.ndarray | None = LIVER) -> LoadedScan:
    anatomy = {} if liver is None else {"liver": liver}
    return LoadedScan(image or SCENE.volume(SCENE.x + 0 * SCENE.y + 0 * SCENE.z), lesions, anatomy, (), ())


def grids() -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    return list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("order", "signs"), grids())
def test_every_axial_sagittal_and_coronal_grid_is_turned_upright(
    order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    """Grey value = position along one patient axis; upright arrays grow along head, back and left."""
    shape = (3, 4, 5)
    direction = np.zeros((3, 3))
    for index_axis, (patient_axis, sign) in enumerate(zip(order, signs, strict=True)):
        direction[patient_axis, index_axis] = sign
    for patient_axis, upright_axis in ((2, 0), (1, 1), (0, 2)):
        index = np.indices(shape)[::-1]  # x, y, z index of each voxel
        places = np.tensordot(direction, index, axes=1)
        volume = Volume(places[patient_axis], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(direction.ravel()))
        turned = upright(volume.array, volume)
        assert (np.diff(turned, axis=upright_axis) == 1).all()


def test_every_lesion_has_its_slice() -> None:
    lesions = SCENE.labels(SCENE.sphere(12, (-20, 0, -10)), SCENE.sphere(6, (20, 5, -10)), SCENE.sphere(5, (0, 0, 20)))
    slices = key_slices(loaded(lesions), most=6)
    assert sorted(n for s in slices for n in s.shown) == [1, 2, 3]
    assert [s.number for s in slices] == sorted((s.number for s in slices), reverse=True)
    assert len(slices) == 2  # the first two lesions share a slice
    for s in slices:
        assert set(s.shown) <= set(np.unique(s.lesions).tolist())
        assert s.step_mm == (1.5, 1.5)
        assert s.pixels.shape == s.lesions.shape
        assert s.liver is not None
        assert s.liver.any()
    assert key_slices(loaded(lesions), most=1)[0].shown == (1, 2)


def test_the_crop_holds_liver_and_lesions() -> None:
    lesions = SCENE.labels(SCENE.sphere(6, (-20, 0, 0)))
    whole, alone = key_slices(loaded(lesions), most=3)[0], key_slices(loaded(lesions, liver=None), most=3)[0]
    assert whole.liver is not None
    assert not whole.liver[[0, -1]].any()
    assert not whole.liver[:, [0, -1]].any()
    assert alone.liver is None
    assert (alone.lesions == 1).sum() == (whole.lesions == 1).sum()


def test_left_of_the_patient_is_right_on_the_picture() -> None:
    lesions = SCENE.labels(SCENE.sphere(8, (25, 0, 0)))
    shown = key_slices(loaded(lesions), most=1)[0]
    assert (np.diff(shown.pixels, axis=1) > 0).all()
    mirrored = Volume(lesions.array[:, :, ::-1].copy(), lesions.spacing, lesions.origin, (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    image = Volume(
        np.broadcast_to(SCENE.x[:, :, ::-1], SCENE.shape).copy(), mirrored.spacing, mirrored.origin, mirrored.direction
    )
    same = key_slices(loaded(mirrored, image, LIVER[:, :, ::-1].copy()), most=1)[0]
    assert (same.lesions == shown.lesions).all()
    assert np.allclose(same.pixels, shown.pixels)
