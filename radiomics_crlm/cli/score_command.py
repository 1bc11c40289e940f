"""The command that scores a new cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, Jobs, Out, default_jobs


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("score")(score)


def score(
    bundle: Annotated[Path, typer.Option("--bundle", help="Folder of a model bundle.")],
    cohort: Annotated[Path, typer.Option("--cohort", help="Cohort folder.")],
    out: Out,
    jobs: Jobs = default_jobs(),
) -> None:
    """Score every patient of a cohort with a bundle: one row per patient, with flags and the rule scores."""
    from radiomics_crlm.study.score import score_folder

    screen = Screen()
    summary = score_folder(bundle, cohort, out, jobs=jobs, progress=screen.progress)
    screen.stop()
    screen.line(f"patients: {summary.rows} in, {summary.scored} scored, {summary.abstained} abstained")
    for code, count in summary.abstentions.items():
        screen.line(f"  abstained, {code}: {count}")
    screen.line(f"scores:   {out / 'scores.csv'}")
    if summary.abstained:
        raise typer.Exit(EXIT_PARTIAL)
