"""Waterfall of one prediction: from the average to the prediction, input by input, as inline SVG.

Drawn by hand and not by matplotlib: a patient's sheet has one, and a cohort has thousands. Text is text in the colour
of the page (``currentColor``), so that the figure is readable in light and dark and in print. Direction is told by the
arrow, the sign and the place as well as by the colour.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import sha256_bytes
from radiomics_crlm.report.drawing import BLUE, GREY, VERMILLION
from radiomics_crlm.report.wording import clean, fixed

ADDITIVITY = 1e-5
"""Largest admissible gap between base + values and the total, relative to the total where that is beyond 1."""
SHOWN = 12
_LABELS, _PLOT, _VALUES = 300.0, 360.0, 90.0
_ROW, _BAR, _HEAD = 26.0, 15.0, 8.0
_LONGEST = 36
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'


@dataclass(frozen=True)
class Bar:
    """One step of a waterfall: what it is of, how far it moves, and from where to where."""

    label: str
    value: float
    start: float
    end: float


def waterfall_bars(
    labels: Sequence[str], values: Sequence[float], base: float, total: float, *, shown: int = SHOWN
) -> list[Bar]:
    """Steps from the base value to the total, largest first; those beyond ``shown`` are joined as the last one.

    Parameters
    ----------
    labels, values
        Inputs and their attributions, in any order and unit.
    base, total
        Average prediction that the attributions refer to, and the prediction.
    shown
        Most steps, >= 1. Inputs with attribution 0 are no steps.

    Raises
    ------
    InputError
        If lengths differ, a number is not finite, or the values do not lead from the base to the total.

    Examples
    --------
    >>> [(bar.label, bar.end) for bar in waterfall_bars(["a", "b"], [1.0, -2.0], 0.5, -0.5)]
    [('b', -1.5), ('a', -0.5)]
    """
    if len(labels) != len(values) or shown < 1:
        raise InputError("labels and values do not fit together", where="waterfall")
    reached = base + math.fsum(values)
    if not abs(reached - total) <= ADDITIVITY * max(1.0, abs(total)):  # so written that NaN is refused
        raise InputError("attributions do not lead from the base to the prediction", where="waterfall")
    moving = [n for n, value in enumerate(values) if value != 0]
    order = sorted(moving, key=lambda n: (-abs(values[n]), labels[n], n))
    steps = [(labels[n], float(values[n])) for n in order]
    if len(steps) > shown:
        rest = steps[shown - 1 :]
        steps = [*steps[: shown - 1], (f"{len(rest)} other inputs", math.fsum(value for _, value in rest))]
    bars, place = [], float(base)
    for label, value in steps:
        bars.append(Bar(label, value, place, place + value))
        place += value
    return bars


def waterfall_svg(
    labels: Sequence[str],
    values: Sequence[float],
    base: float,
    total: float,
    *,
    unit: str,
    title: str = "What moves this prediction",
    ident: str = "",
    decimals: int = 2,
    shown: int = SHOWN,
) -> str:
    """Waterfall of one prediction as inline SVG; the same bytes for the same data.

    Parameters
    ----------
    labels, values, base, total, shown
        As in :func:`waterfall_bars`. Labels are shown as they are given (escaped; long ones lose their middle).
    unit
        What the numbers are, such as ``log hazard ratio`` or ``probability within 24 months``.
    title
        Accessible name; the description repeats all numbers.
    ident
        Prefix of ids, unique on the page; by default made from the content.
    decimals
        Of the numbers shown.

    Raises
    ------
    InputError
        As :func:`waterfall_bars`.
    """
    bars = waterfall_bars(labels, values, base, total, shown=shown)
    place, ticks = _axis([base, total, *(bar.end for bar in bars)])
    height = _HEAD + _ROW * (len(bars) + 2) + 52
    parts = [_end_row(0, "Average prediction", base, place, decimals)]
    parts += [_bar_row(number, bar, place, decimals) for number, bar in enumerate(bars, start=1)]
    parts.append(_end_row(len(bars) + 1, "This prediction", total, place, decimals))
    parts.append(_scale(ticks, place, _HEAD + _ROW * (len(bars) + 2), unit))
    told = "; ".join(f"{clean(bar.label)} {fixed(bar.value, decimals, signed=True)}" for bar in bars)
    description = (
        f"In {clean(unit)}: average prediction {fixed(base, decimals)}; {told + '; ' if told else ''}"
        f"this prediction {fixed(total, decimals)}."
    )
    name = ident or "waterfall-" + sha256_bytes(f"{title}{description}{parts}".encode())[:12]
    width = _LABELS + _PLOT + _VALUES
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width:.0f}px;width:100%" xmlns="http://www.w3.org/2000/svg" fill="currentColor" {_FONT}>'
        f'<title id="{name}-title">{html.escape(clean(title))}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>' + "".join(parts) + "</svg>"
    )


def shortened(text: str, limit: int = _LONGEST) -> str:
    """One line of bounded length; names of features differ at their end, so the middle is left out.

    >>> shortened("abcdefghij", 6)
    'ab…hij'
    """
    line = " ".join(clean(text).split())
    if len(line) <= limit:
        return line
    head = limit // 3
    return line[:head] + "\N{HORIZONTAL ELLIPSIS}" + line[head + 1 - limit :]


def _axis(reached: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    """From a value to its place in the figure, and round values within."""
    low, high = min(reached), max(reached)
    margin = 0.06 * (high - low) or max(0.1, 0.1 * abs(high))
    low, high = low - margin, high + margin
    # Of the steps 1, 2 and 5 times a power of ten the smallest that gives five ticks at most.
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(m * power for m in (1, 2, 5, 10) if (high - low) / (m * power) <= 5)
    ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return (lambda value: _LABELS + (value - low) / (high - low) * _PLOT), ticks


def _text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'


def _middle(row: int) -> float:
    return _HEAD + _ROW * (row + 0.5)


def _end_row(row: int, label: str, value: float, place: Callable[[float], float], decimals: int) -> str:
    """First or last row: a diamond at the value."""
    x, y = place(value), _middle(row)
    points = f"{x - 6:.1f},{y:.1f} {x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f}"
    bold = ' font-weight="600"'
    return (
        _text(_LABELS - 14, y + 4.5, label, "end", bold)
        + f'<polygon points="{points}"/>'
        + _text(_LABELS + _PLOT + _VALUES - 4, y + 4.5, fixed(value, decimals), "end", bold)
    )


def _bar_row(row: int, bar: Bar, place: Callable[[float], float], decimals: int) -> str:
    """An arrow from start to end, a thin line from the row before."""
    y, start, end = _middle(row), place(bar.start), place(bar.end)
    top, bottom = y - _BAR / 2, y + _BAR / 2
    neck = end - math.copysign(min(7.0, abs(end - start)), end - start)
    points = " ".join(
        f"{x:.1f},{at:.1f}" for x, at in ((start, top), (neck, top), (end, y), (neck, bottom), (start, bottom))
    )
    colour = VERMILLION if bar.value > 0 else BLUE
    return (
        f'<line x1="{start:.1f}" x2="{start:.1f}" y1="{y - _ROW + 2:.1f}" y2="{top:.1f}" stroke="{GREY}"/>'
        + _text(_LABELS - 14, y + 4.5, shortened(bar.label), "end")
        + f'<polygon points="{points}" fill="{colour}"/>'
        + _text(_LABELS + _PLOT + _VALUES - 4, y + 4.5, fixed(bar.value, decimals, signed=True), "end")
    )


def _scale(ticks: Sequence[float], place: Callable[[float], float], y: float, unit: str) -> str:
    step = min((b - a for a, b in itertools.pairwise(ticks)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = "".join(
        f'<line x1="{place(t):.1f}" x2="{place(t):.1f}" y1="{y:.1f}" y2="{y + 5:.1f}" stroke="currentColor"/>'
        + _text(place(t), y + 19, fixed(t, decimals), "middle", ' font-size="12"')
        for t in ticks
    )
    line = f'<line x1="{_LABELS:.1f}" x2="{_LABELS + _PLOT:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"/>'
    return line + marks + _text(_LABELS + _PLOT / 2, y + 40, shortened(unit, 60), "middle")
