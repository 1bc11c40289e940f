"""Masks of real patients against truth from other software: dcmqi's label maps, highdicom, a mask made by MIRP."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_examples import save_one, segmentation

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.mask_source import check_reference
from radiomics_crlm.imaging.masks import read_mask
from radiomics_crlm.imaging.rtstruct import open_structure_set
from radiomics_crlm.imaging.segmentation import open_segmentation
from radiomics_crlm.imaging.volume import read_volume


@pytest.fixture
def dcmqi(shared_data: Path) -> Path:
    folder = shared_data / "dcmqi_ct3slice_seg"
    if not folder.is_dir():
        pytest.skip("the dcmqi examples are absent")
    return folder


def truth(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_one_segment_equals_its_label_map(dcmqi: Path) -> None:
    image = read_volume(dcmqi / "ct-3slice", case="x")
    masks = read_mask(dcmqi / "liver.dcm", image, roles="liver=Liver", case="x")
    expected = truth(dcmqi / "liver_seg.nrrd") == 1
    assert expected.sum() == 107098
    np.testing.assert_array_equal(masks.anatomy["liver"], expected)
    assert masks.anatomy_flags == ()
    assert masks.offset_voxels < 1e-5
    # ... and so does the label map itself, read as a mask file
    again = read_mask(dcmqi / "liver_seg.nrrd", image, roles="liver=1", case="x")
    np.testing.assert_array_equal(again.anatomy["liver"], expected)


def test_five_overlapping_segments_equal_their_label_maps(dcmqi: Path) -> None:
    image = read_volume(dcmqi / "ct-3slice", case="x")
    opened = open_segmentation(dcmqi / "partial_overlaps.dcm", case="x")
    assert [s.label for s in opened.segments] == ["GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]
    masks, _, _ = opened.masks(range(1, 6), image, case="x")
    files = {1: 1, 4: 1, 5: 1, 2: 2, 3: 3}
    sizes = {1: 9602, 2: 11888, 3: 10743, 4: 6693, 5: 4713}
    for number, file in files.items():
        expected = truth(dcmqi / f"partial_overlaps-{file}.nrrd") == number
        assert expected.sum() == sizes[number]
        np.testing.assert_array_equal(masks[number], expected)
    # as lesions, overlapping voxels are counted and none of the five vanishes
    stack = np.stack([masks[n] for n in sizes])
    found = read_mask(dcmqi / "partial_overlaps.dcm", image, roles="lesion=*", case="x")
    assert found.lesions is not None
    assert found.lesion_flags == (f"lesions_overlap:{stack.sum() - stack.any(axis=0).sum()}",)
    assert set(np.unique(found.lesions.array)) == {0, 1, 2, 3, 4, 5}
    np.testing.assert_array_equal(found.lesions.array > 0, stack.any(axis=0))


@pytest.mark.parametrize("padding", ["noppv", "ppv5"])
def test_a_sparse_label_map_equals_its_truth(dcmqi: Path, padding: str) -> None:
    image = read_volume(dcmqi / "24x38x3" / "image", case="x")
    expected = truth(dcmqi / f"sparse_labelmap_{padding}_seg.nrrd")
    masks = read_mask(dcmqi / f"sparse-labelmap-{padding}.dcm", image, roles="liver=Liver", case="x")
    assert (expected == 1).sum() == 630
    np.testing.assert_array_equal(masks.anatomy["liver"], expected == 1)
    if padding == "ppv5":  # what the truth fills with the padding value is the slice without a frame: no segment
        np.testing.assert_array_equal(np.flatnonzero((expected == 5).all(axis=(1, 2))), [1])
        assert not masks.anatomy["liver"][1].any()


def test_the_structure_set_of_sts_001(shared_data: Path) -> None:
    folder = shared_data / "sts_rtstruct" / "STS_001" / "CT"
    if not folder.is_dir():
        pytest.skip("the structure set is absent")
    image = read_volume(folder / "dicom" / "image", case="x")
    expected = truth(folder / "nifti" / "mask" / "mask.nii.gz") > 0
    opened = open_structure_set(folder / "dicom" / "mask" / "RS.dcm", case="x")
    assert check_reference(opened.source, image, case="x") == ("mask_references_other_series",)
    masks = read_mask(folder / "dicom" / "mask", image, roles="lesion=GTV_Mass_CT", case="x")
    assert masks.lesions is not None
    found = masks.lesions.array > 0
    volume = found.sum() * image.voxel_volume_ml
    dice = 2 * (found & expected).sum() / (found.sum() + expected.sum())
    assert volume == pytest.approx(365.3, rel=0.01)
    assert dice >= 0.98
    # tighter than asked for: every voxel is the same
    assert int((found != expected).sum()) == 0


class Crlm:
    """CRLM-CT-1006: its slices from first to last, its image and its eight labels."""

    def __init__(self, shared_data: Path) -> None:
        folder = shared_data / "tcia_crlm_ct"
        self.image = read_volume(folder / "dicom" / "CRLM-CT-1006", case="x")
        slices = [pydicom.dcmread(p) for p in sorted((folder / "dicom" / "CRLM-CT-1006").iterdir())]
        self.slices = sorted(slices, key=lambda s: float(s.ImagePositionPatient[2]))
        self.labels = truth(folder / "derived" / "CRLM-CT-1006_lesion_cross_sections.nii.gz").astype(np.int32)


@pytest.fixture(scope="module")
def crlm() -> Crlm:
    shared = next(
        (p / "shared" / "data" for p in Path(__file__).resolve().parents if (p / "shared/data").is_dir()), None
    )
    if shared is None or not (shared / "tcia_crlm_ct").is_dir():
        pytest.skip("the CT of CRLM-CT-1006 is absent")
    return Crlm(shared)


def read_lesions(path: Path, image: Volume, roles: str = "lesion=Tumor_*") -> np.ndarray:
    masks = read_mask(path, image, roles=roles, case="x")
    assert masks.lesions is not None
    assert masks.lesion_flags == ()
    return masks.lesions.array


@pytest.mark.parametrize("variant", ["plain", "all frames", "shuffled", "reversed", "cropped", "labelmap", "mirrored"])
def test_a_segmentation_of_a_real_ct_reads_back_identically(crlm: Crlm, tmp_path: Path, variant: str) -> None:
    masks = {f"Tumor_{n}": crlm.labels == n for n in range(1, 9)}
    assert all(mask.any() for mask in masks.values())
    planes = list(range(len(crlm.slices)))
    if variant == "shuffled":
        planes = np.random.default_rng(3).permutation(len(planes)).tolist()
    if variant == "reversed":
        planes.reverse()
    if variant in ("cropped", "mirrored"):
        one = _on_own_grid(crlm, masks, variant)
        assert (one.Rows, one.Columns) < (512, 512)
    else:
        kind = "LABELMAP" if variant == "labelmap" else "BINARY"
        one = segmentation(crlm.slices, masks, planes=planes, kind=kind, omit_empty=variant != "all frames")
    if variant == "shuffled":
        _shuffle_frames(one)
    path = save_one(tmp_path / "seg.dcm", one)
    np.testing.assert_array_equal(read_lesions(path, crlm.image), crlm.labels)
    if variant == "plain":
        again = hd.seg.segread(path).get_volume(combine_segments=False)
        assert again.array.sum() == (crlm.labels > 0).sum()


def _on_own_grid(crlm: Crlm, masks: dict[str, np.ndarray], variant: str) -> hd.seg.Segmentation:
    """The same labels on a grid of their own: cut to the lesions, or with rows and columns mirrored."""
    where = np.argwhere(crlm.labels > 0)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    stack = np.stack(list(masks.values()), axis=-1).astype(np.uint8)
    stack = stack[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    axes = crlm.image.index_to_mm[:, ::-1] / np.array(crlm.image.spacing[::-1])
    if variant == "mirrored":
        stack, axes = stack[:, ::-1, ::-1], axes * [1, -1, -1]
        low = np.array([low[0], high[1] - 1, high[2] - 1])
    volume = hd.Volume.from_components(
        array=stack,
        spacing=crlm.image.spacing[::-1],
        position=np.array(crlm.image.origin) + crlm.image.index_to_mm @ low[::-1],
        direction=axes,
        coordinate_system="PATIENT",
        frame_of_reference_uid=crlm.slices[0].FrameOfReferenceUID,
        channels={"SegmentNumber": list(range(1, len(masks) + 1))},
    )
    return segmentation(crlm.slices, masks, volume=volume)


def _shuffle_frames(one: pydicom.Dataset) -> None:
    """Put the frames of a binary object into another order, with their pixels."""
    count, size = int(one.NumberOfFrames), one.Rows * one.Columns // 8
    order = np.random.default_rng(4).permutation(count)
    frames = [one.PixelData[k * size : (k + 1) * size] for k in range(count)]
    one.PixelData = b"".join(frames[k] for k in order)
    groups = list(one.PerFrameFunctionalGroupsSequence)
    one.PerFrameFunctionalGroupsSequence = [groups[k] for k in order]
