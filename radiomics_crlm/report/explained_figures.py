"""Figures of the explanation: groups of inputs, partial dependence, what a score does not see, and nomograms.

Pure functions from the data of a block to inline SVG (see :mod:`report.plots`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from radiomics_crlm.report.drawing import BLACK, BLUE, GREY, ORANGE, SKY, STYLE, VERMILLION, WIDTH, drawable, svg

Part = Mapping[str, Any]

BLOCKS = {"clinical": (BLUE, ""), "radiomics": (ORANGE, "//"), "mixed": (SKY, "..")}
"""Colour and hatching of clinical inputs, radiomic ones, and groups of both."""
_PALE = "#c9ced4"


def group_bars(data: Part, *, ident: str, title: str) -> str:
    """Mean absolute attribution of groups of inputs; kinds differ in hatching as well as in colour."""
    with matplotlib.rc_context(STYLE):
        rows = data["rows"]
        figure = Figure(figsize=(WIDTH, 1.0 + 0.29 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, r in enumerate(rows):
            colour, hatch = BLOCKS[r["block"]]
            axes.barh(place, r["importance"], color=colour, hatch=hatch, edgecolor="white", height=0.66, linewidth=0)
            axes.text(r["importance"], place, f"  {r['text']}", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [drawable(r["title"], 52) for r in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, max(r["importance"] for r in rows) * 1.14)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("Mean absolute SHAP value of the group")
        kinds = [kind for kind in BLOCKS if any(r["block"] == kind for r in rows)]
        handles = [Patch(facecolor=BLOCKS[k][0], hatch=BLOCKS[k][1], edgecolor="white", label=k) for k in kinds]
        axes.legend(handles=handles, frameon=False, loc="lower right")
        described = "; ".join(f"{r['title']} ({r['block']}): {r['text']}" for r in rows)
        return svg(figure, ident, title, described + ".")


def dependence(data: Part, *, ident: str, title: str) -> str:
    """Partial dependence, a panel per column: mean and the middle 80 % of patients, grey where nothing supports it."""
    with matplotlib.rc_context(STYLE):
        panels = data["panels"]
        wide = min(3, len(panels))
        lines = math.ceil(len(panels) / wide)
        figure = Figure(figsize=(WIDTH if wide > 1 else 4.4, 2.75 * lines), layout="constrained")
        grid = figure.subplots(lines, wide, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        top = data["top"]
        for axes, panel in zip(grid.flat, panels, strict=False):
            draw = _levels_panel if panel["levels"] else _numbers_panel
            draw(axes, panel)
            if top is not None:
                axes.set_ylim(0, top)
            axes.set_title(drawable(panel["title"], 30), loc="left", fontsize=8.5)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for line in grid:
            line[0].set_ylabel(drawable(data["quantity"], 40))
        described = "; ".join(f"{p['title']}: {p['described']}" for p in panels)
        return svg(figure, ident, title, f"{data['quantity']}. {described}.")


def _numbers_panel(axes: Axes, panel: Part) -> None:
    x, supported = panel["value"], panel["supported"]
    inside = [k for k, known in enumerate(supported) if known]
    first, last = min(inside, default=0), max(inside, default=len(x) - 1)
    for part, colour, dash in (
        (slice(0, first + 1), _PALE, (0, (3, 2))),
        (slice(last, len(x)), _PALE, (0, (3, 2))),
        (slice(first, last + 1), BLUE, "-"),
    ):
        axes.fill_between(x[part], panel["low"][part], panel["high"][part], color=colour, alpha=0.2, linewidth=0)
        axes.plot(x[part], panel["mean"][part], color=colour if colour != _PALE else GREY, linestyle=dash)
    rug = axes.inset_axes((0, 0, 1, 0.16), sharex=axes)
    widths = [b["until"] - b["value"] for b in panel["bins"]]
    heights = [b["n"] / w for b, w in zip(panel["bins"], widths, strict=True)]
    rug.bar(
        [b["value"] for b in panel["bins"]], heights, width=widths, align="edge", color=SKY, edgecolor="white",
        linewidth=0.5,
    )  # fmt: skip
    rug.axis("off")
    axes.set_xlabel(drawable(panel["unit"], 34))
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _levels_panel(axes: Axes, panel: Part) -> None:
    for place, known in enumerate(panel["supported"]):
        colour = BLUE if known else GREY
        axes.plot([place, place], [panel["low"][place], panel["high"][place]], color=colour, linewidth=1.4)
        axes.plot([place], [panel["mean"][place]], marker="o" if known else "x", color=colour, markersize=5)
    axes.set_xticks(range(len(panel["levels"])), [drawable(level, 14) for level in panel["levels"]])
    axes.set_xlim(-0.6, len(panel["levels"]) - 0.4)


def score_spread(data: Part, *, ident: str, title: str) -> str:
    """Predictions of the model among patients with the same score: median and the middle 80 %."""
    with matplotlib.rc_context(STYLE):
        rows = data["rows"]
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        for r in rows:
            axes.plot(
                [r["score"]] * 2, [r["low"], r["high"]], color=BLUE, linewidth=6, alpha=0.3, solid_capstyle="butt"
            )
            axes.plot([r["score"]], [r["median"]], marker="D", color=VERMILLION, markersize=5)
            axes.annotate(
                f"{r['n']}", (r["score"], r["high"]), (0, 3), textcoords="offset points", ha="center", fontsize=8
            )
        axes.set_ylim(0, data["top"])
        axes.set_xticks([r["score"] for r in rows])
        axes.set_xlim(min(r["score"] for r in rows) - 0.6, max(r["score"] for r in rows) + 0.6)
        axes.set_xlabel(drawable(data["score"], 60))
        axes.set_ylabel(drawable(data["quantity"], 44))
        described = "; ".join(r["described"] for r in rows)
        return svg(figure, ident, title, described + ".")


def nomogram(data: Part, *, ident: str, title: str) -> str:
    """A nomogram: a scale of points, one scale per column, the sum of points and the probabilities it stands for."""
    with matplotlib.rc_context(STYLE):
        columns, totals = data["columns"], data["totals"]
        lines = 1 + len(columns) + 1 + len(totals)
        figure = Figure(figsize=(WIDTH, 0.36 * lines + 0.5), layout="constrained")
        axes = figure.subplots()
        axes.axis("off")
        axes.set_ylim(-lines + 0.1, 0.8)
        _scale(axes, 0, "Points", [(float(p), f"{p}") for p in range(0, 101, 10)], strong=True)
        for line, one in enumerate(columns, start=1):
            _scale(axes, -line, one["title"], [(t["points"], t["text"]) for t in one["ticks"]])
        sums, place = data["sums"], -1 - len(columns)
        reach = (sums[0]["total"], sums[-1]["total"])
        _scale(axes, place, "Sum of points", [(_within(s["total"], reach), s["text"]) for s in sums], strong=True)
        for line, total in enumerate(totals, start=1):
            marks = [(_within(t["total"], reach), t["text"]) for t in total["ticks"]]
            _scale(axes, place - line, total["title"], marks)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -2), max(high, 102))
        described = "; ".join(
            f"{c['title']}: " + ", ".join(f"{t['text']} gives {t['points_text']} points" for t in c["ticks"])
            for c in columns
        )
        read = "; ".join(
            f"{t['title']}: " + ", ".join(f"{k['text']} at {k['total_text']} points" for k in t["ticks"])
            for t in totals
        )
        return svg(figure, ident, title, f"{described}. {read}.")


def _within(total: float, reach: tuple[float, float]) -> float:
    """Place of a sum of points on the scale of 100."""
    return 100.0 * (total - reach[0]) / (reach[1] - reach[0])


def _scale(axes: Axes, y: float, title: str, marks: Sequence[tuple[float, str]], *, strong: bool = False) -> None:
    """A line with ticks; labels that would touch the last one drawn go below the line, and then are left out."""
    if not marks:
        return
    places = [x for x, _ in marks]
    axes.plot([min(places), max(places)], [y, y], color=BLACK, linewidth=1.1 if strong else 0.8)
    axes.text(-0.02, y, drawable(title, 40), ha="right", va="center", fontweight="bold" if strong else "normal",
              transform=axes.get_yaxis_transform())  # fmt: skip
    taken = {"above": -math.inf, "below": -math.inf}
    for x, text in sorted(marks):
        label, half = drawable(text, 16), 0.62 * len(drawable(text, 16)) + 0.4
        side = next((s for s in taken if x - half >= taken[s]), None)
        axes.plot([x, x], [y, y + (-0.13 if side == "below" else 0.13)], color=BLACK, linewidth=0.8)
        if side is not None:
            taken[side] = x + half
            up = side == "above"
            axes.text(x, y + (0.17 if up else -0.17), label, ha="center", va="bottom" if up else "top", fontsize=6.5)


DRAWN = {"group_bars": group_bars, "dependence": dependence, "score_spread": score_spread, "nomogram": nomogram}
"""What :func:`report.plots.draw` finds here, by name."""
