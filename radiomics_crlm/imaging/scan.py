"""One scan of a manifest: its image, its lesions and its anatomy, read together and on one grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume, clip_hu_padding
from radiomics_crlm.imaging.masks import parse_roles, read_mask, read_scan
from radiomics_crlm.imaging.volume import path_inside

SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]


@dataclass(frozen=True)
class ScanFiles:
    """Rows of the manifest that make up one scan: key, images named, masks with their roles, rules for the series."""

    key: tuple[str, str, str, str]
    images: tuple[str, ...]
    masks: tuple[tuple[str, str], ...]
    series: tuple[str, ...] = ("",)
    study_day: int | None = None
    contrast_delay_s: float | None = None

    @property
    def case(self) -> str:
        """Key of the scan for messages."""
        return " ".join([self.key[0], self.key[1], "/".join(self.key[2:])])

    @property
    def modality(self) -> str:
        """CT or MR."""
        return self.key[2]

    @property
    def sequence(self) -> str:
        """Phase or sequence."""
        return self.key[3]

    def as_columns(self) -> dict[str, str]:
        """The key as cells of a table."""
        return dict(zip(SCAN_KEY, self.key, strict=True))


@dataclass
class Regions:
    """Lesion mask and anatomy of a scan, gathered from its mask files."""

    lesions: Volume | None = None
    anatomy: dict[str, np.ndarray] = field(default_factory=dict)
    lesion_flags: list[str] = field(default_factory=list)
    anatomy_flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoadedScan:
    """Image, lesions (each positive label one lesion) and boolean arrays ``(z, y, x)`` by role."""

    image: Volume
    lesions: Volume
    anatomy: dict[str, np.ndarray]
    lesion_flags: tuple[str, ...]
    anatomy_flags: tuple[str, ...]
    contrast_delay_s: float | None = None

    @cached_property
    def tumour(self) -> np.ndarray:
        """All lesions, boolean."""
        return np.asarray(self.lesions.array > 0)


def scans_of(table: pd.DataFrame) -> list[ScanFiles]:
    """Scans of a manifest, in the order in which it first names them."""
    scans = []
    for key, rows in table.groupby(SCAN_KEY, sort=False, dropna=False):
        text = tuple(str(part) for part in key)
        day, delay = _first(rows, "study_day"), _first(rows, "contrast_delay_s")
        scans.append(
            ScanFiles(
                key=(text[0], text[1], text[2], text[3]),
                images=tuple(dict.fromkeys(map(str, rows["image"]))),
                masks=tuple(zip(map(str, rows["mask"]), map(str, rows["mask_roles"]), strict=True)),
                series=tuple(dict.fromkeys(rows["series"].fillna("").map(str))) if "series" in rows else ("",),
                study_day=None if day is None else int(day),
                contrast_delay_s=delay,
            )
        )
    return scans


def load_scan(files: ScanFiles, root: Path) -> LoadedScan:
    """Read a scan.

    Raises
    ------
    CaseError
        Those of `read_scan` and `read_mask`, and ``ambiguous_image``, ``path_outside``, ``no_lesion_mask``,
        ``two_lesion_masks``.
    """
    if len(files.images) != 1 or len(files.series) != 1:
        raise CaseError("ambiguous_image", "one scan names several images", where=files.case)
    inside = partial(path_inside, root, case=files.case)
    masks = [inside(mask) for mask, _ in files.masks]
    image = read_scan(inside(files.images[0]), masks, rule=files.series[0], case=files.case)
    if files.modality == "CT":
        image = clip_hu_padding(image)
    found = _regions(files, image, inside)
    if found.lesions is None:
        raise CaseError("no_lesion_mask", "no mask of the scan has the role lesion", where=files.case)
    delay = files.contrast_delay_s
    if delay is None and image.source is not None:
        delay = image.source.contrast_delay_s
    flags = tuple(found.lesion_flags), tuple(found.anatomy_flags)
    return LoadedScan(image, found.lesions, found.anatomy, *flags, delay)


def _regions(files: ScanFiles, image: Volume, inside: Callable[[str], Path]) -> Regions:
    """Gather the masks of a scan; a bad anatomy mask costs the anatomy, a bad lesion mask the scan."""
    found = Regions()
    for path, text in files.masks:
        with_lesions = "lesion" in parse_roles(text, case=files.case)
        try:
            masks = read_mask(inside(path), image, roles=text, case=files.case)
        except CaseError as error:
            if with_lesions:
                raise
            found.anatomy_flags.append(f"mask_failed:{error.code}")
            continue
        if with_lesions and found.lesions is not None:
            raise CaseError("two_lesion_masks", "two masks of the scan have the role lesion", where=files.case)
        found.lesions = masks.lesions if with_lesions else found.lesions
        found.lesion_flags += masks.lesion_flags if with_lesions else ()
        found.anatomy_flags += masks.anatomy_flags if masks.anatomy else ()
        for role, voxels in masks.anatomy.items():
            found.anatomy[role] = found.anatomy[role] | voxels if role in found.anatomy else voxels
    return found


def _first(rows: pd.DataFrame, column: str) -> float | None:
    """First known number of a column that may be absent."""
    known = rows[column].dropna().tolist() if column in rows else []
    return float(known[0]) if known else None
