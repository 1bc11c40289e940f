"""Commands that look at images: contact sheets, measurements, response between scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.cohort_commands import Cohort
from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, Jobs, Out, default_jobs, show_crosscheck


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("view")(view)
    app.command("measure")(measure)
    app.command("response")(response)


def view(
    cohort: Cohort,
    out: Out,
    slices: Annotated[int, typer.Option(min=1, max=20, help="Most slices per scan.")] = 6,
    jobs: Jobs = default_jobs(),
) -> None:
    """Make contact sheets: lesions outlined on slices, with scale, phase verdict and flags."""
    from radiomics_crlm.study.view import view_cohort

    screen = Screen()
    result = view_cohort(cohort, out, most_slices=slices, jobs=jobs, progress=screen.progress)
    screen.stop()
    counts = ", ".join(f"{result.verdicts.get(v, 0)} {v}" for v in ("pass", "doubtful", "fail"))
    screen.line(f"patients:      {result.patients} ({counts})")
    show_crosscheck(screen, out)
    screen.line(f"page:          {result.page}")
    if result.exclusions:
        screen.line(f"left out:      {len(result.exclusions)}; reasons in {out / 'exclusions.parquet'}")
        raise typer.Exit(EXIT_PARTIAL)


def measure(
    cohort: Cohort,
    out: Out,
    ring: Annotated[float, typer.Option(help="Width of the peritumoural ring in mm.")] = 10.0,
    rim: Annotated[float, typer.Option(help="Depth of the tumour rim in mm.")] = 5.0,
    jobs: Jobs = default_jobs(),
) -> None:
    """Measure every lesion: distances to veins and surface, ring, core and rim; compare the masks with the chart."""
    from radiomics_crlm.study.measure import measure_cohort

    screen = Screen()
    found = measure_cohort(cohort, out, ring_mm=ring, rim_mm=rim, jobs=jobs, progress=screen.progress)
    screen.stop()
    clipped = int(found.lesions["ring_too_clipped"].sum())
    filled = int((found.rule_inputs["source"] == "masks").sum())
    screen.line(f"lesions:       {len(found.lesions)}, {clipped} with too little ring left")
    show_crosscheck(screen, out)
    screen.line(f"rule inputs:   {filled} values that the chart lacks come from the masks")
    screen.line(
        f"tables:        {out / 'measurements.parquet'}, {out / 'rule_inputs.parquet'}, {out / 'rules.parquet'}"
    )
    if found.exclusions:
        screen.line(f"left out:      {len(found.exclusions)}; reasons in {out / 'exclusions.parquet'}")
        raise typer.Exit(EXIT_PARTIAL)


def response(
    cohort: Cohort,
    out: Out,
    features: Annotated[
        Path | None, typer.Option(help="Folder with features_patient.parquet, for the change of every feature.")
    ] = None,
    targets: Annotated[int, typer.Option(min=1, max=20, help="Most target lesions; RECIST 1.1: 2 in the liver.")] = 2,
    jobs: Jobs = default_jobs(),
) -> None:
    """Compare the scans of patients who have several: lesions matched, RECIST, volume response, deltas."""
    from radiomics_crlm.study.response import response_of_cohort

    screen = Screen()
    found = response_of_cohort(cohort, out, features=features, max_targets=targets, jobs=jobs, progress=screen.progress)
    screen.stop()
    screen.line(f"comparisons: {len(found.response)}")
    if len(found.response):
        counts = found.response["recist"].value_counts()
        screen.line("RECIST 1.1:  " + ", ".join(f"{g} {int(counts.get(g, 0))}" for g in ("CR", "PR", "SD", "PD")))
        doubtful = int(found.response["flags"].fillna("").str.contains("alignment_doubtful").sum())
        if doubtful:
            screen.line(f"alignment:   {doubtful} comparisons need a look (no liver masks, or livers that do not fit)")
        screen.line(f"tables:      {out / 'response.parquet'} and {out / 'response_lesions.parquet'}")
    if found.exclusions:
        screen.line(f"left out:    {len(found.exclusions)}; reasons in {out / 'exclusions.parquet'}")
        raise typer.Exit(EXIT_PARTIAL)
