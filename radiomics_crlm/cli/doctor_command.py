"""The command that looks at the installation."""

from __future__ import annotations

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.errors import CrlmError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Say which engine, libraries and compiler flags are in use, and run the phantom self-test."""
    from radiomics_crlm.features.selftest import engine_info, phantom_selftest
    from radiomics_crlm.provenance.versions import versions

    screen = Screen()
    screen.table("feature engine", ("item", "value"), list(engine_info().items()))
    screen.table("libraries", ("library", "version"), list(versions().items()))
    checks = phantom_selftest()
    screen.table(
        "phantom self-test",
        ("check", "expected", "got", "verdict"),
        [(c.name, f"{c.expected:.6g}", f"{c.got:.6g}", "ok" if c.ok else "WRONG") for c in checks],
    )
    wrong = [c for c in checks if not c.ok]
    if wrong:
        raise CrlmError(f"{len(wrong)} of {len(checks)} checks of the phantom failed", remedy="reinstall from the lock")
    screen.line(f"all {len(checks)} checks agree")
