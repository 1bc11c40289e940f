"""Points tables and nomograms of the delivered linear models, from ``nomogram_points`` and ``nomogram_totals``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import (
    Part,
    absent,
    cell,
    column,
    figure,
    group,
    heading,
    paragraph,
    row,
    section,
    table,
)
from radiomics_crlm.report.participants import clinical_spec
from radiomics_crlm.report.wording import MINUS, NO_VALUE, fixed, months_text

_WHAT = "Points table and nomogram"
_MOST_COLUMNS = 40
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_EXTREME = 0.02
_ROWS = 16


def nomograms(artefacts: Artefacts, _: Part) -> Part:
    """Per endpoint: how to count, the nomogram, the points and what their sum stands for."""
    for table_name in ("nomogram_points", "nomogram_totals"):
        if table_name not in artefacts.tables:
            return section([absent(_WHAT, artefacts.why_absent(table_name))])
    blocks: list[Part] = []
    for name, config in artefacts.endpoints.items():
        points, totals = artefacts.of_endpoint("nomogram_points", name), artefacts.of_endpoint("nomogram_totals", name)
        if points is None or totals is None:
            continue
        model = str(points["model"].iloc[0])
        blocks.append(heading(f"{config.title}: {artefacts.model_title(model)}"))
        blocks.append(paragraph(_how(points, totals)))
        blocks.append(_figure(points, totals, config.title))
        blocks += [_points_table(points), _totals_table(totals)]
    return section(blocks or [absent(_WHAT, "no delivered model is linear")])


def _how(points: pd.DataFrame, totals: pd.DataFrame) -> str:
    """How to count, what to do with missing values, and what reading costs."""
    worst = 100 * float(totals["rounding"].max())
    flagged = (points["kind"] == "missing").any()
    text = (
        f"Find the points of each of the {points['column'].nunique()} rows, add them, and read the probability at "
        f"the sum. "
        "A value beyond a scale goes on along it and may give negative points. A value that is unknown gets the "
        "points in "
        "the column for unknown values: those of what the model fills in."
    )
    if flagged:
        text += ' In rows that end in "(missing)" say yes if that value is unknown, else no.'
    return (
        f"{text} Read from the table, a probability differs from that of the program by at most {fixed(worst, 1)} "
        "percentage points."
    )


def _figure(points: pd.DataFrame, totals: pd.DataFrame, endpoint: str) -> Part:
    if points["column"].nunique() > _MOST_COLUMNS:
        return absent("Nomogram", f"the model has more than {_MOST_COLUMNS} columns; the tables below hold them all")
    columns = [
        {
            "title": str(name),
            "ticks": [
                {"points": float(r["points"]), "text": _tick(r), "points_text": fixed(r["points"], 1)}
                for r in part.sort_values("position").to_dict("records")
            ],
        }
        for name, part in points.groupby("column", sort=False)
    ]
    low, high = _reach(totals)
    months = sorted(float(m) for m in totals["months"].unique())
    data = {
        "columns": columns,
        "sums": [{"total": t, "text": f"{t:g}"} for t in _sums(low, high)],
        "totals": [
            {
                "title": f"Probability within {months_text(m)}",
                "ticks": _marks(totals.loc[totals["months"] == m], low, high),
            }
            for m in months
        ],
    }
    caption = (
        "For printing. Go straight up from the value of a row to the scale of points; the sum of all points is read "
        "on the "
        "scale of sums, the probability straight below it."
    )
    return figure("nomogram", f"Nomogram: {endpoint}", caption, data)


def _reach(totals: pd.DataFrame) -> tuple[float, float]:
    """Sums between which some probability is neither next to 0 nor next to 1."""
    middling = totals["probability"].between(_EXTREME, 1 - _EXTREME)
    shown = totals.loc[middling] if middling.sum() > 1 else totals
    return float(shown["total"].min()), float(shown["total"].max())


def _sums(low: float, high: float) -> list[float]:
    step = next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (high - low) / s <= 12), 1000)
    inside = [float(k * step) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]
    return [low, *[s for s in inside if low < s < high], high]


def _marks(own: pd.DataFrame, low: float, high: float) -> list[Part]:
    own = own.sort_values("total")
    chance, total = own["probability"].to_numpy(dtype=float), own["total"].to_numpy(dtype=float)
    found = []
    for p in _TICKS:
        if chance[0] < p < chance[-1]:
            at = float(np.interp(p, chance, total))
            if low <= at <= high:
                text = f"{fixed(100 * p, 0)} %"
                found.append({"total": round(at, 2), "text": text, "total_text": fixed(at, 0)})
    return found


def _tick(r: dict[Any, Any]) -> str:
    return f"{r['value']:g}".replace("-", MINUS) if pd.isna(r["level"]) else str(r["level"]).replace("_", " ")


def _points_table(points: pd.DataFrame) -> Part:
    groups = []
    for name, part in points.groupby("column", sort=False):
        rows = part.sort_values("position").to_dict("records")
        spec = clinical_spec(str(name))
        unit = f" ({spec.unit})" if spec is not None and spec.unit else ""
        lines = [
            row(_tick(r), [cell(fixed(r["points"], 1), value=float(r["points"])), _unknown(r) if k == 0 else cell("")])
            for k, r in enumerate(rows)
        ]
        groups.append(group(lines, f"{name}{unit}"))
    return table(
        "Points of each value",
        "Value",
        [column("Points"), column("If unknown", "points")],
        groups,
        note="Between two values points go along a straight line; of a column that is read by its logarithm nearly so.",
        fold="Points table",
    )


def _unknown(r: dict[Any, Any]) -> Part:
    if pd.isna(r["points_filled"]):
        return cell(NO_VALUE)
    filled = "" if pd.isna(r["filled"]) else f" (as {r['filled']:.3g})"
    return cell(fixed(r["points_filled"], 1) + filled, value=float(r["points_filled"]))


def _totals_table(totals: pd.DataFrame) -> Part:
    wide = totals.pivot(index="total", columns="months", values="probability")
    low, high = _reach(totals)
    inside = wide.loc[low:high]
    step = max(1, -(-len(inside) // _ROWS))
    shown = inside.iloc[sorted({*range(0, len(inside), step), len(inside) - 1})]
    lines = [
        row(f"{total:g}", [cell(f"{fixed(100 * p, 1)} %", value=round(float(p), 5)) for p in r])
        for total, r in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    return table(
        "Probability of the event by the sum of points",
        "Sum of points",
        [column(f"Within {months_text(float(m))}") for m in wide.columns],
        [group(lines)],
        note="Every sum of the scale is in the table nomogram_totals of the run.",
        fold="What a sum of points stands for",
    )
