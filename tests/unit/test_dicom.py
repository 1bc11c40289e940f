"""One DICOM series from a folder: ITK is the oracle for what is accepted, a table says what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.volume import read_volume

SERIES, FRAME = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
Change = Callable[[list[FileDataset]], object]


def make_slices(n: int = 5, tilt: float = 0.0) -> list[FileDataset]:
    """A CT of 6 rows and 4 columns, 3 mm apart; ``tilt`` turns the whole stack about x (degrees)."""
    turn = np.deg2rad(tilt)
    row, column = np.array([1.0, 0, 0]), np.array([0.0, np.cos(turn), np.sin(turn)])
    normal = np.cross(row, column)
    values = np.random.default_rng(1).integers(0, 2000, (n, 6, 4)).astype(np.int16)
    slices = []
    for k in range(n):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(k)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.Modality, one.PatientID, one.ImageType = "CT", "SECRET", ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.SeriesInstanceUID, one.FrameOfReferenceUID, one.InstanceNumber = SERIES, FRAME, str(k + 1)
        one.Rows, one.Columns, one.SamplesPerPixel = 6, 4, 1
        one.PhotometricInterpretation = "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.PixelSpacing = [0.7, 0.8]
        one.ImageOrientationPatient = [float(f"{v:.9f}") for v in (*row, *column)]
        one.ImagePositionPatient = [float(f"{v:.6f}") for v in np.array([-5.0, 7.0, 100.0]) + 3.0 * k * normal]
        one.SliceThickness = "3.0"
        one.RescaleSlope, one.RescaleIntercept = "1", "-1024"
        one.PixelData = values[k].tobytes()
        slices.append(one)
    return slices


def save(folder: Path, slices: list[FileDataset]) -> Path:
    """Write slices under names whose order is not the order of the slices."""
    folder.mkdir(exist_ok=True)
    for k, one in enumerate(slices):
        one.save_as(folder / f"{(k * 7 + 3) % 11:02d}_{k}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("tilt", [0.0, 25.0])
def test_agrees_with_itk(tmp_path: Path, tilt: float) -> None:
    folder = save(tmp_path / "s", make_slices(tilt=tilt))
    (folder / "README.txt").write_text("not DICOM")
    volume = read_volume(folder, case="P1")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(volume.origin, image.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(volume.direction, image.GetDirection(), atol=1e-6)
    assert volume.array.dtype == np.int16
    assert volume.flags == ()


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    slices = make_slices(3)
    slices[1].RescaleSlope, slices[1].RescaleIntercept = "0.5", "-1000"
    volume = read_volume(save(tmp_path / "s", slices), case="P1")
    expected = [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, np.stack(expected))


def test_padding_below_air_is_clipped_in_ct_only(tmp_path: Path) -> None:
    slices = make_slices(3)
    for one in slices:
        one.PixelData = np.full((6, 4), -976, dtype=np.int16).tobytes()  # -2000 HU
    volume = read_volume(save(tmp_path / "ct", slices), case="P1")
    assert volume.flags == ("hu_padding_clipped",)
    assert set(volume.array.ravel()) == {-1024}
    for one in slices:
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MRImageStorage
        one.Modality = "MR"
        del one.RescaleSlope, one.RescaleIntercept
    volume = read_volume(save(tmp_path / "mr", slices), case="P1")
    assert volume.flags == ()
    assert set(volume.array.ravel()) == {-976}


def test_rescale_that_is_no_number_is_refused(tmp_path: Path) -> None:
    slices = make_slices(3)
    slices[1].RescaleSlope = float("nan")
    with pytest.raises(CaseError, match="24 voxels") as caught:
        read_volume(save(tmp_path / "s", slices), case="P1")
    assert caught.value.code == "non_finite_voxels"


def test_localizers_and_other_objects_are_passed_over(tmp_path: Path) -> None:
    slices = make_slices(4)
    scout = make_slices(1)[0]
    scout.SeriesInstanceUID, scout.ImageType = generate_uid(), ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    report = make_slices(1)[0]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    assert read_volume(save(tmp_path / "s", [*slices, scout, report]), case="P1").array.shape == (4, 6, 4)


def test_single_slice_takes_its_thickness(tmp_path: Path) -> None:
    assert read_volume(save(tmp_path / "s", make_slices(1)), case="P1").spacing == (0.8, 0.7, 3.0)


def _second_series(slices: list[FileDataset]) -> None:
    slices[4].SeriesInstanceUID = generate_uid()


def _shear(slices: list[FileDataset]) -> None:
    for k, one in enumerate(slices):
        x, y, z = one.ImagePositionPatient
        one.ImagePositionPatient = [x, float(y) + 0.5 * k, z]


def _move_last(distance: float) -> Change:
    def change(slices: list[FileDataset]) -> None:
        x, y, z = slices[-1].ImagePositionPatient
        slices[-1].ImagePositionPatient = [x, y, float(z) + distance]

    return change


def _set(keyword: str, value: object, which: int = 2) -> Change:
    return lambda slices: setattr(slices[which], keyword, value)


def _delete(keyword: str) -> Change:
    return lambda slices: delattr(slices[2], keyword)


REFUSALS: list[tuple[str, str, Change]] = [
    ("no_series", "no CT or MR image", lambda slices: slices.clear()),
    ("ambiguous_series", "got 2 series: .*4 slices, 0.8 x 0.7 x 3 mm", _second_series),
    ("mixed_patients", "more than one patient", _set("PatientID", "SECRET2")),
    ("missing_slices", "1 of 3 gaps", lambda slices: slices.pop(2)),
    ("uneven_spacing", "1 of 4 gaps", _move_last(1.3)),
    ("duplicate_positions", "2 slices or more", _move_last(-3.0)),
    ("sheared_stack", "sideways", _shear),
    ("mixed_geometry", "slices differ", _set("ImageOrientationPatient", [0.8, 0.6, 0, -0.6, 0.8, 0])),
    ("mixed_geometry", "slices differ", _set("PixelSpacing", [0.71, 0.8])),
    ("mixed_geometry", "slices differ", _set("FrameOfReferenceUID", generate_uid())),
    ("missing_geometry", "lacks position", _delete("ImagePositionPatient")),
    ("missing_geometry", "lacks position", _delete("PixelSpacing")),
    ("missing_geometry", "invalid position", _set("PixelSpacing", [0.0, 0.8])),
    ("missing_rescale", "lacks rescale", _delete("RescaleSlope")),
    ("missing_pixel_data", "no pixel data", _delete("PixelData")),
    ("unreadable_image", "truncated", _set("PixelData", bytes(30))),
    ("multi_frame", "more than one frame", _set("NumberOfFrames", 2)),
]


@pytest.mark.parametrize(("code", "message", "change"), REFUSALS)
def test_refusals(tmp_path: Path, capfd: pytest.CaptureFixture[str], code: str, message: str, change: Change) -> None:
    slices = make_slices()
    change(slices)
    if code == "multi_frame":
        slices[2].PixelData *= 2
    with pytest.raises(CaseError, match=message) as caught:
        read_volume(save(tmp_path / "s", slices), case="P7")
    assert caught.value.code == code
    assert "P7" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert SERIES not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_damaged_header_and_size_limit(tmp_path: Path) -> None:
    folder = save(tmp_path / "s", make_slices())
    with pytest.raises(CaseError) as caught:
        read_volume(folder, case="P1", max_voxels=6 * 4 * 5 - 1)
    assert caught.value.code == "too_many_voxels"
    end = next(p for p in folder.iterdir() if p.name.endswith("_4.dcm"))  # its loss would leave no gap
    content = end.read_bytes()
    for kept in (0, 100, 300, 600):
        end.write_bytes(content[:kept])
        with pytest.raises(CaseError) as caught:
            read_volume(folder, case="P1")
        assert caught.value.code in {"unreadable_image", "missing_geometry"}, kept


def test_enhanced_objects_are_refused(tmp_path: Path) -> None:
    slices = make_slices(1)
    slices[0].SOPClassUID = slices[0].file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    with pytest.raises(CaseError, match="multi-frame"):
        read_volume(save(tmp_path / "s", slices), case="P1")
    assert pydicom.dcmread(next((tmp_path / "s").iterdir())).Rows == 6


@pytest.mark.parametrize(
    ("folder", "shape", "spacing"),
    [
        ("tcia_crlm_ct/dicom/CRLM-CT-1006", (51, 512, 512), (0.804688, 0.804688, 5.0)),
        ("cmb_crc_liver_mri/SCAN_001/adc_image", (36, 288, 256), (1.5625, 1.5625, 7.0)),
        ("cmb_crc_liver_mri/SCAN_002/adc_image", (45, 288, 256), (1.5625, 1.5625, 6.0)),
    ],
)
def test_real_series_agree_with_itk(
    shared_data: Path, folder: str, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    if not (shared_data / folder).is_dir():
        pytest.skip("this series is absent")
    volume = read_volume(shared_data / folder, case="real")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / folder)))
    image = reader.Execute()
    expected = sitk.GetArrayFromImage(image)
    if "tcia" in folder:
        assert volume.flags == ("hu_padding_clipped",)
        assert expected.min() == -3024
        expected = np.maximum(expected, -1024)
    assert volume.array.shape == shape
    np.testing.assert_array_equal(volume.array, expected)
    np.testing.assert_allclose(volume.spacing, spacing, atol=1e-5)
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), atol=1e-9)
    np.testing.assert_allclose(volume.origin, image.GetOrigin())
    np.testing.assert_allclose(volume.direction, image.GetDirection())
