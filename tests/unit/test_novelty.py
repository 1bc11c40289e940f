"""Novelty: who is unlike the training, by the row alone."""

from __future__ import annotations

import numpy as np
import pytest
from scoring_examples import CLINICAL, content, model, training_table

from radiomics_crlm.modelling.novelty import FEWEST, fit_novelty, squared_distance, tail_limit
from radiomics_crlm.scoring.novelty import describe_novelty, out_of_distribution
from radiomics_crlm.scoring.reference import MOST_DIRECTIONS


def draw(n: int, p: int, seed: int) -> np.ndarray:
    """Correlated normal inputs."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)) + rng.normal(size=(n, 1))


@pytest.mark.parametrize(("n", "p", "least"), [(150, 4, 0.004), (300, 12, 0.004), (100, 80, 0.0005)])
def test_about_one_in_a_hundred_of_the_same_kind_is_flagged(n: int, p: int, least: float) -> None:
    """With as many inputs as patients fewer are: those left out lie further from nine tenths than from all."""
    shares = []
    for seed in range(10):
        fit = fit_novelty(draw(n, p, seed), most_directions=MOST_DIRECTIONS, seed=0)
        assert fit is not None
        shares.append((squared_distance(draw(1000, p, 1000 + seed), fit) > fit.limit).mean())
    assert least < np.mean(shares) < 0.02


def test_the_distance_is_that_of_mahalanobis_where_all_directions_are_kept() -> None:
    from sklearn.covariance import ledoit_wolf

    training, new = draw(80, 6, 0), draw(20, 6, 1)
    fit = fit_novelty(training, most_directions=40, seed=0)
    assert fit is not None
    precision = np.linalg.inv(ledoit_wolf(training)[0])
    centred = new - training.mean(axis=0)
    np.testing.assert_allclose(squared_distance(new, fit), np.einsum("ij,jk,ik->i", centred, precision, centred))


def test_unusual_together_is_new_though_each_is_usual() -> None:
    fit = fit_novelty(draw(300, 8, 2), most_directions=40, seed=0)
    assert fit is not None
    along, against = np.full((1, 8), 2.0), np.tile([2.0, -2.0], 4)[None, :]
    assert squared_distance(along, fit) < fit.limit
    assert squared_distance(against, fit) > fit.limit


def test_what_lies_outside_of_the_kept_directions_counts() -> None:
    fit = fit_novelty(draw(200, 60, 3), most_directions=5, seed=0)
    assert fit is not None
    assert fit.residual is not None
    rng = np.random.default_rng(0)
    away = rng.normal(size=60)
    basis = fit.directions / np.linalg.norm(fit.directions, axis=1)[:, None]
    away -= basis.T @ (basis @ away)
    assert squared_distance((fit.mean + 30 * away / np.linalg.norm(away))[None, :], fit) > fit.limit


def test_a_row_does_not_depend_on_the_others() -> None:
    rows = draw(1003, 12, 4)
    fit = fit_novelty(draw(200, 12, 5), most_directions=40, seed=0)
    assert fit is not None
    alone = np.concatenate([squared_distance(rows[i : i + 1], fit) for i in range(100)])
    np.testing.assert_array_equal(squared_distance(rows, fit)[:100], alone)


def test_few_patients_are_not_judged() -> None:
    assert fit_novelty(draw(FEWEST - 1, 3, 0), most_directions=40, seed=0) is None


def test_the_limit_is_no_distance_of_a_patient() -> None:
    distances = np.sort(np.random.default_rng(1).exponential(size=60))
    limit = tail_limit(distances, 0.01)
    assert limit > distances[-10]
    assert not np.isin(limit, distances)


def test_a_bundle_flags_rows() -> None:
    known = describe_novelty(model(), training_table(CLINICAL), seed=0)
    assert known is not None
    inside = content(novelty=known)
    table = training_table(CLINICAL, rows=400, seed=9)
    assert out_of_distribution(inside, model(), table).mean() < 0.05
    table["largest_met_mm"] = 900.0
    assert out_of_distribution(inside, model(), table).all()
    assert not out_of_distribution(content(), model(), table).any()
