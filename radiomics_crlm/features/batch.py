"""Lesions and features of a whole cohort: a bad scan or region costs itself only, and nothing is computed twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.features.account import Account, Tally, account_of
from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.features.cache import open_cache
from radiomics_crlm.features.fingerprint import code_version, size_on_disk
from radiomics_crlm.features.parts import (
    LESION_PREFIX,
    REGION_PREFIX,
    Region,
    RegionFeatures,
    assemble,
    assemble_regions,
    feature_names,
)
from radiomics_crlm.features.profiles import Profile, profile_for
from radiomics_crlm.features.scan_tasks import (
    TOO_LARGE,
    Part,
    Record,
    ScanTask,
    extract_part,
    look_up,
    regions_of,
    share_out,
)
from radiomics_crlm.imaging.measurements import ScanMeasurement
from radiomics_crlm.imaging.quality import CHECK_COLUMNS
from radiomics_crlm.imaging.regions import LesionSize
from radiomics_crlm.imaging.scan import SCAN_KEY, scans_of
from radiomics_crlm.parallel import Lost, Workers, run, workers

GIB = 1024**3
# The rest is for the system, and for estimates that are too low.
_SHARE_OF_MEMORY = 0.75
_ANATOMY_COLUMNS = [*SCAN_KEY, "liver_volume_ml", "remnant_volume_ml", "tumour_volume_ml", "flags"]
_EXCLUSION_COLUMNS = ["patient_id", "timepoint", "stage", "code", "reason"]
_HEAD = ["status", "reason", "flags", "profile", "settings_hash", "engine"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExtractionResult:
    """Tables of an extraction, in the order of the manifest whatever the number of processes.

    ``lesions`` and ``features_lesion`` have one row per lesion of every readable scan (a lesion that cannot be measured
    is a row with status ``failed``); ``features_region`` one row per organ that the profile asks for; ``anatomy`` one
    row per scan with liver and remnant volumes; ``exclusions`` one row per patient, time point and code for scans that
    gave nothing; ``quality`` one row per scan and check; ``measured`` one row per scan with the fields of
    `ScanMeasurement`. ``profiles`` are those of the scans, and ``account`` says what it took.
    """

    lesions: pd.DataFrame
    features_lesion: pd.DataFrame
    anatomy: pd.DataFrame
    exclusions: pd.DataFrame
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    measured: pd.DataFrame = field(default_factory=pd.DataFrame)
    features_region: pd.DataFrame = field(default_factory=pd.DataFrame)
    profiles: tuple[Profile, ...] = ()
    account: Account = field(default_factory=Account)

    def patients(self) -> pd.DataFrame:
        """Table ``features_patient``."""
        organs = self.features_region if len(self.features_region) else None
        return aggregate_patients(self.features_lesion, self.lesions, self.anatomy, organs)


@dataclass
class _Case:
    """A scan, and what is known of it by now."""

    task: ScanTask
    record: Record | None = None
    features: dict[Region, RegionFeatures] = field(default_factory=dict)
    cached: set[Region] = field(default_factory=set)
    code: str = ""
    reason: str = ""
    waiting: int = 0
    tables: tuple[pd.DataFrame, pd.DataFrame] | None = None

    @property
    def profile(self) -> Profile:
        if self.task.profile is None:  # excluded, so nobody asks
            raise CrlmError("a scan without profile has no features", where=self.task.files.case)
        return self.task.profile

    @property
    def regions(self) -> tuple[Region, ...] | None:
        """All regions, once they are known."""
        return None if self.record is None else regions_of(self.record, self.profile)

    @property
    def open(self) -> bool:
        """Whether work is left."""
        return not self.code and (self.regions is None or not set(self.regions) <= set(self.features))

    def take(self, part: Part | Lost) -> None:
        """Add what a worker found."""
        if isinstance(part, Lost):
            kind = "/".join(self.task.files.key[2:])
            part = Part(code="worker_lost", reason=f"{kind}: {part.deaths} workers died while they worked on the scan")
        self.record = part.record or self.record
        self.features |= part.features
        self.cached |= part.cached
        if part.code and self.code in ("", "out_of_memory"):
            self.code, self.reason = part.code, part.reason

    def settle(self) -> None:
        """Make rows of the features, which take a tenth of the memory, unless something may be tried again."""
        again = any(found.reason == TOO_LARGE for found in self.features.values())
        if not self.code and not self.open and not again:
            self.rows()

    def rows(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the lesions and of the organs."""
        if self.tables is None:
            found = [self.features[region] for region in self.regions or ()]
            self.tables = assemble(found, self.profile), assemble_regions(found, self.profile)
            self.features = {region: replace(features, parts={}) for region, features in self.features.items()}
        return self.tables


