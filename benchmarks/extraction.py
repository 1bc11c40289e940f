"""Extraction against plain pyradiomics and other engines: from files to feature values, same settings, same run.

Plain: pyradiomics as its documentation shows, one ``execute(image, mask, label)`` per region, diagnostics on. Ours:
`extract_cohort` on a manifest of the same (uncompressed) files, without the cache. Besides the features it measures
lesions, organs and image quality, which is timed with it. Cases whose data are absent are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import radiomics
import SimpleITK as sitk
from measuring import Absent, Comparison, Entry, Given, apart, named
from peers import EXTRACTORS, InstallError, Peer, Remote, interpreter
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.profiles import Profile, engine_image_types, engine_settings, load_profiles
from radiomics_crlm.phantom.cohort import LESION_ROLES, simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig

SHIPPED = load_profiles().profiles
FULL = SHIPPED["ct-portal-venous-full"]
Values = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A manifest for our side; for the plain side image, mask and label of each region, by patient/region/lesion."""

    title: str
    folder: Path
    manifest: pd.DataFrame
    regions: dict[str, tuple[Path, Path, int]]
    profile: Profile


def one_scan(
    title: str, folder: Path, roles: str, marked: dict[str, tuple[Path, int]], profile: Profile, mask: str = "mask.nii"
) -> Case:
    """A case of one scan, ``image.nii`` and a mask in the folder; ``marked`` names the regions of the plain side."""
    row = {"patient_id": "P1", "timepoint": "baseline", "modality": profile.modality, "sequence": "x"}
    manifest = pd.DataFrame([row | {"image": "image.nii", "mask": mask, "mask_roles": roles}])
    regions = {f"P1/{name}": (folder / "image.nii", *where) for name, where in marked.items()}
    return Case(title, folder, manifest, regions, profile)


def with_regions(profile: Profile, *regions: str, **changes: object) -> Profile:
    """The profile for other regions or with other settings."""
    return Profile.model_validate({**profile.model_dump(), "regions": regions, **changes})


def write_ct(image: sitk.Image, path: Path) -> None:
    """A CT without padding below air, which our reader sets to -1024 HU: both sides shall see the same voxels."""
    sitk.WriteImage(sitk.Clamp(image, image.GetPixelID(), -1024, 32767), path)


def lesions(mask: Path, count: int) -> dict[str, tuple[Path, int]]:
    """The plain side of lesions that are labels 1 to ``count`` of one mask."""
    return {f"lesion/{k}": (mask, k) for k in range(1, count + 1)}


def simulated(_: Path, folder: Path) -> Case:
    """The first CTs of twelve simulated patients."""
    simulate_cohort(SimulationConfig(patients=12, seed=8), folder)
    rows = pd.read_csv(folder / "imaging.csv")
    rows = rows[(rows["study_day"] == 0) & (rows["modality"] == "CT") & (rows["mask_roles"] == LESION_ROLES)]
    regions = {}
    for row in rows.itertuples():
        labels = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(folder / row.mask)))
        for label in map(int, labels[labels > 0]):
            regions[f"{row.patient_id}/lesion/{label}"] = (folder / row.image, folder / row.mask, label)
    return Case(f"simulated cohort, {len(rows)} CTs, {len(regions)} lesions", folder, rows, regions, FULL)


def real(data: Path, folder: Path) -> Case:
    """A CT of the TCIA collection: 51 slices of 512 x 512, eight lesions."""
    source = data / "tcia_crlm_ct"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(next((source / "dicom").iterdir()))))
    image, mask = folder / "image.nii", folder / "mask.nii"
    scan = reader.Execute()
    write_ct(scan, image)
    marked = sitk.ReadImage(next((source / "derived").glob("*lesion_cross_sections.nii.gz")))
    marked.CopyInformation(scan)
    sitk.WriteImage(sitk.Cast(marked, sitk.sitkUInt8), mask)
    return one_scan("real CT (TCIA), 8 lesions", folder, "lesion=*", lesions(mask, 8), FULL)


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
    plain = lesions(mask, 12) | {"liver/0": (liver_mask, 1), "remnant/0": (remnant_mask, 1)}
    roles = "lesion=" + ",".join(map(str, range(1, 13))) + ";liver=20,21;remnant=21"
    profile = with_regions(FULL, "lesion", "liver", "remnant")
    return one_scan("CT phantom 512×512×200, 12 lesions, liver, remnant", folder, roles, plain, profile)


