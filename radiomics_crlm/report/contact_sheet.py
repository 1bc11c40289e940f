"""Contact sheets: one picture per patient with the lesions outlined, and one page that shows them all.

A sheet holds the patient key and nothing else that could identify somebody: no dates, no names, no file names.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito, light ones first: they stay visible on grey.
_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#009E73", "#D55E00")
_VERDICT_COLOURS = {"pass": "#00704f", "doubtful": "#8a5a00", "fail": "#b3261e"}
_TILE_INCHES, _TEXT_INCHES, _HEAD_INCHES = 2.35, 2.75, 0.42
_STRIP_TITLE_INCHES = 0.22
_DPI = 110
_BAR_MM = 50.0
_HALO = [patheffects.withStroke(linewidth=2.2, foreground="black")]
_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.0,
    "text.parse_math": False,
    "text.usetex": False,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Tile:
    """One slice: grey values, lesion labels and liver ``(rows, columns)``, distances of rows and columns in mm."""

    pixels: np.ndarray
    lesions: np.ndarray
    liver: np.ndarray | None
    step_mm: tuple[float, float]
    title: str


@dataclass(frozen=True)
class Panel:
    """One scan: its slices, the window ``(darkest, brightest)``, the verdict, and lines of facts and findings.

    ``findings`` are pairs of a verdict (``pass``, ``doubtful``, ``fail``) and its reason.
    """

    title: str
    tiles: tuple[Tile, ...]
    window: tuple[float, float]
    facts: tuple[str, ...]
    findings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Entry:
    """One patient on the page: key, picture (None if no scan could be read), overall verdict and what to look at."""

    patient: str
    picture: str | None
    verdict: str
    remarks: tuple[tuple[str, str], ...]


def draw_sheet(patient: str, panels: Sequence[Panel]) -> bytes:
    """The picture of a patient as PNG; the same content gives the same bytes.

    One row per scan: text on the left, then its slices from head to feet, each with a scale bar of 5 cm. Lesions are
    outlined and numbered, the liver has a thin dashed line.
    """
    width = max(1, *(len(p.tiles) for p in panels))
    figure_width = _TEXT_INCHES + width * _TILE_INCHES
    heights = [_row_height(p) for p in panels]
    with matplotlib.rc_context(_STYLE):
        total = _HEAD_INCHES + sum(heights)
        figure = Figure(figsize=(figure_width, total), dpi=_DPI)
        FigureCanvasAgg(figure)
        figure.text(0.1 / figure_width, 1 - 0.13 / total, patient, fontsize=13, fontweight="bold", va="top")
        top = total - _HEAD_INCHES
        for panel, height in zip(panels, heights, strict=True):
            _draw_panel(figure, panel, top=top, height=height, size=(figure_width, total))
            top -= height
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def draw_strip(panels: Sequence[Panel], *, columns: int = 4) -> bytes:
    """The slices alone as PNG, for a page that says the rest in text; the same content gives the same bytes.

    Per scan a line with its title, then its slices from head to feet, ``columns`` in a row, lesions and liver outlined
    and each slice with a scale bar. Neither key nor facts are drawn.
    """
    wide = min(columns, max((len(p.tiles) for p in panels), default=1)) or 1
    heights = [_strip_height(p) * -(-max(len(p.tiles), 1) // wide) + _STRIP_TITLE_INCHES for p in panels]
    total, width = sum(heights), wide * _TILE_INCHES
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, total), dpi=_DPI)
        FigureCanvasAgg(figure)
        top = total
        for panel, height in zip(panels, heights, strict=True):
            figure.text(0.05 / width, (top - 0.05) / total, panel.title, fontsize=9, fontweight="bold", va="top")
            each = _strip_height(panel)
            for k, tile in enumerate(panel.tiles):
                bottom = top - _STRIP_TITLE_INCHES - each * (k // wide + 1)
                place = ((k % wide) * _TILE_INCHES + 0.03, bottom + 0.03, _TILE_INCHES - 0.06, each - 0.22)
                axes = figure.add_axes((place[0] / width, place[1] / total, place[2] / width, place[3] / total))
                _draw_tile(axes, tile, panel.window, bar=True)
            top -= height
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def render_index(entries: Sequence[Entry], title: str) -> str:
    """The page with all patients: what needs a look first, then every sheet in order. No script, no request."""
    environment = Environment(
        loader=PackageLoader("radiomics_crlm.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    counts = {v: sum(e.verdict == v for e in entries) for v in ("pass", "doubtful", "fail")}
    return environment.get_template("contact_sheet.html.j2").render(entries=entries, counts=counts, title=title)


def _shape(panel: Panel) -> float:
    """Height over width of the tallest slice, at most 1.4."""
    shapes = (t.pixels.shape[0] * t.step_mm[0] / (t.pixels.shape[1] * t.step_mm[1]) for t in panel.tiles)
    return min(max(shapes, default=1.0), 1.4)


def _strip_height(panel: Panel) -> float:
    """Inches of a row of slices with their titles."""
    return _TILE_INCHES * _shape(panel) + 0.22


def _row_height(panel: Panel) -> float:
    """Inches: room for the tallest slice and for the text."""
    lines = 1 + sum(len(_wrapped(text)) for text in (*panel.facts, *(r for _, r in panel.findings)))
    return max(_TILE_INCHES * _shape(panel) + 0.3, 0.145 * lines + 0.3)


def _draw_panel(figure: Figure, panel: Panel, *, top: float, height: float, size: tuple[float, float]) -> None:
    width, total = size
    x, y = 0.1 / width, (top - 0.06) / total
    figure.text(x, y, panel.title, fontsize=9.5, fontweight="bold", va="top")
    y -= 0.22 / total
    for text, colour in [*((f, "#1a1a1a") for f in panel.facts), *_coloured(panel.findings)]:
        for number, line in enumerate(_wrapped(text)):
            figure.text(x + (0.1 / width if number else 0), y, line, fontsize=7.5, va="top", color=colour)
            y -= 0.145 / total
    for k, tile in enumerate(panel.tiles):
        left = (_TEXT_INCHES + k * _TILE_INCHES) / width
        place = (left, (top - height + 0.04) / total, (_TILE_INCHES - 0.06) / width, (height - 0.26) / total)
        _draw_tile(figure.add_axes(place), tile, panel.window, bar=True)


def _coloured(findings: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    marks = {"pass": "\u2713", "doubtful": "?", "fail": "\u2717"}
    return [(f"{marks[verdict]} {reason}", _VERDICT_COLOURS[verdict]) for verdict, reason in findings]


def _wrapped(text: str, columns: int = 44) -> list[str]:
    """Lines of at most so many characters, broken at blanks."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > columns:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _draw_tile(axes: Axes, tile: Tile, window: tuple[float, float], *, bar: bool) -> None:
    rows_mm, columns_mm = tile.step_mm
    tall, wide = tile.pixels.shape[0] * rows_mm, tile.pixels.shape[1] * columns_mm
    extent = (0.0, wide, tall, 0.0)
    axes.imshow(
        tile.pixels,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        extent=extent,
        interpolation="bilinear",
        aspect="equal",
    )
    axes.set_title(tile.title, fontsize=7.5, pad=2.5, loc="left")
    axes.set_axis_off()
    axes.set_xlim(0, wide)
    axes.set_ylim(tall, 0)
    x = (np.arange(tile.pixels.shape[1]) + 0.5) * columns_mm
    y = (np.arange(tile.pixels.shape[0]) + 0.5) * rows_mm
    if tile.liver is not None and _has_outline(tile.liver):
        axes.contour(x, y, tile.liver.astype(float), [0.5], colors="white", linewidths=0.6, linestyles="dashed")
    for label in (int(n) for n in np.unique(tile.lesions) if n > 0):
        inside = tile.lesions == label
        colour = _COLOURS[(label - 1) % len(_COLOURS)]
        if _has_outline(inside):
            axes.contour(x, y, inside.astype(float), [0.5], colors=colour, linewidths=1.1)
        _number(axes, inside, (x, y), str(label), colour)
    if bar:
        _scale_bar(axes, wide, tall)


