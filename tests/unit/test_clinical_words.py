"""Results in words and a number: for a table at once the same as from its long table of results, row by row."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_clinical_blocks import near_bounds

from radiomics_crlm import clinical
from radiomics_crlm.clinical import formulas, rule_text, shown
from radiomics_crlm.clinical.catalogue import Rule, rule, rules
from radiomics_crlm.clinical.classes import _THROUGH_BOUNDS
from radiomics_crlm.clinical.vocabulary import encode, vocabulary
from radiomics_crlm.cohort.tcia import read_tcia_clinical
from radiomics_crlm.errors import ConfigError

ROWS = 80
# Numbers that meet each other in ratios and differences: 350 mL of 70 kg, 14 of 20 mm, 24.5 and 7 per cent.
ROUND = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 14.0, 20.0, 24.5, 30.0, 50.0, 70.0, 80.0, 100.0, 280.0, 350.0, 1000.0)


def by_the_long_table(table: pd.DataFrame, names: list[str]) -> dict[str, tuple[list[str], np.ndarray]]:
    """Words and numbers out of ``evaluate_table``, result by result."""
    keyed = table.drop(columns="patient_id", errors="ignore").assign(patient_id=[f"p{k}" for k in range(len(table))])
    long = clinical.evaluate_table(keyed, names)
    found = {}
    for name in names:
        own = long[long["rule"] == name]
        words = [rule_text({str(key): cell for key, cell in row.items()}) for row in own.to_dict("records")]
        number = [row.value if pd.isna(row.score) else row.score for row in own.itertuples()]
        found[name] = (words, np.array(number, dtype=float))
    return found


def assert_same(table: pd.DataFrame, names: list[str]) -> None:
    expected, got = by_the_long_table(table, names), shown(table, names)
    assert list(got) == names
    for name in names:
        words, number = got[name]
        assert words.dtype == object
        assert words.tolist() == expected[name][0], name
        np.testing.assert_array_equal(number, expected[name][1], err_msg=name)


def round_numbers(name: str, rng: random.Random) -> dict[str, Any]:
    """Inputs of a rule on whose differences and ratios a bound may be met exactly; one in five is unknown."""
    row: dict[str, Any] = {}
    for column in clinical.inputs_of(name):
        spec = vocabulary()[column]
        if rng.random() < 0.2:
            continue
        if spec.type == "bool":
            row[column] = rng.random() < 0.5
        elif spec.type == "enum":
            row[column] = rng.choice(spec.allowed)
        elif spec.type == "date":
            row[column] = f"2024-0{rng.randint(1, 2)}-{rng.randint(1, 28):02d}"
        else:
            number = min(max(rng.choice(ROUND), spec.min or 0.0), spec.max or 1e9)
            row[column] = round(number) if spec.type == "int" else number
    return row


def table_of(rows: list[dict[str, Any]], names: tuple[str, ...]) -> pd.DataFrame:
    cells = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names}
    return pd.DataFrame(cells, index=range(len(rows)))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"status": "ok", "score": 2.0, "group": "low"}, "score 2, group low"),
        ({"status": "ok", "score": 1.5, "value": 1234567.0}, "score 1.5, value 1.23457e+06"),
        ({"status": "ok", "missing": "a;b", "reason": "c;d"}, "reason c, d"),
        ({"status": "partial", "missing": "a;b"}, "partial: missing a, b"),
        ({"status": "not_assessable"}, "not assessable"),
        ({"status": "not_assessable", "lower": 5.123456789}, "not assessable: at least 5.12346"),
        (
            {"status": "not_assessable", "lower": 0.0, "upper": 2.0, "group_certain": "g", "missing": "x"},
            "not assessable: bounds 0-2, certainly group g, missing x",
        ),
        ({"status": "invalid", "reason": "x must be y"}, "invalid: reason x must be y"),
    ],
)
def test_a_result_in_words(result: dict[str, Any], text: str) -> None:
    fields = ("score", "value", "group", "group_certain", "missing", "reason", "lower", "upper")
    for nothing in (None, np.nan, pd.NA):
        assert rule_text({**dict.fromkeys(fields, nothing), **result}) == text


@pytest.mark.parametrize("draw", [near_bounds, round_numbers])
@pytest.mark.parametrize("name", clinical.rule_ids())
def test_words_and_numbers_are_those_of_the_long_table(name: str, draw: Any) -> None:
    rng = random.Random(name)  # noqa: S311
    rows = [draw(name, rng) for _ in range(ROWS)]
    table = table_of(rows, clinical.inputs_of(name))
    assert_same(table, [name])
    # As columns of numbers, which take another way in.
    numeric = [column for column in table if vocabulary()[column].type in ("int", "float")]
    dates = [column for column in table if vocabulary()[column].type == "date"]
    typed = table.assign(
        **{column: table[column].astype(float) for column in numeric},
        **{column: pd.to_datetime(table[column]) for column in dates},
    )
    assert_same(typed, [name])


def test_all_worked_examples(shared_data: Any) -> None:
    path = shared_data.parent / "clinical" / "vectors.csv"
    if not path.is_file():
        pytest.skip("the worked examples are absent")
    vectors = pd.read_csv(path, dtype="str", keep_default_na=False)
    rows = [json.loads(text) for text in vectors["inputs"]]
    names = tuple(dict.fromkeys(name for row in rows for name in row if name in vocabulary()))
    everything = table_of(rows, names)
    assert len(everything) >= 360
    # Every example is also a patient to all other rules.
    assert_same(everything, clinical.rule_ids())


def test_a_real_cohort(shared_data: Any) -> None:
    table = read_tcia_clinical(shared_data).clinical
    assert_same(table, clinical.rule_ids())
    words, number = shown(table, ["fong_crs"])["fong_crs"]
    assert np.isfinite(number).sum() > 50
    assert sum(text.startswith("score ") for text in words) == np.isfinite(number).sum()


def test_a_row_does_not_depend_on_the_others() -> None:
    names = ["fong_crs", "tbs2018", "recist11", "transmet2024", "plato_game", "perioperative_strategy"]
    rng = random.Random(8)  # noqa: S311
    rows = [{**near_bounds(name, rng), **round_numbers(other, rng)} for name in names for other in names]
    columns = tuple(dict.fromkeys(column for name in names for column in clinical.inputs_of(name)))
    table = table_of(rows, columns)
    whole = shown(table, names)
    order = np.random.default_rng(1).permutation(len(table))
    for part in (order, order[:7], order[:1]):
        got = shown(table.iloc[part], names)
        for name in names:
            assert got[name][0].tolist() == whole[name][0][part].tolist()
            np.testing.assert_array_equal(got[name][1], whole[name][1][part])


def test_keys_and_index_are_not_looked_at() -> None:
    table = pd.DataFrame({"patient_id": ["a", "a", None], "n_liver_mets": [3, 4, 0]}, index=[5, 5, 1])
    words, number = shown(table, ["tbs2018"])["tbs2018"]
    assert words.tolist() == [
        "not assessable: at least 3, missing largest_met_mm",
        "not assessable: at least 4, missing largest_met_mm",
        "invalid: reason n_liver_mets must be a whole number from 1 to 200 lesions",
    ]
    assert np.isnan(number).all()


def test_nothing_in_nothing_out() -> None:
    assert shown(pd.DataFrame({"patient_id": ["a"]}), []) == {}
    for name, (words, number) in shown(pd.DataFrame({"n_liver_mets": []}), clinical.rule_ids()).items():
        assert (len(words), len(number)) == (0, 0), name
    bare = shown(pd.DataFrame(index=range(2)), ["tbs2018", "fong_crs"])
    assert bare["tbs2018"][0].tolist() == ["not assessable: at least 1, missing n_liver_mets, largest_met_mm"] * 2
    with pytest.raises(ConfigError, match="unknown rule"):
        shown(pd.DataFrame({"n_liver_mets": [1]}), ["fong"])


def test_no_rule_keeps_every_number_apart() -> None:
    assert {one.method for one in rules().values()} == _THROUGH_BOUNDS | set(formulas.FORMULAS)


@pytest.mark.parametrize("name", ["tbs2018", "recist11", "transmet2024", "plato_fong", "icg_kpost", "resect_seed004"])
def test_a_rule_without_a_formula_falls_back_to_distinct_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)  # noqa: S311
    table = table_of([round_numbers(name, rng) for _ in range(ROWS)], clinical.inputs_of(name))
    quick = shown(table, [name])[name]
    monkeypatch.setattr(formulas, "FORMULAS", {})
    slow = shown(table, [name])[name]
    assert quick[0].tolist() == slow[0].tolist()
    np.testing.assert_array_equal(quick[1], slow[1])


@pytest.mark.parametrize(
    ("name", "rows", "classes"),
    [
        ("tbs2018", {"n_liver_mets": [1, 2, 9, None], "largest_met_mm": [10.0, 12.0, 12.0, 12.0]}, [0, 0, 1, 2]),
        ("rlv_bw", {"flr_ml": [340.0, 350.0, 360.0], "weight_kg": [70.0] * 3}, [0, 1, 1]),
        ("bsa", {"height_cm": [170.0, 171.0], "weight_kg": [70.0, 80.0]}, [0, 0]),
        ("mcs2019", {"largest_met_mm": [10.0, 50.0, 50.1, None]}, [0, 0, 1, 2]),
    ],
)
def test_patients_with_the_same_words_are_one_class(name: str, rows: dict[str, list[Any]], classes: list[int]) -> None:
    chosen: Rule = rule(name)
    blank = np.full(len(classes), np.nan)
    columns = {column: np.array(rows.get(column, blank), dtype=float) for column in chosen.all_inputs}
    assert formulas.same_words(chosen, columns).tolist() == classes


FIT_FOR_TRANSPLANTATION = {
    "age_years": 50.0, "ecog_ps": 0, "primary_resected": True, "braf_v600e": "wild_type", "extrahepatic_status": "none",
    "chemo_months": 6.0, "chemo_lines": 1, "best_response": "PR", "r0_achievable": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "same", "differing", "texts"),
    [
        ("tbs2018", {"n_liver_mets": 1}, {"largest_met_mm": [28.0, 29.0, 89.0, 90.0, None]}, None),
        (
            "sflr",
            {"flr_ml": 0.0, "tlv_ml": 1400.0},
            {"tumour_volume_ml": [1400.0, 1399.0, 1401.0]},
            [
                "invalid: reason tumour_volume_ml must be below tlv_ml",
                "value 0",
                "invalid: reason flr_ml must not exceed tlv_ml - tumour_volume_ml",
            ],
        ),
        (
            "transmet2024",
            FIT_FOR_TRANSPLANTATION,
            {"cea_ng_ml": [79.0, 80.0, 80.0, 80.0, 80.0], "cea_max_ng_ml": [None, None, 160.0, 159.0, 161.0]},
            [
                "group met",
                "not assessable: missing cea_ng_ml",
                "group met",
                "group not_met, reason cea_ng_ml",
                "group met",
            ],
        ),
        (
            "plato_fong",
            {"dfi_months": 20.0, "n_liver_mets": 2, "largest_met_mm": 20.0, "node_positive_primary": True},
            {"cea_ng_ml": [200.0, 200.1, 300.0, None]},
            None,
        ),
    ],
)
def test_patients_who_differ_in_one_input(
    name: str, same: dict[str, Any], differing: dict[str, list[Any]], texts: list[str] | None
) -> None:
    count = len(next(iter(differing.values())))
    table = pd.DataFrame({**{column: [cell] * count for column, cell in same.items()}, **differing})
    assert_same(table, [name])
    if texts is not None:
        assert shown(table, [name])[name][0].tolist() == texts


@pytest.mark.parametrize("unit", ["s", "ms", "ns", "D"])
def test_days_of_a_column_of_dates_are_those_of_its_text(unit: str) -> None:
    texts = ["2024-02-29", "1969-12-31", "1970-01-01", "1899-12-31", None, "2024-02-29T23:59:59"]
    stored = "s" if unit == "D" else unit
    column = pd.Series(np.array([np.datetime64(t or "NaT") for t in texts], dtype=f"datetime64[{unit}]"))
    assert column.dtype == f"datetime64[{stored}]"
    spec = vocabulary()["crlm_diagnosis_date"]
    days, refused = encode(spec, column)
    np.testing.assert_array_equal(days, encode(spec, texts)[0])
    assert not refused.any()
    assert encode(vocabulary()["largest_met_mm"], column)[1].tolist() == [True, True, True, True, False, True]
