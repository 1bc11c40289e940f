"""Structure sets: holes, rotated slices, exactness below a voxel, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_examples import Series, box_contour, image_slices, save_all, save_one, structure_set
from pydicom.dataset import Dataset, FileDataset

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.masks import read_mask
from radiomics_crlm.imaging.volume import read_volume

ORIENTATIONS = [
    (1, 0, 0, 0, 1, 0),
    (0.8, 0.6, 0, -0.6, 0.8, 0),
    (1, 0, 0, 0, 0.8, 0.6),
    (0, 1, 0, 0, 0, -1),  # sagittal
]


def make(tmp_path: Path, orientation: tuple[float, ...] = ORIENTATIONS[0]) -> tuple[list[FileDataset], Volume]:
    slices = image_slices(np.zeros((5, 12, 14), dtype=int), Series(orientation=orientation))
    return slices, read_volume(save_all(tmp_path / "image", slices), case="P1")


def read(tmp_path: Path, one: Dataset, image: Volume, roles: str = "lesion=*") -> np.ndarray:
    masks = read_mask(save_one(tmp_path / "rs.dcm", one), image, roles=roles, case="P1")
    assert masks.lesions is not None
    return masks.lesions.array


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_and_holes_land_on_their_voxels(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    slices, image = make(tmp_path, orientation)
    whole = [box_contour(slices, k, (2, 8), (3, 11)) for k in (1, 2)]
    hole = [box_contour(slices, 2, (4, 5), (5, 7))]
    island = [box_contour(slices, 2, (4, 4), (6, 6))]
    labels = read(
        tmp_path,
        structure_set(slices, {"A": [*whole, *hole, *island], "B": [box_contour(slices, 4, (0, 0), (0, 1))]}),
        image,
    )
    expected = np.zeros((5, 12, 14), dtype=int)
    expected[1:3, 2:9, 3:12] = 1
    expected[2, 4:6, 5:8] = 0
    expected[2, 4, 6] = 1
    expected[4, 0, 0:2] = 2
    np.testing.assert_array_equal(labels, expected)


def test_volumes_are_exact_below_a_voxel(tmp_path: Path) -> None:
    """A circle of many positions: the mean area equals pi r^2, since edges are not rounded to voxels."""
    slices, image = make(tmp_path)
    angles, radius, rng = np.linspace(0, 2 * np.pi, 200, endpoint=False), 1.7, np.random.default_rng(5)
    sizes = []
    for _ in range(30):
        centre = np.array([-1.5, 9.5, 100.0]) + np.append(rng.uniform(-0.4, 0.4, 2), 3.0)
        circle = centre + np.column_stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles])
        sizes.append((read(tmp_path, structure_set(slices, {"A": [circle]}), image) > 0).sum() * 0.75 * 0.5)
    assert np.mean(sizes) == pytest.approx(np.pi * radius**2, rel=0.02)


def _move(distance: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda points: points + np.array([0, 0, distance])


def _tilt(points: np.ndarray) -> np.ndarray:
    return points + np.column_stack([0 * points[:, 0], 0 * points[:, 0], np.linspace(0, 1.0, len(points))])


@pytest.mark.parametrize(
    ("code", "match", "change"),
    [
        ("contour_off_slices", "1.200 mm = 0.400 slice", _move(1.2)),
        ("contour_not_planar", "not parallel", _tilt),
        ("mask_outside_image", "1 of 1 contours outside", _move(30.0)),
        ("mask_outside_image", "1 of 1 contours outside", lambda points: points + np.array([6.0, 0, 0])),
    ],
)
def test_contours_that_do_not_fit_are_refused(
    tmp_path: Path, code: str, match: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    slices, image = make(tmp_path)
    one = structure_set(slices, {"A": [change(box_contour(slices, 2, (2, 4), (3, 6)))]})
    with pytest.raises(CaseError, match=match) as caught:
        read(tmp_path, one, image)
    assert caught.value.code == code


def test_contours_on_every_second_slice_are_refused(tmp_path: Path) -> None:
    slices, image = make(tmp_path)

    def drawn(*levels: int) -> Dataset:
        return structure_set(slices, {"A": [box_contour(slices, k, (2, 4), (3, 6)) for k in levels]})

    with pytest.raises(CaseError, match="got 3 slices with contours, 2 apart") as caught:
        read(tmp_path, drawn(0, 2, 4), image)
    assert caught.value.code == "contour_gaps"
    for levels in ((0, 1, 3), (0, 4), (1, 2, 3), (3,)):  # lesions of their own may leave slices out
        assert np.flatnonzero(read(tmp_path, drawn(*levels), image).any(axis=(1, 2))).tolist() == list(levels)


def _no_number(one: Dataset) -> None:
    one.ROIContourSequence[0].ContourSequence[0].ContourData = [1.0] * 10


def _same_number(one: Dataset) -> None:
    one.StructureSetROISequence[1].ROINumber = 1


def _another_space(one: Dataset) -> None:
    one.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"


@pytest.mark.parametrize("change", [_no_number, _same_number, _another_space])
def test_bad_structure_sets_are_refused(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    slices, image = make(tmp_path)
    one = structure_set(slices, {n: [box_contour(slices, 2, (2, 4), (3, 6))] for n in "AB"})
    change(one)
    with pytest.raises(CaseError) as caught:
        read(tmp_path, one, image)
    assert caught.value.code == "missing_geometry"


@pytest.mark.parametrize("geometric", ["OPEN_PLANAR", "OPEN_NONPLANAR", "POINT"])
def test_open_contours_are_refused_where_they_are_asked_for(tmp_path: Path, geometric: str) -> None:
    slices, image = make(tmp_path)
    one = structure_set(slices, {n: [box_contour(slices, 2, (2, 4), (3, 6))] for n in ("GTV", "marker")})
    one.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = geometric
    assert read(tmp_path, one, image, "lesion=GTV").sum() == 12
    with pytest.raises(CaseError, match="enclose nothing") as caught:
        read(tmp_path, one, image, "lesion=*")
    assert caught.value.code == "open_contour"


def test_names_of_regions(tmp_path: Path) -> None:
    slices, image = make(tmp_path)
    contour = [box_contour(slices, 2, (2, 4), (3, 6))]
    with pytest.raises(CaseError, match="expected one of 1 'GTV', 2 'gtv'") as caught:
        read(tmp_path, structure_set(slices, {"GTV": contour, "gtv": contour}), image, "lesion=GTV")
    assert caught.value.code == "ambiguous_segment"
    with pytest.raises(CaseError, match="expected one of 1 'GTV'; got 'PTV'") as caught:
        read(tmp_path, structure_set(slices, {"GTV": contour}), image, "lesion=PTV")
    assert caught.value.code == "unknown_segment"
    with pytest.raises(CaseError, match="no labelled voxel") as caught:
        read(tmp_path, structure_set(slices, {"GTV": []}), image)
    assert caught.value.code == "empty_mask"
    with pytest.raises(CaseError, match="expected one of no segment"):
        read(tmp_path, structure_set(slices, {}), image, "lesion=1")


def test_clicks_are_no_regions(tmp_path: Path) -> None:
    slices, image = make(tmp_path)
    box = box_contour(slices, 2, (2, 4), (3, 6))
    assert (read(tmp_path, structure_set(slices, {"A": [box, box[:1], box[:2]]}), image) > 0).sum() == 12
