"""Figures of the card as inline SVG: pure functions of card data, the same bytes for the same data.

Text is drawn as outlines, so no font is needed where the page is read. Colours are those of Okabe and Ito; no figure
relies on colour alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radiomics_crlm.report.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LABEL_WIDTH,
    ORANGE,
    SKY,
    STYLE,
    VERMILLION,
    WIDTH,
    axis_top,
    drawable,
    svg,
)

Part = Mapping[str, Any]


def forest(rows: Sequence[Part], *, label: str, reference: float, ident: str, title: str) -> str:
    """Estimates with 95 % intervals, one row each, numbers beside them.

    Parameters
    ----------
    rows
        ``title, estimate, lower, upper, text, kind`` ("model" or "score"); a row without an estimate shows its text
        alone.
    label
        Label of the axis.
    reference
        Value of no effect: a dashed line.
    ident
        Prefix of all ids in the SVG: unique on the page.
    title
        Accessible name; the description repeats the numbers.
    """
    with matplotlib.rc_context(STYLE):
        labels = [_row_label(row) for row in rows]
        lines = max(label.count("\n") + 1 for label in labels)
        figure = Figure(figsize=(WIDTH, 0.7 + (0.14 + 0.14 * lines) * len(rows)), layout="constrained")
        axes = figure.subplots()
        for position, row in enumerate(rows):
            _forest_row(axes, len(rows) - 1 - position, row)
        axes.axvline(reference, color=GREY, linestyle=(0, (4, 3)), linewidth=1.0, zorder=0)
        axes.set_yticks(range(len(rows)), labels[::-1])
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlim(*_forest_range(rows, reference))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(drawable(label))
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), [drawable(r["text"]) for r in reversed(rows)])
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        described = "; ".join(f"{r['title']}: {r['text']}" for r in rows)
        return svg(figure, ident, title, f"{label}. {described}.")


def _row_label(row: Part) -> str:
    """Title, on two lines if long."""
    return "\n".join(textwrap.wrap(drawable(row["title"], 2 * LABEL_WIDTH - 8), LABEL_WIDTH)[:2])


def _forest_row(axes: Axes, y: int, row: Part) -> None:
    if row["estimate"] is None:
        return
    colour = BLUE if row["kind"] == "model" else VERMILLION
    if row["lower"] is not None and row["upper"] is not None:
        axes.plot([row["lower"], row["upper"]], [y, y], color=colour, linewidth=1.4, solid_capstyle="round")
    axes.plot([row["estimate"]], [y], marker="s" if row["kind"] == "model" else "D", markersize=5, color=colour)


def _forest_range(rows: Sequence[Part], reference: float) -> tuple[float, float]:
    known = [r[k] for r in rows for k in ("estimate", "lower", "upper") if r[k] is not None] + [reference]
    low, high = min(known), max(known)
    margin = max(0.06 * (high - low), 0.01)
    return low - margin, high + margin


def calibration(part: Part, *, ident: str, title: str) -> str:
    """Observed against predicted incidence with 95 % intervals, and the distribution of predictions below."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
        groups = part["groups"]
        top = axis_top([g["upper"] for g in groups] + [g["predicted"] for g in groups])
        upper.plot([0, top], [0, top], color=GREY, linestyle=(0, (4, 3)), linewidth=1.0, label="perfect calibration")
        for g in groups:
            upper.plot([g["predicted"]] * 2, [g["lower"], g["upper"]], color=BLUE, linewidth=1.4)
        upper.plot(
            [g["predicted"] for g in groups], [g["observed"] for g in groups],
            marker="o", markersize=6, color=BLUE, linewidth=1.0, label="observed, 95 % interval",
        )  # fmt: skip
        upper.set_xlim(0, top)
        upper.set_ylim(0, top)
        upper.set_ylabel(f"Observed by {drawable(part['horizon_text'])}")
        upper.legend(loc="upper left", frameon=False)
        edges = part["histogram"]["edges"]
        widths = np.diff(edges)
        # Bins are wider where there are few patients: heights are patients per bin of the common width.
        heights = np.asarray(part["histogram"]["counts"]) / (widths / part["histogram"]["bin"])
        lower.bar(edges[:-1], heights, width=widths, align="edge", color=SKY, edgecolor="white", linewidth=0.4)
        lower.set_ylabel("Patients")
        lower.set_xlabel(f"Predicted probability by {drawable(part['horizon_text'])}")
        described = "; ".join(
            f"group {g['group']}, {g['n']} patients: predicted {g['predicted_text']}, observed {g['observed_text']}"
            for g in groups
        )
        return svg(figure, ident, title, described + ".")


_GROUP_STYLES = ((GREEN, "-"), (ORANGE, (0, (5, 1.5))), (BLUE, (0, (1.5, 1))))


