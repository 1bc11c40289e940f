"""One scan measured again and again: perturbed, drawn by other readers, and as negative control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from radiomics_crlm.errors import CaseError
from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.features.controls import CONTROLS, elsewhere, shuffled
from radiomics_crlm.features.extract import engine, extract_scan, feature_names
from radiomics_crlm.features.perturbation import ORIGINAL, Perturbation, generator_for
from radiomics_crlm.features.profiles import Profile, settings_hash
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.masks import read_mask
from radiomics_crlm.imaging.readers import relabelled
from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.imaging.scan import SCAN_KEY, LoadedScan, ScanFiles, load_scan
from radiomics_crlm.imaging.volume import path_inside

Source = Literal["original", "perturbation", "reader"]
_VESSELS = ("hepatic_veins", "portal_vein")
_AFTER_LESION = len(SCAN_KEY) + 1


@dataclass(frozen=True)
class ReaderMask:
    """A mask of another reader: its name, and the cells ``mask`` and ``mask_roles``."""

    reader: str
    mask: str
    roles: str


@dataclass(frozen=True)
class RepeatTask:
    """What is to be done with a scan."""

    files: ScanFiles
    root: Path
    profile: Profile | None
    plan: tuple[tuple[str, Perturbation], ...]
    readers: tuple[ReaderMask, ...]
    controls: bool
    seed: int


@dataclass
class Repeated:
    """Rows of one scan for the tables ``perturbed_features``, ``perturbed_patients`` and ``controls``; ``failures`` are
    pairs of a code and a reason: of the scan, or of a reader's mask."""

    features: list[pd.DataFrame] = field(default_factory=list)
    patients: list[pd.DataFrame] = field(default_factory=list)
    controls: list[pd.DataFrame] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def measure_repeatedly(task: RepeatTask) -> Repeated:
    """Extract the features of a scan under every perturbation, reader and control.

    The scan is read once. What the reader or the perturbation left of no lesion is a failed row with the reason
    ``not_drawn`` or ``region_vanished``. Whatever is wrong with the files becomes a code and a reason.
    """
    result = Repeated()
    try:
        if task.profile is None:
            raise CaseError("no_profile", "no extraction profile for this kind of scan", where=task.files.case)
        scan = load_scan(task.files, task.root)
        if not scan.tumour.any():
            raise CaseError("no_lesion_shown", "the scan shows no lesion, as the manifest says", where=task.files.case)
        rater = _Rater(task.files, task.profile, scan)
        for name, perturbation in task.plan:
            chance = generator_for(task.seed, *task.files.key, name)
            source: Source = "original" if name == ORIGINAL else "perturbation"
            _rate(result, rater, name, source, *perturbation.apply(scan.image, scan.lesions, chance))
        for reader in task.readers:
            _read(result, task, rater, reader)
        if task.controls:
            result.controls += [_control(name, rater, task.seed) for name in CONTROLS]
    except CaseError as error:
        return Repeated(failures=[(error.code, f"{'/'.join(task.files.key[2:])}: {error.what}")])
    except MemoryError:
        return Repeated(failures=[("out_of_memory", f"{'/'.join(task.files.key[2:])}: does not fit into memory")])
    return result


