"""What a section of the card is made of: headings, sentences, tables and figures as plain JSON.

A section's builder returns ``{"blocks": [...]}``; one template draws every kind of block, and every cell carries the
JSON path of its text. A section of this kind needs no template of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radiomics_crlm.report.wording import METRIC_DECIMALS, NO_VALUE, fixed, interval, number, small

Part = dict[str, Any]


def section(blocks: Sequence[Part]) -> Part:
    """The blocks of a section, in order."""
    return {"blocks": list(blocks)}


def heading(text: str) -> Part:
    """A heading below that of the section."""
    return {"kind": "heading", "text": text}


def paragraph(text: str) -> Part:
    """A sentence or several."""
    return {"kind": "text", "text": text}


def caution(text: str) -> Part:
    """What must be read before the numbers after it."""
    return {"kind": "caution", "text": text}


def bullets(items: Sequence[str]) -> Part:
    """A list of sentences."""
    return {"kind": "list", "items": list(items)}


def names(summary: str, items: Sequence[str]) -> Part:
    """Names of columns or features that unfold on demand."""
    return {"kind": "names", "summary": summary, "items": list(items)}


def links(files: Mapping[str, str]) -> Part:
    """Files beside the page, each with what it holds."""
    return {"kind": "links", "items": [{"file": file, "text": text} for file, text in files.items()]}


def absent(what: str, reason: str) -> Part:
    """Why something is not there, in one line."""
    return {"kind": "absent", "what": what, "absent": reason}


def figure(draw: str, title: str, caption: str, data: Mapping[str, Any], *, narrow: bool = False) -> Part:
    """A figure: ``draw`` names the function of :mod:`report.plots` that draws ``data``."""
    return {"kind": "figure", "draw": draw, "title": title, "caption": caption, "data": dict(data), "narrow": narrow}


def column(title: str, trait: str = "", *, words: bool = False) -> Part:
    """Head of a column; ``trait`` is a remark below it, ``words`` that it holds text."""
    return {"title": title, "trait": trait, "words": words}


def cell(text: object, **values: Any) -> Part:
    """A cell: what is shown, and the values behind it.

    >>> cell("61 %", value=0.61)
    {'text': '61 %', 'value': 0.61}
    """
    return {"text": str(text)} | values


def value(amount: Any, decimals: int = 2) -> Part:
    """A cell with one number.

    >>> value(0.123), value(None)
    ({'text': '0.12', 'value': 0.123}, {'text': '–', 'value': None})
    """
    known = number(amount)
    return cell(fixed(known, decimals), value=known)


def share(amount: Any, decimals: int = 0) -> Part:
    """A cell with a share in per cent.

    >>> share(0.615)["text"], share(None)["text"]
    ('62 %', '–')
    """
    known = number(amount)
    return cell(NO_VALUE if known is None else f"{fixed(100 * known, decimals)} %", value=known)


def count(n: int) -> Part:
    """A cell with a count of patients; a small one is hidden, in the text and behind it.

    >>> count(3), count(12)
    ({'text': '<5', 'value': None}, {'text': '12', 'value': 12})
    """
    shown = small(int(n))
    return cell(shown, value=shown if isinstance(shown, int) else None)


def estimate(row: Mapping[str, Any] | None, metric: str = "", decimals: int | None = None) -> Part:
    """A cell with an estimate and its 95 % limits (``estimate``, ``lower``, ``upper`` of a row of a table).

    >>> estimate({"estimate": 0.612, "lower": 0.55, "upper": 0.671})["text"]
    '0.61 (0.55 to 0.67)'
    """
    if row is None:
        return cell(NO_VALUE, absent="not applicable")
    known = {key: number(row[key]) for key in ("estimate", "lower", "upper")}
    if known["estimate"] is None:
        return cell("not computable", **known)
    places = METRIC_DECIMALS.get(metric, 2) if decimals is None else decimals
    return cell(interval(known["estimate"], known["lower"], known["upper"], places), **known)


def row(head: str, cells: Sequence[Part], *, under: str = "", strong: bool = False) -> Part:
    """A row: its name, a remark below the name, its cells."""
    return {"head": head, "under": under, "strong": strong, "cells": list(cells)}


def group(rows: Sequence[Part], title: str = "") -> Part:
    """Rows that belong together, below a title of their own."""
    return {"title": title, "rows": list(rows)}


def table(
    caption: str, head: str, columns: Sequence[Part], groups: Sequence[Part], *, note: str = "", fold: str = ""
) -> Part:
    """A table.

    Parameters
    ----------
    caption
        What it shows.
    head
        Head of the first column, which names the rows.
    columns, groups
        Made by :func:`column` and :func:`group`; a row has as many cells as there are columns.
    note
        A remark below it.
    fold
        Words on which it unfolds; without them it is open.
    """
    return {
        "kind": "table",
        "caption": caption,
        "head": head,
        "columns": list(columns),
        "groups": list(groups),
        "note": note,
        "fold": fold,
    }
