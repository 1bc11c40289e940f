"""Cells of every kind as numbers, and back."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.clinical.vocabulary import decode, encode, negative_intervals, vocabulary

NAN = float("nan")


def read(name: str, cells: Any) -> list[float | str | None]:
    """Code of each cell, None for unknown, ``refused`` for refused."""
    codes, refused = encode(vocabulary()[name], cells)
    assert (codes.dtype, refused.dtype) == (np.float64, np.bool_)
    assert np.isnan(codes[refused]).all()
    return ["refused" if bad else None if np.isnan(code) else code for code, bad in zip(codes, refused, strict=True)]


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("cea_ng_ml", [1, 2.5, "3", " 4 ", None, NAN, pd.NA], [1.0, 2.5, 3.0, 4.0, None, None, None]),
        ("cea_ng_ml", [True, "x", -1, 1e6, float("inf"), "nan", [1]], ["refused"] * 7),
        ("cea_ng_ml", [0, 100000, np.float32(2), np.int64(3)], [0.0, 100000.0, 2.0, 3.0]),
        ("n_liver_mets", [1, 200, "7", 2.0], [1.0, 200.0, 7.0, 2.0]),
        ("n_liver_mets", [0, 201, 2.5, "2.5", np.True_], ["refused"] * 5),
        ("bilobar", [True, False, "true", " FALSE ", "1", "0", 1, 0.0], [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]),
        ("bilobar", [np.True_, np.False_, None, pd.NaT], [1.0, 0.0, None, None]),
        ("bilobar", ["yes", 2, -1, 0.5, "", [True]], ["refused"] * 6),
        ("primary_pn_category", ["N0", " N1 ", "N2", None, NAN], [0.0, 1.0, 2.0, None, None]),
        ("primary_pn_category", ["n0", "N3", 0, True, "", ["N0"]], ["refused"] * 6),
        ("crlm_diagnosis_date", ["1970-01-01", " 1970-01-02 ", "1970-01-03T23:59:00"], [719163.0, 719164.0, 719165.0]),
        (
            "crlm_diagnosis_date",
            [datetime.date(1970, 1, 1), np.datetime64("1970-01-02T12:00"), pd.Timestamp("1970-01-03"), pd.NaT, None],
            [719163.0, 719164.0, 719165.0, None, None],
        ),
        ("crlm_diagnosis_date", ["1.1.1970", 719163, "", ["1970-01-01"]], ["refused"] * 4),
        ("dfi_months", [-0.5, -600, 0, 600], [0.0, 0.0, 0.0, 600.0]),
        ("dfi_months", [-600.1, -999, 600.1], ["refused"] * 3),
    ],
)
def test_cells_one_by_one_and_as_a_column_of_any_kind(name: str, cells: list[Any], expected: list[Any]) -> None:
    assert read(name, cells) == expected
    assert read(name, pd.Series(cells, dtype=object)) == expected


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("cea_ng_ml", pd.Series([1.5, NAN, float("inf"), -1.0]), [1.5, None, "refused", "refused"]),
        ("cea_ng_ml", pd.Series([1, 2]), [1.0, 2.0]),
        ("cea_ng_ml", pd.Series([1, None], dtype="Int64"), [1.0, None]),
        ("cea_ng_ml", pd.Series([1.5, None], dtype="Float64"), [1.5, None]),
        ("cea_ng_ml", pd.Series([True, False]), ["refused", "refused"]),
        ("cea_ng_ml", pd.Series(["1.5", None, "x"], dtype="str"), [1.5, None, "refused"]),
        ("n_liver_mets", pd.Series([3, None], dtype="Int64"), [3.0, None]),
        ("n_liver_mets", pd.Series([3.0, 2.5]), [3.0, "refused"]),
        ("n_liver_mets", pd.Series([True, None], dtype="boolean"), ["refused", None]),
        ("bilobar", pd.Series([True, False]), [1.0, 0.0]),
        ("bilobar", pd.Series([True, None], dtype="boolean"), [1.0, None]),
        ("bilobar", pd.Series([1.0, 0.0, 2.0, NAN]), [1.0, 0.0, "refused", None]),
        ("bilobar", pd.Series([1, None], dtype="Int64"), [1.0, None]),
        ("bilobar", pd.Series(["true", None], dtype="str"), [1.0, None]),
        ("primary_pn_category", pd.Series(["N1", None, "N1", "N9"], dtype="str"), [1.0, None, 1.0, "refused"]),
        ("primary_pn_category", pd.Series([1.0, NAN]), ["refused", None]),
        ("primary_pn_category", pd.Series([True, False]), ["refused", "refused"]),
        ("crlm_diagnosis_date", pd.Series(pd.to_datetime(["1970-01-02", None])), [719164.0, None]),
        ("crlm_diagnosis_date", pd.Series([1.0, NAN]), ["refused", None]),
    ],
)
def test_typed_columns(name: str, column: pd.Series, expected: list[Any]) -> None:
    assert read(name, column) == expected


def test_equal_cells_of_another_kind_stay_apart() -> None:
    cells = pd.Series([1, True, "1", 1.0, None], dtype=object)
    assert read("cea_ng_ml", cells) == [1.0, "refused", 1.0, 1.0, None]
    assert read("n_liver_mets", cells) == [1.0, "refused", 1.0, 1.0, None]


def test_intervals_read_as_zero_are_marked() -> None:
    cells = [-2, "-3", -600, -600.1, -999, 0, 5, None, "x"]
    for column in (cells, pd.Series(cells, dtype=object)):
        found = negative_intervals({"dfi_months": column, "cea_ng_ml": [-1.0] * 9, "bilobar": [True] * 9})
        assert {name: marked.tolist() for name, marked in found.items()} == {"dfi_months": [True] * 3 + [False] * 6}
    assert negative_intervals({"dfi_months": [0, 600, None, "x"]}) == {}
    assert negative_intervals({"cea_ng_ml": [-1.0]}) == {}


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("bilobar", 1.0, True),
        ("bilobar", 0.0, False),
        ("bilobar", NAN, None),
        ("primary_pn_category", 2.0, "N2"),
        ("crlm_diagnosis_date", 719164.0, datetime.date(1970, 1, 2)),
        ("n_liver_mets", 3.0, 3.0),
        ("crlm_diagnosis_date", NAN, None),
    ],
)
def test_codes_become_values_again(name: str, code: float, expected: object) -> None:
    got = decode(vocabulary()[name], code)
    assert got == expected
    assert type(got) is type(expected)
