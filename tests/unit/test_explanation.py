"""Out-of-fold SHAP values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import BLOCK_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.explanation import check_additivity, global_importance, out_of_fold_attributions
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import CvResult, nested_cv, pipeline_risk
from radiomics_crlm.schema import check_table

X = mixed_table(90, 0)
Y = draw_outcome(1.5 * X["x1"].to_numpy(), 0)
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)


MODELS = [
    ("ridge", "time_to_event"),
    ("ridge", "binary"),
    ("xgboost", "time_to_event"),
    ("xgboost_aft", "time_to_event"),
    ("random_forest", "time_to_event"),
    ("stacking", "binary"),
]


@pytest.fixture(scope="module", params=MODELS, ids=" ".join)
def result(request: pytest.FixtureRequest) -> CvResult:
    learner, kind = request.param
    recipe = Recipe(
        "all", BLOCK_COLUMNS, learner, kind, select_k=5, rounds=(20, 40), depths=(2,), trees=25, penalties=(1.0, 0.1)
    )
    return nested_cv(X, Y, FOLDS, recipe, endpoint="dfs", horizon=24.0, inner_folds=3, seed=1)


@pytest.fixture(scope="module")
def table(result: CvResult) -> pd.DataFrame:
    return out_of_fold_attributions(result, X)


def test_table_obeys_its_schema(table: pd.DataFrame) -> None:
    check_table(table, "attributions")


def test_sums_to_the_out_of_fold_risk(result: CvResult, table: pd.DataFrame) -> None:
    """Per fold, sum of attributions + one base value = the risk in the predictions table."""
    total = table.groupby("patient_id")["attribution"].sum()
    first = result.predictions[result.predictions["repeat"] == 0].set_index("patient_id")
    base = first["risk"] - total
    for _, values in base.groupby(first["fold"]):
        assert np.ptp(values) < 1e-4


def test_explained_by_the_model_that_did_not_see_the_patient(result: CvResult, table: pd.DataFrame) -> None:
    """Equal to the attributions of the frozen model of that fold (another implementation)."""
    wide = table.pivot(index="patient_id", columns="feature", values="attribution")
    for (repeat, fold), pipeline in result.models.items():
        tested = result.folds.index[result.folds[repeat] == fold]
        values, base = freeze(pipeline).contributions(X.loc[tested])
        np.testing.assert_allclose(wide.loc[tested, values.columns], values, atol=1e-5)
        others = wide.loc[tested].drop(columns=values.columns)
        assert (others == 0).all(axis=None)
        np.testing.assert_allclose(values.sum(axis=1) + base, pipeline_risk(pipeline, X.loc[tested]), atol=1e-5)


def test_every_patient_has_every_feature(table: pd.DataFrame) -> None:
    assert table["patient_id"].nunique() == 90
    assert len(table) == 90 * table["feature"].nunique()
    assert not table.duplicated(["patient_id", "feature"]).any()


def test_inputs_are_shown_in_their_own_unit(table: pd.DataFrame) -> None:
    shown = table.pivot(index="patient_id", columns="feature", values="input").loc[X.index]
    np.testing.assert_array_equal(shown["x1"], X["x1"])
    np.testing.assert_array_equal(shown["node"], X["node"].astype("Float64").to_numpy(na_value=np.nan))


def test_importance_finds_the_planted_input(table: pd.DataFrame) -> None:
    importance = global_importance(table)
    assert list(importance.columns) == ["endpoint", "model", "feature", "importance"]
    assert importance["feature"].iloc[0] == "x1"
    assert importance["importance"].is_monotonic_decreasing
    x1 = table.loc[table["feature"] == "x1", "attribution"].abs().mean()
    assert importance["importance"].iloc[0] == pytest.approx(x1)


def test_refuses_other_patients(result: CvResult) -> None:
    with pytest.raises(InputError, match="different patients"):
        out_of_fold_attributions(result, X.iloc[1:])


@pytest.mark.parametrize("risk", [np.array([1.0, 2.1]), np.array([1.0, np.nan])])
def test_refuses_what_does_not_add_up(risk: np.ndarray) -> None:
    with pytest.raises(CrlmError, match="do not add up"):
        check_additivity(np.array([[0.5], [1.5]]), 0.5, risk)
    check_additivity(np.array([[0.5], [1.5]]), 0.5, np.array([1.0, 2.0]))


def test_values_at_a_threshold_in_single_precision() -> None:
    """A forest compares in single precision; just above a threshold in double precision is not above it."""
    recipe = Recipe("all", BLOCK_COLUMNS, "random_forest", "binary", trees=20)
    result = nested_cv(X, Y, FOLDS, recipe, endpoint="dfs", horizon=24.0, inner_folds=3, seed=1)
    moved = X.copy()
    for (repeat, fold), pipeline in result.models.items():
        model = freeze(pipeline)
        place = model.input_names().index("x1")
        split = np.flatnonzero(model.forest.feature == place)
        tested = result.folds.index[result.folds[repeat] == fold][: split.size]
        above = model.forest.threshold[split[: tested.size]] + 1e-10
        moved.loc[tested, "x1"] = above * model.scale[place] + model.mean[place]
        inputs = model.transform(moved.loc[tested])["x1"].to_numpy()
        doubtful = (inputs > above - 1e-10) & (inputs.astype(np.float32).astype(float) <= above - 1e-10)
        assert doubtful.any()
    out_of_fold_attributions(result, moved)
