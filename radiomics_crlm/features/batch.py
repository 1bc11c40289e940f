"""Lesions and features of a whole cohort: scan after scan, each image loaded once, a bad scan costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from radiomics_crlm.errors import CaseError
from radiomics_crlm.features.extract import extract_scan, feature_names
from radiomics_crlm.features.profiles import Profile, profile_for
from radiomics_crlm.imaging.measurements import ScanMeasurement, measure_scan, measured_row
from radiomics_crlm.imaging.quality import CHECK_COLUMNS, check_loaded, quality_table
from radiomics_crlm.imaging.regions import LesionSize, measure_lesions
from radiomics_crlm.imaging.scan import SCAN_KEY, LoadedScan, ScanFiles, load_scan, scans_of

_ANATOMY_COLUMNS = [*SCAN_KEY, "liver_volume_ml", "remnant_volume_ml", "tumour_volume_ml", "flags"]
_EXCLUSION_COLUMNS = ["patient_id", "timepoint", "stage", "code", "reason"]


@dataclass(frozen=True)
class ExtractionResult:
    """Tables of an extraction, in the order of the manifest whatever the number of processes.

    ``lesions`` and ``features_lesion`` have one row per lesion of every readable scan (a lesion that cannot be measured
    is a row with status ``failed``); ``anatomy`` one row per scan with liver and remnant volumes; ``exclusions`` one
    row per patient, time point and code for scans that gave nothing; ``quality`` one row per scan and check;
    ``measured`` one row per scan with the fields of `ScanMeasurement`; ``profiles`` those of its scans.
    """

    lesions: pd.DataFrame
    features_lesion: pd.DataFrame
    anatomy: pd.DataFrame
    exclusions: pd.DataFrame
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    measured: pd.DataFrame = field(default_factory=pd.DataFrame)
    profiles: tuple[Profile, ...] = ()


@dataclass(frozen=True)
class _Scan:
    """The files of a scan, and how to extract it."""

    files: ScanFiles
    profile: Profile | None

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.files.key


@dataclass
class _Outcome:
    """What came out of one scan: tables, or a code and a reason."""

    lesions: pd.DataFrame | None = None
    features: pd.DataFrame | None = None
    anatomy: dict[str, float | str] = field(default_factory=dict)
    quality: pd.DataFrame | None = None
    measured: dict[str, object] = field(default_factory=dict)
    code: str = ""
    reason: str = ""


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
        Exclusion codes are those of `load_scan` and `extract_scan`, and ``no_profile``,
        ``no_lesion_shown``, ``out_of_memory``.
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
    """Scans in the order in which the manifest first names them, each with its profile."""
    return [_Scan(files, profile_for(profiles, files.modality, files.sequence)) for files in scans_of(table)]


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
        raise CaseError("no_profile", "no extraction profile for this kind of scan", where=scan.files.case)
    found = load_scan(scan.files, root)
    if not found.tumour.any():
        raise CaseError("no_lesion_shown", "the scan shows no lesion, as the manifest says", where=scan.files.case)
    lesions = measure_lesions(found.lesions)
    common = [*found.image.flags, *found.lesion_flags]
    lesions["flags"] = [";".join([f for f in [own, *common] if f]) for own in lesions["flags"]]
    features = extract_scan(found.image, found.lesions, scan.profile, case=scan.files.case, anatomy=found.anatomy)
    return _Outcome(
        _keyed(lesions, scan),
        _keyed(features, scan),
        _anatomy(found),
        _keyed(quality_table(check_loaded(found, scan.files)), scan),
        measured_row(measure_scan(found.lesions, found.anatomy)),
    )


def _anatomy(found: LoadedScan) -> dict[str, float | str]:
    """Volumes in mL. The liver is the union of its labels and the lesions, since masks may leave lesions out; the
    remnant is what is left of it without tumour."""
    voxel, tumour = found.lesions.voxel_volume_ml, found.tumour
    flags = list(dict.fromkeys(found.anatomy_flags))
    result: dict[str, float | str] = {"tumour_volume_ml": int(tumour.sum()) * voxel}
    if "liver" in found.anatomy:
        liver = found.anatomy["liver"] | tumour
        result["liver_volume_ml"] = int(liver.sum()) * voxel
        if any(np.take(liver, end, axis=axis).any() for axis in range(3) for end in (0, -1)):
            flags.append("liver_touches_border")
    if "remnant" in found.anatomy:
        result["remnant_volume_ml"] = int((found.anatomy["remnant"] & ~tumour).sum()) * voxel
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
    anatomy = [{**s.files.as_columns(), **o.anatomy} for s, o in pairs if o.anatomy]
    quality = [o.quality for _, o in pairs if o.quality is not None]
    measured = [{**s.files.as_columns(), **o.measured} for s, o in pairs if o.measured]
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
        quality=pd.concat(quality, ignore_index=True) if quality else pd.DataFrame(columns=[*SCAN_KEY, *CHECK_COLUMNS]),
        measured=pd.DataFrame(measured, columns=[*SCAN_KEY, *ScanMeasurement.__dataclass_fields__]),
        profiles=tuple({s.profile.name: s.profile for s, _ in pairs if s.profile}.values()),
    )
