"""The stability of features that a study chose its inputs by, on its way from ``crlm robustness`` to the card."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.provenance.tables import read_table, write_table

_TABLE = "feature_stability"


def write_stability(experiment: ExperimentConfig, data: Path | None, tables: Path) -> bool:
    """Write the table ``feature_stability`` that stands beside the perturbed features an experiment names.

    Parameters
    ----------
    experiment
        Names the tables of perturbed features (``robustness.table`` of its feature sets).
    data
        Folder that these names start from; the current one by default.
    tables
        Folder of the tables of the study.

    Returns
    -------
    bool
        Whether there was one; a study without one is none the worse.

    Raises
    ------
    InputError
        If one is there and breaks its schema.
    """
    named = [
        selection.robustness.table
        for feature_set in experiment.feature_sets.values()
        for selection in feature_set.selections
        if selection.robustness
    ]
    root = Path() if data is None else data
    beside = [(root / name).with_name(f"{_TABLE}.parquet") for name in dict.fromkeys(named)]
    found = [read_table(path, _TABLE) for path in dict.fromkeys(beside) if path.is_file()]
    if not found:
        return False
    key = ["modality", "sequence", "raters", "feature"]
    write_table(pd.concat(found, ignore_index=True).drop_duplicates(key), tables / f"{_TABLE}.parquet", _TABLE)
    return True
