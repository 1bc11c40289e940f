"""Commands on what a finished run shows: its card, checklists and report, and an index over many runs."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.folders import output_folder
from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import RunFolder, RunToChange

_MOST_CHANGES = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("card")(card)
    app.command("checklists")(checklists)
    app.command("report")(report)
    app.command("index")(index)


def card(
    run: RunToChange,
    against: Annotated[
        Path | None, typer.Option("--against", help="Folder of an earlier run: show what changed between the cards.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write card.pdf too (needs the extra pdf).")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the card in the browser.")] = False,
) -> None:
    """Write the model card of an evaluated study again, or compare it with that of an earlier run."""
    screen = Screen()
    with screen.doing("drawing the card"):
        from radiomics_crlm.report.card import write_card, write_card_pdf
        from radiomics_crlm.report.pdf import require_pdf

        if pdf:
            require_pdf()  # said before the card is drawn, not after
        page = write_card(run)
    screen.line(f"card: {page}")
    if pdf:
        with screen.doing("printing the card"):
            printed = write_card_pdf(run)
        screen.line(f"card: {printed}")
    if against is not None:
        page = _compare(screen, run, against)
    if show:
        open_page(screen, page)


def _compare(screen: Screen, run: Path, against: Path) -> Path:
    from rich.markup import escape

    from radiomics_crlm.report.card_diff import write_diff

    diff, page = write_diff(run, against)
    for kind in diff["kinds"]:
        changed = len(kind["rows"])
        shown = [(f"{r['part']}: {r['what']}", r["old"] or "-", r["new"] or "-") for r in kind["rows"][:_MOST_CHANGES]]
        rows = [tuple(map(escape, cells)) for cells in shown]
        screen.table(f"{kind['title']}: {changed} changed, {kind['same']} alike", ("entry", "earlier", "now"), rows)
        if changed > len(rows):
            screen.line(f"... and {changed - len(rows)} more on the page")
    screen.line(f"comparison: {page}")
    return page


def checklists(
    run: RunToChange,
    anew: Annotated[
        bool, typer.Option("--anew", help="Fill in all items from the files as they are now, and keep that record.")
    ] = False,
) -> None:
    """Say which items of TRIPOD+AI, CLEAR, METRICS, PROBAST+AI and RQS the files of a run prove.

    Without --anew the record made by the run is checked: an answer whose file has changed since needs a person.
    """
    screen = Screen()
    with screen.doing("looking for proofs"):
        from radiomics_crlm.report.checklists import verified_checklists, write_checklists
        from radiomics_crlm.report.checklists.documents import points_text

        changed = write_checklists(run, anew=anew)
        content, _ = verified_checklists(run)
    rows = []
    for filled in content["checklists"]:
        counts = [filled["counts"][a] for a in ("yes", "no", "not_applicable", "needs_a_person")]
        worth = points_text(filled) or ("" if filled["applies"] else "does not apply: no radiomics")
        rows.append((filled["title"], *map(str, counts), worth))
    screen.table("checklists", ("", "yes", "no", "not applicable", "needs a person", "points"), rows)
    if changed:
        screen.line(f"changed since they were filled in: {', '.join(changed)}", style="bold")
        screen.line("what these files proved now needs a person; --anew fills in from the files as they are")
    screen.line(f"checklists: {run / 'checklists.html'}")


def report(
    context: typer.Context,
    run: RunFolder,
    to: Annotated[Path | None, typer.Option("--to", help="Folder of the report; default: report/ in the run.")] = None,
) -> None:
    """Write the experiment report (README.md and figures, aggregate results only); notes.md in its folder is kept."""
    output_folder(context, to or run / "report")
    screen = Screen()
    with screen.doing("drawing the report"):
        from radiomics_crlm.report.study_page import write_report

        page = write_report(run, to)
    screen.line(f"report: {page}")


def index(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(help="Folders with runs in them, at any depth.")],
    out: Annotated[Path, typer.Option("--out", help="Page to write; its content goes beside it as JSON.")] = Path(
        "index.html"
    ),
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write one page over all runs: question, result, verdict, acceptance, and links to their cards."""
    screen = Screen()
    for page in (out, out.with_suffix(".json")):
        output_folder(context, page)
    with screen.doing("reading the runs"):
        from radiomics_crlm.report.run_index import write_index

        content = write_index(folders, out)
    screen.line(f"index: {out} ({content['found']} runs, {content['damaged']} not readable)")
    if show:
        open_page(screen, out)


def open_page(screen: Screen, page: Path) -> None:
    """Open a page in the default browser, or say where it is."""
    if not webbrowser.open(page.resolve().as_uri()):
        screen.line(f"no browser could be opened; the page is {page}", style="bold")
