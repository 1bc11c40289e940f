"""The command that measures how robust features are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.cohort_commands import Cohort, Profile
from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, Dask, Jobs, Out, default_jobs


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("robustness")(robustness)


def robustness(
    cohort: Cohort,
    out: Out,
    perturbations: Annotated[
        str | None,
        typer.Option(
            help="Separated by commas: translate:0.25, rotate:6, noise, noise:10, grow:0.15, grow:-1mm, randomise:1mm; "
            "joined by + they are done one after the other. Default: two shifts, two rotations, noise, 15 % larger and "
            "smaller, outline redrawn by 1 mm."
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often noise and redrawing are done.")] = 1,
    minimum: Annotated[float, typer.Option(help="Bound of the lower 95 % limit of ICC(2,1).")] = 0.75,
    controls: Annotated[bool, typer.Option(help="Negative controls: shuffled voxels, healthy liver.")] = True,
    profile: Profile = None,
    settings: Annotated[Path | None, typer.Option(help="Settings file; default: the shipped profiles.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same tables.")] = 0,
    jobs: Jobs = default_jobs(),
    dask: Dask = None,
) -> None:
    """Perturb every scan and outline, extract again, and say which features are stable.

    A table readers.csv in the cohort folder adds the agreement between readers.
    """
    from radiomics_crlm.features.perturbation import DEFAULTS
    from radiomics_crlm.study.robustness import RobustnessSettings, robustness_of_cohort

    chosen = DEFAULTS if perturbations is None else tuple(p.strip() for p in perturbations.split(",") if p.strip())
    wanted = RobustnessSettings(chosen, repeats, controls, minimum, seed)
    screen = Screen()
    found = robustness_of_cohort(
        cohort, out, wanted, profile=profile, profiles=settings, jobs=jobs, dask=dask, progress=screen.progress
    )
    screen.stop()
    for (modality, sequence, raters), rows in found.stability.groupby(["modality", "sequence", "raters"], sort=False):
        kind = f"{modality}/{sequence}, {rows['n_raters'].iloc[0]} {raters}"
        screen.line(f"stable:        {int(rows['stable'].sum())} of {len(rows)} features ({kind})")
    failed = int((found.features["status"] == "failed").sum())
    screen.line(f"measurements:  {len(found.features)} of lesions, {failed} failed")
    screen.line(f"tables:        {out / 'feature_stability.parquet'}, {out / 'perturbed_patients.parquet'}")
    screen.line(f"page:          {found.page}")
    if found.exclusions:
        screen.line(f"left out:      {len(found.exclusions)}; reasons in {out / 'exclusions.parquet'}")
    if found.exclusions or failed:
        raise typer.Exit(EXIT_PARTIAL)
