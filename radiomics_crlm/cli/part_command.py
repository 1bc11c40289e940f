"""The command that makes one part of a study, for build systems that spread a study over stages."""

from __future__ import annotations

from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import (
    Dask,
    Data,
    Experiment,
    Jobs,
    Out,
    PartFolders,
    default_jobs,
    find_experiment,
    stoppable,
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("part")(part_command)


def part_command(
    experiment: Experiment,
    out: Out,
    model: Annotated[
        str | None, typer.Option("--model", help="ENDPOINT/FEATURE_SET/LEARNER, whose outer folds are done.")
    ] = None,
    part: PartFolders = None,
    data: Data = None,
    jobs: Jobs = default_jobs(),
    dask: Dask = None,
) -> None:
    """Make one part of an experiment: its cohort and features, or with --model the outer folds of that model.

    'crlm run --part FOLDER' takes it and comes out the same to the byte.
    """
    from radiomics_crlm.study.parts import find_parts, make_cohort, make_folds
    from radiomics_crlm.study.run import load_experiment

    screen = Screen()
    content = load_experiment(find_experiment(experiment), jobs=jobs, dask=dask)
    with stoppable(screen):
        parts = find_parts(part or (), content)
        if model is None:
            make_cohort(content, out=out, data=data, jobs=jobs, dask=dask, progress=screen.progress)
        else:
            make_folds(content, model, out=out, parts=parts, data=data, jobs=jobs, dask=dask, progress=screen.progress)
    screen.stop()
    screen.line(f"part: {out}")
