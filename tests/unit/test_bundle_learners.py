"""Every learner that can be delivered: through a bundle and back, and what a spoilt one meets."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scoring_examples import CLINICAL, RADIOMICS, content, training_table
from simulated_tables import draw_outcome

from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final
from radiomics_crlm.modelling.trees import MOST_LEAVES
from radiomics_crlm.scoring.bundle import load_bundle, write_bundle
from radiomics_crlm.scoring.sealed import parse_object
from radiomics_crlm.scoring.trees import check_trees

TIMES = {"distribution": "normal", "scale": 1.0, "last_month": 60.0}
INPUTS = (*CLINICAL, *RADIOMICS)
TABLE = training_table(INPUTS, rows=120)
OUTCOME = draw_outcome(TABLE["burden__total_volume_ml"].rank().to_numpy() / 60 - 1, 0)
LEARNERS = [
    *((name, kind) for name in ("elastic_net", "random_forest", "late_fusion", "stacking")
      for kind in ("binary", "time_to_event")),
    ("fine_gray", "time_to_event"),
    ("xgboost_aft", "time_to_event"),
]  # fmt: skip


@functools.cache
def frozen(learner: str, kind: str) -> FrozenModel:
    columns = tuple(ColumnSpec(s.name, s.kind, s.categories, s.log, block=s.source) for s in INPUTS)
    recipe = Recipe("c", columns, learner, kind, trees=30, rounds=(10, 20), depths=(1,), penalties=(1.0, 0.1))
    return freeze(fit_final(TABLE, OUTCOME, recipe, endpoint="e", horizon=24.0, inner_folds=2, seed=0))


@pytest.mark.parametrize(("learner", "kind"), LEARNERS)
def test_through_a_bundle_and_back(tmp_path: Path, learner: str, kind: str) -> None:
    model = frozen(learner, kind)
    described = content(INPUTS, horizon=24.0 if kind == "binary" else None)
    digest = write_bundle(tmp_path / "b", described, model)
    loaded = load_bundle(tmp_path / "b")
    assert loaded.sha256 == digest
    assert loaded.model.learner == model.learner
    assert (loaded.model.risk(TABLE) == model.risk(TABLE)).all()
    np.testing.assert_array_equal(loaded.model.probability(TABLE), model.probability(TABLE))
    values, base = loaded.model.contributions(TABLE)
    np.testing.assert_allclose(values.sum(axis=1) + base, model.risk(TABLE), atol=1e-5)
    assert write_bundle(tmp_path / "again", described, loaded.model) == digest


def test_forms() -> None:
    assert {frozen(*which).learner for which in LEARNERS} == {"linear", "forest", "xgboost"}
    assert frozen("xgboost_aft", "time_to_event").log_time is not None
    assert frozen("random_forest", "time_to_event").months == (12.0, 24.0, 36.0)


def test_a_forest_speaks_at_its_months_alone() -> None:
    model = frozen("random_forest", "time_to_event")
    assert [model.speaks_at(month) for month in (12.0, 18.0, 36.0)] == [True, False, True]
    assert np.isnan(model.probability(TABLE, (18.0,))).all()


def test_a_time_model_speaks_within_its_follow_up() -> None:
    model = frozen("xgboost_aft", "time_to_event")
    assert model.speaks_at(36.0)
    assert not model.speaks_at(99.0)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f["feature"].pop(), "nodes of the trees have different lengths"),
        (lambda f: f.update(months=[24.0, 12.0, 36.0]), "months do not ascend"),
        (lambda f: f.update(months=[]), "forest.months"),
        (lambda f: f.update(output=3), "values and months of the trees"),
        (lambda f: f["value"][0].pop(), "values and months of the trees"),
        (lambda f: f["value"][0].__setitem__(0, 1.5), "forest.value.0.0"),
        (lambda f: f["value"][0].__setitem__(0, float("nan")), "forest.value.0.0"),
        (lambda f: f["cover"].__setitem__(0, 0.0), "forest.cover.0"),
        (lambda f: f["threshold"].__setitem__(0, float("inf")), "forest.threshold.0"),
        (lambda f: f["feature"].__setitem__(0, 999), "splits on an input beyond"),
        (lambda f: f["feature"].__setitem__(0, -1), "neither a leaf nor a split"),
        (lambda f: f["feature"].__setitem__(0, -2), "forest.feature.0"),
        (lambda f: f["left"].__setitem__(0, 0), "a child comes before its parent"),
        (lambda f: f["left"].__setitem__(0, 10**6), "stray or a shared child"),
        (lambda f: f["left"].__setitem__(0, f["roots"][1]), "stray or a shared child"),
        (lambda f: f.update(roots=[]), "forest.roots"),
        (lambda f: f["roots"].__setitem__(0, 1), "roots"),
        (lambda f: f["roots"].append(10**7), "roots point beyond"),
        (lambda f: f.update(roots=[0]), "a tree is too large|stray"),
        (lambda f: f.update(extra=1), "forest.extra"),
    ],
)
def test_refuses_a_damaged_forest(change: Change, match: str) -> None:
    state = copy.deepcopy(frozen("random_forest", "time_to_event").to_state())
    change(state["forest"])
    with pytest.raises(InputError, match=match):
        FrozenModel.from_state(state)


def test_refuses_a_tree_that_no_training_grows() -> None:
    """A single leaf, and more nodes than the largest tree has."""
    state = copy.deepcopy(frozen("random_forest", "binary").to_state())
    for many, match in ((2 * MOST_LEAVES, "a tree is too large"), (2 * MOST_LEAVES - 1, "a stray or a shared child")):
        nodes = {"feature": -1, "threshold": 0.0, "left": -1, "value": [0.5], "cover": 1.0}
        state["forest"] |= {"roots": [0], **{name: [value] * many for name, value in nodes.items()}}
        with pytest.raises(InputError, match=match):
            FrozenModel.from_state(state)


@pytest.mark.parametrize(
    ("which", "change", "match"),
    [
        (("elastic_net", "binary"), lambda s: s.update(log_time=TIMES), "log_time and learner do not fit together"),
        (("random_forest", "binary"), lambda s: s.update(log_time=TIMES), "its own months and nothing else"),
        (("random_forest", "time_to_event"), lambda s: s.pop("forest"), "forest and learner do not fit"),
        (("random_forest", "time_to_event"), lambda s: s.update(horizon_months=24.0), "its own months"),
        (("random_forest", "binary"), lambda s: s.update(horizon_months=12.0), "its own months"),
        (("random_forest", "binary"), lambda s: s.update(learner="linear"), "coefficients or input_mean"),
        (("elastic_net", "binary"), lambda s: s.update(learner="forest"), "coefficients or input_mean"),
        (("xgboost_aft", "time_to_event"), lambda s: s.update(log_time=None), "either a horizon or a baseline"),
        (("xgboost_aft", "time_to_event"), lambda s: s.update(horizon_months=24.0), "either a horizon or a baseline"),
        (("xgboost_aft", "time_to_event"), lambda s: s["log_time"].update(scale=0.0), "log_time.scale"),
        (("xgboost_aft", "time_to_event"), lambda s: s["log_time"].update(distribution="x"), "log_time.distribution"),
    ],
)
def test_refuses_parts_that_do_not_belong_together(which: tuple, change: Change, match: str) -> None:
    model = frozen(*which)
    state = copy.deepcopy(model.to_state())
    change(state)
    with pytest.raises(InputError, match=match):
        FrozenModel.from_state(state, model.booster)


def test_the_old_name_of_linear_models_is_read() -> None:
    model = frozen("elastic_net", "time_to_event")
    old = FrozenModel.from_state(model.to_state() | {"learner": "ridge"})
    assert (old.risk(TABLE) == model.risk(TABLE)).all()
    assert old.to_state() == model.to_state()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda o: o.update(name="survival:cox"), "is not as this program"),
        (lambda o: o["aft_loss_param"].update(aft_loss_distribution="cauchy"), "another distribution"),
        (lambda o: o["aft_loss_param"].update(aft_loss_distribution_scale="1e9999"), "another distribution"),
        (lambda o: o["aft_loss_param"].update(aft_loss_distribution_scale=1.0), "another distribution"),
        (lambda o: o["aft_loss_param"].update(extra="1"), "objective is not as"),
        (lambda o: o.pop("aft_loss_param"), "aft_loss_param is missing"),
    ],
)
def test_refuses_trees_for_the_time_that_are_not_as_written(change: Change, match: str) -> None:
    booster = frozen("xgboost_aft", "time_to_event").booster
    assert booster is not None
    good = parse_object(booster, what="booster.json")
    check_trees(good)
    bad = json.loads(booster)
    change(bad["learner"]["objective"])
    with pytest.raises(InputError, match=match):
        check_trees(bad)
