"""Command that fetches a public cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import Out

fetch = typer.Typer(help="Fetch a public cohort.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(fetch, name="fetch")


@fetch.callback()
def sources() -> None:
    """Fetch a public cohort."""


@fetch.command("idc")
def idc(
    out: Out,
    collection: Annotated[str, typer.Option(help="Collection of the Imaging Data Commons.")],
    patients: Annotated[int | None, typer.Option(help="Only the first so many patients.")] = None,
    mask_set: Annotated[
        list[str] | None, typer.Option(help="expert (default), ai or corrected; may be given repeatedly.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
) -> None:
    """Fetch CT series and segmentations from the Imaging Data Commons; what is complete is not fetched again."""
    from radiomics_crlm.cohort.idc import collection_layout, fetch_series, idc_downloader, read_index, select_series
    from radiomics_crlm.errors import ConfigError

    screen = Screen()
    layout = collection_layout(collection)
    picks = select_series(read_index(collection), layout, mask_set or ["expert"], patients=patients)
    left = [pick for pick in picks if not pick.complete(out)]
    for kind in dict.fromkeys(pick.kind for pick in picks):
        some = [pick for pick in picks if pick.kind == kind]
        screen.line(f"{kind}: {len(some)} series, {sum(p.megabytes for p in some) / 1000:.2f} GB")
    size = sum(pick.megabytes for pick in left) / 1000
    screen.line(
        f"patients: {len({p.patient for p in picks})}; series to fetch: {len(left)} of {len(picks)}, {size:.2f} GB"
    )
    screen.line(f"licence: {', '.join(sorted({p.licence for p in picks}))}; cite {layout['citations'][0]}")
    if left and not yes:
        if not screen.interactive:
            raise ConfigError("the fetch was not confirmed", remedy="add --yes to start it")
        typer.confirm("Start?", abort=True)
    done = fetch_series(
        picks,
        layout,
        out,
        idc_downloader() if left else _nothing,
        on_progress=lambda n, all_: screen.progress("fetch", n, all_),
    )
    screen.stop()
    screen.line(f"fetched: {done} series; folder: {out / collection}")
    screen.line(f"next: crlm ingest --layout tcia-crlm {out} --out OUT")


def _nothing(series: object, out: Path) -> None:
    """All series are complete: there is nothing to download."""
