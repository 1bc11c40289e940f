"""How long a newcomer's path takes: runs the commands of docs/tutorials/first_hour.md from an empty folder.

    python benchmarks/newcomer.py [--write]

Nothing is prepared: the repository is cloned (its last commit), the environment is built from the lock. ``--write``
puts the table into the page.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "tutorials" / "first_hour.md"
_TABLE = re.compile(r"(?<=<!-- times -->\n).*?(?=<!-- end of times -->)", re.DOTALL)
_PARTIAL = 4


def steps(text: str) -> Iterator[tuple[str, list[str]]]:
    """Title and commands of each section that has some."""
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        consoles = "".join(re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
        commands = re.findall(r"^\$ (.*)$", consoles, re.MULTILINE)
        if commands:
            yield section.partition("\n")[0], [line for line in commands if line != "echo $?"]


def timed(found: list[tuple[str, list[str]]], folder: Path) -> list[tuple[str, float]]:
    """Seconds of each section, in one shell after the other, each in the folder that the one before left."""
    (folder / "REPOSITORY").symlink_to(_ROOT)
    where, seconds = folder, []
    for title, commands in found:
        activate = ". .venv/bin/activate; " if (where / ".venv").is_dir() else ""
        checked = "; ".join(f"{line} || {{ code=$?; [ $code = {_PARTIAL} ] || exit $code; }}" for line in commands)
        began = time.monotonic()
        done = subprocess.run(
            ["/bin/bash", "-c", f"{activate}{checked}; pwd > {folder}/where"], cwd=where, stdout=sys.stderr, check=False
        )
        if done.returncode:
            sys.exit(f"{title}: exit code {done.returncode}")
        seconds.append((title, time.monotonic() - began))
        where = Path((folder / "where").read_text(encoding="utf-8").strip())
    return seconds


def main() -> None:
    """Run, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    arguments = parser.parse_args()
    text = _PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        found = timed(list(steps(text)), Path(folder))
    rows = [*found, ("**together**", sum(seconds for _, seconds in found))]
    table = "| step | seconds |\n|---|---|\n" + "".join(f"| {title} | {seconds:.0f} |\n" for title, seconds in rows)
    sys.stdout.write(table)
    if arguments.write:
        _PAGE.write_text(_TABLE.sub(table, text), encoding="utf-8")


if __name__ == "__main__":
    main()
