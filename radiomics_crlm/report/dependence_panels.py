"""Partial dependence of the strongest columns, with the support of the data, from the table ``dependence``."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radiomics_crlm.report.blocks import Part, absent, cell, column, figure, group, row, share, table, value
from radiomics_crlm.report.drawing import axis_top
from radiomics_crlm.report.participants import clinical_spec
from radiomics_crlm.report.wording import MINUS, NO_VALUE, SMALL_CELL, fixed, listed, months_text

_WHAT = "Partial dependence"


def dependence_blocks(rows: pd.DataFrame | None, reason: str) -> list[Part]:
    """A figure with a panel per column, and the same in numbers; ``reason`` says why there are no rows."""
    if rows is None:
        return [absent(_WHAT, reason)]
    month = rows["months"].iloc[0]
    chance = not pd.isna(month)
    panels = [_panel(str(name), part, chance) for name, part in rows.groupby("column", sort=False)]
    quantity = f"Probability within {months_text(float(month))}" if chance else "Predicted risk"
    data = {"panels": panels, "quantity": quantity, "top": axis_top(_highs(panels)) if chance else None}
    caption = (
        f"What the model would predict if one column had another value and everything else stayed as it is. Line: "
        f"mean of "
        f"the patients whose value is known, each by the model that did not see the patient; band: middle 80 % of "
        f"them. "
        f"Bars at the foot: where the patients are (groups of at least {SMALL_CELL}). Grey, dashed: beyond the "
        f"values that "
        "the data support; nothing there should be believed. The curves describe the model, not what treatment would "
        "do."
    )
    return [figure("dependence", f"{_WHAT} of the strongest columns", caption, data), _table(rows, quantity, chance)]


def _highs(panels: list[Part]) -> list[float]:
    return [v for p in panels for v in p["high"]]


def _panel(name: str, part: pd.DataFrame, chance: bool) -> Part:
    curve = part.loc[part["part"] == "curve"].sort_values("position")
    bins = part.loc[part["part"] == "bin"].sort_values("position")
    levels = [str(level) for level in curve["level"].dropna()]
    spec = clinical_spec(name)
    panel: Part = {
        "title": name,
        "unit": (spec.unit or "") if spec is not None else "",
        "levels": levels,
        "value": [] if levels else _numbers(curve["value"]),
        "mean": _numbers(curve["mean"]),
        "low": _numbers(curve["low"]),
        "high": _numbers(curve["high"]),
        "supported": [bool(v) for v in curve["supported"]],
        "bins": [
            {"value": float(b["value"]), "until": float(b["until"]), "n": int(b["n"])} for b in bins.to_dict("records")
        ],
    }
    told = [f"{_place(r)}: {_prediction(r['mean'], chance)}" for r in _shown(curve)]
    return panel | {"described": listed(told)}


def _numbers(values: pd.Series) -> list[float]:
    return [float(f"{float(v):.5g}") for v in values]


def _shown(curve: pd.DataFrame) -> list[dict[Any, Any]]:
    """All levels; of a number both ends and the middle of what is supported."""
    if curve["level"].notna().any():
        return curve.to_dict("records")
    inside = curve.loc[curve["supported"] == 1]
    places = sorted({0, len(inside) // 2, len(inside) - 1})
    return inside.iloc[places].to_dict("records")


def _place(r: dict[Any, Any]) -> str:
    return f"{r['value']:g}".replace("-", MINUS) if pd.isna(r["level"]) else str(r["level"]).replace("_", " ")


def _prediction(mean: float, chance: bool) -> str:
    return f"{fixed(100 * mean, 0)} %" if chance else fixed(mean, 2)


def _table(rows: pd.DataFrame, quantity: str, chance: bool) -> Part:
    groups = []
    for name, part in rows.groupby("column", sort=False):
        curve = part.loc[part["part"] == "curve"].sort_values("position")
        groups.append(group([_line(r, chance) for r in _shown(curve)], str(name)))
    return table(
        f"{quantity} at values of the strongest columns",
        "Value",
        [column("Mean"), column("Middle 80 % of the patients", words=True), column("Patients", "with this level")],
        groups,
        note=(
            f"Numbers: both ends and the middle of what the data support. {NO_VALUE}: no level, or fewer "
            f"than {SMALL_CELL} patients."
        ),
        fold="Partial dependence in numbers",
    )


def _line(r: dict[Any, Any], chance: bool) -> Part:
    low, high = _prediction(r["low"], chance), _prediction(r["high"], chance)
    known = None if pd.isna(r["n"]) else int(r["n"])
    mean = share(round(float(r["mean"]), 4)) if chance else value(round(float(r["mean"]), 4))
    return row(_place(r), [mean, cell(f"{low} to {high}"), cell(NO_VALUE if known is None else known, value=known)])
