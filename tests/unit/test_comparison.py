"""Paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.comparison import compare, paired_difference
from radiomics_crlm.evaluation.outcome import make_outcome


def _scores(seed: int, n: int = 90) -> tuple:
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=n)
    event, censored = generator.exponential(20 * np.exp(-risk)), generator.uniform(0, 60, n)
    y = make_outcome(event < censored, np.minimum(event, censored))
    fold = np.stack([generator.permutation(np.arange(n) % 3) for _ in range(2)], axis=1)
    return y, np.repeat(risk[:, None], 2, axis=1), generator.normal(size=(n, 2)), fold


@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 12.0)])
def test_turning_the_pair_turns_the_sign(kind: str, horizon: float | None) -> None:
    y, good, noise, fold = _scores(0)
    there = compare(y, good, noise, fold, kind=kind, horizon=horizon, seed=1, draws=300)
    back = compare(y, noise, good, fold, kind=kind, horizon=horizon, seed=1, draws=300)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.difference.lower == pytest.approx(-back.difference.upper)
    assert there.p_value == back.p_value
    assert there.difference.lower > 0
    assert there.p_value < 0.05


def test_a_score_against_itself() -> None:
    y, good, _, fold = _scores(1)
    result = compare(y, good, 3 * good + 1, fold, kind="time_to_event", horizon=None, seed=1, draws=200)
    assert (result.difference.value, result.difference.lower, result.difference.upper) == (0, 0, 0)
    assert result.p_value == 1.0


def test_only_common_patients_count() -> None:
    """Patients one score lacks are left out of both: their other value is irrelevant."""
    y, good, noise, fold = _scores(2)
    noise[:30] = np.nan
    changed = good.copy()
    changed[:30] = -99.0
    first = compare(y, good, noise, fold, kind="time_to_event", horizon=None, seed=1, draws=200)
    assert first == compare(y, changed, noise, fold, kind="time_to_event", horizon=None, seed=1, draws=200)
    assert first.n == 60
    assert first.events == (y["event"][30:] == 1).sum()


def test_no_common_patient() -> None:
    y, good, noise, fold = _scores(3)
    result = compare(y, good, np.full_like(noise, np.nan), fold, kind="time_to_event", horizon=None, seed=1, draws=50)
    assert result.n == 0
    assert np.isnan(result.p_value)


def test_refuses_other_shapes() -> None:
    y, good, noise, fold = _scores(4)
    with pytest.raises(InputError, match="different shapes"):
        compare(y, good, noise[:5], fold, kind="time_to_event", horizon=None, seed=1)


def test_p_value_of_replicates() -> None:
    replicates = np.r_[np.full(95, 1.0), np.full(4, -1.0)]
    assert paired_difference(0.9, replicates, np.zeros(99))[1] == pytest.approx(2 * 5 / 100)
    assert np.isnan(paired_difference(float("nan"), replicates, np.zeros(99))[1])


@pytest.mark.slow
def test_p_value_under_no_difference() -> None:
    """Two exchangeable noisy copies of one score: about 5 % below 0.05."""
    below = 0
    for seed in range(300):
        generator = np.random.default_rng(10_000 + seed)
        y, good, _, fold = _scores(seed, n=120)
        a, b = (good + generator.normal(size=(120, 1)) for _ in range(2))
        below += compare(y, a, b, fold, kind="time_to_event", horizon=None, seed=seed, draws=400).p_value < 0.05
    assert 0.02 <= below / 300 <= 0.085
