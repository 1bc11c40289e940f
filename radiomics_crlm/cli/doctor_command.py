"""The command that looks at the installation."""

from __future__ import annotations

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.errors import CrlmError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Say which engine, libraries and compiler flags are in use, and check the features of phantoms."""
    screen = Screen()
    with screen.doing("looking at the installation"):
        from radiomics_crlm.features.selftest import engine_info, phantom_selftest
        from radiomics_crlm.provenance.versions import versions

        engine = engine_info()
    screen.table("feature engine", ("item", "value"), list(engine.items()))
    screen.table("libraries", ("library", "version"), list(versions().items()))
    with screen.doing("features of the phantoms"):
        checks = phantom_selftest()
    screen.table(
        "phantom self-test",
        ("check", "expected", "got", "verdict"),
        [(c.name, f"{c.expected:.6g}", f"{c.got:.6g}", "ok" if c.ok else "WRONG") for c in checks],
    )
    wrong = [c.name for c in checks if not c.ok]
    if not wrong:
        screen.line(f"all {len(checks)} checks agree")
    wrong += _ibsi(screen)
    if wrong:
        raise CrlmError(
            f"{len(wrong)} checks of the phantoms failed", got=", ".join(wrong), remedy="reinstall from the lock"
        )


def _ibsi(screen: Screen) -> list[str]:
    """Print the agreement with the digital phantom of the IBSI; return the features without it."""
    with screen.doing("digital phantom of the IBSI"):
        from radiomics_crlm.features.ibsi_phantom import digital_phantom

        found = digital_phantom()
    plain, named = [a for a in found if a.exception is None], [a for a in found if a.exception is not None]
    agreeing = sum(a.ok for a in plain)
    listed = ", ".join(f"{a.feature} ({a.exception}; {'agrees when converted' if a.ok else 'WRONG'})" for a in named)
    screen.line(
        f"IBSI digital phantom: {agreeing} of {len(plain)} supported standardised features within tolerance; "
        f"deviating by definition: {listed}"
    )
    wrong = [a for a in found if not a.ok]
    if wrong:
        screen.table(
            "features that disagree with the IBSI consensus",
            ("feature", "IBSI", "consensus", "tolerance", "got"),
            [(a.feature, a.ibsi_id, f"{a.expected:g}", f"{a.tolerance:g}", f"{a.got:.6g}") for a in wrong],
        )
    return [f"IBSI {a.feature}" for a in wrong]
