"""Headers that end the process of ITK, or keep it busy for ever, are refused before ITK sees them."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_examples import image_slices, save_all
from pydicom.uid import JPEGLosslessSV1, RLELossless

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.volume import read_volume, write_volume

SMALL = Volume(
    np.arange(60, dtype=np.int16).reshape(3, 4, 5), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)
)
READ = """
import sys
from pathlib import Path
from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.volume import read_volume
for name in sys.argv[1:]:
    try:
        read_volume(Path(name), case="P1")
    except CaseError as error:
        print(error)
"""
TEXTS = {  # ending, what is replaced, by what, why it is refused
    "long type": (".nrrd", b"type: short", b"type: " + b"a" * 3000, "a line of the header is too long"),
    "long space": (".nrrd", b"space: left-posterior-superior", b"space: " + b"a" * 3000, "a line of the header is too"),
    "NUL": (".nrrd", b"type: short", b"type: sh\0rt", "the header is no text"),
    "three numbers of axes": (".mha", b"NDims = 3", b"NDims = -5 7 100", "does not say how many axes"),
    "negative axes": (".mha", b"NDims = 3", b"NDims = -3", "does not say how many axes"),
    "many axes": (".mha", b"NDims = 3", b"NDims = 99", "does not say how many axes"),
    "no axes": (".mha", b"NDims = 3\n", b"", "does not say how many axes"),
    "two sizes": (".mha", b"DimSize = 5 4 3", b"DimSize = 5 4", "another length than the image has axes"),
    "short matrix": (".mha", b"TransformMatrix = ", b"TransformMatrix = 1\nX = ", "another length than the image has"),
}


def test_text_headers(tmp_path: Path) -> None:
    paths = []
    for number, (ending, old, new, _) in enumerate(TEXTS.values()):
        path = tmp_path / f"{number}{ending}"
        write_volume(SMALL, path)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        paths.append(str(path))
    done = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=True, timeout=120)
    said = done.stdout.splitlines()
    assert done.stderr == ""
    assert len(said) == len(TEXTS)
    for line, (name, case) in zip(said, TEXTS.items(), strict=True):
        assert case[3] in line, name


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_position_that_is_no_number(packed: bool, order: str, tmp_path: Path) -> None:
    """With a singular matrix as well, ITK 5.4 never comes back."""
    write_volume(SMALL, tmp_path / "sound.nii")
    header = bytearray((tmp_path / "sound.nii").read_bytes())
    struct.pack_into("<f", header, 280, 0.0)
    struct.pack_into("<f", header, 324, float("nan"))
    if order == ">":
        struct.pack_into(">i", header, 0, 348)
        struct.pack_into(">h", header, 254, 1)
        struct.pack_into(">12f", header, 280, *[0.0] * 11, float("inf"))
    path = tmp_path / ("bad.nii.gz" if packed else "bad.nii")
    path.write_bytes(gzip.compress(bytes(header)) if packed else bytes(header))
    with pytest.raises(CaseError, match="position of the image holds something that is no number") as refused:
        read_volume(path, case="P1")
    assert refused.value.code == "unreadable_image"


def test_compressed_pixels_without_a_frame(tmp_path: Path) -> None:
    slices = image_slices(np.zeros((2, 8, 8), dtype=int))
    for one in slices:
        one.compress(RLELossless)
        one["PixelData"].value = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    with pytest.raises(CaseError, match="truncated, damaged or compressed in an unsupported way"):
        read_volume(save_all(tmp_path / "ct", slices), case="P1")


def test_a_decoder_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    slices = image_slices(np.zeros((2, 8, 8), dtype=int))
    for one in slices:
        one.compress(RLELossless)
        one.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    with pytest.raises(CaseError, match="damaged, truncated or empty"):
        read_volume(save_all(tmp_path / "ct", slices), case="P1")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("slope", "intercept"), [(1, "9" * 16), ("9" * 16, 0), ("-" + "9" * 15, 5), (1, -(2**31))])
def test_whole_rescale_beyond_whole_numbers(slope: object, intercept: object, tmp_path: Path) -> None:
    """They were an ``OverflowError``; the values are floats then."""
    slices = image_slices(np.arange(128).reshape(2, 8, 8))
    for one in slices:
        one.RescaleSlope, one.RescaleIntercept = slope, intercept
    found = read_volume(save_all(tmp_path / "ct", slices), case="P1").array
    wanted = np.maximum((np.arange(128).reshape(2, 8, 8) + 1024) * float(str(slope)) + float(str(intercept)), -1024)
    np.testing.assert_allclose(found, wanted.astype(np.float32), rtol=1e-6)
