"""SHAP values of every learner that a run can train: additive, out of fold, of risk and probability."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_tables import BLOCK_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.explanation import Explained, explain_out_of_fold
from radiomics_crlm.explanation.explainers import probability_parts, risk_parts
from radiomics_crlm.explanation.learner_inputs import names_of_inputs, readable_table
from radiomics_crlm.explanation.sampling import shapley_values
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.harmonisation import Harmonisation, SiteTable
from radiomics_crlm.modelling.lesions import lesion_column
from radiomics_crlm.modelling.operating import Operating
from radiomics_crlm.modelling.outer import CvResult
from radiomics_crlm.modelling.recipe import _CLASSES, _OF_LESIONS, Recipe
from radiomics_crlm.modelling.train import nested_cv
from radiomics_crlm.schema import check_table

N = 72
X = mixed_table(N, 0)
Y = draw_outcome(1.5 * X["x1"].to_numpy(), 0)
FOLDS = deal_folds(X.index, folds=3, repeats=1, seed=0)
SMALL: dict[str, Any] = {
    "rounds": (5, 10), "depths": (2,), "trees": 8, "penalties": (1.0, 0.1), "leaves": (4, 8), "net_penalties": (0.1,),
    "l1_ratios": (0.9, 0.5),
}  # fmt: skip


def with_lesions() -> tuple[pd.DataFrame, tuple[ColumnSpec, ...]]:
    """The clinical columns, and two features of one to three lesions of each patient."""
    generator, table, columns = np.random.default_rng(3), X.copy(), [c for c in BLOCK_COLUMNS if c.block == "clinical"]
    count = generator.integers(1, 4, N)
    for number in (1, 2, 3):
        for name in ("lesion__a", "lesion__b"):
            values = 0.7 * X["x1"].to_numpy() * (name == "lesion__a") + generator.normal(size=N)
            table[lesion_column(number, name)] = np.where(number <= count, values, np.nan)
            columns.append(ColumnSpec(lesion_column(number, name), block="radiomics"))
    return table, tuple(columns)


def sites() -> Harmonisation:
    labels = np.array(["north", "south"], dtype=object)[np.arange(N) % 2]
    return Harmonisation(SiteTable(X.index, labels, np.empty((N, 0))))


PLAIN = [(f"{learner} {kind}", {"learner": learner, "kind": kind}) for learner, kind in _CLASSES]
OF_LESIONS = [
    (f"lesions {learner} {kind} {how}", {"learner": learner, "kind": kind, "aggregate": how})
    for (learner, kind), how in zip(_OF_LESIONS, ("max", "mean", "mean", "max"), strict=True)
]
SPECIAL = [
    ("calibrated ridge", {"learner": "ridge", "kind": "binary", "operating": Operating("isotonic")}),
    ("calibrated hazard", {"learner": "xgboost", "kind": "time_to_event", "operating": Operating("platt")}),
    ("calibrated forest", {"learner": "random_forest", "kind": "time_to_event", "operating": Operating("platt")}),
    ("harmonised", {"learner": "ridge", "kind": "time_to_event", "harmonisation": sites()}),
    ("harmonised trees", {"learner": "xgboost", "kind": "binary", "harmonisation": sites()}),
    ("selected", {"learner": "elastic_net", "kind": "binary", "select_k": 3, "selection": "mrmr"}),
]
EVERY = dict([*PLAIN, *OF_LESIONS, *SPECIAL])


def predictors(settings: dict[str, Any]) -> tuple[pd.DataFrame, tuple[ColumnSpec, ...]]:
    return with_lesions() if settings.get("aggregate") else (X, BLOCK_COLUMNS)


FAST = (
    "ridge time_to_event", "xgboost_aft time_to_event", "random_forest time_to_event", "lesions ridge binary max",
    "calibrated forest", "harmonised",
)  # fmt: skip
NAMES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in EVERY]


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest) -> tuple[CvResult, pd.DataFrame]:
    settings = EVERY[request.param]
    if settings["learner"] == "ebm":
        pytest.importorskip("interpret")
    table, columns = predictors(settings)
    recipe = Recipe(feature_set="all", columns=columns, **SMALL, **settings)
    return nested_cv(table, Y, FOLDS, recipe, endpoint="dfs", horizon=24.0, inner_folds=2, seed=1, min_events=5), table


@pytest.fixture(scope="module")
def explained(fitted: tuple[CvResult, pd.DataFrame]) -> Explained:
    return explain_out_of_fold(*fitted)


def test_every_kind_of_model_a_run_can_train_is_here() -> None:
    assert set(FAST) <= set(EVERY)
    assert {(s["learner"], s["kind"]) for _, s in PLAIN} == set(_CLASSES)
    assert {(s["learner"], s["kind"]) for _, s in OF_LESIONS} == set(_OF_LESIONS)


def test_tables_obey_their_schemas(explained: Explained) -> None:
    check_table(explained.attributions, "attributions")
    check_table(explained.probabilities, "probability_attributions")


def test_values_add_up_to_the_prediction(fitted: tuple[CvResult, pd.DataFrame], explained: Explained) -> None:
    """Per fold, prediction - sum of attributions is one number, to 1e-5: of the risk and of each probability."""
    first = fitted[0].predictions.set_index("patient_id")
    base = first["risk"] - explained.attributions.groupby("patient_id")["attribution"].sum()
    assert base.groupby(first["fold"]).apply(np.ptp).max() <= 2e-5
    assert len(explained.probabilities)
    for month, rows in explained.probabilities.groupby("months"):
        predicted = first[f"probability_{month:.0f}m"]
        base = predicted - rows.groupby("patient_id")["attribution"].sum()
        assert base.groupby(first["fold"]).apply(np.ptp).max() <= 2e-5
        assert base.between(0, 1).all()


def test_probabilities_are_explained_wherever_they_are_given(
    fitted: tuple[CvResult, pd.DataFrame], explained: Explained
) -> None:
    first = fitted[0].predictions
    given = {m for m in (12.0, 24.0, 36.0) if first[f"probability_{m:.0f}m"].notna().all()}
    assert set(explained.probabilities["months"]) == given


def test_the_planted_input_is_found(explained: Explained) -> None:
    strength = explained.attributions.groupby("feature")["attribution"].apply(lambda a: a.abs().mean())
    assert strength.idxmax() in ("x1", "lesion__a")
    chance = explained.probabilities.groupby(["months", "feature"])["attribution"].apply(lambda a: a.abs().mean())
    assert {feature for _, feature in (chance.loc[[m]].idxmax() for m in chance.index.levels[0])} <= {"x1", "lesion__a"}


def test_the_same_values_each_time(fitted: tuple[CvResult, pd.DataFrame], explained: Explained) -> None:
    again = explain_out_of_fold(*fitted)
    pd.testing.assert_frame_equal(again.attributions, explained.attributions, check_exact=True)
    pd.testing.assert_frame_equal(again.probabilities, explained.probabilities, check_exact=True)


def test_a_patient_is_explained_alike_in_any_company(fitted: tuple[CvResult, pd.DataFrame]) -> None:
    """No value depends on who else is explained."""
    result, table = fitted
    pipeline = result.models[0, 0]
    train, test = table.loc[result.trained(0, 0)], table.loc[result.folds.index[result.folds[0] == 0]]
    all_of_them = risk_parts(pipeline, train, test, seed=0).values
    one = risk_parts(pipeline, train, test.iloc[[3]], seed=0).values
    np.testing.assert_allclose(one[0], all_of_them[3], atol=1e-6)


@pytest.mark.parametrize("learner", ["ridge", "random_forest", "xgboost"])
def test_names_of_inputs_are_those_of_the_frozen_model(learner: str) -> None:
    recipe = Recipe("all", BLOCK_COLUMNS, learner, "binary", select_k=4, **SMALL)  # type: ignore[arg-type]
    result = nested_cv(X, Y, FOLDS, recipe, endpoint="dfs", horizon=24.0, inner_folds=2, seed=1, min_events=5)
    for pipeline in result.models.values():
        assert names_of_inputs(pipeline) == freeze(pipeline).input_names()


def test_lesions_are_shown_by_their_mean() -> None:
    table, columns = with_lesions()
    shown = readable_table(table, columns)
    own = table[[lesion_column(n, "lesion__a") for n in (1, 2, 3)]]
    np.testing.assert_allclose(shown["lesion__a"], own.mean(axis=1))
    assert not [name for name in shown.columns if name.startswith("lesion1:")]
    assert len(shown.columns) == len(set(shown.columns))


def test_the_cost_of_a_game_is_bounded() -> None:
    asked = 0

    def game(sets: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(sets)
        return sets.sum(axis=1).astype(float)

    values = shapley_values(game, 200, seed=0, pairs=4)
    assert asked == 2 * 4 * 201
    np.testing.assert_allclose(values, 1.0)


def test_refuses_a_probability_that_does_not_add_up(fitted: tuple[CvResult, pd.DataFrame]) -> None:
    result, table = fitted
    pipeline, test = result.models[0, 0], table.iloc[:5]
    parts = risk_parts(pipeline, table, test, seed=0)
    wrong = replace(parts, base=parts.base + 1.0, values=parts.values * 1.5)
    if hasattr(getattr(pipeline[-1], "learner", pipeline[-1]), "forest_"):
        pytest.skip("a forest explains its probabilities itself")
    with pytest.raises(CrlmError, match="do not add up"):
        probability_parts(pipeline, test, wrong, (24.0,), seed=0)
