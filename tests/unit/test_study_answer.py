"""Controls of a study: exchanged radiomics, permuted outcomes, and what is said of arms that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folder import experiment
from simulated_tables import deal_folds, noise_table, number_columns

from radiomics_crlm.config import ExperimentConfig, load_endpoints, parse_config
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import cv_design
from radiomics_crlm.study.answer import answers_of, exchanged, first_repeat, learner_of, permuted

METRICS = ["endpoint", "model", "metric", "estimate", "lower", "upper", "n", "events", "method", "note"]
COMPARISONS = [
    "endpoint",
    "model",
    "reference",
    "metric",
    "difference",
    "lower",
    "upper",
    "p_value",
    "n",
    "method",
    "note",
]


def parsed(answer: dict[str, Any] | None, **changes: Any) -> ExperimentConfig:
    return parse_config(ExperimentConfig, {**experiment(**changes), "answer": answer}, where="test")


def reasons(
    asked: ExperimentConfig, *, endpoint: str = "recurrence", permuted: pd.DataFrame | None = None
) -> pd.Series:
    definition = load_endpoints()[endpoint]
    empty = pd.DataFrame(columns=METRICS), pd.DataFrame(columns=COMPARISONS)
    table = answers_of(asked, definition, endpoint, *empty, permuted)
    assert table["verdict"].eq("absent").all()
    return table.set_index("arm")["reason"]


# --- exchanged radiomics -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 60])
def test_whole_rows_go_to_another_patient(n):
    generator = np.random.default_rng(1)
    table = pd.DataFrame(
        {"age": generator.normal(size=n), "x__a": np.arange(n), "node": pd.array([True] * n, dtype="boolean"),
         "x__b": np.arange(n) * 10.0},
        index=[f"P{i}" for i in range(n)],
    )  # fmt: skip
    given = exchanged(table, ["x__a", "x__b"], seed=5)
    assert list(given.columns) == list(table.columns)
    assert given.index.equals(table.index)
    pd.testing.assert_frame_equal(given[["age", "node"]], table[["age", "node"]])
    assert (given["x__b"] == given["x__a"] * 10).all()
    assert sorted(given["x__a"]) == list(range(n))
    assert (given["x__a"] != table["x__a"]).all()
    assert given.equals(exchanged(table, ["x__a", "x__b"], seed=5))


def test_the_seed_decides_who_gets_whose():
    table = pd.DataFrame({"x__a": np.arange(30)})
    assert not exchanged(table, ["x__a"], seed=1).equals(exchanged(table, ["x__a"], seed=2))


# --- permuted outcomes ---------------------------------------------------------------------------------------------


def test_outcomes_stay_in_their_fold_and_whole():
    n = 60
    patients = pd.Index([f"P{i:02d}" for i in range(n)], name="patient_id")
    table = noise_table(n, 2, seed=1).set_axis(patients)
    y = make_outcome(np.arange(n) % 3, np.arange(n) * 1.0)
    folds = deal_folds(patients, folds=4, repeats=2, seed=2)
    recipe = Recipe("clinical", number_columns(2), "ridge", "time_to_event")
    design = cv_design(table, y, folds, recipe, endpoint="e", horizon=None, inner_folds=2, seed=7)
    one = first_repeat(design)
    assert list(one.folds.columns) == [0]
    found, again, other = permuted(one, 1), permuted(one, 1), permuted(one, 2)
    np.testing.assert_array_equal(found.y["event"], found.y["months"] % 3)
    fold = one.folds[0].to_numpy()
    for number in range(4):
        assert sorted(found.y["months"][fold == number]) == sorted(y["months"][fold == number])
    assert (found.y["months"] != y["months"]).mean() > 0.7
    np.testing.assert_array_equal(found.y, again.y)
    assert (found.y != other.y).any()
    pd.testing.assert_frame_equal(found.X, table)


# --- absent arms ---------------------------------------------------------------------------------------------------


def test_arms_that_nobody_named():
    said = reasons(parsed({"clinical": "clinical", "permutations": 0}))
    assert said["rules"] == "it can be assessed in no patient, or is the same for all"
    assert said["clinical"] == "the model was not fitted"
    assert said["radiomics"] == "the experiment names no radiomics feature set"
    assert said["combined"] == "the experiment names no combined feature set"
    assert said["volume_only"] == "the experiment has no radiomics"
    assert said["negative_control"] == "the experiment names no combined feature set"
    assert said["permuted_outcome"] == "no permutations were asked for"


def test_controls_that_are_switched_off_or_have_no_column():
    named = {"clinical": "clinical", "radiomics": "radiomics", "combined": "combined"}
    assert reasons(parsed(named | {"controls": False}))["volume_only"] == "controls are switched off"
    assert reasons(parsed(named))["volume_only"] == "no column of the features matches burden__total_volume_ml"
    assert reasons(parsed(named))["permuted_outcome"] == "no outcome was permuted in this cohort"


def test_a_learner_that_does_not_fit_the_arm():
    fused = parsed(
        {"clinical": "clinical", "combined": "combined"}, learners=["late_fusion", "ridge"], deliver={}
    )  # fmt: skip
    assert learner_of(fused, fused.answer) == "late_fusion"
    assert reasons(fused)["clinical"] == "the learner late_fusion needs clinical and radiomic columns"
    asked = parsed({"clinical": "clinical", "learner": "ridge"}, learners=["late_fusion", "ridge"], deliver={})
    assert learner_of(asked, asked.answer) == "ridge"


def test_rules_that_nobody_named():
    asked = parsed({"clinical": "clinical"}, comparators=[], rules=[])
    assert reasons(asked)["rules"] == "the experiment names no rule or score to compare with"


def test_an_experiment_that_asks_no_question_has_no_rows():
    empty = pd.DataFrame(columns=METRICS), pd.DataFrame(columns=COMPARISONS)
    assert answers_of(parsed(None), load_endpoints()["recurrence"], "recurrence", *empty, None).empty
