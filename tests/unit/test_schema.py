"""Schemas: typing at the door, rules of cells, strict tables, and the leak guard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.schema import (
    AVAILABILITY,
    check_table,
    is_later,
    later_than,
    load_schema,
    parse_table,
    refuse_later,
)

CLINICAL = load_schema("clinical")


def parse(**columns: list[object]):
    return parse_table(
        pd.DataFrame({"patient_id": [f"P{i}" for i in range(len(next(iter(columns.values()))))], **columns}), CLINICAL
    )


@pytest.mark.parametrize("code", ["", " ", "-999", "-999.0", "unknown", "NA", "NaN", None, np.nan, pd.NA, -999])
def test_missing_codes_become_null(code):
    parsed = parse(cea_ng_ml=[code, 5], sex=[code if isinstance(code, str) else None, "male"])
    assert parsed.problems == []
    assert parsed.table["cea_ng_ml"].isna().tolist() == [True, False]
    assert parsed.table["sex"].isna().tolist() == [True, False]


def test_a_level_named_none_is_a_value():
    assert parse(extrahepatic_status=["none"]).table["extrahepatic_status"].tolist() == ["none"]


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("cea_ng_ml", "12,5", "wrong_type"),
        ("cea_ng_ml", "inf", "wrong_type"),
        ("cea_ng_ml", "-1", "out_of_range"),
        ("cea_ng_ml", "100001", "out_of_range"),
        ("n_liver_mets", "2.5", "wrong_type"),
        ("n_liver_mets", "0", "out_of_range"),
        ("n_liver_mets", "99999999999999999999999", "wrong_type"),
        ("age_years", "17.9", "out_of_range"),
        ("bilobar", "perhaps", "wrong_type"),
        ("sex", "Herr", "not_allowed"),
        ("primary_diagnosis_date", "01/02/2020", "wrong_type"),
        ("primary_diagnosis_date", "2020-13-01", "wrong_type"),
    ],
)
def test_bad_cell_is_reported_without_its_value(column, cell, code):
    parsed = parse(**{column: [cell]})
    (problem,) = parsed.problems
    assert (problem.row, problem.key, problem.column, problem.code) == (2, "P0", column, code)
    assert cell not in problem.sentence().replace(CLINICAL.columns[column].rule(), "")
    assert parsed.table[column].isna().all()


@pytest.mark.parametrize(("cell", "value"), [("0", 0.0), ("100000", 100000.0), ("1e2", 100.0)])
def test_bounds_are_inclusive(cell, value):
    assert parse(cea_ng_ml=[cell]).table["cea_ng_ml"].tolist() == [value]


def test_synonyms_and_case_are_mapped():
    parsed = parse_table(pd.DataFrame({"ID": ["a"], "cea": ["3"], "BRAF": ["Mutant"]}), CLINICAL)
    assert list(parsed.table.columns) == ["patient_id", "cea_ng_ml", "braf_v600e"]
    assert parsed.table["braf_v600e"].tolist() == ["mutant"]


def test_no_synonym_is_ambiguous():
    seen: dict[str, str] = {}
    for name, spec in CLINICAL.columns.items():
        for synonym in spec.synonyms:
            assert seen.setdefault(synonym.casefold(), name) == name
            assert CLINICAL.canonical(synonym) == name


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"patient_id": ["a"], "cea_ngml": ["1"]}, "unknown column 'cea_ngml'.*perhaps 'cea_ng_ml'"),
        ({"patient_id": ["a"], "CEA": ["1"], "cea_ng_ml": ["1"]}, "gives the column 'cea_ng_ml' twice"),
        ({"cea_ng_ml": ["1"]}, "lacks required columns.*patient_id"),
    ],
)
def test_faults_of_the_whole_table_are_refused(columns, message):
    with pytest.raises(InputError, match=message):
        parse_table(pd.DataFrame(columns), CLINICAL)


def test_tables_of_the_program_keep_minus_999():
    table = pd.DataFrame({"patient_id": ["a"], "repeat": [0], "fold": [1]})
    assert check_table(table, "folds")["fold"].tolist() == [1]
    parsed = parse_table(pd.DataFrame({"patient_id": ["a"], "dfi_months": [-999.0]}), CLINICAL, missing_codes=False)
    assert [p.code for p in parsed.problems] == ["out_of_range"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"patient_id": ["a", "a"], "repeat": [0, 0], "fold": [1, 2]}, "holds a key twice.*row 3"),
        ({"patient_id": ["a"], "repeat": [0], "fold": [-1]}, "breaks its schema in 1 cells.*column fold: out of range"),
        ({"patient_id": ["a"], "repeat": [None], "fold": [1]}, "column repeat: missing value"),
    ],
)
def test_strict_tables(table, message):
    with pytest.raises(InputError, match=message):
        check_table(pd.DataFrame(table), "folds")


def test_every_shipped_schema_loads():
    from radiomics_crlm.resources import resource

    names = sorted(p.stem for p in resource("data_schemas").glob("*.yaml"))
    assert len(names) >= 10
    for name in names:
        assert load_schema(name).table == name


@pytest.mark.parametrize("speaks_at", AVAILABILITY)
@pytest.mark.parametrize("available_at", AVAILABILITY)
def test_leak_guard_is_the_order_of_moments(available_at, speaks_at):
    later = AVAILABILITY.index(available_at) > AVAILABILITY.index(speaks_at)
    assert is_later(available_at, speaks_at) is later
    assert bool(later_than({"x": available_at}, speaks_at)) is later
    if later:
        with pytest.raises(LeakError, match=f"x is known only at {available_at}, but the model speaks at {speaks_at}"):
            refuse_later({"x": available_at}, speaks_at)
        assert [r.column for r in refuse_later({"x": available_at}, speaks_at, allow=True)] == ["x"]
    else:
        assert refuse_later({"x": available_at}, speaks_at) == []


def test_unknown_moment_is_refused():
    with pytest.raises(ConfigError, match="unknown moment.*expected baseline.*'tomorrow'"):
        is_later("tomorrow", "baseline")


def test_outcomes_and_specimen_are_never_known_before_the_operation():
    for name in ("recurrence_any", "rfs_months", "os_event", "viable_tumour_pct", "resection_margin_mm", "steatosis"):
        assert is_later(CLINICAL.columns[name].available_at, "preoperative")
