"""The help reads like a manual: every command has its panel, examples that parse, and says what exit code 4 means."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import radiomics_crlm.cli
from radiomics_crlm.cli.app import app, run
from radiomics_crlm.cli.manual import ENTRIES

SOURCES = Path(radiomics_crlm.cli.__file__).parent


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Words and object of every command and group."""
    for name, command in group.commands.items():
        yield " ".join((*before, name)), command
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_every_command_has_an_entry_and_no_entry_is_idle() -> None:
    assert set(ENTRIES) == set(COMMANDS)


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not hasattr(command, "commands")])
def test_the_help_of_a_command(name: str) -> None:
    command, entry = COMMANDS[name], ENTRIES[name]
    assert re.match(r"[A-Z].*[.:)]", command.help)
    assert command.epilog == entry.text
    assert entry.examples
    for example in entry.examples:
        words = shlex.split(example)
        assert words[: 1 + len(name.split())] == ["crlm", *name.split()]
        # All options exist, what is required is there, numbers are numbers.
        command.make_context(name, words[1 + len(name.split()) :])
    for parameter in command.params:
        text = parameter.help or ""
        assert re.match(r"[A-Z0-9a-z].*\.(?: \[.*\])?$", text), f"{parameter.name}: {text!r}"


def test_exit_code_4_is_told_of_the_commands_that_end_with_it() -> None:
    """Found in the sources: modules whose commands raise it, and those that say so."""
    telling = {name.split()[0] for name, entry in ENTRIES.items() if entry.partial}
    raising: set[str] = set()
    for path in SOURCES.glob("*_command*.py"):
        text = path.read_text(encoding="utf-8")
        for body in re.split(r"^(?=def |@\w+\.command)", text, flags=re.MULTILINE):
            found = re.search(r"^def (\w+)", body, re.MULTILINE)
            if found and "typer.Exit(EXIT_PARTIAL)" in body:
                raising.add(found[1].removesuffix("_command"))
    of_rules = {"run_rules", "check"}
    assert of_rules <= raising
    assert raising - of_rules == telling - {"rules"}


def test_the_overview_names_panels_and_all_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [panel in shown for panel in {entry.panel for entry in ENTRIES.values()}] == [True] * 4
    assert [int(code) for code in re.findall(r"\b(\d+) [a-z]", shown.partition("Exit codes:")[2])] == [
        0,
        1,
        2,
        3,
        4,
        130,
    ]
