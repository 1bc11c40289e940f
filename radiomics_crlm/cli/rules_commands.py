"""Commands on the rule-based scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL

rules_app = typer.Typer(no_args_is_help=True, help="Rule-based scores of a cohort.")
_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(rules_app, name="rules")


@rules_app.command("run")
def run_rules(
    cohort: Annotated[Path, typer.Argument(help="Cohort folder, or a clinical table (.csv, .parquet).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for rules.parquet and rules.csv.")],
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Rule id; repeat for several. Default: all.")] = None,
) -> None:
    """Evaluate the rules for every patient: one row per patient and rule."""
    from radiomics_crlm.study.stages import rules_of_cohort

    screen = Screen()
    result = rules_of_cohort(cohort, out, rules=rule)
    counts = result.table.groupby(["rule", "status"]).size().unstack(fill_value=0)
    screen.table(
        f"rules of {result.table['patient_id'].nunique()} patients",
        ("rule", *counts.columns),
        [(str(name), *(str(n) for n in row)) for name, row in zip(counts.index, counts.to_numpy(), strict=True)],
    )
    screen.line(f"rules: {out / 'rules.parquet'}")
    if result.exclusions:
        screen.line(f"left out: {len(result.exclusions)} patients (see {out / 'exclusions.parquet'})")
        raise typer.Exit(EXIT_PARTIAL)


@rules_app.command("check")
def check(vectors: Annotated[Path, typer.Argument(help="Worked examples in the format of vectors.csv.")]) -> None:
    """Compare the rules with worked examples and list every disagreement."""
    from radiomics_crlm import clinical

    screen = Screen()
    report = clinical.check_vectors(vectors)
    screen.line(f"{report.agreeing} of {report.total} vectors agree")
    if report.disagreements:
        screen.table(
            "disagreements",
            ("vector", "key", "expected", "got"),
            [(d.vector_id, d.key, str(d.expected), str(d.got)) for d in report.disagreements[:_SHOWN]],
        )
        raise typer.Exit(EXIT_PARTIAL)
