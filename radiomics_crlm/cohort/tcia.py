"""The TCIA collection Colorectal-Liver-Metastases: its clinical table, and the radMLBench features of 90 of its
patients.

The mapping to canonical names and units is data (``configs/layouts/tcia_crlm.yaml``). Files are found by their
header, so that no experiment names a path.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.cohort.clinical import CleanRows, Cohort, clean_clinical
from radiomics_crlm.cohort.exclusions import Exclusion
from radiomics_crlm.cohort.units import CONVERTED
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import sha256_file
from radiomics_crlm.provenance.tables import read_packed, read_raw
from radiomics_crlm.resources import shipped_yaml
from radiomics_crlm.schema import MISSING_CODES

_MAX_DEPTH = 3
_SEGMENTS = {
    "Liver_Remnant": "remnant",
    "Liver": "liver",
    "Hepatic": "hepatic_veins",
    "Portal": "portal_vein",
    "Tumor_1": "tumour_1",
}


def read_tcia_clinical(data: Path, *, radiomics: bool = False) -> Cohort:
    """Read the clinical table found below ``data``, in canonical names and units.

    Parameters
    ----------
    data
        Folder that holds the table (at most three levels down).
    radiomics
        Join, by key, the radMLBench feature table of 90 of the patients; the others are excluded as
        ``no_radiomics_row``. Those 90 are alive at last contact, so nothing learned from them is a claim about
        prognosis.

    Raises
    ------
    InputError
        If no table or several different ones fit, or a column of the layout is absent.
    """
    layout = _layout()
    rows = read_tcia_table(find_tcia_clinical(data))
    exclusions, clinical, features = rows.exclusions, rows.table, None
    origins = rows.origins
    if radiomics:
        features = read_radmlbench(data)
        joined = clinical["patient_id"].isin(features["patient_id"])
        exclusions += tuple(
            Exclusion(key, "ingest", "no_radiomics_row", "the radiomics table has no row for the patient")
            for key in clinical.loc[~joined, "patient_id"]
        )
        unknown = sorted(set(features["patient_id"]) - set(rows.table["patient_id"]))
        if unknown:
            raise InputError(
                "the radiomics table holds patients that the clinical table lacks", got=f"{len(unknown)} unknown keys"
            )
        clinical, origins = clinical[joined].reset_index(drop=True), origins[joined].reset_index(drop=True)
    return Cohort(
        name=layout["name"],
        clinical=clinical,
        patients_in=rows.patients_in,
        exclusions=exclusions,
        notes=CohortNotes(name=layout["name"], citation=layout["citation"], available_at=layout["available_at"]),
        features_patient=features,
        origins=origins,
    )


def has_tcia_clinical(data: Path) -> bool:
    """Whether the clinical table of the collection lies below a folder, recognised by its headers."""
    signature = set(shipped_yaml("configs/layouts/tcia_crlm.yaml")["signature"])
    return any(signature <= set(_header(path)) for path in _files(data, ".csv"))


def find_tcia_clinical(data: Path) -> Path:
    """The clinical table below a folder, by its header.

    Raises
    ------
    InputError
        If no table or several different ones fit.
    """
    return _find(data, ".csv", set(_layout()["signature"]), "the clinical table of TCIA Colorectal-Liver-Metastases")


def is_tcia_clinical(path: Path) -> bool:
    """Whether a file has the header of the clinical table."""
    return path.suffix == ".csv" and path.is_file() and set(_layout()["signature"]) <= set(_header(path))


def read_tcia_table(path: Path, *, keep_bad_cells: bool = False) -> CleanRows:
    """One clinical table in canonical names and units (``keep_bad_cells`` as in ``clean_clinical``).

    Raises
    ------
    InputError
        If a column of the layout is absent.
    """
    layout = _layout()
    raw = read_raw(path, what="clinical table")
    mapped = apply_layout(raw.rename(columns=str.strip), layout)
    rows = clean_clinical(mapped, keep_bad_cells=keep_bad_cells)
    units = {rule["to"]: rule["unit"] for rules in layout["columns"].values() for rule in rules if "unit" in rule}
    converted = {name: CONVERTED.format(unit) for name, unit in units.items()}
    return replace(rows, origins=rows.origins.reindex(rows.table.index).assign(**converted))


def _layout() -> dict[str, Any]:
    layout: dict[str, Any] = shipped_yaml("configs/layouts/tcia_crlm.yaml")
    return layout


def apply_layout(raw: pd.DataFrame, layout: Mapping[str, Any]) -> pd.DataFrame:
    """Map foreign columns to canonical names and units; texts that are no number pass unchanged and fail the schema
    later.

    Raises
    ------
    InputError
        If a column of the layout is absent, or the table has one that the layout does not know.
    """
    expected, dropped = set(layout["columns"]), set(layout["drop"])
    absent, unknown = sorted(expected - set(raw.columns)), sorted(set(raw.columns) - expected - dropped)
    if absent or unknown:
        raise InputError(
            "the table does not fit its layout",
            expected="columns " + ", ".join(absent) if absent else "no further columns",
            got="unknown columns " + ", ".join(map(repr, unknown)) if unknown else "a table without them",
        )
    columns = {
        rule["to"]: raw[header].map(lambda cell, rule=rule: _convert(cell, rule))
        for header, rules in layout["columns"].items()
        for rule in rules
    }
    return pd.DataFrame(columns)


def _convert(cell: str, rule: Mapping[str, Any]) -> str:
    cell = cell.strip()
    if cell.casefold() in MISSING_CODES:
        return ""
    if "map" in rule:
        return str(rule["map"].get(re.sub(r"\.0$", "", cell), cell))
    if "multiply" not in rule:
        return cell
    percent = cell.endswith("%")
    try:
        number = float(cell.rstrip("%")) / (100 if percent else 1)
    except ValueError:
        return cell
    if number == 0 and rule.get("zero_is_missing"):
        return ""
    # Six decimals: 1.1 cm is 11 mm, not 11.000000000000002.
    return repr(round(number * rule["multiply"] + rule.get("add", 0), 6))


def read_radmlbench(data: Path) -> pd.DataFrame:
    """The radMLBench table as ``features_patient``: 525 features of five regions, z-scored over its 90 rows by its
    authors.

    Raises
    ------
    InputError
        If no table fits, or a key stands in it twice.
    """
    path = _find(data, ".gz", {"ID", "Target", "Liver_original_shape_Elongation"}, "the radMLBench feature table")
    raw = read_packed(path, what="the radMLBench feature table")
    if raw["ID"].duplicated().any():
        raise InputError("the radMLBench table holds a key twice", expected="one row per patient")
    # Target is left behind: it is follow-up below 120 months among survivors, no prognosis.
    names = {c: _feature_name(c) for c in raw.columns if c not in ("ID", "Target")}
    keys = pd.DataFrame(
        {"patient_id": raw["ID"], "timepoint": "preoperative", "modality": "CT", "sequence": "portal_venous"}
    )
    # The copy gathers hundreds of single-column blocks, on which later column inserts would be slow.
    return pd.concat([keys, raw[list(names)].rename(columns=names).astype(np.float64)], axis=1).copy()


def _feature_name(column: str) -> str:
    for segment, region in _SEGMENTS.items():
        if column.startswith(f"{segment}_original_"):
            return f"{region}__{column[len(segment) + 1 :]}"
    raise InputError("the radMLBench table has a column of an unknown region", expected=", ".join(_SEGMENTS))


def _find(data: Path, suffix: str, signature: set[str], what: str) -> Path:
    if not data.is_dir():
        raise InputError("the data folder is missing", expected="an existing folder", remedy="check --data")
    found: dict[str, Path] = {}
    for path in _files(data, suffix):
        if signature <= set(_header(path)):
            found.setdefault(sha256_file(path), path)
    if len(found) != 1:
        raise InputError(
            f"{what} was {'not found' if not found else 'found in several different versions'}",
            expected=f"one {suffix} file below --data whose header has " + ", ".join(sorted(signature)),
            got=f"{len(found)} files",
            remedy="point --data at the folder that holds it" if not found else "keep one of them",
        )
    return next(iter(found.values()))


def _files(root: Path, suffix: str) -> Iterator[Path]:
    for depth in range(_MAX_DEPTH):
        yield from sorted(p for p in root.glob("*/" * depth + f"*{suffix}") if p.is_file())


def _header(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as stream:
            return [name.strip().strip('"') for name in stream.readline(1_000_000).rstrip("\n").split(",")]
    except (OSError, UnicodeDecodeError, EOFError, zlib.error):
        return []
