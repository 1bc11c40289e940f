"""Figures of the sections made of blocks, as inline SVG: pure functions of card data, the same bytes for the same data.

Every function takes the ``data`` of a figure block, a prefix of ids that is unique on the page, and a title, and
returns SVG. Lines differ in dash and marker as well as in colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from radiomics_crlm.report import explained_figures, figures
from radiomics_crlm.report.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    WIDTH,
    axis_top,
    drawable,
    svg,
)

Part = Mapping[str, Any]

_LINES = ((BLUE, "-"), (VERMILLION, (0, (5, 1.5))), (GREEN, (0, (1.5, 1))), (PURPLE, (0, (5, 1, 1, 1))), (ORANGE, "-"))


def draw(name: str, data: Part, *, ident: str, title: str) -> str:
    """The figure that a block names.

    Raises
    ------
    KeyError
        If there is no such figure.
    """
    return _DRAWN[name](data, ident=ident, title=title)


def sample_sizes(data: Part, *, ident: str, title: str) -> str:
    """Patients there are and patients needed, a row per feature set, endpoints apart; logarithmic axis."""
    with matplotlib.rc_context(STYLE):
        rows = data["rows"]
        heads = [k for k, r in enumerate(rows) if k == 0 or r["group"] != rows[k - 1]["group"]]
        places = [k + sum(h <= k for h in heads) for k in range(len(rows))]
        lines = len(rows) + len(heads)
        figure = Figure(figsize=(WIDTH, 0.75 + 0.21 * lines), layout="constrained")
        axes = figure.subplots()
        for place, r in zip(places, rows, strict=True):
            colour = BLUE if r["sufficient"] else VERMILLION
            axes.plot([r["n"], r["needed"]], [place, place], color=colour, linewidth=1.2, alpha=0.6, zorder=1)
            axes.plot([r["needed"]], [place], marker="o", color=colour, markerfacecolor="white", markersize=6)
            axes.plot([r["n"]], [place], marker="o", color=colour, markersize=6)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_major_locator(_log_ticks(rows))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticks(places, [drawable(r["title"], 48) for r in rows])
        for h in heads:
            axes.text(
                0.0, places[h] - 0.75, drawable(rows[h]["group"], 80), transform=axes.get_yaxis_transform(),
                fontweight="bold", va="center",
            )  # fmt: skip
        axes.set_ylim(lines - 0.4, -0.3)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Patients: filled, there are; open, needed")
        described = "; ".join(f"{r['group']}, {r['title']}: {r['n']} of {r['needed']}" for r in rows)
        return svg(figure, ident, title, f"Patients there are, of those needed. {described}.")


def _log_ticks(rows: Sequence[Part]) -> FixedLocator:
    values = [r[key] for r in rows for key in ("n", "needed")]
    powers = range(int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values)))) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    wanted = [t for t in ticks if min(values) / 1.6 <= t <= max(values) * 1.6]
    return FixedLocator(wanted or ticks)


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """One row of equal panels."""
    wide = min(WIDTH, 4.4 if count == 1 else WIDTH)
    figure = Figure(figsize=(wide, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def calibration_curves(data: Part, *, ident: str, title: str) -> str:
    """Smooth calibration curves, a panel per horizon: observed against predicted, bands of the first model."""
    with matplotlib.rc_context(STYLE):
        panels = data["panels"]
        figure, axes = _panels(len(panels), {1: 4.4, 2: 4.0}.get(len(panels), 2.95))
        tops = [v for p in panels for c in p["curves"] for v in (*c["predicted"], *c["observed"])]
        top = axis_top(tops)
        for ax, panel in zip(axes, panels, strict=True):
            ax.plot([0, top], [0, top], color=GREY, linestyle=(0, (2, 2)), linewidth=1.0)
            for curve, (colour, dash) in zip(panel["curves"], _LINES, strict=False):
                if curve is panel["curves"][0]:
                    ax.fill_between(
                        curve["predicted"], curve["lower"], curve["upper"], color=colour, alpha=0.15, linewidth=0
                    )
                label = drawable(curve["title"], 54)
                ax.plot(curve["predicted"], curve["observed"], color=colour, linestyle=dash, label=label)
            ax.set_xlim(0, top)
            ax.set_ylim(0, top)
            ax.set_aspect("equal")
            ax.set_title(panel["title"], loc="left")
            ax.set_xlabel("Predicted probability")
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(4))
        axes[0].set_ylabel("Observed incidence")
        _legend(figure, axes)
        described = "; ".join(f"{p['title']}: {c['described']}" for p in panels for c in p["curves"])
        return svg(figure, ident, title, f"Dotted: perfect calibration. {described}.")


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them; a line is named once."""
    entries = {}
    for ax in axes:
        entries.update(dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True)))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=1 if len(axes) == 1 else 2,
        frameon=False, handlelength=2.6,
    )  # fmt: skip


