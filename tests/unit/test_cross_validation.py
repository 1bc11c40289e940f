"""Outer folds of many models in one queue: the same results, whatever was interrupted, damaged or done elsewhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_tables import MIXED_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.errors import ConfigError, CrlmError, InputError
from radiomics_crlm.modelling import train
from radiomics_crlm.modelling.harmonisation import Harmonisation, SiteTable
from radiomics_crlm.modelling.operating import Operating, ThresholdRule
from radiomics_crlm.modelling.outer import CvDesign, CvResult
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import cv_design, nested_cv, pipeline_risk
from radiomics_crlm.modelling.tuning import Range, Search
from radiomics_crlm.parallel import Lost
from radiomics_crlm.study.checkpoints import Checkpoints
from radiomics_crlm.study.cross_validation import cross_validate, explanation_of, keep_explanation

X = mixed_table(90, 0)
Y = draw_outcome(1.2 * X["x1"].to_numpy(), 0)
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)
SETTINGS: dict[str, Any] = {"endpoint": "dfs", "horizon": 24.0, "inner_folds": 3, "seed": 5}
RECIPES = (
    Recipe("all", MIXED_COLUMNS, "ridge", "time_to_event"),
    Recipe("all", MIXED_COLUMNS, "xgboost", "binary", rounds=(5, 10), depths=(1,)),
    Recipe(
        "some", MIXED_COLUMNS, "ridge", "binary", select_k=4,
        operating=Operating("isotonic", (ThresholdRule("sensitivity", 0.9),), 24.0),
    ),
)  # fmt: skip
TASKS = 2 * 3 * len(RECIPES)


def designs() -> list[CvDesign]:
    return [cv_design(X, Y, FOLDS, recipe, **SETTINGS) for recipe in RECIPES]


@pytest.fixture(scope="module")
def plain() -> list[CvResult]:
    return [nested_cv(X, Y, FOLDS, recipe, **SETTINGS) for recipe in RECIPES]


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the outer folds that are fitted."""
    names: list[str] = []
    honest = train._outer_fold

    def noted(task: Any) -> Any:
        names.append(task.name)
        return honest(task)

    monkeypatch.setattr(train, "_outer_fold", noted)
    return names


