"""Where one patient stands among all that were scored together: a strip of quantiles as inline SVG.

Quantiles and not dots: a dot would be another patient.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from radiomics_crlm.report.drawing import BLUE, VERMILLION
from radiomics_crlm.report.wording import clean

Part = dict[str, Any]

SMALLEST = 10
"""Fewer patients than this are not shown: the others could be guessed."""
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTH, _LEFT, _RIGHT = 560.0, 24.0, 24.0
_MIDDLE = 34.0
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'


def position(value: float | None, cohort: Sequence[float]) -> Part:
    """The place of a probability among those of a cohort, the patient's own included.

    Parameters
    ----------
    value
        Probability of the patient; None where there is none.
    cohort
        Probabilities of all patients scored, unknown ones left out.

    Returns
    -------
    dict
        ``n``, ``value``, ``lower_pct`` (per cent of the *other* patients with a lower probability) and ``quantiles``
        at 5, 25, 50, 75 and 95 %; or ``absent`` with the reason.

    Examples
    --------
    >>> position(0.3, [0.1] * 9 + [0.3])["lower_pct"]
    100
    >>> position(0.3, [0.1, 0.3])["absent"]
    'fewer than 10 patients were scored together'
    """
    known = np.asarray(cohort, dtype=float)
    if value is None:
        return {"absent": "the patient has no probability"}
    if known.size < SMALLEST:
        return {"absent": f"fewer than {SMALLEST} patients were scored together"}
    lower = int((known < value).sum())
    return {
        "n": int(known.size),
        "value": float(value),
        "lower_pct": math.floor(100 * lower / (known.size - 1)),
        "quantiles": [round(float(q), 4) for q in np.quantile(known, _LEVELS)],
    }


def strip_svg(part: Part, *, ident: str, title: str, description: str) -> str:
    """The strip from 0 to 100 %: a thin band from the 5th to the 95th percentile of the cohort, a thick one for its
    middle half, a bar at its median, and a diamond at the patient. Text has the colour of the page.
    """
    low, first, median, third, high = (_x(q) for q in part["quantiles"])
    x = _x(part["value"])
    ticks = "".join(
        f'<line x1="{_x(t):.1f}" x2="{_x(t):.1f}" y1="52" y2="57" stroke="currentColor"/>'
        f'<text x="{_x(t):.1f}" y="72" text-anchor="middle" font-size="12">{100 * t:.0f} %</text>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<svg role="img" aria-labelledby="{ident}-title {ident}-desc" viewBox="0 0 {_WIDTH:g} 78" '
        f'style="max-width:{_WIDTH:g}px;width:100%" xmlns="http://www.w3.org/2000/svg" fill="currentColor" {_FONT}>'
        f'<title id="{ident}-title">{html.escape(clean(title))}</title>'
        f'<desc id="{ident}-desc">{html.escape(clean(description))}</desc>'
        f'<line x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="52" y2="52" stroke="currentColor"/>{ticks}'
        + _band(low, high, 4.0, 0.35)
        + _band(first, third, 14.0, 0.55)
        + f'<line x1="{median:.1f}" x2="{median:.1f}" y1="{_MIDDLE - 10:g}" y2="{_MIDDLE + 10:g}" '
        'stroke="currentColor" stroke-width="2"/>'
        f'<polygon points="{x - 7:.1f},{_MIDDLE:g} {x:.1f},{_MIDDLE - 9:g} {x + 7:.1f},{_MIDDLE:g} '
        f'{x:.1f},{_MIDDLE + 9:g}" fill="{VERMILLION}" stroke="currentColor"/>'
        f'<text x="{min(max(x, 40.0), _WIDTH - 40.0):.1f}" y="16" text-anchor="middle" font-weight="600">'
        "this patient</text></svg>"
    )


def _x(share: float) -> float:
    return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)


def _band(start: float, end: float, height: float, opacity: float) -> str:
    return (
        f'<rect x="{start:.1f}" y="{_MIDDLE - height / 2:g}" width="{max(end - start, 1.0):.1f}" height="{height:g}" '
        f'fill="{BLUE}" fill-opacity="{opacity:g}"/>'
    )
