"""Commands on the rule-based scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.completion import rule_names
from radiomics_crlm.cli.folders import output_folder
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
    out: Annotated[Path, typer.Option("--out", help="Folder for the result tables.", callback=output_folder)],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", help="Rule id; may be given repeatedly. Default: all.", autocompletion=rule_names),
    ] = None,
    layout: Annotated[str, typer.Option(help="auto (by the header), canonical, or tcia-crlm.")] = "auto",
    masks: Annotated[Path | None, typer.Option(help="Folder of 'crlm measure': fills gaps of the chart.")] = None,
) -> None:
    """Evaluate the rules for every patient: a long table (patient x rule) and a wide one (patient)."""
    from radiomics_crlm.clinical.plausibility import warning_texts
    from radiomics_crlm.clinical.result import STATUSES
    from radiomics_crlm.study.rules import check_layout, rules_of_cohort

    screen = Screen()
    result = rules_of_cohort(
        cohort, out, rules=rule, layout=check_layout(layout), masks=masks, progress=screen.progress
    )
    screen.stop()
    screen.table(
        f"rules of {result.patients} patients",
        ("rule", *STATUSES),
        [(name, *(str(counts.get(status, 0)) for status in STATUSES)) for name, counts in result.statuses.items()],
    )
    if result.warnings:
        lines = [(code, str(n), warning_texts()[code]) for code, n in sorted(result.warnings.items())]
        screen.table("warnings (nothing was changed)", ("input", "patients", "what it may mean"), lines)
    if result.fong is not None:
        inside = result.fong.get("equal", 0) + result.fong.get("within_bounds", 0)
        outside = result.fong.get("below_bounds", 0) + result.fong.get("above_bounds", 0)
        screen.line(
            f"delivered Fong score: in {inside} of {inside + outside} patients within what the other columns allow, in "
            f"{outside} not ({result.fong.get('below_bounds', 0)} below, {result.fong.get('above_bounds', 0)} above); "
            f"{result.fong.get('not_reported', 0)} without a delivered score. The delivered score is kept as it is."
        )
    screen.line(f"written to {out}: {', '.join(result.files)}")
    if result.exclusions:
        screen.line(f"left out: {len(result.exclusions)} patients (see {out / 'exclusions.parquet'})")
        raise typer.Exit(EXIT_PARTIAL)


@rules_app.command("list")
def list_rules() -> None:
    """List all rules: id, what it returns, from when on its inputs are known."""
    from radiomics_crlm import clinical
    from radiomics_crlm.clinical.explain import FAMILIES, TEAM, family_rules

    screen = Screen()
    for family, title in FAMILIES.items():
        told = [clinical.describe(name) for name in family_rules(family)]
        rows = [(one.id, one.title, one.available_at, "" if one.by_default else "on request") for one in told]
        screen.table(title, ("rule", "returns", "known at", ""), rows)
    screen.line(f"{len(clinical.rule_ids())} rules. {TEAM}")


@rules_app.command("explain")
def explain(
    rule: Annotated[str, typer.Argument(help="Rule id; see 'crlm rules list'.", autocompletion=rule_names)],
) -> None:
    """Explain a rule: definition, points, bounds, groups, policy for unknown inputs, sources, discrimination."""
    from radiomics_crlm import clinical
    from radiomics_crlm.clinical.explain import TEAM, sections

    screen = Screen()
    told = sections(rule)
    screen.line(f"{clinical.describe(rule).title} [{rule}]", style="bold")
    for section in told:
        screen.line()
        screen.line(section.heading, style="bold")
        for line in section.lines:
            screen.line(f"  {line}")
    screen.line()
    screen.line(TEAM)


@rules_app.command("show")
def show(
    patient: Annotated[str, typer.Argument(help="Patient key.")],
    cohort: Annotated[Path, typer.Option("--cohort", help="Cohort folder, or a clinical table.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write the sheet as a page, too.")] = None,
    layout: Annotated[str, typer.Option(help="auto (by the header), canonical, or tcia-crlm.")] = "auto",
    masks: Annotated[Path | None, typer.Option(help="Folder of 'crlm measure': fills gaps of the chart.")] = None,
) -> None:
    """Show what every rule says about one patient, what is missing, and where definitions disagree."""
    from radiomics_crlm.provenance.files import write_text
    from radiomics_crlm.report.rules_sheet import build_sheet, render_sheet, sheet_text
    from radiomics_crlm.study.rules import check_layout, patient_row

    screen = Screen()
    row, origins = patient_row(cohort, patient, check_layout(layout), masks=masks)
    sheet = build_sheet(row, origins)
    screen.line(sheet_text(sheet).rstrip("\n"))
    if html is not None:
        write_text(html, render_sheet(sheet))
        screen.line(f"page: {html}")


@rules_app.command("docs")
def docs(
    out: Annotated[Path, typer.Option("--out", help="Folder for the Markdown pages.", callback=output_folder)],
) -> None:
    """Write the documentation pages of all rules from the rule files."""
    from radiomics_crlm.clinical.explain import pages
    from radiomics_crlm.provenance.files import write_text

    for name, text in pages().items():
        write_text(out / name, text)
    Screen().line(f"{len(pages())} pages: {out}")


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
