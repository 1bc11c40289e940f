"""Format matrix: every image format with every mask format, in CT and MR, whole, and with a part missing or damaged."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_examples import Series, box_contour, image_slices, save_all, save_one, segmentation, structure_set
from pydicom.dataset import FileDataset

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.masks import read_mask, read_scan
from radiomics_crlm.imaging.volume import read_volume, write_volume
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study.ingest import ScanRow, ingest_rows

SHAPE = (6, 20, 22)
BOXES = {1: (1, 3, 3, 8, 4, 9), 2: (4, 4, 12, 16, 10, 18)}  # first and last slice, row, column
IMAGES = ("dicom", ".nii", ".nii.gz", ".nrrd", ".mha")
MASKS = ("seg", "labelmap", "rtstruct", ".nii", ".nii.gz", ".nrrd", ".mha")
PARTIAL = (
    "whole",
    "mask in a folder",
    "image absent",
    "mask absent",
    "mask truncated",
    "mask empty",
    "role absent",
    "other grid",
)
ROLES = "lesion=1,2"


def labels() -> np.ndarray:
    array = np.zeros(SHAPE, dtype=np.int32)
    for label, (a, b, c, d, e, f) in BOXES.items():
        array[a : b + 1, c : d + 1, e : f + 1] = label
    return array


@dataclass(frozen=True)
class Scans:
    """Files of one modality: images, and masks that are whole, empty or on another grid."""

    folder: Path

    def image(self, kind: str) -> Path:
        return self.folder / ("dicom" if kind == "dicom" else f"image{kind}")

    def mask(self, kind: str, state: str) -> Path:
        return self.folder / state / (f"mask{kind}" if kind.startswith(".") else f"{kind}.dcm")


def write_masks(folder: Path, slices: list[FileDataset], grid: Volume, array: np.ndarray) -> None:
    folder.mkdir()
    for kind in (".nii", ".nii.gz", ".nrrd", ".mha"):
        write_volume(Volume(array, grid.spacing, grid.origin, grid.direction), folder / f"mask{kind}")
    named = {f"Tumor_{label}": array == label for label in BOXES}
    save_one(folder / "seg.dcm", segmentation(slices, named))
    save_one(folder / "labelmap.dcm", segmentation(slices, named, kind="LABELMAP"))
    regions = {
        name: [box_contour(slices, k, (c, d), (e, f)) for k in range(a, b + 1) if inside.any()]
        for (name, inside), (a, b, c, d, e, f) in zip(named.items(), BOXES.values(), strict=True)
    }
    save_one(folder / "rtstruct.dcm", structure_set(slices, regions))


@pytest.fixture(scope="module", params=["CT", "MR"])
def scans(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scans:
    folder = tmp_path_factory.mktemp(request.param)
    values = np.random.default_rng(0).integers(0, 200, SHAPE)
    slices = image_slices(values, Series(modality=request.param))
    image = read_volume(save_all(folder / "dicom", slices), case="P1")
    for kind in IMAGES[1:]:
        write_volume(image, folder / f"image{kind}")
    write_masks(folder / "whole", slices, image, labels())
    write_masks(folder / "empty", slices, image, labels() * 0)
    moved = image_slices(values, Series(modality=request.param, origin=(-4.8, 7.0, 100.0)))
    write_masks(folder / "other", moved, read_volume(save_all(folder / "moved", moved), case="P1"), labels())
    return Scans(folder)


def expected_code(partial: str, mask: str) -> str:
    """The reason for which a partial input is excluded; empty where it is read."""
    return {
        "whole": "",
        "mask in a folder": "",
        "image absent": "missing_file",
        "mask absent": "missing_file",
        # A DICOM object that ends early lacks elements; which ones depends on the cut.
        "mask truncated": "unreadable_image" if mask.startswith(".") else "missing_geometry",
        "mask empty": "empty_mask",
        "role absent": "no_lesion_label" if mask.startswith(".") else "unknown_segment",
        "other grid": "" if mask == "rtstruct" else "geometry_mismatch",
    }[partial]


@pytest.mark.parametrize("partial", PARTIAL)
@pytest.mark.parametrize(("image_kind", "mask_kind"), list(itertools.product(IMAGES, MASKS)))
def test_matrix(scans: Scans, tmp_path: Path, image_kind: str, mask_kind: str, partial: str) -> None:
    state = {"mask empty": "empty", "other grid": "other"}.get(partial, "whole")
    image_path, mask_path = scans.image(image_kind), scans.mask(mask_kind, state)
    roles = "lesion=7" if partial == "role absent" else ROLES
    if partial in ("mask in a folder", "mask truncated"):
        content = mask_path.read_bytes()
        kept = len(content) if partial == "mask in a folder" else len(content) * 2 // 3
        mask_path = tmp_path / mask_path.name
        mask_path.write_bytes(content[:kept])
    if partial == "mask in a folder":
        mask_path = tmp_path
    if partial == "image absent":
        image_path = tmp_path / f"absent{image_kind if image_kind != 'dicom' else ''}"
    if partial == "mask absent":
        mask_path = tmp_path / "absent" / mask_path.name
    code = expected_code(partial, mask_kind)
    if not code:
        image = read_scan(image_path, [mask_path], rule="", case="P1")
        masks = read_mask(mask_path, image, roles=roles, case="P1")
        assert masks.lesions is not None
        if partial == "other grid":  # contours know no grid: they are drawn where they are, 0.2 mm beside
            assert masks.lesions.array.any()
        else:
            np.testing.assert_array_equal(masks.lesions.array, labels())
        return
    with pytest.raises(CaseError, match="P1") as caught:
        read_mask(mask_path, read_scan(image_path, [mask_path], rule="", case="P1"), roles=roles, case="P1")
    assert caught.value.code == code


def test_mixed_formats_in_one_cohort_give_the_same_lesions(scans: Scans, tmp_path: Path) -> None:
    """Ingest brings all of them to one format with equal measurements."""
    modality = scans.folder.name[:2]
    rows = [
        ScanRow(f"P{k}", "preoperative", modality, "x", str(scans.image(image)), str(scans.mask(mask, "whole")), ROLES)
        for k, (image, mask) in enumerate(itertools.product(IMAGES, MASKS))
    ]
    bad = [ScanRow("Q", "preoperative", modality, "x", rows[0].image, str(scans.mask("seg", "empty")), ROLES)]
    result = ingest_rows([*rows, *bad], (), tmp_path, progress=lambda *_: None)
    assert result.scans == len(rows) == 35
    assert [(e.patient_id, e.code) for e in result.exclusions] == [("Q", "empty_mask")]
    lesions = read_table(tmp_path / "lesions.parquet", "lesions")
    sizes = lesions.groupby("lesion")[["n_voxels", "longest_axial_mm", "longest_3d_mm"]]
    assert (sizes.nunique() == 1).all(axis=None)
    assert lesions["lesion"].value_counts().to_dict() == {1: 35, 2: 35}
    assert np.allclose(sizes.first()["n_voxels"], [108, 45])
    manifest = read_table(tmp_path / "imaging.parquet", "imaging")
    assert manifest["image"].map(lambda name: Path(name).suffix).unique().tolist() == [".gz"]
    days = manifest["study_day"].to_numpy(dtype=float, na_value=np.nan)
    dicom = [row.image.endswith("dicom") for row in rows]
    np.testing.assert_array_equal(~np.isnan(days), dicom)
    assert isinstance(lesions, pd.DataFrame)
