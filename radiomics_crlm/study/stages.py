"""Single stages on their own: ingest, extract, rules. Each writes its tables and its exclusions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.cohort.clinical import clean_clinical, clean_imaging, find_table, read_cohort_folder
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.features.aggregate import aggregate_patients
from radiomics_crlm.features.batch import SCAN_KEY, ExtractionResult, extract_cohort
from radiomics_crlm.features.profiles import load_profiles
from radiomics_crlm.imaging.geometry import check_same_geometry, clip_hu_padding
from radiomics_crlm.imaging.regions import as_label_mask, keep_labels, labels_of, measure_lesions, parse_mask_roles
from radiomics_crlm.imaging.volume import Volume, path_inside, read_volume, write_volume
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.provenance.tables import read_raw, write_table
from radiomics_crlm.study.prepare import Progress, extraction_exclusions


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

    @property
    def case(self) -> str:
        """Key of the scan for messages."""
        return f"{self.patient_id} {self.timepoint} {self.modality}/{self.sequence}"

    def path(self, named: str) -> Path:
        """Where a file of the row lies (`CaseError` if a manifest points out of its folder)."""
        return Path(named) if self.root is None else path_inside(self.root, named, case=self.case)


@dataclass(frozen=True)
class IngestResult:
    """What an ingest found: checked scans, measured lesions and what was left out."""

    scans: int
    lesions: pd.DataFrame
    exclusions: tuple[Exclusion, ...]


def one_scan(
    patient: str | None, image: Path | None, mask: Path | None, roles: str, timepoint: str, modality: str, sequence: str
) -> ScanRow:
    """A manifest row from command line options.

    Raises
    ------
    ConfigError
        If one of patient, image and mask is absent.
    """
    if patient is None or image is None or mask is None:
        raise ConfigError("one scan needs --patient, --image and --mask together")
    return ScanRow(patient, timepoint, modality, sequence, str(image), str(mask), roles)


def ingest_cohort(cohort: Path | None, scan: ScanRow | None, out: Path, *, progress: Progress) -> IngestResult:
    """Check scans and masks, measure lesions, and write a self-contained manifest with images on one format.

    Writes ``images/``, ``imaging.parquet``, ``lesions.parquet``, ``exclusions.parquet`` and, for a cohort folder,
    ``clinical.parquet`` to ``out``. A bad scan is an exclusion with its reason.

    Raises
    ------
    ConfigError
        Unless exactly one of ``cohort`` and ``scan`` is given.
    InputError
        If the cohort folder is unusable as a whole.
    """
    if (cohort is None) == (scan is None):
        raise ConfigError("ingest needs either a cohort folder or one scan", remedy="see crlm ingest --help")
    exclusions: list[Exclusion] = []
    if cohort is not None:
        found = read_cohort_folder(cohort)
        if found.imaging is None:
            raise InputError("the cohort folder has no imaging manifest", expected="imaging.csv or imaging.parquet")
        exclusions += found.exclusions
        rows = list(_manifest_rows(found.imaging, cohort))
        write_table(found.clinical, out / "clinical.parquet", "clinical")
    else:
        rows = [scan] if scan is not None else []
        _check_row(rows[0])
    manifest, lesions = [], []
    for number, row in enumerate(rows):
        progress("ingest", number, len(rows))
        try:
            entry, measured = _ingest_scan(row, out)
        except CaseError as error:
            exclusions.append(Exclusion(row.patient_id, "ingest", error.code, str(error), timepoint=row.timepoint))
            continue
        manifest.append(entry)
        if measured is not None:
            lesions.append(measured)
    progress("ingest", len(rows), len(rows))
    table = pd.concat(lesions, ignore_index=True) if lesions else pd.DataFrame()
    if manifest:
        write_table(pd.DataFrame(manifest), out / "imaging.parquet", "imaging")
    if lesions:
        write_table(table, out / "lesions.parquet", "lesions")
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    return IngestResult(len(manifest), table, tuple(exclusions))


def _manifest_rows(imaging: pd.DataFrame, root: Path) -> Iterator[ScanRow]:
    for row in imaging.to_dict("records"):
        day = row.get("study_day")
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
        )


def _check_row(row: ScanRow) -> None:
    key = {column: getattr(row, column) for column in SCAN_KEY}
    raw = pd.DataFrame([{**key, "image": "i", "mask": "m", "mask_roles": row.mask_roles}])
    _, bad = clean_imaging(raw, {row.patient_id})
    if bad:
        raise ConfigError("the scan is not described well", got=bad[0].reason)


def _ingest_scan(row: ScanRow, out: Path) -> tuple[dict[str, object], pd.DataFrame | None]:
    image = read_volume(row.path(row.image), case=row.case)
    if row.modality == "CT":
        image = clip_hu_padding(image)
    labels = as_label_mask(read_volume(row.path(row.mask), case=row.case), case=row.case)
    mask, flags = check_same_geometry(image, labels, case=row.case)
    # Names come from a hash: a patient key is no safe file name.
    name = hashlib.sha256(row.case.encode()).hexdigest()[:16]
    mask_name = hashlib.sha256(f"{row.case} {row.mask_roles}".encode()).hexdigest()[:16]
    image_path, mask_path = f"images/{name}.nii.gz", f"images/{mask_name}_mask.nii.gz"
    (out / "images").mkdir(parents=True, exist_ok=True)
    write_volume(image, out / image_path)
    write_volume(mask, out / mask_path)
    key = {column: getattr(row, column) for column in SCAN_KEY}
    entry = {**key, "image": image_path, "mask": mask_path, "mask_roles": row.mask_roles, "study_day": row.study_day}
    return entry, _measure(row, key, mask, [*image.flags, *flags])


def _measure(row: ScanRow, key: dict[str, str], mask: Volume, flags: Sequence[str]) -> pd.DataFrame | None:
    roles = parse_mask_roles(row.mask_roles, case=row.case)
    if "lesion" not in roles:
        return None
    present, _ = labels_of(mask, roles["lesion"])
    if not present:
        raise CaseError("no_lesion_label", "the mask holds none of the lesion labels", where=row.case)
    lesions = measure_lesions(keep_labels(mask, present))
    lesions["flags"] = [";".join(f for f in [own, *flags] if f) for own in lesions["flags"]]
    return pd.concat([pd.DataFrame([key] * len(lesions)), lesions], axis=1)


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
    """Write lesion and feature tables and return the patient aggregates."""
    patient = aggregate_patients(result.features_lesion, result.lesions, result.anatomy)
    write_table(result.lesions, out / "lesions.parquet", "lesions")
    write_table(result.features_lesion, out / "features_lesion.parquet", "features_lesion")
    return write_table(patient, out / "features_patient.parquet", "features_patient")


@dataclass(frozen=True)
class RulesResult:
    """Rule results of a cohort and the patients whose rows could not be used."""

    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...]


def rules_of_cohort(cohort: Path, out: Path, *, rules: Sequence[str] | None) -> RulesResult:
    """Evaluate rules for a clinical table and write ``rules.parquet``, ``rules.csv`` and the exclusions.

    Raises
    ------
    ConfigError
        For an unknown rule.
    InputError
        If the table is unusable as a whole.
    """
    if cohort.is_dir():
        found = read_cohort_folder(cohort)
        clinical, exclusions = found.clinical, tuple(e for e in found.exclusions if e.timepoint is None)
    else:
        rows = clean_clinical(read_raw(cohort, what="clinical table"))
        clinical, exclusions = rows.table, rows.exclusions
    table = write_table(rule_engine.evaluate_table(clinical, rules or None), out / "rules.parquet", "rules")
    write_text(out / "rules.csv", table.to_csv(index=False, lineterminator="\n"))
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    return RulesResult(table, exclusions)
