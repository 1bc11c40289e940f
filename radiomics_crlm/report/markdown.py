"""Markdown that reads well as text and on a page: escaped words, tables, folded parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from radiomics_crlm.report.wording import clean

_SPECIAL = re.compile(r"([\\`*_\[\]|])")


def words(text: object) -> str:
    """Text on one line in which nothing is markup.

    >>> words("a_b < c")
    'a\\\\_b &lt; c'
    """
    plain = " ".join(clean(text).split())
    escaped = _SPECIAL.sub(r"\\\1", plain)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: object) -> str:
    """A name or number as it stands in a file.

    >>> code("recurrence_24m")
    '`recurrence_24m`'
    """
    return "`" + clean(text).replace("`", "'").replace("|", "/") + "`"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> str:
    """A table of cells that are Markdown already; columns named in ``right`` are aligned to the right.

    >>> print(table(["a", "b"], [["x", 1]], right=[1]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    aligned = set(right)
    rule = "|".join("--:" if k in aligned else "---" for k in range(len(head)))
    lines = ["| " + " | ".join(head) + " |", f"|{rule}|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def bullets(items: Iterable[str]) -> str:
    """A list, one line per item."""
    return "\n".join(f"- {item}" for item in items)


def folded(summary: str, body: str) -> str:
    """A part that is shown on request."""
    return f"<details>\n<summary>{words(summary)}</summary>\n\n{body}\n\n</details>"


def image(text: str, path: str) -> str:
    """A figure by its relative path."""
    return f"![{words(text)}]({path})"


def page(parts: Iterable[str]) -> str:
    """Parts separated by blank lines, empty ones left out, one newline at the end."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
