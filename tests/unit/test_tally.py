"""Counts of a cohort: blocks add up to the whole, exactly, in any order and through JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scoring_examples import CLINICAL, content, training_table

from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.scoring.shape import describe_shift
from radiomics_crlm.scoring.tally import SUM_UNIT, Tally

ROWS = 97
SCANS = pd.DataFrame({"scanner": ["A"] * 40 + ["B"] * 50 + [None] * 60, "slice_thickness_mm": [1.0, 2.5, 5.0] * 50})
INSIDE = content(shift=describe_shift(training_table(CLINICAL), CLINICAL, SCANS))
TABLE = training_table(CLINICAL, rows=ROWS, seed=5).reset_index(drop=True)
RNG = np.random.default_rng(0)
PROBABILITY = np.sort(RNG.random((ROWS, 3)), axis=1)
OUTCOME = make_outcome(RNG.integers(0, 3, ROWS), RNG.exponential(20, ROWS))


def block(rows: slice) -> Tally:
    scans = SCANS.iloc[:ROWS].iloc[rows]
    return Tally.of(INSIDE, TABLE.iloc[rows], scans, PROBABILITY[rows], outcome=OUTCOME[rows])


WHOLE = block(slice(None))


@pytest.mark.parametrize("size", [1, 10, 96])
def test_blocks_add_up_in_any_order(size: int) -> None:
    blocks = [block(slice(start, start + size)) for start in range(0, ROWS, size)]
    for parts in (blocks, blocks[::-1]):
        assert sum(parts, Tally()) == WHOLE


def test_json_gives_the_same_tally() -> None:
    assert Tally.from_json(json.loads(json.dumps(WHOLE.to_json()))) == WHOLE
    assert Tally.from_json(json.loads(json.dumps(Tally().to_json()))) == Tally()


def test_every_patient_is_counted_once_per_input() -> None:
    assert WHOLE.rows == ROWS
    for column in [*WHOLE.inputs.values(), *WHOLE.scans.values()]:
        assert sum(column.counts) + column.missing == ROWS
    assert sum(WHOLE.inputs["cea_ng_ml"].scale.values()) == TABLE["cea_ng_ml"].notna().sum()
    assert sum(WHOLE.followed.values()) == ROWS


def test_sums_of_probabilities_are_those_of_the_rows() -> None:
    for column, month in enumerate((12, 24, 36)):
        n, total = WHOLE.predicted[month]
        assert n == ROWS
        assert total / SUM_UNIT == pytest.approx(PROBABILITY[:, column].sum(), abs=1e-7)
    assert WHOLE.expected == WHOLE.predicted


def test_rows_without_a_probability_are_not_expected_anything() -> None:
    probability = PROBABILITY.copy()
    probability[:7] = np.nan
    found = Tally.of(INSIDE, TABLE, None, probability, outcome=OUTCOME)
    assert found.predicted[12][0] == found.expected[12][0] == ROWS - 7
    assert sum(found.followed.values()) == ROWS - 7
    assert found.scans["scanner"].missing == ROWS


def test_only_the_months_that_are_spoken_of() -> None:
    found = Tally.of(INSIDE, TABLE, None, PROBABILITY[:, :1], spoken=(12,))
    assert set(found.predicted) == {12}
    assert found.expected == {}
    assert found.followed == {}


def test_a_bundle_of_before_counts_rows() -> None:
    found = Tally.of(content(), TABLE, SCANS.iloc[:ROWS], PROBABILITY)
    assert found.rows == ROWS
    assert found.inputs == found.scans == {}
