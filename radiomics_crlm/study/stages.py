"""The extraction of features on its own: its tables and its exclusions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from radiomics_crlm.cohort.clinical import clean_imaging, find_table
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.ibsi import write_statement
from radiomics_crlm.features.profiles import load_profiles
from radiomics_crlm.provenance.tables import read_raw, write_table
from radiomics_crlm.study.prepare import Progress, extraction_exclusions


def extract_cohort_features(
    source: Path, out: Path, *, profile: str | None, settings: Path | None, jobs: int, progress: Progress
) -> tuple[ExtractionResult, tuple[Exclusion, ...]]:
    """Extract the features of all scans of a manifest and write lesion, patient and exclusion tables to ``out``.

    ``profile`` is used for every scan of its modality; without it the kind of scan decides.

    Raises
    ------
    ConfigError
        For unknown or contradictory settings, before the first case.
    InputError
        If the manifest is unusable as a whole.
    """
    config = load_profiles(settings)
    raw = read_raw(find_table(source, "imaging"), what="imaging manifest")
    known = set(raw["patient_id"].astype(str).str.strip()) if "patient_id" in raw else set()
    table, bad = clean_imaging(raw, known)
    override = {}
    if profile is not None:
        if profile not in config.profiles:
            raise ConfigError("unknown extraction profile", expected=", ".join(config.profiles), got=repr(profile))
        modality = config.profiles[profile].modality
        kinds = {f"{m}/{s}" for m, s in zip(table["modality"], table["sequence"], strict=True) if m == modality}
        override = dict.fromkeys(sorted(kinds), profile)
    result = extract_cohort(
        table, source, config.for_scans(override), jobs=jobs, on_progress=lambda done, n: progress("extract", done, n)
    )
    exclusions = (*bad, *extraction_exclusions(result.exclusions))
    write_extraction(result, out)
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    return result, exclusions


def write_extraction(result: ExtractionResult, out: Path) -> pd.DataFrame:
    """Write lesion, feature and quality tables, what the IBSI standardises of them; return the patient aggregates."""
    patient = aggregate_patients(result.features_lesion, result.lesions, result.anatomy)
    write_table(result.lesions, out / "lesions.parquet", "lesions")
    write_table(result.features_lesion, out / "features_lesion.parquet", "features_lesion")
    write_table(result.quality, out / "quality.parquet", "quality")
    write_statement(result.profiles, out)
    return write_table(patient, out / "features_patient.parquet", "features_patient")
