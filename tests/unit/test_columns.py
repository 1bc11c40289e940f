"""Encoding of tables: every kind of column, and every refusal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.modelling.columns import ColumnSpec, check_columns, encode, input_names

COLUMNS = (
    ColumnSpec("age"),
    ColumnSpec("site", "category", ("colon", "rectum", "other")),
    ColumnSpec("cea", log=True),
    ColumnSpec("sex", "category", ("female", "male")),
    ColumnSpec("node", "boolean"),
)


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "node": pd.array([True, False, None], dtype="boolean"),
            "age": pd.array([60, None, 71], dtype="Int64"),
            "site": ["rectum", None, "colon"],
            "cea": [np.nan, 0.0, np.e - 1],
            "sex": pd.Categorical(["male", "female", None], categories=["male", "female"]),
            "ignored": ["a", "b", "c"],
        }
    )


def test_every_kind() -> None:
    nan = np.nan
    expected = [[60, 0, 1, 0, nan, 1, 1], [nan, nan, nan, nan, 0, 0, 0], [71, 1, 0, 0, 1, nan, nan]]
    np.testing.assert_allclose(encode(_table(), COLUMNS), expected)
    assert input_names(COLUMNS) == ["age", "site=colon", "site=rectum", "site=other", "cea", "sex=male", "node"]


def test_logs_can_be_left_off() -> None:
    assert encode(_table(), COLUMNS, logs=False)[2, 4] == pytest.approx(np.e - 1)


@pytest.mark.parametrize("values", [[True, False, None], [1, 0, np.nan], [1.0, 0.0, None], np.array([1, 0, np.nan])])
def test_booleans_in_any_dress(values: list) -> None:
    out = encode(pd.DataFrame({"b": values}), (ColumnSpec("b", "boolean"),))
    np.testing.assert_array_equal(out, [[1], [0], [np.nan]])


def test_rows_are_encoded_by_themselves() -> None:
    whole = encode(_table(), COLUMNS)
    for row in range(3):
        np.testing.assert_array_equal(encode(_table().iloc[[row]], COLUMNS), whole[[row]])


def test_input_is_not_modified() -> None:
    table = _table()
    encode(table, COLUMNS)
    pd.testing.assert_frame_equal(table, _table())


def test_no_rows() -> None:
    assert encode(_table().iloc[:0], COLUMNS).shape == (0, 7)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"age": ["sixty", 1, 2]}, "age: the column holds text"),
        ({"age": [np.inf, 1, 2]}, "age: a value is infinite in 1 cells"),
        ({"cea": [-1.0, 1, -2]}, "cea: a value is negative but to be logged in 2 cells"),
        ({"node": [2, 1, 0]}, "node: a value is no boolean in 1 cells"),
        ({"node": ["yes", "no", "no"]}, "node: the column holds text"),
        ({"site": ["liver", "colon", "colon"]}, "site: 1 cells hold an unknown category"),
        ({"site": [1, 2, 3]}, "site: 3 cells hold an unknown category"),
        ({"site": ["", "colon", "colon"]}, "site: 1 cells hold an unknown category"),
    ],
)
def test_refuses_cells_without_showing_them(change: dict, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        encode(_table().assign(**change), COLUMNS)
    assert "sixty" not in str(caught.value)
    assert "liver" not in str(caught.value)


def test_refuses_missing_columns() -> None:
    with pytest.raises(InputError, match="age, sex: 2 columns that the model reads are missing"):
        encode(_table().drop(columns=["sex", "age"]), COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("a", "text"), "unknown kind"),
        (("a", "category"), "two or more distinct"),
        (("a", "category", ("x",)), "two or more distinct"),
        (("a", "category", ("x", "x")), "two or more distinct"),
        (("a", "number", ("x", "y")), "two or more distinct"),
        (("a", "boolean", (), True), "only a number can be logged"),
    ],
)
def test_refuses_contradictions(arguments: tuple, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ColumnSpec(*arguments)


def test_refuses_clashes_and_nothing() -> None:
    with pytest.raises(ConfigError, match="a: columns are declared more than once"):
        check_columns([ColumnSpec("a"), ColumnSpec("a", "boolean")])
    with pytest.raises(ConfigError, match="at least one column"):
        check_columns([])
