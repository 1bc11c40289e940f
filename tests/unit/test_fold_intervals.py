"""Scores of single folds and their corrected interval."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.evaluation.fold_intervals import FoldScores, difference, fold_scores, nadeau_bengio
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.ranking import harrell
from radiomics_crlm.evaluation.resampling import resamples


def test_a_fold_without_a_comparable_pair_is_counted() -> None:
    y = make_outcome([1, 0, 0, 0], [1, 2, 3, 4])
    risk, fold = np.array([[2.0], [1.0], [0.0], [0.0]]), np.array([[0], [0], [1], [1]])
    found = fold_scores(harrell(y), risk, fold, resamples(y, draws=0, seed=0))
    np.testing.assert_array_equal(found.scores, [[1.0, np.nan]])
    assert found.skipped == 1
    estimate, p_value = nadeau_bengio(found, lowest=0, highest=1)
    assert estimate.value == 1.0
    assert np.isnan([estimate.lower, p_value]).all()


def test_limits_stay_in_the_range() -> None:
    estimate, _ = nadeau_bengio(FoldScores(np.array([[0.9, 1.0, 0.99, 0.7]]), 1 / 3), lowest=0, highest=1)
    assert estimate.upper == 1.0
    assert 0 < estimate.lower < estimate.value


def test_equal_scores_leave_no_doubt() -> None:
    same = FoldScores(np.full((2, 3), 0.6), 0.5)
    estimate, p_value = nadeau_bengio(difference(same, same), lowest=-1, highest=1)
    assert (estimate.value, estimate.lower, estimate.upper, p_value) == (0, 0, 0, 1.0)
    assert nadeau_bengio(same, lowest=0, highest=1, null=0.5)[1] == 0.0


def test_no_score_at_all() -> None:
    estimate, p_value = nadeau_bengio(FoldScores(np.full((1, 3), np.nan), 0.5), lowest=0, highest=1)
    assert np.isnan([estimate.value, estimate.lower, p_value]).all()


def test_one_fold_has_no_interval() -> None:
    y = make_outcome([1, 1, 0], [1, 2, 3])
    found = fold_scores(harrell(y), np.ones((3, 1)), np.zeros((3, 1), dtype=int), resamples(y, draws=0, seed=0))
    assert np.isnan(found.test_ratio)
    assert np.isnan(nadeau_bengio(found, lowest=0, highest=1)[0].upper)
