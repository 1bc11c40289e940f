"""Measurements against regions whose size is known by geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import (
    as_label_mask,
    keep_labels,
    label_boxes,
    labels_of,
    longest_diameter,
    measure_lesions,
    peeled,
    volume_ml,
)

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
# Index axes of a coronal acquisition: x to the left, y to the feet, z to posterior.
CORONAL = (1.0, 0, 0, 0, 0, 1.0, 0, -1.0, 0)


def mask_of(labels: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    return Volume(labels, spacing, (0.0, 0.0, 0.0), IDENTITY)


def ellipsoid(radii_mm: tuple[float, float, float], spacing: tuple[float, float, float]) -> np.ndarray:
    """Labels (1 inside) of an ellipsoid around the middle of a grid; radii and spacing in order x, y, z."""
    counts = [int(2 * r / s) + 7 for r, s in zip(radii_mm, spacing, strict=True)]
    z, y, x = np.indices(counts[::-1])
    parts = [((i - (n - 1) / 2) * s / r) ** 2 for i, n, s, r in zip((x, y, z), counts, spacing, radii_mm, strict=True)]
    return (sum(parts) <= 1).astype(np.int32)


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((2, 2, 2)), "empty_mask"),
        (np.full((2, 2, 2), 0.5), "mask_not_integer"),
        (np.full((2, 2, 2), -1), "mask_not_integer"),
        (np.full((2, 2, 2), 2**40), "mask_not_integer"),
        (np.arange(1000).reshape(10, 10, 10), "too_many_labels"),
    ],
)
def test_bad_masks_are_refused(array: np.ndarray, code: str) -> None:
    with pytest.raises(CaseError, match="P1") as caught:
        as_label_mask(mask_of(array), case="P1")
    assert caught.value.code == code


def test_integers_stored_as_floats_are_labels() -> None:
    labels = as_label_mask(mask_of(np.array([[[0.0, 3.0, 7000.0]]])), case="P1")
    assert labels.array.dtype == np.int32
    assert labels_of(labels, None) == ([3, 7000], [])
    assert labels_of(labels, (1, 3)) == ([3], [1])
    assert keep_labels(labels, [3]).array.tolist() == [[[0, 3, 0]]]
    assert volume_ml(labels, [3, 7000]) == pytest.approx(0.002)


def test_box_is_measured_exactly() -> None:
    labels = np.zeros((12, 14, 16), dtype=np.int32)
    labels[3:7, 4:10, 5:8] = 2  # 3 x 6 x 4 voxels of 0.5 x 2 x 5 mm
    row = measure_lesions(mask_of(labels, (0.5, 2.0, 5.0))).iloc[0]
    assert (row["lesion"], row["n_voxels"], row["n_components"], row["flags"]) == (2, 72, 1, "")
    assert row["volume_ml"] == pytest.approx(72 * 5.0 / 1000)
    assert (row["n_slices_x"], row["n_slices_y"], row["n_slices_z"]) == (3, 6, 4)
    assert (row["centroid_x_mm"], row["centroid_y_mm"], row["centroid_z_mm"]) == pytest.approx((3.0, 13.0, 22.5))
    # face centres: 6 voxels along y (12 mm) between columns that are 2 voxels apart (1 mm)
    assert row["longest_axial_mm"] == pytest.approx(np.hypot(12.0, 1.0))
    # the whole height of 20 mm between voxel centres that are 10 mm and 1 mm apart
    assert row["longest_3d_mm"] == pytest.approx(np.sqrt(20.0**2 + 10.0**2 + 1.0**2))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("radii", [(12.0, 12.0, 12.0), (20.0, 9.0, 11.0), (8.0, 15.0, 25.0)])
def test_ellipsoids_to_one_voxel(spacing: tuple[float, float, float], radii: tuple[float, float, float]) -> None:
    row = measure_lesions(mask_of(ellipsoid(radii, spacing), spacing)).iloc[0]
    assert row["volume_ml"] == pytest.approx(4 / 3 * np.pi * np.prod(radii) / 1000, rel=0.03)
    assert row["longest_axial_mm"] == pytest.approx(2 * max(radii[:2]), abs=max(spacing[:2]))
    assert row["longest_3d_mm"] == pytest.approx(2 * max(radii), abs=max(spacing))
    assert not row["flags"]


def test_axial_plane_follows_the_patient() -> None:
    labels = np.zeros((9, 30, 9), dtype=np.int32)
    labels[3:6, 4:26, 3:5] = 1  # 22 voxels along the second index axis, which is the body axis of a coronal scan
    axial = measure_lesions(Volume(labels, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)).iloc[0]
    coronal = measure_lesions(Volume(labels, (1.0, 1.0, 1.0), (5.0, 6.0, 7.0), CORONAL)).iloc[0]
    assert axial["longest_axial_mm"] == pytest.approx(np.hypot(22, 1))
    assert coronal["longest_axial_mm"] == pytest.approx(np.hypot(3, 1))  # 2 x 3 voxels
    assert coronal["longest_3d_mm"] == axial["longest_3d_mm"]
    centre = (coronal["centroid_x_mm"], coronal["centroid_y_mm"], coronal["centroid_z_mm"])
    assert centre == pytest.approx((5 + 3.5, 6 + 4.0, 7 - 14.5))


def test_flags() -> None:
    labels = np.zeros((10, 10, 10), dtype=np.int32)
    labels[4, 4, 4] = 1
    labels[2, 2:5, 2:5] = 2
    labels[7:, 7:9, 7:9] = 3
    labels[5:7, 6:8, 1] = 5
    labels[5:7, 1:3, 8] = 5
    labels[5:7, 1:3, 6] = 5
    found = measure_lesions(mask_of(labels, (1.0, 2.0, 3.0))).set_index("lesion")
    assert found["flags"].to_dict() == {
        1: "one_voxel;one_slice", 2: "one_slice", 3: "touches_border", 5: "several_components"}  # fmt: skip
    assert found.loc[5, "n_components"] == 3
    assert found.loc[1, "longest_3d_mm"] == 3.0  # the longest side of a voxel
    assert found.loc[1, "longest_axial_mm"] == 2.0


def test_only_wanted_labels_are_measured() -> None:
    labels = np.zeros((4, 4, 4), dtype=np.int32)
    labels[1:3, 1:3, 1:3], labels[0, 0, 0] = 4, 9
    assert measure_lesions(mask_of(labels), [4])["lesion"].tolist() == [4]
    assert measure_lesions(mask_of(labels))["lesion"].tolist() == [4, 9]


def test_place_and_surroundings_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    shape = rng.random((5, 6, 7)) < 0.4
    small, large = np.zeros((9, 9, 9), dtype=np.int32), np.zeros((20, 20, 20), dtype=np.int32)
    small[1:6, 1:7, 1:8] = shape
    large[11:16, 3:9, 8:15] = shape
    one, other = (measure_lesions(mask_of(a, (0.8, 0.8, 2.0))).iloc[0] for a in (small, large))
    keep = ["n_voxels", "volume_ml", "longest_axial_mm", "longest_3d_mm", "n_components", "flags"]
    assert one[keep].to_dict() == other[keep].to_dict()


@pytest.mark.parametrize("seed", range(5))
def test_longest_diameter_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random((4, 5, 3)) < 0.3
    inside[2, 2, 1] = True
    spacing = rng.uniform(0.5, 5.0, 3)
    steps = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    points = (np.argwhere(inside)[:, None] + steps).reshape(-1, 3) * spacing
    brute = max(float(np.linalg.norm(a - b)) for a in points for b in points)
    assert longest_diameter(inside, spacing) == pytest.approx(brute, rel=1e-12)


def test_labels_of_a_volume_stay_untouched() -> None:
    mask = mask_of(np.array([[[0, 1, 2]]], dtype=np.uint8))
    before = mask.array.copy()
    keep_labels(as_label_mask(replace(mask), case="P1"), [1])
    np.testing.assert_array_equal(mask.array, before)


@pytest.mark.parametrize("seed", range(8))
def test_peeling_is_an_erosion_in_the_plane(seed: int) -> None:
    rng = np.random.default_rng(seed)
    region = rng.random((4, 9, 10)) < rng.choice([0.0, 0.6, 0.9, 1.0])
    region[:, : seed % 3] = False
    np.testing.assert_array_equal(peeled(region), ndimage.binary_erosion(region, np.ones((1, 3, 3))))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_boxes_of_labels_are_those_of_a_plain_search(dtype: type) -> None:
    rng = np.random.default_rng(5)
    labels = np.zeros((9, 11, 13), dtype=dtype)
    for label in (7, 1, 120):
        z, y, x = (int(rng.integers(0, n - 3)) for n in labels.shape)
        labels[z : z + 3, y : y + 2, x : x + 3] = label
    plain = {
        n: tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(labels == n))
        for n in sorted(set(labels[labels > 0].tolist()))
    }
    assert list(label_boxes(labels).items()) == list(plain.items())
    assert label_boxes(np.zeros_like(labels)) == {}


def test_boxes_of_huge_labels_need_no_room_for_the_numbers_below() -> None:
    labels = np.zeros((4, 5, 6), dtype=np.int32)
    labels[1:3, 2, 3] = np.iinfo(np.int32).max
    labels[3, 4, 5] = 70_000
    assert label_boxes(labels) == {
        70_000: (slice(3, 4), slice(4, 5), slice(5, 6)),
        2_147_483_647: (slice(1, 3), slice(2, 3), slice(3, 4)),
    }
    assert measure_lesions(mask_of(labels))["lesion"].tolist() == [70_000, 2_147_483_647]


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (256, np.int32)])
def test_labels_take_eight_bits_where_they_suffice(largest: int, dtype: type) -> None:
    labels = np.zeros((3, 3, 3))
    labels[1, 1, 1] = largest
    array = as_label_mask(mask_of(labels), case="c").array
    assert array.dtype == dtype
    assert array.max() == largest


def test_keeping_every_label_keeps_the_mask() -> None:
    labels = np.zeros((3, 4, 5), dtype=np.uint8)
    labels[1, 1, 1], labels[2, 2, 2] = 3, 5
    mask = mask_of(labels)
    assert keep_labels(mask, [3, 5]) is mask
    assert np.unique(keep_labels(mask, [5]).array).tolist() == [0, 5]
    assert labels[1, 1, 1] == 3
