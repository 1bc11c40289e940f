"""Intraclass correlation: what it is invariant to, its conventions at the edges, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.agreement import icc

KINDS = ("agreement", "consistency")


def ratings(n: int = 20, k: int = 4, p: int = 7, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    subject, rater = generator.normal(size=(n, 1, p)), generator.normal(size=(1, k, p))
    return 3 * subject + 0.5 * rater + generator.normal(size=(n, k, p))


def test_shrout_and_fleiss() -> None:
    """Their table 4 for the data of table 2, and the intervals of McGraw and Wong for the same."""
    judges = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
    )
    agreement, consistency = (icc(judges[:, :, None], kind) for kind in KINDS)
    got = [round(float(v[0]), 2) for r in (agreement, consistency) for v in (r.estimate, r.lower, r.upper)]
    assert got == [0.29, 0.02, 0.76, 0.71, 0.34, 0.95]


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_independent_of_each_other(kind: str) -> None:
    values = ratings()
    together = icc(values, kind)
    for p in range(values.shape[2]):
        alone = icc(values[:, :, [p]], kind)
        for name in ("estimate", "lower", "upper"):
            np.testing.assert_allclose(getattr(together, name)[p], getattr(alone, name)[0], rtol=1e-14)
    assert (together.lower < together.estimate).all()
    assert (together.estimate < together.upper).all()
    assert (together.flag == "").all()


@pytest.mark.parametrize("kind", KINDS)
def test_invariances(kind: str) -> None:
    values = ratings()
    expected = icc(values, kind)
    generator = np.random.default_rng(1)
    same = [
        values[generator.permutation(20)],
        values[:, generator.permutation(4)],
        1e6 - 250.0 * values,
        1e-7 * values,
    ]
    for changed in same:
        got = icc(changed, kind)
        np.testing.assert_allclose(got.estimate, expected.estimate, atol=1e-9)
        np.testing.assert_allclose(got.lower, expected.lower, atol=1e-9)
        np.testing.assert_allclose(got.upper, expected.upper, atol=1e-9)


def test_a_shift_of_one_rater_costs_agreement_and_not_consistency() -> None:
    values = ratings()
    shifted = values + np.array([0.0, 0.0, 0.0, 10.0])[None, :, None]
    np.testing.assert_allclose(icc(shifted, "consistency").estimate, icc(values, "consistency").estimate, atol=1e-12)
    assert (icc(shifted, "agreement").estimate < icc(values, "agreement").estimate - 0.1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_subjects_with_a_missing_rating_are_left_out_of_that_feature_only(kind: str) -> None:
    values = ratings()
    holed = values.copy()
    holed[2, 1, 0] = holed[5, 0, 0] = holed[2, 3, 3] = np.nan
    got = icc(holed, kind)
    assert got.subjects.tolist() == [18, 20, 20, 19, 20, 20, 20]
    rest = icc(np.delete(values, [2, 5], axis=0)[:, :, [0]], kind)
    np.testing.assert_allclose(got.estimate[0], rest.estimate[0], rtol=1e-12)
    np.testing.assert_allclose(got.upper[0], rest.upper[0], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_conventions_where_something_does_not_vary(kind: str) -> None:
    generator = np.random.default_rng(2)
    n, k = 12, 3
    subject = generator.normal(100, 5, (n, 1))
    wobble = 1 + 1e-15 * generator.normal(size=(n, k))
    columns = {
        "identical": np.repeat(subject, k, axis=1) * wobble,
        "constant": np.full((n, k), 7.3) * wobble,
        "no_subject_variance": np.repeat(np.array([[1.0, 2.0, 3.0]]), n, axis=0),
        "": subject + generator.normal(size=(n, k)),
        "zero": np.zeros((n, k)),
    }
    got = icc(np.stack(list(columns.values()), axis=2), kind)
    assert got.flag.tolist() == ["identical", "constant", "no_subject_variance", "", "constant"]
    for numbers in (got.estimate, got.lower, got.upper):
        assert numbers[[0, 1, 2, 4]].tolist() == [1.0, 0.0, 0.0, 0.0]
        assert np.isfinite(numbers).all()


def test_raters_that_differ_by_constants_are_consistent_and_do_not_agree() -> None:
    """No residual at all, so the F statistic is infinite: the intervals are the limits."""
    subject = np.random.default_rng(3).normal(size=(15, 1))
    values = (subject + np.array([[0.0, 1.0, 2.0]]))[:, :, None]
    consistency, agreement = icc(values, "consistency"), icc(values, "agreement")
    assert (consistency.estimate[0], consistency.lower[0], consistency.upper[0]) == (1.0, 1.0, 1.0)
    nearly = icc(values + 1e-7 * np.random.default_rng(4).normal(size=values.shape), "agreement")
    for name in ("estimate", "lower", "upper"):
        np.testing.assert_allclose(getattr(agreement, name), getattr(nearly, name), atol=1e-6)
        assert 0 < getattr(agreement, name)[0] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_noise_alone_has_limits_around_its_estimate(kind: str) -> None:
    """Negative estimates included, where the degrees of freedom of ICC(2,1) may vanish."""
    for seed in range(200):
        got = icc(np.random.default_rng(seed).normal(size=(6, 2, 5)), kind)
        assert np.isfinite(got.lower).all()
        assert np.isfinite(got.upper).all()
        assert (got.lower <= got.estimate + 1e-12).all()
        assert (got.upper <= 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_covers_the_truth(kind: str) -> None:
    """1000 tables from the model: variance 4 between subjects, 0.25 between raters, 1 within."""
    generator = np.random.default_rng(5)
    n, k, p = 30, 8, 1000
    spread = 0.5 if kind == "agreement" else 5.0  # a shift of the raters does not matter for consistency
    values = (
        2 * generator.normal(size=(n, 1, p))
        + spread * generator.normal(size=(1, k, p))
        + generator.normal(size=(n, k, p))
    )
    truth = 4 / (4 + 0.25 + 1) if kind == "agreement" else 4 / 5
    got = icc(values, kind)
    covered = float(((got.lower <= truth) & (truth <= got.upper)).mean())
    assert 0.93 <= covered <= 0.97


def test_too_few_subjects_are_named() -> None:
    values = ratings()
    values[2:, 0, 4] = np.nan
    got = icc(values, "agreement")
    assert got.flag[4] == "too_few_subjects"
    assert got.subjects[4] == 2
    assert np.isnan(got.estimate[4])
    assert np.isfinite(np.delete(got.estimate, 4)).all()
    assert icc(np.empty((0, 2, 3)), "agreement").flag.tolist() == ["too_few_subjects"] * 3
    assert icc(np.empty((5, 2, 0)), "agreement").estimate.size == 0


@pytest.mark.parametrize(
    ("values", "confidence", "match"),
    [
        (np.zeros((5, 3)), 0.95, "subjects x at least two raters x features.*shape"),
        (np.zeros((5, 1, 2)), 0.95, "at least two raters"),
        (np.full((5, 2, 2), np.inf), 0.95, "20 ratings are infinite"),
        (np.zeros((5, 2, 2)), 1.0, "coverage of an interval"),
    ],
)
def test_refusals(values: np.ndarray, confidence: float, match: str) -> None:
    with pytest.raises(InputError, match=match):
        icc(values, "agreement", confidence=confidence)
