"""Command that reruns published benchmark configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from radiomics_crlm.cli.folders import output_folder
from radiomics_crlm.cli.screen import Screen

EXIT_PARTIAL = 4


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("anchor")(anchor)


def anchor(
    table: Annotated[Path, typer.Argument(help="Feature table with ID, Target (0 or 1) and numeric columns.")],
    grid: Annotated[Path | None, typer.Option(help="Published grid; all its rows that can be rerun are.")] = None,
    features: Annotated[int, typer.Option(min=1, help="Features that ANOVA selects; without --grid.")] = 8,
    classifier: Annotated[Literal["naive_bayes", "logistic"], typer.Option(help="Without --grid.")] = "logistic",
    penalty: Annotated[float, typer.Option(help="C of the logistic regression; without --grid.")] = 0.5,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write a report (README.md, figure) into this folder.", callback=output_folder),
    ] = None,
) -> None:
    """Rerun a published benchmark protocol (radMLBench) and compare its AUCs to four decimals."""
    from radiomics_crlm.modelling.anchor import Configuration
    from radiomics_crlm.study.anchor import published_grid, rerun

    screen = Screen()
    if grid is None:
        chosen = [Configuration(features, classifier, penalty if classifier == "logistic" else None)]
        known = [float("nan")]
    else:
        rows = published_grid(grid)
        chosen, known = rows["configuration"].tolist(), rows["published"].tolist()
    result = rerun(table, chosen, known, progress=screen.progress)
    screen.stop()
    for row in result.to_dict("records"):
        beside = "" if row["agrees"] is None else f"   published {row['published']:.4f}"
        screen.line(f"{row['configuration']:26} AUC {row['auc']:.4f}{beside}")
    if to is not None:
        from radiomics_crlm.report.anchor_page import write_anchor_report

        screen.line(f"report: {write_anchor_report(result, to, table=table.name, grid=grid.name if grid else None)}")
    if grid is not None:
        agreeing = int(result["agrees"].eq(True).sum())
        screen.line(f"{agreeing} of {len(result)} published configurations agree to four decimals")
        if agreeing < len(result):
            raise typer.Exit(EXIT_PARTIAL)