def small(data: Path, folder: Path) -> Case:
    """One lesion of the phantom in its large CT."""
    phantom(data, folder)
    one = folder / "one.nii"
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(folder / "mask.nii") == 8, sitk.sitkUInt8), one)
    return one_scan("one lesion in a CT of 512×512×200", folder, "lesion=*", lesions(one, 1), FULL, mask="one.nii")


def ibsi(data: Path, folder: Path) -> Case:
    """The CT phantom of IBSI 1, about 360,000 voxels at 1 mm."""
    source = data / "ibsi1" / "ibsi_1_ct_radiomics_phantom" / "nifti"
    image, mask = folder / "image.nii", folder / "mask.nii"
    scan, marked = sitk.ReadImage(source / "image" / "phantom.nii.gz"), sitk.ReadImage(source / "mask" / "mask.nii.gz")
    write_ct(sitk.Cast(scan, sitk.sitkInt16), image)
    sitk.WriteImage(sitk.Cast(marked > 0, sitk.sitkUInt8), mask)
    return one_scan("IBSI 1 CT phantom, 360,000 voxels", folder, "lesion=*", lesions(mask, 1), FULL)


def liver(data: Path, folder: Path, profile: Profile, title: str) -> Case:
    """The liver of the CT example of TotalSegmentator, 3 mm resampled to 1 mm: about a million voxels."""
    source = data / "totalsegmentator_examples"
    image, mask = folder / "image.nii", folder / "mask.nii"
    write_ct(sitk.ReadImage(source / "example_ct_sm.nii.gz"), image)
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(source / "example_seg.nii.gz") == 5, sitk.sitkUInt8), mask)
    return one_scan(title, folder, "lesion=*", lesions(mask, 1), profile)


def liver_original(data: Path, folder: Path) -> Case:
    """Whole liver, original image only."""
    only = with_regions(FULL, "lesion", wavelet=None, log_sigma_mm=None)
    return liver(data, folder, only, "whole liver (1 million voxels), original image only")


def liver_full(data: Path, folder: Path) -> Case:
    """Whole liver, all image types of the profile."""
    return liver(data, folder, FULL, "whole liver (1 million voxels)")


def mr(data: Path, folder: Path) -> Case:
    """The liver of the MR example of TotalSegmentator, normalised."""
    source = data / "totalsegmentator_examples"
    image, mask = folder / "image.nii", folder / "mask.nii"
    sitk.WriteImage(sitk.ReadImage(source / "example_mr_sm.nii.gz"), image)
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(source / "example_seg_mr.nii.gz") == 5, sitk.sitkUInt8), mask)
    profile = with_regions(SHIPPED["mr-t1-hbp"], "lesion", wavelet="coif1", log_sigma_mm=(1, 2, 3))
    return one_scan("MR, whole liver, normalised", folder, "lesion=*", lesions(mask, 1), profile)


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
        for region, (image, mask, label) in case.regions.items():
            raw = extractor.execute(str(image), str(mask), label=label)
            found[region] = {k: complex(v).real for k, v in raw.items() if not k.startswith("diagnostics")}
    return found


def run_ours(case: Case, jobs: int) -> Values:
    """The manifest as `crlm extract` runs it."""
    profiles = {f"{case.profile.modality}/*": case.profile}
    result = extract_cohort(case.manifest, case.folder, profiles, jobs=jobs)
    if len(result.exclusions):
        raise RuntimeError(f"{case.title}: {result.exclusions['reason'].tolist()}")
    return values_of(result)


def values_of(result: ExtractionResult) -> Values:
    """Feature values of all regions, under the names of the plain engine."""
    found: Values = {}
    for table, key in ((result.features_lesion, "lesion"), (getattr(result, "features_region", None), "region")):
        for row in [] if table is None else table.to_dict("records"):
            region = f"lesion/{int(row['lesion'])}" if key == "lesion" else f"{row['region']}/0"
            prefix = f"{key}__"
            values = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
            found[f"{row['patient_id']}/{region}"] = values
    return found


def features_apart(ours: Values, plain: Values) -> float:
    """Largest relative difference; without shape features of one slice, which we flag as undefined."""
    if not plain or not any(plain.values()):
        return float("inf")
    defined = {r: {n: v for n, v in values.items() if not np.isnan(ours[r][n])} for r, values in plain.items()}
    return apart({r: {n: ours[r][n] for n in values} for r, values in defined.items()}, defined)


@dataclass(frozen=True)
class Planned:
    """How a case is measured."""

    make: Callable[[Path, Path], Case]
    tolerance: float
    jobs: int = 1
    repeats: int = 5
    memory: bool = False
    quick: bool = False


