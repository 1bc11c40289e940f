"""Commands on cohorts: simulate, validate, ingest, extract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radiomics_crlm.cli import EXIT_STOPPED
from radiomics_crlm.cli.completion import profile_names
from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, MACHINE, Dask, Jobs, Out, default_jobs

if TYPE_CHECKING:
    from radiomics_crlm.cohort.exclusions import Exclusion
    from radiomics_crlm.features.account import Account

Cohort = Annotated[Path, typer.Argument(help="Cohort folder: clinical.csv, optional imaging.csv and its images.")]


Profile = Annotated[
    str | None,
    typer.Option(help="Extraction profile; default: by modality and sequence.", autocompletion=profile_names),
]


def _scan_option(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel="One scan")


def _collection_option(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel="A downloaded collection")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("simulate")(simulate)
    app.command("validate")(validate)
    app.command("ingest")(ingest)
    app.command("extract")(extract)


def simulate(
    out: Out,
    patients: Annotated[int, typer.Option(help="Number of patients.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Seed; the same seed gives the same bytes.")] = None,
    texture_effect: Annotated[
        float | None, typer.Option(help="Log hazard ratio per SD of the latent texture; 0: images carry nothing.")
    ] = None,
    jobs: Jobs = default_jobs(),
) -> None:
    """Make a cohort of phantom patients with a known truth."""
    from radiomics_crlm.config import parse_config
    from radiomics_crlm.phantom.cohort import simulate_cohort
    from radiomics_crlm.phantom.settings import SimulationConfig

    given = {"patients": patients, "seed": seed, "texture_effect": texture_effect}
    config = parse_config(SimulationConfig, {k: v for k, v in given.items() if v is not None}, where="crlm simulate")
    screen = Screen()
    simulate_cohort(config, out, jobs=jobs, on_progress=lambda done, n: screen.progress("simulate", done, n))
    screen.stop()
    screen.line(f"cohort: {out}")


def validate(cohort: Cohort) -> None:
    """Check a cohort folder and say what would be left out, and why."""
    screen = Screen()
    with screen.doing("reading the cohort"):
        from radiomics_crlm.cohort.clinical import read_cohort_folder
        from radiomics_crlm.cohort.exclusions import flow

        found = read_cohort_folder(cohort)
    account = flow(found.patients_in, found.exclusions)
    screen.line(f"patients: {account['in']} in, {account['out']} usable")
    screen.line(f"scans:    {0 if found.imaging is None else len(found.imaging)} usable")
    _show_exclusions(screen, found.exclusions)
    if found.exclusions:
        raise typer.Exit(EXIT_PARTIAL)


def ingest(
    out: Out,
    cohort: Annotated[
        Path | None, typer.Argument(help="Cohort folder with imaging.csv, or with --layout a downloaded collection.")
    ] = None,
    layout: Annotated[str | None, _collection_option("tcia-crlm: the collection as 'crlm fetch' leaves it.")] = None,
    mask_set: Annotated[str, _collection_option("With --layout: expert, ai or corrected.")] = "expert",
    image: Annotated[Path | None, _scan_option("DICOM series folder, or NIfTI, NRRD or MHA file.")] = None,
    mask: Annotated[Path | None, _scan_option("Mask of that scan: label image, DICOM SEG or RTSTRUCT.")] = None,
    patient: Annotated[str | None, _scan_option("Patient key of that scan.")] = None,
    roles: Annotated[str, _scan_option("Roles of labels or segments, e.g. lesion=Tumor_*;liver=1.")] = "lesion=*",
    series: Annotated[str, _scan_option("Which series of a folder with several, e.g. number=3.")] = "",
    timepoint: Annotated[str, _scan_option("baseline, restaging or preoperative.")] = "preoperative",
    modality: Annotated[str, _scan_option("CT or MR.")] = "CT",
    sequence: Annotated[str, _scan_option("portal_venous, hbp, or a word of your own.")] = "portal_venous",
) -> None:
    """Check scans and masks, measure the lesions, and write an imaging manifest for 'crlm extract'.

    Give a cohort folder, a downloaded collection with --layout, or one scan with --image, --mask and --patient.
    """
    from radiomics_crlm.errors import ConfigError
    from radiomics_crlm.study.collection import ingest_collection
    from radiomics_crlm.study.ingest import ingest_cohort, one_scan

    screen = Screen()
    if layout is not None:
        if cohort is None:
            raise ConfigError("--layout needs the folder of the collection", remedy="see crlm ingest --help")
        result = ingest_collection(cohort, layout, mask_set, out, progress=screen.progress)
    else:
        scan = None
        if image is not None or mask is not None or patient is not None:
            scan = one_scan(patient, image, mask, roles, timepoint, modality, sequence, series)
        result = ingest_cohort(cohort, scan, out, progress=screen.progress)
    screen.stop()
    screen.line(f"scans: {result.scans}, lesions: {len(result.lesions)}")
    if result.scans:
        screen.line(f"manifest: {out / 'imaging.parquet'}")
    _show_exclusions(screen, result.exclusions)
    if result.exclusions:
        raise typer.Exit(EXIT_PARTIAL)


def extract(
    source: Annotated[Path, typer.Argument(help="Folder with imaging.csv or imaging.parquet.")],
    out: Out,
    profile: Profile = None,
    settings: Annotated[Path | None, typer.Option(help="Settings file; default: the shipped profiles.")] = None,
    jobs: Jobs = default_jobs(),
    dask: Dask = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for finished results, may be shared; default: .cache in the out folder.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep nothing and compute everything.", rich_help_panel=MACHINE)
    ] = False,
    max_memory: Annotated[
        float | None,
        typer.Option(help="GiB of memory per worker; default: by the machine and --jobs.", rich_help_panel=MACHINE),
    ] = None,
) -> None:
    """Extract radiomic features: one row per lesion, and aggregates per patient.

    A run that was stopped or killed goes on where it was when the same command is given again.
    """
    from radiomics_crlm.errors import ConfigError
    from radiomics_crlm.study.stages import CACHE, extract_cohort_features

    if cache is not None and no_cache:
        raise ConfigError("--cache and --no-cache contradict each other", remedy="give one of them")
    if max_memory is not None and max_memory <= 0:
        raise ConfigError("--max-memory must be positive", expected="GiB")
    screen = Screen()
    try:
        result, exclusions = extract_cohort_features(
            source,
            out,
            profile=profile,
            settings=settings,
            jobs=jobs,
            progress=screen.progress,
            dask=dask,
            cache=None if no_cache else cache or out / CACHE,
            max_memory_gib=max_memory,
        )
    except KeyboardInterrupt:
        screen.stop()
        screen.line("stopped" if no_cache else "stopped; what is finished is kept, the same command goes on from there")
        raise typer.Exit(EXIT_STOPPED) from None
    screen.stop()
    _show_account(screen, result.account)
    screen.line(f"features: {out / 'features_lesion.parquet'} and {out / 'features_patient.parquet'}")
    _show_exclusions(screen, exclusions)
    if exclusions or result.account.failed:
        raise typer.Exit(EXIT_PARTIAL)


def _show_account(screen: Screen, account: Account) -> None:
    failed = ", ".join(f"{reason} {count}" for reason, count in account.failed.items())
    screen.line(
        f"regions: {account.rows} rows, {sum(account.failed.values())} failed{f' ({failed})' if failed else ''}"
    )
    came = f"{account.rows_computed} computed, {account.rows_cached} from the cache"
    if account.parts_reused:
        shares = f"{account.parts_reused} of {account.parts_reused + account.parts_computed}"
        came += f"; of the computed ones, {shares} parts were in the cache"
    screen.line(f"rows:    {came}")
    if account.damaged_entries or account.not_stored:
        screen.line(f"cache:   {account.damaged_entries} damaged entries, {account.not_stored} not stored")
    peak = account.peak_memory_bytes
    memory = "" if peak is None else f", at most {peak / 1024**3:.2f} GiB of memory per worker"
    screen.line(f"effort:  {account.seconds:.1f} s with {account.workers} workers{memory}")


def _show_exclusions(screen: Screen, exclusions: Sequence[Exclusion]) -> None:
    if exclusions:
        screen.table(
            f"left out: {len(exclusions)}",
            ("patient", "timepoint", "stage", "code", "reason"),
            [(e.patient_id, e.timepoint or "", e.stage, e.code, e.reason) for e in exclusions],
        )
