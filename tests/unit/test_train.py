"""Nested cross-validation: what it returns, what it refuses, and that nothing leaks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from simulated_tables import MIXED_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling import train
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final, nested_cv, pipeline_probability, pipeline_risk

X = mixed_table(90, 0)
Y = draw_outcome(1.2 * X["x1"].to_numpy(), 0)
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)
SETTINGS = {"endpoint": "dfs", "horizon": 24.0, "inner_folds": 3, "seed": 5}


def _recipe(learner: str = "ridge", kind: str = "time_to_event", **more: object) -> Recipe:
    return Recipe("all", MIXED_COLUMNS, learner, kind, **more)


@pytest.fixture(scope="module")
def result() -> train.CvResult:
    return nested_cv(X, Y, FOLDS, _recipe(), **SETTINGS)


def test_every_patient_is_predicted_once_per_repeat(result: train.CvResult) -> None:
    table = result.predictions
    columns = ["endpoint", "model", "patient_id", "repeat", "fold", "risk"]
    assert list(table.columns) == [*columns, "probability_12m", "probability_24m", "probability_36m"]
    assert set(table["model"]) == {"all/ridge"}
    merged = table.merge(FOLDS, on=["patient_id", "repeat", "fold"], validate="one_to_one")
    assert len(merged) == len(table) == 180
    assert np.isfinite(table["risk"]).all()


def test_prediction_is_that_of_the_model_of_the_fold(result: train.CvResult) -> None:
    assert set(result.models) == {(0, 0), (0, 1), (0, 2)}
    first = result.predictions[result.predictions["repeat"] == 0]
    for (_, fold), model in result.models.items():
        rows = first[first["fold"] == fold]
        tested = X.loc[rows["patient_id"]]
        assert (pipeline_risk(model, tested) == rows["risk"]).all()
        np.testing.assert_array_equal(pipeline_probability(model, tested), rows.filter(like="probability_").to_numpy())


def test_tuning_is_recorded(result: train.CvResult) -> None:
    tuning = result.tuning
    assert list(tuning.columns) == ["endpoint", "model", "repeat", "fold", "parameters", "concordance", "selected"]
    assert len(tuning) == 2 * 3 * 5
    chosen = tuning[tuning["selected"]]
    assert len(chosen) == 6
    assert (
        chosen["concordance"].to_numpy() >= tuning.groupby(["repeat", "fold"])["concordance"].max().to_numpy()
    ).all()
    picked = chosen[(chosen["repeat"] == 0) & (chosen["fold"] == 1)]["parameters"].iloc[0]
    assert json.loads(picked) == {"penalty": result.models[(0, 1)][-1].penalty}


def test_every_fit_is_audited(result: train.CvResult) -> None:
    """Three inner fits and one refit in each of six outer folds."""
    assert result.fits == 6 * (3 + 1)


@pytest.mark.parametrize("learner", ["ridge", "xgboost"])
@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_result_does_not_depend_on_jobs_or_row_order(learner: str, kind: str) -> None:
    recipe = _recipe(learner, kind, rounds=(10, 20), depths=(1,), select_k=4)
    once = nested_cv(X, Y, FOLDS, recipe, **SETTINGS)
    twice = nested_cv(X, Y, FOLDS.sample(frac=1, random_state=3), recipe, **SETTINGS, jobs=2)
    pd.testing.assert_frame_equal(once.predictions, twice.predictions, check_exact=True)
    pd.testing.assert_frame_equal(once.tuning, twice.tuning, check_exact=True)


def test_outcome_table_in_any_order_is_the_same_as_the_array(result: train.CvResult) -> None:
    table = pd.DataFrame({"event": Y["event"], "months": Y["months"]}, index=X.index).sample(frac=1, random_state=0)
    again = nested_cv(X, table, FOLDS, _recipe(), **SETTINGS)
    pd.testing.assert_frame_equal(result.predictions, again.predictions, check_exact=True)


def test_predictions_ignore_the_outcomes_and_inputs_of_tested_patients(result: train.CvResult) -> None:
    """The strictest leak test: change everything about the test fold, and its own model stays the same."""
    tested = result.folds.index[result.folds[0] == 0]
    inside = X.index.isin(tested)
    other_y = Y.copy()
    other_y["months"][inside] = other_y["months"][inside][::-1] + 3.0
    other_y["event"][inside] = 1
    other_x = X.copy()
    other_x.loc[inside, [f"x{i}" for i in range(6)]] = 77.0
    changed = nested_cv(other_x, other_y, FOLDS, _recipe(), **SETTINGS)
    before, after = result.models[(0, 0)], changed.models[(0, 0)]
    assert (pipeline_risk(before, X) == pipeline_risk(after, X)).all()
    # And the other folds do change, so the comparison has teeth.
    assert (pipeline_risk(result.models[(0, 1)], X) != pipeline_risk(changed.models[(0, 1)], X)).any()


def test_a_splitter_that_leaks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "training_rows", lambda assigned, _: np.arange(assigned.size))
    with pytest.raises(LeakError, match="patients of the outer test fold"):
        nested_cv(X, Y, FOLDS, _recipe(), **SETTINGS)


def test_a_fit_on_all_patients_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preprocessing and selection moved outside the fold: given the whole table, whatever rows were asked for."""
    honest = train._fit_preprocessing

    def on_everybody(_: pd.DataFrame, __: np.ndarray, *rest: object) -> object:
        return honest(X, Y, *rest)

    monkeypatch.setattr(train, "_fit_preprocessing", on_everybody)
    with pytest.raises(LeakError, match="all/ridge: inner fold 0: a fit would see 30 patients of the outer test fold"):
        nested_cv(X, Y, FOLDS, _recipe(select_k=4), **SETTINGS)


