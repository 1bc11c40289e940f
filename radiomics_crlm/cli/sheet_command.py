"""The command that writes patient sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, Jobs, Out, default_jobs

_MOST_FAILURES = 20


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("sheet")(sheet)


def sheet(
    bundle: Annotated[Path, typer.Option("--bundle", help="Folder of the bundle that scored.")],
    cohort: Annotated[Path, typer.Option("--cohort", help="Folder of the cohort that was scored.")],
    scores: Annotated[Path, typer.Option("--scores", help="Folder of the scores, made by 'crlm score'.")],
    out: Out,
    patient: Annotated[
        list[str] | None, typer.Option("--patient", help="Key of a patient; may be given repeatedly. Default: all.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also write each sheet as PDF (needs the extra 'pdf').")] = False,
    jobs: Jobs = default_jobs(),
) -> None:
    """Write one page per scored patient: scans, rule scores, probabilities, explanation, flags, origin.

    A run that was stopped goes on where it was; sheets that would be the same are kept.
    """
    from radiomics_crlm.study.sheets import write_sheets

    screen = Screen()
    found = write_sheets(
        bundle, cohort, scores, out, patients=patient or (), pdf=pdf, jobs=jobs, progress=screen.progress
    )
    screen.stop()
    screen.line(f"sheets:   {found.made} made, {found.kept} kept, {len(found.failures)} failed")
    if found.without_picture:
        screen.line(f"  with a scan that cannot be read: {found.without_picture}")
    for failure in found.failures[:_MOST_FAILURES]:
        who = failure.patient if failure.patient is not None else f"row {failure.row}"
        screen.line(f"  failed, {failure.code}: {who}: {failure.reason}")
    if len(found.failures) > _MOST_FAILURES:
        screen.line(f"  and {len(found.failures) - _MOST_FAILURES} more")
    screen.line(f"index:    {found.page}")
    if found.failures or found.without_picture:
        raise typer.Exit(EXIT_PARTIAL)