_REFERENCES = {"treat_all": (GREY, (0, (4, 2))), "treat_none": (BLACK, "-")}


def decision_curves(data: Part, *, ident: str, title: str) -> str:
    """Net benefit against threshold, a panel per horizon, with treating all and none."""
    with matplotlib.rc_context(STYLE):
        panels = data["panels"]
        figure, axes = _panels(len(panels), 3.2 if len(panels) > 1 else 3.9)
        known = [v for p in panels for c in p["curves"] for v in c["net_benefit"] if v is not None]
        last = min(1.0, max(_reach(c) for p in panels for c in p["curves"]) + 0.03)
        for ax, panel in zip(axes, panels, strict=True):
            fitted = (c for c in panel["curves"] if c["model"] not in _REFERENCES)
            styles = {c["model"]: style for c, style in zip(fitted, _LINES, strict=False)} | _REFERENCES
            for curve in reversed(panel["curves"]):
                colour, dash = styles[curve["model"]]
                drawn = [np.nan if v is None else v for v in curve["net_benefit"]]
                wide = 1.0 if curve["model"] in _REFERENCES else 1.6
                label = drawable(curve["title"], 54)
                ax.plot(curve["threshold"], drawn, color=colour, linestyle=dash, linewidth=wide, label=label)
            ax.set_xlim(0, last)
            ax.set_ylim(-0.04, max(known) * 1.06 + 0.01)
            ax.set_title(panel["title"], loc="left")
            ax.set_xlabel("Threshold of predicted risk")
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.yaxis.set_major_locator(MaxNLocator(5))
        axes[0].set_ylabel("Net benefit")
        _legend(figure, axes)
        return svg(figure, ident, title, f"{data['described']}")


def _reach(curve: Part) -> float:
    """Highest threshold at which the curve of a model is drawn."""
    if curve["model"] in _REFERENCES:
        return 0.0
    points = zip(curve["threshold"], curve["net_benefit"], strict=True)
    return max((float(t) for t, v in points if v is not None), default=0.1)


def subgroup_forest(data: Part, *, ident: str, title: str) -> str:
    """The statistic in subgroups with 95 % intervals; dashed: in all patients."""
    return figures.forest(data["rows"], label=data["label"], reference=data["reference"], ident=ident, title=title)


def instability(data: Part, *, ident: str, title: str) -> str:
    """Range of refitted predictions in groups of patients with similar original prediction."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.0), layout="constrained")
        axes = figure.subplots()
        groups = data["groups"]
        x = [g["prediction"] for g in groups]
        top = axis_top([g["upper"] for g in groups])
        axes.plot([0, top], [0, top], color=GREY, linestyle=(0, (2, 2)), linewidth=1.0)
        lower, upper = ([g[end] for g in groups] for end in ("lower", "upper"))
        axes.fill_between(x, lower, upper, color=SKY, alpha=0.35, linewidth=0, label="95 % of refitted models")
        axes.plot(x, [g["mean"] for g in groups], color=BLUE, marker="o", markersize=4, label="mean of refitted models")
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_xlabel("Prediction of the model on this card")
        axes.set_ylabel("Prediction of refitted models")
        axes.legend(frameon=False, loc="upper left")
        described = "; ".join(g["described"] for g in groups)
        return svg(figure, ident, title, f"Mean range of refitted models by prediction. {described}.")


def stability(data: Part, *, ident: str, title: str) -> str:
    """Features of each class and image: bars of all, filled part stable."""
    with matplotlib.rc_context(STYLE):
        rows = data["rows"]
        figure = Figure(figsize=(WIDTH, 0.6 + 0.24 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, r in enumerate(rows):
            axes.barh(place, r["total"], color="white", edgecolor=GREY, linewidth=0.8, height=0.62)
            axes.barh(place, r["stable"], color=BLUE, height=0.62)
            axes.text(r["total"], place, f"  {r['stable']} of {r['total']}", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [drawable(r["title"], 44) for r in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, max(r["total"] for r in rows) * 1.15)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("Features; filled: stable")
        described = "; ".join(f"{r['title']}: {r['stable']} of {r['total']} stable" for r in rows)
        return svg(figure, ident, title, described + ".")


_DRAWN: Mapping[str, Callable[..., str]] = {
    "sample_sizes": sample_sizes,
    "calibration_curves": calibration_curves,
    "decision_curves": decision_curves,
    "subgroup_forest": subgroup_forest,
    "instability": instability,
    "stability": stability,
    **explained_figures.DRAWN,
}
