"""Ingest a downloaded public collection: pair every CT with its segmentation, and name the roles of the segments."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.cohort.clinical import Cohort, clean_imaging
from radiomics_crlm.cohort.exclusions import Exclusion
from radiomics_crlm.cohort.tcia import has_tcia_clinical, read_tcia_clinical
from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.imaging.collection import FoundSeries, scan_collection
from radiomics_crlm.imaging.mask_source import Segment, listed
from radiomics_crlm.imaging.segmentation import open_segmentation
from radiomics_crlm.resources import shipped_yaml
from radiomics_crlm.study.ingest import IngestResult, ingest_found
from radiomics_crlm.study.prepare import Progress

LAYOUTS = {"tcia-crlm": "tcia_crlm_images"}


def ingest_collection(root: Path, layout: str, mask_set: str, out: Path, *, progress: Progress) -> IngestResult:
    """Ingest the folder of a public collection as it is downloaded.

    Parameters
    ----------
    root
        Folder with the DICOM files, at any depth, and optionally the clinical table (found by its headers).
    layout
        Name of the layout: ``tcia-crlm``.
    mask_set
        Which segmentations to use: ``expert``, ``ai`` or ``corrected``.
    out
        Where the tables and images go (see `radiomics_crlm.study.ingest.ingest_rows`).

    Raises
    ------
    ConfigError
        For an unknown layout or mask set.
    InputError
        If the folder is absent or holds no image series.
    """
    if layout not in LAYOUTS:
        raise ConfigError("unknown layout", expected=", ".join(LAYOUTS), got=repr(layout))
    described = shipped_yaml(f"configs/layouts/{LAYOUTS[layout]}.yaml")
    if mask_set not in described["mask_sets"]:
        raise ConfigError("unknown mask set", expected=", ".join(described["mask_sets"]), got=repr(mask_set))
    if not root.is_dir():
        raise InputError("the folder of the collection is missing", expected="an existing folder")
    cohort = read_collection(root, described, described["mask_sets"][mask_set], progress=progress)
    return ingest_found(cohort, root, out, progress=progress)


def read_collection(
    root: Path, layout: Mapping[str, Any], mask_set: Mapping[str, Any], *, progress: Progress
) -> Cohort:
    """The imaging manifest of a collection, with the clinical rows where their table is present.

    A patient without a usable pair of image and mask is an exclusion with its reason (``no_series``,
    ``ambiguous_series``, ``no_mask``, ``ambiguous_mask``, ``unknown_segment``, ...).
    """
    found = scan_collection(root, on_progress=lambda n: progress("files", n, n) if n % 1000 == 0 else None)
    if not found.images:
        raise InputError(
            "the folder holds no DICOM image series",
            expected="the downloaded collection",
            got=f"{found.damaged} damaged files" if found.damaged else "no DICOM image",
        )
    cohort = read_tcia_clinical(root) if has_tcia_clinical(root) else None
    timepoint = layout["scan"]["timepoint"]
    images, masks = _by_patient(found.images), _by_patient(found.segmentations)
    known = set(cohort.clinical["patient_id"]) if cohort is not None else set(images)
    rows, exclusions = [], [] if cohort is None else list(cohort.exclusions)
    for patient in sorted(known | set(images)):
        if patient not in known and cohort is not None:
            continue  # `clean_imaging` would say unknown_patient: said here for patients with images only
        try:
            pair = _pair(root, images.get(patient, []), masks.get(patient, []), mask_set, patient)
            rows.append({"patient_id": patient, **layout["scan"], **pair})
        except CaseError as error:
            exclusions.append(Exclusion(patient, "ingest", error.code, str(error), timepoint=timepoint))
    strangers = sorted(set(images) - known)
    exclusions += [
        Exclusion(p, "ingest", "unknown_patient", "the clinical table has no such patient", timepoint=timepoint)
        for p in strangers
    ]
    imaging, bad = clean_imaging(pd.DataFrame(rows), known) if rows else (None, ())
    return Cohort(
        name=layout["name"],
        clinical=cohort.clinical if cohort is not None else pd.DataFrame(),
        patients_in=len(known | set(strangers)),
        exclusions=(*exclusions, *bad),
        imaging=imaging,
        root=root,
    )


def _by_patient(series: Sequence[FoundSeries]) -> dict[str, list[FoundSeries]]:
    found: dict[str, list[FoundSeries]] = {}
    for one in series:
        found.setdefault(one.patient, []).append(one)
    return found


def _pair(
    root: Path, images: Sequence[FoundSeries], masks: Sequence[FoundSeries], mask_set: Mapping[str, Any], case: str
) -> dict[str, str]:
    """Image folder, mask file and roles of a patient."""
    pattern = mask_set["description"].casefold()
    drawn = [m for m in masks if fnmatch.fnmatchcase(m.description.casefold(), pattern)]
    if len(drawn) != 1:
        code, what = ("ambiguous_mask", "several segmentations") if drawn else ("no_mask", "no segmentation")
        raise CaseError(
            code,
            f"the patient has {what} of the chosen mask set",
            where=case,
            expected="one",
            got=f"{len(drawn)} of {len(masks)} segmentations",
        )
    fitting = [i for i in images if i.series in drawn[0].referenced]
    chosen = fitting or images
    if len(chosen) != 1:
        code = "ambiguous_series" if chosen else "no_series"
        raise CaseError(
            code,
            "the patient has no single image series that the segmentation was drawn on",
            where=case,
            expected="one series",
            got=f"{len(chosen)} series",
        )
    segments = open_segmentation(root / drawn[0].file, case=case).segments
    roles = _roles(segments, mask_set, case)
    return {
        "image": chosen[0].folder,
        "series": f"uid={chosen[0].series}",
        "mask": drawn[0].file,
        "mask_roles": roles,
    }


def _roles(segments: Sequence[Segment], mask_set: Mapping[str, Any], case: str) -> str:
    """The cell ``mask_roles``, by segment numbers."""
    parts = []
    for role, patterns in mask_set["roles"].items():
        numbers = [
            str(s.number)
            for s in segments
            if any(fnmatch.fnmatchcase(s.label.strip().casefold(), p.casefold()) for p in patterns)
        ]
        if role == "lesion" and not numbers:
            raise CaseError(
                "unknown_segment",
                "no segment of the mask is a lesion",
                where=case,
                expected="a segment named " + " or ".join(patterns),
                got=listed(segments),
            )
        if numbers:
            split = "components:" if role == "lesion" and mask_set.get("components") else ""
            parts.append(f"{role}={split}{','.join(numbers)}")
    return ";".join(parts)
