"""Every yes / no / unknown state of the additive scores against points written down from the publications' tables."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from radiomics_crlm import clinical

# An option is (inputs, smallest points, largest points, inputs named as missing).
Option = tuple[dict[str, object], float, float, tuple[str, ...]]


def yes_no(name: str, yes: object, no: object, points: float = 1) -> list[Option]:
    return [({name: yes}, points, points, ()), ({name: no}, 0, 0, ()), ({}, 0, points, (name,))]


NODES = yes_no("node_positive_primary", True, False)
SIZE = yes_no("largest_met_mm", 50.1, 50.0)
SEVERAL = yes_no("n_liver_mets", 2, 1)
DFI_12 = yes_no("dfi_months", 11.9, 12.0)
CEA_200 = yes_no("cea_ng_ml", 200.5, 200.0)
FONG = [NODES, DFI_12, SEVERAL, SIZE, CEA_200]
EXTRAHEPATIC = yes_no("extrahepatic_present", True, False)
THREE = [("low", 0, 2), ("intermediate", 3, 4), ("high", 5, 9)]
TWO = [("low", 0, 2), ("high", 3, 9)]

SCORES: dict[str, tuple[list[list[Option]], list[tuple[str, float, float]]]] = {
    "fong_crs": (FONG, THREE),
    "fong_binary": (FONG, TWO),
    "fong_seven_factors": ([yes_no("margin_positive", True, False), EXTRAHEPATIC, *FONG], []),
    "mcs2019": (
        [yes_no("ras_status", "mutant", "wild_type"), NODES, SIZE],
        [("low", 0, 0), ("intermediate", 1, 1), ("moderate", 2, 2), ("high", 3, 3)],
    ),
}


def group_of(score: float, groups: list[tuple[str, float, float]]) -> str | None:
    return next((name for name, low, high in groups if low - 1e-9 <= score <= high + 1e-9), None)


@pytest.mark.parametrize("rule", SCORES)
def test_every_state_of_every_item(rule: str) -> None:
    items, groups = SCORES[rule]
    states = list(itertools.product(*items))
    table = pd.DataFrame([{key: cell for inputs, *_ in state for key, cell in inputs.items()} for state in states])
    table["patient_id"] = [f"p{row}" for row in range(len(states))]

    got = clinical.evaluate_table(table, [rule])

    assert len(got) == len(states)
    for state, row in zip(states, got.itertuples(), strict=True):
        low = sum(option[1] for option in state)
        high = sum(option[2] for option in state)
        missing = [name for option in state for name in option[3]]
        if not missing:
            assert row.status == "ok"
            assert row.score == pytest.approx(low, abs=1e-9)
            assert (None if pd.isna(row.group) else row.group) == group_of(low, groups)
            continue
        certain = group_of(low, groups) if group_of(low, groups) == group_of(high, groups) else None
        assert row.status == "not_assessable"
        assert pd.isna(row.score)
        assert pd.isna(row.group)
        assert (row.lower, row.upper) == pytest.approx((low, high), abs=1e-9)
        assert row.missing.split(";") == missing
        assert (None if pd.isna(row.group_certain) else row.group_certain) == certain


def test_fong_has_243_states() -> None:
    assert len(list(itertools.product(*FONG))) == 243
