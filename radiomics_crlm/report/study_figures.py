"""Figures of the experiment report that the card does not have: calibration and decision curves at several horizons,
mean attributions. Pure functions of report data, the same bytes for the same data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radiomics_crlm.report.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    WIDTH,
    axis_top,
    drawable,
    svg,
)
from radiomics_crlm.report.wording import months_text

Part = Mapping[str, Any]

_LINES: tuple[tuple[str, Any], ...] = (
    (BLUE, "-"),
    (ORANGE, (0, (5, 1.5))),
    (GREEN, (0, (1.5, 1))),
    (VERMILLION, (0, (4, 1, 1, 1))),
)
MOST_CURVES = len(_LINES)
_REFERENCES: Mapping[str, Any] = {"treat_all": (GREY, "-"), "treat_none": (BLACK, (0, (1, 2)))}
_REFERENCE_NAMES = {"treat_all": "treat all", "treat_none": "treat none"}


def calibration_curves(panels: Sequence[Part], *, ident: str, title: str) -> str:
    """Smooth calibration curves with pointwise 95 % intervals, one panel per horizon.

    Parameters
    ----------
    panels
        ``months`` and ``curves``: each ``title, predicted, observed, lower, upper`` (lists; limits None where there are
        none), at most ``MOST_CURVES``.
    ident
        Prefix of all ids in the SVG.
    title
        Accessible name.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels(len(panels))
        for one, panel in zip(axes, panels, strict=True):
            drawn = [v for c in panel["curves"] for key in ("predicted", "observed", "upper") for v in c[key]]
            top = axis_top([v for v in drawn if v is not None])
            one.plot([0, top], [0, top], color=GREY, linestyle=(0, (4, 3)), linewidth=1.0, label="perfect calibration")
            for curve, (colour, dash) in zip(panel["curves"], _LINES, strict=False):
                lower, upper = ([math.nan if v is None else v for v in curve[key]] for key in ("lower", "upper"))
                one.fill_between(curve["predicted"], lower, upper, color=colour, alpha=0.13, linewidth=0)
                label = drawable(curve["title"])
                one.plot(curve["predicted"], curve["observed"], color=colour, linestyle=dash, label=label)
            one.set_xlim(0, top)
            one.set_ylim(0, top)
            one.set_title(f"by {months_text(panel['months'])}", fontsize=8.5)
            one.set_xlabel("Predicted")
        axes[0].set_ylabel("Observed")
        _legend(figure, axes)
        return svg(figure, ident, title, _calibration_words(panels))


def decision_curves(panels: Sequence[Part], *, ident: str, title: str) -> str:
    """Net benefit by threshold, one panel per horizon.

    Parameters
    ----------
    panels
        ``months`` and ``curves``: each ``name, title, threshold, net_benefit`` (lists, None where unknown); the names
        ``treat_all`` and ``treat_none`` are drawn as references.
    ident, title
        As in `calibration_curves`.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels(len(panels))
        for one, panel in zip(axes, panels, strict=True):
            styles = iter(_LINES)
            for curve in panel["curves"]:
                colour, dash = _REFERENCES.get(curve["name"]) or next(styles)
                benefit = [math.nan if v is None else v for v in curve["net_benefit"]]
                width = 1.0 if curve["name"] in _REFERENCES else 1.6
                label = _REFERENCE_NAMES.get(curve["name"]) or drawable(curve["title"])
                one.plot(curve["threshold"], benefit, color=colour, linestyle=dash, linewidth=width, label=label)
            known = [v for c in panel["curves"] for v in c["net_benefit"] if v is not None]
            highest = max([*known, 0.05])
            one.set_ylim(-0.15 * highest, 1.08 * highest)
            one.set_xlim(0, max(t for c in panel["curves"] for t in c["threshold"]))
            one.set_title(f"by {months_text(panel['months'])}", fontsize=8.5)
            one.set_xlabel("Threshold of risk")
        axes[0].set_ylabel("Net benefit")
        _legend(figure, axes)
        return svg(figure, ident, title, _decision_words(panels))


def importance(rows: Sequence[Part], *, ident: str, title: str) -> str:
    """Mean absolute attributions as bars, strongest first; rows have ``feature`` and ``mean``."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.24 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for position, row in enumerate(rows):
            axes.barh(position, row["mean"], color=BLUE, height=0.62)
        axes.set_yticks(range(len(rows)), [drawable(row["feature"], 44) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("Mean absolute SHAP value, out of fold")
        described = "; ".join(f"{row['feature']}: {row['mean_text']}" for row in rows)
        return svg(figure, ident, title, described + ".")


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    width = WIDTH if count > 1 else WIDTH / 1.7
    figure = Figure(figsize=(width, 3.1 if count > 1 else 3.7), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    handles: dict[str, Any] = {}
    for one in axes:
        for handle, name in zip(*one.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2, frameon=False)


def _calibration_words(panels: Sequence[Part]) -> str:
    return (
        "; ".join(
            f"{curve['title']} by {months_text(panel['months'])}: predictions {curve['predicted'][0]:.2f} to "
            f"{curve['predicted'][-1]:.2f}, observed {curve['observed'][0]:.2f} to {curve['observed'][-1]:.2f}"
            for panel in panels
            for curve in panel["curves"]
        )
        + "."
    )


def _decision_words(panels: Sequence[Part]) -> str:
    said = []
    for panel in panels:
        for curve in panel["curves"]:
            known = [v for v in curve["net_benefit"] if v is not None]
            if curve["name"] not in _REFERENCES and known:
                said.append(f"{curve['title']} by {months_text(panel['months'])}: net benefit up to {max(known):.3f}")
    return "; ".join(said) + "."
