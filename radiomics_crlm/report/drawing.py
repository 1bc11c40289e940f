"""What all figures of the card have in common: style, colours, and the way from a figure to inline SVG.

Text is drawn as outlines, so no font is needed where the page is read. Colours are those of Okabe and Ito.
"""

from __future__ import annotations

import functools
import html
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#1a1a1a", "#767676"
WIDTH = 7.4

STYLE: Any = {
    "svg.hashsalt": "radiomics_crlm",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "axes.edgecolor": BLACK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "butt",
}
_SCALE = 1.6
"""Pixels per point at full width."""

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
LABEL_LENGTH, LABEL_WIDTH = 58, 42


def axis_top(values: Sequence[float]) -> float:
    """Upper end of an axis of probabilities that holds all values: a tenth, at most 1."""
    return min(1.0, math.ceil((max(values) + 0.02) * 10) / 10)


@functools.cache
def _font() -> FT2Font:
    return font_manager.get_font(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


def drawable(text: object, limit: int = LABEL_LENGTH) -> str:
    """Label text that the font can draw, on one line and of bounded length."""
    known = _font().get_charmap()
    shown = "".join(c if ord(c) in known else "?" for c in " ".join(str(text).split()))
    if len(shown) <= limit:
        return shown
    # Names of features differ at their end, so the middle is left out.
    head = limit // 3
    return shown[:head] + "\N{HORIZONTAL ELLIPSIS}" + shown[head + 1 - limit :]


def svg(figure: Figure, ident: str, title: str, description: str) -> str:
    """Inline SVG with unique ids, an accessible name and description; no date, style sheet or outside reference."""
    buffer = io.StringIO()
    # As Figure.savefig, which draws once more beforehand to find a size that is known here.
    FigureCanvasSVG(figure).print_svg(buffer, metadata=_NO_METADATA)
    size = figure.get_size_inches()
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{ident}-\1"', text)
    text = re.sub(r'((?:xlink:)?href="#)', rf"\1{ident}-", text)
    text = text.replace("url(#", f"url(#{ident}-")
    width, height = (72 * inches for inches in size)
    head = (
        f'<svg role="img" aria-labelledby="{ident}-title {ident}-desc" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width * _SCALE:.0f}px" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" stroke-linejoin="round" stroke-linecap="butt">'
        f'<title id="{ident}-title">{html.escape(title)}</title>'
        f'<desc id="{ident}-desc">{html.escape(description)}</desc>'
    )
    return head + text[text.index(">") + 1 :].strip()
