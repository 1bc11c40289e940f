"""What a worker does with a scan: look up what is known of it, measure it, extract a share of its regions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from radiomics_crlm.errors import CaseError, ConfigError
from radiomics_crlm.features.cache import ScanCache
from radiomics_crlm.features.extract import ORGANS, PreparedScan
from radiomics_crlm.features.fingerprint import Fingerprint, changed, code_version, fingerprint
from radiomics_crlm.features.parts import Region, RegionFeatures, part_names
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.imaging.measurements import RING_MM, measure_scan, measured_row
from radiomics_crlm.imaging.quality import check_loaded
from radiomics_crlm.imaging.regions import bounding_box, label_boxes, measure_lesions
from radiomics_crlm.imaging.rings import tumour_surroundings
from radiomics_crlm.imaging.scan import LoadedScan, ScanFiles, load_scan
from radiomics_crlm.parallel import peak_memory
from radiomics_crlm.provenance.plain_values import decode, encode

Record = Mapping[str, Any]
Extent = tuple[str, int, int]

TOO_LARGE = "too_large_for_memory"
# What Python and its libraries take before the first scan.
_LIBRARIES_BYTES = 350 * 2**20
# Voxels of the image that take as long to measure as one voxel of a region takes to extract, to share out work fairly.
_MEASURING = 200


@dataclass(frozen=True)
class ScanTask:
    """A scan, or a share of its regions.

    Parameters
    ----------
    files, root, profile
        The scan, the folder of its manifest, and how it is extracted (None: there is no profile for it).
    cache
        Folder of the cache, if any.
    code
        `code_version` of the process that asks.
    found
        Content of the files, if there is a cache.
    measure
        Whether the measurements of the scan are wanted, too.
    regions
        Which regions; None: those that fall to the share ``share`` of ``shares`` (counted from 0).
    max_bytes
        Memory that the worker may take, libraries and scan included.
    """

    files: ScanFiles
    root: Path
    profile: Profile | None
    cache: Path | None
    code: str
    found: Fingerprint | None = None
    measure: bool = True
    regions: tuple[Region, ...] | None = None
    share: int = 0
    shares: int = 1
    max_bytes: int | None = None


@dataclass
class Part:
    """What is known of a scan, or came out of a task.

    ``record`` holds the measurements, ``features`` the regions, of which those ``cached`` came whole from the cache; or
    there is a ``code`` with a ``reason``. ``computed`` and ``reused`` count parts of features.
    """

    found: Fingerprint | None = None
    record: Record | None = None
    features: dict[Region, RegionFeatures] = field(default_factory=dict)
    code: str = ""
    reason: str = ""
    cached: set[Region] = field(default_factory=set)
    computed: int = 0
    reused: int = 0
    damaged: int = 0
    not_stored: int = 0
    worker: str = ""
    peak_bytes: int | None = None


def look_up(task: ScanTask) -> Part:
    """What the cache knows of a scan; the files are hashed, not interpreted."""
    part = Part()
    if task.profile is None or task.cache is None:
        return part
    part.found = fingerprint(task.files, task.root)
    cache = ScanCache(task.cache, part.found, task.profile)
    part.record = cache.measured()
    if part.record is not None:
        for region in regions_of(part.record, task.profile):
            features = cache.region(region).features
            if features is not None:
                part.features[region] = features
    part.cached, part.damaged = set(part.features), cache.damaged
    return part


def extract_part(task: ScanTask) -> Part:
    """Read a scan and extract what is asked for; whatever is wrong with its files becomes a code and a reason.

    Raises
    ------
    ConfigError
        If this worker would compute with other code than the process that asks.
    """
    if task.code != code_version():
        raise ConfigError(
            "a worker has another version of the extraction or of its libraries",
            remedy="install the same version of radiomics_crlm and of its dependencies on all workers",
        )
    kind = "/".join(task.files.key[2:])
    part = Part()
    try:
        _extract(task, part)
    except CaseError as error:
        detail = "".join(f", {k} {v}" for k, v in (("expected", error.expected), ("got", error.got)) if v)
        part = Part(code=error.code, reason=f"{kind}: {error.what}{detail}")
    except MemoryError:
        part = Part(code="out_of_memory", reason=f"{kind}: the scan does not fit into memory")
    return replace(part, worker=f"{platform.node()}:{os.getpid()}", peak_bytes=peak_memory())


def regions_of(record: Record, profile: Profile) -> tuple[Region, ...]:
    """The regions that a profile asks for, of a scan with these measurements, in the order of `PreparedScan`."""
    roles = ("lesion", *(role for role in ORGANS if role in profile.regions))
    return tuple(Region(role, label) for role, label, _ in record["extents"] if role in roles)


def share_out(extents: Mapping[Any, int], shares: int) -> list[list[Any]]:
    """Share work among workers: the largest first, each to whom has least.

    Examples
    --------
    >>> share_out({"a": 2, "b": 9, "c": 5, "d": 3}, 2)
    [['b'], ['c', 'd', 'a']]
    """
    bins: list[list[Any]] = [[] for _ in range(shares)]
    loads = [0] * shares
    for item in sorted(extents, key=lambda one: -extents[one]):
        least = loads.index(min(loads))
        bins[least].append(item)
        loads[least] += extents[item]
    return bins


def _extract(task: ScanTask, part: Part) -> None:
    profile = task.profile
    if profile is None:
        raise CaseError("no_profile", "no extraction profile for this kind of scan", where=task.files.case)
    cache = ScanCache(task.cache, task.found, profile)
    loaded = load_scan(task.files, task.root)
    if task.found is not None and changed(task.files, task.root, task.found):
        raise CaseError("file_changed", "a file of the scan was changed while it was read", where=task.files.case)
    if not loaded.tumour.any():
        raise CaseError("no_lesion_shown", "the scan shows no lesion, as the manifest says", where=task.files.case)
    anatomy = with_ring(loaded, profile)
    extents = _extents(loaded, anatomy)
    mine = _mine(task, extents, loaded.image.array.size, profile)
    if None in mine:
        part.record = decode(encode(_measured(loaded, task.files) | {"extents": extents}))
        cache.keep_measured(part.record)
    image, lesions = loaded.image, loaded.lesions
    del loaded
    room = None if task.max_bytes is None else max(0, task.max_bytes - _LIBRARIES_BYTES - image.array.nbytes)
    prepared = PreparedScan(image, lesions, profile, case=task.files.case, anatomy=anatomy, max_bytes=room)
    del image, lesions, anatomy
    for region in mine:
        if region is not None:
            part.features[region] = _region(prepared, region, cache, part)
    part.damaged, part.not_stored = cache.damaged, cache.not_stored


def _mine(task: ScanTask, found: list[Extent], voxels: int, profile: Profile) -> list[Region | None]:
    """Regions of this task, the largest first; None stands for the measurements."""
    wanted = regions_of({"extents": found}, profile) if task.regions is None else task.regions
    extents: dict[Region | None, int] = {Region(r, n): size for r, n, size in found if Region(r, n) in wanted}
    if task.measure:
        extents[None] = voxels // _MEASURING
    return share_out(extents, task.shares)[task.share]


def _region(prepared: PreparedScan, region: Region, cache: ScanCache, part: Part) -> RegionFeatures:
    """Features of a region, from the cache as far as they are there."""
    known = cache.region(region)
    if known.features is not None:
        part.cached.add(region)
        return known.features
    try:
        features = prepared.features(region, known.parts)
    except MemoryError:
        features = RegionFeatures(region, "failed", TOO_LARGE)
    if features.status == "ok":
        part.reused += len(known.parts)
        part.computed += len(part_names(prepared.profile)) - len(known.parts)
    cache.keep_region(features, known)
    return features


def _measured(found: LoadedScan, files: ScanFiles) -> dict[str, Any]:
    """What is measured on the scan besides features: plain rows and fields."""
    lesions = measure_lesions(found.lesions)
    common = [*found.image.flags, *found.lesion_flags]
    lesions["flags"] = [";".join([f for f in [own, *common] if f]) for own in lesions["flags"]]
    return {
        "lesions": lesions.to_dict("records"),
        "anatomy": _anatomy(found),
        "quality": [asdict(check) for check in check_loaded(found, files)],
        "measured": measured_row(measure_scan(found.lesions, found.anatomy, sizes=lesions)),
    }


def with_ring(found: LoadedScan, profile: Profile) -> dict[str, np.ndarray]:
    """The anatomy of a scan, with the ``ring`` around all lesions if a profile asks for it and there is a liver."""
    anatomy = found.anatomy
    if "ring" not in profile.regions or "liver" not in anatomy:
        return anatomy
    vessels = [anatomy[role] for role in ("hepatic_veins", "portal_vein") if role in anatomy]
    return anatomy | {"ring": tumour_surroundings(found.lesions, RING_MM, liver=anatomy["liver"], vessels=vessels)}


def _extents(found: LoadedScan, anatomy: Mapping[str, np.ndarray]) -> list[Extent]:
    """Role, label and voxels of the bounding box of all lesions, by label, and of the organs that are there."""
    tumour = found.tumour
    organs = {
        "liver": anatomy["liver"] | tumour if "liver" in anatomy else None,
        "remnant": anatomy["remnant"] & ~tumour if "remnant" in anatomy else None,
        "ring": anatomy.get("ring"),
    }
    boxes: list[tuple[str, int, Sequence[slice] | None]] = [
        ("lesion", label, box) for label, box in label_boxes(found.lesions.array).items()
    ]
    boxes += [(role, 0, bounding_box(organ)) for role, organ in organs.items() if organ is not None]
    return [(role, label, int(np.prod([s.stop - s.start for s in box]))) for role, label, box in boxes if box]


def _anatomy(found: LoadedScan) -> dict[str, float | str]:
    """Volumes in mL. The liver is the union of its labels and the lesions, since masks may leave lesions out; the
    remnant is what is left of it without tumour."""
    voxel, tumour = found.lesions.voxel_volume_ml, found.tumour
    flags = list(dict.fromkeys(found.anatomy_flags))
    result: dict[str, float | str] = {"tumour_volume_ml": np.count_nonzero(tumour) * voxel}
    if "liver" in found.anatomy:
        liver = found.anatomy["liver"] | tumour
        result["liver_volume_ml"] = int(liver.sum()) * voxel
        if any(np.take(liver, end, axis=axis).any() for axis in range(3) for end in (0, -1)):
            flags.append("liver_touches_border")
    if "remnant" in found.anatomy:
        result["remnant_volume_ml"] = int((found.anatomy["remnant"] & ~tumour).sum()) * voxel
    return {**result, "flags": ";".join(flags)}