def same(found: Sequence[CvResult], expected: Sequence[CvResult]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        for name in ("predictions", "tuning", "thresholds", "folds"):
            pd.testing.assert_frame_equal(getattr(mine, name), getattr(theirs, name), check_exact=True)
        assert (mine.endpoint, mine.recipe.name, mine.fits) == (theirs.endpoint, theirs.recipe.name, theirs.fits)


class StopError(Exception):
    """Stands for whatever stops a run."""


def stop_after(count: int) -> Callable[[int, int], None]:
    def progress(done: int, _: int) -> None:
        if done >= count:
            raise StopError

    return progress


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_queue_gives_what_each_model_gives_alone(plain: list[CvResult], jobs: int) -> None:
    seen: list[tuple[int, int]] = []
    found = cross_validate(designs(), jobs=jobs, on_progress=lambda *counts: seen.append(counts))
    same(found, plain)
    assert seen == [(i, TASKS) for i in range(1, TASKS + 1)]
    assert not any(result.models for result in found)


@pytest.mark.parametrize("jobs", [1, 2])
def test_goes_on_where_it_stopped(
    plain: list[CvResult], store: Checkpoints, fitted: list[str], jobs: int, tmp_path: Path
) -> None:
    with pytest.raises(StopError):
        cross_validate(designs(), checkpoints=store, jobs=jobs, on_progress=stop_after(7))
    kept = len(list(tmp_path.rglob("*.json")))
    assert kept >= 7
    fitted.clear()
    seen: list[tuple[int, int]] = []
    found = cross_validate(designs(), checkpoints=store, on_progress=lambda *counts: seen.append(counts))
    same(found, plain)
    assert len(fitted) == TASKS - kept
    assert seen == [(i, TASKS) for i in range(kept, TASKS + 1)]
    fitted.clear()
    same(cross_validate(designs(), checkpoints=store), plain)
    assert fitted == []


def test_fitted_models_are_made_again_where_they_are_wanted(
    plain: list[CvResult], store: Checkpoints, fitted: list[str]
) -> None:
    cross_validate(designs(), checkpoints=store)
    fitted.clear()
    found = cross_validate(designs(), models=[1], checkpoints=store)
    same(found, plain)
    assert fitted == [f"dfs, all/xgboost, repeat 0, fold {fold}" for fold in range(3)]
    assert [len(result.models) for result in found] == [0, 3, 0]
    for place, model in plain[1].models.items():
        np.testing.assert_array_equal(pipeline_risk(found[1].models[place], X), pipeline_risk(model, X))


def test_a_damaged_checkpoint_is_done_again(
    plain: list[CvResult], store: Checkpoints, fitted: list[str], tmp_path: Path
) -> None:
    cross_validate(designs(), checkpoints=store)
    fitted.clear()
    first, second, *_ = sorted(tmp_path.rglob("*.json"))
    first.write_bytes(first.read_bytes()[:-30])
    second.write_bytes(second.read_bytes().replace(b"0.", b"1.", 1))
    same(cross_validate(designs(), checkpoints=store), plain)
    assert len(fitted) == store.damaged == 2


SITES = SiteTable(X.index, np.array(["a", "b"] * 45, dtype=object), np.empty((90, 0)))
BASE = RECIPES[0]
OTHERS: dict[str, dict[str, Any]] = {
    "a cell": {"X": X.assign(x1=X["x1"] + 1e-15)},
    "order of patients": {"X": X.iloc[::-1], "y": Y[::-1]},
    "an outcome": {"y": draw_outcome(1.2 * X["x1"].to_numpy(), 1)},
    "folds": {"folds": deal_folds(X.index, folds=3, repeats=2, seed=1)},
    "seed": {"seed": 6},
    "inner folds": {"inner_folds": 4},
    "learner": {"recipe": replace(BASE, learner="elastic_net")},
    "candidates": {"recipe": replace(BASE, penalties=(3.0, 1.0))},
    "columns": {"recipe": replace(BASE, columns=MIXED_COLUMNS[1:])},
    "nothing is logged": {"recipe": replace(BASE, columns=tuple(replace(c, log=False) for c in MIXED_COLUMNS))},
    "selection": {"recipe": replace(BASE, select_k=4)},
    "search": {"recipe": replace(BASE, search=Search(5, {"penalty": Range(0.1, 1.0, True)}))},
    "operating": {"recipe": replace(BASE, operating=Operating("platt", (), 24.0))},
    "harmonisation": {"recipe": replace(BASE, harmonisation=Harmonisation(SITES, "flag"))},
    "kind": {"recipe": replace(BASE, kind="binary")},
}  # fmt: skip


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_nothing_is_taken_from_a_run_that_differs(store: Checkpoints, change: dict[str, Any], monkeypatch: Any) -> None:
    asked = {"X": X, "y": Y, "folds": FOLDS, "recipe": BASE, **SETTINGS}
    cross_validate([cv_design(**asked)], checkpoints=store)
    other = cv_design(**{**asked, **change})
    monkeypatch.setattr(train, "_outer_fold", lambda task: pytest.fail(f"is fitted: {task.name}"))
    with pytest.raises(pytest.fail.Exception, match="is fitted: dfs, all/[a-z_]+, repeat 0, fold 0"):
        cross_validate([other], checkpoints=store)


@pytest.mark.parametrize("what", ["learner_code", "lock_fingerprint", "versions"])
def test_nothing_is_taken_from_another_program(store: Checkpoints, monkeypatch: Any, what: str) -> None:
    cross_validate(designs()[:1], checkpoints=store)
    monkeypatch.setattr(f"radiomics_crlm.study.cross_validation.{what}", lambda: "another")
    monkeypatch.setattr(train, "_outer_fold", lambda _: pytest.fail("is fitted"))
    with pytest.raises(pytest.fail.Exception, match="is fitted"):
        cross_validate(designs()[:1], checkpoints=store)


def test_more_repeats_take_over_the_earlier_ones(store: Checkpoints, fitted: list[str]) -> None:
    cross_validate([cv_design(X, Y, FOLDS[FOLDS["repeat"] == 0], BASE, **SETTINGS)], checkpoints=store)
    fitted.clear()
    cross_validate(designs()[:1], checkpoints=store)
    assert fitted == [f"dfs, all/ridge, repeat 1, fold {fold}" for fold in range(3)]


def local_workers() -> list[int]:
    """Processes of this machine that do outer folds for this one."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.is_file():
        pytest.skip("the system does not tell the children of a process")
    found = [int(pid) for pid in children.read_text().split()]
    return [pid for pid in found if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_killed_worker_costs_time_alone(plain: list[CvResult]) -> None:
    killed: list[int] = []

    def kill(done: int, _: int) -> None:
        if done == 3:
            killed.append(local_workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    same(cross_validate(designs(), jobs=2, on_progress=kill), plain)
    assert len(killed) == 1


def test_a_fold_that_kills_its_workers_is_named_after_the_others_are_done(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    honest = train.run

    def deadly(function: Any, tasks: Any, *, on_done: Any, **more: Any) -> Any:
        def passed_on(number: int, result: Any) -> None:
            on_done(number, Lost() if number == 1 else result)

        for number, result in enumerate(honest(function, tasks, on_done=passed_on, **more)):
            yield Lost() if number == 1 else result

    monkeypatch.setattr(train, "run", deadly)
    with pytest.raises(
        CrlmError, match="repeat 0, fold 1: the workers died again and again over 1 outer folds.*fewer --jobs"
    ):
        cross_validate(designs()[:1], checkpoints=store)
    assert len(list(tmp_path.rglob("*.json"))) == 5


def test_a_worker_with_other_code_is_refused() -> None:
    task = replace(designs()[0].tasks()[0], code="another")
    with pytest.raises(ConfigError, match="a worker has other learners or libraries"):
        train._outer_fold(task)


def test_an_impossible_model_is_refused_before_any_is_fitted(fitted: list[str]) -> None:
    with pytest.raises(InputError, match="too few events"):
        cross_validate([*designs(), cv_design(X, Y, FOLDS, BASE, **SETTINGS, min_events=60)])
    assert fitted == []


def test_explanations_are_kept(store: Checkpoints) -> None:
    one, two, _ = designs()
    table = pd.DataFrame({"patient_id": ["P1"], "input": [np.nan], "attribution": [0.1]})
    assert explanation_of(one, None) is None
    keep_explanation(one, {"attributions": table}, None)
    assert explanation_of(one, store) is None
    keep_explanation(one, {"attributions": table}, store)
    found = explanation_of(one, store)
    assert found is not None
    assert list(found) == ["attributions"]
    pd.testing.assert_frame_equal(found["attributions"], table, check_exact=True)
    assert explanation_of(two, store) is None
    assert explanation_of(replace(one, endpoint="os"), store) is None
