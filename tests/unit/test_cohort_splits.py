"""Outer folds: complete, balanced, independent of row order, drawn once for all endpoints."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.cohort.splits import (
    design_folds,
    draw_folds,
    of_tested,
    outcome_status,
    refuse_duplicates,
    temporal_folds,
)
from radiomics_crlm.config import DesignConfig, parse_config
from radiomics_crlm.errors import ConfigError, InputError


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


def design(**changes: object) -> DesignConfig:
    return parse_config(DesignConfig, {"seed": 3, **changes}, where="design")


def charts(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": [f"P{i:03d}" for i in range(6)], **columns})


STATUS = pd.DataFrame({"e": list("010101")}, index=charts()["patient_id"])


def test_the_plain_design_is_that_of_the_draw():
    made = design_folds(charts(), STATUS, design(outer_folds=3, repeats=2))
    pd.testing.assert_frame_equal(made, draw_folds(STATUS, folds=3, repeats=2, seed=3))


def test_each_centre_is_one_fold():
    table = charts(centre=["west", "east", "west", "north", "east", "west"])
    chosen = design(kind="leave_one_centre_out", column="centre")
    made = design_folds(table.sample(frac=1, random_state=0), STATUS, chosen)
    assert made["fold"].tolist() == [2, 0, 2, 1, 0, 2]
    assert made["patient_id"].tolist() == table["patient_id"].tolist()
    assert set(made["repeat"]) == {0}


def test_time_is_cut_where_it_is_told():
    chosen = design(kind="temporal", column="operation_year", cuts=[2005, 2010])
    made = design_folds(charts(operation_year=pd.array([2011, 2004, 2005, 2010, 2009, 1999])), STATUS, chosen)
    assert made["fold"].tolist() == [2, 0, 1, 2, 1, 0]
    dates = pd.to_datetime(["2011-05-01", "2004-01-01", "2005-03-01", "2010-01-01", "2009-12-31", "1999-01-01"])
    dated = design(kind="temporal", column="therapy_start_date", cuts=["2005-03-01", "2010-01-01"])
    again = design_folds(charts(therapy_start_date=dates), STATUS, dated)
    pd.testing.assert_frame_equal(made, again)


@pytest.mark.parametrize("blocks", [2, 3, 5])
def test_blocks_of_time_are_ordered_and_about_equal(blocks):
    year = pd.Series(np.random.default_rng(blocks).integers(1990, 2020, 200), name="operation_year")
    fold = temporal_folds(year, blocks=blocks).set_index("patient_id")["fold"].loc[year.index]
    parts = [year[fold == block] for block in range(blocks)]
    assert all(a.max() < b.min() for a, b in itertools.pairwise(parts))
    assert max(map(len, parts)) - min(map(len, parts)) < 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "leave_one_centre_out"}, "needs a column"),
        ({"column": "centre"}, "needs no column"),
        ({"kind": "temporal", "column": "operation_year", "repeats": 3}, "cannot be repeated"),
        ({"kind": "temporal", "column": "operation_year", "cuts": [2010, 2005]}, "and rise"),
        ({"kind": "temporal", "column": "operation_year", "cuts": [2005], "outer_folds": 5}, "1 cuts make 2 blocks"),
        ({"kind": "leave_one_centre_out", "column": "centre", "cuts": [2005]}, "cuts are for the design temporal"),
    ],
)
def test_designs_that_contradict_themselves(content, message):
    with pytest.raises(ConfigError, match=message):
        design(**content)


def test_a_design_survives_the_record_of_the_run():
    for chosen in (
        design(),
        design(kind="temporal", column="operation_year", cuts=[2005]),
        design(kind="temporal", column="therapy_start_date", cuts=["2005-03-01"]),
        design(kind="leave_one_centre_out", column="centre", external={"oslo": "oslo"}),
    ):
        assert parse_config(DesignConfig, chosen.model_dump(mode="json"), where="run") == chosen


CENTRE = {"kind": "leave_one_centre_out", "column": "centre"}
YEAR = {"kind": "temporal", "column": "operation_year"}


@pytest.mark.parametrize(
    ("columns", "content", "error", "message"),
    [
        ({}, CENTRE, ConfigError, "lacks the column of the design.*expected centre"),
        ({"centre": "west"}, CENTRE, InputError, "one centre.*at least 2 centres; got 1"),
        ({"centre": ["a", None, "b", "a", None, "b"]}, CENTRE, InputError, "2 of 6 patients lack a value"),
        ({"centre": list("ababab")}, {**YEAR, "column": "centre"}, ConfigError, "no order"),
        ({"operation_year": 2001}, YEAR, InputError, "1 of 2 blocks of time hold no patient"),
        ({"operation_year": range(6)}, {**YEAR, "cuts": ["2001-01-01"]}, ConfigError, "do not fit.*expected numbers"),
    ],
)
def test_designs_that_do_not_fit_the_cohort(columns, content, error, message):
    with pytest.raises(error, match=message):
        design_folds(charts(**columns), STATUS, design(**content))


@pytest.mark.parametrize("content", [CENTRE, {**YEAR, "outer_folds": 3}])
def test_a_patient_in_two_rows_of_the_chart_is_in_no_fold(content):
    table = charts(centre=list("abcabc"), operation_year=range(2000, 2006))
    with pytest.raises(InputError, match="a patient stands twice in the list to be split; expected unique"):
        design_folds(pd.concat([table, table.iloc[:1]]), STATUS, design(**content))


def test_the_first_block_of_time_is_fitted_and_never_tested():
    table = charts(operation_year=range(2000, 2006))
    forward = design(**YEAR, outer_folds=3)
    made = design_folds(table, STATUS, forward)
    assert of_tested(table, made, forward)["patient_id"].tolist() == ["P002", "P003", "P004", "P005"]
    crossed = design(outer_folds=3)
    pd.testing.assert_frame_equal(of_tested(table, design_folds(table, STATUS, crossed), crossed), table)


def test_a_patient_in_two_cohorts_is_refused():
    refuse_duplicates(["a", "b"], {"oslo": ["c"], "rome": ["d"]})
    with pytest.raises(InputError, match="the development cohort and oslo: 2 patients are in two cohorts"):
        refuse_duplicates(["a", "b", "c"], {"oslo": ["c", "b"]})
    with pytest.raises(InputError, match="oslo and rome: 1 patients are in two cohorts"):
        refuse_duplicates(["a"], {"oslo": ["c", "b"], "rome": ["b"]})
