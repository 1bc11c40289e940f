"""The command that scores a new cohort."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, Dask, Jobs, Out, default_jobs, stoppable

if TYPE_CHECKING:
    from radiomics_crlm.scoring.batch import ScoreSummary


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("score")(score)


def score(
    bundle: Annotated[Path, typer.Option("--bundle", help="Folder of a model bundle.")],
    cohort: Annotated[Path, typer.Option("--cohort", help="Cohort folder.")],
    out: Out,
    jobs: Jobs = default_jobs(),
    attributions: Annotated[
        bool, typer.Option("--attributions", help="Also write what each input adds to the risk of each patient (SHAP).")
    ] = False,
    dask: Dask = None,
) -> None:
    """Score every patient of a cohort with a bundle: one row per patient, with flags and the rule scores.

    Scoring that was stopped or killed goes on where it was when the same command is given again.
    """
    from radiomics_crlm.study.score import score_folder

    screen = Screen()
    began = time.monotonic()
    with stoppable(screen):
        summary = score_folder(
            bundle, cohort, out, jobs=jobs, progress=screen.progress, dask=dask, attributions=attributions
        )
    screen.stop()
    report(screen, summary, out, time.monotonic() - began)
    if summary.abstained:
        raise typer.Exit(EXIT_PARTIAL)


def report(screen: Screen, summary: ScoreSummary, out: Path, seconds: float) -> None:
    """Say what became of the rows, and whether the cohort is like the training data."""
    screen.line(f"patients: {summary.rows} in, {summary.scored} scored, {summary.abstained} abstained")
    for code, count in summary.abstentions.items():
        screen.line(f"  abstained, {code}: {count}")
    for flag, count in summary.flags.items():
        screen.line(f"  flagged, {flag}: {count}")
    if summary.absent_inputs:
        screen.line(f"  not in the table: {', '.join(summary.absent_inputs)}")
    if verdict := summary.shift.get("verdict"):
        remark = summary.shift.get("remark")
        screen.line(f"shift:    {verdict}{f' ({remark})' if remark else ''}")
    for found in summary.shift.get("calibration", ()):
        screen.line(f"outcomes: by {found['months']} months {found['reading']}")
    made = summary.rows - summary.resumed
    taken = f", {summary.resumed} were there already" if summary.resumed else ""
    screen.line(f"time:     {made} rows in {seconds:.1f} s, {made / max(seconds, 1e-3):.0f} rows/s{taken}")
    screen.line(f"scores:   {out / 'scores.csv'}")