def course(part: Part, *, ident: str, title: str) -> str:
    """Observed course in thirds of the prediction, with the numbers at risk."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes, counts = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
        months = part["months"]
        for group, (colour, dash) in zip(part["groups"], _GROUP_STYLES, strict=True):
            shade = {"step": "post", "color": colour, "alpha": 0.13, "linewidth": 0}
            axes.fill_between(group["months"], group["lower"], group["upper"], **shade)
            axes.step(group["months"], group["value"], where="post", color=colour, linestyle=dash, label=group["title"])
        axes.set_ylim(0, 1 if part["kind"] == "survival" else axis_top([v for g in part["groups"] for v in g["upper"]]))
        axes.set_xlim(0, months[-1])
        axes.set_ylabel("Event-free share" if part["kind"] == "survival" else "Cumulative incidence")
        axes.legend(
            title=f"Predicted {part['word']}",
            frameon=False,
            loc="lower left" if part["kind"] == "survival" else "upper left",
        )
        _at_risk(counts, part)
        described = "; ".join(
            f"{g['title']} of predicted {part['word']}, {g['n']} patients: "
            + ", ".join(f"{c} at {m} months" for m, c in zip(part["table_months"], g["cells"], strict=True))
            for g in part["groups"]
        )
        return svg(figure, ident, title, f"{part['quantity']}. {described}.")


def _at_risk(axes: Axes, part: Part) -> None:
    """Numbers at risk as text below the curves, on the same axis of months."""
    for line, group in enumerate(part["groups"]):
        for month, count in zip(part["ticks"], group["at_risk"], strict=True):
            axes.text(month, 2 - line, str(count), ha="center", va="center", fontsize=8)
    axes.set_yticks(range(3), [g["title"] for g in reversed(part["groups"])])
    axes.set_ylim(-0.6, 2.6)
    axes.set_xticks(part["ticks"])
    axes.tick_params(axis="y", length=0, pad=16)
    axes.spines["left"].set_visible(False)
    axes.set_title("Number at risk", loc="left", fontsize=8)
    axes.set_xlabel("Months from the index date")


_LEVEL_STYLES = {
    "low": (BLUE, BLUE),
    "middle": ("#b5b5b5", "#8a8a8a"),
    "high": (VERMILLION, VERMILLION),
    "missing": ("white", BLACK),
}


def beeswarm(part: Part, *, ident: str, title: str) -> str:
    """Attributions of the strongest inputs as stacked dots; position is binned, colour is the third of the input."""
    with matplotlib.rc_context(STYLE):
        features = part["features"]
        figure = Figure(figsize=(WIDTH, 1.0 + 0.33 * len(features)), layout="constrained")
        axes = figure.subplots()
        points: dict[str, tuple[list[float], list[float]]] = {level: ([], []) for level in _LEVEL_STYLES}
        for row, feature in enumerate(features):
            _stack(points, feature, len(features) - 1 - row, part)
        for level, (face, edge) in _LEVEL_STYLES.items():
            if points[level][0]:
                axes.plot(
                    *points[level], linestyle="", marker="o", markersize=3.2, markeredgewidth=0.5,
                    markerfacecolor=face, markeredgecolor=edge, label=level,
                )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(features)), [drawable(f["feature"], 44) for f in reversed(features)])
        axes.set_ylim(-0.7, len(features) - 0.3)
        axes.set_xlim(-part["reach"] * 1.03, part["reach"] * 1.03)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("SHAP value: left makes the event less likely, right more likely")
        handles, names = axes.get_legend_handles_labels()
        figure.legend(
            handles, [f"{name} input" for name in names],
            loc="outside upper right", ncols=4, frameon=False, markerscale=1.8, handletextpad=0.1,
        )  # fmt: skip
        described = "; ".join(f"{f['rank']}. {f['feature']}: mean {f['mean_text']}, {f['direction']}" for f in features)
        return svg(figure, ident, title, described + ".")


def _stack(points: dict[str, tuple[list[float], list[float]]], feature: Part, row: int, part: Part) -> None:
    """Dots of one feature, stacked evenly about its row in each bin."""
    tallest = max(sum(counts.values()) for _, counts in feature["dots"])
    gap = min(0.11, 0.8 / max(tallest - 1, 1))
    width = 2 * part["reach"] / part["bins"]
    for position, counts in feature["dots"]:
        levels = [level for level in _LEVEL_STYLES for _ in range(counts.get(level, 0))]
        for k, level in enumerate(levels):
            points[level][0].append(-part["reach"] + (position + 0.5) * width)
            points[level][1].append(row + (k - (len(levels) - 1) / 2) * gap)


def bars(scores: Sequence[Part], *, ident: str, title: str) -> str:
    """Distribution of rule scores: one small panel per score; hidden counts are hatched."""
    with matplotlib.rc_context(STYLE):
        pairs = [scores[k : k + 2] for k in range(0, len(scores), 2)]
        heights = [0.75 + 0.22 * max(len(s["distribution"]) for s in pair) for pair in pairs]
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        grid = figure.subplots(len(pairs), 2, squeeze=False, height_ratios=heights)
        for axes in grid.flat[len(scores) :]:
            axes.set_visible(False)
        for axes, score in zip(grid.flat, scores, strict=False):
            _bars_panel(axes, score)
        described = "; ".join(
            f"{s['title']}: " + ", ".join(f"{c['label']}: {c['n']}" for c in s["distribution"]) for s in scores
        )
        return svg(figure, ident, title, described + ".")


def _bars_panel(axes: Axes, score: Part) -> None:
    cells = score["distribution"]
    for position, cell in enumerate(cells):
        if isinstance(cell["n"], int):
            axes.barh(position, cell["n"], color=SKY, edgecolor=BLUE, linewidth=0.7)
        else:
            axes.barh(position, 4, color="white", edgecolor=GREY, linewidth=0.7, hatch="////")
    axes.set_yticks(range(len(cells)), [drawable(c["label"].replace("_", " "), 24) for c in cells])
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.set_title("\n".join(textwrap.wrap(drawable(score["title"], 76), 40)[:2]), loc="left", fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("Patients")
    axes.tick_params(axis="y", length=0)
