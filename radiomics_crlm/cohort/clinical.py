"""Clinical tables at the door: typed canonical rows, and a reason for every patient who cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from radiomics_crlm.cohort.exclusions import Exclusion
from radiomics_crlm.cohort.units import canonical_units
from radiomics_crlm.config import CohortNotes, load_config
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_raw
from radiomics_crlm.schema import (
    AVAILABILITY,
    MISSING_CODES,
    ColumnSpec,
    Problem,
    TableSchema,
    load_schema,
    parse_table,
)

_SMALLEST_CELL = 5


@dataclass(frozen=True)
class Cohort:
    """Clean rows of a cohort and the account of those left out.

    ``patients_in`` counts the distinct patient keys that came in (a row without a key counts as one patient).
    ``origins`` has the rows of ``clinical`` and says how inputs were converted at the door.
    """

    name: str
    clinical: pd.DataFrame
    patients_in: int
    exclusions: tuple[Exclusion, ...] = ()
    notes: CohortNotes = field(default_factory=CohortNotes)
    imaging: pd.DataFrame | None = None
    root: Path | None = None
    features_patient: pd.DataFrame | None = None
    simulated: bool = False
    origins: pd.DataFrame | None = None


@dataclass(frozen=True)
class CleanRows:
    """Typed rows with unique keys, the exclusions, and how many patients came in.

    ``origins`` has the rows of ``table`` and a column per input that was converted at the door; its cells say how.
    """

    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...]
    patients_in: int
    origins: pd.DataFrame = field(default_factory=pd.DataFrame)


def clean_clinical(
    raw: pd.DataFrame, *, ignore: Iterable[str] = (), notes: CohortNotes | None = None, keep_bad_cells: bool = False
) -> CleanRows:
    """Type and check a raw clinical table; a bad row costs its patient, never the rest.

    Parameters
    ----------
    raw
        Cells as they came.
    ignore
        Columns to leave out.
    notes
        Units and the form of dates, where they are not the canonical ones.
    keep_bad_cells
        Leave cells that break their rule as they are, in a column of objects, and keep their patients: the clinical
        rules then refuse such a cell rule by rule.

    Raises
    ------
    InputError
        For faults of the whole table: unknown, repeated or missing columns, or no rows.
    """
    schema = load_schema("clinical")
    if raw.empty:
        raise InputError("the clinical table has no rows", expected="one row per patient", got="0 rows")
    ignored = set(ignore)
    raw = raw[[c for c in raw.columns if str(c).strip() not in ignored]]
    door = canonical_units(raw, schema, notes or CohortNotes())
    parsed = parse_table(door.table, schema)
    table = parsed.table.copy()
    # A null never equals itself, so a row without a key gets its row number as key for the account.
    keyless = table["patient_id"].isna() | table["patient_id"].str.strip().str.casefold().isin(MISSING_CODES)
    table.loc[keyless, "patient_id"] = [f"(row {i + 2})" for i in table.index[keyless]]
    keys = table["patient_id"]
    by_row: dict[int, list[Problem]] = {}
    if keep_bad_cells:
        table = _with_bad_cells(table, door.table, parsed.problems, schema)
    for problem in parsed.problems:
        if not keep_bad_cells or problem.column == "patient_id":
            by_row.setdefault(problem.row, []).append(problem)
    repeated = set(keys[keys.duplicated(keep=False)])
    exclusions = [
        Exclusion(
            key, "ingest", "duplicate_patient", f"the key stands in {int((keys == key).sum())} rows; expected one"
        )
        for key in dict.fromkeys(keys)
        if key in repeated
    ]
    for row, problems in by_row.items():
        key = keys.iloc[row - 2]
        code = "missing_key" if keyless.iloc[row - 2] else problems[0].code
        if key not in repeated:
            exclusions.append(Exclusion(key, "ingest", code, "; ".join(p.sentence() for p in problems)))
    excluded = {e.patient_id for e in exclusions}
    kept = (~keys.isin(excluded)).to_numpy()
    origins = door.origins[kept].reset_index(drop=True)
    return CleanRows(table[kept].reset_index(drop=True), tuple(exclusions), int(keys.nunique()), origins)


def _with_bad_cells(
    table: pd.DataFrame, raw: pd.DataFrame, problems: Iterable[Problem], schema: TableSchema
) -> pd.DataFrame:
    headers = {schema.canonical(str(header)): header for header in raw.columns}
    bad: dict[str, list[int]] = {}
    for problem in problems:
        if problem.column != "patient_id":
            bad.setdefault(problem.column, []).append(problem.row - 2)
    for column, rows in bad.items():
        cells = table[column].astype(object).where(table[column].notna(), None)
        cells.iloc[rows] = raw[headers[column]].iloc[rows].to_numpy(dtype=object)
        table[column] = cells
    return table


def read_cohort_folder(root: Path) -> Cohort:
    """Read a cohort folder: ``clinical.csv`` (or ``.parquet``), optional ``cohort.yaml`` and imaging manifest.

    Raises
    ------
    InputError
        If the folder or its clinical table is absent or unusable as a whole.
    """
    if not root.is_dir():
        raise InputError("the cohort folder is missing", expected="a folder with clinical.csv", got="no such folder")
    notes_path = root / "cohort.yaml"
    notes = load_config(CohortNotes, notes_path) if notes_path.is_file() else CohortNotes()
    raw = read_raw(find_table(root, "clinical"), what="clinical table")
    rows = clean_clinical(raw, ignore=notes.ignore_columns, notes=notes)
    imaging: pd.DataFrame | None = None
    bad_scans: tuple[Exclusion, ...] = ()
    if any((root / f"imaging{suffix}").is_file() for suffix in (".csv", ".parquet")):
        imaging, bad_scans = clean_imaging(
            read_raw(find_table(root, "imaging"), what="imaging manifest"),
            set(rows.table["patient_id"]),
            rows.exclusions,
        )
    return Cohort(
        name=notes.name,  # never that of the folder, which may be called after a patient
        clinical=rows.table,
        patients_in=rows.patients_in,
        exclusions=rows.exclusions + bad_scans,
        notes=notes,
        imaging=imaging,
        root=root,
        simulated=(root / "truth.json").is_file(),
        origins=rows.origins,
    )


def without_dates(clinical: pd.DataFrame) -> pd.DataFrame:
    """A clinical table to be kept with results: days of the calendar identify patients, and the rules have read them.

    >>> without_dates(pd.DataFrame({"patient_id": ["a"], "crlm_diagnosis_date": ["2020-01-31"]})).columns.tolist()
    ['patient_id']
    """
    known = load_schema("clinical").columns
    return clinical[[name for name in clinical.columns if name not in known or known[name].type != "date"]]


def find_table(root: Path, name: str) -> Path:
    """``root/name.csv`` or ``root/name.parquet``.

    Raises
    ------
    InputError
        If neither exists, or both do.
    """
    found = [p for p in (root / f"{name}.csv", root / f"{name}.parquet") if p.is_file()]
    if len(found) != 1:
        raise InputError(
            f"the cohort folder needs one {name} table",
            expected=f"{name}.csv or {name}.parquet",
            got="both" if found else "neither",
        )
    return found[0]


def clean_imaging(
    raw: pd.DataFrame, known: set[str], earlier: Iterable[Exclusion] = ()
) -> tuple[pd.DataFrame, tuple[Exclusion, ...]]:
    """Type and check an imaging manifest; a bad row costs its scan.

    ``known`` holds the patients of the clinical table; a scan of anybody else is excluded as ``unknown_patient``
    (patients who were excluded ``earlier`` need no second reason).
    """
    parsed = parse_table(raw, load_schema("imaging"))
    table = parsed.table
    gone = {e.patient_id for e in earlier}
    exclusions = []
    reasons: dict[int, tuple[str, str]] = {}
    for problem in parsed.problems:
        reasons.setdefault(problem.row - 2, (problem.code, problem.sentence()))
    keys = list(load_schema("imaging").key)
    repeated = table.duplicated(keys, keep=False)
    for position in _out_of_order(table):
        text = (
            f"row {position + 2}: the scan contradicts the order of baseline, restaging and preoperative in study_day"
        )
        reasons.setdefault(position, ("scans_out_of_order", text))
    for position, (key, timepoint) in enumerate(zip(table["patient_id"], table["timepoint"], strict=True)):
        code, reason = reasons.get(position, ("", ""))
        if not code and key not in known and key not in gone:
            code, reason = "unknown_patient", f"row {position + 2}: the clinical table has no such patient"
        elif not code and repeated.iloc[position]:
            code, reason = "duplicate_scan", f"row {position + 2}: the same scan and mask stand in several rows"
        if code:
            reasons[position] = (code, reason)
            exclusions.append(
                Exclusion(
                    str(key) if pd.notna(key) else f"(row {position + 2})",
                    "ingest",
                    code,
                    reason,
                    timepoint=str(timepoint),
                )
            )
    keep = [i for i in range(len(table)) if i not in reasons and table["patient_id"].iloc[i] in known]
    return table.iloc[keep].reset_index(drop=True), tuple(exclusions)


def _out_of_order(table: pd.DataFrame) -> list[int]:
    """Rows of scans that are dated before a scan of an earlier moment, or after one of a later moment."""
    if "study_day" not in table:
        return []
    moment = table["timepoint"].map({name: rank for rank, name in enumerate(AVAILABILITY)}).astype("Float64")
    dated = pd.DataFrame({"key": table["patient_id"], "moment": moment, "day": table["study_day"]}).dropna()
    key, moment, day = dated["key"], dated["moment"].astype(float), dated["day"].astype(float)
    wrong = pd.Series(False, index=dated.index)
    for rank in moment.unique():
        latest_before = day[moment < rank].groupby(key[moment < rank]).max()
        first_after = day[moment > rank].groupby(key[moment > rank]).min()
        wrong |= (moment == rank) & ((day < key.map(latest_before)) | (day > key.map(first_after)))
    return sorted(int(row) for row in dated.index[wrong])


def summarise(clinical: pd.DataFrame, available_at: Mapping[str, str]) -> list[dict[str, object]]:
    """Population table: per variable how many values are known and missing, its unit, and when it is known.

    ``summary`` holds ``median, lower, upper`` (quartiles) of numbers with at least 5 known values, and ``counts`` per
    category otherwise. Whoever shows counts hides the small ones.
    """
    schema = load_schema("clinical")
    rows: list[dict[str, object]] = []
    for name in clinical.columns:
        spec = schema.columns.get(name)
        if spec is None or not spec.predictor:
            continue
        known = clinical[name].dropna()
        rows.append(
            {
                "variable": name,
                "unit": spec.unit,
                "known": len(known),
                "missing": len(clinical) - len(known),
                "summary": _summary(known, spec),
                "available_at": available_at.get(name, spec.available_at),
            }
        )
    return rows


def _summary(known: pd.Series, spec: ColumnSpec) -> str | dict[str, object]:
    if spec.type in ("int", "float"):
        if len(known) < _SMALLEST_CELL:
            return f"fewer than {_SMALLEST_CELL} known"
        lower, median, upper = known.astype(float).quantile([0.25, 0.5, 0.75]).tolist()
        return {"median": median, "lower": lower, "upper": upper}
    named = [("yes", True), ("no", False)] if spec.type == "bool" else [(level, level) for level in spec.allowed]
    return {"counts": {label: int((known == level).sum()) for label, level in named}}
