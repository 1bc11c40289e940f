"""The delivered clinical risk score of the TCIA cohort against known values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.evaluation.discrimination import auc, harrell_c
from radiomics_crlm.evaluation.outcome import horizon_labels, make_outcome


@pytest.fixture(scope="module")
def table(shared_data: Path) -> pd.DataFrame:
    path = shared_data / "tcia_crlm_clinical" / "clinical_april2023.csv"
    if not path.is_file():
        pytest.skip("the TCIA clinical table is absent")
    rows = pd.read_csv(path)
    return rows[rows["clinrisk_score"] != -999]


def _recurrence_code(table: pd.DataFrame) -> np.ndarray:
    """1 recurrence, 2 death without it (event-free survival counts both)."""
    recurred = table["progression_or_recurrence"].to_numpy() == 1
    return np.where(recurred, 1, np.where(table["vital_status_DFS"].to_numpy() == 1, 2, 0))


@pytest.mark.parametrize(
    ("event", "months", "expected"),
    [
        ("vital_status", "overall_survival_months", 0.605),
        ("vital_status_DFS", "months_to_DFS_progression", 0.568),
        (None, "months_to_DFS_progression", 0.574),
    ],
)
def test_concordance(table: pd.DataFrame, event: str | None, months: str, expected: float) -> None:
    codes = _recurrence_code(table) if event is None else table[event].to_numpy()
    assert len(table) == 168
    assert harrell_c(make_outcome(codes, table[months]), table["clinrisk_score"]) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("horizon", "expected"), [(12, 0.605), (24, 0.613)])
def test_auc_of_recurrence(table: pd.DataFrame, horizon: float, expected: float) -> None:
    y = make_outcome(_recurrence_code(table), table["months_to_DFS_progression"])
    label, weight = horizon_labels(y, horizon)
    assert auc(label, table["clinrisk_score"], weight) == pytest.approx(expected, abs=0.005)