def _has_outline(inside: np.ndarray) -> bool:
    return bool(min(inside.shape) > 1 and inside.any() and not inside.all())


def _number(axes: Axes, inside: np.ndarray, at: tuple[np.ndarray, np.ndarray], text: str, colour: str) -> None:
    """Number of a lesion beside its outline."""
    rows, columns = np.nonzero(inside)
    x, y = float(at[0][columns.max()]) + 1.5, float(at[1][rows.min()]) - 1.0
    axes.text(x, y, text, color=colour, fontsize=7.5, fontweight="bold", path_effects=_HALO, clip_on=True)


def _scale_bar(axes: Axes, wide: float, tall: float) -> None:
    length = _BAR_MM if wide > 1.5 * _BAR_MM else 10.0
    x, y = 0.04 * wide, 0.955 * tall
    axes.plot([x, x + length], [y, y], color="white", linewidth=2.0, path_effects=_HALO, solid_capstyle="butt")
    axes.text(x, y - 0.02 * tall, f"{length:.0f} mm", color="white", fontsize=6.5, va="bottom", path_effects=_HALO)


def overall(verdicts: Mapping[str, int]) -> str:
    """The worst verdict that occurs.

    >>> overall({"pass": 3, "doubtful": 1}), overall({})
    ('doubtful', 'pass')
    """
    return next((v for v in ("fail", "doubtful") if verdicts.get(v)), "pass")
