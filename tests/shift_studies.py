"""Simulated cohorts: how often is a shift found where there is none, and where there is one?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.scoring.shape import describe_shift
from radiomics_crlm.scoring.shift import ShiftReport, Tally, shift_report

SITES = ("right_colon", "left_colon", "rectum")
TEXTURES = tuple(f"largest__original_glcm_F{k}" for k in range(6))
INPUTS = (
    *(InputSpec(c, "clinical", "number", (), False, "baseline") for c in ("age_years", "cea_ng_ml", "albumin_g_l")),
    InputSpec("n_liver_mets", "clinical", "number", (), False, "baseline"),
    InputSpec("bilobar", "clinical", "boolean", (), False, "baseline"),
    InputSpec("primary_site", "clinical", "category", SITES, False, "baseline"),
    *(InputSpec(c, "radiomics", "number", (), False, "preoperative") for c in TEXTURES),
)
SHIFTS: Mapping[str, Mapping[str, Any]] = {
    "textures larger by 30 %": {"texture": 1.3},
    "albumin in g/dL": {"albumin": 0.1},
    "CEA in ug/mL": {"cea": 0.001},
    "ten years older": {"older": 10.0},
    "a scanner of its own": {"scanner": "another"},
    "CEA never measured": {"no_cea": True},
}
NAMED = {
    "textures larger by 30 %": "largest__original_glcm_F",
    "albumin in g/dL": "albumin_g_l (median 0.",
    "CEA in ug/mL": "cea_ng_ml (median 0.00",
    "ten years older": "age_years",
    "a scanner of its own": "scanner",
    "CEA never measured": "cea_ng_ml (missing in 100 %",
}
"""What the verdict says of each."""
TRAINING, COHORTS, SHIFTED_COHORTS = 200, 200, 50
SAME = ((200, 10), (200, 30), (200, 100), (200, 300), (100, 30), (100, 300), (500, 30), (500, 300))
"""Training patients and patients of a cohort of the same kind."""
SIZES = (30, 100, 300)
"""Patients of a shifted cohort."""


@dataclass(frozen=True)
class Alarms:
    """Share of cohorts of a size that were found to be shifted, and the share whose verdict named the cause."""

    shift: str
    training: int
    rows: int
    found: float
    named: float


def patients(
    n: int, generator: np.random.Generator, *, texture: float = 1.0, albumin: float = 1.0, cea: float = 1.0,
    older: float = 0.0, scanner: str = "", no_cea: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Predictors with missing values, and scanners."""
    table = pd.DataFrame(
        {
            "age_years": generator.normal(63 + older, 10, n),
            "cea_ng_ml": np.exp(generator.normal(3, 1.3, n)) * cea,
            "albumin_g_l": generator.normal(40, 4, n) * albumin,
            "n_liver_mets": generator.geometric(0.4, n).astype(float),
            "bilobar": pd.array(generator.random(n) < 0.4, dtype="boolean"),
            "primary_site": generator.choice(SITES, n, p=[0.3, 0.3, 0.4]),
        }
    )
    volume = generator.normal(size=n)
    for name in TEXTURES:
        table[name] = np.exp(1 + 0.35 * volume + 0.35 * generator.normal(size=n)) * texture
    table.loc[(generator.random(n) < 0.15) | no_cea, "cea_ng_ml"] = np.nan
    table.loc[generator.random(n) < 0.3, "albumin_g_l"] = np.nan
    names = generator.choice(["A", "B", "C"], n, p=[0.5, 0.3, 0.2])
    thickness = generator.choice([1.0, 2.5, 3.0, 5.0], n)
    return table, pd.DataFrame({"scanner": scanner or names, "slice_thickness_mm": thickness}, index=table.index)


def compared(training: int, rows: int, seed: int, **shift: Any) -> ShiftReport:
    """The report of one cohort against the training data of one model."""
    generator = np.random.default_rng((training, rows, seed))
    table, scans = patients(training, generator)
    content: Any = SimpleNamespace(shift=describe_shift(table, INPUTS, scans), horizons=(12,))
    return shift_report(content, Tally.of(content, *patients(rows, generator, **shift)))


def alarms(shift: str, rows: int, *, training: int = TRAINING, cohorts: int = COHORTS) -> Alarms:
    """How often a shift (or none: an empty text) is found in cohorts of a size."""
    verdicts = [compared(training, rows, seed, **SHIFTS.get(shift, {})).verdict for seed in range(cohorts)]
    found = [verdict.startswith("shifted: ") for verdict in verdicts]
    named = [NAMED.get(shift, "") in verdict for verdict in verdicts]
    return Alarms(shift, training, rows, float(np.mean(found)), float(np.mean(np.array(found) & np.array(named))))


_HEAD = f"""
## Shift of a cohort

Simulated cohorts (`tests/shift_studies.py`, checked by `tests/property/test_shift_alarms.py`): twelve inputs, scanner
and slice thickness, values missing as in practice. A false alarm is any finding in a cohort of the same kind; at most
5 % are allowed over all. {COHORTS} cohorts per row.

| training patients | patients of the cohort | false alarms |
|---|---|---|"""
_SHIFTED = f"""
Cohorts that are shifted, against {TRAINING} training patients, {SHIFTED_COHORTS} per cell: the share that is found. The
verdict named the cause wherever it is not said otherwise in brackets. 30 % of texture is half a standard deviation.

| shift | {" | ".join(f"{size} patients" for size in SIZES)} |
|---|{"---|" * len(SIZES)}"""


def section() -> None:
    """Print the section of the self-tests."""
    lines = [_HEAD]
    total = 0.0
    for training, size in SAME:
        found = alarms("", size, training=training).found
        total += found / len(SAME)
        lines.append(f"| {training} | {size} | {100 * found:.1f} % |")
    lines += [f"| all | | {100 * total:.1f} % |", _SHIFTED]
    for shift in SHIFTS:
        cells = [_cell(alarms(shift, size, cohorts=SHIFTED_COHORTS)) for size in SIZES]
        lines.append(f"| {shift} | {' | '.join(cells)} |")
    print("\n".join(lines))  # noqa: T201 - the page


def _cell(one: Alarms) -> str:
    named = "" if one.named == one.found else f" ({100 * one.named:.0f} %)"
    return f"{100 * one.found:.0f} %{named}"
