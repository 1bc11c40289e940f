"""What a page of the documentation asks to be done: files to write, commands to run, and what they shall print.

A fence ``console`` holds commands (``$ ...``) and their output; ``...`` in the output stands for anything. A fence with
``title="NAME"`` is written to that file before the next command (``title="NAME (append)"`` adds to it). Comments steer:
``<!-- docs-test: prepare NAME -->`` makes inputs (`docs_inputs`), ``after PAGE`` goes on in the folder of another page,
``slow`` leaves the page to the slow tests, and ``not-run REASON`` skips the next fence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_PIECE = re.compile(
    r"<!-- docs-test: (?P<word>[a-z-]+)(?: (?P<rest>[^>]*?))? -->"
    r"|^(?P<indent> *)(?P<ticks>```+) ?(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=ticks) *$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+?)( \(append\))?"')


@dataclass(frozen=True)
class Command:
    """A command line, and what it shall print (None: anything)."""

    line: str
    output: str | None


@dataclass(frozen=True)
class Text:
    """A file that the reader writes, or a text that is added to one."""

    name: str
    content: str
    append: bool


@dataclass(frozen=True)
class Prepare:
    """Inputs that the reader has."""

    name: str


@dataclass(frozen=True)
class Skipped:
    """A fence that is not run, and why."""

    lines: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Page:
    """The steps of a page, in order."""

    name: str
    steps: tuple[Command | Text | Prepare | Skipped, ...]
    after: str = ""
    slow: bool = False


def read_page(path: Path) -> Page:
    """The steps of a page."""
    steps: list[Command | Text | Prepare | Skipped] = []
    after, slow, reason = "", False, ""
    for piece in _PIECE.finditer(path.read_text(encoding="utf-8")):
        word, rest = piece["word"], piece["rest"] or ""
        if word == "prepare":
            steps.append(Prepare(rest))
        elif word == "after":
            after = rest
        elif word == "slow":
            slow = True
        elif word == "not-run":
            reason = rest
        elif word is not None:
            raise ValueError(f"{path.name}: unknown word {word!r}")
        else:
            steps += _of_fence(piece["info"].strip(), _dedented(piece["body"], piece["indent"]), reason)
            reason = ""
    return Page(path.relative_to(DOCS).as_posix(), tuple(steps), after, slow)


def pages() -> list[Page]:
    """All pages that have commands."""
    found = [read_page(path) for path in sorted(DOCS.rglob("*.md"))]
    return [page for page in found if any(isinstance(step, Command) for step in page.steps)]


def _of_fence(info: str, body: str, reason: str) -> list[Command | Text | Prepare | Skipped]:
    title = _TITLE.search(info)
    if title is not None:
        return [Text(title[1], body, title[2] is not None)]
    if not info.startswith("console"):
        return []
    if reason:
        return [Skipped(tuple(command.line for command in commands(body)), reason)]
    return list(commands(body))


def commands(body: str) -> list[Command]:
    """Commands of a console and their outputs.

    >>> commands("$ a \\\\\\n    --b\\nout\\n$ c\\n")
    [Command(line='a --b', output='out\\n'), Command(line='c', output=None)]
    """
    found: list[Command] = []
    for chunk in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, _, output = re.sub(r"\\\n\s*", "", chunk).partition("\n")
        found.append(Command(line.strip(), output.rstrip() + "\n" if output.strip() else None))
    return found


def _dedented(body: str, indent: str) -> str:
    return re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) if indent else body
