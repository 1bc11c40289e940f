"""Scores a cohort folder with a bundle: from feature tables if the folder has them, otherwise from its images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from radiomics_crlm.cohort.clinical import find_table
from radiomics_crlm.cohort.exclusions import exclusion_table
from radiomics_crlm.config import CohortNotes, load_config
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.admission import Imaging
from radiomics_crlm.scoring.batch import Options, ScoreSummary, score_source
from radiomics_crlm.scoring.bundle import Bundle, load_bundle
from radiomics_crlm.scoring.source import File

Progress = Callable[[str, int, int], None]


def score_folder(
    bundle_folder: Path,
    cohort: Path,
    out: Path,
    *,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    attributions: bool = False,
) -> ScoreSummary:
    """Score every row of a cohort's clinical table (see ``scoring.batch.score_source``).

    Parameters
    ----------
    bundle_folder
        Folder of a bundle.
    cohort
        Cohort folder. If the model needs radiomics, they come from its ``features_patient`` and ``features_lesion``
        tables, or else from its images, extracted with the settings of the bundle.
    out
        Folder for the scores (and for the extracted features).
    jobs, dask
        Processes on this machine, or address of a Dask scheduler; for the extraction, too, where its workers have to
        see the same files. The results do not depend on it.
    progress
        Callback ``(stage, done, total)``.
    attributions
        Also write the SHAP values of each scored row.

    Raises
    ------
    InputError, LeakError
        If the bundle is refused, or the cohort is unusable as a whole. Bad rows and bad scans become abstentions.
    OSError
        If the output cannot be written.
    """
    bundle = load_bundle(bundle_folder)
    if not cohort.is_dir():
        raise InputError("the cohort folder is missing", expected="a folder with clinical.csv")
    source = File(find_table(cohort, "clinical"))
    notes_path = cohort / "cohort.yaml"
    notes = load_config(CohortNotes, notes_path) if notes_path.is_file() else CohortNotes()
    imaging = Imaging()
    if bundle.content.needs_radiomics:
        imaging = _features(bundle, cohort, source, notes, out, jobs=jobs, dask=dask, progress=progress)
    options = Options(
        jobs=jobs,
        dask=dask,
        attributions=attributions,
        on_progress=lambda done, n: progress("score", done, n),
    )
    return score_source(bundle, source, out, imaging=imaging, notes=notes, options=options)


def _features(
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
    """Patient features, lesion features and scans that yielded nothing."""
    made, excluded = cohort / "features_patient.parquet", cohort / "exclusions.parquet"
    if made.is_file():
        exclusions = read_table(excluded, "exclusions") if excluded.is_file() else exclusion_table([])
        lesion = read_table(cohort / "features_lesion.parquet", "features_lesion")
        return Imaging(read_table(made, "features_patient"), lesion, exclusions)
    from radiomics_crlm.study.score_images import features_of_images  # slow to load, and only images need it

    return features_of_images(bundle, cohort, source, notes, out, jobs=jobs, dask=dask, progress=progress)
