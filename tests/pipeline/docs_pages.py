"""What a page of the documentation asks to be done: files to write, commands to run, and what they shall print.

A fence ``console`` holds commands (``$ ...``) and their output; ``...`` in the output stands for anything. A fence
``python`` is run as a script. A fence with ``title="NAME"`` is written to that file before the next command
(``title="NAME (append)"`` adds to it). Comments steer: ``<!-- docs-test: prepare NAME -->`` makes inputs
(`docs_inputs`), ``after PAGE`` goes on in the folder of another page, ``slow`` leaves the page to the slow tests,
``with NAME=VALUE`` sets a variable for the next fence, and ``not-run REASON`` skips the next fence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
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
    variables: str = ""


@dataclass(frozen=True)
class Text:
    """A file that the reader writes, or a text that is added to one."""

    name: str
    content: str
    append: bool


@dataclass(frozen=True)
class Script:
    """A piece of Python that the reader runs."""

    content: str


@dataclass(frozen=True)
class Prepare:
    """Inputs that the reader has."""

    name: str


@dataclass(frozen=True)
class Skipped:
    """A fence that is not run, and why."""

    lines: tuple[str, ...]
    reason: str


Step = Command | Script | Text | Prepare | Skipped


@dataclass(frozen=True)
class Page:
    """The steps of a page, in order."""

    name: str
    steps: tuple[Step, ...]
    after: str = ""
    slow: bool = False


def sources() -> list[Path]:
    """All files that are documentation."""
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def is_campaign(path: Path) -> bool:
    """Whether a page tells of a campaign of hours: its commands are not run again, but what they name must exist."""
    return path.parent.name == "reliability" or path.name in ("benchmarks.md", "mutation.md")


def page_path(name: str) -> Path:
    """The file of a page, by its name (`Page.name`)."""
    return next(path for path in (DOCS / name, REPOSITORY / name) if path.is_file())


def read_page(path: Path) -> Page:
    """The steps of a page."""
    steps: list[Step] = []
    after, slow, next_fence = "", False, {"not-run": "", "with": ""}
    for piece in _PIECE.finditer(path.read_text(encoding="utf-8")):
        word, rest = piece["word"], piece["rest"] or ""
        if word == "prepare":
            steps.append(Prepare(rest))
        elif word == "after":
            after = rest
        elif word == "slow":
            slow = True
        elif word in next_fence:
            next_fence[word] = rest
        elif word is not None:
            raise ValueError(f"{path.name}: unknown word {word!r}")
        else:
            body = _dedented(piece["body"], piece["indent"])
            steps += _of_fence(piece["info"].strip(), body, next_fence["not-run"], next_fence["with"])
            next_fence = {"not-run": "", "with": ""}
    name = path.relative_to(DOCS if path.is_relative_to(DOCS) else REPOSITORY).as_posix()
    return Page(name, tuple(steps), after, slow)


def pages() -> list[Page]:
    """All pages that have something to run."""
    found = [read_page(path) for path in sources() if not is_campaign(path)]
    return [page for page in found if any(isinstance(step, Command | Script) for step in page.steps)]


def _of_fence(info: str, body: str, reason: str, variables: str) -> list[Step]:
    title = _TITLE.search(info)
    if title is not None:
        return [Text(title[1], body, title[2] is not None)]
    if info == "python":
        return [Skipped((body,), reason) if reason else Script(body)]
    if not info.startswith("console"):
        return []
    if reason:
        return [Skipped(tuple(command.line for command in commands(body)), reason)]
    return list(commands(body, variables))


def commands(body: str, variables: str = "") -> list[Command]:
    """Commands of a console and their outputs.

    >>> commands("$ a \\\\\\n    --b\\nout\\n$ c  # why\\n")
    [Command(line='a --b', output='out\\n', variables=''), Command(line='c', output=None, variables='')]
    """
    found: list[Command] = []
    for chunk in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, _, output = re.sub(r"\\\n\s*", "", chunk).partition("\n")
        line = re.sub(r"\s{2,}# .*$", "", line).strip()
        found.append(Command(line, output.rstrip() + "\n" if output.strip() else None, variables))
    return found


def _dedented(body: str, indent: str) -> str:
    return re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) if indent else body
