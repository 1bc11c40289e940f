"""Recipes, their candidates and their preprocessing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import get_args

import numpy as np
import pytest
from simulated_tables import MIXED_COLUMNS, draw_outcome, mixed_table, number_columns
from sklearn.base import clone

from radiomics_crlm.config import LearnerName
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.estimators import (
    ElasticNetCox,
    ElasticNetLogistic,
    FineGray,
    ForestAtHorizon,
    ForestIncidence,
    RidgeCox,
    RidgeLogistic,
    XGBoostAFT,
    XGBoostCox,
    XGBoostLogistic,
)
from radiomics_crlm.modelling.recipe import Recipe, candidates, not_deliverable, preprocessing, why_not

COLUMNS = number_columns(3)


@pytest.mark.parametrize(
    ("learner", "kind", "type_", "count"),
    [
        ("ridge", "time_to_event", RidgeCox, 5),
        ("ridge", "binary", RidgeLogistic, 5),
        ("xgboost", "time_to_event", XGBoostCox, 8),
        ("xgboost", "binary", XGBoostLogistic, 8),
        ("xgboost_aft", "time_to_event", XGBoostAFT, 8),
        ("elastic_net", "time_to_event", ElasticNetCox, 12),
        ("elastic_net", "binary", ElasticNetLogistic, 12),
        ("fine_gray", "time_to_event", FineGray, 5),
        ("random_forest", "time_to_event", ForestIncidence, 4),
        ("random_forest", "binary", ForestAtHorizon, 4),
    ],
)
def test_candidates(learner: str, kind: str, type_: type, count: int) -> None:
    recipe = Recipe("clinical", COLUMNS, learner, kind, seed=7)
    found = candidates(recipe, 24.0)
    assert len(found) == count
    assert all(type(candidate) is type_ for candidate in found)
    assert all(candidate.get_params().get("seed", 7) == 7 for candidate in found)
    tuned = [tuple(candidate.get_params()[name] for name in recipe.space()) for candidate in found]
    assert len(set(tuned)) == count
    first = [values[0] for values in tuned]
    assert first == sorted(first, reverse="penalty" in recipe.space())


@pytest.mark.parametrize(
    ("learner", "kind"), [("fine_gray", "binary"), ("xgboost_aft", "binary"), ("ebm", "time_to_event")]
)
def test_learners_of_one_kind_of_endpoint(learner: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"s/{learner}: the learner {learner} is not for {kind.replace('_', '-')}"):
        Recipe("s", COLUMNS, learner, kind)


def test_every_learner_has_a_class_and_a_search_space() -> None:
    both = (*COLUMNS, ColumnSpec("r", block="radiomics"))
    for learner in get_args(LearnerName):
        kinds = [kind for kind in ("binary", "time_to_event") if not why_not(learner, kind, {"clinical", "radiomics"})]
        assert kinds
        if learner == "ebm" and find_spec("interpret") is None:
            continue
        for kind in kinds:
            assert len(candidates(Recipe("s", both, learner, kind), 24.0)) > 1
            assert (not_deliverable(learner, kind) != "") == (learner == "ebm")


def test_name() -> None:
    assert Recipe("clinical", COLUMNS, "ridge", "binary").name == "clinical/ridge"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"learner": "forest"}, "unknown learner or kind"),
        ({"kind": "count"}, "unknown learner or kind"),
        ({"learner": "elastic_net", "l1_ratios": (0.0,)}, "values <= 0"),
        ({"learner": "random_forest", "leaves": (8,)}, "does not fit its declaration"),
        ({"penalties": ()}, "search space is empty"),
        ({"penalties": (1.0, 0.0)}, "values <= 0"),
        ({"penalties": (1.0,)}, "does not fit its declaration"),
        ({"fixed": True}, "does not fit its declaration.*got 5 candidates"),
        ({"learner": "xgboost", "rounds": (50,), "depths": (2,)}, "does not fit its declaration"),
        ({"learner": "xgboost", "rounds": ()}, "search space is empty"),
        ({"select_k": 0}, "select_k is out of range"),
        ({"max_correlation": 0.0}, "filter limits"),
        ({"max_constant": 1.1}, "filter limits"),
        ({"columns": ()}, "at least one column"),
    ],
)
def test_refusals(change: dict, match: str) -> None:
    settings = {"feature_set": "s", "columns": COLUMNS, "learner": "ridge", "kind": "time_to_event"} | change
    with pytest.raises(ConfigError, match=match):
        Recipe(**settings)


def test_one_candidate_is_fine_if_declared() -> None:
    assert len(candidates(Recipe("s", COLUMNS, "ridge", "time_to_event", penalties=(1.0,), fixed=True), None)) == 1


@pytest.mark.parametrize("learner", ["ridge", "xgboost"])
def test_binary_needs_a_horizon(learner: str) -> None:
    with pytest.raises(ConfigError, match="needs a horizon"):
        candidates(Recipe("s", COLUMNS, learner, "binary"), None)


def test_preprocessing_leaves_finite_standardised_inputs() -> None:
    X = mixed_table(80, 0)
    y = draw_outcome(X["x1"].to_numpy(), 0)
    steps = preprocessing(Recipe("s", MIXED_COLUMNS, "ridge", "time_to_event"), None)
    out = clone(steps).fit_transform(X, y)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=1e-12)


def test_column_missing_in_all_training_patients_is_dropped() -> None:
    """And later values of it are ignored rather than fatal."""
    X = mixed_table(80, 1)
    y = draw_outcome(X["x1"].to_numpy(), 1)
    full = X.copy()
    X["x2"] = np.nan
    steps = preprocessing(Recipe("s", MIXED_COLUMNS, "ridge", "time_to_event"), None).fit(X, y)
    assert np.isfinite(steps.transform(full)).all()
    changed = full.assign(x2=full["x2"] * 100)
    assert (steps.transform(full) == steps.transform(changed)).all()


def test_kept_columns_pass_the_selection() -> None:
    X = mixed_table(80, 2)
    y = draw_outcome(X["x1"].to_numpy(), 2)
    recipe = Recipe("s", MIXED_COLUMNS, "ridge", "time_to_event", select_k=1)
    assert recipe.kept() == (7,)
    steps = preprocessing(recipe, None).fit(X, y)
    assert steps.named_steps["filter"].selected_[steps.named_steps["select"].selected_][0] == 7
    assert steps.transform(X).shape == (80, 2)
