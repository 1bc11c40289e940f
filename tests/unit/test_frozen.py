"""Frozen models: storage, refusals, what they hold and what they need."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulated_tables import MIXED_COLUMNS, draw_outcome, mixed_table
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe, candidates, preprocessing
from radiomics_crlm.modelling.train import fit_final

X = mixed_table(90, 0)
Y = draw_outcome(1.2 * X["x1"].to_numpy(), 0)


def _fit(learner: str, kind: str) -> FrozenModel:
    recipe = Recipe("all", MIXED_COLUMNS, learner, kind, rounds=(10, 20), depths=(1,), select_k=5)
    return freeze(fit_final(X, Y, recipe, endpoint="dfs", horizon=24.0, inner_folds=3, seed=1))


@pytest.fixture(scope="module")
def cox() -> FrozenModel:
    return _fit("ridge", "time_to_event")


@pytest.fixture(scope="module")
def trees() -> FrozenModel:
    return _fit("xgboost", "binary")


def test_state_is_json_and_restores_itself(cox: FrozenModel, trees: FrozenModel) -> None:
    for model in (cox, trees):
        text = json.dumps(model.to_state(), allow_nan=False)
        again = FrozenModel.from_state(json.loads(text), model.booster)
        assert json.dumps(again.to_state()) == text
        assert again.booster == model.booster


def test_holds_no_patient(cox: FrozenModel) -> None:
    text = json.dumps(cox.to_state())
    assert not any(patient in text for patient in X.index)


def test_inputs_are_named(cox: FrozenModel) -> None:
    inputs = cox.transform(X)
    assert list(inputs.columns) == cox.input_names()
    assert inputs.index.equals(X.index)
    assert "node" in cox.input_names()
    assert len(set(cox.input_names())) == len(cox.input_names())


def test_values_are_in_the_unit_of_the_column(cox: FrozenModel) -> None:
    shown = cox.values(X)
    assert list(shown.columns) == cox.input_names()
    np.testing.assert_array_equal(shown["x1"], X["x1"])
    np.testing.assert_array_equal(shown["node"], X["node"].astype("Float64").to_numpy(na_value=np.nan))


def test_contributions_add_up(cox: FrozenModel, trees: FrozenModel) -> None:
    for model in (cox, trees):
        values, base = model.contributions(X)
        np.testing.assert_allclose(values.sum(axis=1) + base, model.risk(X), atol=1e-5)


def test_an_unknown_patient_is_scored(cox: FrozenModel, trees: FrozenModel) -> None:
    """Nothing known at all: every input is imputed, and the numbers are finite."""
    empty = X.iloc[:1].copy().astype(object)
    empty[:] = None
    for model in (cox, trees):
        assert np.isfinite(model.risk(empty)).all()
        assert np.isfinite(model.probability(empty)[:, 1]).all()


def test_no_rows(cox: FrozenModel, trees: FrozenModel) -> None:
    for model in (cox, trees):
        assert model.risk(X.iloc[:0]).shape == (0,)
        assert model.probability(X.iloc[:0]).shape == (0, 3)


def test_scoring_a_linear_model_needs_neither_scikit_learn_nor_xgboost(cox: FrozenModel) -> None:
    code = (
        "import json, sys\n"
        "import pandas as pd\n"
        "from radiomics_crlm.modelling.frozen import FrozenModel\n"
        "model = FrozenModel.from_state(json.loads(sys.stdin.read()))\n"
        "model.probability(pd.DataFrame({c.name: [None] for c in model.columns}))\n"
        "loaded = {'sklearn', 'xgboost', 'shap', 'joblib'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    state = json.dumps(cox.to_state())
    done = subprocess.run([sys.executable, "-c", code], input=state, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.update(surprise=1), "surprise: Extra inputs"),
        (lambda s: s.pop("fill"), "fill: Field required"),
        (lambda s: s.update(format=2), "format"),
        (lambda s: s.update(learner="forest"), "learner"),
        (lambda s: s["fill"].__setitem__(0, float("nan")), "fill.0"),
        (lambda s: s["coefficients"].__setitem__(0, float("inf")), "coefficients.0"),
        (lambda s: s["coefficients"].__setitem__(0, "1.0"), "coefficients.0"),
        (lambda s: s["coefficients"].append(1.0), "coefficients or input_mean do not fit"),
        (lambda s: s.update(coefficients=None), "coefficients or input_mean do not fit"),
        (lambda s: s["mean"].pop(), "different lengths"),
        (lambda s: s["scale"].__setitem__(0, 0.0), "scale.0"),
        (lambda s: s["scale"].__setitem__(0, -1.0), "scale.0"),
        (lambda s: s["selected"].__setitem__(0, -1), "selected.0"),
        (lambda s: s["selected"].__setitem__(0, 999), "points beyond"),
        (lambda s: s["selected"].__setitem__(0, s["selected"][1]), "repeats an input"),
        (lambda s: s["selected"].__setitem__(0, True), "selected.0"),
        (lambda s: s["indicators"].append(999), "fill or indicators"),
        (lambda s: s["fill"].append(0.0), "fill or indicators"),
        (lambda s: s.update(columns=[]), "fill or indicators"),
        (lambda s: s["columns"][0].update(kind="text"), "columns.0.kind"),
        (lambda s: s["columns"][0].update(name=1), "columns.0.name"),
        (lambda s: s["columns"][0].update(name="x1"), "declared more than once"),
        (lambda s: s["columns"][8].update(categories=["a", "a", "b"]), "not valid"),
        (lambda s: s["baseline"]["months"].reverse(), "months do not ascend"),
        (lambda s: s["baseline"]["event"].pop(), "different lengths"),
        (lambda s: s["baseline"]["event"].__setitem__(0, -0.1), "baseline.event.0"),
        (lambda s: s["baseline"].update(extra=1), "baseline.extra"),
        (lambda s: s.update(baseline=None), "either a horizon or a baseline"),
        (lambda s: s.update(horizon_months=24.0), "either a horizon or a baseline"),
        (lambda s: s.update(learner="xgboost"), "coefficients or input_mean do not fit"),
    ],
)
def test_refuses_a_damaged_state(cox: FrozenModel, change: Change, match: str) -> None:
    state = copy.deepcopy(cox.to_state())
    change(state)
    with pytest.raises(InputError, match=match):
        FrozenModel.from_state(state, cox.booster)


@pytest.mark.parametrize("state", [None, 1, "text", [], {}])
def test_refuses_what_is_no_state(state: object) -> None:
    with pytest.raises(InputError, match="stored model is not valid"):
        FrozenModel.from_state(state)


def test_refuses_trees_that_do_not_belong(cox: FrozenModel, trees: FrozenModel) -> None:
    with pytest.raises(InputError, match="trees and learner do not fit together"):
        FrozenModel.from_state(cox.to_state(), trees.booster)
    with pytest.raises(InputError, match="trees and learner do not fit together"):
        FrozenModel.from_state(trees.to_state())
    fewer = trees.to_state()
    for name in ("selected", "mean", "scale"):
        fewer[name] = fewer[name][:-1]
    with pytest.raises(InputError, match="another number of inputs"):
        FrozenModel.from_state(fewer, trees.booster)


def test_freezes_only_what_training_makes() -> None:
    with pytest.raises(ConfigError, match="cannot be frozen"):
        freeze(Pipeline([("scale", StandardScaler())]))
    recipe = Recipe("all", MIXED_COLUMNS, "ridge", "time_to_event")
    unfitted = Pipeline([*preprocessing(recipe, None).steps, ("learner", candidates(recipe, None)[0])])
    with pytest.raises(ConfigError, match="not fitted"):
        freeze(unfitted)
