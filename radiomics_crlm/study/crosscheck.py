"""Charts against masks: for every patient, does the chart say what the scan of that moment shows?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from radiomics_crlm.imaging.measurements import ScanMeasurement, cross_check
from radiomics_crlm.imaging.scan import SCAN_KEY
from radiomics_crlm.schema import AVAILABILITY

# The moment of which a chart speaks, and the time points of scans that show it, best first.
_MOMENTS = {
    "baseline": ("baseline",),
    "after_chemotherapy": ("restaging", "preoperative"),
    "before_operation": ("preoperative", "restaging"),
}
# Number and size are read from portal-venous CT where there is one.
_FIRST_CHOICE = ("CT", "portal_venous")
_FIELDS = tuple(ScanMeasurement.__dataclass_fields__)


def cross_check_cohort(measured: pd.DataFrame, charts: pd.DataFrame) -> pd.DataFrame:
    """Table ``crosscheck``: one row per patient of ``charts`` and item.

    Parameters
    ----------
    measured
        One row per scan: key and the fields of `ScanMeasurement` (``ExtractionResult.measured``).
    charts
        Clinical table. ``assessed_at`` says to which moment number and size belong; without it the first scan counts.
    """
    rows = []
    for chart, scan in scans_of_charts(measured, charts):
        place = {name: scan[name] for name in SCAN_KEY[1:]} if scan is not None else {}
        found = None if scan is None else measurement_of(scan)
        for row in cross_check(found, chart):
            rows.append({"patient_id": chart["patient_id"], **dict.fromkeys(SCAN_KEY[1:]), **place, **row})
    return pd.DataFrame(rows)


def scans_of_charts(
    measured: pd.DataFrame, charts: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each chart with the measured scan that it speaks of, or None."""
    by_patient: dict[str, list[dict[str, Any]]] = {}
    for scan in _records(measured):
        by_patient.setdefault(scan["patient_id"], []).append(scan)
    for chart in _records(charts):
        yield chart, _scan_of(chart, by_patient.get(chart["patient_id"], []))


def measurement_of(row: Mapping[str, Any]) -> ScanMeasurement:
    """A row of measured scans as the measurement that it was."""
    cells: dict[str, Any] = {name: None if pd.isna(row[name]) else row[name] for name in _FIELDS}
    return ScanMeasurement(**cells)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): cell for name, cell in row.items()} for row in table.to_dict("records")]


def _scan_of(chart: Mapping[str, Any], scans: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The scan that a chart speaks of."""
    moment = chart.get("assessed_at")
    wanted = AVAILABILITY if moment is None or pd.isna(moment) else _MOMENTS.get(str(moment), ())
    fitting = [s for s in scans if s["timepoint"] in wanted]
    if not fitting:
        return None
    return min(
        fitting,
        key=lambda s: (wanted.index(s["timepoint"]), (s["modality"], s["sequence"]) != _FIRST_CHOICE, s["sequence"]),
    )
