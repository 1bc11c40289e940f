"""A cohort, the bundle that scores it and its scores on disk, for the tests of patient sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scoring_examples import CLINICAL, clinical_raw, content, model
from small_scans import write_small_cohort

from radiomics_crlm.cli.app import run
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.bundle import write_bundle

TEAM = "For research; a multidisciplinary team decides."


@dataclass(frozen=True)
class Scored:
    """Folders of a bundle, a cohort and its scores."""

    bundle: Path
    cohort: Path
    scores: Path

    @property
    def arguments(self) -> list[str]:
        return ["--bundle", str(self.bundle), "--cohort", str(self.cohort), "--scores", str(self.scores)]


def make_scored(
    root: Path,
    *,
    rows: int = 12,
    images: int = 0,
    keys: Mapping[int, str] | None = None,
    cells: Mapping[tuple[int, str], str] | None = None,
    learner: str = "ridge",
    options: Sequence[str] = (),
    **changes: Any,
) -> Scored:
    """Clinical rows (with the given keys and cells), ``images`` scans, a model, and ``crlm score``."""
    folders = Scored(root / "bundle", root / "cohort", root / "scores")
    raw = clinical_raw(rows)
    for row, key in (keys or {}).items():
        raw.loc[row, "patient_id"] = key
    for (row, column), cell in (cells or {}).items():
        raw.loc[row, column] = cell
    folders.cohort.mkdir(parents=True)
    raw.to_csv(folders.cohort / "clinical.csv", index=False)
    if images:
        write_small_cohort(folders.cohort, images, keys=raw["patient_id"].tolist()[:images])
    write_bundle(folders.bundle, content(CLINICAL, **changes), model(CLINICAL, learner=learner))
    arguments = ["--bundle", str(folders.bundle), "--cohort", str(folders.cohort), "--out", str(folders.scores)]
    code = run(["score", *arguments, "--jobs", "1", *options])
    scores = read_table(folders.scores / "scores.parquet", "scores")
    assert code == (0 if (scores["status"] == "scored").all() else 4)
    return folders


def score_row(**changes: Any) -> dict[str, Any]:
    """A row of the table ``scores`` of a scored patient, with all columns that say how uncertain it is."""
    row = {
        "row": 5,
        "patient_id": "P0003",
        "endpoint": "recurrence",
        "model": "clinical/ridge",
        "status": "scored",
        "code": None,
        "reason": None,
        "flags": None,
        "risk": 0.4,
        "probability_12m": 0.312,
        "probability_12m_lower": 0.249,
        "probability_12m_upper": 0.403,
        "outcome_12m": "either",
        "probability_24m": 0.5549,
        "probability_24m_lower": 0.461,
        "probability_24m_upper": 0.6666,
        "outcome_24m": "event",
        "probability_36m": 0.71,
        "outcome_36m": "neither",
        "event_free_months": 7.29,
        "bundle_sha256": "0" * 64,
    }
    return row | changes


def bundle_json(**changes: Any) -> dict[str, Any]:
    """Content of ``bundle.json`` of the example."""
    described: dict[str, Any] = content(CLINICAL, **changes).model_dump(mode="json")
    return described


def cohort_of(n: int, *, months: Sequence[int] = (12, 24, 36)) -> dict[int, list[float]]:
    """Probabilities of n scored patients by month."""
    return {month: np.linspace(0.05, 0.95, n).tolist() for month in months}


def rewrite_scores(folders: Scored, **columns: Any) -> None:
    """Replace columns of the scores, as somebody might who edits them."""
    path = folders.scores / "scores.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path, index=False)
