"""Files of sheets get safe names, and scores are not shown beside the chart of somebody else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scoring_examples import CLINICAL, content, model
from sheet_folder import Scored, make_scored, rewrite_scores

from radiomics_crlm.errors import InputError
from radiomics_crlm.report.patient_sheet import Explained
from radiomics_crlm.scoring.bundle import write_bundle
from radiomics_crlm.study.sheet_inputs import Inputs, file_stem, read_inputs, risk_unit


@given(st.text(max_size=80), st.text(max_size=80))
def test_file_names_are_safe_and_unique(one: str, other: str) -> None:
    stem = file_stem(one, 2)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", stem)
    assert len(stem) <= 60
    assert (file_stem(other, 3) == stem) == (one == other)
    assert file_stem(None, 2) != stem
    assert file_stem(one, 2, repeated=True) != stem


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    root = tmp_path_factory.mktemp("scored")
    keys = {8: "twice", 9: "twice", 10: ""}
    return make_scored(root, rows=12, keys=keys, cells={(1, "cea_ng_ml"): "SECRET12"})


@pytest.fixture
def fresh(tmp_path: Path) -> Scored:
    return make_scored(tmp_path, rows=4)


def read(folders: Scored, *patients: str) -> Inputs:
    return read_inputs(folders.bundle, folders.cohort, folders.scores, patients)


def test_every_row_is_a_case_with_a_name_of_its_own(scored: Scored) -> None:
    found = read(scored)
    assert len(found.cases) == 12
    assert len({case.stem for case in found.cases}) == 12
    assert [case.problem for case in found.cases] == [None] * 12
    assert [case.score["status"] for case in found.cases].count("abstained") == 4
    assert found.cases[10].patient is None
    assert found.cases[8].stem.endswith("-row-10")


def test_attributions_of_a_linear_model_are_those_of_its_formula(scored: Scored) -> None:
    """Coefficient times distance from the mean of the training, computed here from the numbers of the chart."""
    frozen = model(CLINICAL)
    assert frozen.coefficients is not None
    chart = pd.read_csv(scored.cohort / "clinical.csv", dtype="str", keep_default_na=False)
    seen = 0
    for case, cell in zip(read(scored).cases, chart["largest_met_mm"], strict=True):
        if not isinstance(case.explained, Explained):
            continue
        known = float(cell) if cell else frozen.fill[1]
        expected = frozen.coefficients[1] * (known - frozen.mean[1]) / frozen.scale[1]
        assert case.explained.values["largest_met_mm"] == pytest.approx(expected, abs=1e-12)
        assert case.explained.inputs is not None
        assert case.explained.inputs["largest_met_mm"] == (float(cell) if cell else None)
        assert case.explained.total == case.score["risk"]
        seen += 1
    assert seen == 8


def test_some_patients_are_read_alone_with_the_cohort_of_all(scored: Scored) -> None:
    some, everybody = read(scored, "P0003", "nobody", "P0000"), read(scored)
    assert [case.patient for case in some.cases] == ["P0000", "P0003"]
    assert some.unknown == ("nobody",)
    assert some.cohort == everybody.cohort
    assert some.cases[1] == everybody.cases[3]
    assert [case.stem for case in read(scored, "twice").cases] == [everybody.cases[k].stem for k in (8, 9)]


def test_scores_of_another_bundle_are_refused(scored: Scored, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", content(title="Another"), model())
    with pytest.raises(InputError, match="made with another bundle"):
        read_inputs(tmp_path / "b", scored.cohort, scored.scores, ())


def test_none_of_the_patients(scored: Scored) -> None:
    with pytest.raises(InputError, match="know none of the patients"):
        read(scored, "nobody")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f.scores / "scores.parquet").write_bytes(b"PAR1 no"), "cannot be read as a table"),
        (lambda f: (f.scores / "scores.parquet").unlink(), "is missing"),
        (lambda f: rewrite_scores(f, status="maybe"), "breaks its schema"),
        (lambda f: rewrite_scores(f, probability_12m=1.5), "breaks its schema"),
        (lambda f: (f.cohort / "clinical.csv").unlink(), "needs one clinical table"),
        (lambda f: (f.scores / "attributions.parquet").write_bytes(b"no"), "cannot be read as a table"),
        (lambda f: pd.DataFrame({"row": [2]}).to_parquet(f.scores / "attributions.parquet"), "is missing|lacks|column"),
        (lambda f: (f.bundle / "model.json").write_text("{}"), "refused"),
    ],
)
def test_damaged_folders(fresh: Scored, damage: object, message: str) -> None:
    damage(fresh)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as raised:
        read(fresh)
    assert str(fresh.cohort) not in str(raised.value)


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("largest_met_mm", "79.5", "rule fong_crs|rule tbs2018|risk"),
        ("primary_site", "rectum", "risk"),
        ("patient_id", "somebody", "another patient"),
        ("n_liver_mets", "many", "other results"),
    ],
)
def test_a_chart_that_was_changed_since_costs_the_sheet(fresh: Scored, column: str, cell: str, reason: str) -> None:
    chart = pd.read_csv(fresh.cohort / "clinical.csv", dtype="str", keep_default_na=False)
    chart.loc[2, column] = cell
    chart.to_csv(fresh.cohort / "clinical.csv", index=False)
    problems = [case.problem for case in read(fresh).cases]
    assert [p is None for p in problems] == [True, True, False, True]
    assert problems[2] is not None
    assert problems[2][0] == "other_chart"
    assert re.search(reason, problems[2][1])


def test_a_chart_with_fewer_rows(fresh: Scored) -> None:
    chart = pd.read_csv(fresh.cohort / "clinical.csv", dtype="str", keep_default_na=False)
    chart.head(2).to_csv(fresh.cohort / "clinical.csv", index=False)
    assert [case.problem is None for case in read(fresh).cases] == [True, True, False, False]


def test_attributions_beside_the_scores_are_those_that_would_be_computed(fresh: Scored, tmp_path: Path) -> None:
    explained = make_scored(tmp_path / "explained", rows=4, options=["--attributions"])
    assert (explained.scores / "attributions.parquet").is_file()
    for taken, computed in zip(read(explained).cases, read(fresh).cases, strict=True):
        assert isinstance(taken.explained, Explained)
        assert isinstance(computed.explained, Explained)
        assert taken.explained.values == computed.explained.values
        assert (taken.explained.base, taken.explained.inputs) == (computed.explained.base, computed.explained.inputs)


def test_attributions_that_do_not_add_up_cost_the_sheet(tmp_path: Path) -> None:
    folders = make_scored(tmp_path, rows=4, options=["--attributions"])
    path = folders.scores / "attributions.parquet"
    table = pd.read_parquet(path)
    table.loc[table["row"] == 3, "attribution"] *= 1.01
    table.to_parquet(path, index=False)
    problems = [case.problem for case in read(folders).cases]
    assert [problem is None for problem in problems] == [True, False, True, True]
    assert problems[1] == ("attributions", "the attributions beside the scores do not add up to the risk")


def summarised(folders: Scored, **changes: object) -> None:
    path = folders.scores / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


def test_a_shift_of_the_cohort_is_handed_on(fresh: Scored) -> None:
    assert read(fresh).shifted == ()
    summarised(fresh, shift={"shifted": ["cea_ng_ml", "n_liver_mets"]})
    assert read(fresh).shifted == ("cea_ng_ml", "n_liver_mets")


def test_scores_that_were_edited_are_refused(fresh: Scored) -> None:
    rewrite_scores(fresh, probability_12m=0.01)
    with pytest.raises(InputError, match="changed since they were written"):
        read(fresh)
    (fresh.scores / "summary.json").unlink()  # scores of before had none
    assert read(fresh).cases[0].score["probability_12m"] == 0.01


def test_units_of_risk() -> None:
    assert risk_unit(model()) == "logarithm of the relative hazard"
    assert risk_unit(model(horizon=24.0)) == "log odds of the event within 24 months"
