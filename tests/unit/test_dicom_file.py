"""Hostile and odd DICOM files: compressed syntaxes, copies, tilt, bombs, nesting; each one reason for one case."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_examples import Series, image_slices, save_all, save_one, segmentation, structure_set
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom import read_series
from radiomics_crlm.imaging.dicom_file import MAX_INFLATED_BYTES, _codestream_size, quiet_parser
from radiomics_crlm.imaging.masks import read_mask
from radiomics_crlm.imaging.volume import MAX_VOXELS, read_volume

VALUES = np.random.default_rng(2).integers(-1000, 1000, (4, 32, 40))


def code_of(call: Callable[[], object], match: str = "P1") -> str:
    with pytest.raises(CaseError, match=match) as caught:
        call()
    assert "Secret" not in str(caught.value)
    return caught.value.code


def read(folder: Path) -> np.ndarray:
    return read_series(folder, case="P1", max_voxels=MAX_VOXELS).array


def by_itk(one: FileDataset, compressor: str, folder: Path) -> None:
    """Compress the pixels of a slice with GDCM, which can write what pydicom cannot."""
    image = sitk.GetImageFromArray(one.pixel_array[np.newaxis].astype(np.int16))
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(folder / "by_itk.dcm"))
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(image)
    packed = pydicom.dcmread(folder / "by_itk.dcm")
    (folder / "by_itk.dcm").unlink()
    one.PixelData, one["PixelData"].VR = packed.PixelData, "OB"
    one["PixelData"].is_undefined_length = True
    one.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_series_read_like_plain_ones(tmp_path: Path, syntax: str) -> None:
    slices = image_slices(VALUES)
    for one in slices:
        if syntax in (RLELossless, JPEGLSLossless):
            one.compress(syntax, generate_instance_uid=False)
        else:
            by_itk(one, "JPEG" if syntax == JPEGLosslessSV1 else "JPEG2000", tmp_path)
        assert one.file_meta.TransferSyntaxUID == syntax
    found = read(save_all(tmp_path / "s", slices))
    np.testing.assert_array_equal(found, VALUES)
    assert found.dtype == np.int16


def test_a_missing_decoder_is_named(tmp_path: Path) -> None:
    slices = image_slices(VALUES)
    slices[1].compress(RLELossless, generate_instance_uid=False)
    slices[1].file_meta.TransferSyntaxUID = HTJ2KLossless
    folder = save_all(tmp_path / "s", slices)
    assert code_of(lambda: read(folder), "got High-Throughput JPEG 2000") == "missing_decoder"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_frames_that_claim_another_size_never_reach_a_decoder(tmp_path: Path, syntax: str) -> None:
    slices = image_slices(VALUES)
    if syntax == JPEGLSLossless:
        slices[1].compress(syntax, generate_instance_uid=False)
    else:
        by_itk(slices[1], "JPEG" if syntax == JPEGLosslessSV1 else "JPEG2000", tmp_path)
    (frame,) = pydicom.encaps.generate_frames(slices[1].PixelData, number_of_frames=1)
    frame, old = bytearray(frame), ((32, 40), (65000, 65001))
    layout = ">2I" if syntax == JPEG2000Lossless else ">2H"
    sizes = [size[::-1] if syntax == JPEG2000Lossless else size for size in old]
    packed = [np.array(size, dtype=layout[0] + "u" + ("4" if "I" in layout else "2")).tobytes() for size in sizes]
    assert frame.count(packed[0]) >= 1
    lying = bytes(frame.replace(packed[0], packed[1], 1))
    assert _codestream_size(bytes(frame)) == (32, 40)
    assert _codestream_size(lying) == (65000, 65001)
    slices[1].PixelData = encapsulate([lying])
    folder = save_all(tmp_path / "s", slices)
    assert code_of(lambda: read(folder)) == "unreadable_image"


def test_copies_are_left_out_and_impostors_refused(tmp_path: Path) -> None:
    folder = save_all(tmp_path / "s", image_slices(VALUES))
    first = sorted(folder.iterdir())[0]
    (folder / "copy of a slice").write_bytes(first.read_bytes())
    volume = read_series(folder, case="P1", max_voxels=MAX_VOXELS)
    np.testing.assert_array_equal(volume.array, VALUES)
    assert volume.flags == ("duplicate_files_dropped:1",)
    other = pydicom.dcmread(first)
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(folder / "copy of a slice")
    assert code_of(lambda: read(folder), "two different files") == "duplicate_positions"


@pytest.mark.parametrize("degrees", [0.5, 7.0, -25.0])
def test_gantry_tilt_is_said_in_degrees(tmp_path: Path, degrees: float) -> None:
    slices = image_slices(np.zeros((20, 8, 8), dtype=int))
    for k, one in enumerate(slices):
        x, y, z = (float(v) for v in one.ImagePositionPatient)
        one.ImagePositionPatient = [x, round(y + 3.0 * k * np.tan(np.deg2rad(degrees)), 6), z]
    folder = save_all(tmp_path / "s", slices)
    assert code_of(lambda: read(folder), f"a tilt of {abs(degrees):.1f} degrees") == "sheared_stack"


def test_patients_are_never_mixed_whatever_the_series(tmp_path: Path) -> None:
    folder = save_all(tmp_path / "s", image_slices(VALUES))
    save_all(folder, image_slices(VALUES, Series(patient="P2", number=2)), "x")
    assert code_of(lambda: read(folder), "more than one patient") == "mixed_patients"


def test_only_differences_of_days_can_leave(tmp_path: Path) -> None:
    days = []
    for k, date in enumerate(["19591209", "19600413", "not a date"]):
        slices = image_slices(VALUES, Series(date="20200101"))
        for one in slices:
            with quiet_parser():
                one.AcquisitionDate = date
        volume = read_volume(save_all(tmp_path / str(k), slices), case="P1")
        assert volume.source is not None
        assert "1959" not in repr(volume)
        days.append(volume.source.day)
    assert days[1] - days[0] == 126
    assert days[2] is not None  # the next date that is one: that of the study


def nested(depth: int) -> bytes:
    """Sequences in sequences, with undefined lengths."""
    start = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return start * depth + end * depth


def whole(one: Dataset) -> bytes:
    buffer = io.BytesIO()
    one.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["image", "seg", "rtstruct"])
def test_deep_nesting_costs_the_case(tmp_path: Path, kind: str) -> None:
    slices = image_slices(VALUES)
    folder = save_all(tmp_path / "s", slices)
    image = read_volume(folder, case="P1")
    if kind == "image":
        target = sorted(folder.iterdir())[1]
        target.write_bytes(_insert(target.read_bytes(), nested(5000)))
        assert code_of(lambda: read(folder)) == "unreadable_image"
        return
    one = segmentation(slices, {"A": VALUES > 0}) if kind == "seg" else structure_set(slices, {"A": []})
    path = save_one(tmp_path / "mask.dcm", one)
    path.write_bytes(_insert(path.read_bytes(), nested(5000)))
    assert code_of(lambda: read_mask(path, image, roles="lesion=*", case="P1")) == "unreadable_image"


def _insert(content: bytes, element: bytes) -> bytes:
    """Put (0040,0275) in its place: before the first element of a later group."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    later = next(e for e in dataset if e.tag > 0x00400275)
    mark = int(later.tag.group).to_bytes(2, "little") + int(later.tag.elem).to_bytes(2, "little")
    at = content.rindex(mark) if later.tag.group == 0x7FE0 else content.index(mark + later.VR.encode())
    return content[:at] + element + content[at:]