@dataclass(frozen=True)
class _Rater:
    """A scan and how its features are extracted."""

    files: ScanFiles
    profile: Profile
    scan: LoadedScan

    @property
    def labels(self) -> list[int]:
        """Lesions of the scan as it is."""
        array = self.scan.lesions.array
        return [int(n) for n in np.unique(array[array > 0])]

    def rows(self, image: Volume, mask: Volume, absent: str | Mapping[int, str]) -> pd.DataFrame:
        """Feature rows of all lesions of the scan; ``absent`` is the reason of those that the mask lacks."""
        names = feature_names(self.profile)
        fixed = {
            "profile": self.profile.name,
            "settings_hash": settings_hash(self.profile, engine()),
            "engine": engine(),
        }
        columns = ["lesion", "status", "reason", "flags", *fixed, *names]
        tables = []
        if mask.array.any():
            found = extract_scan(image, mask, self.profile, case=self.files.case, anatomy=self.scan.anatomy)
            tables.append(found[columns])
        present = set(tables[0]["lesion"]) if tables else set()
        lost: list[dict[str, Any]] = [
            {"lesion": n, "status": "failed", "reason": absent if isinstance(absent, str) else absent[n], "flags": ""}
            for n in self.labels
            if n not in present
        ]
        if lost:
            failed = pd.DataFrame(lost).assign(**fixed).reindex(columns=columns)
            tables.append(failed.astype(dict.fromkeys(names, np.float64)))
        table = pd.concat(tables, ignore_index=True).sort_values("lesion", kind="stable", ignore_index=True)
        key = pd.DataFrame([self.files.as_columns()] * len(table), columns=SCAN_KEY)
        return pd.concat([key, table], axis=1).copy()  # in one block, so that columns can be put in


def _rate(result: Repeated, rater: _Rater, name: str, source: Source, image: Volume, mask: Volume) -> None:
    """One rating of all lesions, and its aggregates."""
    rows = rater.rows(image, mask, "not_drawn" if source == "reader" else "region_vanished")
    sizes = measure_lesions(mask)
    volumes = rows["lesion"].map(dict(zip(sizes["lesion"], sizes["volume_ml"], strict=True)))
    for column, value in (("volume_ml", volumes.astype(float)), ("source", source), ("perturbation", name)):
        rows.insert(_AFTER_LESION, column, value)
    result.features.append(rows)
    drawn = rows[volumes.notna()].drop(columns=["perturbation", "source", "volume_ml"])
    if len(drawn):
        keyed = sizes.assign(**rater.files.as_columns())
        patients = aggregate_patients(drawn, keyed)
        # Burden is counted on the masks, and not perturbed with all that it depends on.
        patients = patients[[c for c in patients.columns if not c.startswith("burden__")]].copy()
        patients.insert(len(SCAN_KEY), "source", source)
        patients.insert(len(SCAN_KEY), "perturbation", name)
        result.patients.append(patients)


def _read(result: Repeated, task: RepeatTask, rater: _Rater, reader: ReaderMask) -> None:
    """The rating of another reader; a bad mask costs that reader."""
    case = task.files.case
    try:
        path = path_inside(task.root, reader.mask, case=case)
        drawn = read_mask(path, rater.scan.image, roles=reader.roles, case=case).lesions
        if drawn is None:
            raise CaseError("no_lesion_mask", "the mask has no role lesion", where=case)
        mask = relabelled(rater.scan.lesions, drawn)
        _rate(result, rater, f"reader:{reader.reader}", "reader", rater.scan.image, mask)
    except CaseError as error:
        result.failures.append((error.code, f"{'/'.join(task.files.key[2:])}, another reader: {error.what}"))


def _control(name: str, rater: _Rater, seed: int) -> pd.DataFrame:
    """Rows of a negative control."""
    scan, chance = rater.scan, generator_for(seed, *rater.files.key, name)
    if name == "shuffled":
        rows = rater.rows(shuffled(scan.image, scan.lesions, chance), scan.lesions, "")
    elif "liver" not in scan.anatomy:
        nothing = Volume(
            np.zeros_like(scan.lesions.array), scan.lesions.spacing, scan.lesions.origin, scan.lesions.direction
        )
        rows = rater.rows(scan.image, nothing, "no_liver_mask")
    else:
        vessels = [scan.anatomy[role] for role in _VESSELS if role in scan.anatomy]
        moved = elsewhere(scan.lesions, scan.anatomy["liver"], chance, avoid=vessels)
        rows = rater.rows(scan.image, moved.mask, moved.reasons)
    rows.insert(_AFTER_LESION, "control", name)
    return rows


def stack(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables one below the other; with the given columns where there is none."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))
