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
SEVERAL = [
    *yes_no("n_liver_mets", 2, 1),
    ({"multiple_metastases": True}, 1, 1, ()),
    ({"multiple_metastases": False}, 0, 0, ()),
]
DFI_12 = yes_no("dfi_months", 11.9, 12.0)
CEA_200 = yes_no("cea_ng_ml", 200.5, 200.0)
FONG = [NODES, DFI_12, SEVERAL, SIZE, CEA_200]
EXTRAHEPATIC = yes_no("extrahepatic_present", True, False)
MARGIN: list[Option] = [
    ({"resection_margin_mm": 9.9}, 1, 1, ()),
    ({"expected_margin_mm": 9.9}, 1, 1, ()),
    ({"resection_margin_mm": 10.0}, 0, 0, ()),
    ({}, 0, 1, ("resection_margin_mm",)),
]
PT4 = yes_no("primary_pt", 4, 3)
DFI_24 = yes_no("dfi_months", 23.9, 24.0)
FOUR = yes_no("n_liver_mets", 4, 3)
AGE = yes_no("age_years", 60.5, 60.0)
RAS: list[Option] = [
    ({"ras_status": "mutant"}, 1, 1, ()),
    ({"kras_status": "mutant"}, 1, 1, ()),
    ({"kras_status": "wild_type", "nras_status": "wild_type"}, 0, 0, ()),
    ({"kras_status": "wild_type"}, 0, 1, ("ras_status",)),
]
KRAS: list[Option] = [
    ({"kras_status": "mutant"}, 1, 1, ()),
    ({"ras_status": "wild_type"}, 0, 0, ()),
    ({"ras_status": "mutant"}, 0, 1, ("kras_status",)),
]
BURDEN: list[Option] = [
    ({"n_liver_mets": 1, "largest_met_mm": 20.0}, 0, 0, ()),
    ({"n_liver_mets": 4, "largest_met_mm": 30.0}, 1, 1, ()),
    ({"n_liver_mets": 9, "largest_met_mm": 0.0}, 2, 2, ()),
    ({"largest_met_mm": 20.0}, 0, 2, ("n_liver_mets",)),
    ({"largest_met_mm": 25.0, "multiple_metastases": True}, 1, 2, ("n_liver_mets",)),
    ({"n_liver_mets": 3}, 1, 2, ("largest_met_mm",)),
    ({"largest_met_mm": 95.0}, 2, 2, ("n_liver_mets",)),
    ({}, 0, 2, ("n_liver_mets", "largest_met_mm")),
]
DIFFERENTIATION: list[Option] = [
    ({"primary_differentiation": "well"}, 0, 0, ()),
    ({"primary_differentiation": "moderate"}, 2, 2, ()),
    ({"primary_differentiation": "poor"}, 4, 4, ()),
    ({}, 0, 4, ("primary_differentiation",)),
]
REES_CEA: list[Option] = [
    ({"cea_ng_ml": 5.9}, 0, 0, ()),
    ({"cea_ng_ml": 6.0}, 1, 1, ()),
    ({"cea_ng_ml": 60.0}, 1, 1, ()),
    ({"cea_ng_ml": 60.5}, 3, 3, ()),
    ({}, 0, 3, ("cea_ng_ml",)),
]
REES_SIZE: list[Option] = [
    ({"largest_met_mm": 49.9}, 0, 0, ()),
    ({"largest_met_mm": 50.0}, 2, 2, ()),
    ({"largest_met_mm": 100.0}, 2, 2, ()),
    ({"largest_met_mm": 100.5}, 7, 7, ()),
    ({}, 0, 7, ("largest_met_mm",)),
]
RESPONSE: list[Option] = [
    ({"crp_mg_l": 10.5}, 1, 1, ()),
    ({"crp_mg_l": 10.0, "nlr": 5.5}, 1, 1, ()),
    ({"crp_mg_l": 10.0, "nlr": 5.0}, 0, 0, ()),
    ({"crp_mg_l": 10.0}, 0, 1, ("nlr",)),
    ({"nlr": 5.0}, 0, 1, ("crp_mg_l",)),
    ({}, 0, 1, ("crp_mg_l", "nlr")),
]
MARKER: list[Option] = [
    ({"cea_ng_ml": 130.5}, 1, 1, ()),
    ({"ca19_9_u_ml": 200.5}, 1, 1, ()),
    ({"cea_ng_ml": 130.0, "ca19_9_u_ml": 200.0}, 0, 0, ()),
    ({"cea_ng_ml": 130.0}, 0, 1, ("ca19_9_u_ml",)),
]
THREE = [("low", 0, 2), ("intermediate", 3, 4), ("high", 5, 9)]
TWO = [("low", 0, 2), ("high", 3, 9)]

