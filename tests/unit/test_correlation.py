"""Spearman correlation of many features: scipy as oracle, missing values, clusters, conventions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.correlation import spearman


def features(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.normal(size=n)
    return reference[:, None] * np.array([0.0, 0.5, -2.0]) + generator.normal(size=(n, 3)), reference


def test_estimates_are_those_of_scipy_with_ties_and_gaps() -> None:
    for seed in range(20):
        values, reference = features(seed=seed)
        values, reference = values.round(1), reference.round(1)
        values[3, 0] = values[7, 1] = reference[9] = np.nan
        got = spearman(values, reference)
        for p in range(3):
            known = np.isfinite(values[:, p]) & np.isfinite(reference)
            expected = stats.spearmanr(values[known, p], reference[known]).statistic
            assert got.estimate[p] == pytest.approx(expected, abs=1e-12)
            assert got.rows[p] == known.sum()


def test_limits_are_those_of_bonett_and_wright() -> None:
    values, reference = features()
    got = spearman(values, reference)
    r = got.estimate[1]
    half = 1.959963984540054 * np.sqrt((1 + r * r / 2) / 37)
    assert got.lower[1] == pytest.approx(np.tanh(np.arctanh(r) - half), abs=1e-12)
    assert got.upper[1] == pytest.approx(np.tanh(np.arctanh(r) + half), abs=1e-12)


def test_lesions_of_one_patient_do_not_narrow_the_interval() -> None:
    values, reference = features()
    alone = spearman(values, reference)
    tripled = spearman(np.tile(values, (3, 1)), np.tile(reference, 3), np.tile(np.arange(40), 3))
    np.testing.assert_allclose(tripled.estimate, alone.estimate, atol=1e-12)
    np.testing.assert_allclose(tripled.lower, alone.lower, atol=1e-12)
    assert tripled.rows.tolist() == [120] * 3
    assert tripled.patients.tolist() == [40] * 3


def test_the_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(1)
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman of a bivariate normal distribution
    hits = 0
    for _ in range(400):
        x = generator.normal(size=50)
        y = rho * x + np.sqrt(1 - rho**2) * generator.normal(size=50)
        got = spearman(y[:, None], x)
        hits += int(got.lower[0] <= truth <= got.upper[0])
    assert 0.92 <= hits / 400 <= 0.98


def test_each_feature_may_have_its_own_reference() -> None:
    values, _ = features()
    got = spearman(values, values[:, ::-1])
    assert got.estimate[0] == pytest.approx(stats.spearmanr(values[:, 0], values[:, 2]).statistic)
    assert got.estimate[1] == 1.0
    assert (got.lower[1], got.upper[1]) == (1.0, 1.0)


def test_conventions() -> None:
    values, reference = features()
    values[:, 0] = 4.2
    values[3:, 1] = np.nan
    got = spearman(values, reference)
    assert got.flag.tolist() == ["constant", "too_few_patients", ""]
    assert (got.estimate[0], got.lower[0], got.upper[0]) == (0.0, 0.0, 0.0)
    assert np.isnan([got.estimate[1], got.lower[1]]).all()
    assert spearman(np.empty((0, 2)), np.empty(0)).flag.tolist() == ["too_few_patients"] * 2
    assert spearman(np.empty((5, 0)), np.arange(5.0)).estimate.size == 0


def test_lengths_must_fit() -> None:
    values, reference = features()
    with pytest.raises(InputError, match="different lengths; expected 40; got 39"):
        spearman(values, reference, np.arange(39))
