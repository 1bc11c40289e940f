"""Mutated headers of images and masks: each is read, or is one case with a reason; nothing else ever comes out."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_examples import Series, box_contour, image_slices, save_all, save_one, segmentation, structure_set

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.masks import read_mask
from radiomics_crlm.imaging.volume import read_volume, write_volume

SHAPE = (4, 12, 16)
KINDS = ("ct", "mr", "seg", "labelmap", "rtstruct", ".nii", ".nii.gz", ".nrrd", ".mha", "mask.nii")


class Originals:
    """One good file of each kind, and how a file of its kind is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        values = np.random.default_rng(0).integers(-500, 500, SHAPE)
        slices = image_slices(values)
        self.image = read_volume(save_all(folder / "ct", slices), case="P1")
        save_all(folder / "mr", image_slices(values, Series(modality="MR")))
        inside = np.zeros(SHAPE, dtype=bool)
        inside[1:3, 3:7, 4:9] = True
        save_one(folder / "seg.dcm", segmentation(slices, {"A": inside, "B": ~inside}))
        save_one(folder / "labelmap.dcm", segmentation(slices, {"A": inside}, kind="LABELMAP"))
        contours = [box_contour(slices, level, (3, 6), (4, 8)) for level in (1, 2)]
        save_one(folder / "rtstruct.dcm", structure_set(slices, {"A": contours}))
        for ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
            write_volume(self.image, folder / f"image{ending}")
        labels = Volume(inside.astype(np.uint8), self.image.spacing, self.image.origin, self.image.direction)
        write_volume(labels, folder / "mask.nii")

    def of(self, kind: str) -> tuple[Path, Callable[[], object]]:
        """The file to mutate, and the reading of it."""
        if kind in ("ct", "mr"):
            folder = self.folder / kind
            return sorted(folder.iterdir())[1], lambda: read_volume(folder, case="P1")
        if kind.startswith("."):
            path = self.folder / f"image{kind}"
            return path, lambda: read_volume(path, case="P1")
        path = self.folder / (kind if "." in kind else f"{kind}.dcm")
        return path, lambda: read_mask(path, self.image, roles="lesion=*", case="P1")


def mutated(content: bytes, rng: np.random.Generator, header: int) -> bytes:
    """Change some bytes of a header, move, cut or repeat a piece of it."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        end = min(len(data), header)
        if end < 8:
            break
        at, how = int(rng.integers(0, end - 4)), int(rng.integers(0, 7))
        size = int(rng.integers(1, 9))
        if how == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif how == 1:
            data[at : at + size] = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
        elif how == 2:
            data[at : at + size] = bytes([int(rng.choice([0, 0xFF, 0x7F, 0x80]))]) * size
        elif how == 3:
            del data[at : at + size]
        elif how == 4:
            data[at:at] = data[at : at + 8 * size]
        elif how == 5:
            del data[at if rng.random() < 0.3 else len(data) - size :]
        else:
            data[at : at + 4] = int(rng.choice([-1, 2**31 - 1, 65535, 10**6])).to_bytes(4, "little", signed=True)
    return bytes(data)


def survive(folder: Path, count: int, seed: int) -> Counter[str]:
    """Read so many mutated files; anything but a `CaseError` is passed on to the test."""
    originals, rng, seen = Originals(folder), np.random.default_rng(seed), Counter[str]()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        path, read = originals.of(kind)
        content = path.read_bytes()
        if kind == ".nii.gz":
            bad = gzip.compress(mutated(gzip.decompress(content), rng, 352), mtime=0)
        else:
            bad = mutated(content, rng, 352 if "nii" in kind else 4000)
        path.write_bytes(bad)
        refused: CaseError | None = None
        try:
            read()
        except CaseError as error:
            refused = error
        path.write_bytes(content)
        assert "Secret" not in str(refused)
        assert str(folder) not in str(refused)
        seen["read" if refused is None else refused.code] += 1
    return seen


def test_originals_are_good(tmp_path: Path) -> None:
    originals = Originals(tmp_path)
    for kind in KINDS:
        originals.of(kind)[1]()


def test_300_mutated_headers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen = survive(tmp_path, 300, seed=1)
    assert sum(seen.values()) == 300
    assert len(seen) >= 8, seen  # the mutations reach many of the checks
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_2000_mutated_headers(tmp_path: Path) -> None:
    seen = survive(tmp_path, 2000, seed=2)
    assert sum(seen.values()) == 2000
    assert len(seen) >= 12, seen
