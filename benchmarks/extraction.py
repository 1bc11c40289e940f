"""Extraction against plain pyradiomics, both from files to feature values, same settings, same run.

Plain: pyradiomics as its documentation shows, one ``execute(image, mask, label)`` per region, diagnostics on.
Ours: `extract_cohort` on a manifest of the same (uncompressed) files, with one process and two, without the cache.
Besides the features it measures lesions, organs and image quality, which is timed with it.

    python benchmarks/extraction.py [--cases crlm,phantom,...] [--repeats 5] [--data FOLDER] [--pictologics PYTHON]

Prints for each case the medians, their ratios and the largest difference of any value. Everything is warmed up once
(compiled kernels, worker processes); the sides take turns, so that a busy machine hits them alike. Cases whose data are
absent are left out, and said so. ``--pictologics`` names an interpreter (3.12 or later) that has it, to be timed on the
IBSI phantom; it computes IBSI features, not the values of pyradiomics.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import radiomics
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.profiles import Profile, engine_image_types, engine_settings, load_profiles

SHIPPED = load_profiles().profiles
FULL = SHIPPED["ct-portal-venous-full"]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
Values = dict[tuple[str, int], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """Files of one case: the label of each region in ``mask`` for the plain side, roles for ours."""

    title: str
    image: Path
    mask: Path
    roles: str
    labels: dict[tuple[str, int], tuple[Path, int]]  # (region, lesion) -> mask file and label for the plain side
    profile: Profile


def with_regions(profile: Profile, *regions: str, **changes: object) -> Profile:
    """The profile for other regions or with other settings."""
    return Profile.model_validate({**profile.model_dump(), "regions": regions, **changes})


def write_ct(image: sitk.Image, path: Path) -> None:
    """A CT without padding below air, which our reader sets to -1024 HU: both sides shall see the same voxels."""
    sitk.WriteImage(sitk.Clamp(image, image.GetPixelID(), -1024, 32767), path)


def lesions(mask: Path, count: int) -> dict[tuple[str, int], tuple[Path, int]]:
    """The plain side of lesions that are labels 1 to ``count`` of one mask."""
    return {("lesion", k): (mask, k) for k in range(1, count + 1)}


def crlm(data: Path, folder: Path) -> Case:
    """CRLM-CT-1006: 51 slices of 512 x 512, eight lesions, original, wavelet and LoG."""
    source = data / "tcia_crlm_ct"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(next((source / "dicom").iterdir()))))
    image, mask = folder / "image.nii", folder / "mask.nii"
    scan = reader.Execute()
    write_ct(scan, image)
    marked = sitk.ReadImage(next((source / "derived").glob("*lesion_cross_sections.nii.gz")))
    marked.CopyInformation(scan)
    sitk.WriteImage(sitk.Cast(marked, sitk.sitkUInt8), mask)
    return Case("CRLM-CT-1006, 8 lesions", image, mask, "lesion=*", lesions(mask, 8), FULL)


def phantom(_: Path, folder: Path) -> Case:
    """CT of 512 x 512 x 200 voxels with 12 lesions, liver and remnant."""
    rng = np.random.default_rng(12)
    shape, spacing = (200, 512, 512), (0.78, 0.78, 1.3)
    noise = ndimage.gaussian_filter(rng.normal(0, 90, shape).astype(np.float32), 1.2)
    z, y, x = (np.arange(n, dtype=np.float32) * s for n, s in zip(shape, reversed(spacing), strict=True))
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]

    def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        parts = [((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii, strict=True)]
        return (parts[0] + parts[1] + parts[2]) <= 1

    liver = ellipsoid((130, 190, 150), (80, 62, 85))
    labels = np.zeros(shape, dtype=np.uint8)
    labels[liver] = 20
    labels[liver & (x > 150)] = 21  # the remnant: what is left of a line
    centres = [
        (z0, y0, x0) for z0 in (95.0, 130.0, 165.0) for y0, x0 in ((170, 110), (205, 140), (175, 185), (215, 195))
    ]
    values = np.where(liver, 105, 20) + noise
    for k, centre in enumerate(centres, start=1):
        lesion = ellipsoid(centre, (4 + 0.9 * k, 5 + 0.8 * k, 4.5 + 0.85 * k)) & liver
        labels[lesion] = k
        values[lesion] -= 45
    image, mask, organs = folder / "image.nii", folder / "mask.nii", folder / "organs.nii"
    whole = np.where(liver, 1, 0) + np.where(labels == 21, 2, 0)  # bit 1: liver with lesions, bit 2: remnant without
    for path, array in ((image, np.rint(values).astype(np.int16)), (mask, labels), (organs, whole.astype(np.uint8))):
        one = sitk.GetImageFromArray(array)
        one.SetSpacing(spacing)
        sitk.WriteImage(one, path)
    liver_mask, remnant_mask = folder / "liver.nii", folder / "remnant.nii"
    stored = sitk.ReadImage(organs)
    sitk.WriteImage(stored > 0, liver_mask)
    sitk.WriteImage(stored == 3, remnant_mask)
    plain = lesions(mask, 12) | {("liver", 0): (liver_mask, 1), ("remnant", 0): (remnant_mask, 1)}
    roles = "lesion=" + ",".join(map(str, range(1, 13))) + ";liver=20,21;remnant=21"
    profile = with_regions(FULL, "lesion", "liver", "remnant")
    return Case("CT phantom 512x512x200, 12 lesions + liver + remnant", image, mask, roles, plain, profile)


def small(data: Path, folder: Path) -> Case:
    """One lesion of the phantom in its large CT."""
    whole = phantom(data, folder)
    one = folder / "one.nii"
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(whole.mask) == 8, sitk.sitkUInt8), one)
    return Case("one lesion in a CT of 512x512x200", whole.image, one, "lesion=*", lesions(one, 1), FULL)


def ibsi(data: Path, folder: Path) -> Case:
    """The CT phantom of IBSI 1, about 360,000 voxels at 1 mm."""
    source = data / "ibsi1" / "ibsi_1_ct_radiomics_phantom" / "nifti"
    image, mask = folder / "image.nii", folder / "mask.nii"
    scan, marked = sitk.ReadImage(source / "image" / "phantom.nii.gz"), sitk.ReadImage(source / "mask" / "mask.nii.gz")
    write_ct(sitk.Cast(scan, sitk.sitkInt16), image)
    sitk.WriteImage(sitk.Cast(marked > 0, sitk.sitkUInt8), mask)
    return Case("IBSI 1 CT phantom", image, mask, "lesion=*", lesions(mask, 1), FULL)


def liver(data: Path, folder: Path, profile: Profile, title: str) -> Case:
    """The liver of the CT example of TotalSegmentator, 3 mm resampled to 1 mm: about a million voxels."""
    source = data / "totalsegmentator_examples"
    image, mask = folder / "image.nii", folder / "mask.nii"
    write_ct(sitk.ReadImage(source / "example_ct_sm.nii.gz"), image)
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(source / "example_seg.nii.gz") == 5, sitk.sitkUInt8), mask)
    return Case(title, image, mask, "lesion=*", lesions(mask, 1), profile)


def liver_original(data: Path, folder: Path) -> Case:
    """Whole liver, original image only."""
    only = with_regions(FULL, "lesion", wavelet=None, log_sigma_mm=None)
    return liver(data, folder, only, "whole liver, original")


def liver_full(data: Path, folder: Path) -> Case:
    """Whole liver, all image types of the profile."""
    return liver(data, folder, FULL, "whole liver, original + wavelet + LoG")


def mr(data: Path, folder: Path) -> Case:
    """The liver of the MR example of TotalSegmentator, normalised."""
    source = data / "totalsegmentator_examples"
    image, mask = folder / "image.nii", folder / "mask.nii"
    sitk.WriteImage(sitk.ReadImage(source / "example_mr_sm.nii.gz"), image)
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(source / "example_seg_mr.nii.gz") == 5, sitk.sitkUInt8), mask)
    profile = with_regions(SHIPPED["mr-t1-hbp"], "lesion", wavelet="coif1", log_sigma_mm=(1, 2, 3))
    return Case("MR, liver, normalised", image, mask, "lesion=*", lesions(mask, 1), profile)


CASES: dict[str, Callable[[Path, Path], Case]] = {
    "crlm": crlm,
    "small": small,
    "ibsi": ibsi,
    "liver_original": liver_original,
    "liver_full": liver_full,
    "mr": mr,
    "phantom": phantom,
}


@contextmanager
def quiet() -> Iterator[None]:
    """The plain engine without its log lines and deprecation warnings."""
    radiomics.setVerbosity(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run_plain(case: Case) -> Values:
    """One call per region, from file names, diagnostics at their default."""
    parameters = {
        "setting": {k: v for k, v in engine_settings(case.profile).items() if k != "additionalInfo"},
        "imageType": engine_image_types(case.profile),
        "featureClass": dict.fromkeys(case.profile.feature_classes),
    }
    found: Values = {}
    with quiet():
        extractor = RadiomicsFeatureExtractor(parameters)
        for region, (mask, label) in case.labels.items():
            raw = extractor.execute(str(case.image), str(mask), label=label)
            found[region] = {k: complex(v).real for k, v in raw.items() if not k.startswith("diagnostics")}
    return found


def run_ours(case: Case, jobs: int) -> ExtractionResult:
    """The manifest of one scan, as `crlm extract` runs it."""
    manifest = pd.DataFrame(
        [
            {
                "patient_id": "P1", "timepoint": "baseline", "modality": case.profile.modality, "sequence": "x",
                "image": case.image.name, "mask": case.mask.name, "mask_roles": case.roles,
            }
        ]
    )  # fmt: skip
    result = extract_cohort(manifest, case.image.parent, {f"{case.profile.modality}/*": case.profile}, jobs=jobs)
    if len(result.exclusions):
        raise SystemExit(f"{case.title}: {result.exclusions['reason'].tolist()}")
    return result


def values_of(result: ExtractionResult) -> Values:
    """Feature values of all regions, under the names of the plain engine."""
    found: Values = {}
    for table, key in ((result.features_lesion, "lesion"), (getattr(result, "features_region", None), "region")):
        for row in [] if table is None else table.to_dict("records"):
            region = ("lesion", int(row["lesion"])) if key == "lesion" else (str(row["region"]), 0)
            prefix = f"{key}__"
            found[region] = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
    return found


def differences(plain: Values, ours: Values) -> tuple[int, int, float]:
    """Values compared, values that differ at all, largest relative difference; without undefined shape features."""
    count, unequal, largest = 0, 0, 0.0
    for region, expected in plain.items():
        for name, value in expected.items():
            got = ours[region][name]
            if np.isnan(got):  # flagged: a region of one slice has no three-dimensional shape
                continue
            count += 1
            if got != value:
                unequal += 1
                largest = max(largest, abs(got - value) / max(abs(value), 1e-12))
    return count, unequal, largest


def pictologics_seconds(python: Path, case: Case, repeats: int) -> float:
    """Median of the peer on the same files, after one warm-up (compilation)."""
    script = Path(__file__).with_name("peer_pictologics.py")
    command = [str(python), str(script), str(case.image), str(case.mask), str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(statistics.median(json.loads(done.stdout.splitlines()[-1])))


def measure(case: Case, repeats: int) -> dict[str, list[float]]:
    """Seconds of each side, taking turns."""
    sides: dict[str, Callable[[], Values | ExtractionResult]] = {
        "plain": lambda: run_plain(case),
        "1 process": lambda: run_ours(case, 1),
        "2 processes": lambda: run_ours(case, 2),
    }
    kept = {name: side() for name, side in list(sides.items())[1:]}  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            kept[name] = side()
            seconds[name].append(time.perf_counter() - start)
    values = {name: values_of(one) if isinstance(one, ExtractionResult) else one for name, one in kept.items()}
    for name in ("1 process", "2 processes"):
        count, unequal, largest = differences(values["plain"], values[name])
        print(f"  {name}: {count} values, {unequal} not identical, largest relative difference {largest:.1e}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with the real data")
    parser.add_argument("--pictologics", type=Path, help="an interpreter that has pictologics")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, medians of {arguments.repeats}")
    for name in arguments.cases.split(","):
        with tempfile.TemporaryDirectory() as folder:
            try:
                case = CASES[name](arguments.data, Path(folder))
            except (RuntimeError, StopIteration, FileNotFoundError):
                print(f"{name}: its data are absent, left out")
                continue
            print(f"{case.title}: {len(case.labels)} regions")
            seconds = {side: statistics.median(taken) for side, taken in measure(case, arguments.repeats).items()}
            for side, median in seconds.items():
                print(f"  {side:12} {median:8.2f} s   {seconds['plain'] / median:6.1f} x", flush=True)
            if name == "ibsi" and arguments.pictologics:
                peer = pictologics_seconds(arguments.pictologics, case, arguments.repeats)
                print(f"  pictologics  {peer:8.2f} s   ours takes {seconds['1 process'] / peer:.2f} of it")


if __name__ == "__main__":
    sys.exit(main())
