"""Lesions and features of a whole cohort: scan after scan, each image loaded once, a bad scan costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from radiomics_crlm.errors import CaseError
from radiomics_crlm.features.extract import extract_scan, feature_names
from radiomics_crlm.features.profiles import Profile, profile_for
from radiomics_crlm.imaging.geometry import Volume, clip_hu_padding
from radiomics_crlm.imaging.masks import parse_roles, read_mask, read_scan
from radiomics_crlm.imaging.regions import LesionSize, measure_lesions
from radiomics_crlm.imaging.volume import path_inside

SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]
_ANATOMY_COLUMNS = [*SCAN_KEY, "liver_volume_ml", "remnant_volume_ml", "tumour_volume_ml", "flags"]
_EXCLUSION_COLUMNS = ["patient_id", "timepoint", "stage", "code", "reason"]


@dataclass(frozen=True)
class ExtractionResult:
    """Tables of an extraction, in the order of the manifest whatever the number of processes.

    ``lesions`` and ``features_lesion`` have one row per lesion of every readable scan (a lesion that cannot be measured
    is a row with status ``failed``); ``anatomy`` one row per scan with liver and remnant volumes; ``exclusions`` one
    row per patient, time point and code for scans that gave nothing.
    """

    lesions: pd.DataFrame
    features_lesion: pd.DataFrame
    anatomy: pd.DataFrame
    exclusions: pd.DataFrame


@dataclass(frozen=True)
class _Scan:
    """One image, its masks with their roles, and how to extract it."""

    key: tuple[str, str, str, str]
    images: tuple[str, ...]
    masks: tuple[tuple[str, str], ...]
    profile: Profile | None
    series: tuple[str, ...] = ("",)

    @property
    def case(self) -> str:
        return " ".join([self.key[0], self.key[1], "/".join(self.key[2:])])


@dataclass
class _Outcome:
    """What came out of one scan: tables, or a code and a reason."""

    lesions: pd.DataFrame | None = None
    features: pd.DataFrame | None = None
    anatomy: dict[str, float | str] = field(default_factory=dict)
    code: str = ""
    reason: str = ""


@dataclass
class _Regions:
    """Lesion mask and anatomy of a scan, gathered from its mask files."""

    lesions: Volume | None = None
    anatomy: dict[str, np.ndarray] = field(default_factory=dict)
    lesion_flags: list[str] = field(default_factory=list)
    anatomy_flags: list[str] = field(default_factory=list)


def extract_cohort(
    imaging_table: pd.DataFrame,
    root: Path,
    profiles: Mapping[str, Profile],
    *,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExtractionResult:
    """Measure and extract all scans of a manifest.

    Parameters
    ----------
    imaging_table
        Table ``imaging``: one row per image and mask; rows of the same patient, time point, modality and sequence are
        masks of one scan.
    root
        Folder that the paths of the table refer to.
    profiles
        Kind of scan (``CT/portal_venous``, or ``MR/*``) to profile; see ``ExtractConfig.for_scans``.
    jobs
        Processes. Values and order do not depend on it.
    on_progress
        Called with the number of finished scans and of all scans.

    Returns
    -------
    ExtractionResult
        Exclusion codes are those of `read_scan` and `read_mask`, and ``no_profile``, ``ambiguous_image``,
        ``path_outside``, ``no_lesion_mask``, ``two_lesion_masks``, ``out_of_memory``.
    """
    scans = _scans(imaging_table, profiles)
    work = (joblib.delayed(process_scan)(scan, root) for scan in scans)
    outcomes: list[_Outcome] = []
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        for outcome in joblib.Parallel(n_jobs=max(1, min(jobs, len(scans))), return_as="generator")(work):
            outcomes.append(outcome)
            if on_progress is not None:
                on_progress(len(outcomes), len(scans))
    return _assemble(scans, outcomes)


def _scans(table: pd.DataFrame, profiles: Mapping[str, Profile]) -> list[_Scan]:
    """Scans in the order in which the manifest first names them."""
    scans = []
    for key, rows in table.groupby(SCAN_KEY, sort=False, dropna=False):
        text = tuple(str(part) for part in key)
        scans.append(
            _Scan(
                key=(text[0], text[1], text[2], text[3]),
                images=tuple(dict.fromkeys(map(str, rows["image"]))),
                masks=tuple(zip(map(str, rows["mask"]), map(str, rows["mask_roles"]), strict=True)),
                profile=profile_for(profiles, text[2], text[3]),
                series=tuple(dict.fromkeys(rows["series"].fillna("").map(str))) if "series" in rows else ("",),
            )
        )
    return scans


def process_scan(scan: _Scan, root: Path) -> _Outcome:
    """One scan; whatever is wrong with its files becomes a code and a reason."""
    try:
        return _extract(scan, root)
    except CaseError as error:
        detail = "".join(f", {k} {v}" for k, v in (("expected", error.expected), ("got", error.got)) if v)
        return _Outcome(code=error.code, reason=f"{'/'.join(scan.key[2:])}: {error.what}{detail}")
    except MemoryError:
        return _Outcome(code="out_of_memory", reason=f"{'/'.join(scan.key[2:])}: the scan does not fit into memory")


def _extract(scan: _Scan, root: Path) -> _Outcome:
    """Read, measure and extract one scan."""
    if scan.profile is None:
        raise CaseError("no_profile", "no extraction profile for this kind of scan", where=scan.case)
    if len(scan.images) != 1 or len(scan.series) != 1:
        raise CaseError("ambiguous_image", "one scan names several images", where=scan.case)
    inside = partial(path_inside, root, case=scan.case)
    image = read_scan(
        inside(scan.images[0]), [inside(mask) for mask, _ in scan.masks], rule=scan.series[0], case=scan.case
    )
    if scan.key[2] == "CT":
        image = clip_hu_padding(image)
    regions = _regions(scan, image, inside)
    if regions.lesions is None:
        raise CaseError("no_lesion_mask", "no mask of the scan has the role lesion", where=scan.case)
    lesions = measure_lesions(regions.lesions)
    common = [*image.flags, *regions.lesion_flags]
    lesions["flags"] = [";".join([f for f in [own, *common] if f]) for own in lesions["flags"]]
    features = extract_scan(image, regions.lesions, scan.profile, case=scan.case)
    return _Outcome(_keyed(lesions, scan), _keyed(features, scan), _anatomy(regions))


def _regions(scan: _Scan, image: Volume, inside: Callable[[str], Path]) -> _Regions:
    """Gather the masks of a scan; a bad anatomy mask costs the anatomy, a bad lesion mask the scan."""
    found = _Regions()
    for path, text in scan.masks:
        with_lesions = "lesion" in parse_roles(text, case=scan.case)
        try:
            masks = read_mask(inside(path), image, roles=text, case=scan.case)
        except CaseError as error:
            if with_lesions:
                raise
            found.anatomy_flags.append(f"mask_failed:{error.code}")
            continue
        if with_lesions and found.lesions is not None:
            raise CaseError("two_lesion_masks", "two masks of the scan have the role lesion", where=scan.case)
        found.lesions = masks.lesions if with_lesions else found.lesions
        found.lesion_flags += masks.lesion_flags if with_lesions else ()
        found.anatomy_flags += masks.anatomy_flags if masks.anatomy else ()
        for role, voxels in masks.anatomy.items():
            found.anatomy[role] = found.anatomy[role] | voxels if role in found.anatomy else voxels
    return found


def _anatomy(regions: _Regions) -> dict[str, float | str]:
    """Volumes in mL. The liver is the union of its labels and the lesions, since masks may leave lesions out."""
    if regions.lesions is None:
        return {}
    voxel = regions.lesions.voxel_volume_ml
    tumour = regions.lesions.array > 0
    flags = list(dict.fromkeys(regions.anatomy_flags))
    result: dict[str, float | str] = {"tumour_volume_ml": int(tumour.sum()) * voxel}
    if "liver" in regions.anatomy:
        liver = regions.anatomy["liver"] | tumour
        result["liver_volume_ml"] = int(liver.sum()) * voxel
        if any(np.take(liver, end, axis=axis).any() for axis in range(3) for end in (0, -1)):
            flags.append("liver_touches_border")
    if "remnant" in regions.anatomy:
        result["remnant_volume_ml"] = int(regions.anatomy["remnant"].sum()) * voxel
    return {**result, "flags": ";".join(flags)}


def _keyed(table: pd.DataFrame, scan: _Scan) -> pd.DataFrame:
    """Put the key of the scan in front."""
    key = pd.DataFrame({name: [value] * len(table) for name, value in zip(SCAN_KEY, scan.key, strict=True)})
    return pd.concat([key, table], axis=1)


def _assemble(scans: Iterable[_Scan], outcomes: Iterable[_Outcome]) -> ExtractionResult:
    """Stack the outcomes in the order of the scans."""
    pairs = list(zip(scans, outcomes, strict=True))
    lesions = [o.lesions for _, o in pairs if o.lesions is not None]
    features = [o.features for _, o in pairs if o.features is not None]
    anatomy = [{**dict(zip(SCAN_KEY, s.key, strict=True)), **o.anatomy} for s, o in pairs if o.anatomy]
    excluded = [(s.key[0], s.key[1], "extract", o.code, o.reason) for s, o in pairs if o.code]
    reasons: dict[tuple[str, ...], list[str]] = {}
    for *case, reason in excluded:  # two scans of one time point may fail alike: one row, both reasons
        reasons.setdefault(tuple(case), []).append(reason)
    empty_lesions = pd.DataFrame(columns=[*SCAN_KEY, *LesionSize.__dataclass_fields__])
    names = dict.fromkeys(n for s, _ in pairs if s.profile for n in feature_names(s.profile))
    head = ["lesion", "status", "reason", "flags", "profile", "settings_hash", "engine"]
    empty_features = pd.DataFrame(columns=[*SCAN_KEY, *head, *names])
    return ExtractionResult(
        lesions=pd.concat(lesions, ignore_index=True) if lesions else empty_lesions,
        features_lesion=pd.concat(features, ignore_index=True) if features else empty_features,
        anatomy=pd.DataFrame(anatomy, columns=_ANATOMY_COLUMNS),
        exclusions=pd.DataFrame(
            [(*case, "; ".join(texts)) for case, texts in reasons.items()], columns=_EXCLUSION_COLUMNS
        ),
    )
