"""Commands about a model bundle: what it is, and the same model for MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.folders import output_folder
from radiomics_crlm.cli.screen import Screen

bundle_app = typer.Typer(help="Check a model bundle, or hand it to MLflow.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="Folder of a model bundle.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(bundle_app, name="bundle")


@bundle_app.command("check")
def check(bundle: Folder) -> None:
    """Check a bundle as before scoring, and say what it is."""
    from radiomics_crlm.scoring.bundle import load_bundle

    found = load_bundle(bundle)
    content, screen = found.content, Screen()
    months = ", ".join(map(str, content.horizons))
    screen.line(f"title:     {content.title}")
    screen.line(f"model:     {content.model} ({found.model.learner}), speaks at: {content.speaks_at}")
    screen.line(f"endpoint:  {content.endpoint}, probabilities at {months} months")
    screen.line(f"patients:  {content.definition.population_title}")
    screen.line(f"training:  {content.training.patients} patients, {content.training.events} events")
    screen.line(f"inputs:    {', '.join(spec.name for spec in content.inputs)}")
    screen.line(f"written:   protocol {content.protocol}, radiomics_crlm {content.versions.get('radiomics_crlm', '?')}")
    screen.line(f"SHA-256:   {found.sha256}")


@bundle_app.command("export-mlflow")
def export_mlflow(
    bundle: Folder,
    out: Annotated[Path, typer.Option("--out", help="New folder for the MLflow model.", callback=output_folder)],
) -> None:
    """Write a bundle as an MLflow model, which 'mlflow models serve --env-manager local' answers requests with."""
    from radiomics_crlm.scoring.mlflow_model import write_mlflow_model

    digest = write_mlflow_model(bundle, out)
    screen = Screen()
    screen.line(f"model:    {out}")
    screen.line(f"SHA-256:  {digest}")
