"""Declared sizes and decompression bombs are rejected from the header: under a second and under 200 MiB.

The files are read in a process of their own, so that its peak memory is that of the rejection.
"""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from dicom_examples import image_slices, save_all, save_one, segmentation
from pydicom.dataset import Dataset

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.volume import write_volume

READ = """
import json, resource, sys, time
from pathlib import Path
from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.masks import read_mask
from radiomics_crlm.imaging.volume import read_volume
image, results = read_volume(Path(sys.argv[1]), case="P1"), []
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for how, path in zip(sys.argv[2::2], sys.argv[3::2]):
    started = time.process_time()
    try:
        if how == "mask":
            read_mask(Path(path), image, roles="lesion=*", case="P1")
        else:
            read_volume(Path(path), case="P1")
        code = "read"
    except CaseError as error:
        code = error.code
    seconds = time.process_time() - started
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # never falls: worst so far
    results.append({"code": code, "seconds": seconds, "mib": used})
json.dump(results, sys.stdout)
"""
SMALL = Volume(
    np.arange(60, dtype=np.int16).reshape(3, 4, 5), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)
)


def nifti_header(shape: tuple[int, int, int]) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return bytes(header)


def zeros(header: bytes, count: int) -> bytes:
    """A gzip stream of a header and so many zeros, made piece by piece."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    parts = [packer.compress(header)]
    parts += [packer.compress(bytes(1 << 24)) for _ in range(count >> 24)]
    return b"".join([*parts, packer.flush()])


def text_header(name: str, shape: tuple[int, int, int], *, packed: bool = False) -> bytes:
    size = " ".join(map(str, shape))
    if name.endswith(".mha"):
        return (
            f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementType = MET_SHORT\n"
            f"CompressedData = {packed}\nElementDataFile = LOCAL\n"
        ).encode()
    return (
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: {size}\nencoding: {'gzip' if packed else 'raw'}\n"
        "endian: little\nspace: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "space origin: (0,0,0)\n\n"
    ).encode()


HUGE, LARGE, TINY = (10_000, 10_000, 10_000), (512, 512, 1000), (5, 4, 3)
BOMB = 1 << 29
FILES = {
    "12.nii": (lambda: nifti_header(HUGE) + bytes(100), "too_many_voxels"),
    "12.nii.gz": (lambda: zeros(nifti_header(HUGE), 1 << 24), "too_many_voxels"),
    "12.mha": (lambda: text_header(".mha", HUGE) + bytes(100), "too_many_voxels"),
    "12.nrrd": (lambda: text_header(".nrrd", HUGE) + bytes(100), "too_many_voxels"),
    "empty_promise.nii": (lambda: nifti_header(LARGE) + bytes(100), "unreadable_image"),
    "empty_promise.nii.gz": (lambda: gzip.compress(nifti_header(LARGE) + bytes(100)), "unreadable_image"),
    "empty_promise.mha": (lambda: text_header(".mha", LARGE) + bytes(100), "unreadable_image"),
    "packed_promise.mha": (
        lambda: text_header(".mha", LARGE, packed=True) + zlib.compress(bytes(99)),
        "unreadable_image",
    ),
    "empty_promise.nrrd": (lambda: text_header(".nrrd", LARGE) + bytes(100), "unreadable_image"),
    "bomb.nii.gz": (lambda: zeros(nifti_header(TINY), BOMB), "unreadable_image"),
    "bomb.nrrd": (lambda: text_header(".nrrd", TINY, packed=True) + zeros(b"", BOMB), "unreadable_image"),
    "bomb.mha": (lambda: text_header(".mha", TINY, packed=True) + zeros(b"", BOMB), "unreadable_image"),
}


def rejected(image: Path, *bad: tuple[str, Path]) -> list[str]:
    """Codes of the rejections, each of which was quick and small."""
    pairs = [text for how, path in bad for text in (how, str(path))]
    done = subprocess.run([sys.executable, "-c", READ, str(image), *pairs], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    results = json.loads(done.stdout)
    for result, (_, path) in zip(results, bad, strict=True):
        assert result["seconds"] < 1, (path.name, result)
        assert result["mib"] < 200, (path.name, result)
    return [result["code"] for result in results]


def test_image_files(tmp_path: Path) -> None:
    write_volume(SMALL, tmp_path / "good.nii.gz")
    for name, (make, _) in FILES.items():
        (tmp_path / name).write_bytes(make())
        assert (tmp_path / name).stat().st_size < 4_000_000
    bad = [(how, tmp_path / name) for how in ("image", "mask") for name in FILES]
    assert rejected(tmp_path / "good.nii.gz", *bad) == [code for _, code in FILES.values()] * 2


def _rows(slices: list[Dataset]) -> None:
    for one in slices:
        one.Rows = one.Columns = 65535


def _one_large_slice(slices: list[Dataset]) -> None:
    slices[0].Rows = slices[0].Columns = 65535


def _frames(slices: list[Dataset]) -> None:
    slices[0].NumberOfFrames = 2**31 - 1


def test_dicom_series_and_segmentations(tmp_path: Path) -> None:
    image = save_all(tmp_path / "image", image_slices(np.zeros((4, 16, 16), dtype=int)))
    bad: list[tuple[str, Path]] = []
    for change in (_rows, _one_large_slice, _frames):
        slices = image_slices(np.zeros((4, 16, 16), dtype=int))
        change(slices)
        bad.append(("image", save_all(tmp_path / change.__name__, slices)))
    for keyword in ("NumberOfFrames", "Rows"):
        one = segmentation(image_slices(np.zeros((4, 16, 16), dtype=int)), {"A": np.ones((4, 16, 16), dtype=bool)})
        setattr(one, keyword, 60_000)
        bad.append(("mask", save_one(tmp_path / f"{keyword}.dcm", one)))
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    bad += [("image", tmp_path / "empty.nii.gz"), ("image", tmp_path / "folder"), ("mask", tmp_path / "folder")]
    codes = rejected(image, *bad)
    assert codes[:2] == ["too_many_voxels", "mixed_geometry"]
    assert codes[2] in ("unreadable_image", "multi_frame")
    assert codes[3:] == ["missing_geometry", "unreadable_image", "unreadable_image", "no_series", "no_mask"]
