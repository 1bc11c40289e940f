"""What is found below a folder of DICOM, and what is not opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_examples import Series, box_contour, image_slices, save_all, save_one, segmentation, structure_set

from radiomics_crlm.imaging.collection import scan_collection

VOXELS = np.zeros((3, 6, 5), dtype=np.int16)
CT, MR = Series(), Series(patient="P2", modality="MR", description="hbp")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two series in one folder, a third elsewhere, a segmentation, a structure set, and files that are no DICOM."""
    slices = image_slices(VOXELS, CT)
    found = tmp_path / "found"
    save_all(found / "P1", slices, "a")
    save_all(found / "P1", image_slices(VOXELS, Series(number=2, description="arterial")), "b")
    save_all(found / "P2" / "mr", image_slices(VOXELS, MR))
    mask = np.ones(VOXELS.shape, dtype=bool)
    save_one(found / "P1" / "masks" / "seg.dcm", segmentation(slices, {"Liver": mask}, description="by hand"))
    region = {"Liver": [box_contour(slices, 1, (1, 3), (1, 3))]}
    save_one(found / "P1" / "masks" / "rt.dcm", structure_set(slices, region))
    (found / "P1" / "notes.txt").write_text("no image")
    return found


def test_series_and_segmentations_are_listed_once(root: Path) -> None:
    seen: list[int] = []
    made = scan_collection(root, on_progress=seen.append)
    assert [(one.patient, one.description, one.folder, one.file) for one in made.images] == [
        ("P1", "portal venous", "P1", ""),
        ("P1", "arterial", "P1", ""),
        ("P2", "hbp", "P2/mr", ""),
    ]
    (mask,) = made.segmentations
    assert (mask.patient, mask.description, mask.folder, mask.file) == ("P1", "by hand", "P1/masks", "P1/masks/seg.dcm")
    assert mask.referenced == {CT.uid}
    assert made.damaged == 0
    assert seen == list(range(1, 13))
    assert scan_collection(root) == made


def test_damaged_files_are_counted_and_the_rest_is_found(root: Path) -> None:
    whole = scan_collection(root)
    (root / "P1" / "empty.dcm").write_bytes(b"")
    data = (root / "P1" / "masks" / "seg.dcm").read_bytes()
    (root / "P1" / "masks" / "half.dcm").write_bytes(data[:200])
    made = scan_collection(root)
    assert made.damaged == 2
    assert (made.images, made.segmentations) == (whole.images, whole.segmentations)


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    whole = scan_collection(root)
    save_all(tmp_path / "elsewhere", image_slices(VOXELS, Series(patient="P3")))
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "one.dcm").symlink_to(next((tmp_path / "elsewhere").iterdir()))
    (root / "P2" / "round").symlink_to(root)
    assert scan_collection(root) == whole


def test_eight_levels_down_and_no_further(tmp_path: Path) -> None:
    deep = tmp_path
    for level in range(1, 10):
        deep = deep / f"{level}"
        save_all(deep, image_slices(VOXELS[:1], Series(patient=f"P{level}")))
    assert [one.patient for one in scan_collection(tmp_path).images] == [f"P{level}" for level in range(1, 9)]
