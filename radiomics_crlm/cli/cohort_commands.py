"""Commands on cohorts: simulate, validate, ingest, extract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.cli.study_commands import EXIT_PARTIAL, Jobs, Out, default_jobs

if TYPE_CHECKING:
    from radiomics_crlm.cohort.exclusions import Exclusion

Cohort = Annotated[Path, typer.Argument(help="Cohort folder: clinical.csv, optional imaging.csv and its images.")]


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
    from radiomics_crlm.cohort.clinical import read_cohort_folder
    from radiomics_crlm.cohort.exclusions import flow

    screen = Screen()
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
    layout: Annotated[str | None, typer.Option(help="tcia-crlm: the collection as 'crlm fetch' leaves it.")] = None,
    mask_set: Annotated[str, typer.Option(help="With --layout: expert, ai or corrected.")] = "expert",
    image: Annotated[Path | None, typer.Option(help="One scan: a DICOM series folder, NIfTI or NRRD file.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Mask of that scan: label image, DICOM SEG or RTSTRUCT.")] = None,
    patient: Annotated[str | None, typer.Option(help="Patient key of that scan.")] = None,
    roles: Annotated[str, typer.Option(help="Roles of labels or segments, e.g. lesion=Tumor_*;liver=1.")] = "lesion=*",
    series: Annotated[str, typer.Option(help="Which series of a folder with several, e.g. number=3.")] = "",
    timepoint: Annotated[str, typer.Option(help="baseline, restaging or preoperative.")] = "preoperative",
    modality: Annotated[str, typer.Option(help="CT or MR.")] = "CT",
    sequence: Annotated[str, typer.Option(help="portal_venous, hbp, ...")] = "portal_venous",
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
    profile: Annotated[str | None, typer.Option(help="Extraction profile; default: by modality and sequence.")] = None,
    settings: Annotated[Path | None, typer.Option(help="Settings file; default: the shipped profiles.")] = None,
    jobs: Jobs = default_jobs(),
) -> None:
    """Extract radiomic features: one row per lesion, and aggregates per patient."""
    from radiomics_crlm.study.stages import extract_cohort_features

    screen = Screen()
    result, exclusions = extract_cohort_features(
        source, out, profile=profile, settings=settings, jobs=jobs, progress=screen.progress
    )
    screen.stop()
    failed = int((result.features_lesion["status"] == "failed").sum())
    screen.line(f"lesions: {len(result.features_lesion)} rows, {failed} failed")
    screen.line(f"features: {out / 'features_lesion.parquet'} and {out / 'features_patient.parquet'}")
    _show_exclusions(screen, exclusions)
    if exclusions or failed:
        raise typer.Exit(EXIT_PARTIAL)


def _show_exclusions(screen: Screen, exclusions: Sequence[Exclusion]) -> None:
    if exclusions:
        screen.table(
            f"left out: {len(exclusions)}",
            ("patient", "timepoint", "stage", "code", "reason"),
            [(e.patient_id, e.timepoint or "", e.stage, e.code, e.reason) for e in exclusions],
        )
