"""Does the whole training find nothing where there is nothing, and something where there is something?

Columns of pure noise, many more than patients, selection included: a single step that sees test patients shows at
once. The canary is shown to have teeth by selecting on all patients, which is what the pipeline must never do, and what
its audit refuses. The measured numbers are in docs/self_tests.md, written by benchmarks/self_tests.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from leak_canary import CASES, SEEDS, discrimination, measure, selection_outside
from simulated_tables import draw_outcome, noise_table

from radiomics_crlm.errors import LeakError
from radiomics_crlm.modelling import train


@pytest.mark.slow
@pytest.mark.parametrize(("learner", "kind"), CASES)
def test_noise_gives_chance_and_a_leak_shows(learner: str, kind: str) -> None:
    """100 patients, 1,000 columns, 50 seeds."""
    found = measure(learner, kind)
    assert found.inside.size == SEEDS
    assert 0.48 <= found.inside.mean() <= 0.52
    assert found.rise >= 0.10
    assert found.caught == SEEDS


@pytest.mark.parametrize(("learner", "kind"), [("ridge", "time_to_event"), ("xgboost", "binary")])
def test_a_few_seeds_of_noise(learner: str, kind: str) -> None:
    """Quickly; with six seeds chance lies anywhere here."""
    found = measure(learner, kind, seeds=range(6), n=80, p=200)
    assert 0.42 <= found.inside.mean() <= 0.57
    assert found.rise >= 0.10
    assert found.caught == 6


def test_the_audit_names_the_step_and_the_switch_turns_back() -> None:
    X, y = noise_table(80, 30, 0), draw_outcome(np.zeros(80), 0)
    honest = train._fit_preprocessing
    with (
        pytest.raises(LeakError, match="inner fold 0: a fit would see 16 patients of the outer test fold"),
        selection_outside(X, y, audited=True),
    ):
        discrimination(X, y, learner="ridge", kind="binary", seed=0)
    assert train._fit_preprocessing is honest


@pytest.mark.parametrize(("learner", "kind"), [("ridge", "binary"), ("xgboost", "time_to_event")])
def test_planted_effect_is_found(learner: str, kind: str) -> None:
    X = noise_table(150, 60, 1)
    y = draw_outcome(1.5 * X["x7"].to_numpy(), 1)
    assert discrimination(X, y, learner=learner, kind=kind, seed=1) > 0.65


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["ridge", "xgboost"])
@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_permuted_outcomes_give_chance(learner: str, kind: str) -> None:
    """Fifty permutations of the outcomes of a simulated table with a real effect."""
    X = noise_table(100, 200, 9)
    y = draw_outcome(X["x0"].to_numpy(), 9)
    found = [
        discrimination(X, y[np.random.default_rng(s).permutation(100)], learner=learner, kind=kind, seed=s)
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
        with selection_outside(X, permuted, audited=False):
            found.append(discrimination(X, permuted, learner="ridge", kind=kind, seed=seed))
    assert np.mean(found) >= 0.60
