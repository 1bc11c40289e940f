"""The question, answered: from the experiment file to the table, the sentence and the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from small_experiment import SMALL, write_experiment
from test_designs import BASE, DESIGN, charts
from test_feature_sets import MR, N, features
from test_feature_sets import study as scan_study

from radiomics_crlm.cli.app import run
from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.evaluation.answer import ARMS
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.report.verdicts import answer_sentence
from radiomics_crlm.study.answer import permute_outcomes, plan_controls
from radiomics_crlm.study.plans import plan_models
from radiomics_crlm.study.prepare import prepare

PERMUTATIONS = 4


def table(out: Path, name: str, below: str = "") -> pd.DataFrame:
    return read_table(out / "tables" / below / f"{name}.parquet", name)


# --- all arms ------------------------------------------------------------------------------------------------------

small = pytest.mark.xdist_group("small study")


@small
def test_every_arm_of_every_endpoint_is_there(small_study):
    answers = table(small_study, "answers")
    for name in SMALL["endpoints"]:
        own = answers[answers["endpoint"] == name].set_index("arm")
        assert tuple(own.index) == ARMS
        assert not own["verdict"].eq("absent").any()
        assert own.loc["rules", "model"] == "fong_crs"
        assert own.loc[["clinical", "radiomics", "combined", "volume_only", "negative_control"], "model"].tolist() == [
            "clinical/ridge", "radiomics/ridge", "combined/ridge", "volume_only/ridge", "negative_control/ridge",
        ]  # fmt: skip
        assert own.loc["permuted_outcome", "model"] == "combined/ridge"
        assert own["method"].notna().all()


@small
def test_controls_are_ordinary_models_on_the_shared_folds(small_study):
    folds = table(small_study, "folds").set_index(["patient_id", "repeat"])["fold"]
    predictions = table(small_study, "predictions")
    for name in ("volume_only/ridge", "negative_control/ridge"):
        own = predictions[predictions["model"] == name]
        assert set(own["endpoint"]) == set(SMALL["endpoints"])
        assert (folds.loc[pd.MultiIndex.from_frame(own[["patient_id", "repeat"]])].to_numpy() == own["fold"]).all()
        assert name in set(table(small_study, "metrics")["model"])
        assert name in set(table(small_study, "comparisons")["model"])
    columns = json.loads((small_study / "run.json").read_text())["models"]["recurrence"]
    assert columns["volume_only/ridge"]["columns"] == ["burden__total_volume_ml"]
    assert columns["negative_control/ridge"]["columns"] == columns["combined/ridge"]["columns"]
    combined, control = (
        predictions[(predictions["model"] == f"{name}/ridge") & (predictions["endpoint"] == "recurrence")]["risk"]
        for name in ("combined", "negative_control")
    )
    assert not np.allclose(combined, control)


@small
def test_radiomics_of_other_patients_do_not_beat_the_chart(small_study):
    answers = table(small_study, "answers").set_index(["endpoint", "arm"])
    for name in SMALL["endpoints"]:
        assert answers.loc[(name, "negative_control"), "reference"] == "clinical/ridge"
        assert answers.loc[(name, "negative_control"), "verdict"] in ("no_evidence", "worse")
        assert answers.loc[(name, "permuted_outcome"), "verdict"] in ("no_evidence", "worse")


@small
def test_the_sample_size_panel_is_for_the_models_of_the_experiment(small_study):
    assert set(table(small_study, "sample_size")["feature_set"]) == {"clinical", "radiomics", "combined"}


@small
def test_the_card_carries_sentence_and_rows(small_study):
    answers, page = table(small_study, "answers"), (small_study / "card.html").read_text(encoding="utf-8")
    card = json.loads((small_study / "card.json").read_text())
    assert [part["endpoint"] for part in card["answers"]["endpoints"]] == SMALL["endpoints"]
    for part in card["answers"]["endpoints"]:
        rows = answers[answers["endpoint"] == part["endpoint"]].to_dict("records")
        assert part["sentence"] == answer_sentence(rows)
        assert part["sentence"] in page
        assert [row["arm"] for row in part["rows"]] == list(ARMS)
        assert [row["difference"] for row in part["rows"]] == [row["difference"] for row in rows]
    assert "The question, answered" in page
    sections = [section["id"] for section in card["sections"]]
    assert sections.index("answer") == 1


@pytest.mark.slow
@small
def test_permuted_outcomes_do_not_depend_on_the_number_of_jobs(small_study, tmp_path):
    changes = {**SMALL, "endpoints": ["recurrence"], "learners": ["ridge"], "deliver": {}}
    changes["answer"] = {"combined": "combined", "permutations": PERMUTATIONS}
    experiment = load_config(ExperimentConfig, write_experiment(tmp_path / "small.yaml", **changes))
    ready = prepare(experiment, data=None, out=tmp_path / "out", jobs=2, progress=lambda *_: None)
    plans = plan_models(experiment, ready, allow_leak=False)
    predictions = table(small_study, "predictions")
    found = [
        permute_outcomes(experiment, ready, plans, predictions, jobs=jobs, progress=lambda *_: None) for jobs in (1, 2)
    ]
    pd.testing.assert_frame_equal(found[0], found[1])
    assert found[0]["permutation"].tolist() == list(range(PERMUTATIONS + 1))
    assert found[0]["estimate"].nunique() == PERMUTATIONS + 1
    controls = plan_controls(experiment, ready, plans, allow_leak=False)
    assert [plan.name for plan in controls] == ["volume_only/ridge", "negative_control/ridge"]
    nothing = experiment.model_copy(update={"answer": None})
    assert plan_controls(nothing, ready, plans, allow_leak=False) == ()
    assert permute_outcomes(nothing, ready, plans, predictions, jobs=1, progress=lambda *_: None).empty


# --- other designs, arms that are absent ---------------------------------------------------------------------------

designs = pytest.mark.xdist_group("designs")


def study(tmp_path: Path, design: dict[str, Any], **answer: Any) -> Path:
    """A study of charts alone, whose only arm is the clinical one."""
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    charts(150, 0, "A").to_csv(data / "clinical.csv", index=False)
    asked = {"clinical": "clinical", "permutations": PERMUTATIONS, **answer}
    content = {**BASE, "endpoints": ["recurrence"], "design": {**DESIGN, **design}, "answer": asked}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert run(["run", str(path), "--data", str(data), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    return tmp_path / "out"


@designs
def test_absent_arms_say_why(tmp_path):
    out = study(tmp_path, {"outer_folds": 3, "repeats": 2})
    answers = table(out, "answers").set_index("arm")
    assert answers["verdict"].eq("absent").tolist() == [False, False, True, True, True, True, False]
    assert answers.loc["combined", "reason"] == "the experiment names no combined feature set"
    assert answers.loc["volume_only", "reason"] == "the experiment has no radiomics"
    assert answers.loc["clinical", "reference"] == "fong_crs"
    assert answers.loc["permuted_outcome", "model"] == "clinical/ridge"
    assert "Nadeau and Bengio" in answers.loc["clinical", "method"]
    # Three columns and 150 patients tell when they recur; permuted outcomes do not.
    assert answers.loc["permuted_outcome", "p_value"] == 1 / (PERMUTATIONS + 1)
    sentence = answer_sentence(answers.reset_index().to_dict("records"))
    assert sentence.startswith("What radiomics adds is not known: the experiment names no combined feature set.")
    assert sentence in (out / "card.html").read_text(encoding="utf-8")


@designs
@pytest.mark.parametrize(
    "design",
    [
        {"kind": "leave_one_centre_out", "column": "centre"},
        {"kind": "temporal", "column": "operation_year", "cuts": [2006, 2009]},
    ],
)
def test_folds_that_are_not_random_are_judged_by_the_bootstrap(tmp_path, design):
    out = study(tmp_path, design)
    answers = table(out, "answers").set_index("arm")
    assert answers.loc["clinical", "metric"] == "c_index"
    assert "models held fixed" in answers.loc["clinical", "method"]
    assert answers.loc["permuted_outcome", "estimate"] == pytest.approx(0.5, abs=0.15)
    assert len(table(out, "permuted_outcomes")) == PERMUTATIONS + 1
    tested = table(out, "predictions")["patient_id"].nunique()
    assert answers.loc["permuted_outcome", "n"] == tested


@designs
def test_an_external_cohort_has_an_answer_of_its_own(tmp_path):
    elsewhere = tmp_path / "data" / "oslo"
    elsewhere.mkdir(parents=True)
    charts(80, 1, "B").to_csv(elsewhere / "clinical.csv", index=False)
    out = study(tmp_path, {"outer_folds": 3, "repeats": 1, "external": {"oslo": "oslo"}})
    answers = table(out, "answers", below="external/oslo").set_index("arm")
    assert answers.loc["clinical", "n"] == 80
    assert "models held fixed" in answers.loc["clinical", "method"]
    assert answers.loc["permuted_outcome", "reason"] == "no outcome was permuted in this cohort"


@pytest.mark.xdist_group("feature sets")
def test_several_scans_are_exchanged_together_and_give_one_volume(tmp_path, monkeypatch):
    asked = {"clinical": "clinical", "combined": "ct_mr", "permutations": 2, "learner": "ridge"}
    table_of_scans = features(N, without={MR: 25})
    assert scan_study(tmp_path, table_of_scans, monkeypatch, answer=asked, learners=["ridge"]) == 0
    out = tmp_path / "study"
    answers = table(out, "answers").set_index("arm")
    assert answers["verdict"].eq("absent").tolist() == [True, False, True, False, False, False, False]
    assert answers.loc["rules", "reason"] == "it can be assessed in no patient, or is the same for all"
    assert answers.loc["clinical", "reference"] == "chance"
    models = json.loads((out / "run.json").read_text())["models"]["conversion_restaging"]
    assert all(name.endswith("burden__total_volume_ml") for name in models["volume_only/ridge"]["columns"])
    assert models["negative_control/ridge"]["patients_without"] == models["ct_mr/ridge"]["patients_without"]
    assert answers.loc["negative_control", "n"] == N