def deflated(one: Dataset, extra: bytes = b"") -> bytes:
    content = whole(one)
    end = 144 + int.from_bytes(content[140:144], "little")
    meta = content[:end].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    grown = len(meta) - end
    meta = meta.replace(b"\x02\x00\x10\x00UI\x14\x00", b"\x02\x00\x10\x00UI\x16\x00")
    meta = meta[:140] + (end - 144 + grown).to_bytes(4, "little") + meta[144:]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return meta + packer.compress(content[end:] + extra) + packer.flush()


def test_deflated_files_are_read_up_to_a_size(tmp_path: Path) -> None:
    slices = image_slices(VALUES)
    folder = save_all(tmp_path / "s", slices)
    target = folder / "03_0.dcm"
    target.write_bytes(deflated(slices[0]))
    assert pydicom.dcmread(target).file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read(folder), VALUES)
    target.write_bytes(deflated(slices[0], bytes(MAX_INFLATED_BYTES)))
    assert target.stat().st_size < 400_000
    assert code_of(lambda: read(folder), "unpacks to far more") == "decompression_bomb"
    content = deflated(slices[0])
    target.write_bytes(content[:-40] + bytes(np.random.default_rng(0).integers(0, 256, 40, dtype=np.uint8)))
    assert code_of(lambda: read(folder)) == "unreadable_image"


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(128) + b"DICM", b"%PDF-1.4 \x00\x01", bytes(4096)])
def test_files_that_are_no_images(tmp_path: Path, content: bytes) -> None:
    folder = save_all(tmp_path / "s", image_slices(VALUES))
    image = read_volume(folder, case="P1")
    (folder / "zz.dcm").write_bytes(content)
    assert code_of(lambda: read(folder)) == "unreadable_image"
    call = lambda: read_mask(folder / "zz.dcm", image, roles="lesion=*", case="P1")  # noqa: E731
    assert code_of(call) == "unreadable_image"


def test_nothing_is_said_on_the_screen(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog) -> None:
    slices = image_slices(VALUES)
    for one in slices:
        with quiet_parser():
            one.add_new(0x00100030, "DA", "Secret")
            one.add_new(0x00181151, "IS", "1.5")
    assert read(save_all(tmp_path / "s", slices)).shape == VALUES.shape
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
