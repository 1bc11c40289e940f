"""Command that writes the report of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("report")(report)


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[Path | None, typer.Option("--to", help="Folder of the report; default: report/ in the run.")] = None,
) -> None:
    """Write the experiment report (README.md and figures, aggregate results only); notes.md in its folder is kept."""
    from radiomics_crlm.report.study_page import write_report

    Screen().line(f"report: {write_report(run, to)}")
