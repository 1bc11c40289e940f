"""Scores a cohort folder with a bundle: from feature tables if the folder has them, otherwise from its images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from radiomics_crlm.cohort.clinical import clean_imaging, find_table
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.config import CohortNotes, load_config, parse_config
from radiomics_crlm.errors import InputError
from radiomics_crlm.features.batch import extract_cohort
from radiomics_crlm.features.extract import engine
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.modelling.scans import ScanSelection
from radiomics_crlm.provenance.tables import read_raw, read_table, write_table
from radiomics_crlm.schema import MISSING_CODES
from radiomics_crlm.scoring.batch import ScoreSummary, score_cohort
from radiomics_crlm.scoring.bundle import Bundle, load_bundle
from radiomics_crlm.study.prepare import Progress, extraction_exclusions
from radiomics_crlm.study.stages import write_extraction


def score_folder(bundle_folder: Path, cohort: Path, out: Path, *, jobs: int, progress: Progress) -> ScoreSummary:
    """Score every row of a cohort's clinical table (see ``scoring.batch.score_cohort``).

    Parameters
    ----------
    bundle_folder
        Folder of a bundle.
    cohort
        Cohort folder. If the model needs radiomics, they come from its ``features_patient`` and ``features_lesion``
        tables, or else from its images, extracted with the settings of the bundle.
    out
        Folder for the scores (and for the extracted features).
    jobs
        Processes for the extraction.
    progress
        Callback ``(stage, done, total)``.

    Raises
    ------
    InputError, LeakError
        If the bundle is refused, or the cohort is unusable as a whole. Bad rows and bad scans become abstentions.
    """
    bundle = load_bundle(bundle_folder)
    if not cohort.is_dir():
        raise InputError("the cohort folder is missing", expected="a folder with clinical.csv")
    raw = read_raw(find_table(cohort, "clinical"), what="clinical table")
    notes_path = cohort / "cohort.yaml"
    notes = load_config(CohortNotes, notes_path) if notes_path.is_file() else CohortNotes()
    patient, lesion, exclusions = (
        _features(bundle, cohort, raw, out, jobs=jobs, progress=progress)
        if bundle.content.needs_radiomics
        else (None, None, None)
    )
    return score_cohort(
        bundle,
        raw,
        patient,
        out,
        notes=notes,
        features_lesion=lesion,
        exclusions=exclusions,
        on_progress=lambda done, n: progress("score", done, n),
    )


def _features(
    bundle: Bundle, cohort: Path, raw: pd.DataFrame, out: Path, *, jobs: int, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Patient features, lesion features and scans that yielded nothing."""
    made, excluded = cohort / "features_patient.parquet", cohort / "exclusions.parquet"
    if made.is_file():
        exclusions = read_table(excluded, "exclusions") if excluded.is_file() else exclusion_table([])
        lesion = read_table(cohort / "features_lesion.parquet", "features_lesion")
        return read_table(made, "features_patient"), lesion, exclusions
    profiles = {str(block.scans): _profile(bundle, block.scans) for block in bundle.content.sources}
    table, bad = _scans(cohort, raw)
    wanted = table[(table["modality"] + "/" + table["sequence"]).isin(list(profiles))]
    result = extract_cohort(
        wanted.reset_index(drop=True),
        cohort,
        profiles,
        jobs=jobs,
        on_progress=lambda done, n: progress("extract", done, n),
    )
    exclusions = exclusion_table([*bad, *extraction_exclusions(result.exclusions)])
    patient = write_extraction(result, out / "features")
    write_table(exclusions, out / "features" / "exclusions.parquet", "exclusions")
    return patient, result.features_lesion, exclusions


def _profile(bundle: Bundle, scans: ScanSelection) -> Profile:
    """Extraction settings of a kind of scan, as in training."""
    extraction = bundle.content.extraction_of(scans)
    if extraction is None:
        raise InputError(
            "the bundle does not say how its features are made", remedy="give feature tables in the cohort"
        )
    if extraction.engine != engine():
        raise InputError(
            "another feature engine is installed than the model was trained with",
            expected=extraction.engine,
            got=engine(),
        )
    settings = {**extraction.settings, "name": extraction.profile, "description": "from the bundle"}
    return parse_config(Profile, settings, where="bundle: extraction settings")


def _scans(cohort: Path, raw: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Exclusion, ...]]:
    key = next((c for c in raw.columns if str(c).strip().casefold() in ("patient_id", "id", "case", "subject")), None)
    known = set() if key is None else {k for k in raw[key].str.strip() if k.casefold() not in MISSING_CODES}
    return clean_imaging(read_raw(find_table(cohort, "imaging"), what="imaging manifest"), known)
