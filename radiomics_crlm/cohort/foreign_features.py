"""Features that another program made: a table per patient and scan that joins a cohort by key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from radiomics_crlm.cohort.clinical import Cohort
from radiomics_crlm.cohort.exclusions import Exclusion
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_raw
from radiomics_crlm.schema import load_schema, parse_table

_MOST_TOLD = 5


def with_features(cohort: Cohort, name: str) -> Cohort:
    """The cohort with the features of a table in its folder; patients without a row stay and have none.

    Rows of patients whom the clinical table does not know are excluded as ``unknown_patient``.

    Parameters
    ----------
    cohort
        A cohort that was read from a folder.
    name
        File in that folder, .csv or .parquet, with the columns of the schema ``features_patient``; an empty cell is
        an unknown feature.

    Raises
    ------
    InputError
        If the file is absent or lies elsewhere, has unknown columns or no feature, holds a cell that is no number, or
        two rows of one scan.
    """
    table = _read(cohort.root, name)
    excluded = {e.patient_id for e in cohort.exclusions}
    known = table["patient_id"].isin(cohort.clinical["patient_id"])
    strangers = [key for key in dict.fromkeys(table.loc[~known, "patient_id"]) if key not in excluded]
    exclusions = tuple(
        Exclusion(key, "ingest", "unknown_patient", "the clinical table has no such patient", timepoint="any")
        for key in strangers
    )
    if not known.any():
        raise InputError("no row of the feature table is of a patient of the clinical table", where=Path(name).name)
    return replace(
        cohort,
        features_patient=table[known].reset_index(drop=True),
        exclusions=(*cohort.exclusions, *exclusions),
    )


def _read(root: Path | None, name: str) -> pd.DataFrame:
    shown = Path(name).name
    path = None if root is None else (root / name).resolve()
    if root is None or path is None or not path.is_relative_to(root.resolve()):
        raise InputError("the feature table must lie in the cohort folder", where=shown)
    schema = load_schema("features_patient")
    # -999 may be a true value of a feature, so only empty cells are unknown.
    raw = read_raw(path, what="feature table").replace("", None)
    parsed = parse_table(raw, schema, missing_codes=False)
    if parsed.problems:
        told = "; ".join(problem.sentence() for problem in parsed.problems[:_MOST_TOLD])
        raise InputError("the feature table has wrong cells", where=shown, got=f"{len(parsed.problems)}: {told}")
    if not any("__" in column for column in parsed.table.columns):
        raise InputError("the feature table has no feature", where=shown, expected="columns such as largest__NAME")
    if parsed.table.duplicated(list(schema.key)).any():
        raise InputError("the feature table has two rows of one scan", where=shown, expected=", ".join(schema.key))
    return parsed.table
