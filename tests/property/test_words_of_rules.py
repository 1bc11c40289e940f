"""Words and numbers of a table are those of its patients one by one, whatever the cells."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiomics_crlm import clinical
from radiomics_crlm.clinical.table import _shown
from radiomics_crlm.clinical.vocabulary import vocabulary

_NUMBERS = st.one_of(
    st.sampled_from([0, 0.5, 1, 2, 3, 5, 9, 12, 12.000000001, 30, 50, 50.0000000005, 70, 100, 200, 350, 10**6, -1]),
    st.floats(0, 120),
    st.integers(0, 60),
    st.sampled_from([None, math.nan, math.inf, "30", "many", True]),
)


def cells(name: str) -> st.SearchStrategy[Any]:
    """Cells of an input: fine, unknown, or not to be accepted."""
    spec = vocabulary()[name]
    if spec.type == "bool":
        return st.sampled_from([True, False, None, 1, "false", "perhaps"])
    if spec.type == "enum":
        return st.sampled_from([*spec.allowed, None, "no such category"])
    if spec.type == "date":
        return st.one_of(st.dates(), st.sampled_from([None, "2024-02-29", "2024-02-30", 20240229]))
    return _NUMBERS


def in_words(name: str, row: dict[str, Any]) -> tuple[str, float | None]:
    """One patient by the engine, in the words of a row of the long table."""
    result = clinical.evaluate(name, row)
    return clinical.rule_text(_shown(result)), result.value if result.score is None else result.score


@pytest.mark.parametrize(
    "name", ["fong_crs", "tbs2018", "timing_eahpba2023", "timing_dfi", "sflr", "recist11", "icg_kpost", "plato_mcs"]
)
def test_a_table_is_its_patients(name: str) -> None:
    row = st.fixed_dictionaries({column: cells(column) for column in clinical.inputs_of(name)})

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.lists(row, min_size=1, max_size=8))
    def check(rows: list[dict[str, Any]]) -> None:
        table = pd.DataFrame(
            {key: pd.Series([one[key] for one in rows], dtype=object) for key in clinical.inputs_of(name)}
        )
        words, number = clinical.shown(table, [name])[name]
        for place, one in enumerate(rows):
            text, expected = in_words(name, one)
            assert words[place] == text
            assert math.isnan(number[place]) if expected is None else number[place] == expected

    check()
