"""The pipeline finds what is there and nothing where nothing is: simulated volumes, permuted outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_experiment import write_experiment

from radiomics_crlm.cohort.splits import draw_folds, outcome_status
from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.modelling.train import nested_cv
from radiomics_crlm.study.plans import Plan, plan_models
from radiomics_crlm.study.prepare import Prepared, prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("permutations")]

PERMUTATIONS = 50
METRIC = {"recurrence_24m": "auc", "recurrence": "c_index"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[ExperimentConfig, Prepared, tuple[Plan, ...]]:
    """The default simulated cohort of the demo, up to its tables."""
    root: Path = tmp_path_factory.mktemp("permutations")
    file = write_experiment(root / "demo.yaml", endpoints=list(METRIC), deliver={})
    experiment = load_config(ExperimentConfig, file)
    ready = prepare(experiment, data=None, out=root / "out", jobs=2, progress=lambda *_: None)
    return experiment, ready, plan_models(experiment, ready, allow_leak=False)


def estimate(plan: Plan, outcome: pd.DataFrame, prepared: Prepared, repeats: int, seed: int) -> pd.Series:
    """Discrimination of one model, by the design of the demo, with folds drawn for this outcome."""
    endpoint = prepared.endpoints[plan.endpoint]
    table = plan.predictors.table
    folds = draw_folds(outcome_status(list(table.index), {"e": outcome}), folds=5, repeats=repeats, seed=seed)
    result = nested_cv(
        table,
        outcome.set_index("patient_id")[["event", "months"]].loc[table.index],
        folds,
        plan.recipe,
        endpoint=plan.endpoint,
        horizon=endpoint.horizon_months,
        inner_folds=4,
        seed=seed,
        min_events=5,
        jobs=2,
    )
    metrics, _ = evaluate_predictions(
        result.predictions,
        outcome,
        folds,
        endpoint=plan.endpoint,
        horizon=endpoint.horizon_months,
        kind=endpoint.kind,
        seed=seed,
        draws=1000 if repeats > 1 else 100,
    )
    return metrics.set_index("metric").loc[METRIC[plan.endpoint]]


@pytest.mark.parametrize("endpoint", METRIC)
@pytest.mark.parametrize("model", ["combined/ridge", "radiomics/xgboost"])
def test_permuted_outcomes_give_chance(prepared, endpoint, model):
    _, ready, plans = prepared
    plan = next(p for p in plans if (p.endpoint, p.name) == (endpoint, model))
    outcome = ready.outcomes[endpoint]
    found = []
    for number in range(PERMUTATIONS):
        order = np.random.default_rng([number, 11]).permutation(len(outcome))
        shuffled = outcome.assign(event=outcome["event"].to_numpy()[order], months=outcome["months"].to_numpy()[order])
        found.append(estimate(plan, shuffled, ready, repeats=1, seed=number)["estimate"])
    assert np.mean(found) == pytest.approx(0.5, abs=0.03), f"mean {np.mean(found):.4f}, SD {np.std(found):.4f}"
    # Permutations that scatter like chance, not estimates that are stuck at 0.5.
    assert 0.03 < np.std(found) < 0.15


@pytest.mark.parametrize("endpoint", METRIC)
def test_the_planted_effect_is_found(prepared, endpoint):
    _, ready, plans = prepared
    plan = next(p for p in plans if (p.endpoint, p.name) == (endpoint, "combined/ridge"))
    found = estimate(plan, ready.outcomes[endpoint], ready, repeats=3, seed=1)
    assert found["estimate"] > 0.70
    assert found["lower"] > 0.5


def test_without_texture_effect_radiomics_find_nothing(tmp_path):
    """Outcome redrawn without texture; the same volumes. Averaged over seeds, radiomics stay at chance."""
    from radiomics_crlm.phantom.outcomes import simulate_outcomes
    from radiomics_crlm.phantom.settings import SimulationConfig

    file = write_experiment(
        tmp_path / "null.yaml",
        endpoints=["recurrence_24m"],
        deliver={},
        cohort={"kind": "simulated", "settings": {"texture_effect": 0, "clinical_effect": 0}},
    )
    experiment = load_config(ExperimentConfig, file)
    ready = prepare(experiment, data=None, out=tmp_path / "out", jobs=2, progress=lambda *_: None)
    plan = next(p for p in plan_models(experiment, ready, allow_leak=False) if p.name == "radiomics/ridge")
    truth = simulate_outcomes(SimulationConfig(texture_effect=0, clinical_effect=0))
    assert len(truth) == 60
    found = estimate(plan, ready.outcomes["recurrence_24m"], replace(ready), repeats=3, seed=1)
    assert found["lower"] < 0.5 < found["upper"]
