"""Does the whole training find nothing where there is nothing, and something where there is something?

Columns of pure noise, many more than patients, selection included: a single step that sees test patients shows at
once. The canary is shown to have teeth by selecting on all patients before cross-validation, which is what the
pipeline must never do.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table, number_columns

from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import nested_cv
from radiomics_crlm.modelling.transformers import UnivariateSelector

HORIZON = 24.0


def _discrimination(X: pd.DataFrame, y: Outcome, *, learner: str, kind: str, seed: int, k: int | None = 10) -> float:
    """Within-fold C or AUC of nested cross-validation."""
    recipe = Recipe(
        "noise",
        number_columns(X.shape[1]),
        learner,
        kind,
        select_k=k,
        rounds=(20, 50),
        depths=(1,),
        penalties=(1.0, 0.1),
    )
    folds = deal_folds(X.index, folds=5, repeats=1, seed=seed)
    horizon = HORIZON if kind == "binary" else None
    settings = {"endpoint": "e", "horizon": horizon, "seed": seed}
    result = nested_cv(X, y, folds, recipe, inner_folds=3, min_events=5, **settings)
    outcomes = pd.DataFrame({"patient_id": X.index, "endpoint": "e", "event": y["event"], "months": y["months"]})
    metrics, _ = evaluate_predictions(result.predictions, outcomes, folds, kind=kind, draws=2, **settings)
    return float(metrics["estimate"].iloc[0])


def _null(seed: int, *, n: int, p: int) -> tuple[pd.DataFrame, Outcome]:
    return noise_table(n, p, seed), draw_outcome(np.zeros(n), seed)


def _leaky_columns(X: pd.DataFrame, y: Outcome, kind: str) -> pd.DataFrame:
    """The ten columns that look best on all patients, test patients included: the classical mistake."""
    selector = UnivariateSelector(10, kind, HORIZON if kind == "binary" else None).fit(X.to_numpy(), y)
    chosen = X.iloc[:, selector.selected_]
    return chosen.set_axis([f"x{i}" for i in range(chosen.shape[1])], axis=1)


@pytest.mark.parametrize(("learner", "kind"), [("ridge", "time_to_event"), ("xgboost", "binary")])
def test_noise_gives_chance(learner: str, kind: str) -> None:
    found = [_discrimination(*_null(seed, n=80, p=200), learner=learner, kind=kind, seed=seed) for seed in range(6)]
    assert 0.42 <= np.mean(found) <= 0.57


def test_selection_outside_the_folds_would_show() -> None:
    inside, outside = [], []
    for seed in range(4):
        X, y = _null(seed, n=80, p=200)
        inside.append(_discrimination(X, y, learner="ridge", kind="time_to_event", seed=seed))
        leaky = _leaky_columns(X, y, "time_to_event")
        outside.append(_discrimination(leaky, y, learner="ridge", kind="time_to_event", seed=seed, k=None))
    assert np.mean(outside) - np.mean(inside) >= 0.10


@pytest.mark.parametrize(("learner", "kind"), [("ridge", "binary"), ("xgboost", "time_to_event")])
def test_planted_effect_is_found(learner: str, kind: str) -> None:
    X = noise_table(150, 60, 1)
    y = draw_outcome(1.5 * X["x7"].to_numpy(), 1)
    assert _discrimination(X, y, learner=learner, kind=kind, seed=1) > 0.65


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["ridge", "xgboost"])
@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_permuted_outcomes_give_chance(learner: str, kind: str) -> None:
    """Fifty permutations of the outcomes of a simulated table with a real effect."""
    X = noise_table(100, 200, 9)
    y = draw_outcome(X["x0"].to_numpy(), 9)
    found = [
        _discrimination(X, y[np.random.default_rng(s).permutation(100)], learner=learner, kind=kind, seed=s)
        for s in range(50)
    ]
    assert 0.47 <= np.mean(found) <= 0.53


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_leak_lifts_permuted_outcomes(kind: str) -> None:
    X = noise_table(100, 200, 9)
    y = draw_outcome(X["x0"].to_numpy(), 9)
    found = []
    for seed in range(20):
        permuted = y[np.random.default_rng(seed).permutation(100)]
        leaky = _leaky_columns(X, permuted, kind)
        found.append(_discrimination(leaky, permuted, learner="ridge", kind=kind, seed=seed, k=None))
    assert np.mean(found) >= 0.60
