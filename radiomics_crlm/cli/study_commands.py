"""Commands on whole studies: run, demo, and the later stages again on a finished run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen

EXIT_PARTIAL = 4

Experiment = Annotated[Path, typer.Argument(help="Experiment file, or the name of a shipped experiment.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the results; made if it is missing.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with the data of a real cohort.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes; the results do not depend on it.")]
AllowLeak = Annotated[
    bool, typer.Option("--allow-leak", help="Admit predictors that are known only later; the card says so in red.")
]
MlflowUri = Annotated[str | None, typer.Option("--mlflow-uri", help="MLflow store; default: sqlite in the out folder.")]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


def default_jobs() -> int:
    """Number of usable cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run_command)
    app.command("demo")(demo)
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.command("explain")(explain)
    app.command("card")(card)


def run_command(
    experiment: Experiment,
    out: Out,
    data: Data = None,
    jobs: Jobs = default_jobs(),
    allow_leak: AllowLeak = False,
    mlflow_uri: MlflowUri = None,
) -> None:
    """Run all stages of an experiment: cohort, features, rules, models, SHAP, card, bundles."""
    from radiomics_crlm.study.run import run_experiment

    screen = Screen()
    result = run_experiment(
        find_experiment(experiment),
        out=out,
        data=data,
        jobs=jobs,
        allow_leak=allow_leak,
        mlflow_uri=mlflow_uri,
        progress=screen.progress,
    )
    _report(screen, result)
    if result.excluded:
        raise typer.Exit(EXIT_PARTIAL if result.failed else 0)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("out/demo"),
    jobs: Jobs = default_jobs(),
) -> None:
    """Watch a whole study on simulated patients, and score a new cohort with what it learned."""
    from radiomics_crlm.study.demo import run_demo

    screen = Screen()
    result, scores = run_demo(find_experiment(Path("demo")), out=out, jobs=jobs, progress=screen.progress)
    _report(screen, result)
    screen.line(f"scores:       {scores}")