def test_progress_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    recipe = _recipe(penalties=(1.0,), fixed=True)
    found = nested_cv(X, Y, FOLDS, recipe, **SETTINGS, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]
    assert found.fits == 6
    assert found.tuning["selected"].all()


def test_binary_predicts_at_its_horizon_only() -> None:
    table = nested_cv(X, Y, FOLDS, _recipe(kind="binary"), **SETTINGS).predictions
    assert table["probability_24m"].between(0, 1).all()
    assert table[["probability_12m", "probability_36m"]].isna().all(axis=None)


def test_final_model_learns_from_all() -> None:
    model = fit_final(X, Y, _recipe(), **SETTINGS)
    assert pipeline_risk(model, X).shape == (90,)
    again = fit_final(X, Y, _recipe(), **SETTINGS)
    assert (pipeline_risk(model, X) == pipeline_risk(again, X)).all()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"X": pd.concat([X, X.iloc[:1]])}, InputError, "1 patients are repeated"),
        ({"X": X.drop(columns="cea")}, InputError, "cea: 1 columns"),
        ({"X": X.assign(x0=np.inf)}, InputError, "x0: a value is infinite in 90 cells"),
        ({"X": X.iloc[1:], "y": Y[1:]}, InputError, "0 patients have no fold, 1 patients of the folds"),
        ({"y": Y[:-1]}, InputError, "different lengths"),
        ({"y": make_outcome(np.zeros(90), Y["months"])}, InputError, "dfs, all/ridge: the target is constant"),
        ({"min_events": 60}, InputError, "too few events.*at least 60"),
        ({"folds": FOLDS.assign(fold=FOLDS["patient_id"])}, InputError, "the test fold has no event"),
        ({"folds": FOLDS.iloc[1:]}, InputError, "lack a fold"),
        ({"inner_folds": 1}, ConfigError, "too few inner folds"),
        ({"recipe": _recipe(kind="binary"), "horizon": None}, ConfigError, "needs a horizon"),
        ({"recipe": _recipe(kind="binary"), "horizon": 0.01}, InputError, "target is constant"),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value[:25],
)
def test_refuses_before_the_first_fit(
    change: dict, error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fit(*_: object) -> None:
        raise AssertionError("something was fitted")

    monkeypatch.setattr(train, "_outer_fold", no_fit)
    if "folds" in change and change["folds"]["fold"].dtype.kind not in "iu":
        change = change | {"folds": FOLDS.assign(fold=FOLDS["patient_id"].str[1:].astype(int))}
    arguments = {"X": X, "y": Y, "folds": FOLDS, "recipe": _recipe()} | SETTINGS | change
    with pytest.raises(error, match=match):
        nested_cv(**arguments)


def test_final_fit_refuses_too() -> None:
    with pytest.raises(InputError, match="too few events"):
        fit_final(X, Y, _recipe(), **SETTINGS, min_events=80)
    with pytest.raises(InputError, match="1 patients are repeated"):
        fit_final(pd.concat([X, X.iloc[:1]]), Y, _recipe(), **SETTINGS)


def test_going_forward_in_time_nothing_later_is_seen() -> None:
    """Patients of later blocks change neither the predictions of an earlier one nor its tuning."""
    folds = pd.DataFrame({"patient_id": X.index, "repeat": 0, "fold": np.arange(90) // 30})
    once = nested_cv(X, Y, folds, _recipe(), **SETTINGS, forward=True)
    assert set(once.predictions["fold"]) == {1, 2}
    assert once.tested().tolist() == X.index[30:].tolist()
    assert once.trained(0, 2).tolist() == X.index[:60].tolist()
    changed, outcome = X.copy(), Y.copy()
    changed.iloc[60:, 1] = 9.0
    outcome["months"][60:] += 5
    again = nested_cv(changed, outcome, folds, _recipe(), **SETTINGS, forward=True)
    first, second = (r.predictions[r.predictions["fold"] == 1] for r in (once, again))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    earlier, later = (r.tuning[r.tuning["fold"] == 1] for r in (once, again))
    pd.testing.assert_frame_equal(earlier, later, check_exact=True)


def test_an_early_horizon_has_its_own_column() -> None:
    found = nested_cv(X, Y, FOLDS, _recipe(kind="binary"), **{**SETTINGS, "horizon": 6.0}).predictions
    assert found["probability_6m"].between(0, 1).all()
    assert found["probability_12m"].isna().all()
