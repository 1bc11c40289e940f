"""What lies in a folder of downloaded DICOM: series of images and segmentations, by patient."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom import is_image
from radiomics_crlm.imaging.dicom_file import open_dicom, quiet_parser, text_of
from radiomics_crlm.imaging.mask_source import reference_of
from radiomics_crlm.imaging.segmentation import SEGMENTATION_CLASSES

_MAX_DEPTH = 8


@dataclass(frozen=True)
class FoundSeries:
    """One series below a folder; ``folder`` holds its images, ``file`` is its (one) segmentation.

    Parameters
    ----------
    patient, series
        Identifiers of the objects.
    description
        ``SeriesDescription``, for choosing a segmentation; never shown.
    folder
        Folder of the files, relative to the searched one.
    file
        For a segmentation: the file, relative to the searched folder; empty for images.
    referenced
        Series that a segmentation was drawn on.
    """

    patient: str
    series: str
    description: str
    folder: str
    file: str = ""
    referenced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Collection:
    """Image series and segmentations of a folder, and the number of files that no one can read."""

    images: tuple[FoundSeries, ...]
    segmentations: tuple[FoundSeries, ...]
    damaged: int


def scan_collection(root: Path, *, on_progress: Callable[[int], None] | None = None) -> Collection:
    """List the CT and MR series and the segmentations below a folder (at most eight levels down, no links followed).

    Parameters
    ----------
    root
        Folder to search.
    on_progress
        Called with the number of files seen.
    """
    images: dict[tuple[str, str, str], FoundSeries] = {}
    segmentations, damaged = [], 0
    for seen, path in enumerate(_files(root), start=1):
        if on_progress is not None:
            on_progress(seen)
        folder = path.parent.relative_to(root).as_posix()
        with quiet_parser():
            try:
                dataset = open_dicom(path, case="")
            except CaseError:
                damaged += 1
                continue
            if dataset is None:
                continue
            patient, series, described = (
                text_of(dataset, keyword) for keyword in ("PatientID", "SeriesInstanceUID", "SeriesDescription")
            )
            if is_image(dataset):
                images.setdefault((folder, patient, series), FoundSeries(patient, series, described, folder))
            elif text_of(dataset, "SOPClassUID") in SEGMENTATION_CLASSES:
                name, referenced = path.relative_to(root).as_posix(), reference_of(dataset).referenced_series
                segmentations.append(FoundSeries(patient, series, described, folder, name, referenced))
    return Collection(tuple(images.values()), tuple(segmentations), damaged)


def _files(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root, followlinks=False):
        below.sort()
        if len(Path(folder).relative_to(root).parts) >= _MAX_DEPTH:
            below.clear()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path
