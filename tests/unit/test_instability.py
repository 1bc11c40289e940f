"""Prediction instability over bootstrap refits."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.instability import prediction_instability


def test_a_model_that_never_changes_is_stable() -> None:
    p = np.linspace(0.1, 0.9, 20)
    found = prediction_instability(lambda _: p, p, draws=5, seed=0, threshold=0.5)
    assert found.mape == 0.0
    np.testing.assert_allclose(found.table[["mean", "lower", "upper"]], np.column_stack((p, p, p)))
    assert (found.table["reclassified"] == 0).all()


def test_the_mean_of_the_sample_varies_as_it_must() -> None:
    """A model that predicts the share of events: its absolute error is that of a binomial share."""
    generator = np.random.default_rng(1)
    event = (generator.random(100) < 0.4).astype(float)
    found = prediction_instability(
        lambda rows: np.full(100, event[rows].mean()), np.full(100, event.mean()), draws=2000, seed=1
    )
    share = event.mean()
    assert found.mape == pytest.approx(np.sqrt(2 / np.pi * share * (1 - share) / 100), rel=0.05)
    assert found.table["mape"].mean() == pytest.approx(found.mape)
    assert found.table["reclassified"].isna().all()


def test_refits_see_bootstrap_samples_of_the_seed() -> None:
    seen: list[np.ndarray] = []

    def fit_predict(rows: np.ndarray) -> np.ndarray:
        seen.append(rows)
        return np.full(10, 0.5)

    for _ in range(2):
        prediction_instability(fit_predict, np.full(10, 0.5), draws=3, seed=4)
    assert all((a == b).all() for a, b in zip(seen[:3], seen[3:], strict=True))
    assert all(len(rows) == 10 and rows.min() >= 0 and rows.max() < 10 for rows in seen)
    assert len(np.unique(seen[0])) < 10


def test_refusals() -> None:
    with pytest.raises(InputError, match="needs several refits"):
        prediction_instability(lambda _: np.full(5, 0.5), np.full(5, 0.5), draws=1, seed=0)
    with pytest.raises(InputError, match="different lengths"):
        prediction_instability(lambda _: np.full(4, 0.5), np.full(5, 0.5), draws=2, seed=0)
    with pytest.raises(InputError, match="5 probabilities are missing"):
        prediction_instability(lambda _: np.full(5, np.nan), np.full(5, 0.5), draws=2, seed=0)