# Why large regions are equal to 1e-9 and not identical: docs/extraction.md.
PLANNED = (
    Planned(simulated, 1e-9, jobs=2, quick=True),
    Planned(real, 0.0, memory=True),
    Planned(small, 1e-9, memory=True),
    Planned(ibsi, 1e-9, memory=True),
    Planned(liver_original, 1e-9, repeats=2),
    Planned(liver_full, 1e-9, repeats=2),
    Planned(mr, 1e-9, repeats=2),
    Planned(phantom, 1e-9, jobs=2, repeats=1),
)
OTHER_DEFINITIONS = "not compared: it computes the features of the IBSI"
# Peers that are installed and timed, and whether their values have the definitions of pyradiomics.
COMPARED = {"pyradiomics-cuda": True, "flash-radiomics": True, "pictologics": False, "z-rad": False, "mirp": False}
NOT_TIMED = {
    "pysera": "more than 200 s for one call on the IBSI phantom",
    "fastrad": "no reader, resampling or filters of its own; on the IBSI phantom it needs more than 24 GiB",
    "numpyradiomics": "no reader, resampling or filters of its own; 99 of the 107 features",
    "radiomicsj": "needs Java 17",
    "autorad": "does not install on Python 3.11: ModuleNotFoundError: No module named 'numpy' (a build of pyradiomics)",
    "qradiomics, QuantImage": "they call pyradiomics themselves",
}


def entries(given: Given) -> Iterator[Entry]:
    """All comparisons of extraction."""
    for number, planned in enumerate(PLANNED):
        if given.quick and not planned.quick:
            continue
        folder = given.folder / f"extraction{number}"
        folder.mkdir()
        try:
            case = planned.make(given.data, folder)
        except (RuntimeError, StopIteration, FileNotFoundError):
            yield Absent("extraction", (planned.make.__doc__ or "").rstrip("."), "its data are not here")
            continue
        yield against_plain(case, planned)
        if planned.make is ibsi:
            yield from against_peers(case, given)
    yield from (Absent("extraction", name, reason) for name, reason in NOT_TIMED.items())


def against_plain(case: Case, planned: Planned) -> Comparison:
    """Against the plain engine."""
    run_ours(case, planned.jobs)  # compiled kernels and processes are there when the clock starts
    return Comparison(
        "extraction", f"{case.title}, {planned.jobs} process{'es' * (planned.jobs > 1)}", named("pyradiomics-bhklab"),
        partial(run_ours, case, planned.jobs), partial(run_plain, case), features_apart, planned.tolerance,
        repeats=planned.repeats, least=min(2, planned.repeats), patience=25.0, memory=planned.memory, warm=False,
    )  # fmt: skip


def against_peers(case: Case, given: Given) -> Iterator[Entry]:
    """The engines that live in environments of their own, on one region."""
    (image, mask, _), *_ = case.regions.values()
    for peer in EXTRACTORS:
        try:
            python = interpreter(peer, given.peers)
        except InstallError as error:
            yield Absent("extraction", peer.name, f"does not install: {error}")
            continue
        if peer.name not in COMPARED:
            yield Absent("extraction", peer.name, "it installs, but no call of it is written here")
            continue
        yield from _against(peer, Remote(python, peer.name, image, mask, full=True), case)


def _against(peer: Peer, remote: Remote, case: Case) -> Iterator[Entry]:
    ((region, _),) = case.regions.items()
    ours = partial(one_region, case, region)
    try:
        first = remote()  # compiles and imports what it needs; says whether the call works at all
        own = not COMPARED[peer.name]
        yield Comparison(
            "extraction", f"{case.title}, 1 process", peer.requirements[0].replace("==", " "), ours, remote,
            OTHER_DEFINITIONS if own else judged(ours(), first.values), 1e-9, note="not the same work" if own else "",
            repeats=1 if first.seconds > 20 else 5, least=1, patience=15.0, warm=False,
        )  # fmt: skip
    except RuntimeError as error:
        yield Absent("extraction", peer.name, f"it installs, but its call fails: {error}")
    finally:
        remote.close()


def one_region(case: Case, region: str) -> dict[str, float]:
    """Ours, the features of one region."""
    return run_ours(case, 1)[region]


def judged(ours: dict[str, float], theirs: dict[str, float]) -> Callable[[dict, dict], float] | str:
    """All values are compared if they are equal at all; otherwise in words how many of them are."""
    equal = sum(apart(ours[name], theirs.get(name)) <= 1e-9 for name in ours)
    return apart if equal == len(ours) == len(theirs) else f"{equal} of {len(ours)} equal to 1e-09"
