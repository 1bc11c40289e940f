"""Pictures of a patient's scans for the patient sheet: which scans, and a strip of slices of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.cohort.clinical import clean_imaging, find_table
from radiomics_crlm.errors import CaseError, InputError
from radiomics_crlm.imaging.measurements import measure_scan
from radiomics_crlm.imaging.quality import check_loaded
from radiomics_crlm.imaging.scan import ScanFiles, load_scan, scans_of
from radiomics_crlm.provenance.tables import read_raw
from radiomics_crlm.report.contact_sheet import Panel, draw_strip
from radiomics_crlm.report.patient_sheet import Pictures
from radiomics_crlm.schema import AVAILABILITY, is_later
from radiomics_crlm.study.view import scan_panel

_MOST_SCANS, _MOST_SLICES = 2, 4
_USUAL = "CT/portal_venous"


@dataclass(frozen=True)
class Album:
    """Scans to show by patient, and why a patient (or everybody) has none."""

    scans: Mapping[str, tuple[ScanFiles, ...]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    absent_for_all: str = ""

    def of(self, patient: str | None) -> tuple[ScanFiles, ...]:
        """Scans of a patient."""
        return self.scans.get(patient, ()) if patient is not None else ()

    def why_none(self, patient: str | None) -> str:
        """Why there are none, in words."""
        if patient is None:
            return "the row has no patient key"
        return self.absent_for_all or self.absent.get(patient, "the cohort has no scan of this patient")


def find_scans(cohort: Path, patients: Sequence[str], kinds: Sequence[str], speaks_at: str) -> Album:
    """The scans that a sheet shows: the last two known when the model speaks.

    Those of the kinds the model reads (``CT/portal_venous``) if the patient has any, else portal-venous CT, else any. A
    manifest that cannot be used costs the pictures, never the sheets.
    """
    if not any((cohort / f"imaging{suffix}").is_file() for suffix in (".csv", ".parquet")):
        return Album(absent_for_all="the cohort has no images")
    try:
        raw = read_raw(find_table(cohort, "imaging"), what="imaging manifest")
        table, excluded = clean_imaging(raw, set(patients))
    except InputError:
        return Album(absent_for_all="the imaging manifest of the cohort cannot be used")
    found: dict[str, list[ScanFiles]] = {}
    later: dict[str, str] = {}
    for scan in scans_of(table):
        if is_later(scan.key[1], speaks_at):
            later[scan.key[0]] = f"every scan was made after {speaks_at}, when the model speaks"
        else:
            found.setdefault(scan.key[0], []).append(scan)
    wanted = set(patients)
    bad = {e.patient_id: f"row of the manifest refused: {e.code.replace('_', ' ')}" for e in excluded}
    absent = {patient: reason for patient, reason in (bad | later).items() if patient in wanted}
    return Album({patient: _chosen(scans, kinds) for patient, scans in found.items()}, absent)


def _chosen(scans: Sequence[ScanFiles], kinds: Sequence[str]) -> tuple[ScanFiles, ...]:
    for wanted in (set(kinds), {_USUAL}):
        of_kind = [scan for scan in scans if f"{scan.modality}/{scan.sequence}" in wanted]
        if of_kind:
            scans = of_kind
            break
    return tuple(sorted(scans, key=lambda scan: AVAILABILITY.index(scan.key[1]))[-_MOST_SCANS:])


def take_pictures(scans: Sequence[ScanFiles], root: Path, why_none: str) -> tuple[Pictures, tuple[str, ...]]:
    """The pictures, and the codes of scans that could not be read; these cost themselves, never the sheet."""
    if not scans:
        return Pictures(absent=why_none), ()
    panels: list[Panel] = []
    told: list[dict[str, Any]] = []
    failed: list[str] = []
    for files in scans:
        try:
            scan = load_scan(files, root)
        except CaseError as error:
            failed.append(error.code)
            told.append(_told(_title(files), [f"cannot be read: {error.code.replace('_', ' ')}"], ()))
            continue
        checks, measured = check_loaded(scan, files), measure_scan(scan.lesions, scan.anatomy)
        panel = scan_panel(files, scan, checks, measured, _MOST_SLICES)
        panels.append(panel)
        told.append(_told(panel.title, panel.facts, panel.findings))
    png = draw_strip(panels, columns=_MOST_SLICES) if panels else None
    return Pictures(png, tuple(told), "" if panels else "no scan of this patient can be read"), tuple(failed)


def _title(files: ScanFiles) -> str:
    return f"{files.key[1]}, {files.modality} {files.sequence}"


def _told(title: str, facts: Sequence[str], findings: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "title": title.replace("_", " "),
        "facts": list(facts),
        "findings": [{"verdict": v, "reason": r.removeprefix(f"phase {v}: ")} for v, r in findings],
    }


def known_patients(keys: Sequence[str | None] | pd.Series) -> list[str]:
    """Keys without those that are missing, each once."""
    return list(dict.fromkeys(str(key) for key in keys if key is not None))
