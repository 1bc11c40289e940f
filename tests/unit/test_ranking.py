"""Rank statistics within folds: the resamples are literal, folds are never mixed, refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import auc, harrell_c
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.evaluation.ranking import (
    RankStatistic,
    auc_at,
    competing_risks,
    fold_agreement,
    harrell,
    primary,
    truncation,
    uno,
    whole_sample,
    within_folds,
)
from radiomics_crlm.evaluation.resampling import resamples

STATISTICS: dict[str, Callable[[Outcome], RankStatistic]] = {
    "harrell": harrell,
    "uno": lambda y: uno(y, 25.0),
    "competing": lambda y: competing_risks(y, 25.0),
    "auc": lambda y: auc_at(y, 12.0),
    "auc_event_free": lambda y: auc_at(y, 12.0, controls="event_free"),
}


def _data(n: int, seed: int, repeats: int = 1) -> tuple:
    generator = np.random.default_rng(seed)
    y = make_outcome(generator.integers(0, 3, n), generator.exponential(20, n).round())
    fold = np.stack([generator.permutation(np.arange(n) % 3) for _ in range(repeats)], axis=1)
    return y, generator.normal(size=(n, repeats)).round(1), fold


def _alone(y: Outcome):
    return resamples(y, draws=0, seed=0)


@pytest.mark.parametrize("name", STATISTICS)
def test_scores_of_different_folds_are_never_compared(name: str) -> None:
    """Shifting one fold's risks changes nothing; the pooled statistic would change."""
    y, risk, fold = _data(60, 1, 2)
    statistic, shifted = STATISTICS[name](y), risk + 100.0 * fold
    before = within_folds(statistic, risk, fold, _alone(y))[0]
    assert within_folds(statistic, shifted, fold, _alone(y))[0] == before
    assert whole_sample(statistic, y, shifted[:, 0]) != whole_sample(statistic, y, risk[:, 0])


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("seed", range(8))
def test_resamples_equal_a_literal_resample(name: str, seed: int) -> None:
    """Each value is the statistic of the table in which patients are repeated as often as drawn, weights included."""
    y, risk, fold = _data(30, seed, 3)
    sample = resamples(y, draws=5, seed=seed)
    values = within_folds(STATISTICS[name](y), risk, fold, sample)
    for counts, value in zip(sample.counts, values, strict=True):
        rows = np.repeat(np.arange(30), counts.astype(int))
        again = within_folds(STATISTICS[name](y[rows]), risk[rows], fold[rows], _alone(y[rows]))
        assert value == pytest.approx(again[0], abs=1e-12, nan_ok=True)


def test_plain_functions_agree() -> None:
    y, risk, _ = _data(60, 2)
    assert whole_sample(harrell(y), y, risk[:, 0]) == pytest.approx(harrell_c(y, risk[:, 0]), abs=1e-12)
    label, weight = horizon_labels(y, 12.0)
    assert whole_sample(auc_at(y, 12.0), y, risk[:, 0]) == pytest.approx(auc(label, risk[:, 0], weight), abs=1e-12)


def test_without_censoring_uno_is_harrell() -> None:
    generator = np.random.default_rng(3)
    y = make_outcome(np.ones(40), generator.exponential(20, 40))
    risk = generator.normal(size=40)
    assert whole_sample(uno(y, 1e9), y, risk) == pytest.approx(harrell_c(y, risk))


def test_without_competing_events_wolbers_is_uno() -> None:
    y, risk, _ = _data(60, 4)
    y["event"][y["event"] == 2] = 0
    assert whole_sample(competing_risks(y, 25.0), y, risk[:, 0]) == pytest.approx(
        whole_sample(uno(y, 25.0), y, risk[:, 0])
    )


def test_controls_differ_by_the_competing_events() -> None:
    """A score that is high in patients who die first is punished only if they are controls."""
    y = make_outcome([1] * 10 + [2] * 10 + [0] * 10, [5.0] * 20 + [40.0] * 10)
    risk = np.repeat([1.0, 2.0, 0.0], 10)
    assert whole_sample(auc_at(y, 12.0, controls="event_free"), y, risk) == 1.0
    assert whole_sample(auc_at(y, 12.0), y, risk) == 0.5


def test_primary() -> None:
    y, _, _ = _data(20, 5)
    assert primary(y, "time_to_event", None).weigh_at is None
    with pytest.raises(InputError, match="needs a horizon"):
        primary(y, "binary", None)


def test_truncation() -> None:
    """Whole months, so that it is nobody's own time; a tenth of the patients and at least ten are followed to it."""
    months = np.arange(200) + 0.7
    assert truncation(make_outcome(np.zeros(200), months)) == 180.0
    assert truncation(make_outcome(np.zeros(50), months[:50])) == 40.0
    assert truncation(make_outcome(np.zeros(5), months[:5])) == 5.0


def test_no_comparable_pair() -> None:
    y = make_outcome([0, 0], [1, 2])
    values = within_folds(
        harrell(y), np.ones((2, 1)), np.zeros((2, 1), dtype=int), resamples(y, draws=3, seed=0)
    )  # fmt: skip
    assert np.isnan(values).all()


def test_refusals() -> None:
    y, risk, fold = _data(10, 0)
    with pytest.raises(InputError, match="different shapes"):
        fold_agreement(risk[:5], risk[:5], fold)
    with pytest.raises(InputError, match="different lengths"):
        whole_sample(harrell(y), y, risk[:5, 0])
    risk[0] = np.nan
    with pytest.raises(InputError, match="risks are not finite"):
        fold_agreement(risk, risk, fold)