SCORES: dict[str, tuple[list[list[Option]], list[tuple[str, float, float]]]] = {
    "fong_crs": (FONG, THREE),
    "fong_binary": (FONG, TWO),
    "fong_seven_factors": ([yes_no("margin_positive", True, False), EXTRAHEPATIC, *FONG], []),
    "pan2018": (FONG, TWO),
    "nordlinger1996": ([NODES, PT4, DFI_24, FOUR, SIZE, MARGIN, AGE], THREE),
    "nordlinger_preop6": ([NODES, PT4, DFI_24, FOUR, SIZE, AGE], THREE),
    "nagashima2006": (
        [
            yes_no("node_positive_primary", True, False, 0.60034),
            yes_no("primary_pt", 4, 3, 0.54877),
            yes_no("largest_met_mm", 50.1, 50.0, 1.35657),
            yes_no("extrahepatic_present", True, False, 1.1943),
            yes_no("dfi_months", 11.9, 12.0, 0.67838),
            [*yes_no("n_liver_mets", 2, 1, 0.85412), ({"multiple_metastases": True}, 0.85412, 0.85412, ())],
        ],
        [("A", 0, 3), ("B", 3.000001, 5), ("C", 5.000001, 9)],
    ),
    "nagashima_count5": (
        [NODES, PT4, SIZE, EXTRAHEPATIC, SEVERAL],
        [("low", 0, 1), ("intermediate", 2, 3), ("high", 4, 5)],
    ),
    "konopke2009": (
        [FOUR, yes_no("cea_ng_ml", 200.0, 199.9), yes_no("dfi_months", 0.0, 0.1)],
        [("low", 0, 0), ("intermediate", 1, 1), ("high", 2, 3)],
    ),
    "rees2008_postop": (
        [
            yes_no("node_positive_primary", True, False, 2),
            DIFFERENTIATION,
            REES_CEA,
            REES_SIZE,
            yes_no("margin_positive", True, False, 11),
            yes_no("extrahepatic_present", True, False, 4),
        ],
        [],
    ),
    "game2018": (
        [KRAS, yes_no("cea_ng_ml", 20.0, 19.9), NODES, BURDEN, yes_no("extrahepatic_present", True, False, 2)],
        [("low", 0, 1), ("moderate", 2, 3), ("high", 4, 7)],
    ),
    "helsinki2023": (
        [
            NODES,
            yes_no("primary_pt", 3, 2),
            SEVERAL,
            yes_no("resection_margin_mm", 4.9, 5.0),
            SIZE,
            yes_no("viable_tumour_pct", 30.5, 30.0),
            yes_no("vascular_invasion", True, False),
            yes_no("biliary_invasion", True, False),
        ],
        THREE,
    ),
    "malik2007": ([yes_no("n_liver_mets", 8, 7), RESPONSE], []),
    "imai2016": (
        [
            yes_no("node_positive_primary", True, False, 5),
            yes_no("n_liver_mets", 7, 6, 7),
            yes_no("ca19_9_u_ml", 37.5, 37.0, 10),
            yes_no("best_response", "PD", "SD", 9),
            yes_no("extrahepatic_present", True, False, 4),
        ],
        [("favourable", 0, 16), ("unfavourable", 17, 35)],
    ),
    "triple_mutation": (
        [yes_no("tp53_status", "mutant", "wild_type"), RAS, yes_no("smad4_status", "mutant", "wild_type")],
        [("none", 0, 0), ("single", 1, 1), ("double", 2, 2), ("triple", 3, 3)],
    ),
    "oslo_score": (
        [
            yes_no("largest_met_mm", 55.1, 55.0),
            yes_no("cea_ng_ml", 80.5, 80.0),
            yes_no("progression_on_chemo", True, False),
            yes_no("months_since_primary_resection", 23.9, 24.0),
        ],
        [("favourable", 0, 1), ("unfavourable", 2, 4)],
    ),
    "sirt_adverse": (
        [yes_no("tumour_burden_pct", 20.5, 20.0), yes_no("karnofsky_pct", 79, 80), MARKER, EXTRAHEPATIC],
        [],
    ),
    "mcs2019": (
        [RAS, NODES, SIZE],
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


def test_fong_has_all_243_states_of_five_items_and_those_of_the_fallback() -> None:
    assert len(list(itertools.product(*FONG))) == 243 * 5 // 3


def test_every_additive_rule_is_enumerated() -> None:
    additive = {name for name in clinical.rule_ids() if clinical.describe(name).bounds is not None}
    assert additive == {*SCORES, "iwatsuki1999"}


@pytest.mark.parametrize("rule", SCORES)
def test_largest_sum_is_the_printed_range(rule: str) -> None:
    items, _ = SCORES[rule]
    largest = sum(max(option[2] for option in options) for options in items)
    assert clinical.describe(rule).bounds == pytest.approx((0, largest))


IWATSUKI = [
    yes_no("n_liver_mets", 3, 2),
    yes_no("largest_met_mm", 80.5, 80.0),
    yes_no("dfi_months", 30.0, 30.1),
    yes_no("bilobar", True, False),
]


@pytest.mark.parametrize("outside", [True, False, None])
@pytest.mark.parametrize("margin", [True, False, None])
def test_every_state_of_iwatsuki(outside: bool | None, margin: bool | None) -> None:
    for state in itertools.product(*IWATSUKI):
        inputs = {key: cell for option in state for key, cell in option[0].items()}
        got = clinical.evaluate("iwatsuki1999", {**inputs, "extrahepatic_present": outside, "margin_positive": margin})
        low, high = sum(option[1] for option in state), sum(option[2] for option in state)
        missing = [name for option in state for name in option[3]]
        assert (got.group_certain, got.extra) == (None, {})  # its bounds are grades: no group follows from them alone
        if outside or margin:
            assert (got.status, got.score, got.group, got.missing) == ("ok", None, "grade_6", ())
        elif not missing and outside is False:
            assert (got.status, got.score, got.group) == ("ok", low, f"grade_{1 + low}")
        else:
            assert got.status == "not_assessable"
            assert got.missing == (*missing, *(() if outside is False else ("extrahepatic_present",)))
            assert got.bounds == (1 + low, 1 + high if outside is False else 6)


@pytest.mark.parametrize(("score", "expected"), [(0, 0.814452), (16, 0.463037), (35, 0.0)])
def test_imai_survival_is_the_clipped_polynomial(score: int, expected: float) -> None:
    chosen = {0: (False, 1, 0, "SD", False), 16: (False, 7, 0, "PD", False), 35: (True, 7, 99, "PD", True)}[score]
    names = ("node_positive_primary", "n_liver_mets", "ca19_9_u_ml", "best_response", "extrahepatic_present")
    got = clinical.evaluate("imai2016", dict(zip(names, chosen, strict=True)))
    assert got.score == score
    assert got.value == got.extra["os3y_probability"] == pytest.approx(expected, abs=1e-5)
