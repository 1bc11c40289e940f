"""Reading a CT of 512 x 512 x 300 and a segmentation of 12 segments, against the bare libraries on the same files.

Ours: `read_scan` and `read_mask` (every check, all segments on the grid of the image, roles assigned).
Bare: SimpleITK's series reader, and highdicom's `segread` with the frames of all segments as one array.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from dicom_examples import Series, image_slices, save_one, segmentation
from measuring import Comparison, Entry, Given, named

from radiomics_crlm.imaging.masks import MaskSet, read_mask, read_scan

SHAPE = (300, 512, 512)
ROLES = "lesion=Tumor_*;liver=Liver;remnant=Liver Remnant;hepatic_veins=Hepatic;portal_vein=Portal"


def make(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write the CT and the segmentation: liver, remnant, two vessel trees, eight lesions; scaled to the shape."""
    scale = [n / whole for n, whole in zip(shape, SHAPE, strict=True)]
    axes = [axis / s for axis, s in zip(np.ogrid[tuple(slice(n) for n in shape)], scale, strict=True)]

    def ellipsoid(centre: tuple[int, int, int], radii: tuple[int, int, int]) -> np.ndarray:
        return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) < 1)

    values = np.random.default_rng(0).normal(40, 20, shape).astype(np.int16)
    slices = image_slices(values, Series(spacing=(0.8, 0.8, 1.0), origin=(-200.0, -200.0, 0.0)))
    masks = {
        "Liver": ellipsoid((150, 256, 200), (110, 130, 120)),
        "Liver Remnant": ellipsoid((150, 256, 260), (100, 120, 60)),
        "Hepatic": ellipsoid((150, 256, 200), (90, 20, 20)),
        "Portal": ellipsoid((150, 230, 220), (90, 15, 18)),
    }
    for k in range(8):
        masks[f"Tumor_{k + 1}"] = ellipsoid((70 + 20 * k, 160 + 25 * k, 150 + 12 * k), (8 + 2 * k, 10, 10))
    (folder / "ct").mkdir()
    for k, one in enumerate(slices):
        save_one(folder / "ct" / f"{k:03d}.dcm", one)
    save_one(folder / "seg.dcm", segmentation(slices, masks))


def ours(folder: Path) -> tuple[np.ndarray, int]:
    """Our read: HU, and the number of voxels in all masks."""
    image = read_scan(folder / "ct", [folder / "seg.dcm"], rule="", case="benchmark")
    masks: MaskSet = read_mask(folder / "seg.dcm", image, roles=ROLES, case="benchmark")
    lesions = 0 if masks.lesions is None else int(np.count_nonzero(masks.lesions.array))
    return image.array, lesions + sum(int(np.count_nonzero(m)) for m in masks.anatomy.values())


def bare(folder: Path) -> tuple[np.ndarray, int]:
    """The bare libraries: HU, and the number of voxels in all segments."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "ct")))
    image = sitk.GetArrayFromImage(reader.Execute())
    volume = hd.seg.segread(folder / "seg.dcm").get_volume(combine_segments=False)
    return image, int(np.count_nonzero(volume.array))


def voxels_apart(first: tuple[np.ndarray, int], second: tuple[np.ndarray, int]) -> float:
    """0 if every voxel and the number of marked ones are the same."""
    return 0.0 if np.array_equal(first[0], second[0]) and first[1] == second[1] else float("inf")


def entries(given: Given) -> Iterator[Entry]:
    """The one comparison of reading."""
    shape = (60, 256, 256) if given.quick else SHAPE
    make(given.folder, shape)
    title = f"DICOM CT of {shape[1]}×{shape[2]}×{shape[0]} and a DICOM SEG of 12 segments"
    yield Comparison(
        "reading", title, named("SimpleITK", "highdicom"), partial(ours, given.folder), partial(bare, given.folder),
        voxels_apart, note="the peers check nothing; ours may take 1.2 of their time", memory=True,
    )  # fmt: skip
