"""Search by Optuna: seeded, quiet, inside the fold, and never worse than where it began."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from simulated_tables import MIXED_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.config import TuningConfig, parse_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import nested_cv
from radiomics_crlm.modelling.tuning import Range, Search, search

X = mixed_table(90, 0)
Y = draw_outcome(1.2 * X["x1"].to_numpy(), 0)
FOLDS = deal_folds(X.index, folds=3, repeats=1, seed=0)
SETTINGS = {"endpoint": "dfs", "horizon": 24.0, "inner_folds": 3, "seed": 5}
SPACE = {"a": Range(0.01, 100, log=True), "b": Range(1, 9, whole=True)}


def bowl(settings: dict[str, float]) -> float:
    return -(np.log10(settings["a"]) ** 2) - (settings["b"] - 4) ** 2


def test_the_best_is_found_and_the_first_is_the_conservative_one():
    found = search(SPACE, bowl, trials=60, seed=1, first={"a": 1e6, "b": 1})
    assert found.settings[0] == {"a": 100.0, "b": 1}
    assert all(isinstance(s["b"], int) and 1 <= s["b"] <= 9 and 0.01 <= s["a"] <= 100 for s in found.settings)
    best = found.settings[int(np.argmax(found.scores))]
    assert abs(np.log10(best["a"])) < 0.5
    assert best["b"] == 4
    assert found.scores[30:].mean() > found.scores[1:9].mean()


def test_the_seed_decides():
    one, two, other = (search(SPACE, bowl, trials=20, seed=s, first={"a": 1, "b": 1}) for s in (3, 3, 4))
    assert one.settings == two.settings
    assert one.settings != other.settings


def test_settings_are_judged_once(capsys):
    asked: list[float] = []

    def judge(settings: dict[str, float]) -> float:
        asked.append(settings["b"])
        return 0.5

    found = search({"b": Range(1, 3, whole=True)}, judge, trials=25, seed=0, first={"b": 1})
    assert len(found.settings) == 25
    assert sorted(asked) == sorted(set(asked))
    assert capsys.readouterr() == ("", "")


def test_ranges_come_from_the_grid_unless_declared():
    grid = {"depth": (1, 2), "rounds": (25, 50, 150), "penalty": (3.0, 0.03), "share": (0.9, 0.5)}
    space = Search(10, {"depth": Range(1, 6), "penalty": Range(0.5, 5)}).space(grid)
    assert space == {
        "depth": Range(1, 6, whole=True),
        "rounds": Range(25, 150, whole=True),
        "penalty": Range(0.5, 5),
        "share": Range(0.5, 0.9),
    }
    assert Search().space({"penalty": (3.0, 0.03)}) == {"penalty": Range(0.03, 3.0, log=True)}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Range(0, 1), "0 < low <= high; got 0 to 1"),
        (lambda: Range(2, 1), "got 2 to 1"),
        (lambda: Range(1, 2.5, whole=True), "whole numbers has other limits"),
        (lambda: Search(1), "too few trials"),
        (lambda: Search(5, {"depht": Range(1, 2)}).space({"depth": (1, 2)}), "expected depth; got depht"),
        (lambda: recipe("ridge", fixed=True, penalties=(1.0,)), "either fixed or searched"),
        (lambda: recipe("ridge", search=Search(5, {"depth": Range(1, 2)})), "does not tune.*expected penalty"),
        (lambda: parse_config(TuningConfig, {"space": {"ridge": {}}}, where="t"), "is for the method optuna"),
    ],
)
def test_refusals(make, match):
    with pytest.raises(ConfigError, match=match):
        make()


def recipe(learner: str, kind: str = "time_to_event", **more: object) -> Recipe:
    return Recipe("all", MIXED_COLUMNS, learner, kind, **{"search": Search(6), **more})


@pytest.mark.parametrize(("learner", "kind"), [("ridge", "binary"), ("xgboost", "time_to_event")])
def test_inside_the_fold_and_whatever_the_jobs(learner, kind):
    wanted = recipe(learner, kind, rounds=(10, 20), depths=(1, 2))
    once = nested_cv(X, Y, FOLDS, wanted, **SETTINGS)
    twice = nested_cv(X, Y, FOLDS, wanted, **SETTINGS, jobs=2)
    pd.testing.assert_frame_equal(once.predictions, twice.predictions, check_exact=True)
    pd.testing.assert_frame_equal(once.tuning, twice.tuning, check_exact=True)
    assert len(once.tuning) == 3 * 6
    assert once.fits == 3 * (3 + 1)
    for _, trials in once.tuning.groupby("fold"):
        chosen = trials[trials["selected"]]
        assert len(chosen) == 1
        assert chosen["concordance"].iloc[0] == trials["concordance"].max()
    settings = [json.loads(text) for text in once.tuning["parameters"]]
    assert all(set(s) == set(wanted.ranges()) for s in settings)


def test_the_grid_stays_as_it_was():
    """The candidates of a search that lands on the grid get the score that the grid gives them."""
    grid = nested_cv(X, Y, FOLDS, recipe("ridge", search=None), **SETTINGS).tuning
    tried = nested_cv(X, Y, FOLDS, recipe("ridge"), **SETTINGS).tuning
    first = tried.groupby("fold").head(1).set_index("fold")
    same = grid.groupby("fold").head(1).set_index("fold")
    assert (first["parameters"] == same["parameters"]).all()
    pd.testing.assert_series_equal(first["concordance"], same["concordance"], check_exact=True)
