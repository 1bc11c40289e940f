"""The extraction of features on its own: its tables and its exclusions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from radiomics_crlm.cohort.clinical import clean_imaging, find_table
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.ibsi import write_statement
from radiomics_crlm.features.parts import engine
from radiomics_crlm.features.profiles import load_profiles, settings_hash
from radiomics_crlm.provenance.files import write_json
from radiomics_crlm.provenance.tables import read_raw, write_table
from radiomics_crlm.provenance.versions import versions
from radiomics_crlm.study.prepare import Progress, extraction_exclusions

CACHE = ".cache"
ACCOUNT = "extraction.json"


def extract_cohort_features(
    source: Path,
    out: Path,
    *,
    profile: str | None,
    settings: Path | None,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    cache: Path | None = None,
    max_memory_gib: float | None = None,
) -> tuple[ExtractionResult, tuple[Exclusion, ...]]:
    """Extract the features of all scans of a manifest and write its tables to ``out``, beside ``extraction.json``.

    Parameters
    ----------
    profile
        Used for every scan of its modality; without it the kind of scan decides.
    settings
        Settings file; None: the shipped profiles.
    jobs, dask, cache, max_memory_gib
        As in `extract_cohort`. The tables depend on none of them.

    Raises
    ------
    ConfigError
        For unknown or contradictory settings, a cache that cannot be written to, or a Dask scheduler that does not
        answer; before the first case.
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
    profiles = config.for_scans(override)
    result = extract_cohort(
        table,
        source,
        profiles,
        jobs=jobs,
        dask=dask,
        cache=cache,
        max_memory_gib=max_memory_gib,
        on_progress=lambda done, n: progress("extract: scans", done, n),
        on_regions=lambda done, n: progress("extract: regions", done, n),
    )
    exclusions = (*bad, *extraction_exclusions(result.exclusions))
    write_extraction(result, out)
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    used = {kind: {"profile": p.name, "settings_hash": settings_hash(p, engine())} for kind, p in profiles.items()}
    write_json(out / ACCOUNT, {"account": asdict(result.account), "profiles": used, "versions": versions()})
    return result, exclusions


def write_extraction(result: ExtractionResult, out: Path) -> pd.DataFrame:
    """Write the tables of lesions, features (of organs, too, if there are any) and quality, and what the IBSI
    standardises of them; return the patient aggregates."""
    patient = result.patients()
    write_table(result.lesions, out / "lesions.parquet", "lesions")
    write_table(result.features_lesion, out / "features_lesion.parquet", "features_lesion")
    if len(result.features_region):
        write_table(result.features_region, out / "features_region.parquet", "features_region")
    write_table(result.quality, out / "quality.parquet", "quality")
    write_statement(result.profiles, out)
    return write_table(patient, out / "features_patient.parquet", "features_patient")