def extract_cohort(
    imaging_table: pd.DataFrame,
    root: Path,
    profiles: Mapping[str, Profile],
    *,
    jobs: int = 1,
    dask: str | None = None,
    cache: Path | None = None,
    max_memory_gib: float | None = None,
    on_progress: Progress | None = None,
    on_regions: Progress | None = None,
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
    jobs, dask
        Processes on this machine, or address of a Dask scheduler whose workers see the same files. Values and order
        do not depend on it.
    cache
        Folder for what is finished (`radiomics_crlm.features.cache`), so that a run that was stopped goes on where it
        was. It may be shared.
    max_memory_gib
        Memory of a worker in GiB, its libraries and the scan included; regions that would need more fail with
        ``too_large_for_memory``. By default three quarters of the machine's memory, divided by ``jobs``; regions
        beyond that are done at the end, one at a time with the memory of all.
    on_progress, on_regions
        Called with the number of finished scans and of all that have to be read (known ones are not); with the number
        of finished regions and of all, estimated as long as some scans are not read.

    Returns
    -------
    ExtractionResult
        Exclusion codes are those of `load_scan` and `PreparedScan`, and ``no_profile``, ``no_lesion_shown``,
        ``file_changed``, ``out_of_memory``, ``worker_lost``.

    Raises
    ------
    ConfigError
        If the cache cannot be written to, or those of `radiomics_crlm.parallel.run`.
    """
    began = time.monotonic()
    cache = None if cache is None else open_cache(cache)
    crew = workers(jobs, dask)
    bound = _bound(crew.each, max_memory_gib)
    tasks = [
        ScanTask(
            f, root.resolve(), profile_for(profiles, f.modality, f.sequence), cache, code_version(), max_bytes=bound
        )
        for f in scans_of(imaging_table)
    ]
    tally = Tally()
    cases = [_Case(task) for task in tasks]
    if cache is not None:
        for case, part in zip(cases, _looked_up(tasks, jobs, dask), strict=True):
            if isinstance(part, Part):
                tally.add(part)
                case.take(part)
                case.task = replace(case.task, found=part.found)
                case.settle()
    todo = _plan(cases, crew)
    _work(cases, todo, tally, _Watch(cases, on_progress, on_regions), jobs=jobs, dask=dask)
    if max_memory_gib is None and dask is None and crew.count > 1:
        _second_chance(cases, _bound(crew.total, None), tally)
    rows = [row for case in cases if not case.code for row in case.features.values()]
    account = account_of(
        tally,
        rows,
        [case.code for case in cases],
        cached=sum(len(case.cached) for case in cases if not case.code),
        workers=crew.count,
        max_memory=bound,
        seconds=time.monotonic() - began,
    )
    return replace(_assembled(cases), account=account)


def _looked_up(tasks: Sequence[ScanTask], jobs: int, dask: str | None) -> Iterator[Part | Lost]:
    """What the cache knows of each scan. Hashing and reading need no interpreter lock, and processes take seconds to
    start, so that threads do here."""
    if dask is not None:
        yield from run(look_up, tasks, dask=dask)
        return
    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(look_up, tasks)


def _bound(available: int | None, gib: float | None) -> int | None:
    """Bytes that one worker may take."""
    if gib is not None:
        return int(gib * GIB)
    return None if available is None else int(_SHARE_OF_MEMORY * available)


def _plan(cases: Sequence[_Case], crew: Workers) -> list[tuple[_Case, ScanTask]]:
    """Tasks that are left, large scans first. Where there are fewer scans than workers, each is shared by several.

    Each of them reads the scan anew, which costs less than handing it over: they do it at the same time.
    """
    left = [case for case in cases if case.task.profile is None or case.open]
    left.sort(key=lambda case: -size_on_disk(case.task.files, case.task.root))
    each = max(1, math.ceil(crew.count / max(1, len(left))))
    plan = []
    for case in left:
        tasks = _shares(case, each)
        case.waiting = len(tasks)
        plan += [(case, task) for task in tasks]
    return plan


def _shares(case: _Case, most: int) -> list[ScanTask]:
    """The work that is left of a scan, in at most so many shares."""
    if case.record is None or case.regions is None:
        return [replace(case.task, share=k, shares=most) for k in range(most)]
    extents = {Region(role, label): size for role, label, size in case.record["extents"]}
    missing = {region: extents[region] for region in case.regions if region not in case.features}
    bins = share_out(missing, min(most, len(missing)))
    return [replace(case.task, regions=tuple(regions), measure=False) for regions in bins]


class _Watch:
    """Tells how far the work is."""

    def __init__(self, cases: Sequence[_Case], on_progress: Progress | None, on_regions: Progress | None) -> None:
        self._on_progress, self._on_regions = on_progress, on_regions
        self._done = 0
        self._counts: dict[int, np.ndarray] = {}
        self._total = np.zeros(4, dtype=int)
        for case in cases:
            self._count(case)

    def _count(self, case: _Case) -> None:
        """Keep sums of usable scans, of those whose regions are known, of these regions, and of those finished."""
        usable = case.task.profile is not None and not case.code
        regions = case.regions if usable else None
        now = np.array([usable, regions is not None, len(regions or ()), len(case.features) if usable else 0])
        self._total += now - self._counts.get(id(case), 0)
        self._counts[id(case)] = now

    def tell(self, case: _Case, scans: int) -> None:
        """After a task for one of so many scans."""
        self._count(case)
        if case.waiting == 0:
            self._done += 1
            if self._on_progress is not None:
                self._on_progress(self._done, scans)
        usable, known, regions, finished = self._total.tolist()
        if known and self._on_regions is not None:
            self._on_regions(finished, regions + round(regions / known * (usable - known)))


def _work(
    cases: Sequence[_Case],
    todo: Sequence[tuple[_Case, ScanTask]],
    tally: Tally,
    watch: _Watch,
    *,
    jobs: int,
    dask: str | None,
) -> None:
    """Do the tasks and gather what comes of them."""
    scans = len({id(case) for case, _ in todo})

    def gather(number: int, part: Part | Lost) -> None:
        case = todo[number][0]
        if isinstance(part, Part):
            tally.add(part)
        case.take(part)
        case.waiting -= 1
        case.settle()
        watch.tell(case, scans)

    for _ in run(extract_part, [task for _, task in todo], jobs=jobs, dask=dask, on_done=gather):
        pass
    for case in cases:
        if not case.code and set(case.regions or ()) != set(case.features):
            raise CrlmError("the workers did not return the regions of the scan", where=case.task.files.case)


def _second_chance(cases: Sequence[_Case], bound: int | None, tally: Tally) -> None:
    """Do what was too large for a worker's share of the memory alone, with all of it."""
    todo = []
    for case in cases:
        large = [region for region, found in case.features.items() if found.reason == TOO_LARGE]
        if not large and case.code != "out_of_memory":
            continue
        case.code = case.reason = ""
        for region in large:
            del case.features[region]
        todo += [(case, replace(task, max_bytes=bound)) for task in _shares(case, 1)]
    _work(cases, todo, tally, _Watch(cases, None, None), jobs=1, dask=None)


def _keyed(table: pd.DataFrame, case: _Case) -> pd.DataFrame:
    """Put the key of the scan in front."""
    key = pd.DataFrame({name: [value] * len(table) for name, value in case.task.files.as_columns().items()})
    return pd.concat([key, table], axis=1)


def _assembled(cases: Sequence[_Case]) -> ExtractionResult:
    """Tables, in the order of the scans."""
    good = [(case, case.record) for case in cases if not case.code and case.record is not None]
    return ExtractionResult(
        profiles=_profiles(cases),
        lesions=_stacked(
            [_keyed(pd.DataFrame(r["lesions"], columns=[*LesionSize.__dataclass_fields__]), c) for c, r in good],
            LesionSize.__dataclass_fields__,
        ),
        features_lesion=_stacked(
            [_keyed(c.rows()[0], c) for c, _ in good],
            ["lesion", *_HEAD, *_all_features(cases, LESION_PREFIX)],
        ),
        features_region=_stacked(
            [_keyed(c.rows()[1], c) for c, _ in good if len(c.rows()[1])],
            ["region", *_HEAD, *_all_features((c for c, _ in good if len(c.rows()[1])), REGION_PREFIX)],
        ),
        anatomy=pd.DataFrame([_with_key(c, r["anatomy"]) for c, r in good], columns=_ANATOMY_COLUMNS),
        exclusions=_exclusions(cases),
        quality=_stacked(
            [_keyed(pd.DataFrame(r["quality"], columns=[*CHECK_COLUMNS]), c) for c, r in good], CHECK_COLUMNS
        ),
        measured=pd.DataFrame(
            [_with_key(c, r["measured"]) for c, r in good],
            columns=[*SCAN_KEY, *ScanMeasurement.__dataclass_fields__],
        ),
    )


def _with_key(case: _Case, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**case.task.files.as_columns(), **fields}


def _stacked(tables: Sequence[pd.DataFrame], columns: Iterable[str]) -> pd.DataFrame:
    """Tables below each other, or an empty one with the key of a scan and these columns."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*SCAN_KEY, *columns])


def _profiles(cases: Iterable[_Case]) -> tuple[Profile, ...]:
    return tuple({c.task.profile.name: c.task.profile for c in cases if c.task.profile is not None}.values())


def _all_features(cases: Iterable[_Case], prefix: str) -> list[str]:
    return [*dict.fromkeys(name for profile in _profiles(cases) for name in feature_names(profile, prefix))]


def _exclusions(cases: Sequence[_Case]) -> pd.DataFrame:
    """Two scans of one time point may fail alike: one row, both reasons."""
    reasons: dict[tuple[str, ...], list[str]] = {}
    for case in cases:
        if case.code:
            patient, timepoint = case.task.files.key[:2]
            reasons.setdefault((patient, timepoint, "extract", case.code), []).append(case.reason)
    rows = [(*key, "; ".join(texts)) for key, texts in reasons.items()]
    return pd.DataFrame(rows, columns=_EXCLUSION_COLUMNS)
