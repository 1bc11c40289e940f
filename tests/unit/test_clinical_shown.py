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
