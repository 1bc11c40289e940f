"""Radiomics of a cohort that is to be scored, extracted from its images with the settings of the bundle."""

from __future__ import annotations

from pathlib import Path

from radiomics_crlm.cohort.clinical import clean_imaging, find_table
from radiomics_crlm.cohort.exclusions import exclusion_table
from radiomics_crlm.config import CohortNotes, parse_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features.batch import extract_cohort
from radiomics_crlm.features.extract import engine
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.modelling.scans import ScanSelection
from radiomics_crlm.provenance.tables import read_raw, write_table
from radiomics_crlm.scoring.admission import Imaging
from radiomics_crlm.scoring.bundle import Bundle
from radiomics_crlm.scoring.source import File, known_keys
from radiomics_crlm.study.prepare import Progress, extraction_exclusions
from radiomics_crlm.study.stages import CACHE, write_extraction


def features_of_images(
    bundle: Bundle,
    cohort: Path,
    source: File,
    notes: CohortNotes,
    out: Path,
    *,
    jobs: int,
    dask: str | None,
    progress: Progress,
) -> Imaging:
    """Patient features, lesion features and scans that yielded nothing (parameters of `study.score.score_folder`).

    Raises
    ------
    InputError
        If the imaging manifest is unusable, or the installed engine is not that of the training.
    """
    profiles = {str(block.scans): _profile(bundle, block.scans) for block in bundle.content.sources}
    table, bad = clean_imaging(
        read_raw(find_table(cohort, "imaging"), what="imaging manifest"), known_keys(source, notes)
    )
    wanted = table[(table["modality"] + "/" + table["sequence"]).isin(list(profiles))]
    result = extract_cohort(
        wanted.reset_index(drop=True),
        cohort,
        profiles,
        jobs=jobs,
        dask=dask,
        cache=out / "features" / CACHE,
        on_progress=lambda done, n: progress("extract", done, n),
    )
    exclusions = exclusion_table([*bad, *extraction_exclusions(result.exclusions)])
    patient = write_extraction(result, out / "features")
    write_table(exclusions, out / "features" / "exclusions.parquet", "exclusions")
    return Imaging(patient, result.features_lesion, exclusions)


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
    try:
        return parse_config(Profile, settings, where="bundle: extraction settings")
    except ConfigError as error:
        raise InputError(
            "the extraction settings of the bundle are not valid", where="bundle.json", got=error.got
        ) from None
