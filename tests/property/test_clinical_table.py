"""A row and a table never disagree, whatever is unknown, wrong or contradictory."""

from __future__ import annotations

import datetime
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.clinical.catalogue import rule as needed_inputs
from radiomics_crlm.clinical.vocabulary import vocabulary
from radiomics_crlm.schema import ColumnSpec

PATIENTS = 60


def cell(spec: ColumnSpec, rng: random.Random) -> Any:
    """A plausible value, an unknown in one of its disguises, or rubbish."""
    draw = rng.random()
    if draw < 0.2:
        return rng.choice([None, np.nan, pd.NA, pd.NaT])
    if draw < 0.23:
        return rng.choice(["rubbish", -999, True, 1.5, 10**7, float("inf"), [1]])
    if spec.type == "bool":
        return rng.choice([True, False, 1, 0, "true", "FALSE", np.True_])
    if spec.type == "enum":
        return rng.choice(spec.allowed)
    if spec.type == "date":
        day = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randint(0, 900))
        return rng.choice([day, day.isoformat(), pd.Timestamp(day), datetime.datetime(day.year, day.month, day.day)])
    assert spec.min is not None
    assert spec.max is not None
    near = min(spec.max, spec.min + 15)
    if spec.type == "int":
        return rng.choice([int(spec.min), int(spec.max), rng.randint(int(spec.min), int(near)), str(int(spec.max))])
    return rng.choice([spec.min, spec.max, rng.uniform(spec.min, spec.max), rng.uniform(spec.min, near), str(near)])


def cohort(rule: str, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)  # noqa: S311
    names = clinical.inputs_of(rule)
    return [{name: cell(vocabulary()[name], rng) for name in names if rng.random() < 0.95} for _ in range(PATIENTS)]


def or_nothing(entry: Any) -> Any:
    return None if not isinstance(entry, str) and pd.isna(entry) else entry


@pytest.mark.parametrize("rule", clinical.rule_ids())
def test_row_and_table_agree(rule: str) -> None:
    rows = cohort(rule, seed=len(rule))
    table = pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in clinical.inputs_of(rule)}
    )
    table["patient_id"] = [f"p{number}" for number in range(PATIENTS)]
    columns = clinical.evaluate_table(table, [rule])
    assert columns["status"].isin(["ok", "partial", "not_assessable", "invalid"]).all()
    for row, shown in zip(rows, columns.to_dict("records"), strict=True):
        single = clinical.evaluate(rule, row)
        lower, upper = single.bounds or (None, None)
        expected = {
            "status": single.status,
            "score": single.score,
            "value": single.value,
            "lower": lower,
            "upper": upper,
            "group_certain": single.group_certain,
            "missing": ";".join(single.missing) or None,
            "boundary": ";".join(single.boundary) or None,
        }
        if single.group is not None:
            expected["group"] = single.group
        if single.status == "invalid":
            expected["reason"] = single.reason
        assert {key: or_nothing(shown[key]) for key in expected} == expected


@pytest.mark.parametrize("rule", ["fong_crs", "game2018", "rees2008_postop", "imai2016", "iwatsuki1999"])
def test_order_and_identity_of_the_patients_do_not_matter(rule: str) -> None:
    table = pd.DataFrame(cohort(rule, seed=3))
    table["patient_id"] = [f"p{number}" for number in range(PATIENTS)]
    shuffled = table.sample(frac=1, random_state=0)
    first = clinical.evaluate_table(table, [rule]).set_index("patient_id")
    second = clinical.evaluate_table(shuffled, [rule]).set_index("patient_id").loc[first.index]
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(
    "rule", ["fong_crs", "nordlinger1996", "game2018", "rees2008_postop", "helsinki2023", "malik2007", "sirt_adverse"]
)
def test_learning_more_never_leaves_the_bounds(rule: str) -> None:
    rng = random.Random(5)  # noqa: S311
    waiting = 0
    for _ in range(40):
        known = {name: cell_of_range(vocabulary()[name], rng) for name in needed_inputs(rule).inputs}
        full = clinical.evaluate(rule, known)
        partial = clinical.evaluate(rule, {name: value for name, value in known.items() if rng.random() < 0.5})
        assert full.status == "ok"
        if partial.status == "not_assessable":
            waiting += 1
            assert partial.bounds is not None
            lower, upper = partial.bounds
            assert lower <= full.score <= upper
            assert partial.group_certain in (None, full.group)
    assert waiting > 20


def cell_of_range(spec: ColumnSpec, rng: random.Random) -> Any:
    if spec.type == "bool":
        return rng.random() < 0.5
    if spec.type == "enum":
        return rng.choice(spec.allowed)
    assert spec.min is not None
    assert spec.max is not None
    number = rng.uniform(spec.min, min(spec.max, spec.min + 300))
    return round(number) if spec.type == "int" else number
