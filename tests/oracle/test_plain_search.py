"""Nested cross-validation against scikit-learn's grid search in its cross-validation: the same scores, fold by fold."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from radiomics_crlm.modelling.recipe import Recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(scope="module")
def training() -> ModuleType:
    """The benchmark, which writes the design both ways."""
    return importlib.import_module("training")


FAST = [
    ("recurrence_24m", "ridge"),
    ("recurrence_24m", "random_forest"),
    ("recurrence", "elastic_net"),
    ("recurrence", "xgboost"),
]
SLOW = [
    ("recurrence_24m", "elastic_net"),
    ("recurrence_24m", "xgboost"),
    ("recurrence", "ridge"),
    ("recurrence", "fine_gray"),
    ("recurrence", "xgboost_aft"),
    ("recurrence", "random_forest"),
]


@pytest.mark.parametrize(
    ("endpoint", "learner"), [*FAST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW)]
)
def test_same_scores(training: ModuleType, endpoint: str, learner: str) -> None:
    task = training.simulated_tasks([endpoint], 1, outer=3)[0]
    recipe = Recipe(
        "clinical", task.columns, learner, task.kind, seed=training.SEED, penalties=(3.0, 0.1), l1_ratios=(0.9, 0.3),
        net_penalties=(0.1, 0.03), rounds=(10, 30), depths=(1, 2), leaves=(2, 6), trees=8,
    )  # fmt: skip
    ours, plainly = training.ours(task, recipe, 1), training.plainly(task, recipe, 1)
    assert len(ours) == 3
    assert len(set(ours)) > 1
    np.testing.assert_allclose(ours, plainly, atol=1e-9)
