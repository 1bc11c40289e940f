"""A result as a row of the table."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.clinical.result import RuleResult
from radiomics_crlm.clinical.table import COLUMNS, _shown

NAN = float("nan")
EMPTY: dict[str, Any] = {
    "score": NAN, "value": NAN, "group": None, "lower": NAN, "upper": NAN, "group_certain": None,
    "missing": None, "reason": None, "boundary": None, "details": None,
}  # fmt: skip


def same(left: object, right: object) -> bool:
    nan = [isinstance(one, float) and math.isnan(one) for one in (left, right)]
    return all(nan) or (left == right and type(left) is type(right) and not any(nan))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (RuleResult("ok", extra={"met": True, "failed": []}), {"group": "met"}),
        (RuleResult("ok", extra={"met": False, "failed": ["a", "b"]}), {"group": "not_met", "reason": "a;b"}),
        (RuleResult("ok", group="own", extra={"met": True, "failed": []}), {"group": "own"}),
        (RuleResult("ok", group="g", extra={"reasons": ["c", "d"]}), {"group": "g", "reason": "c;d"}),
        (RuleResult("ok", extra={"failed": ["a"], "reasons": ["c"]}), {"reason": "a"}),
        (RuleResult("ok"), {}),
        (RuleResult("partial", extra={"met": True}), {}),
        (RuleResult("not_assessable", missing=("x", "y"), extra={"met": True}), {"missing": "x;y"}),
        (RuleResult("invalid", reason="why", extra={"failed": ["a"]}), {"reason": "why"}),
        (RuleResult("ok", score=2.0, value=0.0, boundary=("x", "y")), {"score": 2.0, "value": 0.0, "boundary": "x;y"}),
        (
            RuleResult("not_assessable", bounds=(0.0, None), group_certain="g"),
            {"lower": 0.0, "group_certain": "g"},
        ),
        (RuleResult("not_assessable", bounds=(None, 3.0)), {"upper": 3.0}),
        (
            RuleResult("ok", extra={"options": ("A", "Ü"), "met": True, "failed": [], "reasons": [], "n": 2}),
            {"group": "met", "details": '{"options": ["A", "Ü"], "n": 2}'},
        ),
    ],
)
def test_a_result_as_a_row(result: RuleResult, expected: dict[str, Any]) -> None:
    wanted = {"status": result.status, **EMPTY, **expected}
    shown = _shown(result)
    assert shown.keys() == wanted.keys()
    assert [name for name in wanted if not same(shown[name], wanted[name])] == []


def test_a_number_that_json_has_no_word_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        _shown(RuleResult("ok", extra={"ratio": NAN}))


def test_a_column_has_its_type_even_when_it_is_empty() -> None:
    got = clinical.evaluate_table(pd.DataFrame({"patient_id": ["a"]}), ["fong_crs", "sflr", "resect_esmo2023"])
    numbers = {"score", "value", "lower", "upper"}
    assert {name: str(kind) for name, kind in got.dtypes.items()} == {
        name: "float64" if name in numbers else "str" for name in COLUMNS
    }
    assert got["boundary"].isna().all()


def test_every_cell_of_the_long_and_of_the_wide_table_stands_in_its_place() -> None:
    table = pd.DataFrame(
        {"patient_id": ["b", "a", "c"], "n_liver_mets": [1, 9, 1], "largest_met_mm": [10.0, 10.0, 20.0]}
    )
    rules = ["h_stage", "tbs2018", "beppu_nh2021"]
    expected = [
        ("b", "h_stage", None, "H1"), ("b", "tbs2018", 1.4142, "zone_1"), ("b", "beppu_nh2021", None, "nH1"),
        ("a", "h_stage", None, "H2"), ("a", "tbs2018", 9.0554, "zone_3"), ("a", "beppu_nh2021", None, "nH3"),
        ("c", "h_stage", None, "H1"), ("c", "tbs2018", 2.2361, "zone_1"), ("c", "beppu_nh2021", None, "nH1"),
    ]  # fmt: skip
    long = clinical.evaluate_table(table, rules)
    rows = zip(long["patient_id"], long["rule"], long["score"].round(4), long["group"], strict=True)
    assert [
        (patient, rule, None if math.isnan(score) else score, group) for patient, rule, score, group in rows
    ] == expected
    wide = next(iter(clinical.evaluate_blocks(table, rules))).wide()
    assert wide["patient_id"].tolist() == ["b", "a", "c"]
    assert wide["tbs2018__score"].round(4).tolist() == [1.4142, 9.0554, 2.2361]
    assert wide["h_stage__group"].tolist() == ["H1", "H2", "H1"]
    assert wide["beppu_nh2021__group"].tolist() == ["nH1", "nH3", "nH1"]


@pytest.mark.parametrize(("rows", "size", "lengths"), [(0, 1, [0]), (1, 1, [1]), (2, 1, [1, 1]), (3, 2, [2, 1])])
def test_there_are_no_more_blocks_than_patients_need(rows: int, size: int, lengths: list[int]) -> None:
    table = pd.DataFrame({"patient_id": pd.Series([f"P{k}" for k in range(rows)], dtype="str")})
    blocks = list(clinical.evaluate_blocks(table, ["h_stage"], size=size))
    assert [len(block.patients) for block in blocks] == lengths
