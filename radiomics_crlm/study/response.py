"""Response of a cohort: the scans of each patient compared, the numbers judged by the clinical rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.cohort.clinical import find_table, read_cohort_folder
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.imaging.matching import Alignment, Group, align, match_lesions
from radiomics_crlm.imaging.measurements import measure_scan, measured_row
from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.imaging.response import (
    MAX_TARGETS,
    Response,
    choose_targets,
    compare_scans,
    delta_table,
    deltas,
    group_rows,
)
from radiomics_crlm.imaging.scan import LoadedScan, ScanFiles, load_scan, scans_of
from radiomics_crlm.parallel import run_all
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.schema import AVAILABILITY
from radiomics_crlm.study.prepare import Progress

_DAYS_PER_WEEK = 7


@dataclass(frozen=True)
class ResponseTables:
    """One row per comparison, one per group of lesions, the change of features where they were given, exclusions."""

    response: pd.DataFrame
    lesions: pd.DataFrame
    deltas: pd.DataFrame | None
    exclusions: tuple[Exclusion, ...]


@dataclass
class _Found:
    """What one course (the scans of a patient, of one modality and sequence) gave."""

    rows: list[dict[str, Any]]
    lesions: list[dict[str, Any]]
    exclusions: list[Exclusion]


def response_of_cohort(
    cohort: Path,
    out: Path,
    *,
    features: Path | None = None,
    max_targets: int = MAX_TARGETS,
    jobs: int = 1,
    progress: Progress,
) -> ResponseTables:
    """Compare the scans of every patient who has two or more, and write the tables to ``out``.

    Writes ``response.parquet``, ``response_lesions.parquet``, ``exclusions.parquet`` and, with ``features`` (a table
    ``features_patient``), ``deltas.parquet``.

    Parameters
    ----------
    cohort
        Cohort folder with an imaging manifest.
    max_targets
        Most target lesions; RECIST 1.1 takes two in the liver.

    Raises
    ------
    InputError
        If the cohort is unusable as a whole or has no imaging manifest.
    ConfigError
        If ``max_targets`` is not positive.
    """
    if max_targets < 1:
        raise ConfigError("a response needs at least one target lesion", expected="1 or more", got=str(max_targets))
    found = read_cohort_folder(cohort)
    if found.imaging is None:
        raise InputError("the cohort folder has no imaging manifest", expected="imaging.csv or imaging.parquet")
    charts = {row["patient_id"]: row for row in found.clinical.to_dict("records")}
    courses = courses_of(scans_of(found.imaging))
    work = [(c, cohort, charts[c[0].key[0]], max_targets) for c in courses]
    results: list[_Found] = []
    for result in run_all(_compare, work, jobs=jobs):
        results.append(result)
        progress("response", len(results), len(courses))
    exclusions = (*found.exclusions, *(e for r in results for e in r.exclusions))
    return _written(results, exclusions, out, features)


def courses_of(scans: Sequence[ScanFiles]) -> list[list[ScanFiles]]:
    """Scans of the same patient, modality and sequence in the order of time, where there are two or more.

    The day decides where all are known, else the time point.
    """
    groups: dict[tuple[str, str, str], list[ScanFiles]] = {}
    for scan in scans:
        groups.setdefault((scan.key[0], scan.modality, scan.sequence), []).append(scan)
    ordered = []
    for group in groups.values():
        by_day = all(s.study_day is not None for s in group)
        moments = [AVAILABILITY.index(s.key[1]) for s in group]
        order = sorted(range(len(group)), key=lambda k: (group[k].study_day if by_day else 0, moments[k]))
        if len(group) > 1:
            ordered.append([group[k] for k in order])
    return ordered


def _compare(course: Sequence[ScanFiles], root: Path, chart: Mapping[str, Any], max_targets: int) -> _Found:
    """Compare the later scans of a course with its first; a scan that cannot be read costs its comparisons."""
    found = _Found([], [], [])
    first: tuple[ScanFiles, LoadedScan] | None = None
    nadir: float | None = None
    for files in course:
        try:
            scan = load_scan(files, root)
        except CaseError as error:
            key, moment = files.key[0], files.key[1]
            found.exclusions.append(Exclusion(key, "response", error.code, str(error), timepoint=moment))
            if first is None:
                break
            continue
        if first is None:
            first = files, scan
            continue
        row, lesions = _comparison(first, (files, scan), chart, nadir, max_targets)
        found.rows.append(row)
        found.lesions += lesions
        sums = [s for s in (nadir, row["baseline_sum_mm"], row["current_sum_mm"]) if s is not None]
        nadir = min(sums, default=None)
    return found


def _comparison(
    first: tuple[ScanFiles, LoadedScan],
    later: tuple[ScanFiles, LoadedScan],
    chart: Mapping[str, Any],
    nadir: float | None,
    max_targets: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Row of ``response`` and rows of ``response_lesions`` for two scans."""
    (files_a, a), (files_b, b) = first, later
    move = align(a.image, b.image, _whole_liver(a), _whole_liver(b))
    groups = match_lesions(a.lesions, b.lesions, move)
    before, after = measure_lesions(a.lesions), measure_lesions(b.lesions)
    numbers = compare_scans(before, after, groups, targets=choose_targets(before, max_targets=max_targets))
    key = {
        "patient_id": files_a.key[0],
        "modality": files_a.modality,
        "sequence": files_a.sequence,
        "baseline_timepoint": files_a.key[1],
        "timepoint": files_b.key[1],
        "study_day": files_b.study_day,
    }
    days = None
    if files_a.study_day is not None and files_b.study_day is not None:
        days = files_b.study_day - files_a.study_day
    counted = {"n_before": len(before), "n_after": len(after)} | _counts(groups)
    verdicts = _verdicts(numbers, nadir, days, chart, n_before=len(before), modality=files_a.modality)
    flags = [*numbers.flags, *(["alignment_doubtful"] if move.doubtful else [])]
    flags += ["order_by_timepoint"] if days is None else []
    change = deltas(*(measured_row(measure_scan(s.lesions, s.anatomy, distances=True)) for s in (a, b)))
    row = {**key, "days": days, **counted, **verdicts, **_alignment(move), "flags": ";".join(flags), **change}
    hit = set(numbers.targets)
    lesions = [
        {**key, **entry, "target": bool(hit & set(group.before))}
        for group, entry in zip(groups, group_rows(groups, before, after), strict=True)
    ]
    return row, lesions


