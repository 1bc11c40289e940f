"""Outer folds: complete, balanced, independent of row order, drawn once for all endpoints."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.cohort.splits import draw_folds, outcome_status
from radiomics_crlm.errors import InputError


def status(n: int, rare: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rare_event = np.full(n, "-", dtype=object)
    rare_event[:rare] = "1"
    rare_event[rare : 2 * rare + 3] = "0"
    common = generator.choice(["0", "1", "2"], size=n, p=[0.4, 0.5, 0.1])
    return pd.DataFrame({"common": common, "rare": rare_event}, index=[f"P{i:03d}" for i in range(n)])


@pytest.mark.parametrize(("n", "folds"), [(60, 5), (61, 5), (197, 10), (7, 3)])
def test_each_patient_is_tested_once_per_repeat(n, folds):
    table = draw_folds(status(n, 2), folds=folds, repeats=4, seed=1)
    assert len(table) == 4 * n
    assert not table.duplicated(["patient_id", "repeat"]).any()
    sizes = table.groupby(["repeat", "fold"]).size()
    assert len(sizes) == 4 * folds
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_the_scarcest_endpoint_is_balanced_to_one_patient(seed):
    frame = status(60, 14, seed)
    table = draw_folds(frame, folds=5, repeats=3, seed=seed).join(frame, on="patient_id")
    counts = table[table["rare"] == "1"].groupby(["repeat", "fold"]).size()
    assert len(counts) == 15
    assert counts.min() >= 2
    assert counts.max() <= 3
    other = table[table["common"] == "1"].groupby(["repeat", "fold"]).size()
    assert other.max() - other.min() <= 3


def test_row_order_does_not_matter_and_seeds_and_repeats_differ():
    frame = status(50, 10)
    once = draw_folds(frame, folds=5, repeats=2, seed=3)
    pd.testing.assert_frame_equal(once, draw_folds(frame.sample(frac=1, random_state=0), folds=5, repeats=2, seed=3))
    assert (once["fold"] != draw_folds(frame, folds=5, repeats=2, seed=4)["fold"]).any()
    first, second = (once.loc[once["repeat"] == r, "fold"].to_numpy() for r in (0, 1))
    assert (first != second).any()


def test_more_repeats_keep_the_first_ones():
    frame = status(50, 10)
    short, long = (draw_folds(frame, folds=5, repeats=r, seed=3) for r in (1, 3))
    pd.testing.assert_frame_equal(short, long[long["repeat"] == 0])


def test_status_marks_patients_outside_an_endpoint():
    outcomes = {"a": pd.DataFrame({"patient_id": ["x", "y"], "event": [1, 2]})}
    assert outcome_status(["y", "z", "x"], outcomes)["a"].tolist() == ["2", "-", "1"]


@pytest.mark.parametrize(
    ("index", "folds", "message"),
    [(["a", "a", "b"], 2, "stands twice"), (["a", "b"], 3, "too few patients.*at least 3; got 2 patients")],
)
def test_refusals(index, folds, message):
    with pytest.raises(InputError, match=message):
        draw_folds(pd.DataFrame({"e": "0"}, index=index), folds=folds, repeats=1, seed=0)
