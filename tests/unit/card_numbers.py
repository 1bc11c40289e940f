"""Reads a page and a card: which numbers stand in which cell, and which the card knows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

MINUS = "\N{MINUS SIGN}"
# Names such as E90 or SHA-256 are no numbers.
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?:e-?\d+)?")
_VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})


def numbers(text: object) -> set[str]:
    """Numeric tokens, without sign."""
    return set(_NUMBER.findall(str(text)))


def leaves(part: Any) -> list[str]:
    """All values of a JSON value and the names of its keys, as text."""
    if isinstance(part, dict):
        return [text for key, value in part.items() for text in (str(key), *leaves(value))]
    if isinstance(part, list):
        return [text for value in part for text in leaves(value)]
    return [] if part is None else [str(part)]


def resolve(card: dict[str, Any], path: str) -> Any:
    """The value at a path such as ``performance.0.tables.1``; what follows a slash is a key as it stands."""
    dotted, _, key = path.partition("/")
    found: Any = card
    for step in dotted.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found[key] if key else found


@dataclass
class Cell:
    """A cell of a table: its text, its attributes, and the section it is in."""

    attributes: dict[str, str | None]
    section: str
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Cells of all tables, headings, and all text that a reader sees."""

    page: str
    cells: list[Cell] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _cell: Cell | None = None
    _section: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self._open.append(tag)
        given = dict(attrs)
        if tag == "h2":
            self._section = str(given["id"])
        if tag in ("td", "th"):
            self._cell = Cell(given, self._section)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag in ("td", "th") and self._cell is not None:
            self._cell.text = " ".join(self._cell.text.split())
            self.cells.append(self._cell)
            self._cell = None

    def handle_data(self, data: str) -> None:
        if {"style", "svg"} & set(self._open) and not {"title", "desc"} & set(self._open):
            return
        if self._cell is not None:
            self._cell.text += data
        self.text.append(data)
