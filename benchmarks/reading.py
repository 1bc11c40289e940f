"""Reading a CT of 512 x 512 x 300 and a segmentation of 12 segments, against the bare libraries on the same files.

Ours: `read_scan` and `read_mask` (every check, all segments on the grid of the image, roles assigned).
Bare: SimpleITK's series reader, and highdicom's `segread` with the frames of all segments as one array.

    python benchmarks/reading.py [--repeats 5] [--keep FOLDER]

Prints the median of each, and their ratio (target: at most 1.2). Both are warmed up once and take turns, so that a busy
machine hits them alike; every read is checked to give the same voxels.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_examples import Series, image_slices, save_one, segmentation

from radiomics_crlm.imaging.masks import MaskSet, read_mask, read_scan

SHAPE = (300, 512, 512)
ROLES = "lesion=Tumor_*;liver=Liver;remnant=Liver Remnant;hepatic_veins=Hepatic;portal_vein=Portal"


def ellipsoid(centre: tuple[int, int, int], radii: tuple[int, int, int]) -> np.ndarray:
    """Voxels of an ellipsoid."""
    axes = np.ogrid[tuple(slice(n) for n in SHAPE)]
    return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) < 1)


def make(folder: Path) -> None:
    """Write the CT and the segmentation: liver, remnant, two vessel trees, eight lesions."""
    values = np.random.default_rng(0).normal(40, 20, SHAPE).astype(np.int16)
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


def timed(read: Callable[[Path], tuple[np.ndarray, int]], folder: Path) -> tuple[float, np.ndarray, int]:
    """Seconds, image and count of one read."""
    started = time.perf_counter()
    image, count = read(folder)
    return time.perf_counter() - started, image, count


def run(folder: Path, repeats: int) -> float:
    """Time both in turn and print the medians; the ratio."""
    if not (folder / "seg.dcm").exists():
        make(folder)
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for k in range(repeats + 1):
        first, image, count = timed(ours, folder)
        second, expected, wanted = timed(bare, folder)
        if not np.array_equal(image, expected) or count != wanted:
            raise SystemExit("the two reads differ")
        if k:  # the first round warms up the files and the imports
            seconds["ours"].append(first)
            seconds["bare"].append(second)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["ours"] / medians["bare"]
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {repeats} repeats")
    for name, values in seconds.items():
        print(f"{name}: median {medians[name]:.2f} s (from {min(values):.2f} to {max(values):.2f})")
    print(f"ratio ours / bare: {ratio:.2f} (target at most 1.20)")
    return ratio


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the files (about 190 MB); default: a temporary one")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        run(options.keep, options.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options.repeats)


if __name__ == "__main__":
    main()
