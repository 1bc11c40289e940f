"""Contact sheets of a cohort: read every scan once, check it, measure it, and hand slices to the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.cohort.clinical import read_cohort_folder
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import CaseError, InputError
from radiomics_crlm.imaging.measurements import ScanMeasurement, measure_scan, measured_row
from radiomics_crlm.imaging.quality import Check, check_loaded
from radiomics_crlm.imaging.scan import LoadedScan, ScanFiles, load_scan, scans_of
from radiomics_crlm.imaging.slices import key_slices
from radiomics_crlm.parallel import run_all
from radiomics_crlm.provenance.files import write_bytes, write_text
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.report.contact_sheet import Entry, Panel, Tile, draw_sheet, overall, render_index
from radiomics_crlm.study.crosscheck import cross_check_cohort
from radiomics_crlm.study.prepare import Progress

MOST_SLICES = 6
# Soft tissue of the liver.
_CT_WINDOW = (-20.0, 220.0)


@dataclass(frozen=True)
class ViewResult:
    """Where the page is, how many patients it shows, and how many got which verdict."""

    page: Path
    patients: int
    verdicts: Mapping[str, int]
    quality: pd.DataFrame
    crosscheck: pd.DataFrame
    exclusions: tuple[Exclusion, ...]


@dataclass
class _Seen:
    """What the scans of one patient gave."""

    patient: str
    picture: bytes | None
    quality: list[dict[str, Any]]
    measured: list[dict[str, Any]]
    exclusions: list[Exclusion]


def view_cohort(
    cohort: Path, out: Path, *, most_slices: int = MOST_SLICES, jobs: int = 1, progress: Progress
) -> ViewResult:
    """Write a contact sheet per patient and ``index.html`` with all of them; also ``quality``, ``crosscheck`` and
    ``exclusions`` as tables.

    Raises
    ------
    InputError
        If the cohort is unusable as a whole or has no imaging manifest.
    """
    found = read_cohort_folder(cohort)
    if found.imaging is None:
        raise InputError("the cohort folder has no imaging manifest", expected="imaging.csv or imaging.parquet")
    by_patient: dict[str, list[ScanFiles]] = {}
    for scan in scans_of(found.imaging):
        by_patient.setdefault(scan.key[0], []).append(scan)
    work = [(p, scans, cohort, most_slices) for p, scans in by_patient.items()]
    seen: list[_Seen] = []
    for result in run_all(_look, work, jobs=jobs):
        seen.append(result)
        progress("view", len(seen), len(by_patient))
    charts = found.clinical[found.clinical["patient_id"].isin(list(by_patient))]
    return _write(seen, charts, found.exclusions, out, found.name)


def _look(patient: str, scans: Sequence[ScanFiles], root: Path, most: int) -> _Seen:
    """Check, measure and draw the scans of a patient."""
    seen, panels = _Seen(patient, None, [], [], []), []
    for files in scans:
        try:
            scan = load_scan(files, root)
        except CaseError as error:
            seen.exclusions.append(Exclusion(patient, "view", error.code, str(error), timepoint=files.key[1]))
            continue
        checks, measured = check_loaded(scan, files), measure_scan(scan.lesions, scan.anatomy)
        seen.quality += [{**files.as_columns(), **asdict(c)} for c in checks]
        seen.measured.append({**files.as_columns(), **measured_row(measured)})
        panels.append(scan_panel(files, scan, checks, measured, most))
    if panels:
        seen.picture = draw_sheet(patient, panels)
    return seen


def scan_panel(
    files: ScanFiles, scan: LoadedScan, checks: Sequence[Check], measured: ScanMeasurement, most: int
) -> Panel:
    """What a contact sheet shows of a scan: at most so many slices, measured facts and findings of the checks."""
    slices = key_slices(scan, most=most)
    tiles = tuple(
        Tile(
            s.pixels,
            s.lesions,
            s.liver,
            s.step_mm,
            f"slice {s.number}: {_listed(s.shown)}",
        )
        for s in slices
    )
    x, y, z = scan.image.spacing
    shown = sum(len(s.shown) for s in slices)
    facts = [
        f"lesions: {measured.n_lesions}, largest {measured.largest_axial_mm:.0f} mm axial",
        f"tumour {measured.total_volume_ml:.1f} ml, burden score {measured.tbs:.1f}",
    ]
    if measured.liver_volume_ml is not None:
        facts.append(f"liver {measured.liver_volume_ml:.0f} ml")
    if measured.sflr_pct is not None:
        facts.append(f"remnant {measured.remnant_volume_ml:.0f} ml = {measured.sflr_pct:.0f} % of healthy liver")
    facts.append(f"voxels {x:.2f} x {y:.2f} x {z:.2f} mm")
    if shown < measured.n_lesions:
        facts.append(f"{measured.n_lesions - shown} of the smaller lesions not at their largest here")
    if noted := dict.fromkeys((*scan.image.flags, *scan.lesion_flags, *scan.anatomy_flags)):
        facts.append("noted: " + ", ".join(flag.replace("_", " ") for flag in noted))
    findings = [(c.verdict, f"phase {c.verdict}: {c.reason}") for c in checks if c.check == "phase"]
    findings += [(c.verdict, c.reason) for c in checks if c.check != "phase" and c.verdict != "pass"]
    if all(verdict == "pass" for verdict, _ in findings):
        findings.append(("pass", "all quality checks passed"))
    title = f"{files.key[1]}, {files.modality} {files.sequence}"
    return Panel(title, tiles, _window(files, scan), tuple(facts), tuple(findings))


def _listed(labels: Sequence[int]) -> str:
    """Lesions of a slice in words."""
    names = ", ".join(map(str, labels))
    return "no lesion" if not labels else f"lesion{'s' * (len(labels) > 1)} {names}"


def _window(files: ScanFiles, scan: LoadedScan) -> tuple[float, float]:
    """Grey values from black to white: HU of soft tissue, or the middle 98 % of an MR inside the liver's box."""
    if files.modality == "CT":
        return _CT_WINDOW
    low, high = np.percentile(scan.image.array, (1.0, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _write(
    seen: Sequence[_Seen], charts: pd.DataFrame, earlier: tuple[Exclusion, ...], out: Path, name: str
) -> ViewResult:
    """Pictures, page and tables. Pictures are numbered: a patient key is no safe file name."""
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    quality, measured = (pd.DataFrame([r for s in seen for r in rows(s)]) for rows in (_quality_of, _measured_of))
    crosscheck = pd.DataFrame()
    if len(quality):
        write_table(quality, out / "quality.parquet", "quality")
        crosscheck = cross_check_cohort(measured, charts)
        write_table(crosscheck, out / "crosscheck.parquet", "crosscheck")
    exclusions = (*earlier, *(e for s in seen for e in s.exclusions))
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    entries = []
    for number, one in enumerate(seen, start=1):
        picture = None
        if one.picture is not None:
            picture = f"sheets/{number:04d}.png"
            write_bytes(out / picture, one.picture)
        remarks = _remarks(one, crosscheck)
        verdict = "fail" if picture is None else overall(Counter(v for v, _ in remarks))
        entries.append(Entry(one.patient, picture, verdict, tuple(remarks)))
    write_text(out / "index.html", render_index(entries, f"Contact sheets: {name}"))
    verdicts = Counter(e.verdict for e in entries)
    return ViewResult(out / "index.html", len(entries), verdicts, quality, crosscheck, exclusions)


def _quality_of(seen: _Seen) -> list[dict[str, Any]]:
    return seen.quality


def _measured_of(seen: _Seen) -> list[dict[str, Any]]:
    return seen.measured


def _remarks(seen: _Seen, crosscheck: pd.DataFrame) -> list[tuple[str, str]]:
    """Everything that is not plainly fine, worst first."""
    remarks = [("fail", f"{e.timepoint}: {e.code.replace('_', ' ')}") for e in seen.exclusions]
    for row in seen.quality:
        if row["verdict"] != "pass":
            text = f"{row['timepoint']} {row['modality']}/{row['sequence']}, {row['check'].replace('_', ' ')}"
            remarks.append((row["verdict"], f"{text}: {row['reason']}"))
    if len(crosscheck):
        here = crosscheck[(crosscheck["patient_id"] == seen.patient) & (crosscheck["verdict"] == "disagree")]
        remarks += [
            ("doubtful", f"{row['item']}: {row['from_masks']:.3g} by the masks, {row['from_chart']:.3g} in the chart")
            for row in here.to_dict("records")
        ]
    return sorted(remarks, key=lambda r: r[0] != "fail")
