"""Measurements of a cohort: every lesion in its surroundings, charts against masks, and rules fed from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.cohort.clinical import read_cohort_folder
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.imaging.measurements import (
    MEASURED_INPUTS,
    RIM_MM,
    RING_MM,
    ScanMeasurement,
    fill_from_masks,
    measure_in_place,
    measured_row,
)
from radiomics_crlm.imaging.scan import ScanFiles, load_scan, scans_of
from radiomics_crlm.parallel import run_all
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.schema import load_schema
from radiomics_crlm.study.crosscheck import cross_check_cohort, measurement_of, scans_of_charts
from radiomics_crlm.study.prepare import Progress


@dataclass(frozen=True)
class MeasureResult:
    """Tables of a measured cohort."""

    lesions: pd.DataFrame
    crosscheck: pd.DataFrame
    rule_inputs: pd.DataFrame
    exclusions: tuple[Exclusion, ...]


def measure_cohort(
    cohort: Path,
    out: Path,
    *,
    ring_mm: float = RING_MM,
    rim_mm: float = RIM_MM,
    jobs: int = 1,
    progress: Progress,
) -> MeasureResult:
    """Measure all scans of a cohort and write tables to ``out``.

    They are ``measurements``, ``crosscheck``, ``rule_inputs``, ``rules`` (evaluated on the chart, its gaps filled from
    the masks) and ``exclusions``.

    Raises
    ------
    InputError
        If the cohort is unusable as a whole or has no imaging manifest.
    ConfigError
        If a width is not positive.
    """
    if min(ring_mm, rim_mm) <= 0:
        raise ConfigError("the widths of ring and rim must be positive", expected="mm above 0")
    found = read_cohort_folder(cohort)
    if found.imaging is None:
        raise InputError("the cohort folder has no imaging manifest", expected="imaging.csv or imaging.parquet")
    scans = scans_of(found.imaging)
    work = [(scan, cohort, ring_mm, rim_mm) for scan in scans]
    tables: list[pd.DataFrame] = []
    measured: list[dict[str, object]] = []
    exclusions = list(found.exclusions)
    results = run_all(_measure, work, jobs=jobs)
    for number, (files, result) in enumerate(zip(scans, results, strict=True), start=1):
        progress("measure", number, len(scans))
        if isinstance(result, Exclusion):
            exclusions.append(result)
            continue
        if len(result[0]):
            tables.append(result[0])
        measured.append({**files.as_columns(), **measured_row(result[1])})
    columns = list(load_schema("measurements").columns)
    lesions = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return _written(lesions[columns], _measured_table(measured), found.clinical, tuple(exclusions), out)


def rule_inputs_of(measured: pd.DataFrame, charts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clinical table with its gaps filled from the masks of the scan it speaks of, and where each value comes from.

    Returns
    -------
    filled, sources
        ``filled`` has the columns of ``charts`` and those that masks can give; ``sources`` is ``rule_inputs``.
    """
    rows, sources = [], []
    for chart, scan in scans_of_charts(measured, charts):
        within = None if scan is None else _within(measurement_of(scan))
        inputs, origin = fill_from_masks(chart, within)
        rows.append(inputs)
        place = None if scan is None else scan["timepoint"]
        for name, source in origin.items():
            value = None if source == "unknown" else float(inputs[name])  # type: ignore[arg-type]
            key = {"patient_id": chart["patient_id"], "input": name}
            sources.append({**key, "source": source, "value": value, "timepoint": place})
    filled = pd.DataFrame(rows, columns=list(dict.fromkeys((*charts.columns, *MEASURED_INPUTS))))
    return filled, pd.DataFrame(sources)


def _measure(
    files: ScanFiles, root: Path, ring_mm: float, rim_mm: float
) -> tuple[pd.DataFrame, ScanMeasurement] | Exclusion:
    """One scan, or the reason why not."""
    try:
        scan = load_scan(files, root)
    except CaseError as error:
        return Exclusion(files.key[0], "measure", error.code, str(error), timepoint=files.key[1])
    lesions, measured = measure_in_place(scan.lesions, scan.anatomy, ring_mm=ring_mm, rim_mm=rim_mm)
    return lesions.assign(**files.as_columns(), ring_mm=ring_mm, rim_mm=rim_mm), measured


def _within(measured: ScanMeasurement) -> ScanMeasurement:
    """A measurement without the values that a chart could not hold (no lesion at all, a liver cut by the image)."""
    kept: dict[str, Any] = dict(measured_row(measured))
    for column, name in MEASURED_INPUTS.items():
        spec, value = load_schema("clinical").columns[column], kept[name]
        if value is not None and spec.min is not None and spec.max is not None and not spec.min <= value <= spec.max:
            kept[name] = None
    return ScanMeasurement(**kept)


def _by_column(sources: pd.DataFrame, filled: pd.DataFrame) -> pd.DataFrame:
    """Sources in the shape of the clinical table."""
    wide = sources.pivot(index="patient_id", columns="input", values="source")
    return wide.reindex(filled["patient_id"]).reset_index(drop=True)


def _measured_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    names = ["patient_id", "timepoint", "modality", "sequence", *ScanMeasurement.__dataclass_fields__]
    return pd.DataFrame(rows, columns=names)


def _written(
    lesions: pd.DataFrame,
    measured: pd.DataFrame,
    charts: pd.DataFrame,
    exclusions: tuple[Exclusion, ...],
    out: Path,
) -> MeasureResult:
    out.mkdir(parents=True, exist_ok=True)
    filled, sources = rule_inputs_of(measured, charts)
    checked: Mapping[str, pd.DataFrame] = {
        "measurements": lesions,
        "crosscheck": cross_check_cohort(measured, charts),
        "rule_inputs": sources,
        "rules": rule_engine.evaluate_table(filled, sources=_by_column(sources, filled)),
        "exclusions": exclusion_table(exclusions),
    }
    tables = {name: write_table(table, out / f"{name}.parquet", name) for name, table in checked.items()}
    return MeasureResult(tables["measurements"], tables["crosscheck"], tables["rule_inputs"], exclusions)
