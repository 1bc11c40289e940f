"""Ingest: check scans and masks, measure the lesions, and write a self-contained manifest with images of one format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.cohort.clinical import Cohort, clean_imaging, read_cohort_folder
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.features.batch import SCAN_KEY
from radiomics_crlm.imaging.geometry import Volume, clip_hu_padding
from radiomics_crlm.imaging.masks import MaskSet, as_label_images, read_mask, read_scan
from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.imaging.volume import path_inside, write_volume
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.study.prepare import Progress


@dataclass(frozen=True)
class ScanRow:
    """One image and one mask of it, as a row of the imaging manifest; paths are relative to ``root`` if any."""

    patient_id: str
    timepoint: str
    modality: str
    sequence: str
    image: str
    mask: str
    mask_roles: str
    study_day: int | None = None
    root: Path | None = None
    series: str = ""
    contrast_delay_s: float | None = None

    @property
    def case(self) -> str:
        """Key of the scan for messages."""
        return f"{self.patient_id} {self.timepoint} {self.modality}/{self.sequence}"

    @property
    def key(self) -> dict[str, str]:
        """Key of the scan in tables."""
        return {column: getattr(self, column) for column in SCAN_KEY}

    def path(self, named: str) -> Path:
        """Where a file of the row lies (`CaseError` if a manifest points out of its folder)."""
        return Path(named) if self.root is None else path_inside(self.root, named, case=self.case)


@dataclass(frozen=True)
class IngestResult:
    """What an ingest found: checked scans, measured lesions and what was left out."""

    scans: int
    lesions: pd.DataFrame
    exclusions: tuple[Exclusion, ...]


@dataclass
class _Written:
    """Rows of the new manifest, the day on which each scan was made, and the measured lesions."""

    manifest: list[dict[str, Any]] = field(default_factory=list)
    days: list[int | None] = field(default_factory=list)
    lesions: list[pd.DataFrame] = field(default_factory=list)


def one_scan(
    patient: str | None,
    image: Path | None,
    mask: Path | None,
    roles: str,
    timepoint: str,
    modality: str,
    sequence: str,
    series: str = "",
) -> ScanRow:
    """A manifest row from command line options.

    Raises
    ------
    ConfigError
        If one of patient, image and mask is absent, or a field breaks the schema of the manifest.
    """
    if patient is None or image is None or mask is None:
        raise ConfigError(
            "one scan needs --patient, --image and --mask together", remedy="or give the folder of a whole cohort"
        )
    row = ScanRow(patient, timepoint, modality, sequence, str(image), str(mask), roles, series=series)
    raw = pd.DataFrame([{**row.key, "image": "i", "mask": "m", "mask_roles": row.mask_roles}])
    _, bad = clean_imaging(raw, {row.patient_id})
    if bad:
        raise ConfigError("the scan is not described well", got=bad[0].reason)
    return row


def ingest_cohort(cohort: Path | None, scan: ScanRow | None, out: Path, *, progress: Progress) -> IngestResult:
    """Check the scans of a cohort folder, or one scan, and write everything to ``out`` (see `ingest_rows`).

    Raises
    ------
    ConfigError
        Unless exactly one of ``cohort`` and ``scan`` is given.
    InputError
        If the cohort folder is unusable as a whole.
    """
    if (cohort is None) == (scan is None):
        raise ConfigError("ingest needs either a cohort folder or one scan", remedy="see crlm ingest --help")
    if cohort is None:
        return ingest_rows([scan] if scan is not None else [], (), out, progress=progress)
    found = read_cohort_folder(cohort)
    if found.imaging is None:
        raise InputError("the cohort folder has no imaging manifest", expected="imaging.csv or imaging.parquet")
    return ingest_found(found, cohort, out, progress=progress)


def ingest_found(cohort: Cohort, root: Path, out: Path, *, progress: Progress) -> IngestResult:
    """Ingest a cohort that is already read: its clinical rows and the scans of its manifest."""
    imaging = cohort.imaging if cohort.imaging is not None else pd.DataFrame(columns=SCAN_KEY)
    if len(cohort.clinical):
        write_table(cohort.clinical, out / "clinical.parquet", "clinical")
    return ingest_rows(list(manifest_rows(imaging, root)), cohort.exclusions, out, progress=progress)


def ingest_rows(
    rows: Sequence[ScanRow], exclusions: Iterable[Exclusion], out: Path, *, progress: Progress
) -> IngestResult:
    """Check scans and masks, measure lesions, and write a self-contained manifest.

    Writes ``images/`` (NIfTI: the image, its lesions and its anatomy), ``imaging.parquet``, ``lesions.parquet`` and
    ``exclusions.parquet``. A bad scan is an exclusion with its reason. Scans without a ``study_day`` get the number of
    days since the first scan of the patient, if DICOM says when they were made; no date is written anywhere.
    """
    left_out, done = list(exclusions), _Written()
    image: tuple[tuple[str, str, str], Volume] | None = None
    for number, row in enumerate(rows):
        progress("ingest", number, len(rows))
        try:
            named = (row.case, row.image, row.series)
            if image is None or image[0] != named:  # rows of one scan follow each other: read its image once
                image = named, _read_image(row, [r for r in rows if (r.case, r.image, r.series) == named])
            _ingest_scan(row, image[1], out, done)
        except CaseError as error:
            left_out.append(Exclusion(row.patient_id, "ingest", error.code, str(error), timepoint=row.timepoint))
    progress("ingest", len(rows), len(rows))
    table = pd.concat(done.lesions, ignore_index=True) if done.lesions else pd.DataFrame()
    if done.manifest:
        write_table(_with_days(pd.DataFrame(done.manifest), done.days), out / "imaging.parquet", "imaging")
    if done.lesions:
        write_table(table, out / "lesions.parquet", "lesions")
    write_table(exclusion_table(left_out), out / "exclusions.parquet", "exclusions")
    scans = {tuple(entry[column] for column in SCAN_KEY) for entry in done.manifest}
    return IngestResult(len(scans), table, tuple(left_out))


def manifest_rows(imaging: pd.DataFrame, root: Path) -> Iterator[ScanRow]:
    """Rows of a clean imaging manifest whose paths are relative to ``root``."""
    for row in imaging.to_dict("records"):
        day, series, delay = row.get("study_day"), row.get("series"), row.get("contrast_delay_s")
        yield ScanRow(
            row["patient_id"],
            row["timepoint"],
            row["modality"],
            row["sequence"],
            row["image"],
            row["mask"],
            row["mask_roles"],
            None if pd.isna(day) else int(day),
            root,
            "" if pd.isna(series) else str(series),
            None if pd.isna(delay) else float(delay),
        )


def _read_image(row: ScanRow, rows: Iterable[ScanRow]) -> Volume:
    """The image of a scan; the DICOM masks of all its rows help to choose the series."""
    masks = [row.path(each.mask) for each in rows]
    image = read_scan(row.path(row.image), masks, rule=row.series, case=row.case)
    return clip_hu_padding(image) if row.modality == "CT" else image


def _ingest_scan(row: ScanRow, image: Volume, out: Path, done: _Written) -> None:
    """Check one mask, write it and its image, and add them to what is done."""
    masks = read_mask(row.path(row.mask), image, roles=row.mask_roles, case=row.case)
    lesions = _measured(row, masks, image)
    (out / "images").mkdir(parents=True, exist_ok=True)
    image_path = f"images/{_hashed(row.case)}.nii.gz"
    if all(entry["image"] != image_path for entry in done.manifest):
        write_volume(image, out / image_path)
    for name, labels, roles in as_label_images(masks, image):
        mask_path = f"images/{_hashed(f'{row.case} {row.mask} {row.mask_roles}')}_{name}.nii.gz"
        write_volume(labels, out / mask_path)
        entry: dict[str, Any] = {
            "image": image_path,
            "mask": mask_path,
            "mask_roles": roles,
            "study_day": row.study_day,
        }
        entry["contrast_delay_s"] = row.contrast_delay_s
        if row.contrast_delay_s is None and image.source is not None:
            entry["contrast_delay_s"] = image.source.contrast_delay_s
        done.manifest.append({**row.key, **entry})
        done.days.append(image.source.day if image.source is not None else None)
    if lesions is not None:
        done.lesions.append(lesions)


def _hashed(text: str) -> str:
    """A file name: a patient key is none that is safe."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _measured(row: ScanRow, masks: MaskSet, image: Volume) -> pd.DataFrame | None:
    if masks.lesions is None:
        return None
    lesions = measure_lesions(masks.lesions)
    common = [*image.flags, *masks.lesion_flags]
    lesions["flags"] = [";".join(f for f in [own, *common] if f) for own in lesions["flags"]]
    return pd.concat([pd.DataFrame([row.key] * len(lesions)), lesions], axis=1)


def _with_days(manifest: pd.DataFrame, days: Sequence[int | None]) -> pd.DataFrame:
    """Fill in ``study_day`` for patients who have none: days since the first scan whose date is known."""
    made = pd.Series(pd.array(list(days), dtype="Int64"), index=manifest.index)
    given = pd.Series(pd.array(manifest["study_day"].tolist(), dtype="Int64"), index=manifest.index)
    patients = manifest["patient_id"]
    first = made.groupby(patients).transform("min")
    counted = given.notna().groupby(patients).transform("any")
    return manifest.assign(study_day=given.where(counted, made - first))
