"""Batch scoring: every row out, typed abstentions, the same bytes after a kill, the same bits for one patient alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scoring_examples import CLINICAL, RADIOMICS, bundle, clinical_raw, content, model

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.config import CohortNotes, load_endpoints
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.batch import Options, ScoreSummary, score_cohort
from radiomics_crlm.scoring.bundle import Bundle, load_bundle, write_bundle

KINDS = [("ridge", None), ("ridge", 24.0), ("xgboost", None), ("xgboost", 24.0)]
ALL = CLINICAL + RADIOMICS


def scored(bundle_: Bundle, raw: pd.DataFrame, out: Path, **more: object) -> tuple[pd.DataFrame, ScoreSummary]:
    images = more.pop("features_patient", None)
    summary = score_cohort(bundle_, raw, images, out, **more)  # type: ignore[arg-type]
    return read_table(out / "scores.parquet", "scores"), summary


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_risk_is_what_the_formula_says(tmp_path: Path) -> None:
    """The ridge Cox model of the examples, computed by hand with the standard library."""
    cells = {
        "cea_ng_ml": "17.5",
        "largest_met_mm": "42",
        "n_liver_mets": "3",
        "bilobar": "yes",
        "primary_site": "rectum",
    }
    table, summary = scored(bundle(), pd.DataFrame([{"patient_id": "a"} | cells]), tmp_path)
    frozen = model()
    inputs = [math.log1p(17.5), 42.0, 3.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    assert frozen.coefficients is not None
    risk = sum(
        c * (x - m) / s for c, x, m, s in zip(frozen.coefficients, inputs, frozen.mean, frozen.scale, strict=True)
    )
    assert table.loc[0, "risk"] == pytest.approx(risk, abs=1e-12)
    hazard, competing, survival, incidence = 0.06 * math.exp(risk), 0.02, 1.0, 0.0
    for _ in range(2):  # events at 2 and 7.5 months
        left = math.exp(-(hazard + competing))
        incidence += survival * (1 - left) * hazard / (hazard + competing)
        survival *= left
    assert table.loc[0, "probability_12m"] == pytest.approx(incidence, abs=1e-12)
    assert (summary.rows, summary.scored, summary.abstained) == (1, 1, 0)


@pytest.mark.parametrize(("learner", "horizon"), KINDS)
def test_rows_in_are_rows_out(tmp_path: Path, learner: str, horizon: float | None) -> None:
    raw = clinical_raw(300)
    table, summary = scored(bundle(learner=learner, horizon=horizon), raw, tmp_path)
    assert table["patient_id"].tolist() == raw["patient_id"].tolist()
    assert table["row"].tolist() == list(range(2, 302))
    assert (table["status"] == "scored").all()
    assert table["code"].isna().all()
    assert summary.scored == summary.rows == 300
    months = (12, 24, 36) if horizon is None else (24,)
    assert [c for c in table if c.startswith("probability_")] == [f"probability_{m}m" for m in months]
    assert table[[f"probability_{m}m" for m in months]].notna().all(axis=None)
    order = table.sort_values("risk")
    assert order[f"probability_{months[0]}m"].is_monotonic_increasing


@pytest.mark.parametrize(("learner", "horizon"), KINDS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.integers(0, 119), min_size=1, max_size=119, unique=True))
def test_any_company_gives_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, learner: str, horizon: float | None, chosen: list[int]
) -> None:
    raw = clinical_raw(120, seed=5)
    example = bundle(learner=learner, horizon=horizon)
    together, _ = scored(example, raw, tmp_path_factory.mktemp("all"))
    some, _ = scored(example, raw.iloc[chosen], tmp_path_factory.mktemp("some"))
    expected = together.iloc[chosen].reset_index(drop=True).drop(columns="row")
    pd.testing.assert_frame_equal(some.drop(columns="row"), expected, check_exact=True)


def spoilt() -> pd.DataFrame:
    raw = clinical_raw(12)
    raw.loc[1, "cea_ng_ml"] = "SECRET12"
    raw.loc[2, "n_liver_mets"] = "4711"
    raw.loc[3, "primary_site"] = "SECRETcolon"
    raw.loc[4, "patient_id"] = ""
    raw.loc[5, "patient_id"] = "  "
    raw.loc[6, "patient_id"] = "P0000"
    raw.loc[7, ["cea_ng_ml", "largest_met_mm", "n_liver_mets", "bilobar", "primary_site"]] = ""
    raw.loc[8, "n_liver_mets"] = "2.5"
    raw.loc[8, "largest_met_mm"] = "-3"
    raw.loc[9, "patient_id"] = "-999"
    return raw


def test_bad_rows_abstain_with_a_reason_and_cost_nobody_else(tmp_path: Path) -> None:
    table, summary = scored(bundle(), spoilt(), tmp_path)
    codes = dict(zip(table["row"] - 2, table["code"], strict=True))
    assert {row: code for row, code in codes.items() if isinstance(code, str)} == {
        0: "duplicate_patient",
        1: "wrong_type",
        2: "out_of_range",
        3: "not_allowed",
        4: "missing_key",
        5: "missing_key",
        6: "duplicate_patient",
        7: "no_input",
        8: "out_of_range",
        9: "missing_key",
    }
    assert summary.abstentions == {
        "duplicate_patient": 2,
        "missing_key": 3,
        "no_input": 1,
        "not_allowed": 1,
        "out_of_range": 2,
        "wrong_type": 1,
    }
    assert (summary.rows, summary.scored, summary.abstained) == (12, 2, 10)
    reasons = table.set_index("row")["reason"]
    assert reasons[3] == "column cea_ng_ml: wrong type, expected a number from 0 to 100000 ng/mL"
    assert "expected one of right_colon, left_colon, rectum" in reasons[5]
    abstained = table[table["status"] == "abstained"]
    assert abstained[["risk", "probability_12m", "probability_24m", "probability_36m"]].isna().all(axis=None)
    clean, _ = scored(bundle(), clinical_raw(12).iloc[[10, 11]], tmp_path / "clean")
    np.testing.assert_array_equal(clean["risk"], table["risk"].dropna())


def test_every_fault_of_a_row_is_named(tmp_path: Path) -> None:
    raw = clinical_raw(2)
    raw.loc[0, ["bilobar", "cea_ng_ml"]] = ["perhaps", "high"]
    table, _ = scored(bundle(), raw, tmp_path)
    assert table.loc[0, "reason"] == (
        "column bilobar: wrong type, expected true or false; "
        "column cea_ng_ml: wrong type, expected a number from 0 to 100000 ng/mL"
    )


def test_faults_of_the_whole_table_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown column 'ceaa_ng_ml'"):
        score_cohort(bundle(), clinical_raw(3).rename(columns={"cea_ng_ml": "ceaa_ng_ml"}), None, tmp_path)
    with pytest.raises(InputError, match="lacks required columns"):
        score_cohort(bundle(), clinical_raw(3).drop(columns="patient_id"), None, tmp_path)
    with pytest.raises(InputError, match="no rows"):
        score_cohort(bundle(), clinical_raw(0), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_columns_can_be_ignored(tmp_path: Path) -> None:
    raw = clinical_raw(3).assign(hospital_name="x")
    table, _ = scored(bundle(), raw, tmp_path, notes=CohortNotes(ignore_columns=("hospital_name",)))
    assert (table["status"] == "scored").all()


def test_units_of_the_cohort_become_those_of_the_model(tmp_path: Path) -> None:
    raw = clinical_raw(40)
    expected, _ = scored(bundle(), raw, tmp_path / "mm")
    assert (expected["status"] == "scored").all()
    size = pd.to_numeric(raw["largest_met_mm"])
    in_cm = [f"{mm / 10:.2f}" if mm == mm else "" for mm in size]
    declared = raw.assign(largest_met_mm=in_cm)
    named = raw.rename(columns={"largest_met_mm": "largest_met_cm"}).assign(largest_met_cm=in_cm)
    for name, table, notes in (
        ("declared", declared, CohortNotes(units={"largest_met_mm": "cm"})),
        ("named", named, CohortNotes()),
    ):
        found, summary = scored(bundle(), table, tmp_path / name, notes=notes, options=Options(block=7))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert summary.absent_inputs == ()


def test_absent_inputs_are_missing_and_said(tmp_path: Path) -> None:
    raw = clinical_raw(5).drop(columns=["bilobar", "primary_site"])
    raw["cea_ng_ml"], raw["n_liver_mets"], raw["largest_met_mm"] = "10", "2", "30"
    table, summary = scored(bundle(), raw, tmp_path)
    assert summary.absent_inputs == ("bilobar", "primary_site")
    assert table["flags"].tolist() == ["missing:2"] * 5
    assert summary.flags == {"missing": 5}


def test_flags_reach_the_table(tmp_path: Path) -> None:
    raw = clinical_raw(1)
    raw.loc[0] = ["a", "90000", "30", "2", "", "", "yes", "8"]
    table, summary = scored(bundle(), raw, tmp_path)
    assert table.loc[0, "flags"] == "missing:2;out_of_range:cea_ng_ml;unit_suspicion:cea_ng_ml"
    assert table.loc[0, "status"] == "scored"
    assert summary.flags == {"missing": 1, "out_of_range": 1, "unit_suspicion": 1}


def test_a_cohort_that_learns_an_input_too_late_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LeakError, match="cea_ng_ml is known only at postoperative"):
        score_cohort(
            bundle(), clinical_raw(3), None, tmp_path, notes=CohortNotes(available_at={"cea_ng_ml": "postoperative"})
        )


def test_population_of_the_endpoint(tmp_path: Path) -> None:
    definition = load_endpoints()["conversion"]
    chosen = content(horizon=None, endpoint="conversion", definition=definition, speaks_at="baseline", horizons=(12,))
    raw = clinical_raw(3).assign(initially_resectable=["no", "yes", ""], cea_ng_ml="5")
    table, _ = scored(Bundle(chosen, model(horizon=12.0), "1" * 64), raw, tmp_path)
    assert table["status"].tolist() == ["scored", "abstained", "abstained"]
    assert table["code"].tolist()[1:] == ["not_in_population", "population_unknown"]


def test_rules_beside_the_model(tmp_path: Path) -> None:
    raw = clinical_raw(40)
    table, _ = scored(bundle(), raw, tmp_path)
    for position in range(40):
        cells = {
            "cea_ng_ml": raw.loc[position, "cea_ng_ml"],
            "largest_met_mm": raw.loc[position, "largest_met_mm"],
            "n_liver_mets": raw.loc[position, "n_liver_mets"],
            "node_positive_primary": {"yes": True, "no": False}.get(raw.loc[position, "node_positive_primary"]),
            "dfi_months": raw.loc[position, "dfi_months"],
        }
        numbers = {k: float(v) if isinstance(v, str) else v for k, v in cells.items() if v not in ("", None)}
        single = rule_engine.evaluate("fong_crs", numbers)
        number, text = table.loc[position, "rule__fong_crs__score"], table.loc[position, "rule__fong_crs"]
        if single.status == "ok":
            assert number == single.score
            assert text == f"score {single.score:g}, group {single.group}"
        else:
            assert single.bounds is not None
            assert math.isnan(number)
            assert text.startswith(f"not assessable: bounds {single.bounds[0]:g}-{single.bounds[1]:g}")


def test_rules_see_no_more_than_the_model(tmp_path: Path) -> None:
    chosen = Bundle(content(rules=("margin_class",)), model(), "3" * 64)
    table, _ = scored(chosen, clinical_raw(2).assign(resection_margin_mm="5", cea_ng_ml="5"), tmp_path)
    assert table["rule__margin_class"].str.startswith("not assessable").all()


def test_rows_that_cannot_be_read_have_no_rule_result(tmp_path: Path) -> None:
    table, _ = scored(bundle(), spoilt(), tmp_path)
    assert table["rule__fong_crs"].isna().tolist() == [
        code in ("duplicate_patient", "missing_key", "wrong_type", "out_of_range", "not_allowed")
        for code in table["code"]
    ]


def test_a_model_that_overflows_abstains(tmp_path: Path) -> None:
    frozen = model()
    wild = replace(frozen, coefficients=np.full(frozen.mean.size, 1e308))
    raw = clinical_raw(2).assign(cea_ng_ml="90000", largest_met_mm="299", n_liver_mets="150")
    table, _ = scored(Bundle(content(), wild, "4" * 64), raw, tmp_path)
    assert table["code"].tolist() == ["no_result", "no_result"]


def test_no_probability_beyond_the_follow_up_of_training(tmp_path: Path) -> None:
    frozen = model()
    assert frozen.baseline is not None
    short = replace(frozen, baseline=replace(frozen.baseline, last_month=30.0))
    write_bundle(tmp_path / "bundle", content(), short)
    table, _ = scored(load_bundle(tmp_path / "bundle"), clinical_raw(5), tmp_path / "out")
    assert (table["status"] == "scored").all()
    assert table[["probability_12m", "probability_24m"]].notna().all(axis=None)
    assert table["probability_36m"].isna().all()


def test_scores_of_a_bundle_from_disk(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "bundle", content(), model(learner="xgboost"))
    table, summary = scored(load_bundle(tmp_path / "bundle"), clinical_raw(10), tmp_path / "out")
    assert set(table["bundle_sha256"]) == {digest} == {summary.bundle_sha256}
    direct, _ = scored(Bundle(content(), model(learner="xgboost"), digest), clinical_raw(10), tmp_path / "direct")
    pd.testing.assert_frame_equal(table, direct, check_exact=True)