def _whole_liver(scan: LoadedScan) -> Any:
    """Liver and lesions, or None without a liver mask."""
    return scan.anatomy["liver"] | scan.tumour if "liver" in scan.anatomy else None


def _counts(groups: Sequence[Group]) -> dict[str, int]:
    fates = ("matched", "merged", "split", "regrouped", "new", "disappeared")
    return {f"n_{fate}": sum(g.fate == fate for g in groups) for fate in fates}


def _alignment(move: Alignment) -> dict[str, Any]:
    return {
        "alignment": move.method,
        "liver_dice": move.dice,
        "shift_mm": move.moved_mm,
        "rotation_deg": move.turned_deg,
    }


def _verdicts(
    numbers: Response,
    nadir: float | None,
    days: int | None,
    chart: Mapping[str, Any],
    *,
    n_before: int,
    modality: str,
) -> dict[str, Any]:
    """What the clinical rules say about the numbers."""
    weeks, source = _weeks(chart, days)
    sums = {"baseline_sum_mm": numbers.baseline_sum_mm, "current_sum_mm": numbers.current_sum_mm}
    so_far = [s for s in (nadir, numbers.baseline_sum_mm) if s is not None]
    least = [s for s in (*so_far, numbers.current_sum_mm) if s is not None]
    inputs: dict[str, Any] = {
        **sums,
        "nadir_sum_mm": min(so_far, default=None),
        "new_lesions": bool(numbers.new),
        "weeks_from_start": weeks,
        "ttv_baseline_ml": numbers.ttv_baseline_ml,
        "ttv_current_ml": numbers.ttv_current_ml,
        "n_liver_mets": n_before,
        "chemo_cycles": chart.get("chemo_cycles"),
        f"seen_on_{'mri' if modality == 'MR' else 'ct'}": False,
    }
    recist, early, volume, odds = (
        rule_engine.evaluate(rule, inputs)
        for rule in ("recist11", "early_tumour_shrinkage", "ttv_response", "dlm_risk")
    )
    depth = rule_engine.evaluate("depth_of_response", {**inputs, "nadir_sum_mm": min(least, default=None)})
    status = rule_engine.evaluate("dlm_status", inputs).group if numbers.disappeared else None
    return {
        "targets": ",".join(map(str, numbers.targets)),
        **sums,
        "nadir_sum_mm": inputs["nadir_sum_mm"],
        "recist": recist.group,
        "sum_change_pct": recist.value,
        "early_shrinkage_pct": early.value,
        "early_shrinkage_met": early.extra.get("met"),
        "depth_pct": depth.value,
        "ttv_baseline_ml": numbers.ttv_baseline_ml,
        "ttv_current_ml": numbers.ttv_current_ml,
        "ttv_change_pct": volume.value,
        **{f"ttv_at_{t}": volume.extra.get(f"at{t}") for t in (10, 20, 40)},
        "dlm_relative_odds": odds.value,
        "dlm_status": status,
        "weeks_from": source,
    }


def _weeks(chart: Mapping[str, Any], days: int | None) -> tuple[float | None, str | None]:
    """Weeks of treatment at the later scan: from the chart, else the time between the scans."""
    weeks = chart.get("weeks_from_start")
    if weeks is not None and not pd.isna(weeks):
        return float(weeks), "chart"
    return (None, None) if days is None or days < 0 else (days / _DAYS_PER_WEEK, "study_days")


def _written(
    results: Sequence[_Found], exclusions: tuple[Exclusion, ...], out: Path, features: Path | None
) -> ResponseTables:
    """Tables in their schemas, on disk."""
    out.mkdir(parents=True, exist_ok=True)
    rows, lesions = [r for f in results for r in f.rows], [r for f in results for r in f.lesions]
    response = pd.DataFrame(rows)
    change = None
    if rows:
        response = write_table(response, out / "response.parquet", "response")
        write_table(pd.DataFrame(lesions), out / "response_lesions.parquet", "response_lesions")
        if features is not None:
            table = read_table(find_table(features, "features_patient"), "features_patient")
            change = write_table(delta_table(table, response), out / "deltas.parquet", "deltas")
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    return ResponseTables(response, pd.DataFrame(lesions), change, exclusions)
