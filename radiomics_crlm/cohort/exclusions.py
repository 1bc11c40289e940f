"""The account of everyone left out: patients in = patients out + exclusions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

COLUMNS = ("patient_id", "timepoint", "endpoint", "stage", "code", "reason")


@dataclass(frozen=True)
class Exclusion:
    """One patient (or one scan, or one patient for one endpoint) that a stage left out."""

    patient_id: str
    stage: str
    code: str
    reason: str
    timepoint: str | None = None
    endpoint: str | None = None


def exclusion_table(exclusions: Iterable[Exclusion]) -> pd.DataFrame:
    """Table of exclusions in the schema ``exclusions``.

    Two scans of one time point, or two masks of one scan, may fail alike: that is one row with both reasons.
    """
    reasons: dict[tuple[str | None, ...], list[str]] = {}
    for e in exclusions:
        texts = reasons.setdefault(tuple(getattr(e, c) for c in COLUMNS[:-1]), [])
        if e.reason not in texts:
            texts.append(e.reason)
    rows = [[*key, "; ".join(texts)] for key, texts in reasons.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype("str").where(lambda t: t.ne("None"))


def flow(patients_in: int, exclusions: Iterable[Exclusion]) -> dict[str, Any]:
    """Participant flow: patients in, excluded by stage and code (each patient counted once, at the first reason), out.

    >>> flow(3, [Exclusion("a", "ingest", "duplicate_patient", ""), Exclusion("a", "extract", "no_scan", "")])["out"]
    2
    """
    seen: set[str] = set()
    counts: dict[tuple[str, str], dict[str, Any]] = {}
    for e in exclusions:
        if e.timepoint is not None or e.patient_id in seen:
            continue
        seen.add(e.patient_id)
        entry = counts.setdefault(
            (e.stage, e.code), {"stage": e.stage, "code": e.code, "reason": e.code.replace("_", " "), "n": 0}
        )
        entry["n"] += 1
    return {"in": patients_in, "excluded": list(counts.values()), "out": patients_in - len(seen)}
